"""A commit against another, in turns; and two stored runs, which only inform."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite.cli import commands, profiles
from suite.compare import commits, interpreters, sides
from suite.compare import runs as stored
from suite.compare.commits import ComparedRow, Comparison
from suite.compare.sides import Checkout, ComparedCell, Refused, Side
from suite.data import datasets
from suite.errors import MachineError, SpecError
from suite.machine.environment import ROOT
from suite.report.evidence.comparison import NotRanked
from suite.report.evidence.merge import Evidence, merge
from suite.results.identity import Verdict
from suite.results.questions import Question, QuestionKind
from suite.run import session
from suite.run.plan import Plan
from suite.run.turns import Call, Seat, play
from suite.spec.resolved import digest
from suite.stats import Ratio, Slowdown, TooFew
from tests.support import own, results, runs

TRAINING = Question(QuestionKind.TRAINING)
Suite = Callable[..., tuple[int, str]]
SLOWED = "for _ in range(500): pass"
"""In place of the null runner's empty step: many times its cost."""
SHORT = {"laps": 4, "lap_milliseconds": 1.0}


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


def planned(rounds: int = 5, modes: tuple[str, ...] = ("null",), **fields: object) -> Plan:
    datasets.fetch("digits")
    changes = {"runners": {"null": ("null",)}, "benchmarks": ("digits-mlp",), "rounds": rounds, **SHORT, **fields}
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


def test_a_comparison_is_closed_at_the_look_that_decides_it_and_rounds_end_with_the_last(
    copy: Callable[..., Checkout], tmp_path: Path
) -> None:
    """Five rounds decide many times the cost: no more are played, and the bounds are those of two looks."""
    said: list[str] = []
    made = planned(rounds=9, looks=(5, 9))
    work = tmp_path / "work"
    work.mkdir()
    trees = copy("slow", SLOWED), copy("usual")
    (row,) = Comparison(made, commits.compared_cells(made), (TRAINING,), *trees, work).play(said.append)
    assert isinstance(row.outcome, Slowdown)
    assert (row.outcome.verdict, row.outcome.rounds) == ("slower", 5)
    assert row.outcome.confidence == pytest.approx(1 - 0.05 / 2)
    assert sum(line.startswith("round") for line in said) == 5


