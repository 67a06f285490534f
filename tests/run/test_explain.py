"""Frameworks under their profilers, as processes: whatever ends one is a reason, and the others go on."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from suite.results.attribution import Attribution, Kind, Unexplained
from suite.results.questions import QuestionKind
from suite.run import explain
from suite.run.explain import Asked
from suite.runners import base
from tests.support import processes, runs
from tests.support.frameworks import of_each_framework

ASKED = Asked("tiny", QuestionKind.TRAINING, 0, 2)


def found(folder: Path, python: Path, **changes: Any) -> Unexplained:
    """What is found of the reference, with another interpreter for its process."""
    made = runs.make(folder, **changes)
    (before, nothing), (after, one) = explain.explain(folder, made, {"reference": python}, ASKED)
    assert (before, nothing, after) == ("reference:numpy", None, "reference:numpy")
    assert isinstance(one, Unexplained)
    assert one.who == "reference:numpy"
    return one


def script(folder: Path, words: str) -> Path:
    """An interpreter that does something else; ``$3`` is the run's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{words}\n")
    path.chmod(0o755)
    return path


def test_who_has_no_profiler_says_so(tmp_path: Path) -> None:
    assert found(tmp_path, Path(sys.executable)).reason == "no profiler is known for reference"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("echo it broke >&2; exit 7", "ended with status 7: it broke"),
        ("kill -SEGV $$", "ended by SIGSEGV: nothing was said"),
        ("exit 0", "cannot be read (No such file or directory): nothing was said"),
        ('mkdir -p "$3/results"; echo "{}" > "$3/results/reference-numpy.json"', "Field required"),
        ('mkdir -p "$3/results"; echo NaN > "$3/results/reference-numpy.json"', "is not whole, valid JSON"),
    ],
)
def test_a_process_that_ends_badly_or_leaves_what_is_none_is_a_reason(tmp_path: Path, words: str, reason: str) -> None:
    assert reason in found(tmp_path, script(tmp_path / "bin", words)).reason


def test_what_an_earlier_process_left_is_not_taken_for_this_ones(tmp_path: Path) -> None:
    for path in (explain.result(tmp_path, "reference", "numpy"), explain.trace(tmp_path, "reference", "numpy")):
        path.parent.mkdir(exist_ok=True)
        path.write_text("old")
    assert "cannot be read" in found(tmp_path, script(tmp_path / "bin", "exit 0")).reason
    assert not explain.trace(tmp_path, "reference", "numpy").exists()


def test_a_process_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    assert found(tmp_path, script(tmp_path / "bin", "sleep 60"), timeout_seconds=1).reason == "took over 1 s"
    assert processes.of(tmp_path) == []


@of_each_framework
def test_a_framework_is_profiled_in_a_process_of_its_own(tmp_path: Path, token: str) -> None:
    if base.profiler(token) is None:
        pytest.skip(f"no profiler is known for {token}")
    mode = base.modes(token)[0]
    made = runs.make(tmp_path, runners={token: (mode,)}, timeout_seconds=300)
    *_, (_, one) = explain.explain(tmp_path, made, {token: Path(sys.executable)}, ASKED)
    assert isinstance(one, Attribution), one
    assert (one.who, one.spec, one.steps, one.environment.threads_intra) == (f"{token}:{mode}", "tiny", 2, 1)
    assert one.kinds[Kind.PRODUCT] > 0
    assert json.loads(explain.trace(tmp_path, token, mode).read_text())["traceEvents"]
