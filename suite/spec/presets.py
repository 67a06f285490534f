"""Short forms of models: a few numbers that stand for the layers of a well-known network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from suite.spec.graph import Layer, Residual
from suite.spec.layers import (
    Activation,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool,
    MaxPool,
    RunningVariance,
)
from suite.spec.tensors import Frozen, Initialiser, Margins, MisfitError, Padding

Fraction = Annotated[float, Field(ge=0, lt=1)]
EXPANSION = 4
"""Channels that a bottleneck leaves, by those of its 3x3 convolution."""


class Norm(Frozen):
    """Batch normalisation in a short form; ``{}`` is the layer with its defaults."""

    momentum: Fraction = 0.9
    epsilon: PositiveFloat = 1e-5
    running_variance: RunningVariance = "unbiased"


class Mlp(Frozen):
    """Short form of a perceptron: per hidden layer dense, batch norm, activation, dropout; then a dense head."""

    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    classes: PositiveInt = 10
    activation: Literal["relu", "tanh", "sigmoid"] = "relu"
    dropout: Fraction = 0.0
    batch_norm: Norm | None = None

    def layers(self) -> tuple[Layer, ...]:
        """The layers it stands for."""
        model: list[Layer] = [Flatten(layer="flatten")]
        for units in self.hidden:
            model.append(Dense(layer="dense", units=units))
            if norm := self.batch_norm:
                model.append(BatchNorm(layer="batch_norm", **dict(norm)))
            model.append(Activation(layer=self.activation))
            model += [Dropout(layer="dropout", rate=self.dropout)] if self.dropout else []
        return (*model, Dense(layer="dense", units=self.classes))


class Resnet(Frozen):
    """A residual network of bottleneck blocks (He et al. 2015); ``blocks`` (3, 4, 6, 3) is ResNet-50.

    ``stride`` says which convolution of a stage's first block halves the image: the first, a 1x1, as in the paper (v1),
    or the 3x3 (v1.5, torchvision's).  The stem ``imagenet`` is a 7x7 convolution of stride 2 and a 3x3 max pool of
    stride 2; ``cifar`` is a 3x3 convolution of stride 1, for images of 32 pixels.  All padding is symmetric.
    """

    blocks: Annotated[tuple[PositiveInt, ...], Field(min_length=1, max_length=4)]
    classes: PositiveInt
    stem: Literal["cifar", "imagenet"]
    stride: Literal["first", "3x3"]
    width: PositiveInt = Field(64, description="channels of the stem and of the first stage's 3x3 convolutions")
    use_bias: bool = Field(False, description="whether convolutions have biases, which batch norm makes idle")
    momentum: Fraction = 0.9
    epsilon: PositiveFloat = 1e-5
    running_variance: RunningVariance = "unbiased"
    dropout: Fraction = Field(0.0, description="rate in front of the dense layer")
    kernel_init: Initialiser = Initialiser.HE_NORMAL

    def layers(self) -> tuple[Layer, ...]:
        """The layers it stands for."""
        model: list[Layer] = []
        if self.stem == "cifar":
            model += self._conv(self.width, 3, 1, 1)
        else:
            model += self._conv(self.width, 7, 2, 3)
        model.append(Activation(layer="relu"))
        if self.stem == "imagenet":
            model.append(MaxPool(layer="max_pool", window=(3, 3), stride=(2, 2), padding=(1, 1)))
        channels = self.width
        for stage, count in enumerate(self.blocks):
            width = self.width << stage
            for block in range(count):
                stride = 2 if stage and not block else 1
                model += self._block(channels, width, stride)
                channels = EXPANSION * width
        model.append(GlobalAveragePool(layer="global_average_pool"))
        model += [Dropout(layer="dropout", rate=self.dropout)] if self.dropout else []
        return (*model, Dense(layer="dense", units=self.classes, kernel_init=Initialiser.FAN_IN_UNIFORM))

    def _block(self, channels: int, width: int, stride: int) -> list[Layer]:
        strides = (stride, 1) if self.stride == "first" else (1, stride)
        relu = Activation(layer="relu")
        body = (
            *self._conv(width, 1, strides[0], Padding.VALID),
            relu,
            *self._conv(width, 3, strides[1], 1),
            relu,
            *self._conv(EXPANSION * width, 1, 1, Padding.VALID),
        )
        fits = stride == 1 and channels == EXPANSION * width
        shortcut = () if fits else tuple(self._conv(EXPANSION * width, 1, stride, Padding.VALID))
        return [Residual(layer="residual", body=body, shortcut=shortcut), relu]

    def _conv(self, filters: int, kernel: int, stride: int, padding: Padding | int) -> list[Layer]:
        margins: Margins = (padding, padding) if isinstance(padding, int) else padding
        convolution = Conv2D(
            layer="conv2d",
            filters=filters,
            kernel=(kernel, kernel),
            stride=(stride, stride),
            padding=margins,
            use_bias=self.use_bias,
            kernel_init=self.kernel_init,
        )
        norm = BatchNorm(
            layer="batch_norm",
            momentum=self.momentum,
            epsilon=self.epsilon,
            running_variance=self.running_variance,
        )
        return [convolution, norm]


class Form(Frozen):
    """``model: {mlp: {hidden: [512, 512]}}`` or ``model: {resnet: {blocks: [3, 4, 6, 3], ...}}``: one of them."""

    mlp: Mlp | None = None
    resnet: Resnet | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Form:
        if (self.mlp is None) is (self.resnet is None):
            raise MisfitError("must be a list of layers, or one short form: mlp or resnet")
        return self

    @property
    def name(self) -> str:
        """Which it is."""
        return "mlp" if self.mlp else "resnet"

    def layers(self) -> tuple[Layer, ...]:
        """The layers it stands for."""
        form = self.mlp or self.resnet
        assert form is not None
        return form.layers()
