"""How far a framework's own semantics lead away from a spec's: the reference trains under both."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from suite.gate import probe
from suite.gate.batch_size import work
from suite.gate.probe import STEPS
from suite.gate.tolerance import errors, largest
from suite.runners.base import Runner, State, Weights
from suite.spec.differences import Difference, Shift
from suite.spec.resolved import Spec
from suite.spec.semantics import under

WORK, QUICK = 2e11, 4e10
"""What all steps for one spec may cost the reference, in FLOPs as ``size.work`` counts them: in a proof, and where
somebody waits, which is seconds."""
FEWEST = 8
"""Images that a step must hold for its figure to say anything of the spec, whose batch is larger."""
DEAR = "Not taken: ten steps in the reference cost too much"
WILD = "Not taken: ten steps from this start are not finite"


def told(
    spec: Spec, differences: Iterable[Difference], reference: Callable[[], Runner], most: float = WORK
) -> tuple[Difference, ...]:
    """``differences`` with the shift of each that has a variant, or the reason why there is none.

    ``reference`` is made only if it is needed.  A step holds the spec's own batch, or as many images as ``most`` FLOPs
    allow, but not fewer than eight.
    """
    asked = tuple(differences)
    variants = [other_of(spec, each) for each in asked if each.variant]
    if not variants:
        return asked
    size = images(spec, len(set(map(_key, variants))), most)
    if size is None:
        return tuple(_with(each, None, DEAR) if each.variant else each for each in asked)
    runs = _Runs(spec, reference(), size)
    return tuple(_with(each, runs.shift(other_of(spec, each)), WILD) if each.variant else each for each in asked)


def other_of(spec: Spec, difference: Difference) -> Spec:
    """The spec as the framework's own API would compute it, where it is the difference's."""
    assert difference.variant
    return under(spec, (difference.variant,), difference.at)


def images(spec: Spec, variants: int, most: float) -> int | None:
    """Images a step, of the spec's batch as many as can be paid for; None where they would be too few."""
    batch = spec.batches[0]
    size = min(batch, int(most / (work(spec) * STEPS * (1 + variants))))
    return size if size >= min(FEWEST, batch) else None


def _with(difference: Difference, shift: Shift | None, reason: str) -> Difference:
    return difference.model_copy(update={"shift": shift, "reason": "" if shift else reason})


def _key(spec: Spec) -> str:
    return spec.computation


class _Runs:
    """Ten steps from the probe's start, under the spec itself and under others; each computed once."""

    def __init__(self, spec: Spec, reference: Runner, size: int) -> None:
        self._spec, self._reference, self._size = spec, reference, size
        self._start = probe.start(spec)
        self._batches = probe.batch(spec, STEPS * size, "shift")
        self._held: dict[str, tuple[Weights, Weights, Weights]] = {}

    def _course(self, spec: Spec) -> tuple[Weights, Weights, Weights]:
        """Weights after the first step and after all, and evaluation outputs of the first batch after all."""
        if spec.computation not in self._held:
            still = spec.without_dropout()
            program = self._reference.build(still, self._reference.modes[0], "float64")
            program.load(State(self._start))
            program.stage("train", *self._batches)
            with np.errstate(all="ignore"):
                # A call takes a step for each of the spec's batches, and these are at most as large.
                orders = np.split(np.arange(STEPS * self._size, dtype=np.int32), STEPS)
                program.train(orders[0])
                first = program.state().weights
                for order in orders[1:]:
                    program.train(order)
                outputs = program.infer(self._batches[0][: self._size])
            self._held[spec.computation] = first, program.state().weights, {"outputs": outputs}
        return self._held[spec.computation]

    def shift(self, other: Spec) -> Shift | None:
        """Of ``other`` against the spec; None where either is not finite."""
        (begun, mine, answers), (other_begun, theirs, others) = self._course(self._spec), self._course(other)
        trained, moving = self._spec.trainable, mine.keys() - self._spec.trainable.keys() - self._spec.frozen_names
        found = largest(errors(_only(theirs, trained), _only(mine, trained)))
        outputs = largest(errors(others, answers))
        statistics = largest(errors(_only(theirs, moving), _only(mine, moving))) if moving else None
        if found is None or outputs is None or (moving and statistics is None):
            return None
        return Shift(
            weights=found, first=self._times(other_begun, begun), way=self._times(theirs, mine), statistics=statistics,
            outputs=outputs, images=self._size, steps=STEPS,
        )  # fmt: skip

    def _times(self, theirs: Weights, mine: Weights) -> float | None:
        gone = self._distance(mine)
        return self._distance(theirs) / gone if gone else None

    def _distance(self, weights: Weights) -> float:
        moved = (np.square(weights[name] - self._start[name]).sum() for name in self._spec.trainable)
        return float(np.sqrt(sum(moved)))


def _only(weights: Weights, names: Iterable[str]) -> Weights:
    return {name: weights[name] for name in sorted(names)}
