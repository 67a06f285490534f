"""The command ``suite``: parse, call, print.

Exit status: 0 all well; 1 a trial failed or a benchmark could not be compared; 2 the caller's mistake; 130 interrupted.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from suite import __version__, data, environment, estimate, launch, plan, report, result, run, spec
from suite.errors import ResultError, RunError, SpecError, SuiteError
from suite.layers import walk
from suite.plan import Plan, Profile
from suite.result import Failed, Identity, Proof
from suite.runners import base
from suite.spec import Spec

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="One benchmark spec, every framework, and proof that it was the same benchmark.\n\n"
    "Start with [bold]suite doctor[/] (what this machine has), then [bold]suite run[/] (ten minutes, then a report).",
)
data_app = typer.Typer(no_args_is_help=True, help="The data sets: what there is, and getting it.")
app.add_typer(data_app, name="data")
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

Benchmark = Annotated[str, typer.Argument(help="name of a benchmark, name/case, or the path of a YAML file")]


def main() -> int:
    """Run a command; a mistake of the caller's is a sentence, never a traceback."""
    try:
        app(standalone_mode=False)
    except typer.Exit as done:
        return done.exit_code
    except (KeyboardInterrupt, typer.Abort):
        err.print("Interrupted. What is finished is kept; the same command goes on from there.")
        return 130
    except SuiteError as error:
        err.print(f"[bold red]error[/] {escape(str(error))}", soft_wrap=True)
        return 1 if isinstance(error, RunError) else 2
    except Exception as error:
        usage = getattr(error, "exit_code", None)
        if usage is None:
            raise
        error.show()  # type: ignore[attr-defined]  # click's own errors print themselves
        return int(usage)
    return 0


def _specs(benchmark: str) -> tuple[Spec, ...]:
    return plan.choose((benchmark,), run.BENCHMARKS / "specs", data.describe)


def _table(*columns: str, title: str | None = None) -> Table:
    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


@app.command("list")
def list_() -> None:
    """List the benchmarks: data, size and what their source claims."""
    table = _table("benchmark", "data", "parameters", "FLOPs/image", "epochs", "batch", "claims", "title")
    for path in sorted((run.BENCHMARKS / "specs").glob("*.yaml")):
        for found in spec.load(path, data.describe):
            claims = ", ".join(f"{claim.metric} {claim.value:g}" for claim in found.claims) or "-"
            size = f"{found.parameters:,}", f"{found.flops:,}", str(found.epochs), str(found.batch_size)
            table.add_row(found.id, found.dataset, *size, claims, escape(found.title))
    out.print(table)


@app.command()
def show(benchmark: Benchmark, as_json: Annotated[bool, typer.Option("--json", help="the resolved spec as JSON")] = False) -> None:
    """Show a benchmark with everything derived: shapes, parameters, FLOPs, every default."""
    for found in _specs(benchmark):
        if as_json:
            sys.stdout.write(found.model_dump_json(indent=2) + "\n")
        else:
            _show(found)


def _show(found: Spec) -> None:
    out.print(f"[bold]{found.id}[/]  {escape(found.title)}")
    if found.description:
        out.print(escape(found.description.strip()))
    table = _table("layer", "output", "parameters", "FLOPs/image", "settings")
    for node in walk(found.graph):
        settings = node.layer.model_dump(mode="json", exclude={"layer", "body", "shortcut"})
        parameters = sum(_size(t.shape) for t in node.tensors if t.role.trainable)
        text = ", ".join(f"{key} {json.dumps(value)}" for key, value in settings.items())
        table.add_row(node.name, " x ".join(map(str, node.output)), f"{parameters:,}", f"{2 * node.macs:,}", text.replace('"', ""))
    table.add_row("total", "", f"{found.parameters:,}", f"{found.flops:,}", "two FLOPs per multiply-add of dense and convolution layers")
    out.print(table)
    facts = _table("field", "value")
    rest = found.model_dump(mode="json", exclude={"model", "data", "claims", "assumptions", "title", "description", "source", "name", "case"})
    images = f"{found.train_images:,} train, {found.validation_images:,} validation, {found.data.test:,} test"
    for name, value in {**rest, "images": images, "digest": found.digest, "data digest": found.data.digest}.items():
        facts.add_row(name, json.dumps(value).replace('"', ""))
    for claim in found.claims:
        facts.add_row("claim", escape(f"{claim.metric} {claim.value:g} {claim.framework} {claim.note}".strip()))
    for assumption in found.assumptions:
        facts.add_row("assumption", escape(f"{assumption.about}: {assumption.chosen}"))
    out.print(facts)
    out.print()


