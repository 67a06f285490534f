"""Workers, turns, and everything that can end a trial, with real processes."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from suite.errors import RunError
from suite.machine.environment import ROOT
from suite.results import records
from suite.results.records import Cause, Failed, Measured
from suite.run import session, worker
from tests.support import runs

LONG = runs.SPEC.replace("hidden: [8]", "hidden: [512, 512]").replace("epochs: 2", "epochs: 500")
CORE = {"null": Path(sys.executable), "reference": Path(sys.executable)}


def outcomes(folder: Path) -> dict[str, object]:
    """Results by entry."""
    return {r.entry: r for r in records.read_all(folder / "results", lambda error: pytest.fail(str(error)))}


def started(folder: Path, token: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "suite.run.worker", str(folder), token], cwd=ROOT, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def until(condition: object, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.02)


def pid_of(*arguments: str) -> int | None:
    """The process that was started with these arguments, if it still runs."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if all(argument in words for argument in arguments):
            return int(path.parent.name)
    return None


def trial_pid(folder: Path) -> int | None:
    """The process that runs a trial of this folder."""
    return pid_of("suite.trial", str(folder))


def test_workers_take_turns_by_the_plan_and_never_overlap(tmp_path: Path) -> None:
    made = runs.make(tmp_path)
    seen = list(session.supervise(tmp_path, made, CORE))
    found = outcomes(tmp_path)
    assert list(found) == [entry.id for entry in made.entries]
    assert not [r for r in found.values() if isinstance(r, Failed)]
    spans = [(r.started.timestamp(), r.started.timestamp() + r.seconds) for r in found.values()]  # type: ignore[attr-defined]
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans))
    assert seen[0].total == len(made.entries)


def test_a_second_run_finds_everything_finished(tmp_path: Path) -> None:
    made = runs.make(tmp_path)
    list(session.supervise(tmp_path, made, CORE))
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "results").iterdir()}
    assert worker.resume(tmp_path, made) == 0
    assert worker.unfinished(tmp_path, made) == ()
    assert list(session.supervise(tmp_path, made, CORE)) == []
    assert before == {path.name: path.stat().st_mtime_ns for path in (tmp_path / "results").iterdir()}


def test_a_killed_trial_is_a_result_and_the_others_go_on(tmp_path: Path) -> None:
    made = runs.make(tmp_path, spec=LONG, epochs=None, rounds=1)
    process = started(tmp_path, "reference")
    other = started(tmp_path, "null")
    measuring = next(e for e in made.entries if e.round == 1 and e.runner == "reference")
    until(lambda: (tmp_path / "logs" / f"{measuring.id}.log").exists() and trial_pid(tmp_path))
    os.kill(trial_pid(tmp_path) or 0, signal.SIGKILL)
    assert (process.wait(60), other.wait(60)) == (0, 0)
    failed = outcomes(tmp_path)[measuring.id]
    assert isinstance(failed, Failed)
    assert failed.cause is Cause.OUT_OF_MEMORY
    assert isinstance(outcomes(tmp_path)[next(e.id for e in made.entries if e.runner == "null")], Measured)


def test_a_trial_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    made = runs.make(tmp_path, spec=LONG, epochs=None, rounds=1, timeout_seconds=3)
    worker.resume(tmp_path, made)
    entry = next(e for e in made.entries if e.round == 1 and e.runner == "reference")
    with worker.locked(tmp_path / "run.lock") as lock:
        assert lock is not None
        worker.run_trial(tmp_path, made, entry, lock)
    failed = outcomes(tmp_path)[entry.id]
    assert isinstance(failed, Failed)
    assert failed.cause is Cause.TIMED_OUT
    assert trial_pid(tmp_path) is None


