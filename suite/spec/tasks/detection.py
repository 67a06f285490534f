"""One object to an image: its class, and the box around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveFloat, PositiveInt

from suite.scales import SHARE
from suite.spec.dataset import DatasetFacts
from suite.spec.targets import Target
from suite.spec.tasks.shown import Block, Sentence, Spread, Table, Unit, Value, seeds
from suite.spec.tasks.task import Array, Floats, Judged, Made, Share, Source, Task, TaskMetrics
from suite.spec.tensors import MisfitError, Shape

FIGURES = {
    "accuracy": ("right class", Unit.PERCENT),
    "mean_iou": ("mean intersection over union", Unit.FOUR_PLACES),
    "ap50": ("average precision at IoU 0.5", Unit.FOUR_PLACES),
}


class DetectionMetrics(TaskMetrics):
    """Classes and boxes: the share of right classes, mean intersection over union, average precision at IoU 0.5.

    ``ap50`` is the mean over classes (Everingham et al. 2010, all points), ranked by the class's probability.
    """

    kind: Literal["detection"] = "detection"
    accuracy: Share | None
    mean_iou: Share | None
    ap50: Share | None

    @property
    def tells_nothing(self) -> bool:
        """Whether the outputs were no numbers."""
        return self.mean_iou is None

    @classmethod
    def shown(cls, found: Mapping[str, Mapping[int, Any]], called: Callable[[int], str], large: bool) -> list[Block]:
        """A row per figure, a column per framework."""
        rows: list[tuple[Value, ...]] = [
            (words, *(Spread(tuple(getattr(m, name) for m in s.values()), unit, SHARE) for s in found.values()))
            for name, (words, unit) in FIGURES.items()
        ]
        heads = ("", *(f"{who}, {seeds(len(s))}" for who, s in found.items()))
        told = ": means over seeds, in brackets the 95 % prediction interval for a new run."
        return [Sentence("Boxes and classes", told), Table(heads, rows, "l" + "r" * len(found))]


class Detection(Task):
    """One object to an image: its class, and the box (x, y, width, height) around it as fractions of the canvas.

    Each image of the data set is placed on a black square of ``canvas`` pixels; the box is that of its pixels above 0.
    ``box_weight`` is what the loss multiplies the boxes' mean squared error by.
    """

    kind: Literal["detection"]
    canvas: PositiveInt
    box_weight: PositiveFloat = 1.0
    metrics_kind: ClassVar[type[TaskMetrics] | None] = DetectionMetrics
    tells_classes: ClassVar[bool] = True
    drawn: ClassVar[bool] = True

    @property
    def targets(self) -> tuple[Target, ...]:
        """The class and the box."""
        return (Target.BOXES,)

    @property
    def weight_of_boxes(self) -> float:
        """As the spec says."""
        return self.box_weight

    def suits(self, data: DatasetFacts, dataset: str) -> None:
        """Raises MisfitError where images are larger than the canvas."""
        if self.canvas < max(data.image_shape[:2]):
            raise MisfitError(f"is smaller than the images of {dataset}, {data.image_shape}", "task.canvas")

    def input_shape(self, data: DatasetFacts) -> Shape:
        """The canvas."""
        return self.canvas, self.canvas, data.image_shape[-1]

    def outputs(self, data: DatasetFacts) -> int:
        """The classes' logits, and the box."""
        return data.classes + 4

    def made(self, source: Source) -> Made:
        """Images on canvases, and boxes.  Where an image lies is drawn once for all epochs and seeds."""
        room = np.array([self.canvas - side + 1 for side in source.whole[1:3]])
        places = source.once("canvas").integers(0, room, (source.whole[0], 2))[source.rows]
        return Made(placed(source.pixels, places, self.canvas), bounds(source.pixels, places, self.canvas))

    def metrics(self, judged: Judged) -> DetectionMetrics:
        """Classes and boxes over the test split; without figures where outputs are no numbers."""
        return located(judged.outputs, np.concatenate([targets for _, targets in judged.parts()]))


