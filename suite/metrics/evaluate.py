"""What a program's outputs are worth: scores of its splits, and the assessment that its task asks for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from suite.inputs.examples import Examples
from suite.metrics import tasks
from suite.metrics.loss import Part, score
from suite.results.records import Scores
from suite.results.task_metrics import TaskMetrics
from suite.runners.base import Array, Program, Weights
from suite.spec.resolved import Spec
from suite.spec.tasks import Anomaly, Classification, Detection, Reconstruction, WordEmbedding

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
    """Scores of the final weights on every split, by its name, and what they are worth by the spec's task.

    Outputs of one split are held at a time.
    """
    scores: dict[str, Scores] = {}
    train_errors = np.zeros(0)
    assessment: TaskMetrics | None = None
    for name in (held.learnt, *(other for other in ("validation", "test") if other in held.names)):
        outputs = program.predict(name, BATCH)
        scores["train" if name == held.learnt else name] = scored(spec, held, name, outputs, weights)
        if isinstance(spec.task, Anomaly) and name == held.learnt:
            train_errors = _errors(held, name, outputs)
        if name == "test":
            assessment = _assessed(spec, held, outputs, weights, train_errors)
    return scores, assessment


def _errors(held: Examples, name: str, outputs: Array) -> tasks.Floats:
    return np.concatenate([tasks.reconstruction_errors(o, targets) for o, targets, _ in _parts(held, name, outputs)])


def _assessed(
    spec: Spec, held: Examples, outputs: Array, weights: Weights, train_errors: tasks.Floats
) -> TaskMetrics | None:
    """Of outputs over the test split; with weights that are no numbers there is nothing to tell."""
    match spec.task:
        case Classification():
            return tasks.classified(held.labels("test"), outputs)
        case Reconstruction():
            return None
        case Anomaly(quantile=quantile):
            errors = _errors(held, "test", outputs)
            return tasks.sorted_out(spec.normal_classes, quantile, train_errors, errors, held.labels("test"))
        case WordEmbedding():
            return tasks.embedded(spec, weights, held.words)
        case Detection():
            return tasks.located(outputs, np.concatenate([targets for _, targets, _ in held.parts("test")]))
