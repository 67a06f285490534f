"""Metrics, computed once, here, in float64 from a program's outputs: never in a framework."""

from __future__ import annotations

import math

import numpy as np

from suite.layers import Role
from suite.reference.losses import loss
from suite.result import Scores
from suite.runners.base import Array, Weights
from suite.spec import Spec, Target


def score(spec: Spec, outputs: Array, targets: Array, labels: Array, weights: Weights) -> Scores:
    """Scores of ``outputs`` (n, *output) over a split.

    ``accuracy`` is the share of images whose largest output is their class, null where outputs are no classes.
    """
    outputs = outputs.astype(np.float64)
    wanted = targets if targets.dtype.kind == "i" else targets.astype(np.float64)
    with np.errstate(all="ignore"):  # training may have diverged: what is not finite becomes null
        value = float(loss(spec.loss, outputs, wanted)[0])
        punished = penalty(spec, weights)
    judged = spec.target is not Target.INPUT and bool(np.isfinite(outputs).all())
    return Scores(
        loss=finite(value),
        penalty=finite(punished),
        accuracy=float((outputs.argmax(axis=-1) == labels).mean()) if judged else None,
    )


def penalty(spec: Spec, weights: Weights) -> float:
    """``l2 * sum(kernel ** 2)`` over all kernels."""
    if not spec.l2:
        return 0.0
    kernels = (weights[name].astype(np.float64) for name, t in spec.tensors.items() if t.role is Role.KERNEL)
    return spec.l2 * sum(float(np.square(kernel).sum()) for kernel in kernels)


def finite(value: float) -> float | None:
    """The value, or None where it is no number."""
    return value if math.isfinite(value) else None
