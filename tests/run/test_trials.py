"""Trials as processes, and everything that can end one."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from suite.errors import RunError
from suite.results import records
from suite.results.records import Cause, Failed, Measured, Proof, Record
from suite.run import trials
from suite.run.plan import Entry, Plan
from tests.support import processes, runs

LONG = runs.SPEC.replace("hidden: [8]", "hidden: [512, 512]").replace("epochs: 2", "epochs: 5000")


def training(made: Plan) -> Entry:
    return next(entry for entry in made.entries if entry.kind == "measure")


def left(folder: Path, entry: Entry) -> list[Record]:
    return [records.read(folder / "results" / entry.file(cell)) for cell in entry.cells]


def running(folder: Path, entry: Entry) -> processes.Process:
    return processes.until(lambda: processes.named(folder, "suite.trial", entry.id))


def test_a_trial_leaves_a_result_for_each_of_its_cells(tmp_path: Path) -> None:
    made = runs.make(tmp_path, spec=runs.SPEC + "cases: {one: {}, two: {batch_size: 32}}\n")
    for kind, outcome in (("prove", Proof), ("measure", Measured)):
        entry = next(e for e in reversed(made.entries) if e.kind == kind)
        trials.run_trial(tmp_path, made, entry)
        assert [type(r) for r in left(tmp_path, entry)] == [outcome, outcome]


def test_a_training_says_that_others_ran_beside_it_and_with_how_many_threads(tmp_path: Path) -> None:
    """Its times are no samples, and it asks no queries: speed is taken in turns."""
    made = runs.make(tmp_path)
    trials.run_trial(tmp_path, made.model_copy(update={"threads": made.threads}), training(made), threads=3)
    (found,) = left(tmp_path, training(made))
    assert isinstance(found, Measured)
    assert (found.beside, found.latency, found.throughput) == (True, (), ())
    assert found.environment.threads_intra == 3


def test_a_killed_trial_is_a_failure_of_its_cells(tmp_path: Path) -> None:
    made = runs.make(tmp_path, spec=LONG, epochs=None)
    entry = training(made)
    killer = threading.Thread(target=lambda: os.kill(running(tmp_path, entry).pid, signal.SIGKILL))
    killer.start()
    trials.run_trial(tmp_path, made, entry)
    killer.join()
    (failed,) = left(tmp_path, entry)
    assert isinstance(failed, Failed)
    assert (failed.cause, "killed by the system" in failed.reason) == (Cause.OUT_OF_MEMORY, True)


def test_a_trial_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    made = runs.make(tmp_path, spec=LONG, epochs=None, timeout_seconds=2)
    trials.run_trial(tmp_path, made, training(made))
    (failed,) = left(tmp_path, training(made))
    assert isinstance(failed, Failed)
    assert (failed.cause, failed.reason) == (Cause.TIMED_OUT, "took over 2 s")
    assert processes.of(tmp_path) == []


def test_a_trial_that_does_not_hear_is_stopped_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that hangs in a driver, or was stopped itself."""
    monkeypatch.setattr(trials, "GRACE_SECONDS", 0.2)
    made = runs.make(tmp_path, spec=LONG, epochs=None, timeout_seconds=3)
    deaf = threading.Thread(target=lambda: os.kill(running(tmp_path, training(made)).pid, signal.SIGSTOP))
    deaf.start()
    trials.run_trial(tmp_path, made, training(made))
    deaf.join()
    (failed,) = left(tmp_path, training(made))
    assert isinstance(failed, Failed)
    assert failed.cause is Cause.TIMED_OUT
    assert processes.of(tmp_path) == []


def test_a_trial_that_nobody_waits_for_is_stopped_and_is_no_result(tmp_path: Path) -> None:
    made = runs.make(tmp_path, spec=LONG, epochs=None)
    entry = training(made)
    with pytest.raises(InterruptedError):
        trials.run_trial(tmp_path, made, entry, go_on=lambda: not processes.named(tmp_path, "suite.trial", entry.id))
    assert processes.of(tmp_path) == []
    assert not (tmp_path / "results").exists()


def test_what_a_trial_could_not_write_ends_the_run_in_words(tmp_path: Path) -> None:
    """A file stands where the folder of results belongs."""
    made = runs.make(tmp_path)
    (tmp_path / "results").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        trials.run_trial(tmp_path, made, training(made))


def test_a_trial_that_ends_without_a_result_or_cannot_start_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = runs.make(tmp_path)
    said = {"true": "ended without a result", "false": "ended with status 1: nothing was said"}
    for number, (program, reason) in enumerate(said.items()):
        entry = [e for e in made.entries if e.kind == "measure"][number]
        monkeypatch.setattr(trials.sys, "executable", f"/bin/{program}")
        trials.run_trial(tmp_path, made, entry)
        (failed,) = left(tmp_path, entry)
        assert isinstance(failed, Failed)
        assert (failed.cause, failed.reason) == (Cause.CRASHED, reason)


def test_a_signal_that_ended_a_process_is_named(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"first\nsecond\nthird\nfourth \xff\n")
    assert trials.why(-signal.SIGSEGV, log) == (Cause.CRASHED, "ended by SIGSEGV: second\nthird\nfourth \ufffd")
    assert trials.why(1, log)[1].startswith("ended with status 1: first\nsecond")


def test_cublas_is_given_a_workspace_of_its_own_where_determinism_is_asked_for(tmp_path: Path) -> None:
    """Without it PyTorch refuses to multiply deterministically."""
    asked, not_asked = (runs.make(tmp_path / str(each), deterministic=each) for each in (True, False))
    assert trials.trial_environment(tmp_path, asked)["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert "CUBLAS_WORKSPACE_CONFIG" not in trials.trial_environment(tmp_path, not_asked)


def test_a_trial_has_the_threads_of_the_plan_or_its_share_of_them(tmp_path: Path) -> None:
    made = runs.make(tmp_path)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        assert trials.trial_environment(tmp_path, made)[name] == "1"
        assert trials.trial_environment(tmp_path, made, 3)[name] == "3"


def test_what_a_trial_started_ends_with_it(tmp_path: Path) -> None:
    """The workers of a compiler, say, which are in its group."""
    words = f"trap '' TERM; sleep 60 & echo {tmp_path} > {tmp_path}/there; wait"
    process = subprocess.Popen(["/bin/sh", "-c", words], start_new_session=True)
    processes.until((tmp_path / "there").exists)
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(trials, "GRACE_SECONDS", 0.2)
        trials.stop(process)
    assert process.returncode == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        processes.until(lambda: os.killpg(process.pid, 0), 5)


def test_threads_sleep_while_they_wait_unless_something_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[dict[str, str]] = []

    class Noted(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, words: list[str], **more: Any) -> None:
            given.append(more["env"])
            super().__init__(["true"], **more)

    made = runs.make(tmp_path, tunings=("batch:8",))
    monkeypatch.setattr(trials.subprocess, "Popen", Noted)
    for kind, waits in {"prove": "PASSIVE", "measure": "PASSIVE", "tune": None}.items():
        trials.run_trial(tmp_path, made, next(e for e in made.entries if e.kind == kind))
        assert given[-1].get("OMP_WAIT_POLICY") == waits
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    trials.run_trial(tmp_path, made, made.entries[0])
    assert given[-1]["OMP_WAIT_POLICY"] == "ACTIVE", "whoever runs it knows better"
