"""The stages of the gate that compare value by value."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from suite.identity import probe
from suite.identity.compare import TOLERANCE, Tensors, bound, errors, largest
from suite.identity.locate import Chain, locate, neutral
from suite.initial import stream
from suite.result import Check
from suite.runners.base import Array, Precision, Probe, Program, Runner, State, Weights
from suite.spec import Spec

STEPS = 10
RETRIES = 4
"""Fresh probes on which a check that failed in the timed precision is repeated."""
EXACT_IMAGES = 16
MIDWAY_STEP = 7

Look = Callable[[Probe], Array]


class Gate:
    """The stages for one runner and mode; ``checks`` grow in the order of computation."""

    def __init__(self, spec: Spec, runner: Runner, reference: Runner, mode: str) -> None:
        self._spec, self._runner, self._reference, self._mode = spec, runner, reference, mode
        self._start = State(probe.start(spec))
        self._images = images_of(spec)
        self._trainable = [name for name, tensor in spec.tensors.items() if tensor.role.trainable]
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
        self._name_layer("float64", images)

    def steps(self) -> float | None:
        """Stage 2; returns the drift after as many free-running steps."""
        images, targets = probe.batch(self._spec, STEPS * self._images, "steps")
        candidate, reference = self._build(self._spec, "float64")
        orders = np.split(shuffled(len(images), "steps"), STEPS)
        for program in (candidate, reference):
            program.load(self._start)
            program.stage("train", images, targets)
        before = reference.state()
        for number, order in enumerate(orders, start=1):
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
        candidate.load(self._start)
        for order in orders:
            candidate.train(order)
        return largest(errors(candidate.state().weights, before.weights))

    def _changed(self, state: State) -> dict[str, Tensors]:
        """All that a step changes, in the order in which it does, by kind."""
        slots = {f"slot {slot}": held for slot, held in state.slots.items()}
        weights = {name: state.weights[name] for name in self._trainable if name in state.weights}
        statistics = {name: value for name, value in state.weights.items() if name not in weights}
        return {**slots, "weights": weights, **({"statistics": statistics} if statistics else {})}

    def timed(self, precision: Precision, queried: Program | None) -> None:
        """Stage 3.  ``queried`` is what answers queries, if it is not the program that trains (dropout and all).

        Under rounding a relu near its kink or a near tie in a max pool falls to the other side now and then, which
        moves a gradient far more than rounding does; and the error of a scalar can be small by luck.  So a check that
        fails is repeated on fresh probes, and stands if the smallest of the runner's errors is beyond four times the
        largest of the reference's.  A wrong precision fails on each.
        """
        candidate, low = self._build(self._spec, precision)
        high = self._build(self._spec, "float64")[1]
        midway = self._midway(high)
        mine: dict[tuple[str, str], float] = {}
        allowed: dict[tuple[str, str], float] = {}
        failing: set[tuple[str, str]] = set()
        for draw in range(1 + RETRIES):
            wanted = self._use(high, high, draw, midway, "float64")
            runs = [
                self._use(program, queried_, draw, midway, precision)
                for program, queried_ in ((candidate, queried or candidate), (low, low))
            ]
            for section, tensors in wanted.items():
                got, floor = (errors(run.get(section, {}), tensors, noise_counts=False) for run in runs)
                for name, error in got.items():
                    at = section, name
                    if draw and at not in failing:
                        continue
                    mine[at] = min(mine.get(at, np.inf), np.inf if error is None else error)
                    allowed[at] = max(allowed.get(at, 0.0), bound(floor.get(name), precision))
            failing = {at for at, error in mine.items() if error > allowed[at]}
            if not failing:
                break
        for (section, name), error in mine.items():
            told = None if error == np.inf else error
            limit = allowed[section, name]
            self.checks.append(Check(section=f"{precision} {section}", tensor=name, error=told, bound=limit))
        self._name_layer(precision, probe.batch(self._spec, self._epoch[0], "timed", 0)[0])

    @property
    def _epoch(self) -> tuple[int, ...]:
        """Batch sizes of a short epoch: two full ones and a ragged one, the spec's own where it has one."""
        full, *ragged = self._spec.batches
        if full < self._spec.batch_size:
            return (full,)
        return full, full, *(ragged or ([max(2, full // 3)] if full > 2 else []))

    def _midway(self, program: Program) -> State:
        """Where the timed epoch starts: somewhere in the middle of training."""
        program.load(self._start)
        gradients = program.probe(*probe.batch(self._spec, self._images, "exact")).gradients
        return State(self._start.weights, probe.midway(self._spec.optimizer, gradients, MIDWAY_STEP), MIDWAY_STEP)

    def _use(
        self, program: Program, queried: Program, draw: int, midway: State, precision: Precision
    ) -> dict[str, Tensors]:
        """What every timed call gives on probe number ``draw``."""
        images, targets = probe.batch(self._spec, sum(self._epoch), "timed", draw)
        images = images.astype(precision)
        targets = targets.astype(precision) if np.issubdtype(targets.dtype, np.floating) else targets
        full = self._epoch[0]
        start = probe.at(self._start, precision)
        program.load(start)
        looked = program.probe(images[:full], targets[:full])
        seen = _sections(self._spec, looked)
        queried.load(start)
        seen["query of 1"] = {"outputs": queried.infer(images[:1])}
        seen["query of a batch"] = {"outputs": queried.infer(images[:full])}
        queried.stage("test", images, targets)
        seen["prediction"] = {"outputs": queried.predict("test", full)}
        program.stage("train", images, targets)
        program.load(probe.at(midway, precision))
        loss = program.train(shuffled(len(images), "timed", draw))
        seen["epoch, loss"] = {"loss": np.array(loss)}
        return seen | {f"epoch, {section}": tensors for section, tensors in self._changed(program.state()).items()}

    def _name_layer(self, precision: Precision, images: Array) -> None:
        """Where outputs diverge, put the first layer, or its tensor, that does in the place of ``outputs``."""
        looks: dict[str, Look] = {
            f"{precision} training outputs": lambda seen: seen.training_outputs,
            f"{precision} evaluation outputs": lambda seen: seen.outputs,
        }
        for index, check in enumerate(self.checks):
            if check.section in looks and not check.equal:
                name = self._culprit(precision, images, looks[check.section]) or check.tensor
                self.checks[index] = check.model_copy(update={"tensor": name})

    def _culprit(self, precision: Precision, images: Array, look: Look) -> str | None:
        def diverges(chain: Chain, weights: Weights) -> bool:
            def outputs(program: Program, type_: Precision) -> Tensors:
                program.load(probe.at(State(weights), type_))
                if not chain.spec.parameters:  # nothing to differentiate by, and no layer that trains otherwise
                    return {"": program.infer(images.astype(type_))}
                targets = np.zeros((len(images), *chain.spec.graph[-1].output), type_)
                return {"": look(program.probe(images.astype(type_), targets))}

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
    return min(EXACT_IMAGES, *spec.batches)


def shuffled(count: int, *name: str | int) -> NDArray[np.int32]:
    """The probe's order of ``count`` images."""
    return stream(probe.SEED, "probe", "order", *name).permutation(count).astype(np.int32)
