"""What training minimises, and what outputs are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Loss(StrEnum):
    """What training minimises; both cross-entropies take logits, and detection takes logits and a box."""

    SOFTMAX_CROSS_ENTROPY = "softmax_cross_entropy"
    SIGMOID_CROSS_ENTROPY = "sigmoid_cross_entropy"
    MEAN_SQUARED_ERROR = "mean_squared_error"
    DETECTION = "detection"


class Target(StrEnum):
    """What outputs are compared with.

    The class; the class one-hot encoded; the input itself; the class and the box around it; or, one-hot encoded, the
    first of the outputs, which is where negative sampling puts the true word.
    """

    LABELS = "labels"
    ONE_HOT = "one_hot"
    INPUT = "input"
    BOXES = "boxes"
    FIRST = "first"


LOSSES: Mapping[Target, frozenset[Loss]] = {
    Target.LABELS: frozenset({Loss.SOFTMAX_CROSS_ENTROPY}),
    Target.ONE_HOT: frozenset({Loss.SIGMOID_CROSS_ENTROPY, Loss.MEAN_SQUARED_ERROR}),
    Target.INPUT: frozenset({Loss.SIGMOID_CROSS_ENTROPY, Loss.MEAN_SQUARED_ERROR}),
    Target.BOXES: frozenset({Loss.DETECTION}),
    Target.FIRST: frozenset({Loss.SIGMOID_CROSS_ENTROPY}),
}
