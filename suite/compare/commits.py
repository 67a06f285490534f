"""Has it become slower?  The working tree against another commit, in turns, block by block, until it is decided.

Each round starts a fresh process per checkout, for the layout of memory and the luck of compiling differ from process
to process.  Both build the same benchmarks and take turns in laps (``suite/run/turns.py``).  A round's ratio is that
of the least disturbed laps; the interval is over rounds.  At each look, what is decided is closed; when all is, rounds
end.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from suite.compare import sides, worktree
from suite.compare.compatible import refuse_another_layout
from suite.compare.interpreters import pythons
from suite.compare.sides import Checkout, ComparedCell, Refused, Side
from suite.data import datasets
from suite.errors import SpecError
from suite.inputs import initial
from suite.machine import environment
from suite.machine.environment import ROOT
from suite.report.sections.answers import asked
from suite.report.text.units import level
from suite.results import looks
from suite.results.questions import Question, QuestionKind
from suite.results.turns import undisturbed
from suite.run import plan, session, turns
from suite.run.plan import Plan
from suite.run.profile import Profile
from suite.run.turns import Call, Seat
from suite.spec import paths
from suite.stats import LEAST_ROUNDS, NOT_SLOWER, SLOWER, Regression, Slowdown, TooFew, slowdown

Compared = tuple[ComparedCell, Question]
OWN_SHARE = 0.05
"""What a call of training may cost by itself, as a share of the call.

