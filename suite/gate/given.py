"""The optimizer's part of the gate: its steps along given gradients, of which nothing is forgiven.

What a step of a whole model may be off by follows from what its gradient may be (``moves``).  Here the gradients are
the same to the last bit on either side, of every size from that of rounding noise to that of a network gone wild, so
that each element of a weight is measured by how far it moves, and each element of a slot by itself.  A wrong epsilon,
which a gradient of ordinary size hides, shows in the small ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from suite.gate import probe
from suite.gate.tolerance import Tensors, bound, share
from suite.inputs.initial import stream
from suite.results.identity import Check
from suite.runners.base import SLOTS, Array, Precision, Program, Runner, State, Weights
from suite.spec.precision import held, ulp
from suite.spec.recipe import Adam, Sgd
from suite.spec.resolved import Spec

UNITS = 256
SMALLEST, LARGEST = 1e-15, 1e2
"""Magnitudes of the gradients; their squares are no denormals in single precision."""
CHANGE_ULPS = 8.0
"""Units in the last place of a weight that its new value may be off in any case, however small the change."""
RESTS = 8
"""Units whose gradient is 0."""


@dataclass(frozen=True)
class Case:
    """A step: from where, and from which slots, in words; ``image`` is the row whose targets give the gradients."""

    name: str
    before: State
    image: int


class Given:
    """Steps of one optimizer along given gradients, and what the reference answers to them.

    Gradients and weights are such that products in ``precision`` round none of them: the rest is held in full.
    """

    def __init__(self, spec: Spec, reference: Runner, precision: Precision) -> None:
        self.spec = probe.optimizer_alone(spec, UNITS)
        self._reference, self._precision = reference, precision
        self._after: dict[tuple[Precision, int], State] = {}

    @cached_property
    def gradients(self) -> Array:
        """Two rows of gradients (2, units), of random magnitude and sign, some 0."""
        random = stream(probe.SEED, "probe", "given", "gradients")
        size = np.exp(random.uniform(math.log(SMALLEST), math.log(LARGEST), (2, UNITS)))
        size[:, :RESTS] = 0
        return probe.representable(size * random.choice([-1.0, 1.0], (2, UNITS)), self._precision)

    @cached_property
    def weights(self) -> Weights:
        """Weights and biases that cancel out, so that an output is exactly 0; half of them are 0, and show any change.

        With an output of 0 the targets are gradients, but for a factor that is a power of two.
        """
        drawn = stream(probe.SEED, "probe", "given", "weights").uniform(-0.5, 0.5, UNITS)
        values = probe.representable(drawn, self._precision)
        values[::2] = 0
        return {"dense_1/kernel": values[None], "dense_1/bias": -values}

    @cached_property
    def cases(self) -> tuple[Case, ...]:
        """At each count of the single steps: from empty slots, and from some of the gradients' own sizes."""
        found = []
        for number, count in enumerate(probe.counts_of(self.spec)):
            empty, full = State(self.weights, self._empty(), count), State(self.weights, self._slots(count), count)
            found.append(Case("empty slots", empty, number % 2))
            if full.slots:
                found.append(Case("given slots", full, number % 2))
        return tuple(found)

    def _empty(self) -> dict[str, Weights]:
        return {slot: {n: np.zeros_like(v) for n, v in self.weights.items()} for slot in _slots(self.spec)}

    def _slots(self, count: int) -> dict[str, Weights]:
        """Slots as behind gradients of the size of those to come, or, in every other element, of another's size."""
        optimizer = self.spec.optimizer
        size = np.abs(self.gradients[0])
        size[1::2] = size[1::2][::-1]
        found: dict[str, Weights] = {}
        for slot in _slots(self.spec):
            found[slot] = {}
            for name, value in self.weights.items():
                random = stream(probe.SEED, "probe", "given", slot, name, count)
                values = size * random.uniform(-0.5, 0.5, UNITS)
                if slot in ("v", "square"):
                    part = 1 - optimizer.beta_2 ** (count + 1) if isinstance(optimizer, Adam) else 1.0
                    values = part * size**2 * random.uniform(0.5, 1.5, UNITS)
                found[slot][name] = probe.representable(values).reshape(value.shape)
        return found

    def after(self, precision: Precision) -> Iterator[State]:
        """Where the reference ends in each case."""
        if (precision, 0) not in self._after:
            program = self._reference.build(self.spec, self._reference.modes[0], precision)
            self._after |= {(precision, i): state for i, state in enumerate(self.take(program, precision))}
        return (self._after[precision, i] for i in range(len(self.cases)))

    def take(self, program: Program, precision: Precision) -> Iterator[State]:
        """Where ``program`` ends in each case."""
        images, targets = np.ones((2, 1, 1, 1)), -self.gradients * UNITS / 2
        images, targets = probe.cast(images, precision), probe.cast(targets, precision)
        program.stage("train", images, targets)
        for case in self.cases:
            program.load(probe.at(case.before, precision))  # which copies
            program.train(np.array([case.image], np.int32))
            yield program.state()


