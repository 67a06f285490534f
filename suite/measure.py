"""How one cell is measured: start, warm-up, training, latency, throughput, memory, each sample kept."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from suite import data, initial
from suite.errors import DataError
from suite.meters.clock import quiet, settled, timed
from suite.meters.gpu import OFF, Meter, device_bytes
from suite.meters.memory import Phases
from suite.plan import Profile
from suite.result import Digests, Epoch, Latency, Memory, Scores, Throughput, Training
from suite.runners.base import Array, Program, Runner, State, Weights
from suite.scores import finite, score
from suite.spec import EarlyStopping, Spec
from suite.trace import Trace

EVALUATION_BATCH = 500
WARMUP_STEPS = 8
"""Full steps of one warm-up call of training; the ragged one follows, as in an epoch."""
WARMUP_QUERIES = 20
"""Queries per warm-up call of the mode: a query is short, while caches and clocks take milliseconds to settle."""
MOST_PASSES = 10_000
"""Bound on samples where a pass takes next to no time."""


@dataclass(frozen=True)
class Split:
    """Images as a program takes them (n, h, w, c) in float32, targets and the classes they came from."""

    images: Array
    targets: Array
    labels: Array


@lru_cache(maxsize=2)
def splits(spec_json: str) -> dict[str, Split]:
    """The staged splits of a resolved spec: train, validation if it has one, test."""
    spec = Spec.model_validate_json(spec_json)
    arrays = data.load(spec.dataset)
    if arrays.facts.digest != spec.data.digest:
        raise DataError(f"{spec.dataset} is not the data set that the run was planned with", way_out="Make a new run.")
    train, held_out = initial.split(spec)
    chosen = {
        "train": (arrays.train_images[train], arrays.train_labels[train]),
        "validation": (arrays.train_images[held_out], arrays.train_labels[held_out]),
        "test": (arrays.test_images, arrays.test_labels),
    }
    found = {}
    for name, (pixels, labels) in chosen.items():
        if len(pixels):
            images = initial.images(spec, pixels)
            found[name] = Split(images, initial.targets(spec, labels, images), np.asarray(labels))
    return found


def start(spec: Spec, seed: int) -> State:
    """Where training begins: the spec's initial weights, nothing remembered."""
    return State(initial.weights(spec, seed))


