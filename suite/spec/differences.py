"""Where a framework's own API differs from what a spec asks, as its runner states it, and how far that leads.

A porter who writes ``tf.keras.optimizers.RMSprop`` into a script gets another training than the spec's, which the
suite's runner bends its framework to.  Each runner states such differences for a spec in ``runners/<token>/own.py``,
without its framework; the reference computes what they do.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated

from pydantic import Field, PositiveInt

from suite.spec.graph import Layer, Node, walk
from suite.spec.layers import Conv2D, Dense
from suite.spec.recipe import Optimizer
from suite.spec.resolved import Spec
from suite.spec.semantics import Variant
from suite.spec.tensors import Frozen, Initialiser

Words = Annotated[str, Field(max_length=1000)]
Finite = Annotated[float, Field(ge=0)]
OPTIMIZER, LOSS = "optimizer", "loss"
"""What a difference is about that is in no layer."""
CLOSE = 5e-3
"""Two ways as long as each other, in the words of a report."""


class DifferenceKind(StrEnum):
    """What a difference is."""

    SEMANTICS = "computes something else"
    MISSING = "has no such thing"
    COMPOSED = "one operation there, several here"
    CONVENTION = "another convention or default"


class Shift(Frozen):
    """Where ten steps under other semantics end, against where the spec's own end; both in float64, from one start.

    ``weights`` is the largest difference of a trained weight, relative to the largest of its tensor as the gate takes
    it, ``statistics`` that of running statistics (null: there are none), ``outputs`` that of evaluation outputs over
    one batch.  ``way`` is the distance from start to end of all trained weights together, over the distance under the
    spec's semantics, and ``first`` the same of the first step (null: the weights stood still).  Each step is over
    ``images`` images.
    """

    weights: Finite
    first: Finite | None
    way: Finite | None
    statistics: Finite | None
    outputs: Finite
    images: PositiveInt
    steps: PositiveInt


class Difference(Frozen):
    """One difference: where it is in the spec, which API, what that does, and how the runner does what the spec asks.

    ``at`` are canonical names of layers, or ``optimizer`` or ``loss``.  Where the API's semantics are others,
    ``variant`` names them, and ``shift`` says what they do, or ``reason`` why that is not known.  ``composed``: the
    runner takes several operations where the framework has one.
    """

    kind: DifferenceKind
    at: Annotated[tuple[Words, ...], Field(min_length=1, max_length=2000)]
    api: Words
    does: Words
    here: Words = ""
    composed: bool = False
    variant: Variant | None = None
    shift: Shift | None = None
    reason: Words = ""

    @property
    def where(self) -> str:
        """The layers in a few words."""
        more = len(self.at) - 2
        return ", ".join(self.at) if more < 2 else f"{', '.join(self.at[:2])} and {more} more"

    @property
    def effect(self) -> str:
        """What it comes to in this spec, in a sentence; empty where it comes to nothing, or nothing is known."""
        if self.shift is None:
            return self.reason
        shift, images = self.shift, f"{self.shift.images} image{'s' if self.shift.images > 1 else ''}"
        steps = f"Ten steps of {images}" if shift.steps == 10 else f"{shift.steps} steps of {images}"
        return f"{steps}: {_weights(shift)}{_statistics(shift)}; evaluation outputs are {_apart(shift.outputs)}"


def _weights(shift: Shift) -> str:
    if not shift.weights:
        return "the weights are the same"
    if shift.way is None or shift.first is None:
        return f"the weights are {_apart(shift.weights)}"
    first, far = _times(shift.first), _times(shift.way)
    moved = first if first == far else f"{first} in the first step and {far} in all"
    return f"the weights move {moved}, and are {_apart(shift.weights)}"


def _times(way: float) -> str:
    return "as far" if abs(way - 1) < CLOSE else f"{way:.2g} times as far"


def _statistics(shift: Shift) -> str:
    return "" if shift.statistics is None else f"; running statistics are {_apart(shift.statistics)}"


def _apart(value: float) -> str:
    """A largest difference, relative to the largest value."""
    if not value:
        return "the same"
    return f"up to {100 * value:.2g} % apart" if value >= 1e-4 else f"up to {value:.0e} apart"


def grouped(spec: Spec, tell: Callable[[Node], str]) -> dict[str, tuple[str, ...]]:
    """The layers of which ``tell`` says anything, by what it says."""
    found: dict[str, list[str]] = defaultdict(list)
    for node in walk(spec.graph):
        if said := tell(node):
            found[said].append(node.name)
    return {said: tuple(names) for said, names in found.items()}


def differing(defaults: Mapping[str, float], holder: Layer | Optimizer) -> str:
    """Those of an API's defaults that are not what the spec has: ``epsilon 1e-07 (here 1e-08)``."""
    pairs = ((name, default, getattr(holder, name)) for name, default in defaults.items())
    return ", ".join(f"{name} {default:g} (here {value:g})" for name, default, value in pairs if default != value)


def drawn(node: Node, kernel: Initialiser, bias: Initialiser) -> str:
    """How a dense or convolution layer's initial values are drawn, if not as the given ones."""
    layer = node.layer
    if not isinstance(layer, Dense | Conv2D):
        return ""
    told = [f"kernels {layer.kernel_init}"] if layer.kernel_init is not kernel else []
    told += [f"biases {layer.bias_init}"] if layer.use_bias and layer.bias_init is not bias else []
    return " and ".join(told)


def names(nodes: tuple[Node, ...]) -> tuple[str, ...]:
    """Of layers, in their order."""
    return tuple(node.name for node in nodes)


def factor(spec: Spec, norms: Sequence[Node]) -> str:
    """``n / (n - 1)`` in words, for the batch norms' own n: by how much the unbiased variance is the larger."""
    counts = [spec.batches[0] * math.prod(node.input[:-1]) for node in norms]
    low, high = min(counts), max(counts)
    numbers = f"n = {low:,}" if low == high else f"n = {low:,} to {high:,}"
    ratios = [f"{n / max(n - 1, 1):.7g}" for n in dict.fromkeys((low, high))]
    return f"n / (n - 1) times as large as the biased one ({numbers} in a full batch: {' to '.join(ratios)} times)"
