"""Agents as processes: asked, stopped between requests, lost and ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from suite.errors import Unsupported
from suite.results.records import Cause
from suite.run import agents
from suite.run.agents import AgentProcess, Lost, Refusal
from suite.run.plan import Plan
from suite.run.trials import trial_environment
from tests.support import processes, runs

Start = Callable[..., AgentProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start an agent of a script, which is told to a Python of its own."""
    started: list[AgentProcess] = []

    def begin(code: str) -> AgentProcess:
        words = [sys.executable, "-c", f"import sys, os, time, json\n{code}"]
        variables = {**os.environ, "HERE": str(tmp_path)}
        started.append(AgentProcess("torch", words, variables, tmp_path / "logs" / "agent.log"))
        return started[-1]

    yield begin
    for each in started:
        each.end()
    assert processes.of(tmp_path) == []


UP = "print('{}', flush=True)"
ASKED = f"{UP}; input()"
ECHO = f"{UP}\nfor line in sys.stdin: print(json.dumps({{'said': json.loads(line)}}), flush=True)"
SPIN = """
import threading
threading.Thread(target=lambda: [None for _ in iter(int, 1)], daemon=True).start()
"""


def test_an_agent_answers_in_order_whatever_it_is_asked(start: Start) -> None:
    mine = start(ECHO)
    assert mine.greeting(30) == {}
    for request in ({"text": "line\nbreak"}, {"numbers": list(range(10_000))}):
        assert mine.ask(request, 30) == {"said": request}


def test_an_agent_uses_no_processor_unless_it_is_asked(start: Start, tmp_path: Path) -> None:
    """Not even where its threads spin."""
    mine = start(SPIN + ECHO)
    mine.greeting(30)
    (process,) = processes.of(tmp_path)
    processes.until(lambda: process.state == "T", 10)
    before = process.ticks
    time.sleep(0.3)
    assert (process.state, process.ticks) == ("T", before)
    mine.ask({}, 30)
    processes.until(lambda: process.state == "T", 10)


def test_an_agent_of_a_run_stands_still_while_another_is_asked(tmp_path: Path) -> None:
    made = runs.make(tmp_path, spec=runs.SPEC.replace("[8]", "[512, 512]"), rounds=1, trainings=0)
    entry = next(entry for entry in made.entries if entry.kind == "turns")

    def begin(name: str) -> AgentProcess:
        words = agents.command(Path(sys.executable), "reference", "cpu", 1, 1)
        variables = {**trial_environment(tmp_path, made), "PARITY_RUN": "1"}
        return AgentProcess(name, words, variables, tmp_path / "logs" / f"{name}.log")

    with begin("first") as first, begin("second") as second:
        found = []
        for each in (first, second):
            assert each.greeting(60)["import_ns"] > 0
            source = {"run": str(tmp_path), "entry": entry.id}
            each.ask({"do": "open", "source": source, "modes": ["numpy"], "seed": 0}, 60)
            found.append(processes.Process(each._process.pid, ()))
        block = {"do": "block", "mode": "numpy", "question": "training", "batch_size": 0, "calls": 1, "examples": 6400}
        for asked, other in ((0, 1), (1, 0)):
            processes.until(lambda other=other: found[other].state == "T", 10)
            before = [process.ticks for process in found]
            (first, second)[asked].ask(block, 60)
            assert found[other].state == "T"
            assert found[other].ticks == before[other]
            assert found[asked].ticks > before[asked] + 5
    assert processes.of(tmp_path) == []


def test_an_error_is_an_answer_and_the_agent_is_there_still(start: Start) -> None:
    told = [
        {"error": "no such layer", "unsupported": True},
        {"error": "boom", "unsupported": False, "kind": "ValueError", "cause": None},
        {"error": "no room", "kind": "OutOfMemoryError"},
        {"error": "its parent diverged", "cause": "diverged"},
        {"fine": 1},
    ]
    mine = start(f"{UP}\nfor line, told in zip(sys.stdin, {told!r}): print(json.dumps(told), flush=True)")
    mine.greeting(30)
    with pytest.raises(Unsupported, match="no such layer"):
        mine.ask({}, 30)
    causes = []
    for _ in range(3):
        with pytest.raises(Refusal) as refused:
            mine.ask({}, 30)
        causes.append((refused.value.cause, refused.value.missing))
    assert causes == [(Cause.CRASHED, False), (Cause.OUT_OF_MEMORY, False), (Cause.DIVERGED, True)]
    assert mine.ask({}, 30) == {"fine": 1}