def test_entries_of_a_worker_that_died_become_failed_results(tmp_path: Path) -> None:
    made = runs.make(tmp_path, spec=LONG, epochs=None, rounds=1)
    measuring = next(e for e in made.entries if e.round == 1 and e.runner == "reference")
    for _ in session.supervise(tmp_path, made, CORE):
        if (tmp_path / "logs" / f"{measuring.id}.log").exists() and (
            victim := pid_of("suite.run.worker", str(tmp_path), "reference")
        ):
            os.kill(victim, signal.SIGKILL)
            until(lambda: trial_pid(tmp_path))
            os.kill(trial_pid(tmp_path) or 0, signal.SIGKILL)
    failed = outcomes(tmp_path)[measuring.id]
    assert isinstance(failed, Failed)
    assert failed.cause is Cause.WORKER_DIED
    assert worker.unfinished(tmp_path, made) == ()


def test_the_lock_holds_while_an_orphaned_trial_runs(tmp_path: Path) -> None:
    runs.make(tmp_path, spec=LONG, epochs=None, rounds=1)
    process = started(tmp_path, "reference")
    until(lambda: trial_pid(tmp_path) is not None)
    process.kill()
    process.wait()
    with worker.locked(tmp_path / "run.lock", wait=False) as lock:
        assert lock is None
    os.kill(trial_pid(tmp_path) or 0, signal.SIGKILL)
    until(lambda: trial_pid(tmp_path) is None)


def test_an_interrupted_run_is_resumed_by_rounds(tmp_path: Path) -> None:
    made = runs.make(tmp_path, rounds=3)
    list(session.supervise(tmp_path, made, CORE))
    removed = next(e for e in made.entries if e.round == 2)
    (tmp_path / "results" / removed.file(removed.cells[0])).unlink()
    kept = {e.id: r for e in made.entries if e.round != 2 and (r := outcomes(tmp_path)[e.id])}
    moved = worker.resume(tmp_path, made)
    assert moved == sum(len(e.cells) for e in made.entries if e.round == 2) - 1
    assert {e.round for e in worker.unfinished(tmp_path, made)} == {2}
    list(session.supervise(tmp_path, made, CORE))
    again = outcomes(tmp_path)
    assert {entry: again[entry] for entry in kept} == kept
    assert len(again) == len(made.entries)
    assert len(list((tmp_path / "superseded").iterdir())) == moved


STAGES = runs.SPEC.replace("epochs: 2", "epochs: 1") + "cases: {child: {starts_from: tiny/parent}, parent: {}}\n"


def test_a_stage_is_done_again_with_its_parent(tmp_path: Path) -> None:
    made = runs.make(tmp_path, spec=STAGES)
    list(session.supervise(tmp_path, made, CORE))
    assert not [r for r in outcomes(tmp_path).values() if isinstance(r, Failed)]
    entry, cell = made.donor("tiny/parent", 2) or pytest.fail("no donor")
    (tmp_path / "results" / entry.file(cell)).unlink()
    worker.resume(tmp_path, made)
    left = {(c.spec, e.round) for e in worker.unfinished(tmp_path, made) for c in e.cells}
    assert left == {("tiny/parent", 2), ("tiny/child", 2)}
    list(session.supervise(tmp_path, made, CORE))
    found = [r for r in outcomes(tmp_path).values() if isinstance(r, Measured) and r.parent]
    assert [(r.cell.spec, r.cell.round) for r in found] == [("tiny/child", 1), ("tiny/child", 2)]


@pytest.mark.parametrize(("cause", "again"), [(c, c in worker.TRIED_AGAIN) for c in Cause])
def test_what_the_machine_did_is_tried_again_and_what_the_framework_did_stays(
    tmp_path: Path, cause: Cause, again: bool
) -> None:
    made = runs.make(tmp_path)
    for entry in made.entries:
        worker.record_failure(tmp_path, made, entry, Cause.UNSUPPORTED, "kept")
    failed = next(e for e in made.entries if e.round == 1)
    for path in worker.files(tmp_path, failed):
        path.unlink()
    worker.record_failure(tmp_path, made, failed, cause, "once")
    worker.resume(tmp_path, made)
    assert {e.round for e in worker.unfinished(tmp_path, made)} == ({1} if again else set())


