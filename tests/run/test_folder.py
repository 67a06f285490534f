"""A run's folder: what an interrupted run does again, what it keeps, and who may work in it."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from suite.results import records
from suite.results.records import Cause, Failed
from suite.run import folder
from suite.run.plan import Entry, Plan
from suite.run.trials import record_failure
from tests.support import runs

KEPT = Cause.UNSUPPORTED
"""A failure that stands for any result that stays: a framework's answer."""


def done(place: Path, made: Plan, *but: Entry) -> None:
    """Every entry has left its results, except for ``but``."""
    for entry in made.entries:
        if entry not in but:
            record_failure(place, made, entry, entry.cells, KEPT, "kept")


def names(place: Path, made: Plan) -> list[str]:
    return [entry.id for entry in folder.unfinished(place, made)]


def first(made: Plan, kind: str) -> Entry:
    return next(entry for entry in made.entries if entry.kind == kind)


def test_a_folder_without_results_has_all_to_do_and_one_with_all_has_none(tmp_path: Path) -> None:
    made = runs.make(tmp_path)
    assert folder.resume(tmp_path, made) == 0
    assert folder.unfinished(tmp_path, made) == made.entries
    done(tmp_path, made)
    assert folder.resume(tmp_path, made) == 0
    assert names(tmp_path, made) == []
    assert not (tmp_path / "superseded").exists()


@pytest.mark.parametrize("kind", ["prove", "measure", "turns", "tune"])
@pytest.mark.parametrize(("cause", "again"), [(cause, cause in folder.TRIED_AGAIN) for cause in Cause])
def test_what_the_machine_did_is_tried_again_and_what_the_framework_did_stays(
    tmp_path: Path, cause: Cause, again: bool, kind: str
) -> None:
    made = runs.make(tmp_path, tunings=("batch:8",))
    failed = first(made, kind)
    done(tmp_path, made, failed)
    record_failure(tmp_path, made, failed, failed.cells, cause, "once")
    folder.resume(tmp_path, made)
    assert names(tmp_path, made) == ([failed.id] if again else [])


def test_turns_that_hold_one_such_failure_are_done_again_whole(tmp_path: Path) -> None:
    """Half of them from another day is no pair; what came out moves aside with the rest, and is not lost."""
    made = runs.make(tmp_path)
    failed = first(made, "turns")
    done(tmp_path, made, failed)
    record_failure(tmp_path, made, failed, failed.cells[:1], Cause.TIMED_OUT, "once")
    record_failure(tmp_path, made, failed, failed.cells[1:], KEPT, "well")
    assert folder.resume(tmp_path, made) == len(failed.cells) == 2
    assert names(tmp_path, made) == [failed.id]
    assert len(list((tmp_path / "superseded").iterdir())) == 2


def test_turns_that_were_broken_off_are_done_again_whole(tmp_path: Path) -> None:
    made = runs.make(tmp_path)
    broken = first(made, "turns")
    done(tmp_path, made, broken)
    record_failure(tmp_path, made, broken, broken.cells[1:], KEPT, "its records were being written")
    assert folder.resume(tmp_path, made) == 1
    assert folder.files(tmp_path, broken)[1].exists() is False
    assert names(tmp_path, made) == [broken.id]


def test_of_proofs_and_trainings_those_that_came_out_are_kept(tmp_path: Path) -> None:
    """They stand alone, whichever process they had."""
    spec = runs.SPEC + "cases: {one: {}, two: {batch_size: 32}}\n"
    made = runs.make(tmp_path, spec=spec)
    for kind in ("prove", "measure"):
        entry = next(e for e in reversed(made.entries) if e.kind == kind)
        assert len(entry.cells) == 2
        done(tmp_path, made)
        folder.files(tmp_path, entry)[1].unlink()
        assert folder.resume(tmp_path, made) == 0
        assert [path.exists() for path in folder.files(tmp_path, entry)] == [True, False]
        assert names(tmp_path, made) == [entry.id]


def test_a_result_that_cannot_be_read_is_set_aside_and_done_again(tmp_path: Path) -> None:
    made = runs.make(tmp_path)
    done(tmp_path, made)
    broken = first(made, "measure")
    folder.files(tmp_path, broken)[0].write_text('{"schema_version": ')
    assert folder.resume(tmp_path, made) == 1
    assert names(tmp_path, made) == [broken.id]
    (aside,) = (tmp_path / "superseded").iterdir()
    assert aside.name.endswith(broken.file(broken.cells[0]))


def test_a_failure_is_recorded_for_those_cells_alone_that_left_nothing(tmp_path: Path) -> None:
    made = runs.make(tmp_path)
    entry = first(made, "turns")
    common = made.record(entry, entry.cells[0], datetime.now(UTC))
    records.write(folder.files(tmp_path, entry)[0], Failed(**common, cause=KEPT, reason="first"))
    record_failure(tmp_path, made, entry, entry.cells, Cause.CRASHED, "x" * 100_000)
    found = [records.read(path) for path in folder.files(tmp_path, entry)]
    assert [(r.cause, len(r.reason)) for r in found if isinstance(r, Failed)] == [(KEPT, 5), (Cause.CRASHED, 20_000)]


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
    with folder.locked(tmp_path / "lock", wait=False) as lock:
        assert lock is None
    holder.kill()
    holder.wait()
    holder.stdout.close()
    with folder.locked(tmp_path / "lock", wait=False) as lock:
        assert lock is not None
