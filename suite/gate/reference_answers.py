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

from suite.gate import parts, probe
from suite.gate.batch_size import affordable, epoch, smaller
from suite.gate.given import UNITS, Given, optimizer_checks
from suite.gate.probe import STEPS, counts_of, optimizer_alone
from suite.gate.tolerance import Tensors
from suite.inputs.initial import stream
from suite.results.identity import Check
from suite.runners.base import Array, Precision, Probe, Program, Runner, State, Weights
from suite.spec.differences import Difference
from suite.spec.graph import walk
from suite.spec.resolved import Spec
from suite.spec.semantics import Variant

EXACT_IMAGES, EXACT_WORK, EXACT_FEWEST = 16, 1.6e10, 2
"""Images per batch in the float64 stages: at most, what a batch may cost, and how many it holds in any case."""
MIDWAY_STEP = 7
WILD = 100.0
"""How many times its largest value the largest weight may reach in the single steps, before they begin afresh."""
QUERIES = ("query of 1", "query of a batch", "prediction")
TOLD_BY = {
    **dict.fromkeys(("training outputs", "evaluation outputs", "loss", "gradients", "statistics"), "probe"),
    **dict.fromkeys(
        (*QUERIES, *(f"another {query}" for query in QUERIES), *(f"{query} by other weights" for query in QUERIES)),
        "queries",
    ),
    **dict.fromkeys(("epoch", "another epoch", "query of 1 after training", "prediction after training"), "train"),
}
"""Which of the timed calls tells each kind of thing."""
CALLS = tuple(dict.fromkeys(TOLD_BY.values()))
Sections = Mapping[str, Tensors]


class UnprovableError(Exception):
    """The reference itself leaves what is finite on this probe: it shows nothing of anybody."""


@dataclass(frozen=True)
class Step:
    """One single step of the reference's: where it began, the loss and gradients that it saw, where it ended.

    Gradients are in float32: they only tell how far a step may be off (``moves``).
    """

    before: State
    loss: float
    gradients: Weights
    after: State


