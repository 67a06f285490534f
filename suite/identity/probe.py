"""The fixed probe of the gate: what a runner and the reference are both given.

All of it comes from named Philox streams, the same on every machine.  Every value is representable in float32, so that
a program in single precision starts from exactly the numbers that the reference in double precision starts from.
Nothing in it is special: biases, betas and running means are not 0, gammas and running variances not 1, inputs are
uniform over the spec's range, labels hold every class where there are enough images, so neither the kink of a relu nor
a tie in a max pool is ever met by construction.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from suite.initial import stream, targets, weights
from suite.layers import Dense, Dropout, Flatten, Role, walk
from suite.recipe import Adam, Loss, Optimizer, Sgd, Target
from suite.runners.base import SLOTS, Array, State, Weights
from suite.spec import Spec

SEED = 0
SPREAD: Mapping[Role, tuple[float, float]] = {
    Role.BIAS: (-0.2, 0.2),
    Role.GAMMA: (-0.3, 0.5),
    Role.BETA: (-0.2, 0.2),
    Role.MOVING_MEAN: (-0.3, 0.3),
    Role.MOVING_VARIANCE: (-0.5, 1.0),
}
"""Uniform noise added to initial values, by role; a kernel's is within a half over the root of its fan-in."""


def representable(values: Array) -> Array:
    """Rounded to what float32 can hold, in float64."""
    return values.astype(np.float32).astype(np.float64)


def start(spec: Spec) -> Weights:
    """The spec's initial weights, moved off every special value."""
    moved = {}
    for name, value in weights(spec, SEED).items():
        tensor = spec.tensors[name]
        half = 0.5 / math.sqrt(tensor.fan_in)
        low, high = SPREAD.get(tensor.role, (-half, half))
        moved[name] = representable(value + stream(SEED, "probe", "weights", name).uniform(low, high, value.shape))
    return moved


def batch(spec: Spec, count: int, *name: str | int) -> tuple[Array, Array]:
    """``count`` images (n, h, w, c) and their targets in float64, from the stream of ``name``."""
    random = stream(SEED, "probe", *name)
    images = representable(random.uniform(*spec.input_range, (count, *spec.data.image_shape)))
    labels = random.permutation(np.arange(count) % spec.data.classes)
    return images, targets(spec, labels, images)


def midway(optimizer: Optimizer, gradients: Weights, step: int) -> dict[str, Weights]:
    """Slots as after ``step`` steps along gradients of this size, random within it.

    From zero slots an adaptive optimizer divides a gradient by itself: where a gradient is only rounding noise, the
    step would be of full size in a random direction.  From these, noise stays noise.  A gradient that vanishes (a bias
    under batch normalisation) counts as the largest of all.
    """
    largest = max(float(np.abs(g).max()) for g in gradients.values())
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


def dropout_rates(spec: Spec) -> tuple[float, ...]:
    """The distinct rates above 0 of a spec's dropout layers."""
    rates = {node.layer.rate for node in walk(spec.graph) if isinstance(node.layer, Dropout)}
    return tuple(sorted(rates - {0.0}))


def dropout_alone(spec: Spec, rate: float, images: int, units: int) -> Spec:
    """A spec of ``units`` inputs that only copies and drops them: flatten, dense without bias, dropout."""
    return spec.replace(
        model=(
            Flatten(layer="flatten"),
            Dense(layer="dense", units=units, use_bias=False),
            Dropout(layer="dropout", rate=rate),
        ),
        data=spec.data.model_copy(update={"image_shape": (1, 1, units), "train": images}),
        target=Target.INPUT,
        loss=Loss.MEAN_SQUARED_ERROR,
        l2=0.0,
        batch_size=images,
        validation_fraction=0.0,
        early_stopping=None,
    )


def at(state: State, precision: str) -> State:
    """A state in ``precision``."""

    def cast(held: Weights) -> Weights:
        return {name: value.astype(precision) for name, value in held.items()}

    return State(cast(state.weights), {slot: cast(held) for slot, held in state.slots.items()}, state.step)
