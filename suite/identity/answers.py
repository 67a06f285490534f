"""What the reference answers to the gate's questions, each computed once for all that are compared with it.

Of a deep network the reference's answers are most of what a proof costs, and every mode of a runner is asked the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from suite.identity import probe
from suite.identity.compare import VANISHING, Tensors
from suite.identity.size import affordable, epoch, smaller
from suite.initial import stream
from suite.layers import walk
from suite.runners.base import Array, Precision, Probe, Program, Runner, State, Variant, Weights
from suite.spec import Sgd, Spec

STEPS = 10
EXACT_IMAGES, EXACT_WORK, EXACT_FEWEST = 16, 1.6e10, 2
"""Images per batch in the float64 stages: at most, what a batch may cost, and how many it holds in any case."""
FIRST_STEPS = 4
MIDWAY_STEP = 7

TOLD_BY = {
    "training outputs": "probe",
    "evaluation outputs": "probe",
    "loss": "probe",
    "gradients": "probe",
    "statistics": "probe",
    "query of 1": "queries",
    "query of a batch": "queries",
    "prediction": "queries",
    "epoch": "train",
}
"""Which of the timed calls tells each kind of thing."""
CALLS = tuple(dict.fromkeys(TOLD_BY.values()))
Sections = Mapping[str, Tensors]


@dataclass(frozen=True)
class Step:
    """One single step of the reference's: where it began, the loss that it saw, where it ended."""

    before: State
    loss: float
    after: State


