"""Does `suite compare --against` find a slowdown of 15 %, and leave the same code alone?

    .envs/core/bin/python -m benchmarks.planted --trials 10

In a temporary clone of the last commit, one more commit makes every training step of torch wait until 1.15 times its
own time has passed.  Then each trial compares that clone with the commit before it, and an untouched one with itself.
Exit status 1 unless every planted slowdown was found and no trial of the same code was flagged.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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
FOUND = re.compile(r"training\s+([\d.]+) \(([\d.]+ to [\d.]+)\)\s+(.+?)\s*$", re.MULTILINE)


def clone(folder: Path, share: float) -> None:
    """A clone of the last commit, which shares our environments; ``share`` above 0 is planted and committed."""
    git = ["git", "-c", "user.name=planted", "-c", "user.email=planted@localhost", "-C"]
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(folder)], check=True)
    (folder / ".envs").symlink_to(ROOT / ".envs")
    if share:
        with (folder / RUNNER).open("a") as file:
            file.write(PLANTED.replace("{share}", str(share)))
        subprocess.run([*git, str(folder), "commit", "--quiet", "--all", "--message", "Plant a slowdown"], check=True)


def trial(folder: Path, ref: str, given: argparse.Namespace) -> bool:
    """Whether ``suite compare`` calls the clone slower than ``ref``; prints what it found."""
    began = time.monotonic()
    asked = ["-b", given.benchmark, "-r", given.runner, "-q", "training", "--rounds", str(given.rounds)]
    done = subprocess.run(
        [sys.executable, "-m", "suite", "compare", "--against", ref, *asked],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    row = FOUND.search(done.stdout)
    if row is None or done.returncode not in (0, 1):
        sys.exit(f"compare ended with status {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    value, bounds, verdict = row.groups()
    print(f"here / there {value} ({bounds}), {verdict}, {time.monotonic() - began:.0f} s", flush=True)
    if (verdict == "slower") != bool(done.returncode):
        sys.exit(f"the exit status {done.returncode} contradicts the verdict")
    return done.returncode == 1


def main() -> int:
    """A line per trial, and the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10, help="of each kind")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--slowdown", type=float, default=0.15)
    parser.add_argument("--benchmark", default="digits-mlp")
    parser.add_argument("--runner", default="torch:eager", help="a mode of torch")
    given = parser.parse_args()
    began = time.monotonic()
    found = flagged = 0
    with tempfile.TemporaryDirectory(prefix="parity-") as place:
        planted, same = Path(place, "planted"), Path(place, "same")
        clone(planted, given.slowdown)
        clone(same, 0)
        for number in range(1, given.trials + 1):
            print(f"{number} of {given.trials}, planted:   ", end="", flush=True)
            found += trial(planted, "HEAD~1", given)
            print(f"{number} of {given.trials}, same code: ", end="", flush=True)
            flagged += trial(same, "HEAD", given)
    seconds = time.monotonic() - began
    print(
        f"found {found} of {given.trials}, flagged {flagged} of {given.trials}; {given.rounds} rounds per trial, "
        f"{seconds / (2 * given.trials):.0f} s per trial, {seconds:.0f} s in all"
    )
    return int(found < given.trials or flagged > 0)


if __name__ == "__main__":
    sys.exit(main())
