"""The parts of a low precision by themselves: sums, statistics, softmax and loss, which it holds in full.

In a whole network what products lose covers what a sum in few bits loses besides.  Here the operands are such that a
product rounds none of them, there are many terms, and all are of one sign: who adds them up in few bits is far off.  A
batch norm is given inputs that lie close together far from 0, a loss outputs that it is given exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from suite.gate import probe
from suite.gate.probe import on_its_own
from suite.gate.tolerance import bound, errors
from suite.inputs.initial import stream
from suite.results.identity import Check
from suite.runners.base import Array, Probe, Runner, State, Weights
from suite.spec.graph import walk
from suite.spec.layers import Activation, BatchNorm, Conv2D, Dense, Flatten
from suite.spec.precision import Precision, held, ulp
from suite.spec.resolved import Spec
from suite.spec.targets import Loss, Target
from suite.spec.tensors import Padding

DEPTH, UNITS, IMAGES = 1024, 16, 256
"""Terms of a dense layer's sums, how many it makes, and over how many images its gradients are summed."""
SIDE, CHANNELS = 8, 64
"""Of the images of a convolution, whose windows have nine times as many terms."""
CLASSES = 64
FULL_ULPS = 256.0
"""Units in the last place of float32 that may be off what is held in full: thousands of terms are summed in any order,
and few bits are off by thousands of times as much."""
BELOW = -4.0
"""Less than a batch norm puts out, so that the gradients of its outputs are of one sign."""


@dataclass(frozen=True)
class Part:
    """A spec that is little but one part, and what its program is given; ``full`` names sections held in full."""

    name: str
    spec: Spec
    weights: Weights
    images: Array
    targets: Array
    full: frozenset[str]


def parts(spec: Spec, precision: Precision) -> Iterator[Part]:
    """Those that ``spec`` has."""
    layers = [node.layer for node in walk(spec.graph)]
    if any(isinstance(layer, Dense) for layer in layers):
        yield _dense(spec, precision)
    if any(isinstance(layer, Conv2D) for layer in layers):
        yield _conv2d(spec, precision)
    norms = [node for node in walk(spec.graph) if isinstance(node.layer, BatchNorm)]
    for images in dict.fromkeys(len(node.input) == 3 for node in norms):
        yield _batch_norm(spec, precision, images=images)
    if any(isinstance(layer, Activation) and layer.layer == "softmax" for layer in layers):
        yield _answer(spec, precision, softmax=True)
    if spec.loss in (Loss.SOFTMAX_CROSS_ENTROPY, Loss.DETECTION, Loss.SIGMOID_CROSS_ENTROPY):
        yield _answer(spec, precision, softmax=False)


def checks(part: Part, reference: Runner, runner: Runner, mode: str, precision: Precision) -> tuple[Check, ...]:
    """What ``runner`` makes of a part against the reference in float64, and the bound by the reference's own error."""
    wanted, own = (_seen(part, reference, reference.modes[0], each) for each in ("float64", precision))
    got = _seen(part, runner, mode, precision)
    found = []
    for section, tensors in wanted.items():
        off, floor = (errors(run[section], tensors, noise_counts=False) for run in (got, own))
        for name, error in off.items():
            full = section in part.full
            least = FULL_ULPS * ulp(held(precision)) if full else 0.0
            limit = max(bound(floor.get(name), precision, full=full), least)
            found.append(
                Check(section=f"{precision} {part.name} alone, {section}", tensor=name, error=error, bound=limit)
            )
    return tuple(found)


def _seen(part: Part, runner: Runner, mode: str, precision: Precision) -> dict[str, dict[str, Array]]:
    program = runner.build(part.spec, mode, precision)
    program.load(probe.at(State(part.weights), precision))
    seen: Probe = program.probe(probe.cast(part.images, precision), probe.cast(part.targets, precision))
    return {
        "outputs": {"outputs": seen.training_outputs},
        "loss": {"loss": np.array(seen.loss)},
        "gradients": dict(seen.gradients),
        "statistics": dict(seen.statistics),
    }


def _positive(precision: Precision, *shape: int, name: str) -> Array:
    """Between 1/2 and 1, so that no product rounds them and no sum of them shrinks."""
    return probe.representable(stream(probe.SEED, "probe", "part", name).uniform(0.5, 1, shape), precision)