class Answers:
    """The reference's answers about one spec, whose dropout is at rate 0.

    Attributes:
        trained: The spec itself, or the one of smaller batches that stands for it in training.
        epoch: Batch sizes of the timed stage's epoch.
        terms: How many terms the gradient of each tensor of ``trained`` sums.
    """

    def __init__(self, spec: Spec, reference: Runner) -> None:
        self.spec, self.reference = spec, reference
        self.start = State(probe.start(spec))
        self.trained = smaller(spec)
        self.epoch = epoch(self.trained)
        self.terms = terms_of(self.trained)
        self._programs: dict[Precision, Program] = {}
        self._timed: dict[tuple[Precision, str, int], Sections] = {}

    def build(self, spec: Spec, precision: Precision) -> Program:
        """The reference's program of any spec."""
        return self.reference.build(spec, self.reference.modes[0], precision)

    @property
    def cheap(self) -> bool:
        """Whether the float64 stages can afford all the images that they would have."""
        return images_of(self.spec) == min(EXACT_IMAGES, *self.spec.batches)

    @cached_property
    def exact_batch(self) -> tuple[Array, Array]:
        """Images and targets of stage 1."""
        return probe.batch(self.spec, images_of(self.spec), "exact")

    @cached_property
    def exact(self) -> Sections:
        """What is held and what a probe shows in float64, from the start."""
        return look(self.build(self.spec, "float64"), self.spec, self.start, *self.exact_batch)

    @cached_property
    def steps_batches(self) -> tuple[Array, Array, list[NDArray[np.int32]]]:
        """Images and targets of the single steps, and the order of each step."""
        images, targets = probe.batch(self.spec, STEPS * images_of(self.spec), "steps")
        return images, targets, np.split(shuffled(len(images), "steps"), STEPS)

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """Ten single steps in float64, each from where the one before ended, at the counts of ``counts_of``."""
        images, targets, orders = self.steps_batches
        program = self.build(self.spec, "float64")
        program.load(self.start)
        program.stage("train", images, targets)
        if not isinstance(self.spec.optimizer, Sgd):  # which divides by nothing
            gradients = program.probe(images[orders[0]], targets[orders[0]]).gradients
            program.load(State(self.start.weights, self._slots_of_noise(gradients)))
        before, taken = program.state(), []
        for order, count in zip(orders, counts_of(self.spec), strict=True):
            if before.step != count:
                before = replace(before, step=count)
                program.load(before)
            loss = program.train(order)
            taken.append(Step(before, loss, program.state()))
            before = taken[-1].after
        return tuple(taken)

    def _slots_of_noise(self, gradients: Weights) -> dict[str, Weights]:
        """Slots, as in the midst of training, of the tensors whose gradient is rounding noise; others start from zero.

        A bias under batch normalisation is such a tensor: from zero slots Adam's first step would divide noise by its
        own size, and two programs that agree would not.
        """
        floor = VANISHING * max(float(np.abs(g).max()) for g in gradients.values())
        noise = {name for name, g in gradients.items() if float(np.abs(g).max()) <= floor}
        slots = probe.midway(self.spec.optimizer, gradients, MIDWAY_STEP)
        return {slot: {name: held[name] for name in noise} for slot, held in slots.items()}

    @cached_property
    def midway(self) -> State:
        """Where the timed epoch starts: somewhere in the middle of training, a step before the rate changes if it does.

        An epoch of one step is the first at the new rate.
        """
        changes = probe.boundaries(self.trained)
        step = changes[0] - (len(self.epoch) > 1) if changes else MIDWAY_STEP
        slots = probe.midway(self.spec.optimizer, dict(self.exact["gradients"]), step)
        return State(self.start.weights, slots, step)

    def timed(self, precision: Precision, call: str, draw: int) -> Sections:
        """What the call that is timed gives in ``precision`` on probe number ``draw``."""
        at = precision, call, draw
        if at not in self._timed:
            if precision not in self._programs:
                self._programs[precision] = self.build(self.trained, precision)
            self._timed[at] = self.ask(self._programs[precision], None, precision, call, draw)
        return self._timed[at]

    def ask(self, program: Program, queried: Program | None, precision: Precision, call: str, draw: int) -> Sections:
        """What ``program``, or ``queried`` in its place for queries, gives to a timed call on probe number ``draw``.

        Without ``queried``, as for the reference, each image is predicted once, in the batches of training, and that
        stands for its answer to whatever query, wherever the image recurs.
        """
        images, targets = probe.batch(self.trained, sum(self.epoch), "timed", draw)
        images, targets = probe.cast(images, precision), probe.cast(targets, precision)
        match call:
            case "probe":
                full = self.epoch[0]
                program.load(probe.at(self.start, precision))
                return sections(self.spec, program.probe(images[:full], targets[:full]))
            case "queries":
                recurring = self._recurring(draw)
                if queried is None:
                    program.load(probe.at(self.start, precision))
                    program.stage("test", images, targets)
                    outputs = program.predict("test", self.epoch[0])[recurring]
                    return self._answered(outputs, outputs[:1], outputs[: self.spec.batches[0]])
                images, targets = images[recurring], targets[recurring]
                queried.load(probe.at(self.start, precision))
                queried.stage("test", images, targets)
                outputs = queried.predict("test", self.spec.batches[0])
                return self._answered(outputs, *(queried.infer(images[:size]) for size in (1, self.spec.batches[0])))
            case _:
                program.stage("train", images, targets)
                program.load(probe.at(self.midway, precision))
                loss = program.train(shuffled(len(images), "timed", draw))
                after = changed(self.spec, program.state())
                told = {f"epoch, {section}": tensors for section, tensors in after.items()}
                return {"epoch, loss": {"loss": np.array(loss)}} | told

    def _recurring(self, draw: int) -> NDArray[np.intp]:
        """Which of the timed probe's images each place of the split holds: every image once, or, of few images, any.

        Evaluation treats each image by itself, so the reference answers for each once, wherever it recurs.
        """
        there, wanted = sum(self.epoch), sum(epoch(self.spec))
        if there >= wanted:
            return np.arange(wanted)
        return stream(probe.SEED, "probe", "recurring", draw).integers(0, there, wanted)

    @staticmethod
    def _answered(prediction: Array, one: Array, full: Array) -> Sections:
        answers = {"query of 1": one, "query of a batch": full, "prediction": prediction}
        return {section: {"outputs": answer} for section, answer in answers.items()}


