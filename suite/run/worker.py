"""Trials as processes: a worker per framework, all of them taking turns by the plan.

A worker locks the run's folder, runs the first unfinished entry if it is its own, else lets go and waits.  The lock
covers a trial's whole process, so nothing else is measured meanwhile; the trial inherits it, so it holds even when the
worker dies.  A worker also holds a lock of its own for as long as it lives: whoever gets it while it is the worker's
turn knows that it is dead, and records its entry as failed.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from suite.errors import ResultError, RunError, SuiteError
from suite.machine import environment
from suite.machine.environment import ROOT
from suite.results import records
from suite.results.records import Cause, Failed
from suite.run import plan
from suite.run.plan import STOPPED, Entry, Plan

WAIT_SECONDS = 0.1
GRACE_SECONDS = 10.0
"""How long a trial that is told to stop may take to flush."""
ARRIVAL_SECONDS = float(os.environ.get("PARITY_ARRIVAL_SECONDS", "120"))
"""How long the others wait for a worker that has never started."""
TRIED_AGAIN = frozenset({Cause.WORKER_DIED, Cause.OUT_OF_MEMORY, Cause.TIMED_OUT})
"""What the machine did to a cell, another try may spare it; what its framework did is an answer, and stays."""


def files(folder: Path, entry: Entry) -> list[Path]:
    """Where the cells of ``entry`` leave their results."""
    return [folder / "results" / entry.file(cell) for cell in entry.cells]


def finished(folder: Path, entry: Entry) -> bool:
    """Whether every cell of ``entry`` has left a result."""
    return all(path.exists() for path in files(folder, entry))


def unfinished(folder: Path, made: Plan) -> tuple[Entry, ...]:
    """Entries still to do, in order."""
    return tuple(entry for entry in made.entries if not finished(folder, entry))


def resume(folder: Path, made: Plan) -> int:
    """Make an interrupted run ready to go on; returns how many results were set aside.

    What failed for want of time, memory or a worker is tried again.  A measuring round that was broken off, or that
    holds such a failure, is done again whole, for half a round from another day is no pair: what it left moves to
    ``superseded/``.  Proofs stand alone: those that came out are kept.
    """
    (folder / "results").mkdir(parents=True, exist_ok=True)
    for stale in (folder / "workers").glob("*.started"):
        stale.unlink()
    there = [(entry, path) for entry in made.entries for path in files(folder, entry) if path.exists()]
    failed = {path for _, path in there if _to_try_again(path)}
    broken = {entry.round for entry in unfinished(folder, made)} | {e.round for e, path in there if path in failed}
    aside = [path for entry, path in there if path in failed or (entry.round and entry.round in broken)]
    for path in aside:
        target = folder / "superseded" / f"{time.time_ns()}-{path.name}"
        target.parent.mkdir(exist_ok=True)
        path.rename(target)
    return len(aside)


def _to_try_again(path: Path) -> bool:
    """Whether a result is a failure worth another try, or no result at all."""
    try:
        found = records.read(path)
    except ResultError:
        return True
    return isinstance(found, Failed) and found.cause in TRIED_AGAIN


def conclude(folder: Path, made: Plan) -> None:
    """Record as failed what is unfinished: no worker is left that would do it.  Raises RunError if one is."""
    if busy := working(folder, made):
        raise RunError(f"{', '.join(busy)} still at work", where=str(folder), way_out="Wait for the run to end.")
    for entry in unfinished(folder, made):
        record_failure(folder, made, entry, Cause.WORKER_DIED, f"the worker for {entry.runner} ended before its turn")


def working(folder: Path, made: Plan) -> list[str]:
    """The frameworks whose workers are alive."""
    alive = []
    for token in sorted({entry.runner for entry in made.entries}):
        with locked(folder / "workers" / f"{token}.lock", wait=False) as free:
            alive += [] if free is not None else [token]
    return alive


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[int | None]:
    """Hold an exclusive flock on ``path`` and yield its descriptor; None if it is taken and ``wait`` is false."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield None
            return
        yield descriptor
    finally:
        os.close(descriptor)


def work(folder: Path, token: str) -> None:
    """Do all entries of ``token`` in their turn.  Raises RunError if another worker does so already."""
    made = plan.read(folder)
    workers = folder / "workers"
    with locked(workers / f"{token}.lock", wait=False) as mine:
        if mine is None:
            raise RunError(
                f"another worker for {token} is at work", where=str(folder), way_out="Wait for it, or stop it."
            )
        started = workers / f"{token}.started"
        started.touch()
        began = time.monotonic()
        try:
            while _turn(folder, made, token, time.monotonic() - began):
                time.sleep(WAIT_SECONDS)
        except BaseException:
            started.unlink(missing_ok=True)  # it left in good order: nobody should take it for dead
            raise


