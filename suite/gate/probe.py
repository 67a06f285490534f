"""The fixed probe of the gate: what a runner and the reference are both given.

All of it comes from named Philox streams, the same on every machine.  Every value is representable in float32, so that
a program in single precision starts from exactly the numbers that the reference in double precision starts from.
Nothing in it is special: biases, betas and running means are not 0, gammas and running variances not 1, inputs are
uniform over the spec's range, labels hold every class where there are enough images, so neither the kink of a relu nor
a tie in a max pool is ever met by construction.  Words repeat, within an example and among them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from suite.inputs.initial import stream, targets, weights
from suite.runners.base import SLOTS, Array, Precision, State, Weights
from suite.spec.graph import walk
from suite.spec.layers import Dense, Dropout, Flatten
from suite.spec.precision import held, rounded
from suite.spec.recipe import Adam, Optimizer, Sgd
from suite.spec.resolved import Spec
from suite.spec.targets import Loss, Target
from suite.spec.tasks import found
from suite.spec.tensors import Role

SEED = 0
STEPS, FIRST_STEPS = 10, 4
"""Single steps of the optimizer, and how many of them are the first ones where the learning rate changes."""
SPREAD: Mapping[Role, tuple[float, float]] = {
    Role.BIAS: (-0.2, 0.2),
    Role.GAMMA: (-0.3, 0.5),
    Role.BETA: (-0.2, 0.2),
    Role.MOVING_MEAN: (-0.3, 0.3),
    Role.MOVING_VARIANCE: (-0.5, 1.0),
}
"""Uniform noise added to initial values, by role; of kernels and tables, within a half over the root of the fan-in."""
GENTLER = 8
"""What the weights are divided by where, from those of the start, the reference itself overflows.  A power of two keeps
them representable in float32."""


def representable(values: Array, precision: Precision = "float32") -> Array:
    """Rounded to what a product in ``precision`` takes as it is, and float32 holds, in float64."""
    return rounded(values, "float32" if precision == "float64" else precision).astype(np.float64)


def start(spec: Spec, gentleness: int = 0) -> Weights:
    """The spec's initial weights, moved off every special value, and divided by ``GENTLER`` that many times.

    Running statistics are never divided.
    """
    moved = {}
    for name, value in weights(spec, SEED).items():
        tensor = spec.tensors[name]
        half = 0.5 / math.sqrt(tensor.fan_in)
        low, high = SPREAD.get(tensor.role, (-half, half))
        value = representable(value + stream(SEED, "probe", "weights", name).uniform(low, high, value.shape))
        moved[name] = value / GENTLER**gentleness if tensor.role.trainable else value
    return moved


def batch(spec: Spec, count: int, *name: str | int) -> tuple[Array, Array]:
    """``count`` images (n, h, w, c) in float64, or words (n, t), and their targets, from the stream of ``name``."""
    random = stream(SEED, "probe", *name)
    images = words(spec, count, random) if spec.input_dtype == "tokens" else _images(spec, count, random)
    classes = spec.data.classes
    labels = random.permutation(max(count, classes))[:count] % classes  # few images are of any classes
    match spec.target:
        case Target.BOXES:
            return images, np.column_stack([labels, representable(random.uniform(0, 1, (count, 4)))])
        case Target.FIRST:
            first = np.zeros((count, *spec.graph[-1].output))
            first[:, 0] = 1
            return images, first
        case _:
            return images, targets(spec, labels, images)


def _images(spec: Spec, count: int, random: np.random.Generator) -> Array:
    return representable(random.uniform(*spec.input_range, (count, *spec.input_shape)))


def words(spec: Spec, count: int, random: np.random.Generator) -> Array:
    """Words (count, t) as int32: the logarithm of their index is uniform, so that some are frequent, as in a text.

    The first two words of an example are one and the same.
    """
    share = random.uniform(0, 1, (count, *spec.input_shape))
    drawn = np.floor((spec.data.max_value + 2) ** share - 1).astype(np.int32)
    drawn[:, 1:2] = drawn[:, :1]
    return np.minimum(drawn, spec.data.max_value)


def cast(values: Array, precision: Precision) -> Array:
    """Floats in the type that holds them in ``precision``; labels and words as they are."""
    return values.astype(held(precision)) if np.issubdtype(values.dtype, np.floating) else values


def midway(optimizer: Optimizer, gradients: Weights, step: int) -> dict[str, Weights]:
    """Slots as after ``step`` steps along gradients of this size, random within it.

    From zero slots an adaptive optimizer divides a gradient by itself: where a gradient is only rounding noise, the
    step would be of full size in a random direction.  From these, noise stays noise.  A gradient that vanishes (a bias
    under batch normalisation) counts as the largest of all.  If all of them do, they count as 1.
    """
    largest = max(float(np.abs(g).max()) for g in gradients.values()) or 1.0
    made: dict[str, Weights] = {}
    for slot in () if isinstance(optimizer, Sgd) and not optimizer.momentum else SLOTS[optimizer.name]:
        made[slot] = {}
        for name, gradient in gradients.items():
            random = stream(SEED, "probe", "slots", slot, name)
            size = float(np.abs(gradient).max())
            size = max(size, 1e-3 * largest) if size > 1e-9 * largest else largest
            values = size * random.uniform(-0.5, 0.5, gradient.shape)
            if slot in ("v", "square"):
                share = 1 - optimizer.beta_2**step if isinstance(optimizer, Adam) else 1.0
                values = share * size**2 * random.uniform(0.5, 1.5, gradient.shape)
            made[slot][name] = representable(values)
    return made


def boundaries(spec: Spec) -> tuple[int, ...]:
    """How many steps have been taken when the learning rate changes, for each time that it does."""
    return tuple(epoch * spec.steps_per_epoch for epoch in spec.schedule.at) if spec.schedule else ()


def counts_of(spec: Spec) -> tuple[int, ...]:
    """How many steps lie before each of the single steps: from 0 on, or, where the learning rate changes, around that.

    With a schedule the first few start from 0, and the others are the steps before and behind each of its changes, as
    many as there is room for, going on behind the last.
    """
    counts = set(range(FIRST_STEPS)) if spec.schedule else set(range(STEPS))
    for change in boundaries(spec):
        for count in (change - 1, change):
            if len(counts) < STEPS:
                counts.add(count)
    while len(counts) < STEPS:
        counts.add(max(counts) + 1)
    return tuple(sorted(counts))


def on_its_own(spec: Spec, **fields: object) -> Spec:
    """The same computation as a benchmark by itself: of inputs as the model is given them, judged by nothing."""
    facts = {"image_shape": spec.input_shape, "train": spec.train_images, "train_counts": None}
    given = {
        "data": spec.data.model_copy(update=facts),
        "task": found.default(Target.LABELS),
        "validation_fraction": 0.0,
        "early_stopping": None,
        "augmentation": None,
        "starts_from": None,
        "inherits": (),
        "frozen": (),
        "schedule": None,
    }
    return spec.replace(**{**given, **fields})


def dropout_rates(spec: Spec) -> tuple[float, ...]:
    """The distinct rates above 0 of a spec's dropout layers."""
    rates = {node.layer.rate for node in walk(spec.graph) if isinstance(node.layer, Dropout)}
    return tuple(sorted(rates - {0.0}))


