"""The layers a model is made of: a small tagged union, with shapes, parameters and FLOPs derived.

Images are NHWC, so a shape here is ``(height, width, channels)`` or ``(features,)``, always without the batch.
A layer knows what it computes on (``tensors``), what it leaves (``output_shape``) and what it costs (``flops``);
how it computes is the reference's business.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt
from typing_extensions import override

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


def window(size: int, kernel: int, stride: int, padding: Padding) -> tuple[int, int, int]:
    """Outputs along one axis, and the padding before and after it."""
    if padding is Padding.VALID:
        return (size - kernel) // stride + 1, 0, 0
    out = -(-size // stride)
    total = max((out - 1) * stride + kernel - size, 0)
    return out, total // 2, total - total // 2


class _Layer(Frozen):
    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the output for an input of ``shape``; raises MisfitError where there is none."""
        return shape

    def tensors(self, shape: Shape) -> tuple[Tensor, ...]:  # noqa: ARG002 - most layers hold none
        """The arrays the layer holds for an input of ``shape``."""
        return ()

    def macs(self, shape: Shape) -> int:  # noqa: ARG002 - most layers have none
        """Multiply-adds of one image's forward pass."""
        return 0


class Flatten(_Layer):
    """(h, w, c) to (h * w * c,), in NHWC order."""

    layer: Literal["flatten"]

    @override
    def output_shape(self, shape: Shape) -> Shape:
        return (math.prod(shape),)


class Dense(_Layer):
    """``x @ kernel + bias``; kernel (in, out), bias (out,)."""

    layer: Literal["dense"]
    units: PositiveInt
    use_bias: bool = True
    kernel_init: Initialiser = Initialiser.GLOROT_UNIFORM
    bias_init: Initialiser = Initialiser.ZEROS

    @override
    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 1:
            raise MisfitError(f"dense takes (features,), but is given {shape}", way_out="Put a flatten before it.")
        return (self.units,)

    @override
    def tensors(self, shape: Shape) -> tuple[Tensor, ...]:
        fan_in = shape[0]
        kernel = Tensor(Role.KERNEL, (fan_in, self.units), self.kernel_init, fan_in, self.units)
        bias = Tensor(Role.BIAS, (self.units,), self.bias_init, fan_in, self.units)
        return (kernel, bias) if self.use_bias else (kernel,)

    @override
    def macs(self, shape: Shape) -> int:
        return shape[0] * self.units


def _image(layer: _Layer, shape: Shape) -> tuple[int, int, int]:
    match shape:
        case height, width, channels:
            return height, width, channels
        case _:
            name = getattr(layer, "layer", "it")
            raise MisfitError(f"{name} takes (height, width, channels), but is given {shape}")


class _Windowed(_Layer):
    padding: Padding = Padding.VALID

    def _windows(self, shape: Shape, kernel: tuple[int, int], stride: tuple[int, int]) -> tuple[int, int]:
        height, width = _image(self, shape)[:2]
        if self.padding is Padding.VALID and (kernel[0] > height or kernel[1] > width):
            raise MisfitError(
                f"a window of {kernel} does not fit into {(height, width)}",
                way_out="Use a smaller window, or `padding: same`.",
            )
        return (
            window(height, kernel[0], stride[0], self.padding)[0],
            window(width, kernel[1], stride[1], self.padding)[0],
        )


class Conv2D(_Windowed):
    """Cross-correlation over NHWC images; kernel (kh, kw, in, out), bias (out,)."""

    layer: Literal["conv2d"]
    filters: PositiveInt
    kernel: Pair
    stride: Pair = (1, 1)
    use_bias: bool = True
    kernel_init: Initialiser = Initialiser.GLOROT_UNIFORM
    bias_init: Initialiser = Initialiser.ZEROS

    @override
    def output_shape(self, shape: Shape) -> Shape:
        return (*self._windows(shape, self.kernel, self.stride), self.filters)

    @override
    def tensors(self, shape: Shape) -> tuple[Tensor, ...]:
        area = math.prod(self.kernel)
        fans = (area * shape[2], area * self.filters)
        kernel = Tensor(Role.KERNEL, (*self.kernel, shape[2], self.filters), self.kernel_init, *fans)
        bias = Tensor(Role.BIAS, (self.filters,), self.bias_init, *fans)
        return (kernel, bias) if self.use_bias else (kernel,)

    @override
    def macs(self, shape: Shape) -> int:
        return math.prod(self.output_shape(shape)) * math.prod(self.kernel) * shape[2]


class _Pool(_Windowed):
    window: Pair
    stride: Pair | None = None

    @property
    def strides(self) -> tuple[int, int]:
        """The stride, which is the window where none is stated."""
        return self.stride or self.window

    @override
    def output_shape(self, shape: Shape) -> Shape:
        return (*self._windows(shape, self.window, self.strides), shape[2])


class MaxPool(_Pool):
    """Largest value of each window; padding never wins."""

    layer: Literal["max_pool"]


class AveragePool(_Pool):
    """Mean of each window; padding is not counted."""

    layer: Literal["average_pool"]


class GlobalAveragePool(_Layer):
    """(h, w, c) to (c,): the mean over all positions."""

    layer: Literal["global_average_pool"]

    @override
    def output_shape(self, shape: Shape) -> Shape:
        return (_image(self, shape)[2],)


