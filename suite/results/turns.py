"""What speed taken in turns says: costs and ratios by round, each framework's best mode, and what is still open.

The report and whoever conducts a run decide by the same functions.  They need the core's statistics, so no trial and no
plan imports this.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations
from statistics import fmean, median
from typing import Any, Protocol, TypeVar

from suite.results import looks as at
from suite.results.questions import Question, headline
from suite.results.records import Timed
from suite.stats import LEAST_ROUNDS, NULL_LIMIT, Decision, Ratio, TooFew, instrument_share, ratio_interval

NULL = "null"
"""The runner that computes nothing: what it takes is the instrument's own cost."""


class _Ordered(Protocol):
    def __lt__(self, other: Any, /) -> bool: ...


Mode = TypeVar("Mode", bound=_Ordered)
Rounds = Mapping[int, Timed]
"""A cell's records by round."""
CellName = tuple[str, str, str, str]
"""Benchmark, runner, mode and precision."""


def undisturbed(costs: Sequence[float]) -> float:
    """What positive costs of one cell's laps are where least disturbs it: the geometric mean of the cheapest third.

    Whatever else a machine does adds time and takes none away, and some programs suffer more from it than others, so it
    does not cancel in a ratio; and it often lasts for seconds, so a median over laps is no refuge.  Of very few laps it
    is the cheapest.  J. Chen, J. Revels, "Robust benchmarking in noisy environments" (2016), take the least of all; a
    third leaves the say to more than one block.
    """
    cheapest = sorted(costs)[: max(1, round(len(costs) / 3))]
    return math.exp(fmean(map(math.log, cheapest)))


def eligible(costs: Mapping[Mode, Mapping[int, float]]) -> dict[Mode, Mapping[int, float]]:
    """The modes that lack no round which another mode has."""
    most = max(map(len, costs.values()), default=0)
    return {mode: mine for mode, mine in costs.items() if len(mine) == most}


def best_mode(costs: Mapping[Mode, Mapping[int, float]]) -> Mode | None:
    """The mode whose median cost over all rounds is lowest; it stands for its framework in every round.

    To choose for each round by the others ties rounds together: ``benchmarks/coverage_of_speed.py`` shows that where
    modes are nearly equal intervals are then too narrow.
    """
    return min(costs, key=lambda mode: (median(costs[mode].values()), mode)) if costs else None


def cost(record: Timed, question: Question) -> float | None:
    """What a question cost a cell in one round; None if it was not asked, or took no time at all."""
    laps = record.laps(question)
    return undisturbed(laps) if laps and min(laps) > 0 else None


def ratios(first: Mapping[str, Rounds], second: Mapping[str, Rounds], question: Question) -> dict[int, float]:
    """Speed of one framework over that of another by round, each in the mode that is best over all of them.

    Both are given by mode, and then by round.
    """
    ours, theirs = (_chosen(side, question) for side in (first, second))
    return {number: theirs[number] / ours[number] for number in sorted(set(ours) & set(theirs))}


def _chosen(modes: Mapping[str, Rounds], question: Question) -> Mapping[int, float]:
    """The costs of the best mode by round."""
    costs = {
        mode: {number: found for number, record in rounds.items() if (found := cost(record, question)) is not None}
        for mode, rounds in modes.items()
    }
    series = eligible({mode: mine for mode, mine in costs.items() if mine})
    best = best_mode(series)
    return series[best] if best is not None else {}


def asked(record: Timed) -> set[Question]:
    """What a cell was asked."""
    return {Question(block.kind, block.batch_size) for block in record.blocks}


def settled(ratio: Ratio | TooFew, half_width: float, widest: float) -> bool:
    """Whether a comparison needs no further round: it is decided and no wider than ``widest``, or precise enough.

    Widths are factors: an interval from ``r / h`` to ``r * h`` has the half-width ``h``.
    """
    if isinstance(ratio, TooFew):
        return False
    return math.sqrt(ratio.high / ratio.low) <= (
        half_width if ratio.decision is Decision.UNDECIDED else max(widest, half_width)
    )


