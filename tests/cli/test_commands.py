"""Every command, what it exits with, and that a caller's mistake is a sentence and never a traceback."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer.main

from suite.cli import commands, display
from suite.cli.commands import app, main
from suite.data import datasets
from suite.errors import DataError
from suite.install import environments
from suite.machine import environment
from suite.machine.environment import ROOT
from suite.results.records import Cause, Failed, read, read_all
from suite.run import conductor, plan, session
from suite.run.folder import locked
from suite.run.trials import record_failure, run_trial, trial_environment
from tests.support import own, runs, timings
from tests.support.frameworks import MODES

PROFILE = """
name: test
benchmarks: [{spec}]
runners: {{reference: [numpy]}}
rounds: 1
seeds: [0]
laps: 2
lap_milliseconds: 0.5
control: false
epochs: 1
latency_samples: 3
"""


@dataclass(frozen=True)
class Said:
    """How a command ended and what it said."""

    status: int
    out: str
    err: str

    @property
    def all(self) -> str:
        return " ".join((self.out + self.err).split())


Suite = Callable[..., Said]


@pytest.fixture
def suite(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Suite]:
    """The command, in this process."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for console in (display.out, display.err):
        monkeypatch.setattr(console, "width", 200)

    def call(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["suite", *map(str, arguments)])
        status = main()
        return Said(status, *capfd.readouterr())

    yield call
    for number, handler in handlers.items():
        signal.signal(number, handler)


def profile(folder: Path, *, spec: str = runs.SPEC) -> Path:
    """A profile of one tiny benchmark, as small as can be."""
    (folder / "tiny.yaml").write_text(spec)
    path = folder / "profile.yaml"
    path.write_text(PROFILE.format(spec=folder / "tiny.yaml"))
    return path


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / "results").iterdir()}


COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "words", [[], *([name] for name in COMMANDS), ["data", "list"], ["data", "fetch"], ["weights", "import"]]
)
def test_every_command_explains_itself(suite: Suite, words: list[str]) -> None:
    said = suite(*words, "--help")
    assert said.status == 0
    assert " ".join(["Usage: suite", *words]) in said.all


def test_every_argument_and_option_is_explained(suite: Suite) -> None:
    group = typer.main.get_command(app)
    inner = [command for name in ("data", "weights") for command in group.commands[name].commands.values()]  # type: ignore[attr-defined]
    commands = [*group.commands.values(), *inner]  # type: ignore[attr-defined]
    silent = [(c.name, p.name) for c in commands for p in c.params if not getattr(p, "help", None)]
    assert silent == []
    assert all(command.help for command in commands)


def test_the_command_alone_says_where_to_begin(suite: Suite) -> None:
    said = suite()
    assert said.status == 2
    assert "Start with suite doctor" in said.all


def test_benchmarks_are_listed(suite: Suite) -> None:
    said = suite("list")
    assert said.status == 0
    for path in (session.BENCHMARKS / "specs").glob("*.yaml"):
        assert path.stem in said.out


def test_a_benchmark_is_shown_to_people_and_to_programs(suite: Suite) -> None:
    told = suite("show", "digits-mlp")
    assert (told.status, told.err) == (0, "")
    assert "dense_1" in told.out
    assert "beta_2: 0.999" in told.out
    fields = json.loads(suite("show", "digits-mlp", "--json").out)
    assert (fields["name"], fields["optimizer"]["beta_2"]) == ("digits-mlp", 0.999)
    assert "mnist-mlp-128/pytorch-recipe" in suite("show", "mnist-mlp-128/pytorch-recipe").out


def test_data_sets_are_listed_and_fetched(suite: Suite) -> None:
    assert (suite("data", "fetch", "digits").status, datasets.load("digits").test_labels.size) == (0, 360)
    said = suite("data", "list")
    assert said.status == 0
    assert "1,437 + 360" in said.out
    assert "npz:PATH" in said.out


def test_the_catalogue_says_where_a_benchmark_comes_from_and_what_it_takes(suite: Suite) -> None:
    lines = {words[0]: line for line in suite("list").out.splitlines() if (words := line.split())}
    assert lines["benchmark"].split()[:6] == ["benchmark", "data", "parameters", "FLOPs", "epochs", "claims"]
    assert "Project 1: Training a Simple Neural Network with GPU (course notebook)" in lines["Project"]
    words = lines["mnist-mlp-128/tensorflow-recipe"].split()
    assert {"mnist", "101,770", "203", "k", "5", "2"} <= {*words}, words


