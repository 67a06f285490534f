"""Dropout's part of the gate: a mask cannot be compared value by value, what it does can.

A model that only copies its input of ones and drops from it shows the mask itself.
"""

from __future__ import annotations

import math

import numpy as np

from suite.gate.probe import dropout_alone
from suite.gate.tolerance import floor
from suite.results.identity import Check
from suite.runners.base import Array, Precision, Runner, State
from suite.spec.precision import held, ulp
from suite.spec.resolved import Spec

IMAGES, UNITS = 4096, 256
FALSE_ALARM = 1e-9
"""Probability, at most, that one of the counts is off its bound although dropout is right (Hoeffding 1963)."""
BACKWARD_TOLERANCE, BACKWARD_ULPS = 1e-4, 4.0
"""Of the gradient's error; and in units in the last place, where these are more."""


def dropout_checks(spec: Spec, rate: float, runner: Runner, mode: str, precision: Precision) -> list[Check]:
    """What dropout at ``rate`` keeps, overall and by row and column, at what scale, afresh each time, and backward."""
    alone = dropout_alone(spec, rate, IMAGES, UNITS)
    program = runner.build(alone, mode, precision)
    ones = np.ones((IMAGES, 1, 1, UNITS), held(precision))
    targets = np.ones((IMAGES, UNITS), held(precision))
    program.load(State({"dense_1/kernel": np.eye(UNITS, dtype=held(precision))}))
    seen = program.probe(ones, targets)
    outputs = seen.training_outputs.astype(np.float64)
    keep = 1 - rate
    mask = outputs != 0
    program.stage("train", ones, targets)
    program.train(np.arange(IMAGES, dtype=np.int32))
    again = program.probe(ones, targets).training_outputs != 0
    rounding, backward = floor(precision), max(BACKWARD_TOLERANCE, BACKWARD_ULPS * ulp(precision))
    values = (
        ("keep rate", abs(mask.mean() - keep), _hoeffding(mask.size, 1)),
        ("keep rate by image", np.abs(mask.mean(axis=1) - keep).max(), _hoeffding(UNITS, IMAGES)),
        ("keep rate by unit", np.abs(mask.mean(axis=0) - keep).max(), _hoeffding(IMAGES, UNITS)),
        ("fresh mask", abs((mask == again).mean() - keep**2 - rate**2), _hoeffding(mask.size, 1)),
        ("scale", np.abs(outputs[mask] * keep - 1).max(initial=0.0), rounding),
        ("evaluation", np.abs(seen.outputs.astype(np.float64) - 1).max(), rounding),
        ("gradient", _backward_error(outputs, seen.loss, seen.gradients["dense_1/kernel"]), backward),
    )
    section = f"dropout {rate:g}"
    return [
        Check(section=section, tensor=name, error=float(error) if math.isfinite(error) else None, bound=bound)
        for name, error, bound in values
    ]


def _hoeffding(draws: int, means: int) -> float:
    """How far any of ``means`` means of ``draws`` coin tosses may lie from its expectation."""
    return math.sqrt(math.log(2 * means / FALSE_ALARM) / (2 * draws))


def _backward_error(outputs: Array, loss: float, gradient: Array) -> float:
    """The kernel's gradient against the one that the mask seen in ``outputs`` must give, relative to the largest.

    With inputs and targets 1 and loss ``c * sum((y - 1)^2)``, dL/dK[i, j] is ``2 c * sum over n of (y - 1) y``.
    """
    squares = np.square(outputs - 1).sum()
    wanted = 2 * loss / squares * ((outputs - 1) * outputs).sum(axis=0) if squares else np.zeros(UNITS)
    error = np.abs(gradient.astype(np.float64) - wanted).max()
    return float(error / np.abs(wanted).max()) if np.abs(wanted).max() else float(error)
