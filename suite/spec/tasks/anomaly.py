"""Images of unusual classes, told by how badly an autoencoder of the usual ones gives them back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, NonNegativeInt, model_validator

from suite.scales import POSITIVE, SHARE
from suite.spec.dataset import DatasetFacts
from suite.spec.spelling import listed
from suite.spec.targets import Target
from suite.spec.tasks.reconstruction import Reconstruction
from suite.spec.tasks.shown import Block, Sentence, Spread, Table, Unit, Value, seeds
from suite.spec.tasks.task import Array, Floats, Histogram, Judged, Share, Task, TaskMetrics
from suite.spec.tensors import MisfitError

BINS = 60
REACH = 0.999
"""Quantile of the errors at which the histogram's last bin, which takes all larger ones, begins to be the last."""
LONGEST_CLASS = 64
"""Letters of a class's name."""
Counts = tuple[NonNegativeInt, ...]
FIGURES = {
    "auroc": ("area under the ROC curve", Unit.FOUR_PLACES, SHARE),
    "average_precision": ("average precision", Unit.FOUR_PLACES, SHARE),
    "threshold": ("threshold of the error", Unit.DIGITS, POSITIVE),
    "precision": ("precision at the threshold", Unit.PERCENT, SHARE),
    "recall": ("recall at the threshold", Unit.PERCENT, SHARE),
}


def _class_name(value: object) -> object:
    if type(value) is int or (isinstance(value, str) and 0 < len(value) <= LONGEST_CLASS):
        return value
    raise MisfitError(
        f"must be a class as the labels have it: a whole number, or a text of at most {LONGEST_CLASS} letters"
    )


ClassName = Annotated[int | str, BeforeValidator(_class_name)]
"""A class as the data have it: a number, or a text where labels are texts."""


class AnomalyMetrics(TaskMetrics):
    """Anomalies told from normal images by their reconstruction errors; anomalies are the positives.

    ``normal[i]`` and ``anomalous[i]`` count test images whose error lies in ``edges[i]`` to ``edges[i + 1]``.
    """

    kind: Literal["anomaly"] = "anomaly"
    threshold: float | None
    auroc: Share | None
    average_precision: Share | None
    precision: Share | None
    recall: Share | None
    edges: Annotated[tuple[float, ...], Field(max_length=1001)]
    normal: Annotated[Counts, Field(max_length=1000)]
    anomalous: Annotated[Counts, Field(max_length=1000)]

    @model_validator(mode="after")
    def _is_a_histogram(self) -> AnomalyMetrics:
        if len(self.normal) != len(self.anomalous) or len(self.edges) != len(self.normal) + bool(self.normal):
            raise ValueError("a histogram has one more edge than counts")
        return self

    @property
    def tells_nothing(self) -> bool:
        """Whether the errors were no numbers."""
        return not self.edges

    def histogram(self) -> Histogram | None:
        """The two distributions of errors, where there are both."""
        if not (self.normal and sum(self.normal) and sum(self.anomalous)):
            return None
        return Histogram(
            title="reconstruction errors of test images",
            axis="mean squared error of an image",
            edges=self.edges,
            counts={"normal": self.normal, "anomalies": self.anomalous},
            mark=None if self.threshold is None else ("threshold", self.threshold),
        )

    @classmethod
    def shown(cls, found: Mapping[str, Mapping[int, Any]], called: Callable[[int], str], large: bool) -> list[Block]:
        """A row per figure, a column per framework."""
        rows: list[tuple[Value, ...]] = [
            (words, *(Spread(tuple(getattr(m, name) for m in s.values()), unit, bounds) for s in found.values()))
            for name, (words, unit, bounds) in FIGURES.items()
        ]
        heads = ("", *(f"{who}, {seeds(len(s))}" for who, s in found.items()))
        return [
            Sentence(
                "Anomalies",
                " told by their reconstruction error; an anomaly is a positive. Means over seeds, in brackets the 95 % "
                "prediction interval for a new run.",
            ),
            Table(heads, rows, "l" + "r" * len(found)),
        ]


