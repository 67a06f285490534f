"""A whole run with real processes, and everything that can end one of them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from suite.errors import RunError
from suite.machine.environment import ROOT
from suite.results import records
from suite.results.questions import QuestionKind
from suite.results.records import Cause, Failed, Measured, Proof, Record, Timed
from suite.run import conductor, parent, wire
from suite.run import folder as folders
from suite.run.conductor import Progress
from suite.run.plan import Entry, Plan
from suite.run.rounds import CONTROL
from tests.support import processes, runs

SPEED = {"trainings": 0, "control": False, "built_alone": 0}
"""A run of proofs and rounds alone, as short as can be."""
BUSY = runs.SPEC.replace("hidden: [8]", "hidden: [512, 512]")
"""Its blocks take long enough to be seen."""
LONG = BUSY.replace("epochs: 2", "epochs: 40")
"""Its training does, too."""
TWO = BUSY + "cases: {one: {}, two: {batch_size: 32}}\n"


def outcomes(folder: Path) -> dict[str, Record]:
    """Results by the names of their files."""
    found = folder / "results"
    return {path.stem: records.read(path) for path in sorted(found.glob("*.json"))}


def timed(folder: Path, runner: str, round_: int = 1) -> list[Record]:
    """What the turns of a round left of a runner, in the plan's order."""
    return [r for name, r in outcomes(folder).items() if f"r{round_:02}-" in name and r.cell.runner == runner]


def play(folder: Path, made: Plan, at: str, do: Callable[[], object]) -> list[Progress]:
    """Conduct a run, and beside it ``do`` something from the first time that ``at`` is told."""
    told, beside = [], None
    for state in conductor.conduct(folder, made, runs.CORE):
        told.append(state)
        if at in state.doing and beside is None:
            beside = threading.Thread(target=do, daemon=True)
            beside.start()
    assert beside, "it was never told"
    beside.join(10)
    processes.until(lambda: not processes.of(folder))  # one that had just begun finds itself without its parent
    return told


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Plan, list[Progress]]:
    folder = tmp_path_factory.mktemp("finished")
    made = runs.make(folder)
    return folder, made, runs.conduct(folder, made)


def test_a_run_goes_from_its_proofs_to_the_last_round(finished: tuple[Path, Plan, list[Progress]]) -> None:
    folder, made, told = finished
    found = outcomes(folder)
    assert not [r for r in found.values() if isinstance(r, Failed)]
    kinds = {"prove": Proof, "measure": Measured, "turns": Timed}
    for entry in made.entries:
        for cell in entry.cells:
            result = found.pop(entry.file(cell).removesuffix(".json"))
            assert type(result) is kinds[entry.kind]
            assert (result.entry, result.cell, result.run) == (entry.id, cell, made.id)
    assert [(r.cell.runner, r.cell.round, r.control) for r in found.values() if isinstance(r, Timed)] == [
        ("reference", 1, True),
        ("reference", 2, True),
    ]
    assert all(name.endswith(f"--{CONTROL}") for name in found)
    assert {state.total for state in told} == {5}
    assert [state.done for state in told] == sorted(state.done for state in told)
    assert (told[0].done < 2, told[-1].done) == (True, 5)
    assert [state.ended for state in told if state.ended] == [1, 2]
    assert told[-1].seconds_left == 0
    assert processes.of(folder) == []


def test_each_cell_answers_each_question_once_in_every_lap(finished: tuple[Path, Plan, list[Progress]]) -> None:
    folder, made, _ = finished
    for result in (r for r in outcomes(folder).values() if isinstance(r, Timed)):
        asked = {(blocks.kind, blocks.batch_size): blocks for blocks in result.blocks}
        assert [(kind.value, size) for kind, size in asked] == [("training", 0), ("latency", 1), ("throughput", 256)]
        assert {len(blocks.blocks_ns) for blocks in result.blocks} == {made.profile.laps}
        latency = asked[QuestionKind.LATENCY, 1]
        assert len(latency.queries_ns) == made.profile.laps * latency.calls
        assert result.built_alone is (result.cell.round == 1)
        audited = [] if result.cell.runner == "null" else ["latency", "throughput"]
        assert sorted(audit.kind.value for audit in result.audits) == audited
        assert all(audit.right for audit in result.audits)


def test_every_round_asks_for_the_same_and_the_control_answers_as_its_twin(
    finished: tuple[Path, Plan, list[Progress]],
) -> None:
    asked: dict[str, set[tuple[object, ...]]] = {}
    for result in (r for r in outcomes(finished[0]).values() if isinstance(r, Timed)):
        calls = tuple((b.kind, b.batch_size, b.calls, b.examples) for b in result.blocks)
        asked.setdefault(result.cell.runner, set()).add(calls)
    assert {runner: len(calls) for runner, calls in asked.items()} == {"reference": 1, "null": 1}


