"""A round whose programs do not fit side by side, by parents whose agents share so much memory and no more."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import tests.support.results as make
from suite.results import records
from suite.results.records import Cause, Failed, Record, Timed
from suite.run.agents import Lost
from suite.run.plan import Plan
from suite.run.rounds import Round
from tests.support import runs

MODES = {"reference": ("numpy",), "toy": ("plain", "fast")}
DIGESTS = make.digests(make.spec(), 0).model_dump(mode="json")


@dataclass(eq=False)
class Memory:
    """What agents hold of it, by their parents' tokens and names."""

    room: int
    held: dict[tuple[str, str], int] = field(default_factory=dict)
    killing: bool = False
    """Whether the system kills who wants too much; else it is told that there is none."""
    most: int = 0


@dataclass(eq=False)
class Parent:
    """A parent whose agents take a piece of memory for each program."""

    token: str
    memory: Memory
    asked: list[tuple[str, str]] = field(default_factory=list)
    gone: bool = False
    owed: list[str] = field(default_factory=list)
    answers: deque[dict[str, Any]] = field(default_factory=deque)

    def tell(self, do: str, agent: str, request: dict[str, Any] | None = None) -> None:
        self.owed.append(do)
        self.asked.append((agent, str((request or {}).get("do", do))))
        if do == "end":
            self.memory.held.pop((self.token, agent), None)
        self.answers.append({"answer": self._answer(agent, **request)} if request else {"import_ns": 1, "done": True})

    def _answer(self, agent: str, do: str, **request: Any) -> dict[str, Any]:
        match do:
            case "open":
                memory, name = self.memory, (self.token, agent)
                memory.held[name] = 0 if self.token == "null" else len(request["modes"])
                memory.most = max(memory.most, sum(memory.held.values()))
                told: dict[str, Any] = {"first_step_ns": 1, "compile_cache": "none"}
                if sum(memory.held.values()) > memory.room:
                    del memory.held[name]
                    if memory.killing:
                        return {"lost": True}
                    told = {"error": "no memory", "kind": "MemoryError"}
                return {"digests": DIGESTS, "parent": None, "modes": dict.fromkeys(request["modes"], told)}
            case "warm":
                return {"modes": {mode: {} for mode in request["modes"]}}
            case "settle":
                return {"calls": 1, "examples": 64, "own_ns": None}
            case "block":
                return {"ns": 1000, "queries_ns": [1000] if request["question"] == "latency" else []}
            case "peak":
                return {"flops": 1e9, "bytes": 1e8, "ns": 7}
            case _:
                environment = make.environment(self.token).model_dump(mode="json")
                return {"audits": {}, "environment": environment}

    def answer(self) -> dict[str, Any]:
        self.owed.pop(0)
        found = self.answers.popleft()
        if found.get("answer") == {"lost": True}:
            raise Lost("killed", Cause.OUT_OF_MEMORY)
        return found


def played(folder: Path, made: Plan, memory: Memory, number: int = 1) -> dict[str, Parent]:
    """A round of all benchmarks; the parents, with what they were asked."""
    parents = {token: Parent(token, memory) for token in ("null", *made.profile.runners)}
    entries = [entry for entry in made.entries if entry.kind == "turns" and entry.round == number]
    round_ = Round(folder, made, parents, number, entries)  # type: ignore[arg-type]
    for entry in entries:
        assert list(round_.turns(entry))
    round_.close()
    assert memory.held == {}
    return parents


def left(folder: Path, number: int = 1) -> Iterator[Record]:
    return (records.read(path) for path in sorted((folder / "results").glob(f"r{number:02}-*.json")))