def _slots(spec: Spec) -> tuple[str, ...]:
    """The names of what the optimizer remembers."""
    return () if isinstance(spec.optimizer, Sgd) and not spec.optimizer.momentum else SLOTS[spec.optimizer.name]


def optimizer_checks(given: Given, runner: Runner, mode: str, precision: Precision) -> tuple[Check, ...]:
    """Of the optimizer's steps along given gradients, in float64 and in the timed ``precision``, the worst by kind."""
    worst: dict[tuple[str, str], Check] = {}
    for type_ in dict.fromkeys(("float64", precision)):
        program = runner.build(given.spec, mode, type_)
        ends = zip(given.cases, given.take(program, type_), given.after("float64"), given.after(type_), strict=True)
        for case, got, wanted, own in ends:
            for kind, before, seen, due, low in _kinds(case.before, got, wanted, own):
                for name, b in due.items():
                    measure = _measure(kind, before[name], b, type_)
                    error, floor = (_error(values.get(name), b, measure) for values in (seen, low))
                    section = f"optimizer alone, {type_}, {case.name}, {kind}"
                    check = Check(section=section, tensor=name, error=error, bound=_bound(floor, type_))
                    if (section, name) not in worst or check.share > worst[section, name].share:
                        worst[section, name] = check
    return tuple(worst.values())


def _kinds(before: State, *ends: State) -> Iterator[tuple[str, Tensors, Tensors, Tensors, Tensors]]:
    """Each slot and the weights: before the step, and in each of three ends."""
    for slot, values in before.slots.items():
        got, due, low = (end.slots.get(slot, {}) for end in ends)
        yield f"slot {slot}", values, got, due, low
    got, due, low = (end.weights for end in ends)
    yield "weights", before.weights, got, due, low


def _measure(kind: str, before: Array, after: Array, precision: Precision) -> Array:
    """By what each element is measured.

    A weight by how far it moves, and by its own rounding where that is more; what is in a slot by the larger of what it
    was and is, for the two may cancel out.
    """
    if kind != "weights":
        larger: Array = np.maximum(np.abs(after), np.abs(before))
        return larger
    own: Array = np.abs(before) * (CHANGE_ULPS * ulp(held(precision)) / _bound(0.0, precision))
    measure: Array = np.abs(after - before) + own
    return measure


def _bound(reference: float | None, precision: Precision) -> float:
    """The error allowed, given the reference's own; optimizers compute in full in every precision."""
    return bound(reference, precision, full=True)


def _error(a: Array | None, b: Array, measure: Array) -> float | None:
    """The largest error of any element; None where there is no finite number to compare."""
    if a is None or a.shape != b.shape or not np.isfinite(a).all():
        return None
    return share(np.abs(a.astype(np.float64) - b), measure)
