"""What layers are made of: shapes, tensors and their roles, padding, and the strictness that every model shares."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, NonNegativeInt, PositiveInt

Shape = tuple[int, ...]
LARGEST_TENSOR = 2**31
"""Elements; a shape beyond this is a slip of the pen in a spec, not a model."""


class MisfitError(ValueError):
    """A value of the right type in the wrong place: ``what`` is wrong with which ``field``, and the ``way_out``."""

    def __init__(self, what: str, field: str = "", way_out: str = "") -> None:
        self.what, self.field, self.way_out = what, field, way_out
        super().__init__(f"{field}: {what}" if field else what)


class Frozen(BaseModel):
    """What every model of the suite is: strict, immutable, closed to unknown fields and to NaN."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class Initialiser(StrEnum):
    """Distributions by name; ``fan_in`` and ``fan_out`` count the connections of one unit (Glorot & Bengio 2010).

    ``fan_in_uniform`` is uniform within ``1 / sqrt(fan_in)``, which is what PyTorch gives dense and convolution
    kernels and biases by default.  The normal ones are not truncated.
    """

    ZEROS = "zeros"
    ONES = "ones"
    GLOROT_UNIFORM = "glorot_uniform"
    GLOROT_NORMAL = "glorot_normal"
    HE_UNIFORM = "he_uniform"
    HE_NORMAL = "he_normal"
    LECUN_UNIFORM = "lecun_uniform"
    LECUN_NORMAL = "lecun_normal"
    FAN_IN_UNIFORM = "fan_in_uniform"


class Role(StrEnum):
    """What a tensor is to its layer.  L2 falls on kernels alone; a statistic has no gradient."""

    KERNEL = "kernel"
    BIAS = "bias"
    GAMMA = "gamma"
    BETA = "beta"
    EMBEDDING = "embedding"
    OUTPUT_EMBEDDING = "output_embedding"
    MOVING_MEAN = "moving_mean"
    MOVING_VARIANCE = "moving_variance"

    @property
    def trainable(self) -> bool:
        """Whether the optimizer moves it."""
        return self not in (Role.MOVING_MEAN, Role.MOVING_VARIANCE)


@dataclass(frozen=True)
class Tensor:
    """One array of a layer: its canonical name is the layer's name, a slash and the role."""

    role: Role
    shape: Shape
    initialiser: Initialiser
    fan_in: int = 1
    fan_out: int = 1
    name: str = ""


class Padding(StrEnum):
    """``valid`` pads nothing.

    ``same`` gives ceil(size / stride) outputs; of an odd amount of padding the larger half falls on the far side
    (bottom, right), as TensorFlow documents it.
    """

    VALID = "valid"
    SAME = "same"


def _pair(value: object) -> object:
    both = value if isinstance(value, list | tuple) else (value, value)
    if len(both) != 2 or not all(type(size) is int and size > 0 for size in both):
        raise MisfitError("must be one whole number above 0, or two: [height, width]")
    return tuple(both)


Pair = Annotated[
    tuple[PositiveInt, PositiveInt],
    BeforeValidator(_pair, json_schema_input_type=PositiveInt | tuple[PositiveInt, PositiveInt]),
]
"""Height and width; in a file a single number stands for both."""


def _margins(value: object) -> object:
    if isinstance(value, str):
        if value not in set(Padding):
            raise MisfitError("must be valid, same, or the rows and columns added on either side")
        return Padding(value)
    both = value if isinstance(value, list | tuple) else (value, value)
    if len(both) != 2 or not all(type(size) is int and size >= 0 for size in both):
        raise MisfitError("must be valid, same, or the rows and columns added on either side")
    return tuple(both)


Margins = Annotated[
    Padding | tuple[NonNegativeInt, NonNegativeInt],
    BeforeValidator(_margins, json_schema_input_type=Padding | NonNegativeInt | tuple[NonNegativeInt, NonNegativeInt]),
]
"""A rule of padding, or the rows and columns that are added on either side; in a file one number stands for both."""


def padding_of(padding: Padding | tuple[int, int], axis: int) -> Padding | int:
    """The padding along one axis, 0 for rows and 1 for columns."""
    return padding if isinstance(padding, Padding) else padding[axis]


def window(size: int, kernel: int, stride: int, padding: Padding | int) -> tuple[int, int, int]:
    """Outputs along one axis, and the padding before and after it; a number is added on either side."""
    if isinstance(padding, int):
        return (size + 2 * padding - kernel) // stride + 1, padding, padding
    if padding is Padding.VALID:
        return (size - kernel) // stride + 1, 0, 0
    out = -(-size // stride)
    total = max((out - 1) * stride + kernel - size, 0)
    return out, total // 2, total - total // 2