def _turn(folder: Path, made: Plan, token: str, waited: float) -> bool:
    """Take one turn if it is ours; False when nothing of ours is left."""
    with locked(folder / "run.lock") as lock:
        assert lock is not None
        left = unfinished(folder, made)
        if not any(entry.runner == token for entry in left):
            return False
        if left[0].runner == token:
            done = len(made.entries) - len(left)
            _say(f"[{done + 1}/{len(made.entries)}] {left[0].id}: {left[0].kind} {len(left[0].cells)} cells")
            run_trial(folder, made, left[0], lock)
        elif _dead(folder, left[0].runner, waited):
            reason = f"the worker for {left[0].runner} died, or never came"
            record_failure(folder, made, left[0], Cause.WORKER_DIED, reason)
    return True


def _dead(folder: Path, token: str, waited: float) -> bool:
    workers = folder / "workers"
    if not (workers / f"{token}.started").exists():
        return waited > ARRIVAL_SECONDS
    with locked(workers / f"{token}.lock", wait=False) as free:
        return free is not None


def run_trial(folder: Path, made: Plan, entry: Entry, lock: int) -> None:
    """Run one entry as a fresh process that inherits the run's lock; whatever it does not record is a failure."""
    log = folder / "logs" / f"{entry.id}.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "suite.trial", str(folder), entry.id],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            env=trial_environment(folder, made), pass_fds=(lock,), start_new_session=True,
        )  # fmt: skip
        try:
            status = process.wait(made.profile.timeout_seconds * len(entry.cells))
        except subprocess.TimeoutExpired:
            stop(process)
            record_failure(
                folder, made, entry, Cause.TIMED_OUT, f"took over {made.profile.timeout_seconds * len(entry.cells)} s"
            )
            return
        except BaseException:
            stop(process)
            raise
    if status == STOPPED:
        raise RunError(_last_lines(log, 3), where=entry.id)
    if status:
        record_failure(folder, made, entry, *_why(status, log))
    elif not finished(folder, entry):
        record_failure(folder, made, entry, Cause.CRASHED, "ended without a result")


def _why(status: int, log: Path) -> tuple[Cause, str]:
    """Cause and reason of a trial that ended by itself with ``status``."""
    if status == -signal.SIGKILL:
        return Cause.OUT_OF_MEMORY, "was killed by the system, most likely for want of memory"
    if status < 0:
        return Cause.CRASHED, f"ended by {signal.Signals(-status).name}: {_last_lines(log, 3)}"
    return Cause.CRASHED, f"ended with status {status}: {_last_lines(log, 5)}"


def _last_lines(log: Path, count: int) -> str:
    lines = log.read_bytes()[-4000:].decode("utf-8", "replace").strip().splitlines()
    return "\n".join(lines[-count:]) or "nothing was said"


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a trial's whole process group: politely, then not."""
    for number, patience in ((signal.SIGTERM, GRACE_SECONDS), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            return


def record_failure(folder: Path, made: Plan, entry: Entry, cause: Cause, reason: str) -> None:
    """A failed result for every cell of ``entry`` that has left none."""
    for cell in entry.cells:
        path = folder / "results" / entry.file(cell)
        if not path.exists():
            common = made.record(entry, cell, dt.datetime.now(dt.UTC))
            records.write(path, Failed(**common, cause=cause, reason=reason))


def trial_environment(folder: Path, made: Plan) -> dict[str, str]:
    """The environment variables of a trial: threads pinned, caches inside the run's folder, nothing chatty."""
    caches = folder / "caches"
    workspace = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"} if made.profile.deterministic else {}  # else PyTorch refuses
    return {
        **os.environ,
        "OMP_NUM_THREADS": str(made.threads.intra),
        "MKL_NUM_THREADS": str(made.threads.intra),
        "OPENBLAS_NUM_THREADS": str(made.threads.intra),
        "TORCHINDUCTOR_CACHE_DIR": str(caches / "inductor"),
        "TRITON_CACHE_DIR": str(caches / "triton"),
        "CUDA_CACHE_PATH": str(caches / "cuda"),
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "PYTHONHASHSEED": "0",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **workspace,
    }


def introduce(folder: Path, token: str) -> None:
    """Say what a framework computes on, where nobody else does: in a container.  Nothing is measured meanwhile."""
    made = plan.read(folder)
    mine = any(entry.runner == token for entry in unfinished(folder, made))
    if not (mine and environment.in_container() and environment.lock_digest(token)):
        return
    with locked(folder / "run.lock"):
        subprocess.run(
            [sys.executable, "-m", "suite.machine.doctor", token, made.profile.device],
            cwd=ROOT, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, env=trial_environment(folder, made),
            check=False,  # a framework that cannot says so, and its trials end as failures that do
        )  # fmt: skip


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a worker has no other voice


def _interrupted(number: int, frame: object) -> NoReturn:  # noqa: ARG001 - a signal handler's signature
    raise KeyboardInterrupt


def main(arguments: list[str]) -> int:
    """``python -m suite.run.worker RUN_FOLDER TOKEN``: be the worker of one framework."""
    signal.signal(signal.SIGTERM, _interrupted)
    folder, token = Path(arguments[0]).resolve(), arguments[1]
    try:
        introduce(folder, token)
        work(folder, token)
    except KeyboardInterrupt:
        return 130
    except SuiteError as error:
        _say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
