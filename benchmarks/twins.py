"""Does `suite run` find a framework that is 10 % slower, and call one that is compared with itself alike?

    .envs/core/bin/python -m benchmarks.twins --trials 10

In a temporary clone of the last commit a runner `twin` is PyTorch's under another token, with processes of its own.  In
a second clone every training step of the twin waits until 1.1 times its own time has passed.  Each trial runs both
runners there, eagerly, from the first proof to the report: several questions, looked at twice.  *Found* is a trial
that calls the twin's training slower.  Of the same code an interval leaves out 1 where it should not.  Exit status 1
unless all were found, and at most one interval of the same code left out 1.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import planted
from suite.machine.environment import ROOT
from suite.report.evidence import comparison
from suite.report.evidence.merge import merge
from suite.report.evidence.sources import read_source
from suite.report.sections.answers import asked
from suite.results.questions import QuestionKind
from suite.results.records import Timed
from suite.stats import Ratio

RUNNER = '''"""PyTorch under another token, to be compared with itself."""

from __future__ import annotations

from typing import ClassVar

from suite.runners.torch import runner
from suite.runners.torch.program import Program


class Runner(runner.Runner):
    """PyTorch's."""

    modes: ClassVar[tuple[str, ...]] = ("eager",)
'''
PROFILE = """name: twins
benchmarks: [digits-mlp]
runners: {torch: [eager], twin: [eager]}
rounds: 8
looks: [5, 8]
half_width: 1.1
laps: 30
threads: {intra: 1, inter: 1}  # threads that wait for each other suffer most from whatever else a machine does
built_alone: 0
control: false
trainings: 0
seeds: [0]
latency_batches: [1]
throughput_batches: [256]
"""


@dataclass(frozen=True)
class Told:
    """By question the twin's time over the other's, rounds timed, seconds from first to last."""

    answers: dict[QuestionKind, Ratio]
    rounds: int
    seconds: float

    @property
    def apart(self) -> int:
        """Intervals that leave out 1."""
        return sum(not found.low <= 1 <= found.high for found in self.answers.values())

    @property
    def found(self) -> bool:
        """Whether the twin's training is called slower."""
        return self.answers[QuestionKind.TRAINING].low > 1


def clone(folder: Path, share: float) -> None:
    """The last commit with a twin, each of whose training steps waits for ``share`` of its own time."""
    planted.clone(folder, 0)
    twin = folder / "suite" / "runners" / "twin"
    twin.mkdir()
    (twin / "__init__.py").write_text('"""PyTorch once more."""\n')
    (twin / "runner.py").write_text(RUNNER + (planted.PLANTED.replace("{share}", str(share)) if share else ""))
    (folder / "twins.yaml").write_text(PROFILE)
    locks = folder / "docker" / "locks"
    shutil.copy(locks / "torch.txt", locks / "twin.txt")
    (folder / ".envs").unlink()
    (folder / ".envs").mkdir()
    for name, place in {"core": "core", "torch": "torch", "twin": "torch"}.items():
        (folder / ".envs" / name).symlink_to((ROOT / ".envs" / place).resolve())


def trial(folder: Path, reports: Path) -> Told:
    """One run in a clone, its verdicts printed."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "suite", "run", "twins.yaml", "--reports", str(reports)],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    seconds = time.monotonic() - began
    if done.returncode:
        sys.exit(f"the run ended with status {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    told = read(reports / "latest", seconds)
    words = (f"{kind} {found.value:.3f} ({found.low:.3f} to {found.high:.3f})" for kind, found in told.answers.items())
    print(f"{', '.join(words)}; {told.rounds} rounds, {seconds:.0f} s", flush=True)
    return told


def read(folder: Path, seconds: float) -> Told:
    """What the report of a run says."""
    source = read_source(folder)
    evidence = merge(source.results, source.plan or {})
    found = comparison.drafts(evidence)
    rows = comparison.decide(found, comparison.judged(found))
    answers = {}
    for row in rows:
        (pair,) = row.pairings
        if not isinstance(pair.outcome, Ratio):
            sys.exit(f"{asked(row.question)}: {pair.outcome}")
        answers[row.question.kind] = pair.outcome if pair.first == "torch" else pair.outcome.inverse
    rounds = max(result.cell.round for result in source.results if isinstance(result, Timed))
    return Told(answers, rounds, seconds)


def table(slowed: list[Told], same: list[Told], slowdown: float) -> str:
    """Both kinds in a Markdown table."""
    intervals, apart = sum(len(told.answers) for told in same), sum(told.apart for told in same)
    return planted.markdown(
        (f"{slowdown:.0%} in every step of training", f"found {sum(t.found for t in slowed)} of {len(slowed)}", slowed),
        ("the same code", f"{apart} of {intervals} intervals leave out 1", same),
    )


def main() -> int:
    """A line per trial, and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10, help="of each kind")
    parser.add_argument("--slowdown", type=float, default=0.1)
    given = parser.parse_args()
    slowed: list[Told] = []
    same: list[Told] = []
    with tempfile.TemporaryDirectory(prefix="parity-") as place:
        folders = Path(place, "planted"), Path(place, "same")
        for folder, share in zip(folders, (given.slowdown, 0.0), strict=True):
            clone(folder, share)
        for number in range(1, given.trials + 1):
            for folder, told in zip(folders, (slowed, same), strict=True):
                print(f"{number} of {given.trials}, {folder.name}: ", end="", flush=True)
                told.append(trial(folder, Path(place, f"{folder.name}-{number}")))
    print(f"\n{table(slowed, same, given.slowdown)}")
    return int(not all(told.found for told in slowed) or sum(told.apart for told in same) > 1)


if __name__ == "__main__":
    sys.exit(main())
