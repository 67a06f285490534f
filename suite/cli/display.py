"""What the command line shows: tables, a run's progress, sentences.  Whatever comes from a file is escaped."""

from __future__ import annotations

import json
import math
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from suite.errors import SuiteError
from suite.results.identity import Identity
from suite.results.records import Failed, Proof, Record
from suite.run import estimate
from suite.run.plan import Entry, Plan
from suite.run.session import Progress
from suite.runners.base import Threads
from suite.spec.differences import Difference, DifferenceKind
from suite.spec.graph import walk
from suite.spec.layers import BatchNorm, Embedding
from suite.spec.resolved import Spec
from suite.spec.spelling import listed
from suite.spec.vocabulary.alike import EMBEDDING_ALIKE, INITIALISERS_ALIKE, NORM_ALIKE, SMALL_MOMENTUM

SHOWN_APART = {"model", "data", "claims", "assumptions", "title", "description", "source", "name", "case"}
SOURCE_WIDTH, LONGEST_ID = 20, 40
"""Columns of the catalogue."""
out = Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else 140)
err = Console(stderr=True, highlight=False, emoji=False)


def clean(text: str) -> str:
    """``text`` without what would move the cursor, colour or hide: no invisible characters but line ends."""
    return "".join(c if c == "\n" or unicodedata.category(c)[0] != "C" else " " for c in text)


def say(line: str) -> None:
    """Plain text, usually of one line."""
    out.print(Text(clean(line)), soft_wrap=True)


def complain(error: SuiteError) -> None:
    """An error of the user's, or of the world's, on the stream for errors."""
    err.print(Text.assemble(("error", "bold red"), " ", clean(str(error))), soft_wrap=True)


def table(*columns: str) -> Table:
    """A table without lines."""
    made = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def spoken(seconds: float) -> str:
    """A rough duration in words."""
    minutes = round(seconds / 60)
    if minutes >= 120:
        return f"about {round(minutes / 60)} hours"
    return "under a minute" if minutes < 1 else "about a minute" if minutes == 1 else f"about {minutes} minutes"


def threads(given: Threads) -> str:
    """How many threads each framework has, in words."""
    both = f"{given.intra} thread{'s' if given.intra > 1 else ''} in an operation"
    return f"{both}, {given.inter} operation{'s' if given.inter > 1 else ''} at once"


def short(count: int) -> str:
    """A large number in three digits: 24.6 M."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= size:
            value = count / size
            return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} {unit}"
    return str(count)


def catalogue(specs: Iterable[Spec]) -> Table:
    """The benchmarks, one after another; long names of sources are cut short, and long titles go on below."""
    made = table("benchmark", "source", "data", "parameters", "FLOPs", "epochs", "claims", "title")
    for found in specs:
        source = found.source.title if found.source else ""
        made.add_row(
            found.id, escape(source), escape(found.dataset), f"{found.parameters:,}", short(found.flops),
            f"{found.epochs:,}", str(len(found.claims) or ""), escape(found.title),
        )  # fmt: skip
    for number, column in enumerate(made.columns[:-1]):
        column.no_wrap, column.overflow = True, "ellipsis"
        longest = max(len(str(cell)) for cell in (column.header, *column.cells))
        column.min_width = column.max_width = min(longest, SOURCE_WIDTH if number in (1, 2) else LONGEST_ID)
        column.justify = "right" if number in (3, 4, 5, 6) else "left"
    return made


def layers(found: Spec) -> Table:
    """The layers of a benchmark with their shapes, sizes and settings."""
    made = table("layer", "output", "parameters", "FLOPs/image", "settings")
    for node in walk(found.graph):
        settings = node.layer.model_dump(mode="json", exclude={"layer", "body", "shortcut", "branches"})
        parameters = sum(math.prod(t.shape) for t in node.tensors if t.role.trainable)
        text = ", ".join(f"{key} {json.dumps(value)}" for key, value in settings.items()).replace('"', "")
        frozen = ["frozen"] if found.is_frozen(node) else []
        shape = " x ".join(map(str, node.output))
        told = ", ".join(filter(None, [text, *frozen]))
        made.add_row(node.name, shape, f"{parameters:,}", f"{2 * node.macs:,}", escape(told))
    counted = "two FLOPs per multiply-add of dense and convolution layers"
    made.add_row("total", "", f"{found.parameters:,}", f"{found.flops:,}", counted)
    return made


def facts(found: Spec) -> Table:
    """Every other field of a benchmark, defaults included."""
    made = table("field", "value")
    size = found.train_images, found.validation_images, found.data.test
    fields = found.model_dump(mode="json", exclude=SHOWN_APART) | {
        "input": f"{' x '.join(map(str, found.input_shape))} {found.input_dtype}",
        "images": "{:,} train, {:,} validation, {:,} test".format(*size),
        "trained": f"{sum(math.prod(t.shape) for t in found.trainable.values()):,} of {found.parameters:,} parameters",
        "digest": found.digest,
        "computation": found.computation,
        "data digest": found.data.digest,
    }
    for name, value in fields.items():
        made.add_row(name, escape(json.dumps(value).replace('"', "")))
    for claim in found.claims:
        upper = "" if claim.to is None else f"to {claim.to:g}"
        width = "" if claim.widest is None or claim.untestable else f"half-width at most {claim.widest:g}"
        told = f"{claim.metric} {claim.value:g} {upper} {claim.framework} {width} {claim.note} {claim.untestable}"
        made.add_row("claim", escape(" ".join(told.split())))
    for assumption in found.assumptions:
        made.add_row("assumption", escape(f"{assumption.about}: {assumption.chosen}"))
    if names := found.data.class_names:
        made.add_row("classes", escape(listed([f"{i} is {name}" for i, name in enumerate(names)], f"{len(names)}")))
    for told in found.cautions:
        made.add_row("caution", escape(told))
    for told in same_words(found):
        made.add_row("same word", escape(told))
    return made


def same_words(found: Spec) -> tuple[str, ...]:
    """What the spec's words mean here, where the same word means something else in a framework."""
    told: dict[str, None] = {}
    for node in walk(found.graph):
        for tensor in node.tensors:
            if tensor.initialiser in INITIALISERS_ALIKE:
                told[INITIALISERS_ALIKE[tensor.initialiser]] = None
        match node.layer:
            case BatchNorm(momentum=momentum) if momentum < SMALL_MOMENTUM:
                told[NORM_ALIKE.format(name=node.name, momentum=momentum, other=1 - momentum)] = None
            case Embedding():
                told[EMBEDDING_ALIKE.format(name=node.name)] = None
            case _:
                pass
    return tuple(told)