def _size(shape: tuple[int, ...]) -> int:
    total = 1
    for extent in shape:
        total *= extent
    return total


@data_app.command("list")
def data_list() -> None:
    """List the data sets, and which are here already."""
    table = _table("data set", "images", "shape", "classes", "size", "here", "where")
    for item in data.available():
        facts = item.facts
        table.add_row(
            item.name, f"{facts.train:,} + {facts.test:,}", " x ".join(map(str, facts.image_shape)), str(facts.classes),
            f"{item.bytes / 1e6:.1f} MB", item.origin or "no", str(item.path) if item.cached else "",
        )  # fmt: skip
    table.add_row("npz:PATH", "", "", "", "", "", "your own file: train_images, train_labels, test_images, test_labels")
    out.print(table)


@data_app.command("fetch")
def data_fetch(names: Annotated[list[str], typer.Argument(help="data sets, as `suite data list` names them")]) -> None:
    """Fetch data sets and verify every byte."""
    for name in names:
        path = data.fetch(name, lambda line: out.print(escape(line)))
        out.print(f"{name} is here, verified: {path}", soft_wrap=True)


@app.command("run")
def run_(
    profile: Annotated[str, typer.Argument(help="quick, standard, full, or the path of a YAML file")] = "quick",
    benchmark: Annotated[list[str] | None, typer.Option("--benchmark", "-b", help="instead of the profile's; may be repeated")] = None,
    runner: Annotated[list[str] | None, typer.Option("--runner", "-r", help="instead of the profile's: torch, or torch:eager,compile")] = None,
    rounds: Annotated[int | None, typer.Option(min=0, help="instead of the profile's; 0 only proves")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="cap on epochs, instead of the profile's")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the trials and the predicted time, and do nothing")] = False,
    again: Annotated[bool, typer.Option("--again", help="measure again what is finished; the old results are set aside")] = False,
    reports: Annotated[Path, typer.Option(help="where the run's folder is made")] = run.REPORTS,
) -> None:
    """Prove, measure and report: every benchmark of a profile, in every framework, interleaved.

    The same question asked again finds its finished trials and goes on from there.
    """
    wanted = _profile(profile, benchmark, runner, rounds, epochs)
    command = " ".join(["suite", *sys.argv[1:]])
    folder, made = run.prepare(wanted, reports.resolve(), command, lambda line: out.print(f"data: {escape(line)}", soft_wrap=True))
    for note in made.notes:
        out.print(f"[yellow]note[/] {escape(note)}", soft_wrap=True)
    if dry_run:
        _print_plan(made)
        return
    if again:
        _set_aside(folder)
    _measure(folder, made)
    raise typer.Exit(_report(folder, point=reports.resolve() / "latest"))


def _profile(name: str, benchmarks: list[str] | None, runners: list[str] | None, rounds: int | None, epochs: int | None) -> Profile:
    wanted = run.profile(name)
    changes: dict[str, Any] = {}
    if benchmarks:
        changes["benchmarks"] = tuple(benchmarks)
    if runners:
        changes["runners"] = dict(_modes(item) for item in runners)
    if rounds is not None:
        changes["rounds"] = rounds
    if epochs is not None:
        changes["epochs"] = epochs
    return Profile.model_validate({**dict(wanted), **changes})