def test_what_is_undecided_goes_on_alone(
    copy: Callable[..., Checkout], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training swings from round to round, latency does not: the second look sees no more rounds of latency."""
    latency = Question(QuestionKind.LATENCY, 1)
    swings = {TRAINING: [0.5, 2.0], latency: [1.0, 1.0]}
    played: list[Question] = []

    def ratio(here: object, there: object, question: Question) -> float:
        played.append(question)
        return swings[question][len(played) // 2 % 2]

    monkeypatch.setattr(commits, "ratio", ratio)
    made = planned(rounds=7, looks=(5, 7))
    work, usual = tmp_path / "work", copy("usual")
    work.mkdir()
    found = Comparison(made, commits.compared_cells(made), (TRAINING, latency), usual, usual, work).play(str)
    outcomes = {row.question: row.outcome for row in found}
    assert [o.verdict for o in outcomes.values() if isinstance(o, Slowdown)] == ["undecided", "not slower"]
    assert [o.rounds for o in outcomes.values() if isinstance(o, Slowdown)] == [7, 5]
    assert (played.count(TRAINING), played.count(latency)) == (7, 5)
    assert outcomes[TRAINING].confidence == pytest.approx(1 - 0.05 / 4)  # type: ignore[union-attr]


class Answering:
    """An agent without a process: what it settles on, and nanoseconds of its blocks in turn."""

    def __init__(self, settled: tuple[int, int], taken: Iterable[int] = ()) -> None:
        self._settled, self._taken = settled, iter(taken)
        self.asked: list[Mapping[str, Any]] = []

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.asked.append(request)
        if request["do"] == "settle":
            return {"calls": self._settled[0], "examples": self._settled[1], "own_ns": 7}
        return {"ns": next(self._taken)}


def test_both_sides_answer_in_as_many_calls_and_examples_as_the_one_that_needs_more() -> None:
    here, there = Seat(Answering((3, 64)), "null"), Seat(Answering((2, 96)), "null")
    assert commits.paired(here, there, (TRAINING,), 5e6) == {TRAINING: Call(3, 96, None)}
    (asked,) = here.agent.asked  # type: ignore[attr-defined]
    assert (asked["nanoseconds"], asked["own_share"]) == (5e6, 0.05)


def test_the_ratio_of_a_round_is_that_of_the_least_disturbed_laps_here_and_there() -> None:
    here, there = Seat(Answering((1, 1), (1000, 20, 30)), "null"), Seat(Answering((1, 1), (10, 15, 14)), "null")
    for seat in (here, there):
        seat.calls[TRAINING] = Call(1, 1, None)
    play((here, there), (TRAINING,), 3, np.random.default_rng(0))
    assert commits.ratio(here, there, TRAINING) == pytest.approx(2)


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
    with sides.started((tree, tree), "null", planned(), tmp_path, turned=False) as both:
        found = sides.arrived(both)
    assert found is not None
    assert found.failure
    assert re.search(r"there:? (ran the suite of .* instead of|ended with)", found.reason)


def test_both_sides_build_beside_each_other_and_the_modes_that_neither_has_are_refused(
    copy: Callable[..., Checkout], tmp_path: Path
) -> None:
    usual = copy("usual")
    cells = [ComparedCell("digits-mlp", "null", mode, "digits-mlp") for mode in ("null", "fast")]
    with sides.started((usual, usual), "null", planned(), tmp_path, turned=True) as both:
        assert sides.arrived(both) is None
        assert sides.opened(both, cells) == {cells[1]: Refused("usual: there is no mode 'fast'", failure=False)}


def state(process: int) -> str:
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_side_is_stopped_whenever_it_is_not_asked_and_gone_afterwards(
    copy: Callable[..., Checkout], tmp_path: Path
) -> None:
    side = Side(copy("here"), "null", planned(), tmp_path)
    with side.agent:
        side.arrive()
        process = side.agent._process
        deadline = time.monotonic() + 10
        while state(process.pid) != "T" and time.monotonic() < deadline:
            time.sleep(0.01)
        assert state(process.pid) == "T"
        side.ask_open([ComparedCell("digits-mlp", "null", "null", "digits-mlp")])
        assert set(side.opened()["digests"]) >= set(sides.SHARED)
        seat = Seat(side.agent, "null")
        assert seat.settle(TRAINING, 1e6).calls >= 1
        assert seat.block(TRAINING) > 0
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
    made = session.draft(
        runs.profile(runners={"null": ("null",)}, benchmarks=("study/specs/base.yaml/",), rounds=1, **SHORT)
    )
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
    wanted = runs.profile(rounds=12, looks=(3, 5, 8, 12), laps=40, lap_milliseconds=5)
    rule = commits.rule(found, wanted)
    assert rule.startswith("2 comparisons were made, looked at after 5, 8 and 12 rounds")
    assert "each bound is taken at 97.5 %" in rule
    assert "above 1.02; not slower: the upper bound is not above 1.05. It took 7 rounds" in rule
    assert "40 laps" in rule
    assert "after 12 rounds" in commits.rule(found, runs.profile(rounds=12))
    assert "takes 5 rounds" in commits.rule(found[2:], wanted)


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


@pytest.mark.parametrize(("rounds", "looks"), [(None, (5, 8, 12)), (6, (5, 6)), (5, (5,)), (3, (3,)), (20, None)])
def test_the_rounds_that_are_asked_for_are_the_last_look(rounds: int | None, looks: tuple[int, ...] | None) -> None:
    assert profiles.profile("compare", rounds=rounds).looks == (looks or (5, 8, 12, 20))


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