class BatchNorm(_Layer):
    """Normalisation per channel over batch and positions (Ioffe & Szegedy 2015).

    ``momentum`` is the share of the old running value that is kept.  The batch is normalised with its biased
    variance; the running variance takes the unbiased one.
    """

    layer: Literal["batch_norm"]
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    epsilon: Annotated[float, Field(gt=0)] = 1e-5

    @override
    def tensors(self, shape: Shape) -> tuple[Tensor, ...]:
        channels = (shape[-1],)
        return (
            Tensor(Role.GAMMA, channels, Initialiser.ONES),
            Tensor(Role.BETA, channels, Initialiser.ZEROS),
            Tensor(Role.MOVING_MEAN, channels, Initialiser.ZEROS),
            Tensor(Role.MOVING_VARIANCE, channels, Initialiser.ONES),
        )


class Dropout(_Layer):
    """Zeroes each value with probability ``rate`` in training and scales the rest by ``1 / (1 - rate)``."""

    layer: Literal["dropout"]
    rate: Annotated[float, Field(ge=0, lt=1)]


class Activation(_Layer):
    """An elementwise function, or softmax over the last axis; its name is the layer's."""

    layer: Literal["relu", "tanh", "sigmoid", "softmax"]


class Residual(_Layer):
    """``body(x) + shortcut(x)``; an empty shortcut is the identity (He et al. 2015)."""

    layer: Literal["residual"]
    body: Annotated[tuple[Layer, ...], Field(min_length=1)]
    shortcut: tuple[Layer, ...] = ()

    @override
    def output_shape(self, shape: Shape) -> Shape:
        return self.join(graph(self.body, shape, "", "body"), graph(self.shortcut, shape, "", "shortcut"), shape)

    @staticmethod
    def join(body: tuple[Node, ...], shortcut: tuple[Node, ...], shape: Shape) -> Shape:
        """Shape of the sum of two branches from an input of ``shape``; raises MisfitError unless they end alike."""
        ends = [branch[-1].output if branch else shape for branch in (body, shortcut)]
        if ends[0] != ends[1]:
            raise MisfitError(
                f"the body ends in {ends[0]}, the shortcut in {ends[1]}",
                way_out="Make them equal; a 1x1 conv2d in the shortcut changes stride and channels.",
            )
        return ends[0]


Layer = Annotated[
    Flatten | Dense | Conv2D | MaxPool | AveragePool | GlobalAveragePool | BatchNorm | Dropout | Activation | Residual,
    Field(discriminator="layer"),
]
Residual.model_rebuild()
KINDS = frozenset(
    kind for cls in get_args(get_args(Layer)[0]) for kind in get_args(cls.model_fields["layer"].annotation)
)
"""The names that ``layer:`` can take."""


@dataclass(frozen=True)
class Node:
    """A layer in its place: canonical name, shapes without the batch, its tensors and its multiply-adds.

    A residual holds its two branches as nodes; their tensors and multiply-adds are their own.
    """

    name: str
    layer: Layer
    input: Shape
    output: Shape
    tensors: tuple[Tensor, ...]
    macs: int
    body: tuple[Node, ...] = ()
    shortcut: tuple[Node, ...] = ()


def graph(layers: tuple[Layer, ...], shape: Shape, prefix: str = "", field: str = "model") -> tuple[Node, ...]:
    """Place ``layers`` one after another from an input of ``shape``.

    Names count within their branch: ``conv2d_2``, or ``residual_1/body/conv2d_2``.  Raises MisfitError, with its
    place as ``field[i]``, where a layer cannot take what the one before leaves or makes an array that is too large.
    """
    nodes: list[Node] = []
    counts: dict[str, int] = {}
    for i, layer in enumerate(layers):
        counts[layer.layer] = counts.get(layer.layer, 0) + 1
        here = f"{field}[{i}]"
        node = _place(layer, shape, f"{prefix}{layer.layer}_{counts[layer.layer]}", here)
        for extent in (node.output, *(tensor.shape for tensor in node.tensors)):
            if math.prod(extent) > LARGEST_TENSOR:
                raise MisfitError(f"{extent} has {math.prod(extent):,} elements, over {LARGEST_TENSOR:,}", here)
        nodes.append(node)
        shape = node.output
    return tuple(nodes)


def _place(layer: Layer, shape: Shape, name: str, field: str) -> Node:
    body: tuple[Node, ...] = ()
    shortcut: tuple[Node, ...] = ()
    if isinstance(layer, Residual):
        body = graph(layer.body, shape, f"{name}/body/", f"{field}.body")
        shortcut = graph(layer.shortcut, shape, f"{name}/shortcut/", f"{field}.shortcut")
    try:
        output = layer.join(body, shortcut, shape) if isinstance(layer, Residual) else layer.output_shape(shape)
    except MisfitError as error:
        raise MisfitError(error.what, field, error.way_out) from None
    tensors = tuple(replace(tensor, name=f"{name}/{tensor.role}") for tensor in layer.tensors(shape))
    return Node(name, layer, shape, output, tensors, layer.macs(shape), body, shortcut)


def walk(nodes: tuple[Node, ...]) -> Iterator[Node]:
    """Every node, a residual before its body and its shortcut: the order in which layers run."""
    for node in nodes:
        yield node
        yield from walk(node.body)
        yield from walk(node.shortcut)