def test_what_a_round_computes_is_what_was_proven_and_trained(finished: tuple[Path, Plan, list[Progress]]) -> None:
    found = list(outcomes(finished[0]).values())
    trained = {r.cell.seed: r.digests for r in found if isinstance(r, Measured)}
    speed = [r for r in found if isinstance(r, Timed)]
    assert all(r.digests == trained[r.cell.seed] for r in speed)
    assert len({r.environment.machine for r in found if not isinstance(r, Failed)}) == 1


def test_a_second_run_finds_everything_finished(finished: tuple[Path, Plan, list[Progress]]) -> None:
    folder, made, _ = finished
    before = {path.name: path.stat().st_mtime_ns for path in (folder / "results").iterdir()}
    assert folders.resume(folder, made) == 0
    assert conductor.left_to_do(folder, made) == ()
    assert runs.conduct(folder, made) == []
    assert before == {path.name: path.stat().st_mtime_ns for path in (folder / "results").iterdir()}


def test_a_training_that_diverges_is_news_once(tmp_path: Path) -> None:
    wild = runs.SPEC.replace("learning_rate: 0.1", "learning_rate: 1.0e+30")
    told = runs.conduct(tmp_path, runs.make(tmp_path, spec=wild, rounds=1, trainings=1, control=False))
    (line,) = (line for state in told for line in state.news)
    assert line.startswith("tiny, reference (numpy), seed 0: diverged in epoch 1: training loss not finite")


def test_a_mode_that_cannot_be_offered_is_a_result_and_the_others_are_timed(tmp_path: Path) -> None:
    made = runs.make(tmp_path, runners={"reference": ("numpy", "zork")}, rounds=1, **SPEED)
    runs.conduct(tmp_path, made)
    found = {r.cell.mode: r for r in outcomes(tmp_path).values() if r.cell.round}
    assert {mode: r.outcome for mode, r in found.items()} == {"numpy": "timed", "null": "timed", "zork": "failed"}
    failed = found["zork"]
    assert isinstance(failed, Failed)
    assert (failed.cause, failed.reason) == (Cause.UNSUPPORTED, "there is no mode 'zork'")


def test_a_stage_is_timed_from_the_weights_that_its_parent_left(tmp_path: Path) -> None:
    """Its rounds come after all trainings, for they start from them."""
    stages = runs.SPEC.replace("epochs: 2", "epochs: 1") + "cases: {child: {starts_from: tiny/parent}, parent: {}}\n"
    told = runs.conduct(tmp_path, runs.make(tmp_path, spec=stages, rounds=1, trainings=1, control=False))
    doing = [state.doing for state in told]
    assert max(i for i, line in enumerate(doing) if "training" in line) < doing.index("round 1 of 1")
    found = [r for r in outcomes(tmp_path).values() if r.cell.spec == "tiny/child" and r.cell.round]
    assert {r.outcome for r in found} == {"measured", "timed"}
    trained = next(r for r in outcomes(tmp_path).values() if isinstance(r, Measured) and r.cell.spec == "tiny/parent")
    assert trained.training
    taken = [r.parent for r in found if not isinstance(r, Failed | Proof)]  # type: ignore[union-attr]
    assert {parent.weights for parent in taken if parent} == {trained.training.weights}


def kill(folder: Path, find: Callable[[], processes.Process | None], number: signal.Signals) -> None:
    """Send a signal to a process as soon as it is there and not stopped: while it is asked."""
    while True:
        process = processes.until(find)
        if process.state not in ("T", ""):
            os.kill(process.pid, number)
            return


def test_an_agent_that_is_killed_fails_its_cells_alone_and_comes_back(tmp_path: Path) -> None:
    made = runs.make(tmp_path, spec=TWO, laps=30, **SPEED)
    play(tmp_path, made, "laps", lambda: kill(tmp_path, lambda: processes.agent(tmp_path, "reference"), signal.SIGKILL))
    first, second = timed(tmp_path, "reference")
    assert isinstance(first, Failed)
    assert first.cause is Cause.OUT_OF_MEMORY
    assert "killed by the system" in first.reason
    assert isinstance(second, Timed)
    assert {r.outcome for r in (*timed(tmp_path, "null"), *timed(tmp_path, "reference", 2))} == {"timed"}
    assert conductor.left_to_do(tmp_path, made) == ()


