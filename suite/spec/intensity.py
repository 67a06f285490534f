"""Arithmetic intensity: FLOPs for each byte that crosses the memory's bus (Williams, Waterman & Patterson 2009).

Nobody can say how much a framework moves without watching it, so two amounts bound it, both for one example of a batch:

- *at least*: inputs, outputs and weights, each once; what layers hand to one another stays in a cache.  In training
  weights and the optimizer's slots are read and written, and activations stay in a cache or are computed again.
- *layer by layer*: every layer reads what it takes and writes what it leaves, nothing is fused and no cache keeps
  anything.  Backwards a layer does so twice, once for its inputs' gradient and once for its weights'; weights are read
  forth and back, their gradients written and read, and the optimizer reads and writes weights and slots.

So FLOPs over the first is an upper bound of the intensity, unless a cache keeps weights or inputs from one batch to the
next; over the second it is a lower bound, unless a framework makes copies of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from suite.spec.graph import Concat, Node, Residual, walk
from suite.spec.layers import Dropout, Embedding, Flatten, SampledScores
from suite.spec.precision import VALUE_BYTES, Precision, held
from suite.spec.resolved import Spec

BACKWARD = 3
"""A step of training over a forward pass: backwards it takes one product for inputs and one for weights."""
SLOTS = {"adam": 2, "rmsprop": 1}
"""Values that an optimizer remembers of each weight; sgd has one where it has a momentum."""


@dataclass(frozen=True)
class Intensity:
    """FLOPs per byte, ``low`` where all is moved layer by layer, ``high`` where as little as possible is."""

    low: float
    high: float


def intensity(spec: Spec, batch: int, precision: Precision, *, training: bool) -> Intensity | None:
    """Of a spec in batches of so many examples; None where it counts no FLOPs."""
    if not spec.flops:
        return None
    flops = spec.flops * (BACKWARD if training else 1)
    return Intensity(
        low=flops / _layer_by_layer(spec, batch, precision, training=training),
        high=flops / _at_least(spec, batch, precision, training=training),
    )


def _at_least(spec: Spec, batch: int, precision: Precision, *, training: bool) -> float:
    """Bytes of one example."""
    times = 2 * (1 + _slots(spec)) if training else 1
    return VALUE_BYTES[held(precision)] * (_ends(spec) + times * _weights(spec) / batch)


def _layer_by_layer(spec: Spec, batch: int, precision: Precision, *, training: bool) -> float:
    """Bytes of one example."""
    value, whole = VALUE_BYTES[precision], VALUE_BYTES[held(precision)]
    activations = value * sum(_moved(node, training=training) for node in walk(spec.graph))
    if value < whole:  # inputs and outputs are held in full: they are rounded, and widened again
        activations += (value + whole) * _ends(spec)
    times = 6 + 2 * _slots(spec) if training else 1
    return activations * (BACKWARD if training else 1) + whole * times * _weights(spec) / batch


def _moved(node: Node, *, training: bool) -> int:
    """Values that a layer reads and writes by itself; a residual adds two branches, a concat puts its side by side."""
    taken, left = math.prod(node.input), math.prod(node.output)
    match node.layer:
        case Flatten():
            return 0
        case Dropout() if not training:
            return 0
        case Residual():
            return 3 * left
        case Concat():
            return 2 * left
        case Embedding(units=units) | SampledScores(units=units):  # a row for each word
            return taken * (1 + units) + left
        case _:
            return taken + left


def _ends(spec: Spec) -> int:
    """Values of an input and its outputs."""
    return math.prod(spec.input_shape) + math.prod(spec.graph[-1].output)


def _weights(spec: Spec) -> int:
    """Values of weights that a batch reads; of a table that words are looked up in a batch reads a few rows."""
    tables = {t.name for n in walk(spec.graph) if isinstance(n.layer, Embedding | SampledScores) for t in n.tensors}
    return sum(math.prod(tensor.shape) for name, tensor in spec.tensors.items() if name not in tables)


def _slots(spec: Spec) -> int:
    return SLOTS.get(spec.optimizer.name, int(bool(getattr(spec.optimizer, "momentum", 0))))
