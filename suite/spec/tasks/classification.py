"""An image's class: confusion matrix, precision and recall of each class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, NonNegativeInt, model_validator

from suite.spec.targets import Target
from suite.spec.tasks.shown import Block, Part, Sentence, Strong, Table, seeds
from suite.spec.tasks.task import Array, Judged, Task, TaskMetrics

MOST_CLASSES = 100
"""Above it a confusion matrix is no longer recorded."""
MOST_SHOWN = 20
"""Above it a confusion matrix is no longer read, and only what is confused most is told."""
MOST_CONFUSED = 10


class ClassificationMetrics(TaskMetrics):
    """``confusion[i][j]`` counts the images of class i that were taken for class j."""

    kind: Literal["classification"] = "classification"
    confusion: Annotated[tuple[tuple[NonNegativeInt, ...], ...], Field(min_length=1, max_length=1000)]

    @model_validator(mode="after")
    def _is_square(self) -> ClassificationMetrics:
        if any(len(row) != len(self.confusion) for row in self.confusion):
            raise ValueError("a confusion matrix is square")
        return self

    @classmethod
    def shown(cls, found: Mapping[str, Mapping[int, Any]], called: Callable[[int], str], large: bool) -> list[Block]:
        """The matrix summed over seeds, once where frameworks agree."""
        alike: dict[tuple[int, bytes, int], list[str]] = {}
        for who, of_seeds in {} if large else found.items():
            if len({len(m.confusion) for m in of_seeds.values()}) == 1:
                counts = np.sum([np.array(m.confusion, np.int64) for m in of_seeds.values()], axis=0)
                alike.setdefault((len(counts), counts.tobytes(), len(of_seeds)), []).append(who)
        blocks: list[Block] = []
        for (classes, summed, count), names in alike.items():
            counts = np.frombuffer(summed, np.int64).reshape(classes, classes)
            same = ", the same for both" if len(names) > 1 else ""
            told = f"classes by {' and '.join(names)}{same}, all test images of {seeds(count)}"
            blocks.append(Sentence("Confusion", f": {told}; a row is the true class, a column the prediction."))
            blocks += [_matrix(counts, called)] if classes <= MOST_SHOWN else _most_confused(counts, called)
        return blocks


class Classification(Task):
    """An image's class: accuracy, confusion matrix, precision and recall of each class."""

    kind: Literal["classification"]
    metrics_kind: ClassVar[type[TaskMetrics] | None] = ClassificationMetrics
    default_for: ClassVar[frozenset[Target]] = frozenset(Target) - {Target.INPUT}
    takes_words: ClassVar[bool] = True
    tells_classes: ClassVar[bool] = True
    augmentable: ClassVar[bool] = True

    @property
    def targets(self) -> tuple[Target, ...]:
        """The class, or the class one-hot encoded."""
        return Target.LABELS, Target.ONE_HOT

    def metrics(self, judged: Judged) -> ClassificationMetrics | None:
        """The confusion matrix; None for very many classes, or outputs that are no numbers."""
        return classified(judged.classes, judged.outputs)


def classified(labels: Array, outputs: Array) -> ClassificationMetrics | None:
    """Confusion matrix of ``outputs`` (n, classes), whose largest is the prediction; None for very many classes."""
    classes = outputs.shape[-1]
    if classes > MOST_CLASSES or not np.isfinite(outputs).all():
        return None
    pairs = np.asarray(labels, np.int64) * classes + outputs.argmax(axis=-1)
    counts = np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
    return ClassificationMetrics(confusion=tuple(tuple(int(n) for n in row) for row in counts))


def _shares(counts: Array) -> tuple[list[Part], list[Part]]:
    """Precision and recall of each class."""
    right, predicted, there = counts.diagonal(), counts.sum(axis=0), counts.sum(axis=1)
    precision = [Part(int(r), int(p)) for r, p in zip(right, predicted, strict=True)]
    return precision, [Part(int(r), int(t)) for r, t in zip(right, there, strict=True)]


def _matrix(counts: Array, called: Callable[[int], str]) -> Table:
    precision, recall = _shares(counts)
    rows = [
        (
            called(i),
            *(Strong(f"{n:,}") if i == j else f"{n:,}" for j, n in enumerate(line)),
            precision[i],
            recall[i],
        )
        for i, line in enumerate(counts)
    ]
    heads = ("", *map(called, range(len(counts))), "precision", "recall")
    return Table(heads, rows, "r" * len(heads))


def _most_confused(counts: Array, called: Callable[[int], str]) -> list[Block]:
    """The pairs of classes that are confused most, and the classes that are found least."""
    precision, recall = _shares(counts)
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_CONFUSED]
    pairs = [(int(k) // len(counts), int(k) % len(counts)) for k in order]
    rows = [(called(i), called(j), f"{wrong[i, j]:,} of {counts[i].sum():,}") for i, j in pairs if wrong[i, j]]
    there = counts.sum(axis=1)
    found = np.divide(counts.diagonal(), there, out=np.ones(len(counts)), where=there > 0)
    worst = [int(i) for i in np.argsort(found, kind="stable")[:MOST_CONFUSED]]
    least = f"{len(counts)} classes: the pairs that are confused most, and the classes that are found least."
    return [
        Sentence("", least),
        Table(("true class", "taken for", "images"), rows, "rrr"),
        Table(("class", "precision", "recall"), [(called(i), precision[i], recall[i]) for i in worst], "rrr"),
    ]