def test_what_a_lost_agent_left_open_is_done_again_whole(tmp_path: Path) -> None:
    made = runs.make(tmp_path, spec=BUSY, rounds=1, laps=30, **SPEED)
    play(tmp_path, made, "laps", lambda: kill(tmp_path, lambda: processes.agent(tmp_path, "reference"), signal.SIGKILL))
    assert folders.resume(tmp_path, made) == 2
    assert [entry.kind for entry in conductor.left_to_do(tmp_path, made)] == ["turns"]
    runs.conduct(tmp_path, made)
    assert [r.outcome for r in outcomes(tmp_path).values()] == ["proof", "timed", "timed"]


def test_a_parent_that_is_killed_fails_what_is_left_of_its_framework_alone(tmp_path: Path) -> None:
    made = runs.make(tmp_path, spec=BUSY, laps=30, **SPEED)
    parent = ("suite.run.parent", "reference")
    play(tmp_path, made, "laps", lambda: kill(tmp_path, lambda: processes.named(tmp_path, *parent), signal.SIGKILL))
    lost = [*timed(tmp_path, "reference", 1), *timed(tmp_path, "reference", 2)]
    assert [(r.cause, r.reason) for r in lost if isinstance(r, Failed)] == [
        (Cause.WORKER_DIED, "the parent of reference's processes is gone")
    ] * 2
    assert [r.outcome for number in (1, 2) for r in timed(tmp_path, "null", number)] == ["timed", "timed"]


def test_a_parent_that_is_killed_in_a_training_fails_it_and_takes_the_trial_along(tmp_path: Path) -> None:
    made = runs.make(tmp_path, rounds=1, trainings=2, control=False)

    def strike() -> None:
        processes.until(lambda: processes.named(tmp_path, "suite.trial", "t01-00-reference"))
        kill(tmp_path, lambda: processes.named(tmp_path, "suite.run.parent", "reference"), signal.SIGKILL)

    play(tmp_path, made, "round 1", strike)
    lost = [r for r in outcomes(tmp_path).values() if isinstance(r, Failed)]
    assert [(r.entry, r.cause) for r in lost] == [
        ("t01-00-reference", Cause.WORKER_DIED),
        ("t02-00-reference", Cause.WORKER_DIED),
    ]


ALONE = {"runners": {"reference": ("numpy",), "toy": ()}, "threads": 2}
"""Half of the cores belong to a framework that has nothing to do."""


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "CORES", 2)


@pytest.mark.usefixtures("two_cores")
def test_trainings_take_the_place_of_parents_that_have_nothing_left(tmp_path: Path) -> None:
    made = runs.make(tmp_path, spec=LONG, epochs=None, rounds=1, trainings=3, control=False, **ALONE)
    names = [entry.id for entry in made.entries if entry.kind == "measure"]
    seen: list[int] = []

    def look() -> None:
        while processes.named(tmp_path, "suite.run.parent", "reference"):
            seen.append(sum(bool(processes.named(tmp_path, "suite.trial", name)) for name in names))

    play(tmp_path, made, "training", look)
    assert max(seen) == 2
    trained = [r for r in outcomes(tmp_path).values() if isinstance(r, Measured)]
    assert [r.environment.threads_intra for r in trained] == [1, 1, 1]


@pytest.mark.parametrize("first", [0, 1])
def test_what_breaks_one_of_two_trials_ends_the_other_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    made = runs.make(tmp_path, trainings=2)
    broken, *_ = names = [entry.id for entry in made.entries if entry.kind == "measure"]

    def trial(folder: Path, made: Plan, entry: Entry, *, threads: int, go_on: Callable[[], bool]) -> None:
        if entry.id == broken:
            raise RunError("the disk is full")
        while go_on():
            time.sleep(0.01)
        raise InterruptedError

    monkeypatch.setattr(parent, "run_trial", trial)
    ours, theirs = socket.socketpair()
    with contextlib.closing(wire.Line(ours)) as line:
        worker = threading.Thread(target=parent.Parent(tmp_path, made, "reference", line).work)
        worker.start()
        with contextlib.closing(wire.Line(theirs)) as far:
            far.send(do="trials", entries=names if first == 0 else names[::-1], at_once=2, threads=1)
            assert far.receive(10) == {"stop": "the disk is full"}
        worker.join(10)  # it hears that the conductor has hung up
        assert not worker.is_alive()


def test_an_agent_that_hangs_is_given_up_in_time(tmp_path: Path) -> None:
    made = runs.make(tmp_path, spec=BUSY, rounds=1, laps=30, timeout_seconds=8, **SPEED)

    def hang() -> None:
        victim = processes.until(lambda: processes.agent(tmp_path, "reference"))
        while victim.there:
            os.kill(victim.pid, signal.SIGSTOP)
            time.sleep(0.002)

    play(tmp_path, made, "laps", hang)
    (failed,) = timed(tmp_path, "reference")
    assert isinstance(failed, Failed)
    assert (failed.cause, failed.reason) == (Cause.TIMED_OUT, "reference did not answer for 8 s")
    assert [r.outcome for r in timed(tmp_path, "null")] == ["timed"]


