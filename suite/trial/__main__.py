"""One trial: a fresh process that proves, measures or tunes the cells of one runner in one round.

    python -m suite.trial RUN_FOLDER ENTRY [THREADS]

THREADS in an operation replace the plan's where other trials run beside this one.
Every cell ends as a result file, also one that fails: the others go on.
"""

from __future__ import annotations

import math
import sys
import time
import traceback
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from suite.errors import ResultError, RunError, SuiteError, Unsupported
from suite.gate import gate
from suite.gate.reference_answers import ReferenceAnswers
from suite.inputs import checkpoint, examples, initial
from suite.meters.clock import timed
from suite.meters.gpu import OFF, Meter, metering
from suite.meters.memory import Phases
from suite.metrics.loss import guessed
from suite.results import records
from suite.results.identity import Identity
from suite.results.records import Cause, Cell, Failed, InferenceOptions, Measured, Proof, Record
from suite.run import plan
from suite.run.plan import STOPPED, Entry, Plan
from suite.runners import base
from suite.runners.base import Array, Runner, State, Threads, Weights
from suite.runners.reference.runner import Runner as Reference
from suite.spec.resolved import Spec
from suite.spec.semantics import Variant
from suite.spec.targets import Target
from suite.trial import inherit, measure
from suite.trial.agent import end_with_parent
from suite.trial.here import Here
from suite.trial.inherit import Inherited, MissingParent
from suite.trial.options import CALIBRATION, Asked, tune

OPTION_FLOPS = 2e12
"""Of one pass over the images that answers are compared on: some 20 s on two cores."""
OPTION_OUTPUTS = 1 << 24
OPTION_LEAST = 500
"""Images, however much they cost: the standard error of an accuracy of 90 % is 1.3 points."""


def main(folder: Path, entry_id: str, threads: int | None = None) -> None:
    """Run one entry of the plan in ``folder`` and leave a result for each of its cells."""
    end_with_parent()
    made = plan.read(folder)
    entry = made.entry(entry_id)
    with metering(entry.kind == "measure" and made.profile.metered) as meter:
        Trial(folder, made, entry, meter, threads).run()


