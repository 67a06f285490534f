"""Precisions: what numbers are held in, and to what products and activations are rounded.

``float64`` and ``float32`` round nothing beyond their own type.  In ``tf32`` the operands of matrix products and
convolutions are rounded to ten bits of fraction, and all else is float32 (NVIDIA, "NVIDIA Ampere architecture",
2020).  ``bfloat16`` is mixed: weights, slots, statistics, softmax and loss are float32; the operands of products are
rounded to bfloat16, sums are float32, and every layer hands its output on in bfloat16, as it does the gradient on the
way back (P. Micikevicius et al., "Mixed precision training", 2018; PyTorch's autocast; Keras' ``mixed_bfloat16``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Precision = Literal["float64", "float32", "tf32", "bfloat16"]
TimedPrecision = Literal["float32", "tf32", "bfloat16"]
"""What may be timed; float64 proves."""
TIMED: Literal["float32"] = "float32"
"""What is timed unless a profile says otherwise."""
TIMEABLE: tuple[TimedPrecision, ...] = get_args(TimedPrecision)
NO_TF32 = "tf32 is a way of NVIDIA's GPUs to multiply"
"""Why a processor has none."""
FRACTION: Mapping[Precision, int] = {"float64": 52, "float32": 23, "tf32": 10, "bfloat16": 7}
"""Bits of the fraction of what products take."""
VALUE_BYTES: Mapping[Precision, int] = {"float64": 8, "float32": 4, "tf32": 4, "bfloat16": 2}
"""Of a value that a layer hands on."""


def held(precision: Precision) -> Literal["float64", "float32"]:
    """The type of weights, slots, statistics and loss; and of inputs and outputs."""
    return "float64" if precision == "float64" else "float32"


def ulp(precision: Precision) -> float:
    """The relative distance of 1 to the next number that a product takes."""
    return 2.0 ** -FRACTION[precision]


def rounded(values: Array, precision: Precision) -> Array:
    """Floats rounded to the fraction of ``precision``, to the nearest, ties to even; in the type that holds them.

    The exponents of float32, TF32 and bfloat16 have the same range.
    """
    in_float: Array = np.asarray(values, held(precision))
    if (lost := FRACTION["float32"] - FRACTION[precision]) <= 0:
        return in_float
    bits = np.ascontiguousarray(in_float).view(np.uint32)
    half = np.uint32((1 << (lost - 1)) - 1) + ((bits >> np.uint32(lost)) & np.uint32(1))
    near = ((bits + half) & np.uint32(0xFFFFFFFF << lost & 0xFFFFFFFF)).view(np.float32)
    found: Array = np.where(np.isfinite(in_float), near, in_float).reshape(in_float.shape)
    return found


@dataclass(frozen=True)
class Rounding:
    """Where a precision rounds, beyond its type."""

    precision: Precision

    @property
    def anywhere(self) -> bool:
        """Whether it does at all."""
        return self.precision != held(self.precision)

    def operand(self, values: Array) -> Array:
        """What a product takes of them."""
        return rounded(values, self.precision) if self.anywhere else values

    def handed(self, values: Array) -> Array:
        """What a layer hands on."""
        return rounded(values, self.precision) if self.precision == "bfloat16" else values


NONE = Rounding("float64")
"""Nowhere."""
