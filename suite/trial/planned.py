"""What an agent needs of a run: the spec that its plan names, the start, and where the process computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from suite.run import plan
from suite.runners.base import Device, Runner, State, Threads
from suite.spec.resolved import Spec
from suite.trial import inherit, measure
from suite.trial.here import Here

_here: list[Here] = []


def describe(token: str, device: Device, threads: Threads) -> None:
    """Look at the machine before the framework is imported."""
    _here[:] = [Here.describe(token, device, threads)]


def environment(runner: Runner) -> dict[str, Any]:
    """Where the process computes, as a record tells it."""
    return _here[0].told(runner).model_dump(mode="json")


def opened(folder: Path, entry_id: str, token: str) -> tuple[Spec, dict[str, Any], State]:
    """The spec of an entry, the digests that a record states, and where every program of it starts.

    A stage starts from the weights that the first training left.  Raises MissingParent where they are not there.
    """
    made = plan.read(folder)
    cell = next(cell for cell in made.entry(entry_id).cells if cell.runner == token)
    spec = made.spec(cell.spec)
    taken = inherit.of(folder, made, cell.model_copy(update={"round": 1}))
    begin = measure.start(spec, cell.seed, taken.weights)
    told = measure.digests(spec, cell.seed, taken.weights).model_dump(mode="json")
    parent = taken.parent.model_dump(mode="json") if taken.parent else None
    return spec, {"digests": told, "parent": parent}, begin
