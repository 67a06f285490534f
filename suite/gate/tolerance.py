"""When two sets of tensors are equal."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from suite.spec.precision import Array, Precision, held, ulp

TOLERANCE = 1e-9
"""Relative error at which two float64 computations of the same thing are equal."""
SMALL = 1e-3
"""Share of the largest magnitude of a kind below which a tensor is measured by that, not by itself."""
VANISHING = 1e-9
"""Share of the largest below which a tensor holds only rounding noise."""
MARGIN = 4.0
"""Errors of the reference in the timed precision that a runner may make."""
FLOOR_ULPS, LOW_ULPS = 16.0, 2.0
"""Units in the last place that it may be off in any case, for the reference may be lucky; of tf32 and bfloat16 few, for
a unit is large there and rounding to it is all that is lost."""
FINER = 4.0
"""How many times smaller than the reference's own errors may be: who makes far smaller ones computes in more bits."""
SUM_ULPS = 0.25
"""Units in the last place, times the root of how many terms it sums, that a gradient may be off: rounding errors of a
sum in another order add up like steps of a random walk (Higham 2002, section 4.2), and NumPy's BLAS sums in blocks."""

Tensors = Mapping[str, Array]


def scales(wanted: Tensors, *, noise_counts: bool = True) -> dict[str, float]:
    """By what the tensors of one kind are measured: the larger of max|b| and a thousandth of the largest of all.

    Without ``noise_counts`` a tensor below a billionth of the largest, which is noise in float64, is measured by the
    largest: what vanishes on one side has to vanish on the other.  A bias in front of a batch norm is such a tensor,
    and the further the batch norm stretches its inputs, the larger is its noise.
    """
    sizes = {name: float(np.abs(b).max()) for name, b in wanted.items()}
    largest = max(sizes.values(), default=0.0)
    return {
        name: largest if not noise_counts and size <= VANISHING * largest else max(size, SMALL * largest)
        for name, size in sizes.items()
    }


def errors(
    got: Tensors, wanted: Tensors, *, noise_counts: bool = True, moves: Tensors | None = None
) -> dict[str, float | None]:
    """Per tensor of ``wanted``, max|a - b| relative to its scale; None where that is no finite number.

    ``moves`` tell how far each element may be off, whatever the scale: there it is measured by a scale of which that is
    ``TOLERANCE``.  A tensor that only ``got`` has is an error as well.
    """
    scale = scales(wanted, noise_counts=noise_counts)
    found: dict[str, float | None] = {}
    for name, b in wanted.items():
        a = got.get(name)
        if a is None or a.shape != b.shape or not np.isfinite(a).all() or not np.isfinite(b).all():
            found[name] = None
            continue
        measure: Array | float = scale[name]
        if moves and name in moves:
            measure = np.maximum(measure, moves[name] / TOLERANCE)
        found[name] = share(np.abs(a.astype(np.float64) - b), measure)
    return found | dict.fromkeys(got.keys() - wanted.keys())


def share(differences: Array, measure: Array | float) -> float | None:
    """The largest of ``differences`` relative to what measures them; None where one is off and nothing measures it."""
    if not differences.any():
        return 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = float(np.nanmax(differences / measure))  # nothing that is off by nothing is no number, and no error
    return relative if math.isfinite(relative) else None


def bound(reference: float | None, precision: Precision, terms: int = 1, *, full: bool = False, mean: int = 1) -> float:
    """The error allowed in ``precision``, given the reference's own, to what is a sum of so many ``terms``.

    ``full`` says of what is held in full, whatever products are rounded to; ``mean`` is of how many values it is one.
    """
    if precision == "float64":
        return TOLERANCE
    sums = SUM_ULPS * math.sqrt(terms) * ulp(held(precision))
    return max(MARGIN * (reference or 0.0), floor(held(precision) if full else precision) / math.sqrt(mean), sums)


def floor(precision: Precision) -> float:
    """The error that is allowed in any case."""
    return (FLOOR_ULPS if precision == held(precision) else LOW_ULPS) * ulp(precision)


def coarseness(got: Mapping[str, float | None], own: Mapping[str, float | None], precision: Precision) -> float | None:
    """How many times smaller than the reference's ``own`` errors are in a low precision, in the geometric mean.

    None where there is none to tell by: of a tensor that the reference itself got exactly.
    """
    least = FLOOR_ULPS * ulp(held(precision))
    both = [(own[name], got.get(name)) for name in own]
    ratios = [
        one / max(other, ulp(held(precision))) for one, other in both if one and other is not None and one > least
    ]
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None


def largest(found: Mapping[str, float | None]) -> float | None:
    """The largest error, or None where one is not known."""
    known = [error for error in found.values() if error is not None]
    return max(known) if len(known) == len(found) and known else None
