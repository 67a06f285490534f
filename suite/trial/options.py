"""Inference under one option after another: what each changes in time, and in the answers.

All ways are built first, in one process and over the same weights; then single queries are taken in turns, one of each
way in an order drawn anew, so that whatever the machine does, and whatever a query leaves behind in the caches, meets
all of them alike.  The untouched way is built once more, after all others, for what is built late in a process may be
slower (by 1 to 3 % after torch.compile): how far it is from the first, no option has done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle
from typing import cast

import numpy as np

from suite.errors import Unsupported
from suite.meters.clock import gc_disabled, gc_frozen, timed
from suite.results.records import Tuned
from suite.run.plan import INFERENCE_OPTIONS
from suite.runners.base import Array, InferenceOption, Program, State
from suite.trial.measure import Work

NONE, BASELINE_REPEAT = "none", "again"
CHUNK = 100
"""Images of one call while the answers are judged."""
CALIBRATION = 256
"""Training images from which static quantisation learns its ranges."""
WARMUP = 10
"""Queries before the first that counts, times the runner's own warm-up calls."""
FEWEST = 5
"""Samples of each way, however long they take."""
Query = Callable[[Array], Array]


@dataclass
class TimedOption:
    """One way to answer queries; without a ``query`` there is a ``reason``."""

    tuning: str
    mode: str
    batch_size: int
    query: Query | None = None
    reason: str | None = None
    samples: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Asked:
    """What inference is asked under each of ``options``, over ``inputs`` (n, ...) and their classes ``labels``, if any.

    Static quantisation learns its ranges from ``calibration`` (m, ...), which holds none of ``inputs``.  Of each option
    there are at most ``samples``, and no more once they have taken ``seconds``.
    """

    options: tuple[str, ...]
    inputs: Array
    labels: Array | None
    calibration: Array
    samples: int
    seconds: float


def tune(work: Work, state: State, asked: Asked) -> tuple[Tuned, ...]:
    """Measure inference over the weights of ``state`` as ``work`` has it, and under each option that is asked.

    As it is, it is measured twice.  A mode that the runner does not know is left out.  What a framework refuses or
    fails at is told as a reason.
    """
    runner, mode, inputs = work.runner, work.mode, asked.inputs
    built: dict[str, Program] = {}

    def new(named: str) -> Program:
        made = work.build(named)
        made.load(state)
        return made

    def program(named: str) -> Program:
        if named not in built:
            built[named] = new(named)
        return built[named]

    def query(option: str, named: str) -> Query:
        if option in INFERENCE_OPTIONS:
            return program(named).infer_with(cast(InferenceOption, option), asked.calibration)
        if reason := runner.missing(named):
            raise Unsupported(reason)
        return (new if option == BASELINE_REPEAT else program)(named).infer

    ways = [TimedOption(NONE, mode, 1, program(mode).infer)]
    for way in _ways(asked.options, mode, runner.modes):
        if way.batch_size > len(inputs):
            continue
        try:
            way.query = query(way.tuning, way.mode)
            _warm_up(way, inputs, runner.warmup[way.mode])
        except Exception as error:  # noqa: BLE001 - whatever a framework raises is an answer
            way.query, way.reason = None, _reason(error)
        ways.append(way)
    _warm_up(ways[0], inputs, runner.warmup[mode])
    with gc_frozen(), gc_disabled():
        _take_turns([way for way in ways if way.query], inputs, asked.samples, asked.seconds * 1e9)
    plain = _answers(ways[0], inputs)
    return tuple(_tuned(way, inputs, asked.labels, plain) for way in ways)


def _ways(wanted: tuple[str, ...], mode: str, modes: tuple[str, ...]) -> Iterator[TimedOption]:
    for option in wanted:
        kind, _, value = option.partition(":")
        if kind == "batch":
            yield TimedOption(option, mode, int(value))
        elif kind != "mode":
            yield TimedOption(option, mode, 1)
        elif value in modes and value != mode:
            yield TimedOption(option, value, 1)
    yield TimedOption(BASELINE_REPEAT, mode, 1)


def _batches(inputs: Array, size: int) -> Iterator[Array]:
    whole = len(inputs) // size * size
    return cycle([inputs[i : i + size] for i in range(0, whole, size)])


def _warm_up(way: TimedOption, inputs: Array, calls: int) -> None:
    assert way.query
    batches = _batches(inputs, way.batch_size)
    for _ in range(WARMUP * calls):
        way.query(next(batches))


def _take_turns(ways: list[TimedOption], inputs: Array, samples: int, most_ns: float) -> None:
    batches = [_batches(inputs, way.batch_size) for way in ways]
    turns = list(zip(ways, batches, strict=True))
    random = np.random.default_rng(0)
    while turns:
        for i in random.permutation(len(turns)):
            way, batch = turns[i]
            assert way.query
            way.samples.append(timed(way.query, next(batch))[0])
        turns = [
            (way, batch)
            for way, batch in turns
            if len(way.samples) < samples and (len(way.samples) < FEWEST or sum(way.samples) < most_ns)
        ]


def _answers(way: TimedOption, inputs: Array) -> Array:
    """Outputs over all inputs, in calls of the way's own batch where it has one, else of ``CHUNK``."""
    assert way.query
    size = way.batch_size if way.batch_size > 1 else CHUNK
    return np.concatenate([np.array(way.query(inputs[i : i + size])) for i in range(0, len(inputs), size)])


def _tuned(way: TimedOption, inputs: Array, labels: Array | None, plain: Array) -> Tuned:
    told = Tuned(tuning=way.tuning, mode=way.mode, batch_size=way.batch_size, samples_ns=(), reason=way.reason)
    if way.query is None:
        return told
    try:
        outputs = _answers(way, inputs).astype(np.float64)
    except Exception as error:  # noqa: BLE001 - as above
        return told.model_copy(update={"reason": _reason(error)})
    largest = float(np.abs(plain).max())
    difference = float(np.abs(outputs - plain).max())
    judged = labels is not None and bool(np.isfinite(outputs).all())
    return told.model_copy(
        update={
            "samples_ns": tuple(way.samples),
            "images": len(inputs),
            "accuracy": float((outputs.argmax(axis=-1) == labels).mean()) if judged else None,
            "change": difference / largest if largest and np.isfinite(difference / largest) else None,
        }
    )


def _reason(error: Exception) -> str:
    text = str(error) if isinstance(error, Unsupported) else f"{type(error).__name__}: {error}"
    return text[:2000]