def placed(pixels: Array, places: NDArray[np.int64], canvas: int) -> NDArray[np.uint8]:
    """Images (n, h, w, c) on black squares (n, canvas, canvas, c), top and left as ``places`` (n, 2) say."""
    count, height, width, channels = pixels.shape
    found = np.zeros((count, canvas, canvas, channels), pixels.dtype)
    rows = places[:, 0, None, None] + np.arange(height)[:, None]
    columns = places[:, 1, None, None] + np.arange(width)
    found[np.arange(count)[:, None, None], rows, columns] = pixels
    return found


def bounds(pixels: Array, places: NDArray[np.int64], canvas: int) -> Floats:
    """Boxes (n, 4) around the pixels above 0: x, y, width, height as fractions of the canvas.

    An image that is all black has an empty box, where it lies.
    """
    bright = pixels.max(axis=3) > 0
    corners = []
    for axis, place in ((1, places[:, 1]), (2, places[:, 0])):
        there = bright.any(axis=axis)  # over rows for columns, over columns for rows
        first = there.argmax(axis=1)
        last = there.shape[1] - there[:, ::-1].argmax(axis=1)
        extent = np.where(there.any(axis=1), last - first, 0)
        corners.append((place + first, extent))
    (x, width), (y, height) = corners
    return np.column_stack([x, y, width, height]) / canvas


def located(outputs: Array, targets: Array) -> DetectionMetrics:
    """Judge outputs (n, classes + 4) against targets (n, 5): a class, and a box in fractions of the canvas."""
    values, wanted = outputs.astype(np.float64), targets.astype(np.float64)
    if not np.isfinite(values).all():
        return DetectionMetrics(accuracy=None, mean_iou=None, ap50=None)
    labels, logits = wanted[:, 0].astype(np.int64), values[:, :-4]
    predicted = logits.argmax(axis=1)
    overlaps = iou(values[:, -4:], wanted[:, 1:])
    exponential = np.exp(logits - logits.max(axis=1, keepdims=True))
    confidence = (exponential / exponential.sum(axis=1, keepdims=True)).max(axis=1)
    precisions = [
        interpolated_precision(confidence[mine], hit[mine], int((labels == c).sum()))
        for c in np.unique(labels)
        for mine in (predicted == c,)
        for hit in ((labels == predicted) & (overlaps >= 0.5),)
    ]
    return DetectionMetrics(
        accuracy=float((predicted == labels).mean()),
        mean_iou=float(overlaps.mean()),
        ap50=float(np.mean(precisions)) if precisions else None,
    )


def iou(one: Floats, other: Floats) -> Floats:
    """Intersection over union (n,) of boxes (n, 4) as x, y, width, height; a negative extent counts as 0."""
    low, high = (np.stack([box[:, :2], box[:, :2] + np.maximum(box[:, 2:], 0)]) for box in (one, other))
    sides = np.maximum(np.minimum(low[1], high[1]) - np.maximum(low[0], high[0]), 0)
    shared = sides.prod(axis=1)
    areas = [np.maximum(box[:, 2:], 0).prod(axis=1) for box in (one, other)]
    union = areas[0] + areas[1] - shared
    overlaps: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return overlaps


def interpolated_precision(confidence: Floats, hit: NDArray[np.bool_], objects: int) -> float:
    """Average precision of one class's detections among ``objects``, at every recall the best precision from there on.

    Everingham et al. 2010, as of VOC 2010: all points, not eleven.  Each image holds one object and gives one
    detection, so none is found twice.
    """
    if not len(hit):
        return 0.0
    order = np.argsort(-confidence, kind="stable")
    hits = np.cumsum(hit[order])
    precision = np.maximum.accumulate((hits / np.arange(1, len(hits) + 1))[::-1])[::-1]
    recall = hits / objects
    return float((np.diff(recall, prepend=0.0) * precision).sum())