Both sides pay it, so it cancels but for hiding as much of a slowdown of steps: 5 % looks like 4.75 %.  Longer calls
would hide less and leave time for fewer laps.
"""


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
    every = turns.questions(profile.latency_batches, profile.throughput_batches)
    return tuple(question for question in every if not kinds or question.kind in kinds)


def paired(here: Seat, there: Seat, questions: Sequence[Question], nanoseconds: float) -> dict[Question, Call]:
    """How both answer, alike: in as many calls, and of as many examples, as the one that needs more of them."""
    turns.settle((here, there), questions, nanoseconds, own_share=OWN_SHARE)
    return {
        question: Call(max(one.calls, other.calls), max(one.examples, other.examples), None)
        for question in questions
        if (one := here.calls.get(question)) and (other := there.calls.get(question))
    }


def ratio(here: Seat, there: Seat, question: Question) -> float:
    """Cost here over cost there, of equally many calls."""
    return undisturbed(here.blocks[question]) / undisturbed(there.blocks[question])


class Comparison:
    """Every cell under every question, until it is decided; ``work`` is a folder for logs and caches."""

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
        self._looks = looks.in_order(made.profile.looks, made.profile.rounds)
        self._ratios: dict[Compared, list[float]] = {}
        self._calls: dict[Compared, Call] = {}
        self._outcomes: dict[Compared, Slowdown | TooFew] = {}
        self._closed: set[Compared] = set()
        self._refused = {
            cell: Refused(f"{there.name} has no runner {cell.runner}", failure=False)
            for cell in wanted
            if not (there.root / "suite" / "runners" / cell.runner).is_dir()
        }

    def play(self, say: Callable[[str], None]) -> tuple[ComparedRow, ...]:
        """Rounds until all is decided; a cell that cannot be compared in one of them is left out of the others."""
        began, rounds = time.monotonic(), self._made.profile.rounds
        for number in range(1, rounds + 1):
            passed = time.monotonic() - began
            rest = f", about {passed / (number - 1) * (rounds - number + 1):.0f} s left at most" if number > 1 else ""
            for token in self._made.profile.runners:
                if left := self._open(token):
                    say(f"round {number} of {rounds} at most: {token}{rest}")
                    self._round(number, token, left)
                    for (cell, question), found in self._ratios.items():
                        if question in left.get(cell, ()) and cell not in self._refused:
                            say(f"  {cell.spec} {cell.mode}, {asked(question)}: here / there {found[-1]:.3f}")
            if number in self._looks:
                self._look()
            if not any(self._open(token) for token in self._made.profile.runners):
                break
        return self._rows()

    def _open(self, token: str) -> dict[ComparedCell, list[Question]]:
        """What is not decided yet."""
        cells = [cell for cell in self._wanted if cell.runner == token and cell not in self._refused]
        found = {cell: [q for q in self._asked if (cell, q) not in self._closed] for cell in cells}
        return {cell: questions for cell, questions in found.items() if questions}

    def _look(self) -> None:
        """See what is decided.  Bounds are as wide as all comparisons at all looks need."""
        chances = looks.counted(self._looks, LEAST_ROUNDS)
        for compared, found in self._ratios.items():
            if compared not in self._closed:
                outcome = self._outcomes[compared] = slowdown(found, len(self._ratios), chances)
                if isinstance(outcome, Slowdown) and outcome.verdict is not Regression.UNDECIDED:
                    self._closed.add(compared)

    def _rows(self) -> tuple[ComparedRow, ...]:
        return tuple(
            ComparedRow(cell, question, self._refused.get(cell) or self._outcomes[cell, question])
            for cell in self._wanted
            for question in self._asked
        )

    def _round(self, number: int, token: str, left: Mapping[ComparedCell, Sequence[Question]]) -> None:
        """Run a fresh process per checkout for the open cells of a runner; note the ratios, or why there are none."""
        with sides.started(self._trees, token, self._made, self._work, turned=number % 2 == 0) as both:
            if failed := sides.arrived(both):
                self._refused |= dict.fromkeys(left, failed)
                return
            benchmarks = defaultdict(list)
            for cell in left:
                benchmarks[cell.spec, cell.benchmark].append(cell)
            for cells in benchmarks.values():
                self._refused |= sides.opened(both, cells)
                for side in both:
                    side.agent.pin(self._cores())  # the same for both, because cores differ
                self._laps(number, both, {cell: left[cell] for cell in cells if cell not in self._refused})

    def _laps(self, number: int, both: tuple[Side, Side], left: Mapping[ComparedCell, Sequence[Question]]) -> None:
        """The turns of a benchmark that both have open."""
        profile = self._made.profile
        seats = {cell: tuple(Seat(side.agent, cell.mode) for side in both) for cell in left}
        for cell, (here, there) in seats.items():
            new = [question for question in left[cell] if (cell, question) not in self._calls]
            found = paired(here, there, new, profile.lap_milliseconds * 1e6)
            self._calls |= {(cell, question): call for question, call in found.items()}
            for seat in (here, there):
                seat.calls = {q: self._calls[cell, q] for q in left[cell] if (cell, q) in self._calls}
        every = [seat for pair in seats.values() for seat in pair]
        names = (cell.runner + cell.spec for cell in left)
        draw = initial.stream(0, "turns", profile.name, str(number), *names)
        turns.play(every, self._asked, profile.laps, draw)
        for cell, (here, there) in seats.items():
            for side, seat in zip(both, (here, there), strict=True):
                if seat.failed is not None:
                    self._refused.setdefault(cell, sides.refusal(side.tree, seat.failed))
            if cell not in self._refused:
                for question in left[cell]:
                    self._ratios.setdefault((cell, question), []).append(ratio(here, there, question))

    def _cores(self) -> Collection[int]:
        """As many as the profile has threads, the last first: the system likes to work on the others."""
        return sorted(os.sched_getaffinity(0))[-self._made.threads.intra :] if hasattr(os, "sched_getaffinity") else ()


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


def rule(rows: Sequence[ComparedRow], profile: Profile) -> str:
    """How the table was made, in a few sentences."""
    made = [row.outcome for row in rows if isinstance(row.outcome, Slowdown)]
    if not made:
        return f"No interval could be computed: that takes {LEAST_ROUNDS} rounds."
    several = f"{len(made)} comparisons were" if len(made) > 1 else "One comparison was"
    seen = [str(look) for look in looks.in_order(profile.looks, profile.rounds) if look >= LEAST_ROUNDS]
    when = f"after {', '.join(seen[:-1])} and {seen[-1]} rounds" if len(seen) > 1 else f"after {seen[0]} rounds"
    fewest, most = min(found.rounds for found in made), max(found.rounds for found in made)
    took = f"{fewest} to {most}" if fewest < most else str(most)
    return (
        f"{several} made, looked at {when}, and timed no further once decided; so each bound is taken at "
        f"{level(made[0].confidence)}, and all hold together at 95 % (Bonferroni). Slower: the lower bound is above "
        f"{SLOWER}; not slower: the upper bound is not above {NOT_SLOWER}. It took {took} rounds, each with a fresh "
        f"process per checkout and {profile.laps} laps, in which either side answers every open question with a block "
        f"of at least {profile.lap_milliseconds:g} ms."
    )
