"""Seconds per epoch out of turns, and the trainings that go with them: learnt once, at the speed of each mode."""

from __future__ import annotations

from statistics import median

from suite.report.evidence.comparison import by_round
from suite.report.evidence.merge import ComparisonGroup, Evidence, FrameworkMode
from suite.results.questions import Question, QuestionKind
from suite.results.records import Measured, Timed


def epoch_ns(evidence: Evidence, group: ComparisonGroup, framework_mode: FrameworkMode) -> float | None:
    """Nanoseconds of one epoch: the training examples times their median cost in turns; None without turns."""
    timed = [r for r in evidence.groups[group].get(framework_mode, ()) if isinstance(r, Timed)]
    costs = by_round(timed, Question(QuestionKind.TRAINING))
    return timed[0].spec.train_images * median(costs.values()) if costs else None


def trainings(evidence: Evidence, group: ComparisonGroup, framework_mode: FrameworkMode) -> list[Measured]:
    """Those of a mode; where it was not trained, those of the mode in which its framework was.

    Modes that are proven identical learn the same, so one of them is trained and the others are timed.
    """
    learnt = evidence.learnt[group]
    mine = [r for r in learnt.get(framework_mode, ()) if r.training]
    return mine or [r for c, rs in learnt.items() if c.runner == framework_mode.runner for r in rs if r.training]
