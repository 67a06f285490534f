"""The command ``suite``: parse, call, print.  ``outcome.STATUS`` says what the exit status means."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.markup import escape
from rich.text import Text

from suite import files
from suite.cli import assets, comparisons, display, explain, outcome, profiles, show
from suite.cli.about import ABOUT_BENCHMARK, ABOUT_DETERMINISTIC, ABOUT_PRECISION, ABOUT_RUNNER, ABOUT_THREADS
from suite.cli.display import err, out, say
from suite.compare import commits
from suite.data import store
from suite.errors import ResultError, RunError, SpecError, SuiteError
from suite.install import environments
from suite.machine import doctor, environment
from suite.meters import nvml
from suite.results import records
from suite.results.questions import QuestionKind
from suite.run import conductor, fit, plan, proof_cache, session
from suite.run import folder as folders
from suite.run.plan import Plan
from suite.runners import base
from suite.spec import paths, resolved
from suite.spec.precision import TIMED

INTERRUPTED = 130
PROOF_SECONDS = 3600
"""Time limit of one proof: that of ResNet-50 takes minutes, because the reference is NumPy."""
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="One benchmark spec, every framework, and proof that it was the same benchmark.\n\n"
    "Start with [bold]suite doctor[/], which says what this machine has. Then [bold]suite run[/] compares the "
    "frameworks in about seven minutes and writes a report. [bold]suite COMMAND --help[/] says more.",
    epilog="Exit status: " + "; ".join(f"[bold]{status}[/] {words}" for status, words in outcome.STATUS.items()) + ".",
)
app.add_typer(assets.data_app, name="data")
app.add_typer(assets.weights_app, name="weights")

ABOUT_PROFILE = "how much to measure: a name from benchmarks/profiles, or the path of a YAML file"
ABOUT_DEVICE = "cpu or cuda; replaces the profile's device"


def main() -> int:
    """Run a command and return its exit status.  A mistake of the caller's prints a sentence, never a traceback."""
    if os.environ.get("PARITY_DATA"):
        os.environ["PARITY_DATA"] = str(store.root())  # trials have another current folder
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, _interrupt)  # as good as Ctrl-C: trials are stopped, not left behind
    try:
        status = int(app(prog_name="suite", standalone_mode=False) or 0)
    except SuiteError as error:
        display.complain(error)
        return 1 if isinstance(error, RunError) else 2
    except Exception as error:
        usage = getattr(error, "exit_code", None)
        if usage is None:
            raise
        error.show()  # type: ignore[attr-defined]  # errors in the use of a command print themselves
        return int(usage)
    if status == INTERRUPTED:
        err.print("\nInterrupted. What is finished is kept; the same `suite run` goes on from there.")
    return status


def _interrupt(number: int, frame: object) -> NoReturn:  # noqa: ARG001 - a signal handler's signature
    raise KeyboardInterrupt


@app.command("list")
def list_() -> None:
    """List the benchmarks. `suite show` says more about each."""
    out.print(display.catalogue(session.find(session.catalogue()).asked))


@app.command("show")
def show_(
    benchmark: Annotated[str, typer.Argument(help=ABOUT_BENCHMARK)],
    as_json: Annotated[bool, typer.Option("--json", help="as JSON, one object for each case")] = False,
) -> None:
    """Show everything about a benchmark: its layers, fields and defaults, and where the frameworks' own APIs differ.

    To show what such a difference does, the reference trains ten steps, which takes seconds.
    When several cases are shown at once, it does so only for small ones.
    """
    asked = session.find((benchmark,)).asked
    for found in asked:
        if as_json:
            sys.stdout.write(found.model_dump_json(indent=2) + "\n")
        else:
            show.benchmark(found, len(asked))