def test_a_dry_run_prints_the_trials_and_leaves_nothing(suite: Suite, tmp_path: Path) -> None:
    said = suite("run", profile(tmp_path), "--rounds", 2, "--reports", tmp_path / "reports", "--dry-run")
    assert said.status == 0
    assert "r00-00-reference" in said.out
    assert "4 entries, under a minute; run test-" in said.out
    assert not (tmp_path / "reports").exists()


def test_options_take_the_place_of_the_profiles_fields(suite: Suite, tmp_path: Path) -> None:
    words = "-r", "torch:eager", "-r", "torch:compile", "-r", "null", "-b", "digits-mlp", "-b", "digits-cnn"
    said = suite("run", profile(tmp_path), *words, "--rounds", 0, "--dry-run")
    assert said.status == 0
    assert "digits-mlp (eager, compile), digits-cnn (eager, compile)" in said.all
    assert "digits-mlp (null), digits-cnn (null)" in said.all, "it is proven if it is asked for"
    assert "reference" not in said.out


def test_a_run_goes_from_the_question_to_the_report(suite: Suite, tmp_path: Path) -> None:
    """Then: asked again it changes nothing; `--again` measures anew; one that is under way is left alone."""
    reports = tmp_path / "reports"
    words = "run", profile(tmp_path), "--reports", reports
    first = suite(*words)
    assert first.status == 0, first.all
    assert "3 of 3 entries to do" in first.out
    assert "proving, reference: tiny" in first.out or "round 1 of 1" in first.out
    folder = (reports / "latest").resolve()
    assert (reports / "latest").is_symlink()
    assert (folder / "report.md").read_text().startswith("# Parity Suite report")
    assert plan.read(folder).command == f"suite run {words[1]} --reports {reports}"
    before = stamps(folder)
    assert len(before) == 4, "a proof, a training, and the turns of two"

    second = suite(*words)
    assert second.status == 0
    assert "All 3 entries are finished already" in second.out
    assert stamps(folder) == before

    with locked(folder / "session.lock"):
        busy = suite(*words, "--again")
    assert busy.status == 1
    assert "under way already" in busy.err
    assert stamps(folder) == before

    assert suite(*words, "--again").status == 0
    assert stamps(folder).keys() == before.keys()
    assert not stamps(folder).items() & before.items()
    assert {path.name for path in (folder / "results-1").iterdir()} == before.keys()

    made = plan.read(folder)
    failing = next(entry for entry in made.entries if entry.kind == "measure" and entry.runner == "reference")
    (folder / "results" / failing.file(failing.cells[0])).unlink()
    record_failure(folder, made, failing, failing.cells, Cause.CRASHED, "the roof fell in")
    after = suite(*words)
    assert after.status == 1, "a trial that failed makes the exit status 1"
    assert "the roof fell in" in (folder / "report.md").read_text()


