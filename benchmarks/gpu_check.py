"""On a machine with a GPU: does the suite work there?  What tells most comes first, and all ends within the time.

    .envs/core/bin/python -m benchmarks.gpu_check --minutes 10    # make gpu-check MINUTES=10

1. What each framework computes on; without a GPU it ends here.
2. A run of the profile gpu: proofs in every mode and precision, then rounds in turns.  It may take three fifths of the
   time; what is finished by then is reported.
3. Every test that is marked cuda, the frameworks side by side.
4. If time is left, the run goes on where it was broken off.

All that is printed is kept in reports/gpu-check/ as well, with the run.  Nothing needs a network once the environments
are there.  The exit status is 1 if anything failed; what the time cut off is told and is no failure.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from suite.install import environments
from suite.machine.environment import ROOT

FOLDER = ROOT / "reports" / "gpu-check"
RUN_SHARE = 0.6
"""Of the time for the run, before the tests have their turn."""
GRACE_SECONDS = 15.0
"""For ending well after an interruption; of the time given, so much is kept back for it."""
SUITE = (sys.executable, "-m", "suite")


@dataclass(frozen=True)
class Step:
    """Commands that run side by side, each under a label, and the share of the time by which they are to end."""

    name: str
    commands: Mapping[str, Sequence[str]]
    by: float = 1.0
    needed: bool = False  # whether without it the rest is not worth while


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit status, whether time broke it off, and how long it took."""

    step: str
    label: str
    status: int
    broken_off: bool
    seconds: float

    @property
    def failed(self) -> bool:
        """Whether it ended badly by itself."""
        return self.status != 0 and not self.broken_off

    def __str__(self) -> str:
        ended = "cut off by the time" if self.broken_off else "well" if not self.status else f"status {self.status}"
        return f"{self.step}, {self.label}: {ended}, {self.seconds:.0f} s"


def steps(tokens: Sequence[str], device: str, profile: str, folder: Path) -> Iterator[Step]:
    """What is done, in this order."""
    run = {profile: [*SUITE, "run", profile, "--device", device, "--reports", str(folder)]}
    yield Step("doctor", {"all": [*SUITE, "doctor", "--device", device]}, needed=True)
    yield Step("run", run, by=RUN_SHARE)
    yield Step("tests", {token: ["make", "--no-print-directory", f"gpu-check-{token}"] for token in tokens})
    yield Step("run, on from there", run)


def check(todo: Iterator[Step], seconds: float, folder: Path) -> list[Outcome]:
    """Take the steps while there is time; whatever a command prints is shown, and kept in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    began, found, complete = time.monotonic(), [], set[tuple[str, ...]]()
    for step in todo:
        left = {label: given for label, given in step.commands.items() if tuple(given) not in complete}
        until = began + step.by * (seconds - GRACE_SECONDS)
        if not left or time.monotonic() >= until:
            continue
        ended = list(_side_by_side(step.name, left, until, folder))
        found += ended
        complete |= {tuple(left[each.label]) for each in ended if not each.broken_off}
        for each in ended:
            print(f"== {each}", flush=True)
        if step.needed and any(each.failed for each in ended):
            break
    return found


def _side_by_side(name: str, commands: Mapping[str, Sequence[str]], until: float, folder: Path) -> Iterator[Outcome]:
    """The outcome of each command, all of which have ended when the last is told."""
    running = {label: _Running(name, label, command, folder) for label, command in commands.items()}
    try:
        for one in running.values():
            one.wait(until)
    finally:  # also when somebody interrupts this
        for one in running.values():
            one.end()
    for one in running.values():
        yield one.outcome()


class _Running:
    """A command in a process group of its own, what it prints shown line by line behind its label."""

    def __init__(self, step: str, label: str, command: Sequence[str], folder: Path) -> None:
        print(f"== {step}, {label}: {shlex.join(command)}", flush=True)
        self._step, self._label, self._broken_off = step, label, False
        self._began = self._ended = time.monotonic()
        kept = folder / f"{step.replace(', ', '-').replace(' ', '-')}-{label}.log"
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        assert self._process.stdout is not None
        self._shown = threading.Thread(target=_show, args=(self._process.stdout, label, kept), daemon=True)
        self._shown.start()

    def wait(self, until: float) -> None:
        """Until it ends, or until that moment, by the clock that is steady."""
        try:
            self._process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._broken_off = True

    def end(self) -> None:
        """Interrupt it if it still runs, with whatever it started, ever more strongly."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is None:
                os.killpg(self._process.pid, number)
            try:
                self._process.wait(GRACE_SECONDS)
                break
            except subprocess.TimeoutExpired:
                continue
        self._shown.join(GRACE_SECONDS)
        self._ended = time.monotonic()

    def outcome(self) -> Outcome:
        """After its end."""
        status = self._process.poll()
        seconds = self._ended - self._began
        return Outcome(self._step, self._label, -1 if status is None else status, self._broken_off, seconds)


def _show(stream: IO[str], label: str, kept: Path) -> None:
    with stream, kept.open("a", encoding="utf-8") as file:
        for line in stream:
            print(f"{label}| {line}", end="", flush=True)
            file.write(line)
            file.flush()


def newest(folder: Path) -> Path | None:
    """The run that was last at work in ``folder``."""
    plans = sorted(folder.glob("*/plan.json"), key=lambda path: path.parent.stat().st_mtime)
    return plans[-1].parent if plans else None


def main(given: Sequence[str] | None = None) -> int:
    """Check, then write the report of what is there and say how each step ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frameworks", nargs="*", help="whose tests run: all that are installed")
    parser.add_argument("--minutes", type=float, default=10.0, help="for all together")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"], help="cpu tries this script itself")
    parser.add_argument("--profile", default="gpu", help="what the run measures")
    asked = parser.parse_args(given)
    tokens = asked.frameworks or environments.chosen(ROOT)
    outcomes: list[Outcome] = []
    try:
        outcomes = check(steps(tokens, asked.device, asked.profile, FOLDER), asked.minutes * 60, FOLDER)
    finally:
        run = newest(FOLDER)
        if run is not None:
            subprocess.run([*SUITE, "report", str(run)], cwd=ROOT, check=False)
        lines = [f"- {outcome}\n" for outcome in outcomes]
        (FOLDER / "summary.md").write_text("# GPU check\n\n" + "".join(lines), encoding="utf-8")
        print("".join(lines) + f"kept in {FOLDER.relative_to(ROOT)}, the run in {run and run.relative_to(ROOT)}")
    return int(not outcomes or any(outcome.failed for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
