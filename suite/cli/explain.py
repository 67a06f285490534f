"""The command ``suite explain``: why one framework takes longer than another."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from suite import files
from suite.cli import profiles
from suite.cli.about import ABOUT_BENCHMARK, ABOUT_PRECISION, ABOUT_RUNNER, ABOUT_THREADS
from suite.cli.display import clean, out, say, sentence
from suite.cli.tables import Fitted, Layout
from suite.data import datasets
from suite.errors import SpecError
from suite.report import explanation
from suite.results.attribution import Attribution
from suite.results.questions import QuestionKind
from suite.run import explain, session
from suite.run.explain import Asked, Found
from suite.run.plan import Plan
from suite.spec import paths
from suite.spec.resolved import Spec, digest
from suite.spec.spelling import listed

BATCHES = {QuestionKind.LATENCY: 1, QuestionKind.THROUGHPUT: 256}
"""Batch sizes where none is named; training has the benchmark's own."""
TIMEOUT_SECONDS = 1800
"""Of one process: compiling takes longest."""


def explain_(
    benchmark: Annotated[str, typer.Argument(help=ABOUT_BENCHMARK)],
    runner: Annotated[
        list[str] | None, typer.Option("--runner", "-r", help=f"{ABOUT_RUNNER}; those of the profile quick by default")
    ] = None,
    question: Annotated[
        QuestionKind, typer.Option("--question", "-q", help="what is looked at")
    ] = QuestionKind.TRAINING,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="of latency, 1 by default, and of throughput, 256 by default")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1, help="steps or queries that are profiled; as many as last a tenth of a second by default, at most 50"
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    threads: Annotated[int | None, typer.Option(min=1, help=f"{ABOUT_THREADS}; all cores by default")] = None,
    precision: Annotated[
        str | None, typer.Option("--precision", help=f"{ABOUT_PRECISION.partition(';')[0]}; float32 by default")
    ] = None,
    reports: Annotated[Path, typer.Option(help="where the folder is made")] = session.REPORTS,
) -> None:
    """Explain a difference: a few steps of each framework under its own profiler, joined into one table.

    Time is divided among matrix products, convolutions, normalisation, element-wise work, copies and what is between
    operations. The page explain.md says why one takes longer than another, and shows the longest operations side by
    side. A Chrome trace of each framework lies beside it.

    Profilers cost time, so nothing is ranked here: `suite run` measures.

    The exit status is 1 if a framework could not be profiled.
    """
    spec = _one(benchmark)
    if batch_size and question is QuestionKind.TRAINING:
        way_out = "Leave out --batch-size, or ask for --question latency or throughput."
        raise SpecError("training has the benchmark's own batch size", where=spec.id, way_out=way_out)
    asked = Asked(spec.id, question, batch_size or BATCHES.get(question, 0), steps or 0)
    made = _plan(benchmark, profiles.runners(runner or []), device, threads, precision)
    folder = reports.resolve() / _name(spec, made, asked)
    files.write_bytes(folder / "plan.json", made.model_dump_json(indent=1).encode() + b"\n")
    found: list[Found] = []
    for who, one in explain.explain(folder, made, session.pythons(tuple(made.profile.runners)), asked):
        if one is None:
            say(f"{who}: building, warming up, profiling")
        else:
            found.append(one)
    page = explanation.page(found, shlex.join(["suite", *sys.argv[1:]]))
    files.write_bytes(folder / "explain.md", page.encode())
    raise typer.Exit(_shown(folder, found))


def _one(benchmark: str) -> Spec:
    """The benchmark, which must be one.  Raises SpecError."""
    asked = session.find(paths.benchmarks([benchmark])).asked
    if len(asked) > 1:
        way_out = f"{listed([spec.id for spec in asked])}"
        raise SpecError(f"{benchmark} has {len(asked)} cases, and one is explained at a time", way_out=way_out)
    return asked[0]


def _plan(
    benchmark: str, runners: dict[str, tuple[str, ...]], device: str, threads: int | None, precision: str | None
) -> Plan:
    """The plan that the processes read: benchmark, frameworks, threads.  Raises as ``session.draft``."""
    fields: dict[str, Any] = {
        "name": "explain", "benchmarks": paths.benchmarks([benchmark]), "rounds": 0, "seeds": (0,),
        "runners": runners or session.profile("quick").runners, "device": device, "threads": threads,
        "timeout_seconds": TIMEOUT_SECONDS, **({"precisions": (precision,)} if precision else {}),
    }  # fmt: skip
    made = session.draft(profiles.valid(fields), shlex.join(["suite", *sys.argv[1:]]))
    for spec in made.specs:
        datasets.fetch(spec.dataset, lambda line: say(f"data: {line}"))
    return made


def _name(spec: Spec, made: Plan, asked: Asked) -> str:
    """The same question has the same folder."""
    decisive = [made.id, spec.digest, *map(str, asked)]
    return f"explain-{spec.id.replace('/', '-')}-{digest(decisive).removeprefix('sha256:')[:12]}"


def _shown(folder: Path, found: list[Found]) -> int:
    """Print why, the table and where all lies; the exit status."""
    seen = [one for one in found if isinstance(one, Attribution)]
    say("")
    for line in explanation.told(seen):
        sentence(Text(clean(line)))
    for one in found:
        if not isinstance(one, Attribution):
            say(f"{one.who} is not here: {one.reason}")
    if rows := explanation.kinds(found):
        header, *rest = rows
        say("")
        out.print(Fitted((Layout(header, rest, right=frozenset(range(1, len(header)))), _apart(header, rest))))
    say(f"\npage: {folder / 'explain.md'}")
    for one in seen:
        say(f"trace: {explain.trace(folder, one.runner, one.mode)}")
    return 0 if len(seen) == len(found) else 1


def _apart(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> Layout:
    """One framework below the other, where they do not fit side by side."""
    apart = [(who, row[0], row[i]) for i, who in enumerate(header[1:], 1) for row in rows]
    return Layout(("", header[0], ""), apart, grouped=True, right=frozenset({2}))