class Anomaly(Task):
    """Images of other classes than the ``normal`` ones, told by how badly they are reconstructed.

    Trained, and validated, on normal images alone.  An image is called anomalous if its mean squared error lies above
    the ``quantile`` of the training images' own errors.  Classes are named as the data have them: by number, or by text
    where labels are texts.
    """

    kind: Literal["anomaly"]
    normal: Annotated[tuple[ClassName, ...], Field(min_length=1)]
    quantile: Annotated[float, Field(gt=0, lt=1)] = 0.95
    metrics_kind: ClassVar[type[TaskMetrics] | None] = AnomalyMetrics

    @property
    def targets(self) -> tuple[Target, ...]:
        """The input itself."""
        return (Target.INPUT,)

    @property
    def of_any_data(self) -> Task:
        """A reconstruction: which images are normal needs the data's classes."""
        return Reconstruction(kind="reconstruction")

    def suits(self, data: DatasetFacts, dataset: str) -> None:
        """Raises MisfitError where classes are not counted, or those named are none or all of them."""
        if data.train_counts is None:
            raise MisfitError(f"{dataset} does not tell how many images each class has", "dataset")
        names = [data.called(number) for number in range(data.classes)]
        if not {str(name) for name in self.normal} < set(names):
            these = listed(names) if data.class_names else ""
            what = f"must name some, not all, of the classes {names[0]} to {names[-1]}"
            raise MisfitError(what, "task.normal", these)

    def trained_classes(self, data: DatasetFacts) -> tuple[int, ...]:
        """The numbers of the classes that it calls normal."""
        numbers = {data.called(number): number for number in range(data.classes)}
        return tuple(sorted({numbers[str(name)] for name in self.normal}))

    def learnt(self, parts: Iterator[tuple[Array, Array]]) -> Floats:
        """The errors (n,) of the training images."""
        return _errors(parts)

    def metrics(self, judged: Judged) -> AnomalyMetrics:
        """Anomalies among the test images; without figures where errors are no numbers."""
        errors = _errors(judged.parts())
        return sorted_out(self.trained_classes(judged.data), self.quantile, judged.learnt, errors, judged.classes)


def _errors(parts: Iterator[tuple[Array, Array]]) -> Floats:
    return np.concatenate([reconstruction_errors(outputs, targets) for outputs, targets in parts])


def reconstruction_errors(outputs: Array, targets: Array) -> Floats:
    """Mean squared error (n,) of each image's reconstruction."""
    difference = outputs.astype(np.float64) - targets
    errors: Floats = np.square(difference).reshape(len(outputs), -1).mean(axis=1)
    return errors


def sorted_out(
    normal: tuple[int, ...], quantile: float, train_errors: Floats, errors: Floats, labels: Array
) -> AnomalyMetrics:
    """Anomalies told by their reconstruction errors (n,); the ``quantile`` of ``train_errors`` is the threshold.

    ``normal`` are the normal ones of the classes that ``labels`` (n,) count.
    """
    anomalous = ~np.isin(labels, normal)
    if not (np.isfinite(errors).all() and np.isfinite(train_errors).all()):
        return AnomalyMetrics(
            threshold=None, auroc=None, average_precision=None, precision=None, recall=None,
            edges=(), normal=(), anomalous=(),
        )  # fmt: skip
    threshold = float(np.quantile(train_errors, quantile))
    raised = errors > threshold
    hits = int((raised & anomalous).sum())
    edges = np.linspace(0.0, float(np.quantile(errors, REACH)) or 1.0, BINS + 1)
    binned = np.minimum(np.searchsorted(edges, errors, side="right") - 1, BINS - 1)
    counts = [np.bincount(binned[kind], minlength=BINS) for kind in (~anomalous, anomalous)]
    return AnomalyMetrics(
        threshold=threshold,
        auroc=auroc(errors, anomalous),
        average_precision=average_precision(errors, anomalous),
        precision=hits / int(raised.sum()) if raised.any() else None,
        recall=hits / int(anomalous.sum()) if anomalous.any() else None,
        edges=tuple(float(edge) for edge in edges),
        normal=tuple(int(n) for n in counts[0]),
        anomalous=tuple(int(n) for n in counts[1]),
    )


def auroc(scores: Floats, positive: NDArray[np.bool_]) -> float | None:
    """Area under the ROC curve: the share of pairs in which the positive scores higher, ties counting half.

    The rank-sum form (Hanley & McNeil 1982): ``(R - p (p + 1) / 2) / (p n)``, R the positives' mean ranks summed, with
    p positives and n negatives.  None without both.
    """
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        return None
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2)[place]  # of equal scores, each has their mean rank
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def average_precision(scores: Floats, positive: NDArray[np.bool_]) -> float | None:
    """``sum over thresholds of (recall gained) * precision``, equal scores falling together; None without positives."""
    if not positive.any():
        return None
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # of each group of equal scores
    hits = np.cumsum(positive[order])[last]
    precision = hits / (np.flatnonzero(last) + 1)
    gained = np.diff(hits, prepend=0) / hits[-1]
    return float((gained * precision).sum())