def differences(stated: Mapping[str, Sequence[Difference]]) -> Iterator[RenderableType]:
    """Where each framework's own API differs from a benchmark, what changes numbers first."""
    yield "[bold]Where the framework's own API differs[/]"
    if any(each.shift for found in stated.values() for each in found):
        yield "By the reference in float64, from the gate's start; apart: relative to the largest value of a tensor."
    order = list(DifferenceKind)
    for token, found in stated.items():
        for each in sorted(found, key=lambda difference: order.index(difference.kind)):
            yield f"{token}, [bold]{escape(each.where)}[/]: {each.kind}"
            lines = [f"{each.api} {each.does}.", each.here and f"Here: {each.here}.", each.effect and f"{each.effect}."]
            yield Padding(escape("\n".join(filter(None, lines))), (0, 0, 0, 4))
    if not any(stated.values()):
        yield "Nowhere."


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
            if state.news and shown and out.is_terminal:
                out.print()
            for line in state.news:
                out.print(f"[yellow]note[/] {escape(line)}", soft_wrap=True)
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
    doing += ", tuning" if entry.kind == "tune" else ""
    cells = "1 cell" if len(entry.cells) == 1 else f"{len(entry.cells)} cells"
    return f"[{state.done:>3}/{state.total}] {doing}: {entry.runner}, {cells}; {spoken(state.seconds_left)} left"


def identities(found: Iterable[Record]) -> Table:
    """The gate's verdicts, by benchmark, runner and mode."""
    made = table("benchmark", "runner", "mode", "verdict", "compared", "closest to its bound", "first divergence")
    found = sorted(found, key=lambda result: (result.cell.spec, result.cell.runner, result.cell.mode))
    for result in found:
        cell = result.cell.spec, result.cell.runner, result.cell.mode
        if isinstance(result, Proof):
            made.add_row(*cell, *_identity(result.identity))
        elif isinstance(result, Failed):
            made.add_row(*cell, result.cause, "", "", escape(result.reason.partition("\n")[0]))
    return made


def coverage(made: Plan, found: Sequence[Record]) -> tuple[str, ...]:
    """What each proven computation stands for, a line for each, and how long the proofs took together."""
    proven = {cell.spec for entry in made.entries if entry.kind == "prove" for cell in entry.cells}
    lines = []
    for spec in (spec for spec in made.specs if spec.id in proven):
        covered = [other.id for other in made.specs if other.computation == spec.computation]
        lines.append(f"{spec.id}: covers {', '.join(covered)}" if len(covered) > 1 else f"{spec.id}: covers itself")
    seconds = sum(result.seconds for result in found)
    count = f"{len(found)} proofs of {len(lines)} computations, for {len(made.specs)} benchmarks"
    return (*lines, f"{count}: {seconds:,.0f} s in all")


def _identity(found: Identity) -> tuple[str, str, str, str]:
    worst = max(found.checks, key=lambda check: check.share, default=None)
    near = ""
    if worst is not None and worst.error is not None:
        near = f"{worst.section} {worst.tensor}: {worst.error:.1e} of {worst.bound:.1e}"
    first = found.divergence
    diverged = f"{first.section}: {first.tensor}" if first else "none"
    return found.verdict, f"{found.compared:,}", escape(near), escape(diverged)


def answer(rows: tuple[tuple[str, ...], ...]) -> Table:
    """A report's answer; the first row is the header.  What comes from results is text, whatever it looks like."""
    header, *rest = rows
    made = table(*header)
    for row in rest:
        made.add_row(*(Text(cell) for cell in row))
    return made