def test_a_proof_that_failed_for_want_of_a_worker_is_tried_again_alone(tmp_path: Path) -> None:
    made = runs.make(tmp_path, runners={"reference": ("numpy",), "null": ("null",)})
    for entry in made.entries:
        worker.record_failure(tmp_path, made, entry, Cause.UNSUPPORTED, "kept")
    failed, kept = (e for e in made.entries if e.round == 0)
    for path in worker.files(tmp_path, failed):
        path.unlink()
    worker.record_failure(tmp_path, made, failed, Cause.WORKER_DIED, "once")
    assert worker.resume(tmp_path, made) == len(failed.cells)
    assert worker.unfinished(tmp_path, made) == (failed,)
    assert worker.finished(tmp_path, kept)


def test_a_result_that_cannot_be_read_is_set_aside_and_done_again(tmp_path: Path) -> None:
    made = runs.make(tmp_path)
    list(session.supervise(tmp_path, made, CORE))
    broken = next(e for e in made.entries if e.round == 2)
    worker.files(tmp_path, broken)[0].write_text('{"schema_version": ')
    worker.resume(tmp_path, made)
    assert {e.round for e in worker.unfinished(tmp_path, made)} == {2}


def test_concluding_a_run_records_what_never_came(tmp_path: Path) -> None:
    made = runs.make(tmp_path)
    worker.conclude(tmp_path, made)
    found = outcomes(tmp_path)
    assert len(found) == len(made.entries)
    assert {r.cause for r in found.values() if isinstance(r, Failed)} == {Cause.WORKER_DIED}


def test_a_run_is_not_concluded_while_a_worker_is_alive(tmp_path: Path) -> None:
    made = runs.make(tmp_path)
    with worker.locked(tmp_path / "workers" / "null.lock"), pytest.raises(RunError, match="null still at work"):
        worker.conclude(tmp_path, made)
    assert len(worker.unfinished(tmp_path, made)) == len(made.entries)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_worker_stops_its_trial_and_loses_nothing_finished(
    tmp_path: Path, number: signal.Signals
) -> None:
    made = runs.make(tmp_path, spec=LONG, epochs=None, rounds=1)
    process = started(tmp_path, "reference")
    proof = made.entries[0]
    until(lambda: worker.finished(tmp_path, proof) and trial_pid(tmp_path))
    process.send_signal(number)
    assert process.wait(30) == 130
    assert trial_pid(tmp_path) is None
    assert worker.finished(tmp_path, proof)
    assert [e for e in worker.unfinished(tmp_path, made) if e.runner == "reference"]


def test_two_workers_of_one_framework_are_refused(tmp_path: Path) -> None:
    runs.make(tmp_path)
    with worker.locked(tmp_path / "workers" / "null.lock", wait=False), pytest.raises(RunError, match="another worker"):
        worker.work(tmp_path, "null")


def test_a_full_disk_is_said_and_what_is_finished_is_kept(tmp_path: Path) -> None:
    """No file may grow beyond 2,000 bytes, so that no result can be written: as a full disk has it."""
    runs.make(tmp_path, rounds=1)
    code = f"""
import resource, sys
from pathlib import Path
from suite.run import plan, session
from suite.errors import SuiteError
from tests.run.test_worker import CORE
folder = Path({str(tmp_path)!r})
made = plan.read(folder)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    list(session.supervise(folder, made, CORE))
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


def test_a_lock_is_let_go_when_its_holder_dies(tmp_path: Path) -> None:
    code = f"""
import fcntl, os, time
descriptor = os.open({str(tmp_path / "lock")!r}, os.O_CREAT | os.O_RDWR)
fcntl.flock(descriptor, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    with worker.locked(tmp_path / "lock", wait=False) as lock:
        assert lock is None
    holder.kill()
    holder.wait()
    holder.stdout.close()
    with worker.locked(tmp_path / "lock", wait=False) as lock:
        assert lock is not None


def test_cublas_is_given_a_workspace_of_its_own_where_determinism_is_asked_for(tmp_path: Path) -> None:
    """Without it PyTorch refuses to multiply deterministically."""
    asked, not_asked = (runs.make(tmp_path / str(each), deterministic=each) for each in (True, False))
    assert worker.trial_environment(tmp_path, asked)["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert "CUBLAS_WORKSPACE_CONFIG" not in worker.trial_environment(tmp_path, not_asked)
