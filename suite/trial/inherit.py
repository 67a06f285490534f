"""What a cell takes over: the weights that a stage starts from, and those that inference options run on.

One donor trains for all frameworks; it leaves its weights in the run's folder before its result.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from suite.errors import ResultError, SuiteError
from suite.inputs import checkpoint, initial
from suite.results import divergence, records
from suite.results.records import Cause, Cell, Failed, Measured, Parent
from suite.run.plan import Entry, Plan
from suite.runners.base import INSTRUMENT, Weights
from suite.spec import stages
from suite.spec.resolved import Spec
from suite.spec.tensors import Shape


class MissingParent(SuiteError):  # noqa: N818 - it becomes a Result
    """What a stage starts from is not there.  It becomes a Result with the cause of the failure before it."""

    def __init__(self, what: str, cause: Cause) -> None:
        self.cause = cause
        super().__init__(what)


@dataclass(frozen=True)
class Inherited:
    """The weights taken over, by canonical name, and whose they are; None where nothing is."""

    weights: Weights
    parent: Parent | None


NONE = Inherited({}, None)


def file(folder: Path, entry: Entry, cell: Cell) -> Path:
    """Where a donor leaves the final weights of a cell."""
    return folder / "weights" / f"{entry.id}--{cell.slug}.safetensors"


def of(folder: Path, made: Plan, cell: Cell) -> Inherited:
    """What ``cell`` starts from.  The instrument computes nothing and needs none.  Raises MissingParent."""
    spec = made.spec(cell.spec)
    if not spec.starts_from or cell.runner in INSTRUMENT:
        return NONE
    if (name := stages.imported(spec)) is not None:
        return _imported(made, spec, name)
    giver = stages.parent(spec)
    assert giver is not None
    return _trained(folder, made, giver, cell.round)


def trained(folder: Path, made: Plan, cell: Cell) -> Weights | None:
    """The final weights of a cell's own benchmark, in its round; None where its donor left none.

    Raises MissingParent where they are not finite: neither the speed nor the answers of such a network say anything.
    """
    try:
        found = _trained(folder, made, cell.spec, cell.round)
    except MissingParent:
        return None
    if found.parent and found.parent.diverged and not divergence.finite(found.weights):
        raise MissingParent(
            f"the weights that its inference options were to run on {found.parent.diverged}", Cause.DIVERGED
        )
    return found.weights


def _trained(folder: Path, made: Plan, giver: str, round_: int) -> Inherited:
    """The final weights of a benchmark's donor; where its training diverged they may not be finite."""
    donor = made.donor(giver, round_)
    if donor is None:
        raise MissingParent(f"{giver}, which this starts from, is not measured in this run", Cause.CRASHED)
    entry, cell = donor
    who = f"{giver} by {cell.runner} {cell.mode}, which this starts from,"
    try:
        found = records.read(folder / "results" / entry.file(cell))
        if isinstance(found, Failed):
            raise MissingParent(f"{who} failed: {found.cause}: {found.reason[:1000]}", found.cause)
        if not isinstance(found, Measured) or found.training is None:
            raise MissingParent(f"{who} was not trained", Cause.CRASHED)
        diverged = found.training.divergence
        file_, shapes, digest = file(folder, entry, cell), _shapes(made.spec(giver)), found.training.weights
        held = checkpoint.read(file_, shapes, digest, finite=diverged is None)
    except ResultError as error:
        raise MissingParent(f"{who} left no weights: {error}", Cause.CRASHED) from None
    complete = found.complete and diverged is None and (found.parent is None or found.parent.complete is not False)
    parent = Parent(
        spec=giver, runner=cell.runner, mode=cell.mode, weights=digest, complete=complete, diverged=diverged
    )
    return Inherited(held, parent)


def _imported(made: Plan, spec: Spec, name: str) -> Inherited:
    """Imported weights, which must be those that the run was planned with."""
    giver = f"{stages.IMPORTED}{name}"
    try:
        path = checkpoint.imported(name)
        whole = checkpoint.read(path, checkpoint.shapes(path), made.imported.get(name))
    except SuiteError as error:
        raise MissingParent(f"{giver}, which this starts from, cannot be taken: {error}", Cause.CRASHED) from None
    held = {name: value for name, value in whole.items() if name in spec.inherited_names}
    parent = Parent(spec=giver, runner=None, mode=None, weights=initial.fingerprint(whole), complete=None)
    return Inherited(held, parent)


def _shapes(spec: Spec) -> dict[str, Shape]:
    return {name: tensor.shape for name, tensor in spec.tensors.items()}