def test_no_two_agents_run_at_once(tmp_path: Path) -> None:
    """Whoever is not asked is stopped, in laps and while it is found out how long blocks are."""
    made = runs.make(tmp_path, spec=BUSY, rounds=1, laps=30, **{**SPEED, "control": True})
    seen: list[int] = []

    def look() -> None:
        agents = [process for process in processes.of(tmp_path) if "suite/trial/agent.py" in " ".join(process.words)]
        assert len(agents) == 3
        while any(agent.there for agent in agents):
            running = {agent.pid for agent in agents if agent.state not in ("T", "", "Z", "X")}
            seen.append(len(running & {agent.pid for agent in agents if agent.state not in ("T", "", "Z", "X")}))
            time.sleep(0.001)

    play(tmp_path, made, "settling", look)
    assert len(seen) > 100
    assert seen.count(1) > 50
    assert sum(count > 1 for count in seen) <= 0.02 * len(seen), "a signal takes its time"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of a few megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.parametrize("at", ["proving", "training", "laps"])
def test_a_full_disk_ends_a_run_in_words_and_what_is_finished_is_kept(small_disk: Path, at: str) -> None:
    folder = small_disk / "run"
    made = runs.make(folder, rounds=1, trainings=1, control=False)
    kept: dict[str, bytes] = {}

    def results() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (folder / "results").glob("*.json")}

    def fill() -> None:
        for size in (1 << 16, 1):
            with (small_disk / f"filling{size}").open("wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    pass

    def conducted() -> None:
        for state in conductor.conduct(folder, made, runs.CORE):
            last = at != "training" or state.ended
            if (at in state.doing or state.ended) and last and not kept:
                kept.update({"": b""} | results())
                fill()

    with pytest.raises(RunError, match=r"cannot be written|No space left") as told:
        conducted()
    assert "what is finished is kept" in told.value.way_out
    assert results() == {name: content for name, content in kept.items() if name}
    assert processes.of(folder) == []
    for path in small_disk.glob("filling*"):
        path.unlink()
    folders.resume(folder, made)
    runs.conduct(folder, made)
    assert not [r for r in outcomes(folder).values() if isinstance(r, Failed)]
    assert conductor.left_to_do(folder, made) == ()


def test_a_run_ends_in_words_where_no_file_may_grow(tmp_path: Path) -> None:
    """No file may grow beyond 2,000 bytes, so that no result can be written: as a full disk has it."""
    runs.make(tmp_path, rounds=1)
    code = f"""
import resource
from pathlib import Path
from suite.run import plan
from suite.errors import SuiteError
from tests.support import runs
folder = Path({str(tmp_path)!r})
made = plan.read(folder)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    runs.conduct(folder, made)
except SuiteError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert "cannot be written" in done.stdout
    assert "what is finished is kept" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert not list((tmp_path / "results").iterdir())


def test_without_any_framework_there_is_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here every parent ends at once."""
    made = runs.make(tmp_path)
    nothing = dict.fromkeys(runs.CORE, Path("/bin/false"))
    with pytest.raises(RunError, match="no framework came to be measured"):
        list(conductor.conduct(tmp_path, made, nothing))
    monkeypatch.setattr(conductor, "ARRIVAL_SECONDS", 0.1)
    with pytest.raises(RunError, match="no framework came to be measured"):
        list(conductor.conduct(tmp_path, made, None))


def test_a_framework_that_never_comes_fails_and_the_others_go_on(tmp_path: Path) -> None:
    made = runs.make(tmp_path, rounds=1, **SPEED)
    list(conductor.conduct(tmp_path, made, {**runs.CORE, "reference": Path("/bin/false")}))
    failed = [r for r in outcomes(tmp_path).values() if isinstance(r, Failed)]
    assert [(r.cell.runner, r.cell.round, r.cause) for r in failed] == [
        ("reference", 0, Cause.WORKER_DIED),
        ("reference", 1, Cause.WORKER_DIED),
    ]
    assert [r.outcome for r in timed(tmp_path, "null")] == ["timed"]


def test_a_run_that_is_closed_midway_leaves_nothing_running(tmp_path: Path) -> None:
    """And its parents were out of reach of the terminal's Ctrl-C: they hear of it once, from the run."""
    made = runs.make(tmp_path, rounds=1, laps=1000, **SPEED)
    progress = conductor.conduct(tmp_path, made, runs.CORE)
    for state in progress:
        if "laps" in state.doing:
            break
    groups = {os.getpgid(process.pid) for process in processes.of(tmp_path)}
    assert len(groups) == 4
    assert os.getpgid(0) not in groups
    progress.close()
    assert processes.of(tmp_path) == []
