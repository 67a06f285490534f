"""How one cell is measured: start, warm-up, training, latency, throughput, memory, each sample kept."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from suite.inputs import examples, initial
from suite.inputs.examples import Examples, Split
from suite.meters.clock import gc_disabled, gc_frozen, timed
from suite.meters.gpu import OFF, Meter, device_bytes
from suite.meters.memory import Phases
from suite.metrics.evaluate import BATCH, evaluate, judged
from suite.metrics.loss import finite
from suite.results import divergence
from suite.results.divergence import Divergence, What
from suite.results.gpu_trace import Trace
from suite.results.questions import QuestionKind
from suite.results.records import Digests, Epoch, Latency, Memory, Scores, Throughput, Training
from suite.run.profile import Profile
from suite.runners.base import Array, Precision, Program, Runner, State, Weights
from suite.spec.recipe import EarlyStopping
from suite.spec.resolved import Spec

WARMUP_STEPS = 8
"""Full steps of one warm-up call of training; the ragged one follows, as in an epoch."""
WARMUP_QUERIES = 20
"""Queries per warm-up call of the mode: a query is short, while caches and clocks take milliseconds to settle."""
MOST_PASSES = 10_000
"""Bound on samples where a pass takes next to no time."""
NOTHING: Mapping[str, Array] = {}


def splits(spec: Spec) -> dict[str, Split]:
    """The staged splits of a spec, as the first epoch under seed 0 has them."""
    held = examples.of(spec, 0)
    return {name: held.split(name, first(name)) for name in held.names}


def first(name: str) -> int | None:
    """The epoch whose examples of a split are staged first: only training has epochs."""
    return 0 if name == "train" else None


def start(spec: Spec, seed: int, inherited: Mapping[str, Array] = NOTHING) -> State:
    """Where training begins, nothing remembered: the spec's initial weights, or those that a stage takes over."""
    weights = initial.weights(spec, seed)
    taken = {name: inherited[name].astype(np.float64) for name in spec.inherited_names if name in inherited}
    return State(weights | taken)


def digests(spec: Spec, seed: int, inherited: Mapping[str, Array] = NOTHING) -> Digests:
    """What must be equal for two cells to have computed the same."""
    return Digests(
        spec=spec.digest,
        dataset=spec.data.digest,
        weights=initial.fingerprint(start(spec, seed, inherited).weights),
        order=initial.fingerprint({"order": initial.order(seed, 0, spec.train_images)}),
    )


@dataclass(frozen=True)
class Measurement:
    """All numbers of a cell."""

    latency: tuple[Latency, ...]
    throughput: tuple[Throughput, ...]
    training: Training
    memory: Memory
    gpu: Trace | None


@dataclass(frozen=True)
class Work:
    """What is measured: a spec in a runner's mode and a precision, from the start of ``seed`` and ``inherited``."""

    runner: Runner
    spec: Spec
    mode: str
    precision: Precision
    seed: int
    inherited: Mapping[str, Array] = field(default_factory=dict)

    def build(self, mode: str | None = None) -> Program:
        """A program of it, in another ``mode`` if one is named.  Raises Unsupported."""
        return self.runner.build(self.spec, mode or self.mode, self.precision)


