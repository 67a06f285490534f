"""What the author of a benchmark writes: a Recipe, and the parts it is made of.

Every default is stated here, and none is left to a framework.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
    model_validator,
)

from suite.spec.graph import Layer
from suite.spec.presets import Form, Fraction
from suite.spec.targets import LOSSES, Loss, Target
from suite.spec.tasks import found
from suite.spec.tasks.found import AnyTask
from suite.spec.tensors import Frozen, MisfitError

NAME = "lower-case letters and digits, joined by single dashes or dots"
NAME_PATTERN = r"^[a-z0-9]+([-.][a-z0-9]+)*$"
Identifier = Annotated[str, Field(pattern=NAME_PATTERN, max_length=64, description=NAME)]


"""The losses that go with each target."""


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
    """Kingma & Ba 2014, algorithm 1: ``epsilon`` is added to the root after bias correction.

    ``before_correction`` is the form of their section 2, which TensorFlow and Keras have: epsilon meets the uncorrected
    root, so that it weighs ``1 / sqrt(1 - beta_2^t)`` times as much in step t.
    """

    name: Literal["adam"]
    learning_rate: PositiveFloat = 0.001
    beta_1: Fraction = 0.9
    beta_2: Fraction = 0.999
    epsilon: PositiveFloat = 1e-8
    epsilon_place: Literal["after_correction", "before_correction"] = Field(
        "after_correction",
        description="whether epsilon is added to the root after bias correction (the paper's algorithm 1, PyTorch) or "
        "before it (TensorFlow, Keras)",
    )


class RmsProp(Frozen):
    """``s = rho * s + (1 - rho) * g**2; w -= rate * g / (sqrt(s) + epsilon)`` (Hinton 2012, as PyTorch has it).

    ``inside_root`` divides by ``sqrt(s + epsilon)``, as TensorFlow and Keras do.
    """

    name: Literal["rmsprop"]
    learning_rate: PositiveFloat = 0.001
    rho: Fraction = 0.9
    epsilon: PositiveFloat = 1e-8
    epsilon_place: Literal["outside_root", "inside_root"] = Field(
        "outside_root",
        description="whether the step is divided by sqrt(s) + epsilon (PyTorch) or by sqrt(s + epsilon) (TensorFlow, "
        "Keras)",
    )


LATER: Mapping[str, frozenset[object]] = {
    "epsilon_place": frozenset({"after_correction", "outside_root"}),
    "running_variance": frozenset({"unbiased"}),
    "count_padding": frozenset({False}),
    "labels": frozenset({None}),
    "speed_alone": frozenset({False}),
}
"""Fields that specs did not have from the first, and the values that say what was meant without them.

