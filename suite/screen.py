"""What the command line shows: tables, a run's progress, sentences.  Whatever comes from a file is escaped."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from suite import estimate
from suite.layers import walk
from suite.plan import Entry, Plan
from suite.result import Check, Failed, Identity, Measured, Proof
from suite.run import Progress
from suite.spec import Spec

SHOWN_APART = {"model", "data", "claims", "assumptions", "title", "description", "source", "name", "case"}
out = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
err = Console(stderr=True, highlight=False)


def say(line: str) -> None:
    """One line of plain text."""
    out.print(escape(line), soft_wrap=True)


def table(*columns: str) -> Table:
    """A table without lines."""
    made = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def spoken(seconds: float) -> str:
    """A rough duration in words."""
    minutes = round(seconds / 60)
    return "under a minute" if minutes < 1 else "about a minute" if minutes == 1 else f"about {minutes} minutes"


def catalogue(specs: Iterable[Spec]) -> Table:
    """The benchmarks, a line for each."""
    made = table("benchmark", "data", "parameters", "title")
    made.columns[0].no_wrap = True
    for found in specs:
        made.add_row(found.id, escape(found.dataset), f"{found.parameters:,}", escape(found.title))
    return made


def layers(found: Spec) -> Table:
    """The layers of a benchmark with their shapes, sizes and settings."""
    made = table("layer", "output", "parameters", "FLOPs/image", "settings")
    for node in walk(found.graph):
        settings = node.layer.model_dump(mode="json", exclude={"layer", "body", "shortcut"})
        parameters = sum(math.prod(t.shape) for t in node.tensors if t.role.trainable)
        text = ", ".join(f"{key} {json.dumps(value)}" for key, value in settings.items()).replace('"', "")
        shape = " x ".join(map(str, node.output))
        made.add_row(node.name, shape, f"{parameters:,}", f"{2 * node.macs:,}", escape(text))
    counted = "two FLOPs per multiply-add of dense and convolution layers"
    made.add_row("total", "", f"{found.parameters:,}", f"{found.flops:,}", counted)
    return made


def facts(found: Spec) -> Table:
    """Every other field of a benchmark, defaults included."""
    made = table("field", "value")
    size = found.train_images, found.validation_images, found.data.test
    fields = found.model_dump(mode="json", exclude=SHOWN_APART) | {
        "images": "{:,} train, {:,} validation, {:,} test".format(*size),
        "digest": found.digest,
        "data digest": found.data.digest,
    }
    for name, value in fields.items():
        made.add_row(name, escape(json.dumps(value).replace('"', "")))
    for claim in found.claims:
        made.add_row("claim", escape(f"{claim.metric} {claim.value:g} {claim.framework} {claim.note}".strip()))
    for assumption in found.assumptions:
        made.add_row("assumption", escape(f"{assumption.about}: {assumption.chosen}"))
    return made


def trials(made: Plan) -> Table:
    """The trials of a plan, in order, with the seconds predicted for each."""
    shown = table("trial", "round", "runner", "cells", "seconds")
    for entry in made.entries:
        cells = ", ".join(f"{cell.spec} {cell.mode}" for cell in entry.cells)
        number = str(entry.round) if entry.round else "proof"
        shown.add_row(entry.id, number, entry.runner, escape(cells), f"{estimate.seconds(made, entry):.0f}")
    return shown


def follow(made: Plan, progress: Iterable[Progress]) -> None:
    """What is running, what is left and for how long: a line that renews itself, or one per trial in a log."""
    shown: Entry | None = None
    try:
        for state in progress:
            if state.running is None:
                continue
            if out.is_terminal:
                width = shutil.get_terminal_size().columns - 1
                out.file.write("\r" + _line(made, state, state.running)[:width].ljust(width))
                out.file.flush()
            elif state.running != shown:
                say(_line(made, state, state.running))
            shown = state.running
    finally:
        if shown and out.is_terminal:
            out.print()


def _line(made: Plan, state: Progress, entry: Entry) -> str:
    doing = f"round {entry.round} of {made.profile.rounds}" if entry.round else "proving"
    cells = "1 cell" if len(entry.cells) == 1 else f"{len(entry.cells)} cells"
    return f"[{state.done:>3}/{state.total}] {doing}: {entry.runner}, {cells}; {spoken(state.seconds_left)} left"


def identities(found: Iterable[Measured | Proof | Failed]) -> Table:
    """The gate's verdicts."""
    made = table("benchmark", "runner", "mode", "verdict", "compared", "closest to its bound", "first divergence")
    for result in found:
        cell = result.cell.spec, result.cell.runner, result.cell.mode
        if isinstance(result, Proof):
            made.add_row(*cell, *_identity(result.identity))
        elif isinstance(result, Failed):
            made.add_row(*cell, result.cause, "", "", escape(result.reason.partition("\n")[0]))
    return made


def _identity(found: Identity) -> tuple[str, str, str, str]:
    worst = max(found.checks, key=_share, default=None)
    near = ""
    if worst is not None and worst.error is not None:
        near = f"{worst.section} {worst.tensor}: {worst.error:.1e} of {worst.bound:.1e}"
    first = found.divergence
    diverged = f"{first.section}: {first.tensor}" if first else "none"
    return found.verdict, f"{found.compared:,}", escape(near), escape(diverged)


def _share(check: Check) -> float:
    """How much of its bound an error takes; a bound of 0 allows none."""
    if check.error is None:
        return math.inf
    return check.error / check.bound if check.bound else check.error


def answer(rows: tuple[tuple[str, ...], ...]) -> Table:
    """A report's answer; the first row is the header."""
    header, *rest = rows
    made = table(*header)
    for row in rest:
        made.add_row(*(escape(cell) for cell in row))
    return made
