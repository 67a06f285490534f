"""Has it become slower?  The working tree against another commit, in turns, block by block.

Each round starts a fresh process per checkout, for the layout of memory and the luck of compiling differ from process
to process.  Both build and warm up a cell; then they take turns at short blocks of the same work, while the other is
stopped, so that no thread of it spins.  A round's ratio is the median over pairs of blocks, the interval over rounds.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from suite.compare import worktree
from suite.compare.compatible import AGENT, refuse_another_layout
from suite.compare.interpreters import pythons
from suite.data import datasets
from suite.errors import RunError, SpecError, SuiteError, Unsupported
from suite.machine import environment
from suite.machine.environment import ROOT
from suite.report.sections.answers import asked
from suite.report.text.units import level
from suite.results.questions import Question, QuestionKind
from suite.run import plan, session, worker
from suite.run.plan import Plan, Profile
from suite.spec import paths
from suite.stats import LEAST_ROUNDS, Regression, Slowdown, TooFew, slowdown

PAIRS = 200
"""Pairs of blocks of a question in a round."""
BLOCK_NS = 5_000_000
"""A block lasts this long at least: far longer than waking takes, and so short that little else gets in between."""
MOST_CALLS = 10_000
PATIENCE_SECONDS = 900.0
"""How long a side may take to answer; compiling takes longest."""
SHARED = {"spec": "spec", "dataset": "data set", "weights": "initial weights", "order": "batch order"}
"""The digests that must be equal on both sides, in words."""


@dataclass(frozen=True, eq=False)
class Checkout:
    """A checkout that takes part, and the interpreters in which its runners run."""

    name: str
    root: Path
    pythons: Mapping[str, Path]


@dataclass(frozen=True, order=True)
class ComparedCell:
    """A spec under a runner in a mode; ``benchmark`` is what finds the spec in either checkout: a name, or a file."""

    spec: str
    runner: str
    mode: str
    benchmark: str


@dataclass(frozen=True)
class Refused:
    """Why a cell is not compared.  ``failure``: it should have been."""

    reason: str
    failure: bool


@dataclass(frozen=True)
class ComparedRow:
    """One cell under one question."""

    cell: ComparedCell
    question: Question
    outcome: Slowdown | TooFew | Refused


def compared_cells(made: Plan) -> tuple[ComparedCell, ...]:
    """The cells of a plan, each with the way to its spec."""
    ways = {}
    for item in made.profile.benchmarks:
        own = paths.split(paths.benchmark(item))
        for spec in plan.choose((item,), session.BENCHMARKS / "specs", datasets.describe):
            ways[spec.id] = own.file if own else spec.id
    return tuple(
        ComparedCell(spec.id, runner, mode, ways[spec.id])
        for runner, modes in made.profile.runners.items()
        for spec in made.specs
        if spec.id in ways  # what they start from is not asked for
        for mode in modes
    )


def questions(profile: Profile, kinds: Collection[QuestionKind] = ()) -> tuple[Question, ...]:
    """What is asked of each cell: everything, or what is of ``kinds``."""
    every = (
        Question(QuestionKind.TRAINING),
        *(Question(QuestionKind.LATENCY, size) for size in profile.latency_batches),
        *(Question(QuestionKind.THROUGHPUT, size) for size in profile.throughput_batches),
    )
    return tuple(question for question in every if not kinds or question.kind in kinds)


class AgentProcess:
    """The process of one checkout.  It runs only while it is asked something."""

    def __init__(self, tree: Checkout, token: str, made: Plan, work: Path) -> None:
        self._name = tree.name
        self._root = str(tree.root.resolve())
        self._log = work / f"{tree.name}-{token}.log"
        caches = work / tree.name
        caches.mkdir(exist_ok=True)
        words = token, made.profile.device, str(made.threads.intra), str(made.threads.inter)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(tree.pythons[token]), "-P", str(AGENT), *words],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, bufsize=0,
                env={**worker.trial_environment(caches, made), "PYTHONPATH": self._root},
                process_group=0,  # Ctrl-C reaches us alone; a stopped group whose parent dies is ended by the system
            )  # fmt: skip
        self._up = False
        self._lost: RunError | None = None

    def __enter__(self) -> AgentProcess:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # with the workers of a compiler
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def arrive(self) -> None:
        """Wait until it is up, and see that it runs its own checkout.  Raises RunError."""
        if self._up:
            return
        found = self._reply()["root"]
        if found != self._root:
            raise self._given_up(f"ran the suite of {found} instead of {self._root}")
        self._up = True

    def pin(self, cores: Collection[int]) -> None:
        """Let its threads run on ``cores`` alone, where the system can: the same for both, because cores differ."""
        for task in Path(f"/proc/{self._process.pid}/task").glob("*"):
            with contextlib.suppress(OSError):
                os.sched_setaffinity(int(task.name), cores)

    def open(self, **request: object) -> dict[str, str]:
        """Build a cell; returns the digests of what it computes.  Raises Unsupported and RunError."""
        found: dict[str, str] = self._ask(do="open", root=self._root, **request)["digests"]
        return found

    def block(self, question: Question, calls: int) -> int:
        """Nanoseconds of a block.  Raises RunError."""
        found = self._ask(do="block", question=question.kind, batch_size=question.batch_size, calls=calls)
        return max(int(found["ns"]), 1)

    def _ask(self, **request: object) -> dict[str, Any]:
        if self._lost:
            raise self._lost
        stdin = self._process.stdin
        assert stdin is not None
        self._process.send_signal(signal.SIGCONT)
        try:
            stdin.write(json.dumps(request).encode() + b"\n")
        except BrokenPipeError:
            raise self._gone() from None
        found = self._reply()
        if "error" in found:
            raise (Unsupported if found["unsupported"] else RunError)(f"{self._name}: {found['error']}")
        return found

    def _reply(self) -> dict[str, Any]:
        """One line of its answer.  Then it is stopped, because framework threads spin for a while after their work."""
        if self._lost:
            raise self._lost
        line, deadline = b"", time.monotonic() + PATIENCE_SECONDS
        stdout = self._process.stdout
        assert stdout is not None
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise self._given_up(f"did not answer for {PATIENCE_SECONDS:.0f} s")
            part = os.read(stdout.fileno(), 65536)
            if not part:
                raise self._gone()
            line += part
        self._process.send_signal(signal.SIGSTOP)
        found: dict[str, Any] = json.loads(line)
        return found

    def _gone(self) -> RunError:
        status = self._process.wait()
        lines = self._log.read_bytes()[-4000:].decode("utf-8", "replace").strip().splitlines()
        return self._given_up(f"ended with status {status}: {' '.join(lines[-3:]) or 'nothing was said'}")

    def _given_up(self, reason: str) -> RunError:
        """Every later request gets this answer."""
        self._lost = RunError(f"{self._name} {reason}")
        return self._lost


def ratio(here: AgentProcess, there: AgentProcess, question: Question, first: int) -> float:
    """Cost here over cost there: the median over pairs of blocks, whose order alternates from pair to pair."""
    calls, sides = 1, (here, there)
    while (shortest := min(side.block(question, calls) for side in sides)) < BLOCK_NS and calls < MOST_CALLS:
        calls = min(MOST_CALLS, max(calls + 1, math.ceil(calls * BLOCK_NS / shortest)))
    logs = []
    for pair in range(first, first + PAIRS):
        taken = {side: side.block(question, calls) for side in (sides if pair % 2 else reversed(sides))}
        logs.append(math.log(taken[here] / taken[there]))
    return math.exp(median(logs))


class Comparison:
    """Every cell under every question, over all rounds; ``work`` is a folder for logs and caches."""

    def __init__(
        self,
        made: Plan,
        wanted: Sequence[ComparedCell],
        asked: Sequence[Question],
        here: Checkout,
        there: Checkout,
        work: Path,
    ) -> None:
        self._made, self._wanted, self._asked, self._trees, self._work = made, wanted, asked, (here, there), work
        self._ratios: dict[tuple[ComparedCell, Question], list[float]] = {}
        self._refused = {
            cell: Refused(f"{there.name} has no runner {cell.runner}", failure=False)
            for cell in wanted
            if not (there.root / "suite" / "runners" / cell.runner).is_dir()
        }

    def play(self, say: Callable[[str], None]) -> tuple[ComparedRow, ...]:
        """All rounds; a cell that cannot be compared in one of them is left out of the others."""
        began, rounds = time.monotonic(), self._made.profile.rounds
        for number in range(1, rounds + 1):
            passed = time.monotonic() - began
            rest = f", about {passed / (number - 1) * (rounds - number + 1):.0f} s left" if number > 1 else ""
            for token in self._made.profile.runners:
                if left := [c for c in self._wanted if c.runner == token and c not in self._refused]:
                    say(f"round {number} of {rounds}: {token}{rest}")
                    self._round(number, token, left)
                    for (cell, question), found in self._ratios.items():
                        if cell in left and cell not in self._refused:
                            say(f"  {cell.spec} {cell.mode}, {asked(question)}: here / there {found[-1]:.3f}")
        return self._rows()

    def _rows(self) -> tuple[ComparedRow, ...]:
        kept = {key: found for key, found in self._ratios.items() if key[0] not in self._refused}
        return tuple(
            ComparedRow(cell, question, self._refused.get(cell) or slowdown(kept[cell, question], len(kept)))
            for cell in self._wanted
            for question in self._asked
        )

    def _round(self, number: int, token: str, left: Sequence[ComparedCell]) -> None:
        """Run a fresh process per checkout for all cells of a runner; note the ratios, or why there are none."""
        with contextlib.ExitStack() as stack:
            first, second = self._trees if number % 2 else self._trees[::-1]
            started = {
                tree: stack.enter_context(AgentProcess(tree, token, self._made, self._work)) for tree in (first, second)
            }
            here, there = (started[tree] for tree in self._trees)
            for cell in left:
                try:
                    here.arrive()
                    there.arrive()
                    self._open(here, there, cell)
                    for side in (here, there):
                        side.pin(self._cores())
                    found = {question: ratio(here, there, question, number) for question in self._asked}
                except SuiteError as error:
                    self._refused[cell] = Refused(error.what, failure=not isinstance(error, Unsupported))
                    continue
                for question, value in found.items():
                    self._ratios.setdefault((cell, question), []).append(value)

    def _cores(self) -> Collection[int]:
        """As many as the profile has threads, the last first: the system likes to work on the others."""
        return sorted(os.sched_getaffinity(0))[-self._made.threads.intra :] if hasattr(os, "sched_getaffinity") else ()

    def _open(self, here: AgentProcess, there: AgentProcess, cell: ComparedCell) -> None:
        """Make both sides ready for a cell.  Raises Unsupported where it is not the same work."""
        request = {
            "benchmark": cell.benchmark,
            "spec": cell.spec,
            "mode": cell.mode,
            "precision": self._made.profile.precision,
        }
        one, other = (side.open(**request, seed=self._made.profile.seeds[0]) for side in (here, there))
        differing = [words for name, words in SHARED.items() if one[name] != other[name]]
        if differing:
            raise Unsupported(f"not the same {' and '.join(differing)} in both")


def against(
    ref: str, wanted: Profile, kinds: Collection[QuestionKind], say: Callable[[str], None]
) -> tuple[ComparedRow, ...]:
    """The working tree against the commit ``ref``, as the profile ``wanted`` says.

    Raises SpecError, MachineError and RunError.
    """
    commit = worktree.resolve(ROOT, ref)
    refuse_another_layout(ROOT, commit, ref)
    made = session.draft(wanted, "", lambda name: datasets.fetch(name, say))
    for note in made.notes:
        say(f"note: {note}")
    say(f"here: {environment.commit()}; there: {ref}, {commit[:12]}")
    say(f"threads of both: {made.threads.intra} in an operation, {made.threads.inter} at once")
    with worktree.worktree(ROOT, commit) as place, tempfile.TemporaryDirectory(prefix="parity-") as work:
        tokens = tuple(made.profile.runners)
        here = Checkout("here", ROOT, session.pythons(tokens))
        there = Checkout("there", place, pythons(place, tokens, say))
        return Comparison(made, compared_cells(made), questions(made.profile, kinds), here, there, Path(work)).play(say)


def status(rows: Sequence[ComparedRow]) -> int:
    """1 if anything became slower for certain, or could not be compared though it should have been; else 0.

    Raises SpecError where the two have nothing in common: comparing nothing must not look like success.
    """
    refused = [row.outcome for row in rows if isinstance(row.outcome, Refused)]
    if any(verdict(row.outcome) == Regression.SLOWER for row in rows) or any(outcome.failure for outcome in refused):
        return 1
    if len(refused) == len(rows):
        raise SpecError("nothing could be compared", way_out="Choose what both commits have.")
    return 0


def verdict(outcome: Slowdown | TooFew | Refused) -> str:
    """An outcome in words."""
    match outcome:
        case Slowdown():
            return outcome.verdict
        case TooFew():
            return str(outcome)
        case Refused():
            return f"not compared: {outcome.reason}"


def told(rows: Sequence[ComparedRow]) -> tuple[tuple[str, ...], ...]:
    """Header and rows as plain text, for a terminal."""
    found = [("benchmark, framework, mode", "question", "time, here / there", "verdict")]
    for row in rows:
        cell, outcome = row.cell, row.outcome
        ratio = ""
        if isinstance(outcome, Slowdown):
            ratio = f"{outcome.value:.3f} ({outcome.low:.3f} to {outcome.high:.3f})"
        name = f"{cell.spec}, {cell.runner}, {cell.mode}"
        found.append((name, asked(row.question), ratio, verdict(outcome)))
    return tuple(found)


def rule(rows: Sequence[ComparedRow]) -> str:
    """How the table was made, in a sentence or two."""
    made = [row.outcome for row in rows if isinstance(row.outcome, Slowdown)]
    if not made:
        return f"No interval could be computed: that takes {LEAST_ROUNDS} rounds."
    several = f"{len(made)} comparisons were" if len(made) > 1 else "One comparison was"
    return (
        f"{several} made, so each lower bound is taken at {level(made[0].confidence)} and all hold together at 95 % "
        "(Bonferroni). Slower: the lower bound is above 1.05; not slower: the upper bound is not. "
        f"{made[0].rounds} rounds, each with a fresh process per checkout and {PAIRS} pairs of blocks per question."
    )