No digest counts a field at such a value, so that a spec keeps the digest that its older results tell.
"""


def without_later(value: Any) -> Any:
    """A JSON value without the fields that ``LATER`` leaves out, at any depth."""
    match value:
        case dict():
            counted = (key for key in value if key not in LATER or value[key] not in LATER[key])
            return {key: without_later(value[key]) for key in counted}
        case list() | tuple():
            return [without_later(item) for item in value]
        case _:
            return value


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


TIMES = frozenset({"seconds_per_epoch", "train_seconds"})
"""Published times come from other machines: shown, never judged."""
WIDEST_SHARE = 0.01
WIDEST_PART = 0.1
WIDEST_LOSS = 0.02
WIDEST_EPOCHS = 1.0
"""Half-widths up to which an interval tells something, unless the claim states its own: see ``Claim.widest``."""


class Claim(Frozen):
    """A number that the source states.  An accuracy is a fraction; a time is context and is never judged.

    ``to`` is the upper end where the source gives a range; ``framework`` is a runner's token.  ``untestable`` says what
    the source leaves out where nobody can put the claim to the test.
    """

    metric: Literal[
        "test_accuracy",
        "test_loss",
        "train_accuracy",
        "train_loss",
        "validation_accuracy",
        "validation_loss",
        "seconds_per_epoch",
        "train_seconds",
        "stopped_at_epoch",
        "latency_per_image_reduction",
    ]
    value: NonNegativeFloat
    to: NonNegativeFloat | None = None
    framework: str = ""
    note: str = ""
    untestable: str = ""
    half_width: PositiveFloat | None = Field(
        None,
        description="half of the widest 95 % prediction interval that still reproduces the number, in the number's "
        "unit; null: 0.01 of a share, 10 % of the value or 0.02 of a loss, 10 % or 1 of an epoch",
    )

    @property
    def widest(self) -> float | None:
        """The half-width of a prediction interval above which nothing is reproduced; null for a time.

        Unless the claim states it: a point of a share (accuracy, reduction); of a loss 10 % of the value or 0.02, of
        the epoch of stopping 10 % of the value or 1, whichever is larger.  The value of a range is its lower end.
        """
        if self.metric in TIMES or self.half_width is not None:
            return self.half_width
        part = WIDEST_PART * self.value
        match self.metric.rpartition("_")[2]:
            case "loss":
                return max(part, WIDEST_LOSS)
            case "epoch":
                return max(part, WIDEST_EPOCHS)
        return WIDEST_SHARE

    @model_validator(mode="after")
    def _makes_sense(self) -> Claim:
        highest = self.value if self.to is None else self.to
        if highest < self.value:
            raise MisfitError(f"must not be below the value, {self.value:g}", "to")
        if self.metric.endswith("accuracy") and highest > 1:
            raise MisfitError("an accuracy is a fraction of 1", "value", f"Write {highest / 100:g} for {highest:g} %.")
        if self.half_width is not None:
            self._can_fail(self.half_width)
        return self

    def _can_fail(self, half: float) -> None:
        """Refuse a half-width where nothing is judged, and one under which next to everything would be reproduced."""
        if self.metric in TIMES or self.untestable:
            raise MisfitError("goes with a number that is judged, and this one never is", "half_width", "Drop it.")
        if self.metric.endswith(("accuracy", "reduction")):
            if half >= 0.5:
                way_out = f"Write {half / 100:g} for {half:g} points." if half < 50 else ""
                raise MisfitError("is a fraction of 1 and must be below 0.5", "half_width", way_out)
        elif half > max(self.value, least := WIDEST_LOSS if self.metric.endswith("loss") else WIDEST_EPOCHS):
            raise MisfitError(
                f"must be at most the published value, {self.value:g}, or {least:g} if that is more", "half_width"
            )


class Assumption(Frozen):
    """A choice that the source leaves open, and the case, if any, that makes the other choice."""

    about: str
    chosen: str
    alternative: Identifier | None = None


def _form(value: object) -> str | None:
    """Which form of a model is meant, as the type that JSON gives it."""
    return "array" if isinstance(value, list | tuple) else "object" if isinstance(value, dict | Form) else None


Layers = Annotated[tuple[Layer, ...], Field(min_length=1, max_length=1000)]
Model = Annotated[Annotated[Layers, Tag("array")] | Annotated[Form, Tag("object")], Discriminator(_form)]


class Augmentation(Frozen):
    """New training images in each epoch: padded by ``crop`` black pixels and cropped at random, mirrored at random.

    The core makes them outside the timed region, so that every framework trains on the very same pixels.
    """

    crop: NonNegativeInt = 0
    flip: bool = False

    @model_validator(mode="after")
    def _does_something(self) -> Augmentation:
        if not self.crop and not self.flip:
            raise MisfitError("changes nothing", way_out="State crop or flip, or drop it.")
        return self


class Schedule(Frozen):
    """Steps of the learning rate: it is multiplied by ``factor`` before each of the epochs ``at``, counted from 0."""

    at: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    factor: Annotated[float, Field(gt=0, lt=1)]

    @model_validator(mode="after")
    def _rises(self) -> Schedule:
        if any(later <= earlier for earlier, later in zip(self.at, self.at[1:], strict=False)):
            raise MisfitError("must rise", "at")
        return self


class Recipe(Frozen):
    """What the author of a benchmark writes."""

    name: Identifier
    title: str = ""
    description: str = ""
    source: Source | None = None
    dataset: str = Field(
        description="a name from `suite data list`, or npz:PATH, a file of your own, taken from the folder of this file"
    )
    input_range: tuple[float, float] = Field(
        (0.0, 1.0), description="pixel values are mapped from 0..max linearly onto this range"
    )
    labels: Literal["map"] | None = Field(
        None,
        description="map: labels of the data that are not 0 to n - 1 are mapped to that in sorted order, and reports "
        "keep their names; null: they are classes 0 to n - 1",
    )
    augmentation: Augmentation | None = None
    target: Target = Target.LABELS
    task: AnyTask = Field(
        default_factory=lambda given: found.default(given.get("target", Target.LABELS)),
        description="what the outputs are for: which examples are made of the data, and what they are judged by",
    )
    starts_from: str | None = Field(
        None,
        description="the benchmark whose trained weights this one starts from: name or name/case, or the path of its "
        "YAML file, taken from the folder of this one, with /case where it has several; or weights:NAME, imported by "
        "`suite weights import`",
    )
    inherits: tuple[str, ...] = Field(
        (), description="the layers whose weights are taken over, others start afresh; none named: all"
    )
    frozen: tuple[str, ...] = Field(
        (),
        description="the layers that are not trained; a batch norm among them keeps to its running statistics",
    )
    model: Model
    loss: Loss = Loss.SOFTMAX_CROSS_ENTROPY
    optimizer: Optimizer
    schedule: Schedule | None = None
    l2: NonNegativeFloat = Field(0.0, description="the objective gains l2 * sum(kernel ** 2): a weight decay of 2 * l2")
    batch_size: PositiveInt
    epochs: PositiveInt
    validation_fraction: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    early_stopping: EarlyStopping | None = None
    speed_alone: bool = Field(
        False, description="proven and timed, but neither trained to an end nor judged: the data hold nothing to learn"
    )
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
        if self.loss not in LOSSES[self.target]:
            ways = "; ".join(f"{target} takes {' or '.join(sorted(losses))}" for target, losses in LOSSES.items())
            raise MisfitError(f"{self.loss} does not go with target {self.target}", "loss", f"Target {ways}.")
        self._suits_its_task()
        learnt = ("claims", "early_stopping", "target_accuracy", "validation_fraction")
        if self.speed_alone and (field := next((name for name in learnt if getattr(self, name)), None)):
            raise MisfitError("asks what is learnt, but speed_alone says that nothing is", field, "Drop one of them.")
        if self.inherits and not self.starts_from:
            raise MisfitError("names layers, but there is nothing to inherit from", "inherits", "State starts_from.")
        return self

    def _suits_its_task(self) -> None:
        task = self.task
        if self.target not in task.targets:
            raise MisfitError(
                f"{self.target} does not go with the task {task.kind}",
                "target",
                f"It takes {' or '.join(task.targets)}.",
            )
        if self.augmentation and not task.augmentable:
            raise MisfitError(f"is for classification, and the task is {task.kind}", "augmentation", "Drop it.")