def dropout_alone(spec: Spec, rate: float, images: int, units: int) -> Spec:
    """A spec of ``units`` inputs that only copies and drops them: flatten, dense without bias, dropout."""
    facts = {"image_shape": (1, 1, units), "train": images, "train_counts": None}
    return on_its_own(
        spec,
        model=(
            Flatten(layer="flatten"),
            Dense(layer="dense", units=units, use_bias=False),
            Dropout(layer="dropout", rate=rate),
        ),
        data=spec.data.model_copy(update=facts),
        target=Target.INPUT,
        task=found.default(Target.INPUT),
        loss=Loss.MEAN_SQUARED_ERROR,
        l2=0.0,
        batch_size=images,
    )


def optimizer_alone(spec: Spec, units: int) -> Spec:
    """A spec of ``spec``'s optimizer, decay and schedule whose gradients are whatever its targets say, exactly.

    One input, always 1, a dense layer of ``units`` (a power of two), the mean squared error: the gradient of unit j's
    weight and of its bias is ``2 (y[j] - t[j]) / units``, plus the weight's decay, and has one term alone, so that no
    order of summing matters.  An epoch has as many steps as ``spec``'s, each of one image.
    """
    facts = {"image_shape": (1, 1, 1), "classes": units, "train": spec.steps_per_epoch, "train_counts": None}
    return on_its_own(
        spec,
        model=(Flatten(layer="flatten"), Dense(layer="dense", units=units)),
        data=spec.data.model_copy(update=facts),
        target=Target.ONE_HOT,
        loss=Loss.MEAN_SQUARED_ERROR,
        schedule=spec.schedule,
        batch_size=1,
    )


def at(state: State, precision: Precision) -> State:
    """A state in the type that holds it in ``precision``."""
    real = held(precision)

    def cast(values: Weights) -> Weights:
        return {name: value.astype(real) for name, value in values.items()}

    return State(cast(state.weights), {slot: cast(values) for slot, values in state.slots.items()}, state.step)