class Answers:
    """The reference's answers about one spec, whose dropout is at rate 0; each raises UnprovableError if not finite.

    Attributes:
        gentleness: How often the weights of the start were divided by ``probe.GENTLER``.
        trained: The spec itself, or the one of smaller batches that stands for it in training.
        epoch: Batch sizes of the timed stage's epoch.
        terms: How many terms the gradient of each tensor of ``trained`` sums.
    """

    def __init__(
        self, spec: Spec, reference: Runner, variants: frozenset[Variant] = frozenset(), gentleness: int = 0
    ) -> None:
        self.spec, self.reference, self.variants, self.gentleness = spec, reference, variants, gentleness
        self.start = State(probe.start(spec, gentleness))
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
        return _finite(look(self.build(self.spec, "float64"), self.spec, self.start, *self.exact_batch))

    @cached_property
    def steps_batches(self) -> tuple[Array, Array, list[NDArray[np.int32]]]:
        """Images and targets of the single steps, and the order of each step."""
        images, targets = probe.batch(self.spec, STEPS * images_of(self.spec), "steps")
        return images, targets, np.split(shuffled(len(images), "steps"), STEPS)

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """Ten single steps in float64, each from where the one before ended, at the counts of ``counts_of``.

        At a rate at which training diverges they leave what can be compared: a step that would begin from weights gone
        wild, or end in what is not finite, begins afresh, from slots as in the midst of training.
        """
        images, targets, orders = self.steps_batches
        program = self.build(self.spec, "float64")
        program.stage("train", images, targets)
        program.load(self.start)
        state, taken = program.state(), []
        for order, count in zip(orders, counts_of(self.spec), strict=True):
            batch = images[order], targets[order]
            step = None if self._wild(state) else _step(program, replace(state, step=count), order, *batch)
            step = step or _step(program, self._afresh(count), order, *batch)
            if step is None:
                raise UnprovableError
            taken.append(step)
            state = step.after
        return tuple(taken)

    def _wild(self, state: State) -> bool:
        return _size(state.weights) > WILD * _size(self.start.weights)

    def _afresh(self, step: int) -> State:
        return State(self.start.weights, probe.midway(self.spec.optimizer, dict(self.exact["gradients"]), step), step)

    @cached_property
    def midway(self) -> State:
        """Where the timed epoch starts: somewhere in the middle of training, a step before the rate changes if it does.

        An epoch of one step is the first at the new rate.
        """
        changes = probe.boundaries(self.trained)
        step = changes[0] - (len(self.epoch) > 1) if changes else MIDWAY_STEP
        return self._afresh(step)

    @cached_property
    def other(self) -> State:
        """Other weights than those of the start; what is not trained is the same."""
        trained = {name for name, tensor in self.spec.tensors.items() if tensor.role.trainable}
        return State({name: value / 2 if name in trained else value for name, value in self.start.weights.items()})

    def timed(self, precision: Precision, call: str, draw: int) -> Sections:
        """What the call that is timed gives in ``precision`` on probe number ``draw``."""
        at = precision, call, draw
        if at not in self._timed:
            if precision not in self._programs:
                self._programs[precision] = self.build(self.trained, precision)
            self._timed[at] = _finite(self.ask(self._programs[precision], None, precision, call, draw))
        return self._timed[at]

    def ask(self, program: Program, queried: Program | None, precision: Precision, call: str, draw: int) -> Sections:
        """What ``program``, or ``queried`` in its place for queries, gives to a timed call on probe number ``draw``.

        Each call is asked again with other values of one shape in the same memory, and after the weights have changed:
        an answer that is remembered shows.  Without ``queried``, as for the reference, each image is predicted once by
        the same weights, in the batches of training, and that stands for its answer to whatever query, wherever the
        image recurs.
        """
        images, targets = probe.batch(self.trained, sum(self.epoch), "timed", draw)
        images, targets = probe.cast(images, precision), probe.cast(targets, precision)
        match call:
            case "probe":
                full = self.epoch[0]
                program.load(probe.at(self.start, precision))
                return sections(self.spec, program.probe(images[:full], targets[:full]))
            case "queries":
                if queried is None:
                    return self._looked_up(program, precision, images, targets, draw)
                there = self._recurring(draw)
                return self._asked(queried, precision, images[there], targets[there])
            case _:
                return self._trained(program, precision, images, targets, draw)

    def _looked_up(self, program: Program, precision: Precision, images: Array, targets: Array, draw: int) -> Sections:
        """What the reference answers to the questions of ``_asked``."""
        there = self._recurring(draw)
        program.stage("test", images, targets)
        answers: dict[str, Tensors] = {}
        for weights, names in ((self.start, ("{}", "another {}")), (self.other, ("{} by other weights",))):
            program.load(probe.at(weights, precision))
            outputs = program.predict("test", self.epoch[0])
            orders = there, there[::-1]
            for name, order in zip(names, orders[-len(names) :], strict=True):
                given = outputs[order]
                told = zip(QUERIES, (given[:1], given[: self.spec.batches[0]], given), strict=True)
                answers |= {name.format(query): {"outputs": answer} for query, answer in told}
        return answers

    def _asked(self, program: Program, precision: Precision, images: Array, targets: Array) -> Sections:
        """Queries and a prediction; the same of the images in reverse; the same again by other weights."""
        size = self.spec.batches[0]
        memory = images.copy(), images[:1].copy(), images[:size].copy()
        answers: dict[str, Tensors] = {}
        for weights, reverse, name in (
            (self.start, False, "{}"),
            (self.start, True, "another {}"),
            (self.other, True, "{} by other weights"),
        ):
            turned = (images[::-1], targets[::-1]) if reverse else (images, targets)
            for place in memory:
                place[...] = turned[0][: len(place)]
            if name != "another {}":
                program.load(probe.at(weights, precision))
            program.stage("test", memory[0], turned[1].copy())
            given = program.infer(memory[1]), program.infer(memory[2]), program.predict("test", size)
            answers |= {name.format(query): {"outputs": a} for query, a in zip(QUERIES, given, strict=True)}
        return answers

    def _trained(self, program: Program, precision: Precision, images: Array, targets: Array, draw: int) -> Sections:
        """An epoch, queries by the weights that it left, and another epoch, over the images in reverse, from there."""
        full = self.epoch[0]
        order = shuffled(len(images), "timed", draw)
        held = images.copy(), targets.copy()
        program.load(probe.at(self.midway, precision))
        told: dict[str, Tensors] = {}
        for name in ("epoch", "another epoch"):
            program.stage("train", *held)
            told[f"{name}, loss"] = {"loss": np.array(program.train(order))}
            told |= {f"{name}, {kind}": tensors for kind, tensors in changed(self.spec, program.state()).items()}
            if name == "epoch":
                program.stage("test", images[:full].copy(), targets[:full].copy())
                told["query of 1 after training"] = {"outputs": program.infer(images[:1].copy())}
                told["prediction after training"] = {"outputs": program.predict("test", full)}
                held[0][...], held[1][...] = images[::-1], targets[::-1]
                order[...] = shuffled(len(images), "timed", "again", draw)
        return told

    def _recurring(self, draw: int) -> NDArray[np.intp]:
        """Which of the timed probe's images each place of the split holds: every image once, or, of few images, any.

        Evaluation treats each image by itself, so the reference answers for each once, wherever it recurs.
        """
        there, wanted = sum(self.epoch), sum(epoch(self.spec))
        if there >= wanted:
            return np.arange(wanted)
        return stream(probe.SEED, "probe", "recurring", draw).integers(0, there, wanted)