def digests(spec: Spec, seed: int) -> Digests:
    """What must be equal for two cells to have computed the same."""
    return Digests(
        spec=spec.digest,
        dataset=spec.data.digest,
        weights=initial.fingerprint(initial.weights(spec, seed)),
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


def measure(
    runner: Runner,
    spec: Spec,
    mode: str,
    seed: int,
    profile: Profile,
    import_bytes: int | None,
    meter: Meter = OFF,
) -> Measurement:
    """Build ``spec`` and measure it as ``profile`` says.  Raises Unsupported, or whatever the framework raises."""
    held = splits(spec.model_dump_json())
    calls = runner.warmup[mode]
    meter.begin()
    runner.allocator_peak()  # forgets that of the cell before
    phases = Phases()
    cache = compile_cache(kept=mode in runner.cached)
    build_ns, program = timed(runner.build, spec, mode, "float32")
    for name, split in held.items():
        program.stage(name, split.images, split.targets)
    begin = start(spec, seed)
    program.load(begin)
    first_ns, _ = timed(program.train, initial.order(seed, 0, spec.train_images)[: spec.batch_size])
    build_bytes = phases.end()

    order = warmup_order(spec, seed)
    warmup = tuple(timed(program.train, order)[0] for _ in range(calls))
    for name in watched(held):
        program.predict(name, EVALUATION_BATCH)  # compiled here, not in the midst of training's energy
    program.load(begin)
    with settled():
        with meter.span("training", spec.batch_size) as span:
            epochs, stopped, best = train(program, spec, seed, held, profile.epochs)
            span.images = sum(epoch.images for epoch in epochs)
        weights = program.state().weights
        final = {name: evaluate(program, spec, name, split, weights) for name, split in held.items()}
        training = Training(
            first_step_ns=build_ns + first_ns,
            compile_cache=cache,
            warmup_ns=warmup,
            epochs=tuple(epochs),
            stopped_early=stopped,
            best_epoch=best,
            train=final["train"],
            validation=final.get("validation"),
            test=final["test"],
            weights=initial.fingerprint(weights),
        )
        images = held["test"].images
        latency = tuple(
            latencies(program, images, size, profile.latency_samples, WARMUP_QUERIES * calls, meter)
            for size in profile.latency_batches
            if size <= len(images)
        )
        throughput = tuple(
            throughputs(program, len(images), size, profile.throughput_seconds, calls, meter)
            for size in profile.throughput_batches
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


def warmup_order(spec: Spec, seed: int) -> NDArray[np.int32]:
    """A short epoch with every batch size of a full one."""
    order = initial.order(seed, 0, spec.train_images)
    ragged = len(order) % spec.batch_size
    return np.ascontiguousarray(order[: min(len(order) - ragged, WARMUP_STEPS * spec.batch_size) + ragged])


def train(
    program: Program, spec: Spec, seed: int, held: dict[str, Split], cap: int | None
) -> tuple[list[Epoch], bool, int | None]:
    """Train from the loaded state to the end of the schedule, its cap or early stopping, and time every epoch.

    Returns the epochs, whether training stopped early, and the best epoch (from 1) if early stopping watches one.
    """
    watch = Watch(spec.early_stopping) if spec.early_stopping else None
    epochs: list[Epoch] = []
    kept: State | None = None
    for number in range(min(spec.epochs, cap or spec.epochs)):
        order = initial.order(seed, number, spec.train_images)
        with quiet():
            seconds, loss = timed(program.train, order)
        weights = program.state().weights if spec.l2 else {}
        scores = {name: evaluate(program, spec, name, held[name], weights) for name in watched(held)}
        epochs.append(
            Epoch(
                seconds_ns=seconds,
                images=len(order),
                train_loss=finite(float(loss)),
                validation=scores.get("validation"),
                test=scores["test"],
            )
        )
        if watch and watch.improved(scores["validation"]) and watch.rule.restore_best:
            kept = program.state()
        if watch and watch.over:
            break
    if kept:
        program.load(kept)
    return epochs, bool(watch and watch.over), watch.best_epoch if watch else None


def watched(held: dict[str, Split]) -> list[str]:
    """The splits that are evaluated after every epoch."""
    return [name for name in ("validation", "test") if name in held]


class Watch:
    """Early stopping: patience counted in epochs without an improvement of more than ``min_delta``."""

    def __init__(self, rule: EarlyStopping) -> None:
        self.rule = rule
        self.best_epoch: int | None = None
        self._best = -math.inf
        self._epoch = 0

    def improved(self, scores: Scores) -> bool:
        """Take one epoch's scores; whether it is the best so far.  A loss or accuracy that is no number never is."""
        self._epoch += 1
        loss = None if scores.loss is None else -(scores.loss + (scores.penalty or 0.0))
        value = loss if self.rule.monitor == "validation_loss" else scores.accuracy
        better = value is not None and value > self._best + self.rule.min_delta
        if better and value is not None:
            self._best, self.best_epoch = value, self._epoch
        return better

    @property
    def over(self) -> bool:
        """Whether patience has run out."""
        return self._epoch - (self.best_epoch or 0) >= self.rule.patience


def evaluate(program: Program, spec: Spec, name: str, split: Split, weights: Weights) -> Scores:
    """Scores of a staged split."""
    return score(spec, program.predict(name, EVALUATION_BATCH), split.targets, split.labels, weights)


def latencies(
    program: Program, images: Array, batch_size: int, samples: int, warmup: int, meter: Meter = OFF
) -> Latency:
    """Single queries, one after another, over the images in turn."""
    queries = _queries(images, batch_size)
    warm = tuple(timed(program.infer, next(queries))[0] for _ in range(warmup))
    with quiet(), meter.span("latency", batch_size, samples * batch_size):
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
    with quiet(), meter.span("throughput", batch_size) as span:
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
