"""What a program's outputs are worth: scores of its splits, and the assessment that its task asks for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from suite import assess
from suite.assessment import Assessment
from suite.examples import Examples
from suite.result import Scores
from suite.runners.base import Array, Program, Weights
from suite.scores import Part, score
from suite.spec import Spec
from suite.task import Anomaly, Classification, Detection, Reconstruction, WordEmbedding

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
) -> tuple[dict[str, Scores], Assessment | None]:
    """Scores of the final weights on every split, by its name, and what they are worth by the spec's task.

    Outputs of one split are held at a time.
    """
    scores: dict[str, Scores] = {}
    train_errors = np.zeros(0)
    assessment: Assessment | None = None
    for name in (held.learnt, *(other for other in ("validation", "test") if other in held.names)):
        outputs = program.predict(name, BATCH)
        scores["train" if name == held.learnt else name] = scored(spec, held, name, outputs, weights)
        if isinstance(spec.task, Anomaly) and name == held.learnt:
            train_errors = _errors(held, name, outputs)
        if name == "test":
            assessment = _assessed(spec, held, outputs, weights, train_errors)
    return scores, assessment


def _errors(held: Examples, name: str, outputs: Array) -> assess.Floats:
    return np.concatenate([assess.reconstruction_errors(o, targets) for o, targets, _ in _parts(held, name, outputs)])


def _assessed(
    spec: Spec, held: Examples, outputs: Array, weights: Weights, train_errors: assess.Floats
) -> Assessment | None:
    """Of outputs over the test split; with weights that are no numbers there is nothing to tell."""
    match spec.task:
        case Classification():
            return assess.classified(held.labels("test"), outputs)
        case Reconstruction():
            return None
        case Anomaly(quantile=quantile):
            errors = _errors(held, "test", outputs)
            return assess.sorted_out(spec.normal_classes, quantile, train_errors, errors, held.labels("test"))
        case WordEmbedding():
            return assess.embedded(spec, weights, held.words)
        case Detection():
            return assess.located(outputs, np.concatenate([targets for _, targets, _ in held.parts("test")]))
