"""The stages of the gate that compare value by value."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from suite.identity import probe
from suite.identity.answers import CALLS, TOLD_BY, Answers, changed, look
from suite.identity.compare import TOLERANCE, Tensors, bound, errors, largest
from suite.identity.locate import Chain, locate, neutral
from suite.result import Check
from suite.runners.base import Array, Precision, Probe, Program, Runner, State, Weights

RETRIES = 4
"""Fresh probes on which a check that failed in the timed precision is repeated."""
Look = Callable[[Probe], Array]


class Gate:
    """The stages for one runner and mode; ``checks`` grow in the order of computation."""

    def __init__(self, answers: Answers, runner: Runner, mode: str) -> None:
        self._answers, self._runner, self._mode = answers, runner, mode
        self._spec = answers.spec
        self.checks: list[Check] = []

    @property
    def diverged(self) -> bool:
        """Whether any check failed."""
        return any(not check.equal for check in self.checks)

    def _equal(self, section: str, got: Tensors, wanted: Tensors) -> None:
        for name, error in errors(got, wanted).items():
            self.checks.append(Check(section=section, tensor=name, error=error, bound=TOLERANCE))

    def exact(self) -> None:
        """Stage 1."""
        images, targets = self._answers.exact_batch
        candidate = self._runner.build(self._spec, self._mode, "float64")
        got = look(candidate, self._spec, copy.deepcopy(self._answers.start), images.copy(), targets.copy())
        for section, wanted in self._answers.exact.items():
            self._equal(f"float64 {section}", got[section], wanted)
        self._name_layer("float64", images, "float64")

    def steps(self) -> float | None:
        """Stage 2; returns the drift after as many free-running steps, or None where steps are too dear for it."""
        images, targets, orders = self._answers.steps_batches
        steps = self._answers.steps
        candidate = self._runner.build(self._spec, self._mode, "float64")
        candidate.load(copy.deepcopy(self._answers.start))
        candidate.stage("train", images.copy(), targets.copy())
        for number, (order, step) in enumerate(zip(orders, steps, strict=True), start=1):
            candidate.load(copy.deepcopy(step.before))  # who trains in the memory that it is given spoils no answer
            loss = candidate.train(order)
            got = candidate.state()
            self._equal(f"float64 step {number}, loss", {"loss": np.array(loss)}, {"loss": np.array(step.loss)})
            seen = changed(self._spec, got)
            for section, tensors in changed(self._spec, step.after).items():
                self._equal(f"float64 step {number}, {section}", seen.get(section, {}), tensors)
            counted = abs(float(got.step - step.after.step))
            self.checks.append(Check(section=f"float64 step {number}, count", tensor="step", error=counted, bound=0))
        if not self._answers.cheap:
            return None
        candidate.load(copy.deepcopy(steps[0].before))
        for done, (order, step) in enumerate(zip(orders, steps, strict=True)):
            if done and step.before.step != steps[done - 1].after.step:
                candidate.load(replace(candidate.state(), step=step.before.step))
            candidate.train(order)
        return largest(errors(candidate.state().weights, steps[-1].after.weights))

    def timed(self, precision: Precision, queried: Program | None) -> None:
        """Stage 3.  ``queried`` is what answers queries, if it is not the program that trains (dropout and all).

        Training is in batches that ``smaller`` leaves, and the record says so where they are not the spec's own;
        queries and predictions always are.

        Under rounding a relu near its kink or a near tie in a max pool falls to the other side now and then, which
        moves a gradient far more than rounding does; and the error of a scalar can be small by luck.  So a check that
        fails is repeated on fresh probes, and stands if the smallest of the runner's errors is beyond four times the
        largest of the reference's.  A wrong precision fails on each.
        """
        trained = self._answers.trained
        candidate = self._runner.build(trained, self._mode, precision)
        label: str = precision
        if trained is not self._spec:
            queried = queried or self._runner.build(self._spec, self._mode, precision)
            label = f"{precision} (trained by {trained.batch_size} images)"
        mine: dict[tuple[str, str], float] = {}
        allowed: dict[tuple[str, str], float] = {}
        failing: set[tuple[str, str]] = set()
        for draw in range(1 + RETRIES):
            told_by = {TOLD_BY[section.partition(",")[0]] for section, _ in failing} or set(CALLS)
            for call in (call for call in CALLS if call in told_by):
                given = self._answers.ask(candidate, queried or candidate, precision, call, draw)
                low = self._answers.timed(precision, call, draw)
                for section, wanted in self._answers.timed("float64", call, draw).items():
                    got, floor = (errors(run.get(section, {}), wanted, noise_counts=False) for run in (given, low))
                    for name, error in got.items():
                        at = section, name
                        if draw and at not in failing:
                            continue
                        mine[at] = min(mine.get(at, np.inf), np.inf if error is None else error)
                        terms = self._answers.terms.get(name, 1)
                        allowed[at] = max(allowed.get(at, 0.0), bound(floor.get(name), precision, terms))
            failing = {at for at, error in mine.items() if error > allowed[at]}
            if not failing:
                break
        for (section, name), error in mine.items():
            told = None if error == np.inf else error
            limit = allowed[section, name]
            self.checks.append(Check(section=f"{label} {section}", tensor=name, error=told, bound=limit))
        self._name_layer(precision, probe.batch(trained, self._answers.epoch[0], "timed", 0)[0], label)

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
