"""The single layers: what each computes on, leaves and costs, for an input of a given shape without the batch.

How a layer computes is the reference's business.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator
from typing_extensions import override

from suite.spec.tensors import (
    Frozen,
    Initialiser,
    Margins,
    MisfitError,
    Padding,
    Pair,
    Role,
    Shape,
    Tensor,
    padding_of,
    window,
)


class Single(Frozen):
    """What every layer can tell of itself; most hold no tensors and leave the shape as it is."""

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the output for an input of ``shape``; raises MisfitError where there is none."""
        return shape

    def tensors(self, shape: Shape) -> tuple[Tensor, ...]:  # noqa: ARG002 - most layers hold none
        """The arrays the layer holds for an input of ``shape``."""
        return ()

    def macs(self, shape: Shape) -> int:  # noqa: ARG002 - most layers have none
        """Multiply-adds of one image's forward pass."""
        return 0


class Flatten(Single):
    """(h, w, c) to (h * w * c,), in NHWC order."""

    layer: Literal["flatten"]

    @override
    def output_shape(self, shape: Shape) -> Shape:
        return (math.prod(shape),)


class Dense(Single):
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


def _image(layer: Single, shape: Shape) -> tuple[int, int, int]:
    match shape:
        case height, width, channels:
            return height, width, channels
        case _:
            name = getattr(layer, "layer", "it")
            raise MisfitError(f"{name} takes (height, width, channels), but is given {shape}")


class _Windowed(Single):
    padding: Margins = Padding.VALID

    def _windows(self, shape: Shape, kernel: tuple[int, int], stride: tuple[int, int]) -> tuple[int, int]:
        image = _image(self, shape)[:2]
        rows, columns = (window(image[i], kernel[i], stride[i], padding_of(self.padding, i))[0] for i in (0, 1))
        if rows < 1 or columns < 1:
            raise MisfitError(
                f"a window of {kernel} does not fit into {image}",
                way_out="Use a smaller window, or `padding: same`.",
            )
        return rows, columns


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

    @model_validator(mode="after")
    def _makes_sense(self) -> _Pool:
        if isinstance(self.padding, tuple) and any(2 * self.padding[i] > self.window[i] for i in (0, 1)):
            raise MisfitError("must be at most half of the window, or one would hold nothing else", "padding")
        return self

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
    """Mean of each window over its values, or, if ``count_padding``, over the whole window, padding as zeros."""

    layer: Literal["average_pool"]
    count_padding: bool = Field(
        False, description="whether padding counts among the values of a mean, as PyTorch has it by default"
    )


class GlobalAveragePool(Single):
    """(h, w, c) to (c,): the mean over all positions."""

    layer: Literal["global_average_pool"]

    @override
    def output_shape(self, shape: Shape) -> Shape:
        return (_image(self, shape)[2],)


RunningVariance = Annotated[
    Literal["unbiased", "biased"],
    Field(
        description="which variance of a batch of n values enters the running one: the sum of squares over n - 1 "
        "(PyTorch, TensorFlow's fused operation), or over n (Keras)"
    ),
]


class BatchNorm(Single):
    """Normalisation per channel over batch and positions (Ioffe & Szegedy 2015).

    ``momentum`` is the share of the old running value that is kept.  The batch is normalised with its biased
    variance; the running variance takes the unbiased one, or, as Keras has it, the biased one too.
    """

    layer: Literal["batch_norm"]
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    epsilon: Annotated[float, Field(gt=0)] = 1e-5
    running_variance: RunningVariance = "unbiased"

    @override
    def tensors(self, shape: Shape) -> tuple[Tensor, ...]:
        channels = (shape[-1],)
        return (
            Tensor(Role.GAMMA, channels, Initialiser.ONES),
            Tensor(Role.BETA, channels, Initialiser.ZEROS),
            Tensor(Role.MOVING_MEAN, channels, Initialiser.ZEROS),
            Tensor(Role.MOVING_VARIANCE, channels, Initialiser.ONES),
        )


class Dropout(Single):
    """Zeroes each value with probability ``rate`` in training and scales the rest by ``1 / (1 - rate)``."""

    layer: Literal["dropout"]
    rate: Annotated[float, Field(ge=0, lt=1)]


class Activation(Single):
    """An elementwise function, or softmax over the last axis; its name is the layer's."""

    layer: Literal["relu", "tanh", "sigmoid", "softmax"]


def _tokens(layer: Embedding | SampledScores, shape: Shape) -> int:
    if len(shape) != 1:
        raise MisfitError(f"{layer.layer} takes (tokens,), but is given {shape}")
    return shape[0]


class Embedding(Single):
    """(tokens,) to (units,): the mean of the tokens' rows, as CBOW projects its context (Mikolov et al. 2013)."""

    layer: Literal["embedding"]
    vocabulary: PositiveInt
    units: PositiveInt
    init: Initialiser = Initialiser.FAN_IN_UNIFORM

    @override
    def output_shape(self, shape: Shape) -> Shape:
        _tokens(self, shape)
        return (self.units,)

    @override
    def tensors(self, shape: Shape) -> tuple[Tensor, ...]:
        return (Tensor(Role.EMBEDDING, (self.vocabulary, self.units), self.init, self.units, self.units),)


class SampledScores(Single):
    """CBOW's scores of some words only: (context + candidates,) to (candidates,), each a logit.

    ``score[j] = output_embedding[candidate j] . mean over i of embedding[context i]``, which negative sampling trains
    against the true word and drawn ones (Mikolov et al. 2013, Distributed Representations of Words and Phrases).
    """

    layer: Literal["sampled_scores"]
    vocabulary: PositiveInt
    units: PositiveInt
    context: PositiveInt
    init: Initialiser = Initialiser.FAN_IN_UNIFORM
    output_init: Initialiser = Initialiser.ZEROS

    @override
    def output_shape(self, shape: Shape) -> Shape:
        candidates = _tokens(self, shape) - self.context
        if candidates < 2:
            raise MisfitError(f"{shape[0]} tokens leave {candidates} candidates behind a context of {self.context}")
        return (candidates,)

    @override
    def tensors(self, shape: Shape) -> tuple[Tensor, ...]:
        size = self.vocabulary, self.units
        return (
            Tensor(Role.EMBEDDING, size, self.init, self.units, self.units),
            Tensor(Role.OUTPUT_EMBEDDING, size, self.output_init, self.units, self.units),
        )

    @override
    def macs(self, shape: Shape) -> int:
        return (shape[0] - self.context) * self.units


Plain = (
    Flatten
    | Dense
    | Conv2D
    | MaxPool
    | AveragePool
    | GlobalAveragePool
    | BatchNorm
    | Dropout
    | Activation
    | Embedding
    | SampledScores
)
"""Every layer that is not made of layers; ``suite.spec.graph`` has those that are."""
