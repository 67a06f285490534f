"""A commit against another, in turns; and two stored runs, which only inform."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from suite.cli import commands
from suite.compare import commits, interpreters
from suite.compare import runs as stored
from suite.compare.commits import AgentProcess, Checkout, ComparedCell, ComparedRow, Comparison, Refused
from suite.data import datasets
from suite.errors import MachineError, RunError, SpecError
from suite.machine.environment import ROOT
from suite.report.evidence.comparison import NotRanked
from suite.report.evidence.merge import Evidence, merge
from suite.results.identity import Verdict
from suite.results.questions import Question, QuestionKind
from suite.run import session
from suite.run.plan import Plan
from suite.spec.resolved import digest
from suite.stats import Ratio, Slowdown, TooFew
from tests.support import own, results, runs

TRAINING = Question(QuestionKind.TRAINING)
Suite = Callable[..., tuple[int, str]]
SLOWED = "for _ in range(500): pass"
"""In place of the null runner's empty step: many times its cost."""


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "PAIRS", 4)
    monkeypatch.setattr(commits, "BLOCK_NS", 1_000_000)


@pytest.fixture
def copy(tmp_path: Path) -> Callable[..., Checkout]:
    """A checkout like ours, but for what stands in the null runner's step and the benchmark's batch size."""

    def made(name: str, step: str = '"""Nothing."""', batch_size: int = 32) -> Checkout:
        root = tmp_path / name
        shutil.copytree(ROOT / "suite", root / "suite", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(ROOT / "benchmarks" / "specs", root / "benchmarks" / "specs")
        null = root / "suite" / "runners" / "null" / "runner.py"
        text = null.read_text()
        assert text.count('"""Nothing."""') == 1
        null.write_text(text.replace('"""Nothing."""', step))
        spec = root / "benchmarks" / "specs" / "digits-mlp.yaml"
        spec.write_text(spec.read_text().replace("batch_size: 32", f"batch_size: {batch_size}"))
        return Checkout(name, root, {"null": Path(sys.executable)})

    return made


def planned(rounds: int = 5, modes: tuple[str, ...] = ("null",)) -> Plan:
    datasets.fetch("digits")
    changes = {"runners": {"null": ("null",)}, "benchmarks": ("digits-mlp",), "rounds": rounds}
    made = session.draft(runs.profile(**changes))
    return made.model_copy(update={"profile": made.profile.model_copy(update={"runners": {"null": modes}})})


def played(here: Checkout, there: Checkout, work: Path, **fields: object) -> tuple[ComparedRow, ...]:
    made = planned(**fields)  # type: ignore[arg-type]
    work.mkdir()
    return Comparison(made, commits.compared_cells(made), (TRAINING,), here, there, work).play(lambda line: None)


def test_the_side_that_became_slower_is_called_slower(copy: Callable[..., Checkout], tmp_path: Path) -> None:
    (row,) = played(copy("slow", SLOWED), copy("usual"), tmp_path / "work")
    assert isinstance(row.outcome, Slowdown)
    assert (row.outcome.verdict, row.outcome.rounds) == ("slower", 5)
    assert commits.status([row]) == 1


def test_a_ratio_is_that_of_here_to_there(copy: Callable[..., Checkout], tmp_path: Path) -> None:
    made = planned()
    with (
        AgentProcess(copy("slow", SLOWED), "null", made, tmp_path) as slow,
        AgentProcess(copy("usual"), "null", made, tmp_path) as usual,
    ):
        for side in (slow, usual):
            side.arrive()
            side.open(benchmark="digits-mlp", spec="digits-mlp", mode="null", seed=0, precision="float32")
        assert commits.ratio(slow, usual, TRAINING, 1) > 2
        assert commits.ratio(usual, slow, TRAINING, 1) < 0.5


def test_four_rounds_are_too_few_to_tell(copy: Callable[..., Checkout], tmp_path: Path) -> None:
    usual = copy("usual")
    (row,) = played(usual, usual, tmp_path / "work", rounds=1)
    assert row.outcome == TooFew("rounds", 1, 5)
    assert commits.status([row]) == 0


def test_another_spec_of_the_same_name_is_refused(copy: Callable[..., Checkout], tmp_path: Path) -> None:
    (row,) = played(copy("here"), copy("there", batch_size=16), tmp_path / "work", rounds=1)
    assert row.outcome == Refused("not the same spec in both", failure=False)
    with pytest.raises(SpecError, match="nothing could be compared"):
        commits.status([row])


def test_a_runner_that_the_other_commit_lacks_is_refused(copy: Callable[..., Checkout], tmp_path: Path) -> None:
    there = copy("there")
    shutil.rmtree(there.root / "suite" / "runners" / "null")
    (row,) = played(copy("here"), there, tmp_path / "work", rounds=1)
    assert row.outcome == Refused("there has no runner null", failure=False)


def test_a_mode_that_the_other_commit_lacks_is_refused_and_the_rest_goes_on(
    copy: Callable[..., Checkout], tmp_path: Path
) -> None:
    usual = copy("usual")
    first, second = played(usual, usual, tmp_path / "work", rounds=1, modes=("fast", "null"))
    assert first.outcome == Refused("usual: there is no mode 'fast'", failure=False)
    assert isinstance(second.outcome, TooFew)


@pytest.mark.parametrize(
    ("step", "reason"),
    [("raise OSError('the roof fell in')", "there: OSError: the roof fell in"), ("__import__('os')._exit(3)", "ended")],
    ids=["raises", "dies"],
)
def test_a_side_that_breaks_is_a_failure_and_says_which_and_why(
    copy: Callable[..., Checkout], tmp_path: Path, step: str, reason: str
) -> None:
    (row,) = played(copy("here"), copy("there", step), tmp_path / "work", rounds=1)
    assert isinstance(row.outcome, Refused)
    assert reason in row.outcome.reason
    assert row.outcome.reason.startswith("there")
    assert commits.status([row]) == 1


def test_a_folder_without_the_suite_never_runs_another_checkouts(tmp_path: Path) -> None:
    """The environments' own path leads to the main checkout, which would be compared with itself."""
    tree = Checkout("there", tmp_path, {"null": Path(sys.executable)})
    with (
        AgentProcess(tree, "null", planned(), tmp_path) as side,
        pytest.raises(RunError, match=r"instead of|ended with"),
    ):
        side.arrive()


def state(process: int) -> str:
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_side_is_stopped_whenever_it_is_not_asked_and_gone_afterwards(
    copy: Callable[..., Checkout], tmp_path: Path
) -> None:
    with AgentProcess(copy("here"), "null", planned(), tmp_path) as side:
        side.arrive()
        process = side._process
        deadline = time.monotonic() + 10
        while state(process.pid) != "T" and time.monotonic() < deadline:
            time.sleep(0.01)
        assert state(process.pid) == "T"
        side.open(benchmark="digits-mlp", spec="digits-mlp", mode="null", seed=0, precision="float32")
        assert side.block(TRAINING, 3) > 0
    assert process.returncode == -signal.SIGKILL


def test_a_question_is_asked_at_the_profiles_batch_sizes_or_left_out() -> None:
    profile = runs.profile(latency_batches=(1, 8), throughput_batches=(64,))
    latency = Question(QuestionKind.LATENCY, 1), Question(QuestionKind.LATENCY, 8)
    assert commits.questions(profile) == (TRAINING, *latency, Question(QuestionKind.THROUGHPUT, 64))
    assert commits.questions(profile, [QuestionKind.LATENCY]) == latency


def test_ones_own_spec_is_read_from_the_same_file_by_both(tmp_path: Path) -> None:
    made = runs.make(tmp_path)
    own = made.model_copy(
        update={"profile": made.profile.model_copy(update={"benchmarks": (str(tmp_path / "tiny.yaml"),)})}
    )
    assert commits.compared_cells(own) == (ComparedCell("tiny", "reference", "numpy", str(tmp_path / "tiny.yaml")),)


def test_what_a_stage_starts_from_is_not_compared_unless_it_is_asked_for(tmp_path: Path) -> None:
    made = session.draft(session.profile(str(own.study(tmp_path) / "profile.yaml")))
    assert [spec.id for spec in made.specs] == ["child", "base"]
    assert [cell.spec for cell in commits.compared_cells(made)] == ["child"]


def test_ones_own_data_are_the_same_for_a_checkout_that_takes_paths_from_the_current_folder(
    copy: Callable[..., Checkout], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a one also counts the path among what decides the spec; neither keeps the two from being compared."""
    study = own.study(tmp_path / "study")
    monkeypatch.chdir(tmp_path)
    there = copy("there")
    for name, now, before in (
        ("spec/loading.py", "dataset = paths.dataset(recipe.dataset, folder)", "dataset = recipe.dataset"),
        ("spec/resolved.py", "    return {**fields, ", "    return fields\n    return {**fields, "),
    ):
        file = there.root / "suite" / name
        text = file.read_text()
        assert text.count(now) == 1
        file.write_text(text.replace(now, before))
    made = session.draft(runs.profile(runners={"null": ("null",)}, benchmarks=("study/specs/base.yaml/",), rounds=1))
    (cell,) = commits.compared_cells(made)
    assert cell.benchmark == str(study / "specs" / "base.yaml")
    (tmp_path / "work").mkdir()
    (row,) = Comparison(made, (cell,), (TRAINING,), copy("here"), there, tmp_path / "work").play(lambda line: None)
    assert row.outcome == TooFew("rounds", 1, 5)


def test_an_environment_is_shared_where_the_locks_are_alike_and_made_where_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Path] = []

    def bootstrap(words: list[str], *, cwd: Path, **_: object) -> subprocess.CompletedProcess[str]:
        started.append(cwd)
        return subprocess.CompletedProcess(words, len(started) - 1)

    monkeypatch.setattr(interpreters.subprocess, "run", bootstrap)
    monkeypatch.setattr(session, "pythons", lambda tokens: {token: Path("ours") for token in tokens})
    shutil.copytree(ROOT / "docker" / "locks", tmp_path / "docker" / "locks")
    assert set(interpreters.pythons(tmp_path, ("torch", "null"), print).values()) == {Path("ours")}
    assert started == []
    (tmp_path / "docker" / "locks" / "torch.txt").write_text("numpy==1.0\n")
    found = interpreters.pythons(tmp_path, ("torch", "null"), print)
    assert found == {"torch": tmp_path / ".envs" / "torch" / "bin" / "python", "null": Path("ours")}
    assert started == [tmp_path]
    with pytest.raises(MachineError, match="could not be made"):
        interpreters.pythons(tmp_path, ("torch",), print)


def rows(*outcomes: Slowdown | TooFew | Refused) -> list[ComparedRow]:
    return [
        ComparedRow(ComparedCell("digits-mlp", "torch", "eager", "digits-mlp"), TRAINING, outcome)
        for outcome in outcomes
    ]


SLOW, FINE = Slowdown(1.15, 1.10, 1.20, 7, 0.975), Slowdown(1.0, 0.98, 1.02, 7, 0.975)


def test_one_cell_that_is_slower_makes_the_status_1() -> None:
    assert commits.status(rows(FINE, SLOW)) == 1
    assert commits.status(rows(FINE, Refused("not there", failure=False))) == 0
    assert commits.status(rows(FINE, Refused("crashed", failure=True))) == 1


def test_the_table_holds_ratio_bounds_and_verdict_and_says_how_many_were_compared() -> None:
    found = rows(FINE, SLOW, Refused("not there", failure=False), TooFew("rounds", 1, 5))
    told = commits.told(found)
    assert told[2] == ("digits-mlp, torch, eager", "training", "1.150 (1.100 to 1.200)", "slower")
    assert [line[-1] for line in told[3:]] == ["not compared: not there", "too few rounds: 1 of 5"]
    assert {len(line) for line in told} == {4}
    assert commits.rule(found).startswith("2 comparisons were made, so each lower bound is taken at 97.5 %")
    assert "takes 5 rounds" in commits.rule(found[2:])


def evidence(
    machine: str = "machine", slow: float = 1.0, verdict: Verdict = Verdict.IDENTICAL, rounds: int = 5
) -> Evidence:
    of = results.spec()
    place = results.environment("torch", machine=digest(machine))
    found = [results.proof("torch", "eager", of, verdict, environment=place)]
    found += [
        results.measured("torch", "eager", number, number, of, slow=slow, environment=place)
        for number in range(1, rounds + 1)
    ]  # type: ignore[list-item]
    return merge(found, {})


def test_two_runs_on_one_machine_get_ratios_and_the_word_that_they_were_not_interleaved() -> None:
    found = stored.pairs(evidence(), evidence(slow=2.0))
    assert len(found) == 5, "training, latency at three batch sizes, throughput"
    for pair in found:
        assert isinstance(pair.outcome, Ratio)
        assert pair.outcome.low < 2 < pair.outcome.high
        assert pair.outcome.confidence == pytest.approx(0.99)
    assert {line[-1] for line in stored.told(found)[1:]} == {"B slower"}
    assert "not interleaved" in " ".join(stored.caveats(found))


def test_two_machines_are_never_ranked_but_shown_side_by_side() -> None:
    found = stored.pairs(evidence(), evidence("another", slow=2.0))
    assert {pair.outcome for pair in found} == {stored.OTHER_MACHINE}
    for line in stored.told(found)[1:]:
        assert line[2] != line[3]
        assert "" not in line[2:4]
        assert line[4] == ""
    (said,) = stored.caveats(found)
    assert "different fingerprints" in said


def test_what_is_not_proven_is_not_ranked() -> None:
    found = stored.pairs(evidence(), evidence(verdict=Verdict.UNPROVEN))
    for pair in found:
        assert isinstance(pair.outcome, NotRanked)
        assert pair.outcome.reason.startswith("B: unproven")


def test_too_few_stored_rounds_are_said_and_nothing_in_common_as_well() -> None:
    assert stored.pairs(evidence(), evidence(rounds=4))[0].outcome == TooFew("rounds", 4, 5)
    assert stored.caveats(stored.pairs(evidence(), merge([], {}))) == ("The two runs have no measured cell in common.",)


@pytest.fixture
def suite(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, str]]]:
    """The command in this process: its exit status and all it said."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}

    def call(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["suite", "compare", *map(str, arguments)])
        status = commands.main()
        return status, " ".join("".join(capfd.readouterr()).split())

    yield call
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "either a commit or two runs"),
        (["one"], "either a commit or two runs"),
        (["one", "two", "--against", "HEAD"], "either a commit or two runs"),
        (["{folder}", "{folder}"], "holds no results"),
        (["--against", "zork"], "there is no commit 'zork'"),
        (["--against=--all"], "there is no commit '--all'"),
        (["--against", "HEAD", "-r", "torch:fast"], "no mode 'fast'"),
        (["--against", "HEAD", "-b", "zork"], "no benchmark 'zork'"),
        (["--against", "HEAD", "--rounds", "0"], "Invalid value for '--rounds'"),
    ],
)
def test_a_mistake_is_a_sentence_and_exit_status_2(
    suite: Suite, tmp_path: Path, words: list[str], sentence: str
) -> None:
    if any("against" in word for word in words) and not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    status, said = suite(*(word.format(folder=tmp_path) for word in words))
    assert (status, sentence in said) == (2, True), said
    assert "Traceback" not in said


