"""The stages of the gate that compare value by value."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from suite.identity import probe
from suite.identity.compare import TOLERANCE, VANISHING, Tensors, bound, errors, largest
from suite.identity.locate import Chain, locate, neutral
from suite.identity.size import affordable, epoch, smaller
from suite.initial import stream
from suite.layers import walk
from suite.result import Check
from suite.runners.base import Array, Precision, Probe, Program, Runner, State, Weights
from suite.spec import Sgd, Spec

STEPS = 10
RETRIES = 4
"""Fresh probes on which a check that failed in the timed precision is repeated."""
EXACT_IMAGES, EXACT_WORK, EXACT_FEWEST = 16, 2.5e10, 4
"""Images per batch in the float64 stages: at most, what a batch may cost, and how many it holds in any case."""
FIRST_STEPS = 4
MIDWAY_STEP = 7

CALLS = {
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
Look = Callable[[Probe], Array]


class Gate:
    """The stages for one runner and mode; ``checks`` grow in the order of computation."""

    def __init__(self, spec: Spec, runner: Runner, reference: Runner, mode: str) -> None:
        self._spec, self._runner, self._reference, self._mode = spec, runner, reference, mode
        self._start = State(probe.start(spec))
        self._images = images_of(spec)
        self._trained = smaller(spec)
        self._epoch = epoch(self._trained)
        self._terms = terms_of(self._trained)
        self.checks: list[Check] = []

    @property
    def diverged(self) -> bool:
        """Whether any check failed."""
        return any(not check.equal for check in self.checks)

    def _build(self, spec: Spec, precision: Precision) -> tuple[Program, Program]:
        """The runner's program, and the reference's."""
        return self._runner.build(spec, self._mode, precision), self._reference.build(
            spec, self._reference.modes[0], precision
        )

    def _equal(self, section: str, got: Tensors, wanted: Tensors) -> None:
        for name, error in errors(got, wanted).items():
            self.checks.append(Check(section=section, tensor=name, error=error, bound=TOLERANCE))

    def exact(self) -> None:
        """Stage 1."""
        images, targets = probe.batch(self._spec, self._images, "exact")
        seen = []
        for program in self._build(self._spec, "float64"):
            program.load(self._start)
            held = program.state().weights
            seen.append({"held weights": held} | _sections(self._spec, program.probe(images, targets)))
        for section, wanted in seen[1].items():
            self._equal(f"float64 {section}", seen[0][section], wanted)
        self._name_layer("float64", images, "float64")

    def steps(self) -> float | None:
        """Stage 2; returns the drift after as many free-running steps."""
        images, targets = probe.batch(self._spec, STEPS * self._images, "steps")
        candidate, reference = self._build(self._spec, "float64")
        orders = np.split(shuffled(len(images), "steps"), STEPS)
        counts = counts_of(self._spec)
        for program in (candidate, reference):
            program.load(self._start)
            program.stage("train", images, targets)
        start = State(self._start.weights, self._slots_of_noise(reference, images[orders[0]], targets[orders[0]]))
        reference.load(start)
        before = reference.state()
        for number, (order, count) in enumerate(zip(orders, counts, strict=True), start=1):
            if before.step != count:
                before = replace(before, step=count)
                reference.load(before)
            candidate.load(before)
            losses = [np.array(program.train(order)) for program in (candidate, reference)]
            got, wanted = candidate.state(), reference.state()
            self._equal(f"float64 step {number}, loss", {"loss": losses[0]}, {"loss": losses[1]})
            seen = self._changed(got), self._changed(wanted)
            for section, tensors in seen[1].items():
                self._equal(f"float64 step {number}, {section}", seen[0].get(section, {}), tensors)
            counted = abs(float(got.step - wanted.step))
            self.checks.append(Check(section=f"float64 step {number}, count", tensor="step", error=counted, bound=0))
            before = wanted
        candidate.load(start)
        for done, (order, count) in enumerate(zip(orders, counts, strict=True)):
            if done and count != counts[done - 1] + 1:
                candidate.load(replace(candidate.state(), step=count))
            candidate.train(order)
        return largest(errors(candidate.state().weights, before.weights))

    def _slots_of_noise(self, reference: Program, images: Array, targets: Array) -> dict[str, Weights]:
        """Slots, as in the midst of training, of the tensors whose gradient is rounding noise; others start from zero.

        A bias under batch normalisation is such a tensor: from zero slots Adam's first step would divide noise by its
        own size, and two programs that agree would not.  Plain SGD divides by nothing.
        """
        if isinstance(self._spec.optimizer, Sgd):
            return {}
        gradients = reference.probe(images, targets).gradients
        floor = VANISHING * max(float(np.abs(g).max()) for g in gradients.values())
        noise = {name for name, g in gradients.items() if float(np.abs(g).max()) <= floor}
        slots = probe.midway(self._spec.optimizer, gradients, MIDWAY_STEP)
        return {slot: {name: held[name] for name in noise} for slot, held in slots.items()}

    def _changed(self, state: State) -> dict[str, Tensors]:
        """All that a step changes, in the order in which it does, by kind, and then what it must not."""
        frozen = self._spec.frozen_names
        weights = {name: state.weights[name] for name in self._spec.trainable if name in state.weights}
        held = {name: value for name, value in state.weights.items() if name in frozen}
        statistics = {name: value for name, value in state.weights.items() if name not in {*weights, *held}}
        kinds: dict[str, Tensors] = {f"slot {slot}": values for slot, values in state.slots.items()}
        kinds |= {"weights": weights, "statistics": statistics, "frozen": held}
        return {kind: tensors for kind, tensors in kinds.items() if tensors}

    def timed(self, precision: Precision, queried: Program | None) -> None:
        """Stage 3.  ``queried`` is what answers queries, if it is not the program that trains (dropout and all).

        Training is in batches that ``smaller`` leaves, and the record says so where they are not the spec's own;
        queries and predictions always are.

        Under rounding a relu near its kink or a near tie in a max pool falls to the other side now and then, which
        moves a gradient far more than rounding does; and the error of a scalar can be small by luck.  So a check that
        fails is repeated on fresh probes, and stands if the smallest of the runner's errors is beyond four times the
        largest of the reference's.  A wrong precision fails on each.
        """
        candidate, low = self._build(self._trained, precision)
        high = self._build(self._trained, "float64")[1]
        if queried is None and self._trained is not self._spec:
            queried = self._runner.build(self._spec, self._mode, precision)
        label: str = precision
        if self._trained is not self._spec:
            label = f"{precision} (trained by {self._trained.batch_size} images)"
        midway = self._midway(high)
        mine: dict[tuple[str, str], float] = {}
        allowed: dict[tuple[str, str], float] = {}
        failing: set[tuple[str, str]] = set()
        for draw in range(1 + RETRIES):
            calls = {CALLS[section.partition(",")[0]] for section, _ in failing} or set(CALLS.values())
            wanted = self._use(high, None, calls, draw, midway, "float64")
            runs = [
                self._use(candidate, queried or candidate, calls, draw, midway, precision),
                self._use(low, None, calls, draw, midway, precision),
            ]
            for section, tensors in wanted.items():
                got, floor = (errors(run.get(section, {}), tensors, noise_counts=False) for run in runs)
                for name, error in got.items():
                    at = section, name
                    if draw and at not in failing:
                        continue
                    mine[at] = min(mine.get(at, np.inf), np.inf if error is None else error)
                    terms = self._terms.get(name, 1)
                    allowed[at] = max(allowed.get(at, 0.0), bound(floor.get(name), precision, terms))
            failing = {at for at, error in mine.items() if error > allowed[at]}
            if not failing:
                break
        for (section, name), error in mine.items():
            told = None if error == np.inf else error
            limit = allowed[section, name]
            self.checks.append(Check(section=f"{label} {section}", tensor=name, error=told, bound=limit))
        self._name_layer(precision, probe.batch(self._trained, self._epoch[0], "timed", 0)[0], label)

    def _midway(self, program: Program) -> State:
        """Where the timed epoch starts: somewhere in the middle of training, a step before the rate changes if it does.

        An epoch of one step is the first at the new rate.
        """
        program.load(self._start)
        gradients = program.probe(*probe.batch(self._spec, self._images, "exact")).gradients
        changes = probe.boundaries(self._trained)
        step = changes[0] - (len(self._epoch) > 1) if changes else MIDWAY_STEP
        return State(self._start.weights, probe.midway(self._spec.optimizer, gradients, step), step)

    def _use(
        self, program: Program, queried: Program | None, calls: set[str], draw: int, midway: State, precision: Precision
    ) -> dict[str, Tensors]:
        """What timed calls give on probe number ``draw``.

        Without ``queried``, as for the reference, each image is predicted once, in the batches of training, and that
        stands for its answer to whatever query.
        """
        seen: dict[str, Tensors] = {}
        start = probe.at(self._start, precision)
        if "queries" in calls:
            sizes = epoch(self._spec)
            images, targets = (probe.cast(v, precision) for v in probe.batch(self._spec, sum(sizes), "timed", draw))
            asked = queried or program
            asked.load(start)
            asked.stage("test", images, targets)
            outputs = asked.predict("test", sizes[0] if queried else self._epoch[0])
            answers = [queried.infer(images[:size]) if queried else outputs[:size] for size in (1, sizes[0])]
            seen["query of 1"], seen["query of a batch"] = ({"outputs": answer} for answer in answers)
            seen["prediction"] = {"outputs": outputs}
        images, targets = (
            probe.cast(v, precision) for v in probe.batch(self._trained, sum(self._epoch), "timed", draw)
        )
        if "probe" in calls:
            program.load(start)
            seen = _sections(self._spec, program.probe(images[: self._epoch[0]], targets[: self._epoch[0]])) | seen
        if "train" in calls:
            program.stage("train", images, targets)
            program.load(probe.at(midway, precision))
            loss = program.train(shuffled(len(images), "timed", draw))
            seen["epoch, loss"] = {"loss": np.array(loss)}
            seen |= {f"epoch, {section}": tensors for section, tensors in self._changed(program.state()).items()}
        return seen

    def _name_layer(self, precision: Precision, images: Array, label: str) -> None:
        """Where outputs diverge, put the first layer, or its tensor, that does in the place of ``outputs``."""
        looks: dict[str, Look] = {
            f"{label} training outputs": lambda seen: seen.training_outputs,
            f"{label} evaluation outputs": lambda seen: seen.outputs,
        }
        for index, check in enumerate(self.checks):
            if check.section in looks and not check.equal:
                name = self._culprit(precision, images, looks[check.section]) or check.tensor
                self.checks[index] = check.model_copy(update={"tensor": name})

    def _culprit(self, precision: Precision, images: Array, look: Look) -> str | None:
        def diverges(chain: Chain, weights: Weights) -> bool:
            def outputs(program: Program, type_: Precision) -> Tensors:
                program.load(probe.at(State(weights), type_))
                given = probe.cast(images, type_)
                if not chain.spec.parameters:  # nothing to differentiate by, and no layer that trains otherwise
                    return {"": program.infer(given)}
                targets = np.zeros((len(images), *chain.spec.graph[-1].output), type_)
                return {"": look(program.probe(given, targets))}

            candidate, low = self._build(chain.spec, precision)
            high = outputs(self._build(chain.spec, "float64")[1], "float64")
            error = errors(outputs(candidate, precision), high)[""]
            floor = errors(outputs(low, precision), high)[""]
            return error is None or error > bound(floor, precision)

        found = locate(self._spec, lambda chain: diverges(chain, chain.weights(self._start.weights)))
        if not found:
            return None
        trials = neutral(found, found.weights(self._start.weights))
        return next((name for name, weights in trials if not diverges(found, weights)), found.node.name)


def _sections(spec: Spec, seen: Probe) -> dict[str, Tensors]:
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