def _spec(spec: Spec, shape: tuple[int, int, int], images: int, classes: int, **fields: object) -> Spec:
    facts = {"image_shape": shape, "classes": classes, "train": images, "train_counts": None}
    given = {"target": Target.ONE_HOT, "loss": Loss.MEAN_SQUARED_ERROR, "l2": 0.0, "batch_size": images, **fields}
    return on_its_own(spec, data=spec.data.model_copy(update=facts), **given)


def _dense(spec: Spec, precision: Precision) -> Part:
    """Forward over ``DEPTH`` inputs, back to the kernel over ``IMAGES`` images."""
    model = (Flatten(layer="flatten"), Dense(layer="dense", units=UNITS))
    of = _spec(spec, (1, 1, DEPTH), IMAGES, UNITS, model=model)
    kernel = _positive(precision, DEPTH, UNITS, name="kernel")
    images = _positive(precision, IMAGES, 1, 1, DEPTH, name="images")
    weights = {"dense_1/kernel": kernel, "dense_1/bias": np.zeros(UNITS)}
    return Part("dense", of, weights, images, np.zeros((IMAGES, UNITS)), frozenset())


def _conv2d(spec: Spec, precision: Precision) -> Part:
    """Forward over windows of ``9 * CHANNELS`` inputs, back to the kernel over all positions of some images."""
    conv = Conv2D(layer="conv2d", filters=2, kernel=(3, 3), padding=Padding.SAME)
    count = UNITS
    of = _spec(spec, (SIDE, SIDE, CHANNELS), count, 2 * SIDE * SIDE, model=(conv, Flatten(layer="flatten")))
    kernel = _positive(precision, 3, 3, CHANNELS, 2, name="filters")
    images = _positive(precision, count, SIDE, SIDE, CHANNELS, name="pictures")
    weights = {"conv2d_1/kernel": kernel, "conv2d_1/bias": np.zeros(2)}
    return Part("conv2d", of, weights, images, np.zeros((count, 2 * SIDE * SIDE)), frozenset())


def _batch_norm(spec: Spec, precision: Precision, *, images: bool) -> Part:
    """Of inputs between 1 and 5/4, whose mean in few bits is off by much of their deviation."""
    norm, flat = BatchNorm(layer="batch_norm"), Flatten(layer="flatten")
    shape = (4, 4, CLASSES // 16) if images else (1, 1, CLASSES)
    of = _spec(spec, shape, IMAGES, CLASSES, model=(norm, flat) if images else (flat, norm))
    drawn = stream(probe.SEED, "probe", "part", "close").uniform(1, 1.25, (IMAGES, *shape))
    values = shape[-1]
    weights = {
        "batch_norm_1/gamma": np.full(values, 1.0),
        "batch_norm_1/beta": np.zeros(values),
        "batch_norm_1/moving_mean": np.zeros(values),
        "batch_norm_1/moving_variance": np.ones(values),
    }
    targets = np.full((IMAGES, CLASSES), BELOW)
    return Part("batch_norm", of, weights, probe.representable(drawn, precision), targets, frozenset({"statistics"}))


def _answer(spec: Spec, precision: Precision, *, softmax: bool) -> Part:
    """Outputs that are given exactly, through a softmax or the loss: one input, always 1, and no bias."""
    model = (Flatten(layer="flatten"), Dense(layer="dense", units=CLASSES, use_bias=False))
    if softmax:
        of = _spec(spec, (1, 1, 1), IMAGES, CLASSES, model=(*model, Activation(layer="softmax")))
    elif spec.loss is Loss.SIGMOID_CROSS_ENTROPY:
        of = _spec(spec, (1, 1, 1), IMAGES, CLASSES, model=model, loss=spec.loss)
    else:
        fields = {"target": Target.LABELS, "loss": Loss.SOFTMAX_CROSS_ENTROPY}
        of = _spec(spec, (1, 1, 1), IMAGES, CLASSES, model=model, **fields)
    drawn = stream(probe.SEED, "probe", "part", "outputs").uniform(-4, 4, (1, CLASSES))
    labels = np.arange(IMAGES) % CLASSES
    targets = labels.astype(np.int32) if of.target is Target.LABELS else np.eye(CLASSES)[labels]
    name, full = ("softmax", "outputs") if softmax else (f"{of.loss}", "loss")
    kernel = {"dense_1/kernel": probe.representable(drawn, precision)}
    return Part(name, of, kernel, np.ones((IMAGES, 1, 1, 1)), targets, frozenset({full}))