@app.command("run")
def run_(
    profile: Annotated[str, typer.Argument(help=ABOUT_PROFILE)] = "quick",
    benchmark: Annotated[
        list[str] | None,
        typer.Option("--benchmark", "-b", help=f"replaces the profile's benchmarks: {ABOUT_BENCHMARK}"),
    ] = None,
    runner: Annotated[
        list[str] | None, typer.Option("--runner", "-r", help=f"replaces the profile's frameworks: {ABOUT_RUNNER}")
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(min=0, help="how often to measure everything; ranking needs at least five, and 0 only proves"),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=1, help="fit the profile into a time; what is left out for it is told")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="train at most this many epochs")] = None,
    device: Annotated[str | None, typer.Option(help=ABOUT_DEVICE)] = None,
    deterministic: Annotated[bool | None, typer.Option("--deterministic", help=ABOUT_DETERMINISTIC)] = None,
    threads: Annotated[int | None, typer.Option(min=1, help=f"{ABOUT_THREADS}; else the profile's")] = None,
    precision: Annotated[
        list[str] | None, typer.Option("--precision", help=f"replaces the profile's precisions: {ABOUT_PRECISION}")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="print the trials and the predicted time, but run nothing")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="measure finished trials again; their old results are set aside")
    ] = False,
    reports: Annotated[Path, typer.Option(help="where the run's folder is made")] = session.REPORTS,
) -> None:
    """Compare the frameworks: prove that they compute the same, measure them in turns, write a report.

    Press Ctrl-C at any time: the same command finds what is finished and goes on from there.

    The exit status is 1 if a trial failed or a benchmark could not be compared.
    A training that diverged is not a failure: the report names its seed and epoch.
    """
    wanted = profiles.profile(
        profile, benchmarks=paths.benchmarks(benchmark), runners=profiles.runners(runner or []), rounds=rounds,
        epochs=epochs, device=device, deterministic=deterministic, threads=threads, precisions=tuple(precision or ()),
    )  # fmt: skip
    command = shlex.join(["suite", *sys.argv[1:]])
    if minutes is not None:
        wanted, left_out = fit.fitted(wanted, minutes * 60, session.draft)
        _tell(left_out)
    if dry_run:
        made = session.draft(wanted, command)
        _tell(made.notes)
        out.print(display.trials(made))
        say(f"{len(made.entries)} entries, {display.lasting(made, made.entries)}; run {made.id}")
        say(f"{display.threads(made.threads)}; this process may use {environment.cores()}")
        return
    folder, made = session.prepare(wanted, reports.resolve(), command, lambda line: say(f"data: {line}"))
    _tell(made.notes)
    _measure(folder, made, again=again)
    raise typer.Exit(_report(folder, point=reports.resolve() / "latest"))


def _tell(notes: tuple[str, ...]) -> None:
    for note in notes:
        out.print(f"[yellow]note[/] {escape(note)}", soft_wrap=True)


def _measure(folder: Path, made: Plan, *, native: bool = True, again: bool = False) -> None:
    """Do what is left of a run, and say how it goes.  If not ``native``, frameworks come from their containers."""
    with folders.locked(folder / "session.lock", wait=False) as mine:
        if mine is None:
            raise RunError("this run is under way already", where=str(folder), way_out="Wait for it, or stop it.")
        if again and (folder / "results").exists():
            (folder / "results").rename(folder / f"results-{len(list(folder.glob('results-*'))) + 1}")
        if moved := folders.resume(folder, made):
            say(f"{moved} results of turns that were broken off, or failed, are set aside; these are done again whole.")
        left = conductor.left_to_do(folder, made)
        if not left:
            hint = "; `--again` measures them again" if made.profile.rounds else ""
            say(f"All {len(made.entries)} entries are finished already{hint}.")
            if not native:  # frameworks that have come are told to go
                display.follow(conductor.conduct(folder, made, None))
            return
        interpreters = session.pythons(made.runners) if native else None
        if interpreters is not None and made.profile.device == "cuda":  # every framework computes on a processor
            asked = session.devices(tuple(interpreters), made.profile.device)
            for token, answer in asked.items():
                out.print(f"[bold]{token}[/] {escape(answer.said)}", soft_wrap=True)
            _tell(session.unfit(asked, made.profile.device))
        lasting = display.lasting(made, left)
        say(f"{len(left)} of {len(made.entries)} entries to do, {lasting}, into {folder}")
        with contextlib.closing(conductor.conduct(folder, made, interpreters)) as progress:
            report = outcome.Renewed(folder)
            display.follow(report.following(progress), lambda: report.answer)


def _report(folder: Path, *sources: Path, point: Path | None = None) -> int:
    """Write a run's report, show its answer, and let the link ``point`` lead to it; returns the exit status."""
    status = outcome.report_of(folder, *sources)
    if point is not None:
        with contextlib.suppress(OSError):  # not every file system has links, and a folder of that name stays
            session.point(point, folder)
    return status


