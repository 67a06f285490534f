"""What a trained model is worth beyond its loss: a record for each kind of task, made once by the core.

Every figure is over the test split, and is null where it has no value: no prediction of a class, no anomaly.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, model_validator

from suite.spec.tensors import Frozen

Share = Annotated[float, Field(ge=0, le=1)]
Counts = tuple[NonNegativeInt, ...]
Word = Annotated[str, Field(max_length=40)]


class Classified(Frozen):
    """``confusion[i][j]`` counts the images of class i that were taken for class j."""

    kind: Literal["classification"] = "classification"
    confusion: Annotated[tuple[Counts, ...], Field(min_length=1, max_length=1000)]

    @model_validator(mode="after")
    def _is_square(self) -> Classified:
        if any(len(row) != len(self.confusion) for row in self.confusion):
            raise ValueError("a confusion matrix is square")
        return self


class Sorted(Frozen):
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
    def _is_a_histogram(self) -> Sorted:
        if len(self.normal) != len(self.anomalous) or len(self.edges) != len(self.normal) + bool(self.normal):
            raise ValueError("a histogram has one more edge than counts")
        return self


class Near(Frozen):
    """A word and the cosine between its vector and another's."""

    word: Word
    cosine: Annotated[float, Field(ge=-1.001, le=1.001)]


class Neighbours(Frozen):
    """The words nearest to ``word``, nearest first; empty where it is not in the vocabulary."""

    word: Word
    near: Annotated[tuple[Near, ...], Field(max_length=50)]


class Analogy(Frozen):
    """``a`` is to ``b`` as ``c`` is to ``d``: the rank of d (from 1) and what came first; null if a word is unknown."""

    a: Word
    b: Word
    c: Word
    d: Word
    rank: Annotated[int, Field(ge=1)] | None
    first: Word | None


class Embedded(Frozen):
    """What the trained word vectors know."""

    kind: Literal["embedding"] = "embedding"
    neighbours: Annotated[tuple[Neighbours, ...], Field(max_length=100)]
    analogies: Annotated[tuple[Analogy, ...], Field(max_length=1000)]


class Located(Frozen):
    """Classes and boxes: the share of right classes, mean intersection over union, average precision at IoU 0.5.

    ``ap50`` is the mean over classes (Everingham et al. 2010, all points), ranked by the class's probability.
    """

    kind: Literal["detection"] = "detection"
    accuracy: Share | None
    mean_iou: Share | None
    ap50: Share | None


TaskMetrics = Annotated[Classified | Sorted | Embedded | Located, Field(discriminator="kind")]