class Trial:
    """What the cells of an entry have in common."""

    def __init__(self, folder: Path, made: Plan, entry: Entry, meter: Meter = OFF, threads: int | None = None) -> None:
        self._folder, self._plan, self._entry, self._meter = folder, made, entry, meter
        self._threads = Threads(intra=threads, inter=made.threads.inter) if threads else made.threads
        if entry.runner is None:
            raise RunError("turns are no trial", where=entry.id)
        device, meters = made.profile.device, made.profile.metered
        self._token, self._here = entry.runner, Here.describe(entry.runner, device, self._threads, metered=meters)
        meter.idle()  # before the framework is imported: nothing of ours is on the GPU
        phases = Phases()
        self._import_ns, self._runner = timed(self._start)
        self._import_bytes = phases.end()
        meter.aim(self._runner.gpu())
        self._memory = ReferenceAnswers(self._reference)

    def _start(self) -> Runner:
        seed = self._entry.cells[0].seed  # a round has one
        profile = self._plan.profile
        return base.find(self._token)(profile.device, self._threads, seed, deterministic=profile.deterministic)

    def run(self) -> None:
        """Every cell in turn, but for proofs that are there already."""
        for cell in self._entry.cells:
            path = self._folder / "results" / self._entry.file(cell)
            if self._entry.kind == "prove" and path.exists():
                continue
            clock = time.monotonic()
            outcome = self._outcome(cell, datetime.now(UTC))
            records.write(path, outcome.model_copy(update={"seconds": time.monotonic() - clock}))

    def _outcome(self, cell: Cell, began: datetime) -> Record:
        common = self._plan.record(self._entry, cell, began)
        try:
            if reason := self._runner.missing(cell.mode):
                raise Unsupported(reason)
            match self._entry.kind:
                case "prove":
                    found = self._prove(cell)
                    return Proof(**common, **self._known(cell, inherit.NONE), identity=found)
                case "measure":
                    return self._measure(cell, common)
                case _:
                    return self._tune(cell, common)
        except Exception as error:  # noqa: BLE001 - whatever a framework raises is a result, and the others go on
            traceback.print_exc()
            giver = common["spec"].starts_from if isinstance(error, MissingParent) else None
            why, words = cause(error), reason_of(error)
            return Failed(**common, cause=why, reason=words, inherited=giver, environment=self._here.told(self._runner))

    def _known(self, cell: Cell, taken: Inherited) -> dict[str, Any]:
        """What every outcome but a failure tells of where it ran and what it started from."""
        spec = self._plan.spec(cell.spec)
        return {
            "environment": self._here.told(self._runner),
            "digests": measure.digests(spec, cell.seed, taken.weights),
        }

    def _reference(self, variants: frozenset[Variant]) -> Reference:
        return Reference("cpu", self._threads, self._entry.cells[0].seed, variants=variants)

    def _prove(self, cell: Cell) -> Identity:
        spec = self._plan.spec(cell.spec)
        decisive = cell.runner, cell.mode, cell.precision, cell.device, self._here.before.lock
        key = gate.proof_key(spec, *decisive, deterministic=self._plan.profile.deterministic)
        own = base.differences(cell.runner, spec)
        return gate.examine(spec, self._runner, self._memory, cell.mode, cell.precision, key=key, own=own)

    def _measure(self, cell: Cell, common: dict[str, Any]) -> Measured:
        spec = self._plan.spec(cell.spec)
        profile = self._plan.profile
        taken = inherit.of(self._folder, self._plan, cell)

        def keep(final: Weights) -> None:
            if self._plan.gives(self._entry, cell):
                checkpoint.write(inherit.file(self._folder, self._entry, cell), final)

        work = measure.Work(self._runner, spec, cell.mode, cell.precision, cell.seed, taken.weights)
        metering_ = self._meter is not OFF
        numbers = measure.measure(work, profile, self._import_bytes, self._meter, keep, queries=metering_)
        if diverged := numbers.training.diverged:
            print(f"{cell.spec} {cell.mode}, seed {cell.seed}: {diverged}")  # noqa: T201 - into the trial's log
        told = {field.name: getattr(numbers, field.name) for field in fields(numbers)}
        known = self._known(cell, taken)
        return Measured(**common, **known, import_ns=self._import_ns, parent=taken.parent, beside=True, **told)

    def _tune(self, cell: Cell, common: dict[str, Any]) -> InferenceOptions:
        """Over trained weights where there are any: an untrained network's answers are no answers.

        Raises MissingParent where training diverged.
        """
        spec, profile = self._plan.spec(cell.spec), self._plan.profile
        taken = inherit.of(self._folder, self._plan, cell)
        begin = measure.start(spec, cell.seed, taken.weights)
        held = inherit.trained(self._folder, self._plan, cell) or begin.weights
        inputs, labels = option_examples(spec, cell.seed)
        calibration = examples.of(spec, cell.seed).some("train", CALIBRATION).images
        work = measure.Work(self._runner, spec, cell.mode, cell.precision, cell.seed)
        asked = Asked(profile.tunings, inputs, labels, calibration, profile.latency_samples, profile.option_seconds)
        found = tune(work, State(held), asked)
        print_ = initial.fingerprint(held)
        return InferenceOptions(**common, **self._known(cell, taken), weights=print_, tunings=found)


def option_examples(spec: Spec, seed: int) -> tuple[Array, Array | None]:
    """The first images of the test split, over which answers are compared, and their classes if answers are classes."""
    affordable = int(OPTION_FLOPS / max(1, spec.flops)), int(OPTION_OUTPUTS / max(1, math.prod(spec.graph[-1].output)))
    count = max(OPTION_LEAST, min(affordable))
    split = examples.of(spec, seed).some("test", count)
    classes = guessed(spec, np.zeros((1, *spec.graph[-1].output)))
    return split.images, split.labels if classes is not None and spec.target is not Target.BOXES else None


def cause(error: Exception) -> Cause:
    """Which kind of failure an exception is; frameworks have memory errors of their own names."""
    if isinstance(error, MissingParent):
        return error.cause
    if isinstance(error, Unsupported):
        return Cause.UNSUPPORTED
    name = type(error).__name__
    if isinstance(error, MemoryError) or "OutOfMemory" in name or "ResourceExhausted" in name:
        return Cause.OUT_OF_MEMORY
    return Cause.CRASHED


def reason_of(error: Exception) -> str:
    """An error in its own words, at most a screenful."""
    text = str(error) if isinstance(error, SuiteError) else f"{type(error).__name__}: {error}"
    return text[:2000]


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:4]))
    except SuiteError as problem:
        print(problem, file=sys.stderr)  # noqa: T201 - into the trial's log
        sys.exit(STOPPED if isinstance(problem, RunError | ResultError) else 1)
