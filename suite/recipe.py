"""What the author of a benchmark writes: a Recipe, and the parts it is made of.

Every default is stated here, and none is left to a framework.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Discriminator, Field, NonNegativeFloat, PositiveFloat, PositiveInt, Tag, model_validator

from suite.layers import Activation, BatchNorm, Dense, Dropout, Flatten, Frozen, Layer, MisfitError

Fraction = Annotated[float, Field(ge=0, lt=1)]
NAME = "lower-case letters and digits, joined by single dashes or dots"
NAME_PATTERN = r"^[a-z0-9]+([-.][a-z0-9]+)*$"
Identifier = Annotated[str, Field(pattern=NAME_PATTERN, max_length=64, description=NAME)]


class Loss(StrEnum):
    """What training minimises; both cross-entropies take logits."""

    SOFTMAX_CROSS_ENTROPY = "softmax_cross_entropy"
    SIGMOID_CROSS_ENTROPY = "sigmoid_cross_entropy"
    MEAN_SQUARED_ERROR = "mean_squared_error"


class Target(StrEnum):
    """What outputs are compared with: the class, the class one-hot encoded, or the input itself."""

    LABELS = "labels"
    ONE_HOT = "one_hot"
    INPUT = "input"


class Sgd(Frozen):
    """``v = momentum * v + g; w -= rate * v``, or ``w -= rate * (g + momentum * v)`` with Nesterov's momentum.

    Source: PyTorch's documentation of ``torch.optim.SGD`` (dampening 0); Sutskever et al. 2013.
    """

    name: Literal["sgd"]
    learning_rate: PositiveFloat
    momentum: Fraction = 0.0
    nesterov: bool = False

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Sgd:
        if self.nesterov and not self.momentum:
            raise MisfitError("needs a momentum above 0", "nesterov")
        return self


class Adam(Frozen):
    """Kingma & Ba 2014, algorithm 1: ``epsilon`` is added to the root after bias correction."""

    name: Literal["adam"]
    learning_rate: PositiveFloat = 0.001
    beta_1: Fraction = 0.9
    beta_2: Fraction = 0.999
    epsilon: PositiveFloat = 1e-8


class RmsProp(Frozen):
    """``s = rho * s + (1 - rho) * g**2; w -= rate * g / (sqrt(s) + epsilon)`` (Hinton 2012, as PyTorch has it)."""

    name: Literal["rmsprop"]
    learning_rate: PositiveFloat = 0.001
    rho: Fraction = 0.9
    epsilon: PositiveFloat = 1e-8


Optimizer = Annotated[Sgd | Adam | RmsProp, Field(discriminator="name")]


class EarlyStopping(Frozen):
    """Stop when ``monitor`` has not improved by more than ``min_delta`` for ``patience`` epochs."""

    monitor: Literal["validation_loss", "validation_accuracy"] = "validation_loss"
    patience: PositiveInt
    min_delta: NonNegativeFloat = 0.0
    restore_best: bool = False


class Source(Frozen):
    """Where a benchmark was published."""

    title: str
    year: int | None = None
    note: str = ""


class Claim(Frozen):
    """A number that the source states.  An accuracy is a fraction; a time is context and is never judged.

    ``to`` is the upper end where the source gives a range; ``framework`` is a runner's token.
    """

    metric: Literal[
        "test_accuracy",
        "test_loss",
        "train_accuracy",
        "train_loss",
        "validation_accuracy",
        "validation_loss",
        "seconds_per_epoch",
    ]
    value: NonNegativeFloat
    to: NonNegativeFloat | None = None
    framework: str = ""
    note: str = ""

    @model_validator(mode="after")
    def _makes_sense(self) -> Claim:
        highest = self.value if self.to is None else self.to
        if highest < self.value:
            raise MisfitError(f"must not be below the value, {self.value:g}", "to")
        if self.metric.endswith("accuracy") and highest > 1:
            raise MisfitError("an accuracy is a fraction of 1", "value", f"Write {highest / 100:g} for {highest:g} %.")
        return self


class Assumption(Frozen):
    """A choice that the source leaves open, and the case, if any, that makes the other choice."""

    about: str
    chosen: str
    alternative: Identifier | None = None


class Mlp(Frozen):
    """Short form of a perceptron: per hidden layer dense, batch norm, activation, dropout; then a dense head."""

    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    classes: PositiveInt = 10
    activation: Literal["relu", "tanh", "sigmoid"] = "relu"
    dropout: Fraction = 0.0
    batch_norm: bool = False

    def layers(self) -> tuple[Layer, ...]:
        """The layers it stands for."""
        model: list[Layer] = [Flatten(layer="flatten")]
        for units in self.hidden:
            model.append(Dense(layer="dense", units=units))
            model += [BatchNorm(layer="batch_norm")] if self.batch_norm else []
            model.append(Activation(layer=self.activation))
            model += [Dropout(layer="dropout", rate=self.dropout)] if self.dropout else []
        return (*model, Dense(layer="dense", units=self.classes))


class MlpForm(Frozen):
    """``model: {mlp: {hidden: [512, 512], dropout: 0.2}}``."""

    mlp: Mlp


def _form(value: object) -> str | None:
    """Which form of a model is meant, as the type that JSON gives it."""
    return "array" if isinstance(value, list | tuple) else "object" if isinstance(value, dict | MlpForm) else None


Layers = Annotated[tuple[Layer, ...], Field(min_length=1, max_length=1000)]
Model = Annotated[Annotated[Layers, Tag("array")] | Annotated[MlpForm, Tag("object")], Discriminator(_form)]


class Recipe(Frozen):
    """What the author of a benchmark writes."""

    name: Identifier
    title: str = ""
    description: str = ""
    source: Source | None = None
    dataset: str
    input_range: tuple[float, float] = Field(
        (0.0, 1.0), description="pixel values are mapped from 0..max linearly onto this range"
    )
    target: Target = Target.LABELS
    model: Model
    loss: Loss = Loss.SOFTMAX_CROSS_ENTROPY
    optimizer: Optimizer
    l2: NonNegativeFloat = Field(0.0, description="the objective gains l2 * sum(kernel ** 2): a weight decay of 2 * l2")
    batch_size: PositiveInt
    epochs: PositiveInt
    validation_fraction: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    early_stopping: EarlyStopping | None = None
    target_accuracy: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="the test accuracy whose time the report tells; it stops nothing"
    )
    claims: tuple[Claim, ...] = ()
    assumptions: tuple[Assumption, ...] = ()

    @model_validator(mode="after")
    def _makes_sense(self) -> Recipe:
        if self.input_range[0] >= self.input_range[1]:
            raise MisfitError("must rise, as in [0, 1]", "input_range")
        if self.early_stopping and not self.validation_fraction:
            raise MisfitError(
                "watches a validation split, but there is none",
                "early_stopping",
                "Set validation_fraction above 0.",
            )
        if (self.target is Target.LABELS) != (self.loss is Loss.SOFTMAX_CROSS_ENTROPY):
            raise MisfitError(
                f"{self.loss} does not go with target {self.target}",
                "loss",
                "softmax_cross_entropy takes target labels; the other losses take one_hot or input.",
            )
        return self
