"""The record: one JSON file per cell, schema-versioned, validated on the way in and on the way out.

A Result holds raw values; statistics are derived.  What is unknown is null.  Result files come from anywhere, so
reading one is strict: size, depth, duplicate keys, NaN, unknown fields and absurd values are refused by file and place.

Schema history: 1, the first; 2 adds the GPU's trace, and where and how a process was built and set.  Both are read.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterable
from enum import StrEnum
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError, model_validator

from suite.errors import ResultError, RunError
from suite.layers import Frozen
from suite.spec import Spec
from suite.trace import Trace

SCHEMA = 2
READABLE = (1, 2)
MAX_FILE_BYTES = 32 << 20
MAX_DEPTH = 48

Count = Annotated[int, Field(ge=0, lt=2**63)]
Nanoseconds = Annotated[int, Field(ge=0, lt=2**63)]
Samples = Annotated[tuple[Nanoseconds, ...], Field(max_length=2_000_000)]
Text = Annotated[str, Field(max_length=20_000)]
Word = Annotated[str, Field(max_length=400)]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class Cell(Frozen):
    """What is measured: spec x runner x mode x precision x device x seed, in one round (0 is the gate's)."""

    spec: Word
    runner: Word
    mode: Word
    precision: Word
    device: Word
    seed: Count
    round: Count

    @property
    def slug(self) -> str:
        """A file name's worth of it."""
        return f"{self.spec.replace('/', '.')}--{self.runner}-{self.mode}-{self.precision}-{self.device}--s{self.seed}"


class Processor(Frozen):
    """The processor at one moment; each null where the system does not tell."""

    mhz: float | None = None
    celsius: float | None = None
    load_1min: float | None = None


class Gpu(Frozen):
    """A GPU as its driver tells it."""

    name: Word
    uuid: Word
    memory_bytes: Count | None = None


class Environment(Frozen):
    """Where and with what a cell ran.  Two results whose ``machine`` differs are never ranked."""

    machine: Digest = Field(description="over processor, cores, memory and GPUs")
    cpu: Word
    cores: Count
    memory_bytes: Count
    kernel: Word
    system: Word
    python: Word
    suite: Word
    source: Digest = Field(description="over the suite's own source files")
    commit: Word | None = None
    lock: Digest | None = None
    place: Literal["native", "container"] = "native"
    image: Word | None = Field(None, description="the container image's id, where whoever started it told")
    build: dict[Word, Word] = Field({}, description="what the image was built from: base, lock, commit")
    packages: dict[Word, Word] = Field({})
    libraries: dict[Word, Word] = Field({}, description="the framework and the libraries under it, as the runner tells")
    devices: dict[Word, Word] = Field({}, description="what the framework sees, or why not")
    settings: dict[Word, Word] = Field({}, description="the framework's switches that decide numbers: tf32, ...")
    threads_intra: Count | None = None
    threads_inter: Count | None = None
    denormals: Literal["flushed", "kept"] | None = None
    governor: Word | None = None
    turbo: bool | None = None
    before: Processor = Processor()
    after: Processor = Processor()
    gpus: tuple[Gpu, ...] = ()
    driver: Word | None = None


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
    accuracy: float | None


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


class Memory(Frozen):
    """Peak bytes, or null: resident by phase; on a GPU above its idle baseline, and by the framework's own count."""

    import_bytes: Count | None
    build_bytes: Count | None
    steady_bytes: Count | None
    device_bytes: Count | None = None
    allocator_bytes: Count | None = None


class _Record(Frozen):
    schema_version: Literal[1, 2] = 2
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


class Measured(_Record):
    """A cell's numbers."""

    outcome: Literal["measured"] = "measured"
    environment: Environment
    digests: Digests
    import_ns: Nanoseconds
    latency: tuple[Latency, ...]
    throughput: tuple[Throughput, ...]
    training: Training | None
    memory: Memory
    gpu: Trace | None = Field(None, description="null where no GPU was to be metered")

    @property
    def complete(self) -> bool:
        """Whether training ran the spec's full schedule."""
        run = self.training
        return run is not None and (run.stopped_early or len(run.epochs) >= self.spec.epochs)


class Check(Frozen):
    """One comparison of the gate: the error of ``tensor`` against the reference, relative, and its bound.

    ``error`` is null when a value was not finite, which is never equal.
    """

    section: Word
    tensor: Word
    error: float | None
    bound: float

    @property
    def equal(self) -> bool:
        """Whether the error is within its bound."""
        return self.error is not None and self.error <= self.bound


class Verdict(StrEnum):
    """What the gate says of a runner under a spec."""

    IDENTICAL = "identical"
    VARIANT = "identical up to a variant"
    UNPROVEN = "unproven"


class Identity(Frozen):
    """The outcome of comparing a runner with the reference.

    ``checks`` holds the worst check of each section, and every one that failed, in the order of computation; the
    first failed one is ``divergence``.  ``compared`` counts all comparisons.  ``drift`` is the largest relative
    difference of weights after ten free-running steps: reported, never judged.  ``key`` is the digest of all that the
    proof depends on.
    """

    verdict: Verdict
    variants: tuple[Word, ...] = ()
    variant_shift: float | None = None
    compared: Count
    checks: Annotated[tuple[Check, ...], Field(max_length=100_000)]
    divergence: Check | None
    drift: float | None
    key: Digest


class Proof(_Record):
    """What the gate found for a cell (round 0)."""

    outcome: Literal["proof"] = "proof"
    environment: Environment
    digests: Digests
    identity: Identity


class Cause(StrEnum):
    """Why a cell has no numbers."""

    UNSUPPORTED = "unsupported"
    CRASHED = "crashed"
    TIMED_OUT = "timed out"
    OUT_OF_MEMORY = "out of memory"
    WORKER_DIED = "worker died"


class Failed(_Record):
    """A cell without numbers, and the reason.  Unsupported is no failure of the run."""

    outcome: Literal["failed"] = "failed"
    cause: Cause
    reason: Text
    environment: Environment | None = None


Result = Annotated[Measured | Proof | Failed, Field(discriminator="outcome")]
T = TypeVar("T")
_ADAPTER: TypeAdapter[Measured | Proof | Failed] = TypeAdapter(Result)


def write(path: Path, result: Measured | Proof | Failed) -> None:
    """Validate and write whole or not at all: temporary name, sync, rename.  Raises RunError on a full disk."""
    text = _ADAPTER.dump_json(_ADAPTER.validate_python(result), indent=1)
    write_bytes(path, text + b"\n")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.  Raises RunError if it cannot be written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise RunError(
            f"cannot be written ({error.strerror})",
            where=str(path),
            way_out="Free some space or rights and run again: what is finished is kept.",
        ) from None


def read(path: Path) -> Measured | Proof | Failed:
    """Read one result file.  Raises ResultError with the file's name and the place of what is wrong."""
    raw = read_json(path)
    version = raw.get("schema_version")
    if version not in READABLE:
        known = " and ".join(map(str, READABLE))
        raise ResultError(f"has schema version {str(version)[:20]!r}; this suite reads {known}", where=str(path))
    return validate(path, raw, _ADAPTER)


def validate(path: Path, raw: dict[str, Any], adapter: TypeAdapter[T]) -> T:
    """``raw``, read from ``path``, as what ``adapter`` describes.  Raises ResultError with the place of the fault."""
    try:
        return adapter.validate_json(json.dumps(raw))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ResultError(f"{place[:200]}: {first['msg'][:200]}", where=str(path)) from None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object, refusing what the standard reader lets through: duplicate keys, NaN, depth and size."""
    where = str(path)
    raw = _read_bytes(path)

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON number")

    def pairs(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in items:
            if key in found:
                raise ValueError(f"the key {key[:80]!r} stands twice")
            found[key] = value
        return found

    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=refuse, object_pairs_hook=pairs)
    except UnicodeDecodeError:
        raise ResultError("is not UTF-8 text", where=where) from None
    except (ValueError, RecursionError) as error:
        raise ResultError(f"is not whole, valid JSON ({str(error)[:200]})", where=where) from None
    if not isinstance(value, dict):
        raise ResultError("holds no JSON object", where=where)
    return value


def _read_bytes(path: Path) -> bytes:
    where = str(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ResultError(f"cannot be read ({error.strerror})", where=where) from None
    if len(raw) > MAX_FILE_BYTES:
        raise ResultError(f"is over {MAX_FILE_BYTES >> 20} MiB", where=where)
    if _depth(raw) > MAX_DEPTH:
        raise ResultError(f"is nested over {MAX_DEPTH} deep", where=where)
    return raw


_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def _depth(raw: bytes) -> int:
    """Deepest nesting of brackets outside strings, counted without recursion."""
    brackets = _STRING.sub(b"", raw).translate(None, _NO_BRACKETS)
    return max(accumulate((1 if bracket in b"[{" else -1 for bracket in brackets), initial=0))


def read_all(folder: Path, refused: Callable[[ResultError], None]) -> tuple[Measured | Proof | Failed, ...]:
    """Every result in ``folder``, sorted by file name; one that is no result is handed to ``refused`` and left out."""
    results = []
    for path in sorted(folder.glob("*.json")):
        try:
            results.append(read(path))
        except ResultError as error:
            refused(error)
    return tuple(results)
