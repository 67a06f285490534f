"""What the command line shows: tables, a run's progress, sentences.  Whatever comes from a file is escaped."""

from __future__ import annotations

import json
import math
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.padding import Padding
from rich.text import Text

from suite.cli.tables import Fitted, Layout, Row
from suite.errors import SuiteError
from suite.results.identity import Identity
from suite.results.records import Failed, Proof, Record
from suite.run import estimate
from suite.run.conductor import Progress
from suite.run.plan import Entry, Plan
from suite.runners.base import Threads
from suite.spec.differences import Difference, DifferenceKind
from suite.spec.graph import walk
from suite.spec.layers import BatchNorm, Embedding
from suite.spec.resolved import Spec
from suite.spec.spelling import listed
from suite.spec.vocabulary.alike import EMBEDDING_ALIKE, INITIALISERS_ALIKE, NORM_ALIKE, SMALL_MOMENTUM

SHOWN_APART = {"model", "data", "claims", "assumptions", "title", "description", "source", "name", "case"}
KINDS = {"prove": "proof", "measure": "training", "turns": "round", "tune": "options"}
OWN = "the suite's own"
"""What stands where others have a source."""
out = Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else 140)
err = Console(stderr=True, highlight=False, emoji=False)


def clean(text: str) -> str:
    """``text`` without what would move the cursor, colour or hide: no invisible characters but line ends."""
    return "".join(c if c == "\n" or unicodedata.category(c)[0] != "C" else " " for c in text)


def say(line: str) -> None:
    """Plain text, usually of one line."""
    out.print(Text(clean(line)), soft_wrap=True)


def sentence(text: Text) -> None:
    """Running text: on a terminal it breaks between words, elsewhere it stays on one line."""
    out.print(text, soft_wrap=not out.is_terminal)


def complain(error: SuiteError) -> None:
    """An error of the user's, or of the world's, on the stream for errors."""
    err.print(Text.assemble(("error", "bold red"), " ", clean(str(error))), soft_wrap=True)


def two_columns(what: str, told: str, rows: Sequence[Row]) -> Fitted:
    """Two columns, of which the second wraps."""
    return Fitted((Layout((what, told), rows),))


def spoken(seconds: float) -> str:
    """A rough duration in words."""
    minutes = round(seconds / 60)
    if minutes >= 120:
        return f"about {round(minutes / 60)} hours"
    return "under a minute" if minutes < 1 else "about a minute" if minutes == 1 else f"about {minutes} minutes"


def lasting(made: Plan, entries: Sequence[Entry]) -> str:
    """How long trials will take, and how long at most where that depends on what is decided when."""
    likely, most = (spoken(find(made, entries)) for find in (estimate.total, estimate.most))
    return likely if likely == most else f"{likely}, {most} at most"


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


def catalogue(specs: Iterable[Spec]) -> Fitted:
    """The benchmarks below what they are taken from, each with its title, on a line of its own where it is long."""
    header = ("source", "benchmark", "data", "parameters", "FLOPs", "epochs", "claims", "title")
    rows = [
        (
            found.source.title if found.source else OWN, found.id, found.dataset, f"{found.parameters:,}",
            short(found.flops), f"{found.epochs:,}", str(len(found.claims) or ""), found.title,
        )
        for found in specs
    ]  # fmt: skip
    full = Layout(header, rows, grouped=True, right=frozenset({3, 4, 5, 6}))
    less = [(*row[:5], *row[6:]) for row in rows]
    return Fitted(
        (
            full,
            replace(full, below=True),
            Layout((*header[:5], *header[6:]), less, grouped=True, below=True, right=frozenset({3, 4, 5})),
        )
    )


def layers(found: Spec) -> Fitted:
    """The layers of a benchmark with their shapes, sizes and settings."""
    header = ("layer", "output", "parameters", "FLOPs/example", "settings")
    rows = []
    for node in walk(found.graph):
        settings = node.layer.model_dump(mode="json", exclude={"layer", "body", "shortcut", "branches"})
        parameters = sum(math.prod(t.shape) for t in node.tensors if t.role.trainable)
        text = ", ".join(f"{key} {json.dumps(value)}" for key, value in settings.items()).replace('"', "")
        frozen = ["frozen"] if found.is_frozen(node) else []
        shape = " x ".join(map(str, node.output))
        told = ", ".join(filter(None, [text, *frozen]))
        rows.append((node.name, shape, f"{parameters:,}", f"{2 * node.macs:,}", told))
    counted = "two FLOPs per multiply-add of dense and convolution layers"
    rows.append(("total", "", f"{found.parameters:,}", f"{found.flops:,}", counted))
    full = Layout(header, rows, right=frozenset({2, 3}))
    return Fitted((full, replace(full, below=True)))