def test_two_stored_runs_are_told_and_fail_nothing(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = {"a": evidence(), "b": evidence(slow=3.0)}
    monkeypatch.setattr(stored, "load", lambda folder, refused: sets[folder.name])
    status, said = suite(tmp_path / "a", tmp_path / "b")
    assert status == 0
    assert "B slower" in said


def test_a_slowdown_is_exit_status_1(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "against", lambda *_: tuple(rows(SLOW)))
    status, said = suite("--against", "HEAD")
    assert (status, "1.150 (1.100 to 1.200) slower" in said) == (1, True)


def running(folder: Path) -> list[int]:
    """Processes whose command line or environment names a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            told = path.read_bytes()
        except OSError:
            continue
        if str(folder).encode() in told:
            found.append(int(path.parent.name))
    return found


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no git checkout")
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_comparison_leaves_no_checkout_and_no_process(tmp_path: Path, number: signal.Signals) -> None:
    words = "compare", "--against", "HEAD", "-b", "digits-mlp", "-r", "null"
    process = subprocess.Popen(
        [sys.executable, "-m", "suite", *words],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while len(running(tmp_path)) < 3:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert running(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
    listed = subprocess.run(["git", "-C", str(ROOT), "worktree", "list"], capture_output=True, text=True, check=True)
    assert str(tmp_path) not in listed.stdout