NONE = "answered what is none: b'"
ENDS = {
    "killed": (f"{ASKED}; os.kill(os.getpid(), 9)", Cause.OUT_OF_MEMORY, "was killed by the system"),
    "crashed": (f"{ASKED}; os.kill(os.getpid(), 11)", Cause.CRASHED, "ended by SIGSEGV"),
    "gave up": (f"{ASKED}; sys.exit('no driver')", Cause.CRASHED, "ended with status 1: no driver"),
    "ended slowly": (
        f"{ASKED}; os.close(1); time.sleep(0.5); sys.exit('no driver')", Cause.CRASHED, "status 1: no driver"
    ),
    "half an answer": (f"{ASKED}; print('{{', end='', flush=True); os._exit(3)", Cause.CRASHED, "status 3"),
    "no answer": (f"{ASKED}; print('hello', flush=True); input()", Cause.CRASHED, f"{NONE}hello"),
    "no object": (f"{ASKED}; print('[1]', flush=True); input()", Cause.CRASHED, f"{NONE}[1]"),
    "too deep": (f"{ASKED}; print('[' * 10**5, flush=True); input()", Cause.CRASHED, f"{NONE}[[["),
    "hangs": (f"{ASKED}; time.sleep(60)", Cause.TIMED_OUT, "did not answer for 2 s"),
}  # fmt: skip


@pytest.mark.parametrize("end", ENDS)
def test_an_agent_that_is_lost_says_why_for_ever(start: Start, tmp_path: Path, end: str) -> None:
    code, cause, reason = ENDS[end]
    mine = start(code)
    mine.greeting(30)
    for _ in range(2):
        with pytest.raises(Lost) as lost:
            mine.ask({"do": "block"}, 2)
        assert (lost.value.cause, reason in lost.value.what) == (cause, True), lost.value.what
        assert lost.value.what.startswith("torch ")
    processes.until(lambda: not processes.of(tmp_path), 10)


def test_an_agent_that_was_stopped_from_outside_is_given_up_in_time(start: Start, tmp_path: Path) -> None:
    mine = start("print('{}', flush=True); input(); time.sleep(0.5); print('{}', flush=True); input()")
    mine.greeting(30)
    (process,) = processes.of(tmp_path)

    def hold() -> None:
        time.sleep(0.1)
        while process.there:
            os.kill(process.pid, signal.SIGSTOP)
            time.sleep(0.005)

    holding = threading.Thread(target=hold)
    holding.start()
    with pytest.raises(Lost, match="did not answer for 1 s"):
        mine.ask({}, 1)
    holding.join()


def test_an_agent_that_nobody_waits_for_is_given_up(start: Start) -> None:
    mine = start("print('{}', flush=True); input(); time.sleep(60)")
    mine.greeting(30)
    with pytest.raises(Lost, match="nobody waits for its answer"):
        mine.ask({}, 60, go_on=lambda: False)


def test_an_agent_that_cannot_start_says_why(start: Start) -> None:
    with pytest.raises(Lost, match="torch ended with status 1: there is no such framework"):
        start("sys.exit('there is no such framework')").greeting(30)


def test_what_an_agent_started_ends_with_it(start: Start, tmp_path: Path) -> None:
    """The workers of a compiler."""
    mine = start("import subprocess\nsubprocess.Popen(['sleep', '60'])\n" + ECHO)
    mine.greeting(30)
    assert len(processes.of(tmp_path)) == 2
    mine.end()
    processes.until(lambda: not processes.of(tmp_path), 10)
    with pytest.raises(Lost, match="torch was ended"):
        mine.ask({}, 1)


def test_an_agent_ends_with_its_parent_though_it_is_stopped(tmp_path: Path) -> None:
    """Its parent is killed, so that nobody could have told it."""
    made: Plan = runs.make(tmp_path)
    words = agents.command(Path(sys.executable), "null", "cpu", 1, 1)
    variables = {**trial_environment(tmp_path, made), "PARITY_RUN": "1"}
    code = f"""
import time
from pathlib import Path
from suite.run.agents import AgentProcess
mine = AgentProcess("null", {words!r}, {variables!r}, Path({str(tmp_path / "log")!r}))
mine.greeting(60)
print("up", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=agents.ROOT) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        process = processes.until(lambda: processes.agent(tmp_path, "null"))
        processes.until(lambda: process.state == "T", 10)
        parent.kill()
    processes.until(lambda: not process.there, 10)
