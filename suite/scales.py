"""Where a quantity's values can lie, and the scale on which their spread over seeds is taken.

A share lies within 0 and 1, a loss is never below 0.  Student's interval knows neither; so it is taken on a scale that
ends where the values do, and is brought back: it then never holds a value that cannot be.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Bounds:
    """The least and the greatest value that a quantity can have, both included; infinite where there is none.

    Between two ends the scale is the arcsine of the root, from one end on the root, both of which steady the variance
    of counts (Bartlett 1947) and take the ends themselves, as logarithms and logits do not; without ends it is plain.
    """

    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        if not self.low <= self.high or (math.isinf(self.low) and not math.isinf(self.high)):
            raise ValueError("bounds rise, and an upper one takes a lower one")

    def onto_scale(self, values: Floats) -> Floats:
        """Values on the scale; what rounding puts beyond an end counts as that end."""
        if math.isinf(self.low):
            return values
        above = np.clip(values, self.low, self.high) - self.low
        if math.isinf(self.high):
            return np.sqrt(above)
        return np.arcsin(np.sqrt(above / (self.high - self.low))) if self.high > self.low else above

    def from_scale(self, place: float) -> float:
        """The value at a place on the scale; beyond the scale's end it is the end's."""
        if math.isinf(self.low):
            return place
        if math.isinf(self.high):
            root = max(place, 0.0)
            return self.low + root * root
        return self.low + (self.high - self.low) * math.sin(min(max(place, 0.0), math.pi / 2)) ** 2


ANY = Bounds()
POSITIVE = Bounds(0.0)
SHARE = Bounds(0.0, 1.0)
