"""Trials as processes: one entry of the plan in a fresh process; whatever it does not record is a failure."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from suite.errors import RunError
from suite.machine.environment import ROOT
from suite.results import records
from suite.results.records import Cause, Cell, Failed
from suite.run.folder import finished
from suite.run.plan import STOPPED, Entry, Plan

GRACE_SECONDS = 10.0
"""How long a trial that is told to stop may take to flush."""
POLL_SECONDS = 0.2
"""How often it is looked whether a trial should go on.  Nothing is timed while trials run."""


def run_trial(
    folder: Path, made: Plan, entry: Entry, *, threads: int | None = None, go_on: Callable[[], bool] = lambda: True
) -> None:
    """Run one entry as a fresh process, until it ends, takes too long, or ``go_on`` says no.

    ``threads`` in an operation replace the plan's where other work runs beside.  Raises RunError where the trial could
    not go on, a full disk for one, and InterruptedError where it was not to.
    """
    log = folder / "logs" / f"{entry.id}.log"
    log.parent.mkdir(exist_ok=True)
    limit = made.profile.timeout_seconds * len(entry.cells)
    beside = [str(threads)] if threads else []
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "suite.trial", str(folder), entry.id, *beside],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            env=_patient(entry, made) | trial_environment(folder, made, threads) | {"PARITY_PARENT": str(os.getpid())},
            start_new_session=True,
        )  # fmt: skip
    deadline = time.monotonic() + limit
    try:
        while (status := _waited(process)) is None:
            if not go_on():
                raise InterruptedError
            if time.monotonic() > deadline:
                stop(process)
                record_failure(folder, made, entry, entry.cells, Cause.TIMED_OUT, f"took over {limit} s")
                return
    except BaseException:
        stop(process)
        raise
    if status == STOPPED:
        raise RunError(last_lines(log, 3), where=entry.id)
    if status:
        record_failure(folder, made, entry, entry.cells, *why(status, log))
    elif not finished(folder, entry):
        record_failure(folder, made, entry, entry.cells, Cause.CRASHED, "ended without a result")


def _waited(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return None


def why(status: int, log: Path) -> tuple[Cause, str]:
    """Cause and reason of a process that ended by itself with ``status``."""
    if status == -signal.SIGKILL:
        return Cause.OUT_OF_MEMORY, "was killed by the system, most likely for want of memory"
    if status < 0:
        return Cause.CRASHED, f"ended by {signal.Signals(-status).name}: {last_lines(log, 3)}"
    return Cause.CRASHED, f"ended with status {status}: {last_lines(log, 5)}"


def last_lines(log: Path, count: int) -> str:
    """The last that a process wrote into its log."""
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


def record_failure(folder: Path, made: Plan, entry: Entry, cells: Iterable[Cell], cause: Cause, reason: str) -> None:
    """A failed result for each of ``cells`` that has left none."""
    for cell in cells:
        path = folder / "results" / entry.file(cell)
        if not path.exists():
            common = made.record(entry, cell, dt.datetime.now(dt.UTC))
            records.write(path, Failed(**common, cause=cause, reason=reason[:20_000]))


def _patient(entry: Entry, made: Plan) -> dict[str, str]:
    """Threads that sleep while they wait, where nothing is timed: spinning they take the cores of whatever runs beside.

    Two frameworks that prove beside each other so take 80 s in place of 105 on two cores.
    """
    if entry.kind == "tune" or made.profile.device == "cuda":
        return {}
    return {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_THREAD_TIMEOUT": "4"}


def trial_environment(folder: Path, made: Plan, threads: int | None = None) -> dict[str, str]:
    """The environment variables of a trial: threads pinned, caches inside the run's folder, nothing chatty."""
    count = str(threads or made.threads.intra)
    caches = folder / "caches"
    workspace = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"} if made.profile.deterministic else {}  # else PyTorch refuses
    return {
        **os.environ,
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "TORCHINDUCTOR_CACHE_DIR": str(caches / "inductor"),
        "TRITON_CACHE_DIR": str(caches / "triton"),
        "CUDA_CACHE_PATH": str(caches / "cuda"),
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "PYTHONHASHSEED": "0",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **workspace,
    }
