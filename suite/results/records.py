"""The record: one JSON file per cell, schema-versioned, validated on the way in and on the way out.

A Result holds raw values; statistics are derived.  What is unknown is null.  Result files come from anywhere, so
reading one is strict: size, depth, duplicate keys, NaN, unknown fields and absurd values are refused by file and place.

Schema history: 1, the first; 2 adds the GPU's trace, and where and how a process was built and set; 3 adds what a
model is worth beyond its loss, the stage that it starts from, the examples drawn for it, and inference options; 4 adds
the divergence of a training, the half-width that a claim states, where a framework's own API differs, the processor's
features, the variables that libraries read, whose failure a failure is, and classes' names; 5 takes speed in turns
(``timed``), apart from what is learnt, and may hold a training whose times say nothing.  All are read.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, TypeAdapter, model_validator

from suite.errors import ResultError
from suite.files import read_json, validate, write_bytes
from suite.results import divergence
from suite.results.divergence import Divergence
from suite.results.environment import Environment
from suite.results.gpu_trace import Trace
from suite.results.identity import Identity
from suite.results.questions import Question, QuestionKind
from suite.results.values import Count, Digest, Nanoseconds, Rate, Samples, Text, Word
from suite.spec.precision import TIMED, TimedPrecision
from suite.spec.resolved import Spec
from suite.spec.tasks.found import AnyTaskMetrics
from suite.spec.tasks.task import Share
from suite.spec.tensors import Frozen

SCHEMA = 5
READABLE = (1, 2, 3, 4, 5)


class Cell(Frozen):
    """What is measured: spec x runner x mode x precision x device x seed, in one round (0 is the gate's)."""

    spec: Word
    runner: Word
    mode: Word
    precision: TimedPrecision
    device: Word
    seed: Count
    round: Count

    @property
    def program(self) -> str:
        """What an agent calls it: its mode, and its precision where that is not the usual one."""
        return self.mode if self.precision == TIMED else f"{self.mode} {self.precision}"

    @property
    def slug(self) -> str:
        """A file name's worth of it."""
        return f"{self.spec.replace('/', '.')}--{self.runner}-{self.mode}-{self.precision}-{self.device}--s{self.seed}"


class Digests(Frozen):
    """What must be equal for two cells to have computed the same; ``order`` is that of the first epoch."""

    spec: Digest
    dataset: Word
    weights: Digest
    order: Digest


class Latency(Frozen):
    """Queries of ``batch_size`` images, host array to host array, each timed; warm-up apart."""

    batch_size: Count
    samples_ns: Samples
    warmup_ns: Samples


class Throughput(Frozen):
    """Passes over a staged split of ``images`` images with the pipeline full, each timed; warm-up apart."""

    batch_size: Count
    images: Count
    samples_ns: Samples
    warmup_ns: Samples


class Scores(Frozen):
    """Over one split: mean data loss, L2 penalty on top of it, and the share of right classes if there are classes."""

    loss: float | None
    penalty: float | None
    accuracy: Share | None
    images: Count | None = Field(None, description="how many, drawn once for all, stand for the split; null: all of it")


class Epoch(Frozen):
    """One epoch: its time, the mean loss seen while training (null if not finite), and scores after it, if taken."""

    seconds_ns: Nanoseconds
    images: Count
    train_loss: float | None
    validation: Scores | None
    test: Scores | None


class Training(Frozen):
    """Epochs in order from the spec's own start; ``stopped_early`` and ``best_epoch`` (from 1) by early stopping."""

    first_step_ns: Nanoseconds = Field(description="building, tracing, compiling and one step of training")
    compile_cache: Literal["cold", "warm", "none"]
    warmup_ns: Samples
    epochs: Annotated[tuple[Epoch, ...], Field(min_length=1, max_length=100_000)]
    stopped_early: bool
    best_epoch: Count | None
    train: Scores
    validation: Scores | None
    test: Scores
    weights: Digest = Field(description="over the final weights, running statistics included")
    assessment: AnyTaskMetrics | None = Field(None, description="of the final weights over the test split")
    examples: Digest | None = Field(
        None, description="over inputs and targets of the first epoch, where random streams make them; else null"
    )
    diverged: Divergence | None = Field(None, description="the first loss or weight that was not finite; null: none")

    @property
    def divergence(self) -> Divergence | None:
        """As recorded; else as the losses tell, for a loss of null was not finite in records of any version."""
        final = (self.train, self.validation, self.test)
        early, best = self.stopped_early, self.best_epoch
        return self.diverged or divergence.told(self.epochs, final, stopped_early=early, best_epoch=best)


class Memory(Frozen):
    """Peak bytes, or null: resident by phase; on a GPU above its idle baseline, and by the framework's own count."""

    import_bytes: Count | None
    build_bytes: Count | None
    steady_bytes: Count | None
    device_bytes: Count | None = None
    allocator_bytes: Count | None = None


class _Record(Frozen):
    schema_version: Literal[1, 2, 3, 4, 5] = 5
    run: Word
    entry: Word
    cell: Cell
    spec: Spec
    started: AwareDatetime
    seconds: Annotated[float, Field(ge=0)]

    @model_validator(mode="after")
    def _spec_is_the_cells(self) -> _Record:
        if self.cell.spec != self.spec.id:
            raise ValueError(f"the cell is of {self.cell.spec[:80]!r}, but the spec is {self.spec.id!r}")
        return self


class Parent(Frozen):
    """The cell whose final weights, ``weights`` being their digest, every framework starts this stage from.

    ``runner`` and ``mode`` are null where the weights were imported.
    """

    spec: Word
    runner: Word | None
    mode: Word | None
    weights: Digest
    complete: bool | None = Field(description="whether it was trained to the end of its schedule; null if imported")
    diverged: Divergence | None = Field(None, description="that of the training which gave the weights")


class Measured(_Record):
    """A cell's numbers."""

    outcome: Literal["measured"] = "measured"
    environment: Environment
    digests: Digests
    import_ns: Nanoseconds
    latency: tuple[Latency, ...]
    throughput: tuple[Throughput, ...]
    training: Training | None
    parent: Parent | None = None
    memory: Memory
    gpu: Trace | None = Field(None, description="null where no GPU was to be metered")
    beside: bool = Field(False, description="trained beside other work, for what it learns: its times are no samples")

    def samples(self, question: Question) -> tuple[float, ...]:
        """What a question cost: ns per query for latency, else ns per example; empty if it was not asked."""
        size = question.batch_size
        if self.beside:
            return ()
        match question.kind:
            case QuestionKind.TRAINING:
                epochs = self.training.epochs if self.training else ()
                return tuple(e.seconds_ns / e.images for e in epochs if e.images)
            case QuestionKind.LATENCY:
                return tuple(float(s) for m in self.latency if m.batch_size == size for s in m.samples_ns)
            case QuestionKind.THROUGHPUT:
                passes = [m for m in self.throughput if m.batch_size == size and m.images]
                return tuple(s / m.images for m in passes for s in m.samples_ns)

    @property
    def complete(self) -> bool:
        """Whether training ran the spec's full schedule, or diverged so that no further step would change anything."""
        run = self.training
        if run is None:
            return False
        ended = run.divergence is not None and run.divergence.ended is not None
        return run.stopped_early or ended or len(run.epochs) >= self.spec.epochs


class Blocks(Frozen):
    """One question, asked in turns: a block of ``calls`` calls in each lap, after ``calls`` more that settled it.

    Of training a call takes ``examples`` examples in full batches; of latency it is a query of ``batch_size`` images;
    of throughput a pass over a staged split.  ``own_ns`` is what a call of training costs by itself, however few its
    steps, by two lengths of call; null where it was not told from noise, or is not asked.  ``queries_ns`` are the
    times of single queries, block after block.
    """

    kind: QuestionKind
    batch_size: Count = Field(description="that of the question: 0 for training")
    calls: Annotated[int, Field(ge=1, lt=2**31)]
    examples: Annotated[int, Field(ge=1, lt=2**40)] = Field(description="of one call")
    blocks_ns: Annotated[Samples, Field(min_length=1)] = Field(description="one for each lap, in the order of laps")
    queries_ns: Samples = ()
    own_ns: Nanoseconds | None = None

    @property
    def costs(self) -> tuple[float, ...]:
        """Nanoseconds per query for latency, else per example; one for each lap."""
        per = self.calls * (1 if self.kind is QuestionKind.LATENCY else self.examples)
        return tuple(block / per for block in self.blocks_ns)


class Audit(Frozen):
    """Outputs of one timed call, drawn at random, against the reference's: the largest error, and its bound.

    ``error`` is null where a value was not finite, or one was missing.
    """

    kind: QuestionKind
    batch_size: Count
    error: float | None
    bound: float

    @property
    def right(self) -> bool:
        """Whether the error is within its bound."""
        return self.error is not None and self.error <= self.bound


class Timed(_Record):
    """The speed of a cell in one round, its blocks taken in turns with those of all other cells of the benchmark.

    Laps have the same numbers in every cell of an entry, so all of them met the same quiet and the same trouble.
    ``control`` is a second process of the same cell in the same laps: it is compared with the first, never ranked.
    """

    outcome: Literal["timed"] = "timed"
    environment: Environment
    digests: Digests
    import_ns: Nanoseconds
    first_step_ns: Nanoseconds = Field(description="building, tracing, compiling and one step of training")
    compile_cache: Literal["cold", "warm", "none"]
    built_alone: bool = Field(description="whether nothing else ran meanwhile; else ``first_step_ns`` says little")
    blocks: Annotated[tuple[Blocks, ...], Field(min_length=1, max_length=200)]
    audits: Annotated[tuple[Audit, ...], Field(max_length=200)] = ()
    parent: Parent | None = None
    peak_flops: Rate | None = Field(None, description="of a large matrix product, per second; null: not asked")
    peak_bytes: Rate | None = Field(None, description="read and written per second by a large copy; null: not asked")
    peak_ns: Nanoseconds | None = Field(None, description="what finding both took")
    control: bool = False
    spans: bool = Field(False, description="programs did not fit side by side: each cell's laps came in one piece")

    def asked(self, question: Question) -> Blocks | None:
        """The blocks of a question; None if it was not asked."""
        size = question.batch_size
        return next((b for b in self.blocks if b.kind is question.kind and b.batch_size == size), None)

    def laps(self, question: Question) -> tuple[float, ...]:
        """What a question cost in each lap: ns per query for latency, else ns per example; empty if not asked."""
        found = self.asked(question)
        return found.costs if found else ()

    def samples(self, question: Question) -> tuple[float, ...]:
        """As of a cell of old: every query of latency, else the cost in each lap."""
        found = self.asked(question)
        if found and found.queries_ns:
            return tuple(float(query) for query in found.queries_ns)
        return self.laps(question)

    @property
    def training(self) -> None:
        """Nothing is trained to any end here."""
        return

    @property
    def gpu(self) -> None:
        """Nothing is metered in turns."""
        return


class Proof(_Record):
    """What the gate found for a cell (round 0)."""

    outcome: Literal["proof"] = "proof"
    environment: Environment
    digests: Digests
    identity: Identity


class Tuned(Frozen):
    """Single queries of ``batch_size`` images under one change, called ``tuning``; "none" is the cell's own way,
    "again" the same built a second time, after all others.

    ``change`` is the largest difference of outputs from those without the option in float32, relative to their largest
    value; ``accuracy`` is over the first ``images`` of the test split.  With a ``reason`` there are no samples.
    """

    tuning: Word
    mode: Word
    batch_size: Count
    samples_ns: Samples
    images: Count = 0
    accuracy: Share | None = None
    change: float | None = None
    reason: Text | None = None


class InferenceOptions(_Record):
    """One framework's inference under one option after another, all in one process, samples taken in turn."""

    outcome: Literal["tuned"] = "tuned"
    environment: Environment
    digests: Digests
    weights: Digest = Field(description="of the weights that all of them were measured with")
    tunings: Annotated[tuple[Tuned, ...], Field(max_length=100)]


class Cause(StrEnum):
    """Why a cell has no numbers."""

    UNSUPPORTED = "unsupported"
    CRASHED = "crashed"
    TIMED_OUT = "timed out"
    OUT_OF_MEMORY = "out of memory"
    WORKER_DIED = "worker died"
    DIVERGED = "diverged"


class Failed(_Record):
    """A cell without numbers, and the reason.

    *Unsupported* is no failure of the run, and neither is *diverged*: what the cell would have run on is not finite.
    """

    outcome: Literal["failed"] = "failed"
    cause: Cause
    reason: Text
    inherited: Word | None = Field(
        None, description="what it starts from, if that is what failed; null: it failed itself"
    )
    environment: Environment | None = None


Record = Measured | Timed | Proof | InferenceOptions | Failed
Numbers = Measured | Timed
"""A cell with numbers: of old both speed and what was learnt, since version 5 the one in turns and the other alone."""
_ADAPTER: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="outcome")])


def write(path: Path, result: Record) -> None:
    """Validate and write whole or not at all: temporary name, sync, rename.  Raises RunError on a full disk."""
    text = _ADAPTER.dump_json(_ADAPTER.validate_python(result), indent=1)
    write_bytes(path, text + b"\n")


def read(path: Path) -> Record:
    """Read one result file.  Raises ResultError with the file's name and the place of what is wrong."""
    raw = read_json(path)
    version = raw.get("schema_version")
    if version not in READABLE:
        known = f"{', '.join(map(str, READABLE[:-1]))} and {READABLE[-1]}"
        raise ResultError(f"has schema version {str(version)[:20]!r}; this suite reads {known}", where=str(path))
    return validate(path, raw, _ADAPTER)


def read_all(folder: Path, refused: Callable[[ResultError], None]) -> tuple[Record, ...]:
    """Every result in ``folder``, sorted by file name; one that is no result is handed to ``refused`` and left out."""
    results = []
    for path in sorted(folder.glob("*.json")):
        try:
            results.append(read(path))
        except ResultError as error:
            refused(error)
    return tuple(results)
