"""Does `suite compare --against` find a slowdown of 5 %, and leave the same code alone?

    .envs/core/bin/python -m benchmarks.planted --trials 10

In a temporary clone of the last commit, one more commit makes every training step of torch wait until 1.05 times its
own time has passed.  Then each trial compares that clone with the commit before it, and an untouched one with itself,
as the profile `compare` says: every framework and question, until all is decided.  *Found* is a trial that calls
torch's training slower, *flagged* one of the same code that calls anything slower.  Exit status 1 unless all were found
and none was flagged.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Protocol

from suite.machine.environment import ROOT

RUNNER = Path("suite/runners/torch/runner.py")
PLANTED = """

def _waiting(step, share):
    from time import perf_counter_ns

    def slowed(*arguments):
        began = perf_counter_ns()
        done = step(*arguments)
        until = perf_counter_ns() + share * (perf_counter_ns() - began)
        while perf_counter_ns() < until:
            pass
        return done

    return slowed


Program._train_batch = _waiting(Program._train_batch, {share})
"""
CELL = re.compile(r"^\S+, (\w+), \w+")
ROW = re.compile(r"\b(training|latency|throughput)\b.*?([\d.]+) \(([\d.]+ to [\d.]+)\)\s+(.+?)\s*$")
PLACE = "torch training"
"""What the slowdown is planted in."""
ROUND = re.compile(r"^round (\d+) of ", re.MULTILINE)


class Trial(Protocol):
    """What a trial took: rounds, and seconds from first to last."""

    @property
    def rounds(self) -> int:
        """Of fresh processes."""
        ...

    @property
    def seconds(self) -> float:
        """Of everything."""
        ...


@dataclass(frozen=True)
class Told:
    """What a trial printed: verdicts by framework and question, torch's ratio of training, rounds played, seconds."""

    verdicts: tuple[tuple[str, str], ...]
    training: str
    rounds: int
    seconds: float

    @property
    def slower(self) -> tuple[str, ...]:
        """Framework and question of what is called slower."""
        return tuple(asked for asked, verdict in self.verdicts if verdict == "slower")


def clone(folder: Path, share: float) -> None:
    """A clone of the last commit, which shares our environments; ``share`` above 0 is planted and committed."""
    git = ["git", "-c", "user.name=planted", "-c", "user.email=planted@localhost", "-C"]
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(folder)], check=True)
    (folder / ".envs").symlink_to(ROOT / ".envs")
    if share:
        with (folder / RUNNER).open("a") as file:
            file.write(PLANTED.replace("{share}", str(share)))
        subprocess.run([*git, str(folder), "commit", "--quiet", "--all", "--message", "Plant a slowdown"], check=True)


def trial(folder: Path, ref: str, options: list[str]) -> Told:
    """What ``suite compare`` says of the clone against ``ref``; its rows of training and its verdicts are printed."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "suite", "compare", "--against", ref, *options],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "120"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    told = read(done.stdout, time.monotonic() - began)
    if not told.verdicts or done.returncode not in (0, 1):
        sys.exit(f"compare ended with status {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    if bool(told.slower) != bool(done.returncode):
        sys.exit(f"the exit status {done.returncode} contradicts the verdicts")
    verdicts = ", ".join(f"{asked} {verdict}" for asked, verdict in told.verdicts)
    print(f"{PLACE} {told.training}; {verdicts}; {told.rounds} rounds, {told.seconds:.0f} s", flush=True)
    return told


def read(said: str, seconds: float) -> Told:
    """What a comparison printed."""
    framework, training = "", ""
    verdicts = []
    for line in said.splitlines():
        if cell := CELL.match(line):
            framework = cell.group(1)
        if row := ROW.search(line):
            question, value, bounds, verdict = row.groups()
            verdicts.append((f"{framework} {question}", verdict))
            if verdicts[-1][0] == PLACE:
                training = f"{value} ({bounds})"
    return Told(tuple(verdicts), training, max(map(int, ROUND.findall(said)), default=0), seconds)


def table(planted: list[Told], same: list[Told], slowdown: float) -> str:
    """Both kinds in a Markdown table."""
    found, flagged = sum(PLACE in told.slower for told in planted), sum(bool(told.slower) for told in same)
    return markdown(
        (f"{slowdown:.0%} in every step of {PLACE}", f"found {found} of {len(planted)}", planted),
        ("the same code", f"flagged {flagged} of {len(same)}", same),
    )


def markdown(*kinds: tuple[str, str, Sequence[Trial]]) -> str:
    """A row for each kind of trial: what was planted, what came of it, and what it took."""
    lines = ["| planted | outcome | rounds | seconds, median | seconds, most |", "|---|---|---|---:|---:|"]
    for words, outcome, told in kinds:
        fewest, most = min(each.rounds for each in told), max(each.rounds for each in told)
        rounds = f"{fewest} to {most}" if fewest < most else str(most)
        seconds = [each.seconds for each in told]
        lines.append(f"| {words} | {outcome} | {rounds} | {median(seconds):.0f} | {max(seconds):.0f} |")
    return "\n".join(lines)


def main() -> int:
    """A line per trial, and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10, help="of each kind")
    parser.add_argument("--slowdown", type=float, default=0.05)
    parser.add_argument("options", nargs="*", help="of suite compare, after --: -r torch:eager -q training")
    given = parser.parse_args()
    planted: list[Told] = []
    same: list[Told] = []
    with tempfile.TemporaryDirectory(prefix="parity-") as place:
        slowed, untouched = Path(place, "planted"), Path(place, "same")
        clone(slowed, given.slowdown)
        clone(untouched, 0)
        for number in range(1, given.trials + 1):
            print(f"{number} of {given.trials}, planted: ", end="", flush=True)
            planted.append(trial(slowed, "HEAD~1", given.options))
            print(f"{number} of {given.trials}, same code: ", end="", flush=True)
            same.append(trial(untouched, "HEAD", given.options))
    print(f"\n{table(planted, same, given.slowdown)}")
    return int(not all(PLACE in told.slower for told in planted) or any(told.slower for told in same))


if __name__ == "__main__":
    sys.exit(main())
