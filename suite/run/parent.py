"""The parent of one framework's processes: it runs trials, and starts, stops and asks agents, as the conductor says.

    python -m suite.run.parent RUN_FOLDER TOKEN

A conductor cannot signal into another container, so each framework has a parent beside it.  Messages, and answers:

    {"do": "trials", "entries": [ID], "at_once": 1, "threads": 1 or null} -> {"done": true}, when all of them are
    {"do": "start", "agent": NAME}                 -> {"done": true}, while it imports its framework
    {"do": "up", "agent": NAME}                    -> {"import_ns": 1}
    {"do": "ask", "agent": NAME, "request": {...}} -> {"answer": {...}}
    {"do": "end", "agent": NAME}                   -> {"done": true}

An agent that is gone is ``{"lost": SENTENCE, "cause": CAUSE}``; an agent's own error is an answer.
``{"stop": SENTENCE}`` says that nobody can go on: a full disk.  The parent ends, and all that it started, when the
conductor hangs up.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

from suite.errors import RunError, SuiteError
from suite.machine import environment
from suite.machine.environment import ROOT
from suite.run import plan, wire
from suite.run.agents import AgentProcess, Lost, command
from suite.run.plan import Plan
from suite.run.trials import run_trial, trial_environment

ARRIVAL_SECONDS = float(os.environ.get("PARITY_ARRIVAL_SECONDS", "120"))
"""How long conductor and parents wait for each other."""


class Parent:
    """One framework's, for one run."""

    def __init__(self, folder: Path, made: Plan, token: str, line: wire.Line) -> None:
        self._folder, self._made, self._token, self._line = folder, made, token, line
        self._agents: dict[str, AgentProcess] = {}

    def work(self) -> None:
        """Do what is said until the conductor hangs up."""
        try:
            while True:
                message = self._line.receive()
                self._line.send(**self._answered(message))
        except (wire.Hangup, InterruptedError):
            return
        finally:
            for agent in self._agents.values():
                agent.end()

    def _answered(self, message: dict[str, Any]) -> dict[str, Any]:
        do = message.pop("do")
        try:
            match do:
                case "trials":
                    return self._trials(**message)
                case "start":
                    return self._start(**message)
                case "up":
                    greeting = self._agents[message["agent"]].greeting(self._patience, self._wanted)
                    return {"import_ns": greeting["import_ns"]}
                case "ask":
                    agent = self._agents[message["agent"]]
                    return {"answer": agent.answer(message["request"], self._patience, self._wanted)}
                case _:
                    agent = self._agents.pop(message["agent"])
                    agent.end()
                    return {"done": True}
        except InterruptedError:  # the conductor has hung up
            raise
        except Lost as error:
            return {"lost": error.what, "cause": error.cause}
        except RunError as error:
            return {"stop": str(error)}
        except OSError as error:  # a log that cannot be written, a process that cannot be started
            return {"stop": f"{error.strerror}: {error.filename or ''}"}

    @property
    def _patience(self) -> float:
        return float(self._made.profile.timeout_seconds)

    def _wanted(self) -> bool:
        return not self._line.hung_up

    def _trials(self, entries: list[str], at_once: int, threads: int | None) -> dict[str, Any]:
        """Run them, so many beside each other; what ends one for good, a full disk or who hangs up, ends all."""
        broken = threading.Event()

        def go_on() -> bool:
            return self._wanted() and not broken.is_set()

        def one(entry: str) -> None:
            try:
                if not go_on():
                    raise InterruptedError
                run_trial(self._folder, self._made, self._made.entry(entry), threads=threads, go_on=go_on)
            except BaseException:
                broken.set()
                raise

        with ThreadPoolExecutor(at_once) as pool:  # whose threads live on: a trial ends with the one that began it
            running = [pool.submit(one, entry) for entry in entries]
            try:
                errors = [error for each in running if (error := each.exception())]
            except BaseException:  # a signal is heard here alone
                broken.set()
                raise
        for error in sorted(errors, key=lambda error: isinstance(error, InterruptedError)):
            raise error  # what broke the others off, rather than that they were
        return {"done": True}

    def _start(self, agent: str) -> dict[str, Any]:
        made = self._made
        words = command(Path(sys.executable), self._token, made.profile.device, made.threads.intra, made.threads.inter)
        variables = {**trial_environment(self._folder, made), "PARITY_RUN": "1"}
        log = self._folder / "logs" / f"{agent}.log"
        process = AgentProcess(self._token, words, variables, log)
        if old := self._agents.pop(agent, None):
            old.end()
        self._agents[agent] = process
        return {"done": True}


def introduce(made: Plan, folder: Path, token: str) -> None:
    """Say what a framework computes on, where nobody else does: in a container."""
    if not (environment.in_container() and environment.lock_digest(token)):
        return
    subprocess.run(
        [sys.executable, "-m", "suite.machine.doctor", token, made.profile.device],
        cwd=ROOT, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, env=trial_environment(folder, made),
        check=False,  # a framework that cannot says so, and its trials end as failures that do
    )  # fmt: skip


def _interrupted(number: int, frame: object) -> NoReturn:  # noqa: ARG001 - a signal handler's signature
    raise KeyboardInterrupt


def main(arguments: list[str]) -> int:
    """Be the parent of one framework's processes in a run's folder."""
    signal.signal(signal.SIGTERM, _interrupted)
    folder, token = Path(arguments[0]).resolve(), arguments[1]
    try:
        made = plan.read(folder)
        if not any(cell.runner == token for entry in made.entries for cell in entry.cells):
            sys.stdout.write(f"{token} is not asked for in this run\n")
            return 0
        introduce(made, folder, token)
        with contextlib.closing(wire.connected(folder, ARRIVAL_SECONDS)) as line:
            line.send(token=token, run=made.id)
            Parent(folder, made, token, line).work()
    except KeyboardInterrupt:
        return 130
    except (SuiteError, wire.Hangup) as error:
        sys.stderr.write(f"{error or 'the conductor hung up'}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
