"""The check of a GPU: its order, its time, and what it leaves when time or somebody cuts it off."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from benchmarks import gpu_check
from benchmarks.gpu_check import Step, check, steps
from suite.machine import environment
from suite.runners import base


def python(words: str) -> list[str]:
    return [sys.executable, "-c", words]


SLEEP = "import signal, time; signal.signal(signal.SIGINT, {}); print('begun', flush=True); time.sleep(600)"
SLOW = python(SLEEP.format("signal.SIG_DFL"))
STUBBORN = python(SLEEP.format("signal.SIG_IGN"))


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_check, "GRACE_SECONDS", 0.5)


def test_what_tells_most_comes_first_and_every_framework_is_tested(tmp_path: Path) -> None:
    tokens = [token for token in base.tokens() if environment.lock_digest(token)]
    todo = list(steps(tokens, "cuda", "gpu", tmp_path))
    assert [step.name for step in todo] == ["doctor", "run", "tests", "run, on from there"]
    assert set(todo[2].commands) == set(tokens)
    assert todo[1].commands == todo[3].commands, "the same command goes on"


def test_what_time_cuts_off_is_told_and_the_rest_has_its_turn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    todo = [Step("first", {"slow": SLOW}, by=0.5), Step("second", {"quick": python("print('here')")})]
    found = check(iter(todo), 5.0, tmp_path)
    assert [(each.label, each.broken_off, each.failed) for each in found] == [
        ("slow", True, False),
        ("quick", False, False),
    ]
    assert (tmp_path / "first-slow.log").read_text() == "begun\n"
    assert "quick| here" in capsys.readouterr().out


def test_who_does_not_listen_is_ended_all_the_same(tmp_path: Path) -> None:
    (found,) = check(iter([Step("only", {"stubborn": STUBBORN})]), 3.0, tmp_path)
    assert found.broken_off
    assert found.status < 0, "ended by a signal"


def test_what_was_broken_off_goes_on_and_what_was_done_is_not_done_again(tmp_path: Path) -> None:
    done = python("print('once')")
    steps_ = [Step("a", {"slow": SLOW, "done": done}, by=0.3), Step("b", {"slow": SLOW, "done": done})]
    found = check(iter(steps_), 5.0, tmp_path)
    assert [(each.step, each.label) for each in found] == [("a", "slow"), ("a", "done"), ("b", "slow")]


def test_a_failure_is_told_and_only_what_is_needed_ends_the_rest(tmp_path: Path) -> None:
    bad, good = python("raise SystemExit(3)"), python("pass")
    found = check(iter([Step("a", {"x": bad}), Step("b", {"x": good})]), 60.0, tmp_path)
    assert [(each.step, each.failed) for each in found] == [("a", True), ("b", False)]
    found = check(iter([Step("a", {"x": bad}, needed=True), Step("b", {"x": good})]), 60.0, tmp_path)
    assert [each.step for each in found] == ["a"]


def test_side_by_side_means_at_once(tmp_path: Path) -> None:
    meeting = (
        "import pathlib, sys, time\nhere, there = map(pathlib.Path, sys.argv[1:])\nhere.touch()\n"
        "while not there.exists(): time.sleep(0.01)"
    )
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    both = {"one": [*python(meeting), one, two], "two": [*python(meeting), two, one]}
    began = time.monotonic()
    found = check(iter([Step("both", both)]), 60.0, tmp_path)
    assert [each.broken_off for each in found] == [False, False], time.monotonic() - began


def test_the_newest_run_is_the_one_that_was_last_at_work(tmp_path: Path) -> None:
    assert gpu_check.newest(tmp_path) is None
    for number, name in enumerate(("b", "a")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "plan.json").write_text("{}")
        os.utime(tmp_path / name, (number, number))
    assert gpu_check.newest(tmp_path) == tmp_path / "a"
