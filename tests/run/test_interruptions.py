"""`suite run` that is interrupted, killed or started twice: nothing is left behind, and the same command goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from suite.machine.environment import ROOT
from suite.results import records
from suite.results.records import Failed
from tests.support import processes, runs

PROFILE = """
name: test
benchmarks: [{spec}]
runners: {{reference: [numpy]}}
rounds: 1
seeds: [0]
laps: {laps}
lap_milliseconds: 0.5
control: false
epochs: {epochs}
"""
LONG = runs.SPEC.replace("hidden: [8]", "hidden: [128, 128]").replace("epochs: 2", "epochs: 400")


def profile(folder: Path, *, laps: int = 20, epochs: int = 60, spec: str = LONG) -> Path:
    (folder / "tiny.yaml").write_text(spec)
    path = folder / "profile.yaml"
    path.write_text(PROFILE.format(spec=folder / "tiny.yaml", laps=laps, epochs=epochs))
    return path


def start(*words: object) -> subprocess.Popen[str]:
    """`suite run` as a terminal starts it: a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "suite", *map(str, words)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip


def in_a_round(folder: Path) -> bool:
    """Whether agents are at work: both are there, and one is stopped because another is asked."""
    agents = [processes.agent(folder, token) for token in runs.CORE]
    return all(agents) and any(agent and agent.state == "T" for agent in agents)


def in_a_training(folder: Path) -> bool:
    return processes.named(folder, "suite.trial", "t01-00-reference") is not None


PLACES: dict[str, Callable[[Path], bool]] = {"a round": in_a_round, "a training": in_a_training}
ENDS: dict[str, Callable[[subprocess.Popen[str]], None]] = {
    "SIGINT": lambda process: os.killpg(process.pid, signal.SIGINT),
    "SIGTERM": lambda process: process.terminate(),
    "SIGKILL": lambda process: process.kill(),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("end", ENDS)
def test_a_run_that_is_broken_off_leaves_nothing_and_goes_on(tmp_path: Path, end: str, place: str) -> None:
    """Ctrl-C reaches the whole process group of the command, the other signals the command alone."""
    reports = tmp_path / "reports"
    words = "run", profile(tmp_path), "--reports", reports
    process = start(*words)
    try:
        processes.until(lambda: process.poll() is not None or PLACES[place](tmp_path), 120)
        assert process.poll() is None, process.communicate()
        time.sleep(0.3)
    finally:
        ENDS[end](process)
    out, err = process.communicate(timeout=60)
    processes.until(lambda: not processes.of(tmp_path))
    assert "Traceback" not in out + err
    if end != "SIGKILL":
        assert process.returncode == 130, out + err
        assert "What is finished is kept" in err
    (folder,) = reports.glob("test-*")
    kept = {path.name: path.read_bytes() for path in (folder / "results").glob("*.json")}
    begun = ["r00-00-reference"] if place == "a round" else ["r00-00-reference", "r01-00-turns", "r01-00-turns"]
    assert sorted(name.partition("--")[0] for name in kept) == begun

    process = start(*words)
    try:
        out, err = process.communicate(timeout=180)
    finally:
        process.terminate()
    assert "Traceback" not in out + err
    assert f"{3 - len(set(begun))} of 3 entries to do" in out
    found = {path.name: path.read_bytes() for path in (folder / "results").glob("*.json")}
    assert kept.items() <= found.items()
    told = [records.read(path) for path in (folder / "results").glob("*.json")]
    assert sorted(r.outcome for r in told) == ["measured", "proof", "timed", "timed"]
    assert not [r for r in told if isinstance(r, Failed)]
    assert processes.of(tmp_path) == []
    assert process.returncode == 0, out + err


def test_a_run_that_is_under_way_is_left_alone_by_a_second_command(tmp_path: Path) -> None:
    words = "run", profile(tmp_path), "--reports", tmp_path / "reports"
    first = start(*words)
    try:
        processes.until(lambda: first.poll() is not None or in_a_round(tmp_path), 120)
        second = start(*words)
        _, err = second.communicate(timeout=60)
        assert second.returncode == 1
        assert "this run is under way already" in err
        assert first.poll() is None
        assert processes.agent(tmp_path, "reference")
    finally:
        first.terminate()
        first.communicate(timeout=60)
    assert processes.of(tmp_path) == []