@pytest.mark.parametrize("alone", [0, 1])
def test_programs_that_do_not_fit_side_by_side_take_their_laps_one_after_the_other(tmp_path: Path, alone: int) -> None:
    made = runs.make(tmp_path, runners=MODES, rounds=2, trainings=0, built_alone=alone)
    memory = Memory(room=2)
    parents = played(tmp_path, made, memory)
    found = list(left(tmp_path))
    assert [(r.outcome, isinstance(r, Timed) and r.spans) for r in found] == [("timed", True)] * 4
    assert {r.cell.mode for r in found} == {"numpy", "plain", "fast", "null"}
    assert {len(b.blocks_ns) for r in found if isinstance(r, Timed) for b in r.blocks} == {made.profile.laps}
    blocks = [do for _, do in parents["toy"].asked if do == "block"]
    assert len(blocks) == 2 * 3 * made.profile.laps
    memory.most = 0
    played(tmp_path, made, memory, 2)
    assert memory.most <= memory.room, "what did not fit once is not tried again"


def test_what_does_not_fit_alone_is_a_failure_and_the_others_have_their_laps(tmp_path: Path) -> None:
    made = runs.make(tmp_path, runners=MODES, rounds=1, trainings=0)
    played(tmp_path, made, Memory(room=1))
    outcomes = {r.cell.mode: r for r in left(tmp_path)}
    assert {mode: r.outcome for mode, r in outcomes.items()} == {
        "numpy": "timed", "null": "timed", "plain": "failed", "fast": "failed"
    }  # fmt: skip
    failed = outcomes["fast"]
    assert isinstance(failed, Failed)
    assert failed.cause is Cause.OUT_OF_MEMORY


def test_whose_process_is_killed_has_failed_and_the_others_have_their_laps_side_by_side(tmp_path: Path) -> None:
    made = runs.make(tmp_path, runners=MODES, rounds=1, trainings=0, control=False)
    played(tmp_path, made, Memory(room=2, killing=True))
    found = {r.cell.mode: isinstance(r, Timed) and not r.spans for r in left(tmp_path)}
    assert found == {"null": True, "numpy": True, "plain": False, "fast": False}


def test_who_fits_answers_side_by_side_and_has_a_control(tmp_path: Path) -> None:
    made = runs.make(tmp_path, runners=MODES, rounds=1, trainings=0)
    parents = played(tmp_path, made, Memory(room=9))
    assert [(r.cell.mode, isinstance(r, Timed) and (r.spans, r.control)) for r in left(tmp_path)] == [
        ("null", (False, False)), ("numpy", (False, True)), ("numpy", (False, False)), ("fast", (False, False)),
        ("plain", (False, False)),
    ]  # fmt: skip
    assert [do for name, do in parents["reference"].asked if name == "r01-control"] == [
        "start", "up", "open", "warm", *["block"] * 3 * made.profile.laps, "close", "end"
    ]  # fmt: skip


def test_what_the_machine_can_do_is_asked_once_a_framework_and_precision_before_the_first_lap(tmp_path: Path) -> None:
    made = runs.make(tmp_path, runners=MODES, rounds=2, trainings=0, precisions=("float32", "bfloat16"))
    parents = played(tmp_path, made, Memory(room=99))
    for token, asked in ((token, [do for _, do in parent.asked]) for token, parent in parents.items()):
        assert asked.count("peak") == (0 if token == "null" else 2), token
        if token != "null":
            assert asked.index("open") < asked.index("peak")
            assert asked.index("block") > len(asked) - asked[::-1].index("peak") - 1
    told = [
        (r.cell.runner, r.cell.mode, r.cell.precision, r.peak_flops, r.peak_bytes, r.peak_ns)
        for r in left(tmp_path)
        if isinstance(r, Timed) and r.peak_flops
    ]
    assert sorted(told) == [
        (runner, mode, precision, 1e9, 1e8, 7)
        for runner, mode in (("reference", "numpy"), ("toy", "plain"))
        for precision in ("bfloat16", "float32")
    ]
    later = played(tmp_path, made, Memory(room=99), 2)
    assert not any(do == "peak" for parent in later.values() for _, do in parent.asked)
