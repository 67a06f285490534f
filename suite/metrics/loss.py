"""Metrics, computed once, here, in float64 from a program's outputs: never in a framework."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from suite.results.records import Scores
from suite.runners.base import Array, Weights
from suite.runners.reference.losses import loss
from suite.spec.resolved import Spec
from suite.spec.targets import Target
from suite.spec.tensors import Role

Part = tuple[Array, Array, Array]
"""Outputs (n, *output) of some examples, their targets and their classes (n,)."""


def score(spec: Spec, parts: Iterable[Part], weights: Weights, images: int | None = None) -> Scores:
    """Scores of a split, given in parts; ``images`` of them stand for it where it is not judged whole.

    ``accuracy`` is the share of images whose largest output is their class, null where outputs are no classes.
    """
    value, right, count, judged = 0.0, 0, 0, True
    with np.errstate(all="ignore"):  # training may have diverged: what is not finite becomes null
        for given, targets, labels in parts:
            outputs = given.astype(np.float64)
            wanted = targets if targets.dtype.kind == "i" else targets.astype(np.float64)
            value += float(loss(spec.loss, outputs, wanted, spec.box_weight)[0]) * len(outputs)
            count += len(outputs)
            guesses = guessed(spec, outputs)
            judged = judged and guesses is not None
            right += int((guesses == labels).sum()) if guesses is not None else 0
        punished = penalty(spec, weights)
    return Scores(
        loss=finite(value / count) if count else None,
        penalty=finite(punished),
        accuracy=right / count if judged and count else None,
        images=images,
    )


def guessed(spec: Spec, outputs: Array) -> Array | None:
    """The classes (n,) that outputs stand for; None where they are no classes, or no numbers."""
    if spec.target in (Target.INPUT, Target.FIRST) or not np.isfinite(outputs).all():
        return None
    logits: Array = outputs[..., :-4] if spec.target is Target.BOXES else outputs
    classes: Array = logits.argmax(axis=-1)
    return classes


def penalty(spec: Spec, weights: Weights) -> float:
    """``l2 * sum(kernel ** 2)`` over all kernels that are trained: what training minimises beside the loss."""
    if not spec.l2:
        return 0.0
    kernels = (weights[name].astype(np.float64) for name, t in spec.trainable.items() if t.role is Role.KERNEL)
    return spec.l2 * sum(float(np.square(kernel).sum()) for kernel in kernels)


def finite(value: float) -> float | None:
    """The value, or None where it is no number."""
    return value if math.isfinite(value) else None
