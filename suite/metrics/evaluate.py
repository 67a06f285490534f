"""What a program's outputs are judged by: scores of its splits, and the metrics of its task."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from suite.inputs.examples import Examples
from suite.metrics.loss import Part, score
from suite.results.records import Scores
from suite.runners.base import Array, Program, Weights
from suite.spec.resolved import Spec
from suite.spec.tasks.task import Judged, TaskMetrics

BATCH = 500


def evaluate(program: Program, spec: Spec, held: Examples, name: str, weights: Weights) -> Scores:
    """Scores of a staged split."""
    return scored(spec, held, name, program.predict(name, BATCH), weights)


def scored(spec: Spec, held: Examples, name: str, outputs: Array, weights: Weights) -> Scores:
    """Scores of the outputs over a split."""
    return score(spec, _parts(held, name, outputs), weights, held.judged(name))


def _parts(held: Examples, name: str, outputs: Array) -> Iterator[Part]:
    for part, targets, labels in held.parts(name):
        yield outputs[part], targets, labels


def judged(
    program: Program, spec: Spec, held: Examples, weights: Weights
) -> tuple[dict[str, Scores], TaskMetrics | None]:
    """Scores of the final weights on every split, by its name, and the metrics of its task.

    Outputs of one split are held at a time.
    """
    scores: dict[str, Scores] = {}
    learnt: Any = None
    metrics: TaskMetrics | None = None
    for name in (held.learnt, *(other for other in ("validation", "test") if other in held.names)):
        outputs = program.predict(name, BATCH)
        scores["train" if name == held.learnt else name] = scored(spec, held, name, outputs, weights)
        pairs = partial(_pairs, held, name, outputs)
        if name == held.learnt:
            learnt = spec.task.learnt(pairs())
        if name == "test":
            classes = held.labels("test")
            judged = Judged(outputs, pairs, classes, spec.data, spec.tensors, weights, held.words, learnt)
            metrics = spec.task.metrics(judged)
    return scores, metrics


def _pairs(held: Examples, name: str, outputs: Array) -> Iterator[tuple[Array, Array]]:
    for part, targets, _ in _parts(held, name, outputs):
        yield part, targets