def _modes(item: str) -> tuple[str, tuple[str, ...]]:
    token, _, modes = item.partition(":")
    if token not in base.tokens():
        raise SpecError(f"there is no runner {token!r}", way_out=f"There are: {', '.join(base.tokens())}.")
    known = base.modes(token)
    chosen = tuple(modes.split(",")) if modes else known
    if strange := [mode for mode in chosen if mode not in known]:
        raise SpecError(f"runner {token} has no mode {strange[0]!r}", way_out=f"It has: {', '.join(known)}.")
    return token, chosen


def _print_plan(made: Plan) -> None:
    table = _table("trial", "round", "runner", "cells", "seconds")
    for entry in made.entries:
        cells = ", ".join(f"{cell.spec} {cell.mode}" for cell in entry.cells)
        table.add_row(entry.id, "proof" if entry.round == 0 else str(entry.round), entry.runner, cells, f"{estimate.seconds(made, entry):.0f}")
    out.print(table)
    out.print(f"{len(made.entries)} trials, about {estimate.total(made, made.entries) / 60:.0f} minutes; run {made.id}")


def _set_aside(folder: Path) -> None:
    results = folder / "results"
    if results.exists():
        earlier = len(list(folder.glob("results-*"))) + 1
        results.rename(folder / f"results-{earlier}")


def _measure(folder: Path, made: Plan) -> None:
    with launch.locked(folder / "session.lock", wait=False) as mine:
        if mine is None:
            raise RunError("this run is under way already", where=str(folder), way_out="Wait for it, or stop it.")
        if moved := launch.resume(folder, made):
            out.print(f"{moved} results of a round that was broken off are set aside; that round is done again whole.")
        left = launch.unfinished(folder, made)
        if not left:
            out.print(f"All {len(made.entries)} trials are finished already; `--again` measures them again.")
            return
        interpreters = run.pythons(tuple(dict.fromkeys(entry.runner for entry in made.entries)))
        for token, seen in run.devices(tuple(interpreters), made.profile.device).items():
            out.print(f"[bold]{token}[/] sees {escape(seen)}", soft_wrap=True)
        out.print(f"{len(left)} of {len(made.entries)} trials to do, about {estimate.total(made, left) / 60:.0f} minutes, into {folder}", soft_wrap=True)
        _follow(folder, made, interpreters)


def _follow(folder: Path, made: Plan, interpreters: dict[str, Path]) -> None:
    """Show what is running, what is left and for how long: one line that renews itself, or one per trial in a log."""
    shown = ""
    width = shutil.get_terminal_size().columns
    progress = run.supervise(folder, made, interpreters)
    try:
        for state in progress:
            entry = state.running
            if entry is None:
                continue
            doing = "proving" if entry.kind == "prove" else f"round {entry.round} of {made.profile.rounds}"
            line = f"[{state.done:>3}/{state.total}] {doing}: {entry.runner}, {len(entry.cells)} cells; about {state.seconds_left / 60:.0f} min left"
            if out.is_terminal:
                sys.stdout.write("\r" + line[: width - 1].ljust(width - 1))
                sys.stdout.flush()
            elif entry.id != shown:
                out.print(escape(line))
            shown = entry.id
    finally:
        progress.close()
        if out.is_terminal:
            out.print()


def _report(folder: Path, point: Path | None = None) -> int:
    outcome = report.write(folder)
    if point is not None:
        temporary = point.with_name(f".{point.name}.{os.getpid()}")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(folder.name)
        temporary.replace(point)
    header, *rows = outcome.answer
    table = _table(*header)
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    out.print()
    out.print(table)
    out.print(f"\nreport: {folder / 'report.md'}", soft_wrap=True)
    return 1 if outcome.failed else 0