def facts(found: Spec) -> Fitted:
    """Every other field of a benchmark, defaults included."""
    size = found.train_images, found.validation_images, found.data.test
    fields = found.model_dump(mode="json", exclude=SHOWN_APART) | {
        "input": f"{' x '.join(map(str, found.input_shape))} {found.input_dtype}",
        "examples": "{:,} train, {:,} validation, {:,} test".format(*size),
        "trained": f"{sum(math.prod(t.shape) for t in found.trainable.values()):,} of {found.parameters:,} parameters",
        "digest": found.digest,
        "computation": found.computation,
        "data digest": found.data.digest,
    }
    rows = [(name, json.dumps(value).replace('"', "")) for name, value in fields.items()]
    for claim in found.claims:
        upper = "" if claim.to is None else f"to {claim.to:g}"
        width = "" if claim.widest is None or claim.untestable else f"half-width at most {claim.widest:g}"
        told = f"{claim.metric} {claim.value:g} {upper} {claim.framework} {width} {claim.note} {claim.untestable}"
        rows.append(("claim", " ".join(told.split())))
    rows += [("assumption", f"{assumption.about}: {assumption.chosen}") for assumption in found.assumptions]
    if names := found.data.class_names:
        rows.append(("classes", listed([f"{i} is {name}" for i, name in enumerate(names)], f"{len(names)}")))
    rows += [("caution", told) for told in found.cautions]
    rows += [("same word", told) for told in same_words(found)]
    return two_columns("field", "value", rows)


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


def trials(made: Plan) -> Fitted:
    """The trials of a plan, in order, with the seconds predicted for each; a trial's id ends with its framework."""
    rows = []
    for entry in made.entries:
        modes: dict[str, list[str]] = {}
        for cell in entry.cells:
            modes.setdefault(cell.spec, []).append(cell.mode)
        cells = ", ".join(f"{spec} ({', '.join(several)})" for spec, several in modes.items())
        number = f"{KINDS[entry.kind]} {entry.round}" if entry.round else "proof"
        rows.append((entry.id, number, f"{estimate.seconds(made, entry):.0f}", cells))
    full = Layout(("entry", "what", "seconds", "benchmarks and modes"), rows, right=frozenset({2}))
    return Fitted((full, replace(full, below=True)))


def follow(progress: Iterable[Progress], answer: Callable[[], RenderableType | None] = lambda: None) -> None:
    """What is going on, what is left and for how long: on a terminal below the answers so far, elsewhere line by line.

    ``answer`` gives the answers as they stand after a round, which get sharper from round to round.
    """
    if not out.is_terminal:
        _line_by_line(progress)
        return
    with Live(console=out, auto_refresh=False, transient=True, vertical_overflow="crop") as live:
        table: RenderableType | None = None
        for state in progress:
            for line in state.news:
                live.console.print(f"[yellow]note[/] {escape(line)}", soft_wrap=True)
            if state.ended is not None:
                table = answer()
            line_ = Text(clean(_line(state)), no_wrap=True, overflow="ellipsis")
            live.update(Group(table, "", line_) if table else line_, refresh=True)


def _line_by_line(progress: Iterable[Progress]) -> None:
    shown = ""
    for state in progress:
        for line in state.news:
            say(f"note {line}")
        if state.doing != shown:
            say(_line(state))
        shown = state.doing


def _line(state: Progress) -> str:
    return f"[{state.done:>3}/{state.total}] {state.doing}; {spoken(state.seconds_left)} left"


def identities(found: Iterable[Record]) -> Fitted:
    """The gate's verdicts below their benchmarks, each with what tells most: the first divergence, or the closest."""
    header = ("benchmark", "framework, mode", "verdict", "compared", "first divergence, or closest to its bound")
    rows: list[Row] = []
    for result in sorted(found, key=lambda result: (result.cell.spec, result.cell.runner, result.cell.mode)):
        cell = result.cell.spec, f"{result.cell.runner}, {result.cell.mode}"
        if isinstance(result, Proof):
            rows.append((*cell, *_identity(result.identity)))
        elif isinstance(result, Failed):
            rows.append((*cell, result.cause, "", result.reason.partition("\n")[0]))
    less = [(*row[:3], row[4]) for row in rows]
    return Fitted((Layout(header, rows, grouped=True), Layout((*header[:3], header[4]), less, grouped=True)))


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


def _identity(found: Identity) -> Row:
    """The verdict, how much was compared, and the first divergence, or else the check closest to its bound."""
    worst = max(found.checks, key=lambda check: check.share, default=None)
    told = ""
    if found.divergence:
        told = f"diverges: {found.divergence.section}: {found.divergence.tensor}"
    elif worst is not None and worst.error is not None:
        told = f"{worst.section} {worst.tensor}: {worst.error:.1e} of {worst.bound:.1e}"
    return found.verdict, f"{found.compared:,}", told