@app.command(rich_help_panel="For containers")
def prepare(
    profile: Annotated[str, typer.Argument(help=ABOUT_PROFILE)] = "standard",
    device: Annotated[str | None, typer.Option(help=ABOUT_DEVICE)] = None,
    threads: Annotated[int | None, typer.Option(min=1, help=f"{ABOUT_THREADS}; else the profile's")] = None,
    reports: Annotated[Path, typer.Option(help="where the run's folder is made")] = session.REPORTS,
) -> None:
    """Fetch the data and make the plan, or find an unfinished run of the same plan. Then it can be conducted.

    The link .compose in the folder of reports leads to the run.
    `python -m suite.run.parent reports/.compose TOKEN` starts the parent of one framework's processes.
    `suite conduct reports/.compose` measures, and writes the report.
    """
    session.refuse_unwritable(reports)
    command = os.environ.get("PARITY_COMMAND") or shlex.join(["suite", *sys.argv[1:]])
    wanted = profiles.profile(profile, device=device, threads=threads)
    folder, made = session.prepare(wanted, reports.resolve(), command, lambda line: say(f"data: {line}"), shared=True)
    _tell(made.notes)
    with folders.locked(folder / "session.lock", wait=False) as mine:
        if mine is None:
            raise RunError("this run is under way already", where=str(folder), way_out="Wait for it, or stop it.")
    left = conductor.left_to_do(folder, made)
    say(f"{len(left)} of {len(made.entries)} entries to do, {display.lasting(made, left)}, into {folder}")
    session.point(reports.resolve() / ".compose", folder)


@app.command(rich_help_panel="For containers")
def conduct(folder: Annotated[Path, typer.Argument(help="a run's folder, or a link to it")]) -> None:
    """Measure a run whose frameworks come from their own containers, then write the report."""
    folder = folder.resolve()
    _measure(folder, plan.read(folder), native=False)
    raise typer.Exit(_report(folder, point=folder.parent / "latest"))


@app.command("report")
def report_(
    folder: Annotated[Path, typer.Argument(help="a run's folder; the latest by default")] = session.REPORTS / "latest",
    more: Annotated[
        list[Path] | None,
        typer.Argument(
            help="what to merge into it: folders of other runs, result files, JSON files of pytest-benchmark"
        ),
    ] = None,
) -> None:
    """Make a run's report again from its results, and merge other results into it."""
    own = (folder / "results").is_dir() or any(folder.glob("*.json"))
    if not own and not more:
        raise ResultError("holds no results", where=str(folder), way_out="`suite run` makes some.")
    raise typer.Exit(_report(folder.resolve(), *([folder.resolve()] if own else []), *(more or [])))