@app.command("report")
def report_(folder: Annotated[Path, typer.Argument(help="a run's folder")] = run.REPORTS / "latest") -> None:
    """Make a run's report anew from its results."""
    if not (folder / "results").is_dir():
        raise ResultError("holds no results", where=str(folder), way_out="`suite run` makes some.")
    raise typer.Exit(_report(folder.resolve()))


@app.command()
def identity(
    benchmark: Annotated[list[str], typer.Argument(help="benchmarks, or their cases")],
    runner: Annotated[list[str] | None, typer.Option("--runner", "-r", help="torch, or torch:eager,compile; all by default")] = None,
    reports: Annotated[Path, typer.Option(help="where the proofs are kept")] = run.REPORTS,
) -> None:
    """Prove that every framework and mode computes what the reference defines, and print the table."""
    runners = dict(_modes(item) for item in runner or ("torch", "tf"))
    wanted = Profile(name="identity", benchmarks=tuple(benchmark), runners=runners, rounds=0, process="runner", timeout_seconds=900)
    folder, made = run.prepare(wanted, reports.resolve(), "", lambda line: out.print(escape(line)))
    _measure(folder, made)
    table = _table("benchmark", "runner", "mode", "verdict", "compared", "closest to its bound", "first divergence")
    proven = True
    for found in result.read_all(folder / "results", lambda error: err.print(escape(str(error)))):
        proven &= isinstance(found, Proof) and found.identity.verdict is not result.Verdict.UNPROVEN or _unsupported(found)
        cell = found.cell
        if isinstance(found, Proof):
            table.add_row(cell.spec, cell.runner, cell.mode, *_identity_row(found.identity))
        elif isinstance(found, Failed):
            table.add_row(cell.spec, cell.runner, cell.mode, found.cause, "", "", escape(found.reason.splitlines()[0]))
    out.print(table)
    raise typer.Exit(0 if proven else 1)


def _unsupported(found: object) -> bool:
    return isinstance(found, Failed) and found.cause is result.Cause.UNSUPPORTED


def _identity_row(found: Identity) -> tuple[str, str, str, str]:
    worst = max(found.checks, key=lambda c: float("inf") if c.error is None else c.error / c.bound, default=None)
    near = f"{worst.section} {worst.tensor}: {worst.error:.1e} of {worst.bound:.1e}" if worst and worst.error is not None else ""
    first = found.divergence
    diverged = f"{first.section}: {first.tensor}" if first else "none"
    return found.verdict, f"{found.compared:,}", escape(near), escape(diverged)


@app.command()
def doctor() -> None:
    """Say what this machine has: processor, frameworks, devices, compiler, data, disk."""
    table = _table("what", "found")
    here = environment.describe("core")
    table.add_row("suite", f"{__version__}, commit {here.commit or 'unknown'}")
    table.add_row("processor", f"{here.cpu}, {here.cores} cores, {here.memory_bytes / 2**30:.0f} GiB of memory")
    table.add_row("system", f"{here.system}, kernel {here.kernel}, Python {here.python}")
    table.add_row("C++ compiler", shutil.which("g++") or shutil.which("clang++") or "none: torch's compile mode is unsupported")
    table.add_row("disk", f"{shutil.disk_usage(run.ROOT).free / 1e9:.0f} GB free")
    cached = [item.name for item in data.available() if item.cached]
    table.add_row("data here", ", ".join(cached) or "none yet; `suite run` fetches what it needs")
    for token, seen in run.devices(base.tokens(), "cpu").items():
        table.add_row(token, escape(seen))
    out.print(table)


@app.command()
def schema() -> None:
    """Write the JSON Schema of a spec file, for editors, to benchmarks/spec.schema.json."""
    path = run.BENCHMARKS / "spec.schema.json"
    path.write_text(json.dumps(spec.json_schema(), indent=2) + "\n")
    out.print(f"written: {path}", soft_wrap=True)
