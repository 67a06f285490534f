"""What a trained model is worth beyond its loss, computed once, here, in float64 and in NumPy: never in a framework."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from suite.results.task_metrics import Analogy, Classified, Embedded, Located, Near, Neighbours, Sorted
from suite.runners.base import Array, Weights
from suite.spec.resolved import Spec
from suite.spec.tasks import WordEmbedding
from suite.spec.tensors import Role

MOST_CLASSES = 100
"""Above it a confusion matrix is no longer read."""
NEAREST = 8
BINS = 60
REACH = 0.999
"""Quantile of the errors at which the histogram's last bin, which takes all larger ones, begins to be the last."""

Floats = NDArray[np.float64]


def classified(labels: Array, outputs: Array) -> Classified | None:
    """Confusion matrix of ``outputs`` (n, classes), whose largest is the prediction; None for very many classes."""
    classes = outputs.shape[-1]
    if classes > MOST_CLASSES or not np.isfinite(outputs).all():
        return None
    pairs = np.asarray(labels, np.int64) * classes + outputs.argmax(axis=-1)
    counts = np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
    return Classified(confusion=tuple(tuple(int(n) for n in row) for row in counts))


def reconstruction_errors(outputs: Array, targets: Array) -> Floats:
    """Mean squared error (n,) of each image's reconstruction."""
    difference = outputs.astype(np.float64) - targets
    errors: Floats = np.square(difference).reshape(len(outputs), -1).mean(axis=1)
    return errors


def sorted_out(normal: tuple[int, ...], quantile: float, train_errors: Floats, errors: Floats, labels: Array) -> Sorted:
    """Anomalies told by their reconstruction errors (n,); the ``quantile`` of ``train_errors`` is the threshold.

    ``normal`` are the normal ones of the classes that ``labels`` (n,) count.
    """
    anomalous = ~np.isin(labels, normal)
    if not (np.isfinite(errors).all() and np.isfinite(train_errors).all()):
        return Sorted(
            threshold=None, auroc=None, average_precision=None, precision=None, recall=None,
            edges=(), normal=(), anomalous=(),
        )  # fmt: skip
    threshold = float(np.quantile(train_errors, quantile))
    raised = errors > threshold
    hits = int((raised & anomalous).sum())
    edges = np.linspace(0.0, float(np.quantile(errors, REACH)) or 1.0, BINS + 1)
    binned = np.minimum(np.searchsorted(edges, errors, side="right") - 1, BINS - 1)
    counts = [np.bincount(binned[kind], minlength=BINS) for kind in (~anomalous, anomalous)]
    return Sorted(
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


def embedded(spec: Spec, weights: Weights, words: Sequence[str]) -> Embedded:
    """Nearest neighbours and analogies among the rows of the embedding, by cosine; word 0 stands for no word."""
    task = spec.task
    assert isinstance(task, WordEmbedding)
    (name,) = (n for n, tensor in spec.tensors.items() if tensor.role is Role.EMBEDDING)
    rows = weights[name].astype(np.float64)[: len(words)]
    if not np.isfinite(rows).all():  # asked first: the length of such a row is not above 0 either
        return Embedded(neighbours=(), analogies=())
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    units = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    place = {word: i for i, word in enumerate(words) if i}
    return Embedded(
        neighbours=tuple(_neighbours(word, place, units, words) for word in task.neighbours),
        analogies=tuple(_analogy(question, place, units, words) for question in task.analogies),
    )


def _neighbours(word: str, place: dict[str, int], units: Floats, words: Sequence[str]) -> Neighbours:
    if word not in place:
        return Neighbours(word=word, near=())
    cosines = units @ units[place[word]]
    order = [int(i) for i in np.argsort(-cosines, kind="stable") if i not in (0, place[word])][:NEAREST]
    return Neighbours(word=word, near=tuple(Near(word=words[i], cosine=float(cosines[i])) for i in order))


def _analogy(
    question: tuple[str, str, str, str], place: dict[str, int], units: Floats, words: Sequence[str]
) -> Analogy:
    """3CosAdd (Mikolov et al. 2013): the word nearest to ``b - a + c``, the question's own words left out."""
    a, b, c, d = question
    if not all(word in place for word in question):
        return Analogy(a=a, b=b, c=c, d=d, rank=None, first=None)
    cosines = units @ (units[place[b]] - units[place[a]] + units[place[c]])
    cosines[[0, place[a], place[b], place[c]]] = -np.inf
    order = np.argsort(-cosines, kind="stable")
    rank = int(np.flatnonzero(order == place[d])[0]) + 1
    return Analogy(a=a, b=b, c=c, d=d, rank=rank, first=words[int(order[0])])


def located(outputs: Array, targets: Array) -> Located:
    """Judge outputs (n, classes + 4) against targets (n, 5): a class, and a box in fractions of the canvas."""
    values, wanted = outputs.astype(np.float64), targets.astype(np.float64)
    if not np.isfinite(values).all():
        return Located(accuracy=None, mean_iou=None, ap50=None)
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
    return Located(
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
