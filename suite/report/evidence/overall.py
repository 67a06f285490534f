"""A verdict over a whole run: one framework against another in the mean over all benchmarks, question by question.

Benchmarks of one round may share processes, so their ratios are not independent.  A round therefore gives one number,
the mean over benchmarks of the log-ratio, and the interval is Student's over the rounds that all benchmarks have.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from suite.report.evidence.comparison import AnswerRow, Pairing
from suite.results.questions import QuestionKind
from suite.stats import Decision, Ratio, TooFew, ratio_interval

Setting = tuple[str, str, str, str, str]
"""Run, machine, place, device and precision."""


@dataclass(frozen=True)
class Overall:
    """Two frameworks under one kind of question, over ``benchmarks`` of ``asked`` that have a ratio at all.

    ``outcome`` is the geometric mean of the ratios with its interval at 95 %; ``counts`` says how many benchmarks the
    first won, lost, held equivalent or left undecided.
    """

    setting: Setting
    kind: QuestionKind
    first: str
    second: str
    outcome: Ratio | TooFew
    counts: Counter[Decision]
    benchmarks: int
    asked: int


def overall(rows: Sequence[AnswerRow]) -> tuple[Overall, ...]:
    """Every question of what was timed in turns, where two benchmarks or more were compared."""
    found: dict[tuple[Setting, QuestionKind, str, str], list[Pairing]] = defaultdict(list)
    for row in rows:
        at = row.group
        setting = at.run, at.machine, at.place, at.device, at.precision
        for pair in row.pairings:
            if pair.in_turns:
                found[setting, row.question.kind, pair.first, pair.second].append(pair)
    verdicts = []
    for (setting, kind, one, other), pairs in found.items():
        known = [pair for pair in pairs if pair.ratios]
        if len(known) < 2:
            continue
        counts = Counter(p.outcome.decision if isinstance(p.outcome, Ratio) else Decision.UNDECIDED for p in known)
        verdicts.append(Overall(setting, kind, one, other, _mean(known), counts, len(known), len(pairs)))
    order = list(QuestionKind)
    return tuple(sorted(verdicts, key=lambda v: (v.setting, order.index(v.kind))))


def _mean(pairs: Sequence[Pairing]) -> Ratio | TooFew:
    common = sorted(set.intersection(*(set(pair.ratios) for pair in pairs)))
    return ratio_interval([math.exp(fmean(math.log(pair.ratios[r]) for pair in pairs)) for r in common])