class Memory:
    """The reference with what it has answered, of the last ``specs`` that it was asked about.

    ``reference`` makes it, with given variants.  Specs of one computation are one and the same to it.
    """

    def __init__(self, reference: Callable[[frozenset[Variant]], Runner], specs: int = 1) -> None:
        self.reference = reference
        self._most = specs
        self._held: dict[tuple[str, frozenset[Variant]], Answers] = {}

    def about(self, spec: Spec, variants: frozenset[Variant]) -> Answers:
        """The answers about ``spec``, given and still to be given."""
        at = spec.computation, variants
        if at not in self._held:
            while len(self._held) >= self._most:
                del self._held[next(iter(self._held))]
            self._held[at] = Answers(spec.without_dropout(), self.reference(variants))
        return self._held[at]


def look(program: Program, spec: Spec, start: State, images: Array, targets: Array) -> Sections:
    """The weights that a program holds once they are given to it, and what its probe shows."""
    program.load(start)
    held = program.state().weights
    return {"held weights": held} | sections(spec, program.probe(images, targets))


def sections(spec: Spec, seen: Probe) -> dict[str, Tensors]:
    """A probe by kind, in the order in which a first difference shows: the gradients from the last layer back."""
    backwards = [name for name in reversed(spec.tensors) if name in seen.gradients]
    unknown = [name for name in seen.gradients if name not in spec.tensors]
    return {
        "training outputs": {"outputs": seen.training_outputs},
        "evaluation outputs": {"outputs": seen.outputs},
        "loss": {"loss": np.array(seen.loss)},
        "gradients": {name: seen.gradients[name] for name in (*backwards, *unknown)},
        "statistics": seen.statistics,
    }


def changed(spec: Spec, state: State) -> dict[str, Tensors]:
    """All that a step changes, in the order in which it does, by kind, and then what it must not."""
    frozen = spec.frozen_names
    weights = {name: state.weights[name] for name in spec.trainable if name in state.weights}
    held = {name: value for name, value in state.weights.items() if name in frozen}
    statistics = {name: value for name, value in state.weights.items() if name not in {*weights, *held}}
    kinds: dict[str, Tensors] = {f"slot {slot}": values for slot, values in state.slots.items()}
    kinds |= {"weights": weights, "statistics": statistics, "frozen": held}
    return {kind: tensors for kind, tensors in kinds.items() if tensors}


def images_of(spec: Spec) -> int:
    """Images per batch in the float64 stages."""
    return min(EXACT_IMAGES, affordable(spec, EXACT_WORK, EXACT_FEWEST), *spec.batches)


def terms_of(spec: Spec) -> dict[str, int]:
    """How many terms the gradient of each tensor sums: one to each position of each image of a batch."""
    return {t.name: spec.batch_size * math.prod(n.output[:-1]) for n in walk(spec.graph) for t in n.tensors}


def counts_of(spec: Spec) -> tuple[int, ...]:
    """How many steps lie before each of the single steps: from 0 on, or, where the learning rate changes, around that.

    With a schedule the first few start from 0, and the others are the steps before and behind each of its changes, as
    many as there is room for, going on behind the last.
    """
    counts = set(range(FIRST_STEPS)) if spec.schedule else set(range(STEPS))
    for change in probe.boundaries(spec):
        for count in (change - 1, change):
            if len(counts) < STEPS:
                counts.add(count)
    while len(counts) < STEPS:
        counts.add(max(counts) + 1)
    return tuple(sorted(counts))


def shuffled(count: int, *name: str | int) -> NDArray[np.int32]:
    """The probe's order of ``count`` images."""
    return stream(probe.SEED, "probe", "order", *name).permutation(count).astype(np.int32)
