"""The stages of the gate that compare value by value."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from suite.gate import probe
from suite.gate.locate import Chain, locate, neutral
from suite.gate.moves import moves
from suite.gate.reference_answers import CALLS, TOLD_BY, Answers, Sections, changed, look
from suite.gate.tolerance import FINER, TOLERANCE, Tensors, bound, coarseness, errors, largest
from suite.results.identity import Check
from suite.runners.base import Array, Precision, Probe, Program, Runner, State, Weights
from suite.spec.precision import held
from suite.spec.resolved import Spec

COARSE = "as coarse as asked"
"""What stands for the tensors of a section where they are looked at together."""
RETRIES = 4
"""Fresh probes on which a check that failed in the timed precision is repeated."""
SUMMED = re.compile("gradients|(another )?epoch, (slot .*|weights)")
"""What sums as many terms as there are, or is made of such a sum."""
FULL = re.compile("statistics|(another )?epoch, (slot .*|weights|statistics|frozen)")
"""What is held in full, whatever products are rounded to."""
MEANS = re.compile("loss|(another )?epoch, loss")
"""What is a mean over images."""
Look = Callable[[Probe], Array]


class Gate:
    """The stages for one runner and mode; ``checks`` grow in the order of computation."""

    def __init__(self, answers: Answers, runner: Runner, mode: str) -> None:
        self._answers, self._runner, self._mode = answers, runner, mode
        self._spec = answers.spec
        self._exact: Program | None = None
        self.checks: list[Check] = []

    @property
    def diverged(self) -> bool:
        """Whether any check failed."""
        return any(not check.equal for check in self.checks)

    def _equal(self, section: str, got: Tensors, wanted: Tensors, moves: Tensors | None = None) -> None:
        counts = not section.endswith("gradients")
        for name, error in errors(got, wanted, noise_counts=counts, moves=moves).items():
            self.checks.append(Check(section=section, tensor=name, error=error, bound=TOLERANCE))

    def _in_float64(self) -> Program:
        """The runner's program of stages 1 and 2, built once: to compile a deep network takes minutes."""
        self._exact = self._exact or self._runner.build(self._spec, self._mode, "float64")
        return self._exact

    def exact(self) -> None:
        """Stage 1."""
        images, targets = self._answers.exact_batch
        candidate = self._in_float64()
        got = look(candidate, self._spec, copy.deepcopy(self._answers.start), images.copy(), targets.copy())
        for section, wanted in self._answers.exact.items():
            self._equal(f"float64 {section}", got[section], wanted)
        self._name_layer("float64", images, "float64")

    def steps(self) -> float | None:
        """Stage 2; returns the drift after as many free-running steps, or None where steps are too dear for it."""
        images, targets, orders = self._answers.steps_batches
        steps = self._answers.steps
        candidate = self._in_float64()
        candidate.load(copy.deepcopy(self._answers.start))
        candidate.stage("train", images.copy(), targets.copy())
        for number, (order, step) in enumerate(zip(orders, steps, strict=True), start=1):
            candidate.load(copy.deepcopy(step.before))  # who trains in the memory that it is given spoils no answer
            loss = candidate.train(order.copy())
            got = candidate.state()
            self._equal(f"float64 step {number}, loss", {"loss": np.array(loss)}, {"loss": np.array(step.loss)})
            seen, wanted = changed(self._spec, got), changed(self._spec, step.after)
            allowed = moves(self._spec, step.before, step.gradients, self._answers.variants)
            for section in _all(wanted, seen):
                given, due = seen.get(section, {}), wanted.get(section, {})
                self._equal(f"float64 step {number}, {section}", given, due, allowed.get(section))
            counted = abs(float(got.step - step.after.step))
            self.checks.append(Check(section=f"float64 step {number}, count", tensor="step", error=counted, bound=0))
        if not self._answers.cheap:
            return None
        candidate.load(copy.deepcopy(steps[0].before))
        for done, (order, step) in enumerate(zip(orders, steps, strict=True)):
            if done and step.before.weights is not steps[done - 1].after.weights:  # they began afresh
                candidate.load(copy.deepcopy(step.before))
            elif done and step.before.step != steps[done - 1].after.step:
                candidate.load(replace(candidate.state(), step=step.before.step))
            candidate.train(order.copy())
        return largest(errors(candidate.state().weights, steps[-1].after.weights))

    def timed(self, precision: Precision, whole: Spec | None) -> None:
        """Stage 3.  ``whole`` is the spec that queries are asked under, if not the compared one (dropout and all).

        Training is in batches that ``smaller`` leaves, and the record says so where they are not the spec's own;
        queries and predictions always are.

        Under rounding a relu near its kink or a near tie in a max pool falls to the other side now and then, which
        moves a gradient far more than rounding does; and the error of a scalar can be small by luck.  So a check that
        fails is repeated on fresh probes, and stands if the runner is beyond its bound on each of them.  A wrong
        precision is; and what is not finite, missing or of another shape fails at once.
        """
        self._exact = None
        trained = self._answers.trained
        candidate = self._runner.build(trained, self._mode, precision)
        label: str = precision
        if trained is not self._spec:
            whole = whole or self._spec
            label = f"{precision} (trained by {trained.batch_size} images)"
        queried = self._runner.build(whole, self._mode, precision) if whole else candidate
        found: dict[tuple[str, str], Check] = {}
        failing: set[tuple[str, str]] = set()
        for draw in range(1 + RETRIES):
            told_by = {TOLD_BY[section.partition(",")[0]] for section, _ in failing} or set(CALLS)
            for call in (call for call in CALLS if call in told_by):
                given = self._answers.ask(candidate, queried, precision, call, draw)
                for at, check in self._in_turn(label, precision, call, draw, given):
                    if not draw or (at in failing and check.share < found[at].share):
                        found[at] = check
            failing = {at for at, check in found.items() if not check.equal and check.error is not None}
            if not failing:
                break
        self.checks += found.values()
        self._name_layer(precision, probe.batch(trained, self._answers.epoch[0], "timed", 0)[0], label)

    def _in_turn(
        self, label: str, precision: Precision, call: str, draw: int, given: Sections
    ) -> Iterator[tuple[tuple[str, str], Check]]:
        """A check of each tensor that a timed call gave, or should have given, by section and name."""
        exact, own = (self._answers.timed(type_, call, draw) for type_ in ("float64", precision))
        low = precision != held(precision)
        for section in _all(exact, given):
            wanted = exact.get(section, {})
            got, floor = (errors(run.get(section, {}), wanted, noise_counts=False) for run in (given, own))
            for name, error in got.items():
                terms = self._answers.terms.get(name, 1) if SUMMED.fullmatch(section) else 1
                images = self._answers.epoch[0] if low and MEANS.fullmatch(section) else 1
                limit = bound(floor.get(name), precision, terms, full=bool(FULL.fullmatch(section)), mean=images)
                limit = 0.0 if section.endswith("epoch, frozen") else limit
                yield (section, name), Check(section=f"{label} {section}", tensor=name, error=error, bound=limit)
            if low and section == "gradients" and (finer := coarseness(got, floor, precision)) is not None:
                check = Check(section=f"{label} gradients", tensor=COARSE, error=finer, bound=FINER)
                yield (section, COARSE), check

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
                given = probe.cast(images, type_).copy()
                if not chain.spec.parameters:  # nothing to differentiate by, and no layer that trains otherwise
                    return {"": program.infer(given)}
                targets = np.zeros((len(images), *chain.spec.graph[-1].output), held(type_))
                return {"": look(program.probe(given, targets))}

            candidate = self._runner.build(chain.spec, self._mode, precision)
            high = outputs(self._answers.build(chain.spec, "float64"), "float64")
            error = errors(outputs(candidate, precision), high)[""]
            floor = errors(outputs(self._answers.build(chain.spec, precision), precision), high)[""]
            return error is None or error > bound(floor, precision)

        found = locate(self._spec, lambda chain: diverges(chain, chain.weights(self._answers.start.weights)))
        if not found:
            return None
        trials = neutral(found, found.weights(self._answers.start.weights))
        return next((name for name, weights in trials if not diverges(found, weights)), found.node.name)


def _all(wanted: Mapping[str, Tensors], got: Mapping[str, Tensors]) -> tuple[str, ...]:
    """The sections that are wanted, in order, and those besides, which are wrong to be there."""
    return tuple(dict.fromkeys((*wanted, *got)))