Comparison = tuple[str, str, Question, str, str]
"""Benchmark, precision, question and two frameworks."""


def compared(
    records: Iterable[Timed], looks: Sequence[int], frameworks: Sequence[str], without: Collection[CellName] = ()
) -> dict[Comparison, dict[int, float]]:
    """The ratios, by round, of every comparison of a run: those of the report's answer, as far as records decide them.

    Rounds count up to the last look that a benchmark has reached; before its first, all.  Left out are controls, cells
    ``without`` a rank, those whose timed outputs are wrong, and those of which the instrument costs over 1 %.
    """
    cells: dict[tuple[str, str], dict[tuple[str, str], dict[int, Timed]]] = defaultdict(lambda: defaultdict(dict))
    held: dict[str, set[int]] = defaultdict(set)
    for record in records:
        name = record.cell
        held[name.spec].add(name.round)
        if not record.control:
            cells[name.spec, name.precision][name.runner, name.mode][name.round] = record
    found: dict[Comparison, dict[int, float]] = {}
    for (spec, precision), everyone in sorted(cells.items()):
        last = at.reached(held[spec], looks) or max(held[spec])
        cut = {who: {n: r for n, r in rounds.items() if n <= last} for who, rounds in everyone.items()}
        mine = {
            who: rounds
            for who, rounds in cut.items()
            if rounds and (spec, *who, precision) not in without and _sound(rounds)
        }
        questions = sorted(
            {q for (runner, _), rs in mine.items() if runner != NULL for r in rs.values() for q in asked(r)}
        )
        for question in headline(questions):
            timed = {who: rounds for who, rounds in mine.items() if _long_enough(cut, rounds, question)}
            for one, other in combinations(frameworks, 2):
                sides = [{mode: rs for (runner, mode), rs in timed.items() if runner == f} for f in (one, other)]
                if ratio := ratios(sides[0], sides[1], question):
                    found[spec, precision, question, one, other] = ratio
    return found


def _sound(rounds: Rounds) -> bool:
    return all(audit.right for r in rounds.values() for audit in r.audits)


def _long_enough(cells: Mapping[tuple[str, str], Rounds], rounds: Rounds, question: Question) -> bool:
    nothing = [
        s for (runner, _), rs in cells.items() if runner == NULL for r in rs.values() for s in r.samples(question)
    ]
    samples = [s for r in rounds.values() for s in r.samples(question)]
    return not (nothing and samples) or instrument_share(nothing, samples) <= NULL_LIMIT


def open_benchmarks(
    records: Iterable[Timed],
    looks: Sequence[int],
    half_width: float,
    widest: float,
    frameworks: Sequence[str],
    *,
    without: Collection[CellName] = (),
    more: int = 0,
) -> frozenset[str]:
    """The ids of the specs that go on after a look: they hold a comparison that is not ``settled``.

    ``records`` are all of the run so far; a spec without any is not judged.  ``looks`` are the profile's, in order, as
    ``looks.in_order`` gives them.  Before its first look a benchmark is open, after its last one it is not.
    ``without`` names cells that cannot be ranked, such as unproven ones; ``more`` counts comparisons that the report
    makes elsewhere, such as those of energy.
    """
    everything = list(records)
    held: dict[str, set[int]] = defaultdict(set)
    for record in everything:
        held[record.cell.spec].add(record.cell.round)
    found = compared(everything, looks, frameworks, without)
    comparisons = max(len(found) + more, 1) * at.counted(looks, LEAST_ROUNDS)
    still = set()
    for (spec, *_), by_round in found.items():
        ratio = ratio_interval(list(by_round.values()), comparisons)
        still |= set() if settled(ratio, half_width, widest) else {spec}
    last = max(looks, default=0)
    early = {spec for spec, rounds in held.items() if at.reached(rounds, looks) is None}
    over = {spec for spec, rounds in held.items() if at.reached(rounds, looks) == last}
    return frozenset((still | early) - over)