def measure(
    work: Work,
    profile: Profile,
    import_bytes: int | None = None,
    meter: Meter = OFF,
    keep: Callable[[Weights], None] | None = None,
    *,
    queries: bool = True,
) -> Measurement:
    """Build ``work``, train it as ``profile`` says, and measure what that took; ``import_bytes`` is importing's part.

    ``keep`` is given the final weights.  ``queries`` are asked where their energy is metered: speed is taken in turns.
    Raises Unsupported, or whatever the framework raises.
    """
    runner, spec, mode, seed = work.runner, work.spec, work.mode, work.seed
    held = examples.of(spec, seed)
    given = given_first(held)
    calls = runner.warmup[mode]
    meter.begin()
    runner.allocator_peak()  # forgets that of the cell before
    phases = Phases()
    cache = compile_cache(kept=mode in runner.cached)
    build_ns, program = timed(runner.build, spec, mode, work.precision)
    for name in held.names:
        stage(program, held, name, first(name))
    begin = start(spec, seed, work.inherited)
    program.load(begin)
    first_ns, _ = timed(program.train, initial.order(seed, 0, spec.train_images)[: spec.batch_size])
    build_bytes = phases.end()

    order = warmup_order(spec, seed)
    warmup = tuple(timed(program.train, order)[0] for _ in range(calls))
    for name in watched(held):
        program.predict(name, BATCH)  # compiled here, not in the midst of training's energy
    program.load(begin)
    with gc_frozen():
        with meter.span(QuestionKind.TRAINING, spec.batch_size) as span:
            course = train(program, spec, seed, held, profile.epochs_of(spec))
            span.images = sum(epoch.images for epoch in course.epochs)
        weights = program.state().weights
        if keep:
            keep(weights)
        if held.renewed and held.learnt == "train":
            stage(program, held, "train", None)
        final, assessment = judged(program, spec, held, weights)
        training = Training(
            first_step_ns=build_ns + first_ns,
            compile_cache=cache,
            warmup_ns=warmup,
            epochs=course.epochs,
            stopped_early=course.stopped_early,
            best_epoch=course.best_epoch,
            train=final["train"],
            validation=final.get("validation"),
            test=final["test"],
            weights=initial.fingerprint(weights),
            assessment=assessment,
            examples=given,
            diverged=course.diverged,
        )
        lost = training.divergence  # the final losses count as well
        if lost and not divergence.finite(begin.weights):
            lost = lost.model_copy(update={"what": What.START})
        training = training.model_copy(update={"diverged": lost})
        images = held.split("test").images
        latency = tuple(
            latencies(program, images, size, profile.latency_samples, WARMUP_QUERIES * calls, meter)
            for size in profile.latency_batches
            if queries and size <= len(images)
        )
        throughput = tuple(
            throughputs(program, len(images), size, profile.throughput_seconds, calls, meter)
            for size in profile.throughput_batches
            if queries
        )
    steady_bytes = phases.end()
    trace = meter.trace()
    memory = Memory(
        import_bytes=import_bytes,
        build_bytes=build_bytes,
        steady_bytes=steady_bytes,
        device_bytes=device_bytes(trace),
        allocator_bytes=runner.allocator_peak(),
    )
    return Measurement(latency, throughput, training, memory, trace)


def given_first(held: Examples) -> str | None:
    """Fingerprint of the first epoch's examples, where they are drawn: that every framework saw the same pixels."""
    if not held.drawn:
        return None
    split = held.split("train", 0)
    return initial.fingerprint({"images": split.images, "targets": split.targets})


def stage(program: Program, held: Examples, name: str, epoch: int | None) -> None:
    """Make a split resident; the core's own copy of it is gone when this returns."""
    split = held.split(name, epoch)
    program.stage(name, split.images, split.targets)


def warmup_order(spec: Spec, seed: int) -> NDArray[np.int32]:
    """A short epoch with every batch size of a full one."""
    order = initial.order(seed, 0, spec.train_images)
    ragged = len(order) % spec.batch_size
    return np.ascontiguousarray(order[: min(len(order) - ragged, WARMUP_STEPS * spec.batch_size) + ragged])


@dataclass(frozen=True)
class Course:
    """How training went; ``best_epoch`` (from 1) is null unless early stopping watches one."""

    epochs: tuple[Epoch, ...]
    stopped_early: bool
    best_epoch: int | None
    diverged: Divergence | None


def train(program: Program, spec: Spec, seed: int, held: Examples, cap: int | None) -> Course:
    """Train from the loaded state to the end of the schedule, its cap or early stopping, and time every epoch.

    The first epoch's examples are staged; where each epoch has its own they are made, and staged, between the epochs.
    Whether losses and weights are finite is looked at between the epochs, too.  No step mends weights that are not, so
    training ends with the epoch that left such ones, unless the spec has a rule of its own for stopping early: then
    that rule ends it.  After a loss alone it goes on.
    """
    watch = Watch(spec.early_stopping) if spec.early_stopping else None
    epochs: list[Epoch] = []
    kept: State | None = None
    found: Divergence | None = None
    for number in range(min(spec.epochs, cap or spec.epochs)):
        if number and held.renewed:
            stage(program, held, "train", number)
        order = initial.order(seed, number, spec.train_images)
        with gc_disabled():
            seconds, loss = timed(program.train, order)
        scores, sound = _looked_at(program, spec, held)
        epochs.append(
            Epoch(
                seconds_ns=seconds,
                images=len(order),
                train_loss=finite(float(loss)),
                validation=scores.get("validation"),
                test=scores["test"],
            )
        )
        if found is None and (what := divergence.in_epoch(epochs[-1], sound=sound)):
            found = Divergence(epoch=len(epochs), what=what)
        if watch and watch.improved(scores["validation"]) and watch.rule.restore_best:
            kept = program.state()
        if watch and watch.over:
            break
        if found and not sound and not watch:
            found = found.model_copy(update={"ended": "weights"})
            break
    if kept:
        program.load(kept)
    if found and watch and watch.over and watch.blind:
        found = found.model_copy(update={"ended": "early stopping"})
    over, best = (watch.over, watch.best_epoch) if watch else (False, None)
    return Course(tuple(epochs), over, best, found)