class ReferenceAnswers:
    """The reference with what it has answered, of the last ``specs`` that it was asked about.

    ``reference`` makes it, with given variants.  Specs of one computation are one and the same to it.
    """

    def __init__(self, reference: Callable[[frozenset[Variant]], Runner], specs: int = 1) -> None:
        self.reference = reference
        self._most = specs
        self._held: dict[tuple[str, frozenset[Variant], int], Answers] = {}
        self.told: dict[tuple[str, tuple[Difference, ...]], tuple[Difference, ...]] = {}
        """What was found out about differences, by the computation and what a runner states of it."""
        self._given: dict[tuple[str, frozenset[Variant], Precision], Given] = {}
        self._parts: dict[tuple[object, ...], tuple[Check, ...]] = {}
        self._optimizers: dict[tuple[object, ...], tuple[Check, ...]] = {}

    def about(self, spec: Spec, variants: frozenset[Variant], gentleness: int = 0) -> Answers:
        """The answers about ``spec``, given and still to be given."""
        at = spec.computation, variants, gentleness
        if at not in self._held:
            while len(self._held) >= self._most:
                del self._held[next(iter(self._held))]
            self._held[at] = Answers(spec.without_dropout(), self.reference(variants), variants, gentleness)
        return self._held[at]

    def optimizer(
        self, spec: Spec, variants: frozenset[Variant], runner: Runner, mode: str, precision: Precision
    ) -> tuple[Check, ...]:
        """The checks of ``spec``'s optimizer by itself, made once for all specs that share it."""
        alone = optimizer_alone(spec, UNITS).computation, variants, precision
        if alone not in self._given:
            self._given[alone] = Given(spec, self.reference(variants), precision)
        at = *alone, runner, mode
        if at not in self._optimizers:
            self._optimizers[at] = optimizer_checks(self._given[alone], runner, mode, precision)
        return self._optimizers[at]

    def parts(self, spec: Spec, runner: Runner, mode: str, precision: Precision) -> tuple[Check, ...]:
        """The checks of ``spec``'s parts by themselves, each made once for all specs that have it."""
        found: tuple[Check, ...] = ()
        for part in parts.parts(spec, precision):
            at = part.spec.computation, runner, mode, precision
            if at not in self._parts:
                self._parts[at] = parts.checks(part, self.reference(frozenset()), runner, mode, precision)
            found += self._parts[at]
        return found


def _step(program: Program, before: State, order: NDArray[np.int32], images: Array, targets: Array) -> Step | None:
    """A single step from ``before`` over the staged images that ``order`` points to; None if it is not finite."""
    program.load(before)
    gradients = program.probe(images, targets).gradients
    loss = program.train(order)
    after = program.state()
    if not math.isfinite(loss) or not all(np.isfinite(_size(held)) for held in (after.weights, *after.slots.values())):
        return None
    return Step(before, loss, {n: g.astype(np.float32) for n, g in gradients.items()}, after)


def _size(held: Weights) -> float:
    """The largest magnitude of all; not finite if any value is."""
    return float(np.max([np.abs(value).max() for value in held.values()], initial=0.0))


def _finite(answers: Sections) -> Sections:
    """The answers, if all of them are finite; else raises UnprovableError."""
    if all(np.isfinite(value).all() for tensors in answers.values() for value in tensors.values()):
        return answers
    raise UnprovableError


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


def shuffled(count: int, *name: str | int) -> NDArray[np.int32]:
    """The probe's order of ``count`` images."""
    return stream(probe.SEED, "probe", "order", *name).permutation(count).astype(np.int32)
