"""Each loss and its gradient with respect to the outputs; a loss is a scalar in the outputs' type."""

from __future__ import annotations

from typing import Any

import numpy as np

from suite.runners.base import Array
from suite.runners.reference.layers import logistic
from suite.spec.targets import Loss


def loss(kind: Loss, outputs: Array, targets: Array, box_weight: float = 1.0) -> tuple[Any, Array]:
    """Value and gradient of ``kind``; outputs (n, ...), targets int labels (n,) or floats of the outputs' shape.

    For detection, which alone heeds ``box_weight``, targets are floats (n, 5): class, then box.
    """
    match kind:
        case Loss.SOFTMAX_CROSS_ENTROPY:
            return softmax_cross_entropy(outputs, targets)
        case Loss.SIGMOID_CROSS_ENTROPY:
            return sigmoid_cross_entropy(outputs, targets)
        case Loss.MEAN_SQUARED_ERROR:
            return mean_squared_error(outputs, targets)
        case Loss.DETECTION:
            return detection(outputs, targets, box_weight)


def softmax_cross_entropy(logits: Array, labels: Array) -> tuple[Any, Array]:
    """``-log softmax(z)[label]``, mean over the batch; the gradient is ``(softmax(z) - one_hot(label)) / n``.

    The logarithm is ``z - max - log(sum(exp(z - max)))``, which neither overflows nor takes the log of 0.
    """
    rows = np.arange(len(logits))
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_probability = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    gradient = np.exp(log_probability)
    gradient[rows, labels] -= 1
    return -log_probability[rows, labels].mean(), gradient / len(logits)


def sigmoid_cross_entropy(logits: Array, targets: Array) -> tuple[Any, Array]:
    """``max(z, 0) - z * t + log(1 + exp(-|z|))``, mean over batch and outputs; gradient ``(sigmoid(z) - t) / size``.

    It equals ``-t * log(sigmoid(z)) - (1 - t) * log(1 - sigmoid(z))`` (as TensorFlow documents it), and is stable.
    """
    values = np.maximum(logits, 0) - logits * targets + np.log1p(np.exp(-np.abs(logits)))
    return values.mean(), (logistic(logits) - targets) / logits.size


def mean_squared_error(outputs: Array, targets: Array) -> tuple[Any, Array]:
    """``(y - t)^2``, mean over batch and outputs; the gradient is ``2 (y - t) / size``."""
    difference = outputs - targets
    return np.square(difference).mean(), 2 * difference / outputs.size


def detection(outputs: Array, targets: Array, box_weight: float) -> tuple[Any, Array]:
    """Cross-entropy of the class plus ``box_weight`` times the squared error of the box, for one object to an image.

    Outputs (n, c + 4) are c logits and a box (x, y, width, height); targets (n, 5) are class and box.  The error of
    boxes is the mean over batch and the four numbers.  Boxes by their squared error: Sermanet et al. 2013, OverFeat;
    the weighted sum with a classification loss: Girshick 2015, Fast R-CNN, equation 1.
    """
    logits, boxes = outputs[:, :-4], outputs[:, -4:]
    classified, d_logits = softmax_cross_entropy(logits, targets[:, 0].astype(np.intp))
    placed, d_boxes = mean_squared_error(boxes, targets[:, 1:])
    return classified + box_weight * placed, np.concatenate([d_logits, box_weight * d_boxes], axis=1)