def _looked_at(program: Program, spec: Spec, held: Examples) -> tuple[dict[str, Scores], bool]:
    """Scores of the watched splits, and whether the weights are finite; the copy of them is gone when this returns."""
    weights = program.state().weights
    scores = {name: evaluate(program, spec, held, name, weights) for name in watched(held)}
    return scores, divergence.finite(weights)


def watched(held: Examples) -> list[str]:
    """The splits that are evaluated after every epoch."""
    return [name for name in ("validation", "test") if name in held.names]


class Watch:
    """Early stopping: patience counted in epochs without an improvement of more than ``min_delta``."""

    def __init__(self, rule: EarlyStopping) -> None:
        self.rule = rule
        self.best_epoch: int | None = None
        self.blind = False
        """Whether a value since the best epoch was no number."""
        self._best = -math.inf
        self._epoch = 0

    def improved(self, scores: Scores) -> bool:
        """Take one epoch's scores; whether it is the best so far.  A loss or accuracy that is no number never is."""
        self._epoch += 1
        loss = None if scores.loss is None else -(scores.loss + (scores.penalty or 0.0))
        value = loss if self.rule.monitor == "validation_loss" else scores.accuracy
        better = value is not None and value > self._best + self.rule.min_delta
        if better and value is not None:
            self._best, self.best_epoch, self.blind = value, self._epoch, False
        self.blind = self.blind or value is None
        return better

    @property
    def over(self) -> bool:
        """Whether patience has run out."""
        return self._epoch - (self.best_epoch or 0) >= self.rule.patience


def latencies(
    program: Program, images: Array, batch_size: int, samples: int, warmup: int, meter: Meter = OFF
) -> Latency:
    """Single queries, one after another, over the images in turn."""
    queries = _queries(images, batch_size)
    warm = tuple(timed(program.infer, next(queries))[0] for _ in range(warmup))
    with gc_disabled(), meter.span(QuestionKind.LATENCY, batch_size, samples * batch_size):
        measured = tuple(timed(program.infer, next(queries))[0] for _ in range(samples))
    return Latency(batch_size=batch_size, samples_ns=measured, warmup_ns=warm)


def _queries(images: Array, batch_size: int) -> Iterator[Array]:
    whole = len(images) // batch_size * batch_size
    while True:
        for i in range(0, whole, batch_size):
            yield images[i : i + batch_size]


def throughputs(
    program: Program, images: int, batch_size: int, seconds: float, warmup: int, meter: Meter = OFF
) -> Throughput:
    """Passes over the test split until their times add up to ``seconds``, three at the least."""
    warm = tuple(timed(program.predict, "test", batch_size)[0] for _ in range(warmup))
    samples: list[int] = []
    left = seconds * 1e9
    with gc_disabled(), meter.span(QuestionKind.THROUGHPUT, batch_size) as span:
        while (left > 0 and len(samples) < MOST_PASSES) or len(samples) < 3:
            samples.append(timed(program.predict, "test", batch_size)[0])
            left -= samples[-1]
        span.images = images * len(samples)
    return Throughput(batch_size=batch_size, images=images, samples_ns=tuple(samples), warmup_ns=warm)


def compile_cache(*, kept: bool) -> Literal["cold", "warm", "none"]:
    """Whether compiled code of earlier trials is at hand: ``cold``, ``warm``, or ``none`` where none is ever kept."""
    folder = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    if not kept or not folder:
        return "none"
    return "warm" if any(Path(folder).glob("*/*")) else "cold"