@app.command()
def identity(
    benchmark: Annotated[list[str] | None, typer.Argument(help=ABOUT_BENCHMARK)] = None,
    all_: Annotated[bool, typer.Option("--all", help="the whole catalogue; ResNet-50 takes long")] = False,
    runner: Annotated[
        list[str] | None, typer.Option("--runner", "-r", help=f"{ABOUT_RUNNER}; every framework that is installed")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    deterministic: Annotated[bool, typer.Option("--deterministic", help=ABOUT_DETERMINISTIC)] = False,
    threads: Annotated[int | None, typer.Option(min=1, help=f"{ABOUT_THREADS}; all cores by default")] = None,
    precision: Annotated[
        list[str] | None, typer.Option("--precision", help=f"{ABOUT_PRECISION}; float32 by default")
    ] = None,
    reports: Annotated[Path, typer.Option(help="where the proofs are kept")] = session.REPORTS,
) -> None:
    """Prove that every framework and mode computes what the reference defines, and print the verdicts.

    Nothing is timed, and no data is needed. Benchmarks that compute the same share one proof.
    A proof that this run or another has made is kept as long as nothing that it depends on has changed.
    """
    if bool(benchmark) is all_:
        raise SpecError("identity takes benchmarks or --all", way_out="`suite list` names them.")
    every = environments.chosen(environment.ROOT)
    wanted = profiles.valid(
        {
            "name": "identity", "benchmarks": session.catalogue() if all_ else paths.benchmarks(benchmark), "rounds": 0,
            "runners": profiles.runners(runner or every), "seeds": (0,), "device": device,
            "deterministic": deterministic, "threads": threads, "timeout_seconds": PROOF_SECONDS,
            "precisions": tuple(precision or (TIMED,)),
        }
    )  # fmt: skip
    folder, made = session.prepare(wanted, reports.resolve(), "", lambda line: say(f"data: {line}"))
    _tell(made.notes)
    if taken := proof_cache.take_over(folder, made):
        say(f"{taken} proofs are there already, and nothing that they depend on has changed.")
    _measure(folder, made)
    refused: list[ResultError] = []
    found = records.read_all(folder / "results", refused.append)
    out.print(display.identities(found))
    say("")
    for line in display.coverage(made, found):
        say(line)
    say(f"proofs: {folder / 'results'}")
    for error in refused:
        err.print(escape(str(error)), soft_wrap=True)
    raise typer.Exit(0 if not refused and all(outcome.well(each) for each in found) else 1)


@app.command("compare")
def compare_(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(help="the folders of two finished runs, A and B: this informs and fails nothing"),
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="the commit, branch or tag to measure the working tree against, in turns")
    ] = None,
    benchmark: Annotated[
        list[str] | None, typer.Option("--benchmark", "-b", help=f"{ABOUT_BENCHMARK}; digits-mlp by default")
    ] = None,
    runner: Annotated[
        list[str] | None, typer.Option("--runner", "-r", help=f"{ABOUT_RUNNER}; torch:eager and tf:graph by default")
    ] = None,
    question: Annotated[
        list[QuestionKind] | None, typer.Option("--question", "-q", help="time only this; may be repeated")
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(min=1, help="the most, in fresh processes on both sides; a verdict needs at least five"),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help=f"with --against, {ABOUT_THREADS}; 1 by default")] = None,
) -> None:
    """Find out whether something became slower: the working tree against a commit, or one stored run against another.

    With --against rounds end when all is decided: slower, if the lower bound of the ratio of times is above 1.02, or
    not slower, if the upper bound is not above 1.05. The exit status is 1 if anything is slower.
    """
    if against is not None and not runs:
        cells = {"benchmarks": paths.benchmarks(benchmark), "runners": profiles.runners(runner or []), "rounds": rounds}
        wanted = profiles.profile("compare", **cells, threads=threads)
        rows = commits.against(against, wanted, question or (), say)
        say("")
        out.print(comparisons.two_commits(commits.told(rows)))
        say("")
        display.sentence(Text(commits.rule(rows, wanted)))
        raise typer.Exit(commits.status(rows))
    if against is not None or len(runs or ()) != 2:
        way_out = "Give --against COMMIT, or the folders of two runs."
        raise SpecError("compare takes either a commit or two runs", way_out=way_out)
    raise typer.Exit(outcome.two_runs(runs or ()))


app.command("explain")(explain.explain_)


@app.command("doctor")
def doctor_(
    device: Annotated[
        str | None,
        typer.Option(
            help="check only cpu or cuda; the exit status is 1 if not all frameworks compute there, 2 if none does"
        ),
    ] = None,
) -> None:
    """Show what this machine has: processor, GPU, frameworks and what they compute on, compiler, data, disk."""
    rows = [(what, seen) for what, seen in doctor.machine().items()]
    asked = (device,) if device else ("cpu", "cuda") if nvml.gpus() else ("cpu",)
    left_out = {*environments.frameworks(environment.ROOT)} - {*environments.chosen(environment.ROOT)}
    answers = {name: session.devices(tuple(t for t in base.tokens() if t not in left_out), name) for name in asked}
    for name, found in answers.items():
        for token, answer in found.items():
            rows.append((f"{token} on {name}", answer.said if answer.well else f"no: {answer.said}"))
    out.print(display.two_columns("what", "found", rows))
    if device:
        notes = session.unfit(answers[device], device)
        raise typer.Exit(1 if notes else 0)


@app.command()
def schema() -> None:
    """Write the JSON Schema of benchmark files to benchmarks/spec.schema.json, for editors that check as you type."""
    path = session.BENCHMARKS / "spec.schema.json"
    files.write_bytes(path, (json.dumps(resolved.json_schema(), indent=2) + "\n").encode())
    say(f"written: {path}")
