"""How long a run will take: a rough model of its parts, corrected by what the run itself has shown so far."""

from __future__ import annotations

from collections.abc import Sequence

from suite.plan import Entry, Plan
from suite.spec import Spec

START_SECONDS = {"torch": 5.0, "tf": 5.0}
"""Starting a process and importing the framework."""
COMPILE_SECONDS = {"compile": 3.0, "xla": 2.5, "graph": 1.0}
"""Tracing and compiling one cell with a warm cache."""
PROOF_SECONDS = {"compile": 18.0, "xla": 5.0, "graph": 1.5, "eager": 1.5}
"""Proving one cell with a cold cache."""
STEP_SECONDS = 5e-4
FLOPS_PER_SECOND = 1e11
"""Of small layers on two cores; all of these were seen there and serve only to predict."""


def seconds(made: Plan, entry: Entry) -> float:
    """Predicted seconds of one trial."""
    return START_SECONDS.get(entry.runner, 1.0) + sum(
        _cell(made, made.spec(cell.spec), cell.mode, entry) for cell in entry.cells
    )


def _cell(made: Plan, spec: Spec, mode: str, entry: Entry) -> float:
    profile = made.profile
    if entry.kind == "prove":
        return PROOF_SECONDS.get(mode, 5.0)
    fixed = profile.throughput_seconds * len(profile.throughput_batches)
    if entry.runner == "null":
        return fixed + 0.5
    epochs = min(spec.epochs, profile.epochs or spec.epochs)
    epoch = spec.train_images / spec.batch_size * STEP_SECONDS + spec.train_images * 3 * spec.flops / FLOPS_PER_SECOND
    return fixed + COMPILE_SECONDS.get(mode, 0.5) + epochs * epoch + 1.0


def total(made: Plan, entries: Sequence[Entry]) -> float:
    """Predicted seconds of several trials."""
    return sum(seconds(made, entry) for entry in entries)


def remaining(made: Plan, todo: Sequence[Entry], left: Sequence[Entry], elapsed: float) -> float:
    """Seconds still to go: the prediction for what is left, scaled by how right it was for what is done."""
    predicted = total(made, todo) - total(made, left)
    scale = elapsed / predicted if predicted > 0 and len(left) < len(todo) else 1.0
    return total(made, left) * scale