WAYS = {
    "absolute": "{study}/specs/child.yaml",
    "relative": "../study/specs/child.yaml",
    "home": "~/study/specs/child.yaml",
    "link": "linked.yaml",
}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_shown_is_proven_and_planned_however_its_path_is_written(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    study, elsewhere = own.study(tmp_path / "study"), tmp_path / "else where"
    elsewhere.mkdir()
    (elsewhere / "linked.yaml").symlink_to(study / "specs" / "child.yaml")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(elsewhere)
    name = WAYS[way].format(study=study)
    shown = suite("show", name)
    assert shown.status == 0, shown.all
    assert f"npz:{study}/data/own.npz" in shown.out
    words = "-r", "reference", "--reports", tmp_path / "reports"
    proven = suite("identity", name, *words)
    assert proven.status == 0, proven.all
    assert "child reference, numpy identical" in proven.all
    planned = suite("run", study / "profile.yaml", "-b", name, "--dry-run")
    assert planned.status == 0, planned.all
    assert planned.out.splitlines()[-1] == suite("run", "../study/profile.yaml", "--dry-run").out.splitlines()[-1]


def test_a_run_takes_ones_own_files_from_wherever_it_is_called(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trials have a current folder of their own.  Data that change under a run fail in words, and the rest goes on."""
    study, elsewhere = own.study(tmp_path / "study: a, b"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("PARITY_DATA", "cache")
    words = "run", "../study: a, b/profile.yaml", "--reports", "reports"
    said = suite(*words)
    assert said.status == 0, said.all
    folder = (elsewhere / "reports" / "latest").resolve()
    records = [read(path) for path in folder.glob("results/*.json")]
    assert len(records) == 8
    assert {record.spec.dataset for record in records} == {"npz:own.npz"}
    assert os.environ["PARITY_DATA"] == str(elsewhere / "cache")

    made = plan.read(folder)
    own.arrays(study / "data" / "own.npz", seed=1)
    last = next(entry for entry in made.entries if entry.kind == "measure" and entry.runner == "reference")
    (folder / "results" / last.file(last.cells[0])).unlink()
    run_trial(folder, made, last)
    failed = read(folder / "results" / last.file(last.cells[0]))
    assert isinstance(failed, Failed)
    assert "is not the data set that the run was planned with: its digest is" in failed.reason
    assert str(study / "data" / "own.npz") in failed.reason


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with all its results, made once."""
    folder = tmp_path_factory.mktemp("finished")
    made = runs.make(folder, rounds=1)
    runs.conduct(folder, made)
    return folder


HOSTILE: dict[str, Callable[[str], str]] = {
    "truncated": lambda text: text[: len(text) // 2],
    "nan": lambda text: text.replace('"seconds":', '"seconds": NaN, "ignored":', 1),
    "doubled": lambda text: text.replace('"entry":', '"entry": "r09", "entry":', 1),
    "deep": lambda text: "[" * 100_000,
    "schema": lambda text: text.replace('"schema_version": 5', '"schema_version": 99', 1),
    "empty": lambda text: "",
}


def test_a_report_is_made_beside_files_that_are_no_results(suite: Suite, tmp_path: Path, finished: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    source = next(folder.glob("results/r01-*reference*"))
    text = source.read_text()
    for name, spoil in HOSTILE.items():
        assert spoil(text) != text
        (folder / "results" / f"{name}.json").write_text(spoil(text))
    (folder / "results" / "copied.json").write_text(text)
    said = suite("report", folder)
    assert said.status == 0, said.all
    assert "Traceback" not in said.all
    report = (folder / "report.md").read_text()
    assert "Files refused, and listed below: 6" in report
    assert [name for name in HOSTILE if f"{name}.json" not in report] == []
    assert "2 files" in report, "the copy"


def test_a_report_takes_other_results_and_files_of_pytest_benchmarks(
    suite: Suite, tmp_path: Path, finished: Path
) -> None:
    file = tmp_path / "torch.json"
    file.write_text(json.dumps(timings.file(timings.timing())))
    said = suite("report", tmp_path / "merged", finished, file)
    assert said.status == 0, said.all
    report = (tmp_path / "merged" / "report.md").read_text()
    assert "## pytest-benchmark" in report
    assert "reference" in report.split("## Environment")[1]
    assert suite("report", tmp_path / "merged", tmp_path / "absent").status == 1


@pytest.mark.parametrize("name", HOSTILE)
def test_a_trial_whose_result_is_spoilt_makes_the_report_fail(
    suite: Suite, tmp_path: Path, finished: Path, name: str
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    path = next(folder.glob("results/r01-*reference*--s0.json"))
    path.write_text(HOSTILE[name](path.read_text()))
    said = suite("report", folder)
    assert said.status == 1
    assert "Traceback" not in said.all
    assert path.name in (folder / "report.md").read_text()


MISTAKES: dict[str, tuple[list[str], str]] = {
    "command": (["rnu"], "No such command 'rnu'"),
    "option": (["list", "--zork"], "No such option"),
    "number": (["run", "--rounds", "many"], "Invalid value for '--rounds'"),
    "negative": (["run", "--rounds", "-1"], "Invalid value for '--rounds'"),
    "profile": (["run", "slow"], "no profile 'slow'"),
    "benchmark": (["run", "-b", "zork"], "no benchmark 'zork'"),
    "long": (["run", "-b", "z" * 5000], "benchmarks"),
    "rather long": (["run", "-b", "z" * 300], "no benchmark 'zzz"),
    "case": (["show", "mnist-mlp-128/zork"], "no case 'zork'"),
    "runner": (["run", "-r", "zork"], "no runner 'zork'"),
    "mode": (["run", "-r", "torch:fast"], "no mode 'fast'"),
    "empty mode": (["run", "-r", "torch:eager,"], "no mode ''"),
    "no profile file": (["run", "{folder}/none.yaml"], "none.yaml: cannot be read"),
    "no spec file": (["show", "{folder}/none.yaml"], "none.yaml: cannot be read"),
    "bad YAML": (["show", "{folder}/bad.yaml"], "is not valid YAML"),
    "bad profile": (["run", "{folder}/bad.yaml"], "is not valid YAML"),
    "nothing to prove": (["identity"], "takes benchmarks or --all"),
    "too much to prove": (["identity", "digits-mlp", "--all"], "takes benchmarks or --all"),
    "tuning": (["run", "{folder}/tuned.yaml", "--dry-run"], "no inference option 'zork'"),
    "circle": (["run", "-b", "{folder}/circle.yaml", "--dry-run"], "starts_from: leads in a circle"),
    "no weights file": (["weights", "import", "resnet50", "{folder}/none.pth"], "none.pth"),
    "wrong field": (["identity", "{folder}/wrong.yaml"], "batch_sise"),
    "data": (["data", "fetch", "zork"], "no data set is called 'zork'"),
    "own data": (["data", "fetch", "npz:{folder}/none.npz"], "none.npz"),
    "own data of a benchmark": (["show", "{folder}/orphan.yaml"], "orphan.yaml: dataset: {folder}/none.npz"),
    "own data of a run": (["run", "{folder}/profile.yaml", "-b", "{folder}/orphan.yaml"], "orphan.yaml: dataset: "),
    "own data of a proof": (["identity", "{folder}/orphan.yaml"], "orphan.yaml: dataset: "),
    "own data of a dry run": (["run", "-b", "{folder}/orphan.yaml", "--dry-run"], "orphan.yaml: dataset: "),
    "own data against a commit": (
        ["compare", "--against", "HEAD", "-b", "{folder}/orphan.yaml"],
        "orphan.yaml: dataset: ",
    ),
    "own data in containers": (["prepare", "{folder}/orphans.yaml", "--reports", "{folder}"], "orphan.yaml: dataset: "),
    "parent shown": (["show", "{folder}/stray.yaml"], "stray.yaml: tiny: starts_from: there is no benchmark 'zork'"),
    "parent proven": (
        ["identity", "{folder}/stray.yaml"],
        "stray.yaml: tiny: starts_from: there is no benchmark 'zork'",
    ),
    "circle shown": (["show", "{folder}/circle.yaml"], "starts_from: leads in a circle"),
    "folder": (["show", "{folder}/folder.yaml"], "folder.yaml: cannot be read (it is a folder)"),
    "report": (["report", "{folder}"], "holds no results"),
    "no report": (["report", "{folder}/none"], "holds no results"),
    "no environment": (["run", "{folder}/profile.yaml", "-r", "torch", "--reports", "{folder}"], "`make envs`"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_a_sentence_and_exit_status_2(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mistake: str
) -> None:
    monkeypatch.setattr(session, "ENVIRONMENTS", tmp_path / "envs")
    profile(tmp_path)
    (tmp_path / "bad.yaml").write_text("name: [")
    (tmp_path / "wrong.yaml").write_text(runs.SPEC.replace("batch_size", "batch_sise"))
    (tmp_path / "tuned.yaml").write_text(PROFILE.format(spec="digits-mlp") + "tunings: [zork]\n")
    (tmp_path / "circle.yaml").write_text(runs.SPEC + "starts_from: tiny\n")
    (tmp_path / "stray.yaml").write_text(runs.SPEC + "starts_from: zork\n")
    (tmp_path / "orphan.yaml").write_text(runs.SPEC.replace("dataset: digits", "dataset: npz:none.npz"))
    (tmp_path / "orphans.yaml").write_text(PROFILE.format(spec="orphan.yaml"))
    (tmp_path / "folder.yaml").mkdir()
    words, sentence = MISTAKES[mistake]
    said = suite(*(word.format(folder=tmp_path) for word in words))
    assert said.status == 2, said.all
    assert sentence.format(folder=tmp_path) in " ".join(said.err.split())
    assert "Traceback" not in said.all
    assert len(said.err.splitlines()) <= 4


@pytest.mark.parametrize("command", [["report"], ["compare", "{good}"]], ids=lambda words: words[0])
def test_a_folder_without_one_readable_result_is_an_error(
    suite: Suite, tmp_path: Path, finished: Path, command: list[str]
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    for path in (folder / "results").iterdir():
        path.write_text("{")
    said = suite(*(word.format(good=finished) for word in command), folder)
    assert said.status == 2, said.all
    assert "holds no result that can be read" in said.err
    assert "r00-00-reference" in said.err, "the first file that was refused, and why"
    assert "Traceback" not in said.all
    assert not (folder / "report.md").exists()


def test_the_exit_status_is_explained_where_help_is_looked_for(suite: Suite) -> None:
    said = suite("--help").all
    assert "Exit status: 0 all went well" in said
    assert "130 interrupted" in said
    page = (ROOT / "docs" / "running.md").read_text(encoding="utf-8").partition("## What the exit status means")[2]
    assert [command for command in ("`run`", "`identity`", "`compare", "`doctor ", "130 ") if command not in page] == []


def test_a_benchmark_that_is_left_out_is_told_at_the_end_and_makes_the_status_1(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its data cannot be had; the other benchmark runs all the same."""

    def fetch(name: str, *_: object) -> Path:
        if name == "mnist":
            raise DataError("no mirror answers")
        return original(name, *_)  # type: ignore[arg-type]

    original = datasets.fetch
    monkeypatch.setattr(datasets, "fetch", fetch)
    both = "-b", tmp_path / "tiny.yaml", "-b", "mnist-sgd"
    said = suite("run", profile(tmp_path), *both, "-r", "reference", "--rounds", 1, "--reports", tmp_path / "reports")
    assert said.status == 1, said.all
    assert "mnist-sgd everything" in said.all
    assert "left out" in said.all
    assert "has no valid number: mnist-sgd (left out)." in said.all
    head = (tmp_path / "reports" / "latest" / "report.md").read_text().split("## The answer")[0]
    assert "mnist-sgd" in head


def test_the_reference_proves_itself(suite: Suite, tmp_path: Path) -> None:
    """A proof that is spoilt afterwards is no proof: it is set aside and made again."""
    spec = tmp_path / "tiny.yaml"
    spec.write_text(runs.SPEC)
    words = "identity", spec, "--runner", "reference", "--reports", tmp_path
    said = suite(*words)
    assert said.status == 0, said.all
    assert "tiny reference, numpy identical" in said.all
    assert "proofs: " in said.out
    assert not (tmp_path / "latest").exists()
    (path,) = tmp_path.glob("identity-*/results/*.json")
    path.write_text(path.read_text()[:100])
    again = suite(*words)
    assert again.status == 0
    assert "1 results of turns" in again.out
    assert path.stat().st_size > 100
    assert len(list(path.parent.parent.glob("superseded/*"))) == 1


def test_a_proof_is_not_made_again_for_another_run(suite: Suite, tmp_path: Path) -> None:
    specs = [tmp_path / f"{name}.yaml" for name in ("tiny", "other")]
    for path, units in zip(specs, (8, 9), strict=True):
        path.write_text(runs.SPEC.replace("name: tiny", f"name: {path.stem}").replace("[8]", f"[{units}]"))
    words = "--runner", "reference", "--reports", tmp_path
    assert "there already" not in suite("identity", specs[0], *words).all
    said = suite("identity", *specs, *words)
    assert said.status == 0, said.all
    assert "1 proofs are there already" in said.all
    assert "2 proofs of 2 computations" in said.all


def all_unsupported(folder: Path, made: plan.Plan, **_: object) -> None:
    """In place of the trials."""
    for entry in made.entries:
        record_failure(folder, made, entry, entry.cells, Cause.UNSUPPORTED, "not on this machine")


def test_what_is_finished_needs_no_environment(suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on another machine than its frameworks are on."""
    monkeypatch.setattr(session, "ENVIRONMENTS", tmp_path / "none")
    (tmp_path / "tiny.yaml").write_text(runs.SPEC)
    words = "identity", tmp_path / "tiny.yaml", "-r", "torch:eager", "--reports", tmp_path
    assert "`make envs`" in suite(*words).err
    (folder,) = tmp_path.glob("identity-*")
    all_unsupported(folder, plan.read(folder))
    said = suite(*words)
    assert said.status == 0, said.all
    assert "All 1 entries are finished already" in said.all


def test_every_framework_is_proven_unless_one_is_named(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "_measure", all_unsupported)
    said = suite("identity", "digits-mlp", "--reports", tmp_path)
    here = [case for case in sorted(MODES) if case[0] in environments.chosen(environment.ROOT)]
    tokens = tuple(f"  {token}, " for token, _ in here)
    rows = [line.replace(",", "").split()[:3] for line in said.out.splitlines() if line.startswith(tokens)]
    assert {("tf", "session"), ("tf", "xla"), ("torch", "compile"), ("torch", "eager")} <= set(MODES)
    assert rows == [[runner, mode, "unsupported"] for runner, mode in here]
    assert said.status == 0, "what a machine cannot offer is no failure"


def test_the_whole_catalogue_is_proven_once_for_each_computation(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No data are fetched: a proof makes its own."""

    def refuse(*arguments: object) -> Path:
        raise AssertionError("fetched")

    monkeypatch.setattr(commands, "_measure", all_unsupported)
    monkeypatch.setattr(datasets, "fetch", refuse)
    said = suite("identity", "--all", "-r", "torch:eager", "--reports", tmp_path)
    assert said.status == 0, said.all
    specs = plan.choose(session.catalogue(), session.BENCHMARKS / "specs", datasets.describe)
    distinct = {each.computation for each in specs}
    assert len(distinct) < len(specs)
    proofs = [line for line in said.out.splitlines() if line.split()[:3] == ["torch,", "eager", "unsupported"]]
    assert len(proofs) == len(distinct)
    covered = {name.rstrip(",") for line in said.out.splitlines() if ": covers " in line for name in line.split()}
    assert {each.id for each in specs} <= covered | {name.rstrip(":") for name in covered}
    assert f"{len(distinct)} proofs of {len(distinct)} computations, for {len(specs)} benchmarks: " in said.all


def test_the_doctor_says_what_there_is(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = session.Answer(False, "the environment is missing")
    monkeypatch.setattr(session, "devices", lambda tokens, device: {"torch": missing})
    monkeypatch.setattr(shutil, "which", lambda name: None)
    said = suite("doctor")
    assert said.status == 0
    for word in (
        "processor",
        "GPU",
        "system",
        "disk",
        "torch on cpu no: the environment",
        "none: torch's compile mode",
    ):
        assert word in said.all


@pytest.mark.parametrize(("well", "status"), [((True, True), 0), ((True, False), 1), ((False, False), 2)])
def test_the_doctors_status_tells_how_many_compute_on_the_device_asked_for(
    suite: Suite, monkeypatch: pytest.MonkeyPatch, well: tuple[bool, bool], status: int
) -> None:
    found = {token: session.Answer(each, "said") for token, each in zip(("tf", "torch"), well, strict=True)}
    monkeypatch.setattr(session, "devices", lambda tokens, device: found if device == "cuda" else {})
    said = suite("doctor", "--device", "cuda")
    assert said.status == status
    assert "torch on cuda" in said.all


def test_device_and_determinism_make_another_plan(suite: Suite) -> None:
    options = ([], ["--device", "cuda"], ["--deterministic"])
    plans = {suite("run", "-b", "digits-mlp", "--dry-run", *more).out.splitlines()[-2] for more in options}
    assert len(plans) == 3


def test_threads_make_another_plan_and_are_told(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "cores", lambda: 4)
    asked = [
        suite("run", "-b", "digits-mlp", "--dry-run", *more).out.splitlines()[-2:] for more in ([], ["--threads", 1])
    ]
    assert asked[0][0] != asked[1][0]
    words = "in an operation, 1 operation at once; this process may use 4"
    assert [lines[1] for lines in asked] == [f"4 threads {words}", f"1 thread {words}"]


@pytest.mark.parametrize(
    "words",
    [
        ["run", "-b", "digits-mlp"],
        ["run", "-b", "digits-mlp", "--dry-run"],
        ["prepare", "quick"],
        ["identity", "digits-mlp"],
        ["compare", "--against", "HEAD"],
    ],
)
def test_more_threads_than_cores_are_a_mistake_before_anything_is_made(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    if "HEAD" in words and not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    monkeypatch.setattr(environment, "cores", lambda: 2)
    place = [] if words[0] == "compare" else ["--reports", tmp_path]
    said = suite(*words, "--threads", 3, *place)
    assert said.status == 2, said.all
    assert "more than the 2 cores" in said.err
    assert not list(tmp_path.iterdir())


def test_a_run_and_its_proofs_have_the_threads_that_were_asked_for(suite: Suite, tmp_path: Path) -> None:
    """Both in the records and in the environment from which NumPy takes them."""
    words = profile(tmp_path), "--threads", 1, "--reports", tmp_path / "reports"
    assert suite("run", *words).status == 0
    found = read_all((tmp_path / "reports" / "latest") / "results", pytest.fail)  # type: ignore[arg-type]
    assert {r.environment.threads_intra for r in found if r.environment} == {1}
    made = plan.read(tmp_path / "reports" / "latest")
    assert trial_environment(tmp_path, made)["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize("command", ["run", "identity"])
def test_a_device_that_there_is_not_is_refused(suite: Suite, command: str) -> None:
    said = suite(command, *(["digits-mlp"] if command == "identity" else []), "--device", "tpu")
    assert said.status == 2
    assert "device" in said.all
    assert "Traceback" not in said.all


def test_the_schema_is_written_where_editors_look_for_it(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed = (session.BENCHMARKS / "spec.schema.json").read_text()
    monkeypatch.setattr(session, "BENCHMARKS", tmp_path)
    assert suite("schema").status == 0
    assert (tmp_path / "spec.schema.json").read_text() == committed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_to_be_told_to_stop_is_an_interruption_unless_it_is_to_be_ignored(
    suite: Suite, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    def stop() -> None:
        os.kill(os.getpid(), number)

    monkeypatch.setattr(datasets, "available", lambda: stop() or [])
    signal.signal(number, signal.SIG_IGN)
    assert suite("data", "list").status == 0, "nohup asks for this"
    signal.signal(number, signal.SIG_DFL)
    said = suite("data", "list")
    assert (said.status, "Interrupted" in said.err) == (130, True)


def test_a_run_of_parents_goes_from_prepare_to_conduct(suite: Suite, tmp_path: Path) -> None:
    """As containers do it: the plan, a parent per runner who waits, the conductor, the report."""
    reports = tmp_path / "reports"
    reports.mkdir()
    said = suite("prepare", profile(tmp_path), "--reports", reports)
    assert said.status == 0
    assert "3 of 3 entries to do" in said.all
    link = reports / ".compose"
    parents = [
        subprocess.Popen([sys.executable, "-m", "suite.run.parent", link, token], cwd=ROOT)
        for token in ("reference", "null")
    ]
    done = suite("conduct", link)
    assert [parent.wait(30) for parent in parents] == [0, 0]
    assert done.status == 0, done.all
    assert (reports / "latest").resolve() == link.resolve()
    assert (link / "report.md").is_file()
    assert sorted(r.outcome for r in read_all(link / "results", pytest.fail)) == ["measured", "proof", "timed", "timed"]
    assert "0 of 3 entries to do" in suite("prepare", profile(tmp_path), "--reports", reports).all


def test_a_run_that_no_framework_comes_to_ends_in_words(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is lost: all is there to be done still."""
    monkeypatch.setattr(conductor, "ARRIVAL_SECONDS", 0.1)
    suite("prepare", profile(tmp_path), "--reports", tmp_path)
    said = suite("conduct", tmp_path / ".compose")
    assert said.status == 1
    assert "no framework came to be measured" in said.err
    assert "3 of 3 entries to do" in suite("prepare", profile(tmp_path), "--reports", tmp_path).all


def test_a_parent_whose_conductor_never_comes_ends_in_words(tmp_path: Path) -> None:
    runs.make(tmp_path)
    variables = {**os.environ, "PARITY_ARRIVAL_SECONDS": "0.1"}
    words = [sys.executable, "-m", "suite.run.parent", tmp_path, "null"]
    done = subprocess.run(words, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "no conductor came" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_that_is_under_way_is_not_prepared_again(suite: Suite, tmp_path: Path) -> None:
    suite("prepare", profile(tmp_path), "--reports", tmp_path)
    with locked(tmp_path / ".compose" / "session.lock"):
        for words in (("prepare", profile(tmp_path), "--reports", tmp_path), ("conduct", tmp_path / ".compose")):
            said = suite(*words)
            assert said.status == 1
            assert "this run is under way already" in said.all


def test_a_folder_of_reports_that_cannot_be_written_is_refused_with_the_way_out(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode, **_: mode == os.R_OK)
    said = suite("prepare", profile(tmp_path), "--reports", tmp_path)
    assert said.status == 1
    assert f"user {os.getuid()}" in said.all
    assert "PARITY_UID=$(id -u) PARITY_GID=$(id -g) docker compose up" in said.all
    assert not list(tmp_path.glob("test-*"))
