"""Precisions of one framework beside each other: speed, memory, and whether accuracies are equivalent.

Frameworks are ranked within a precision alone; this section says what a precision gains, and at what price.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from suite.report.evidence.claims import over_seeds
from suite.report.evidence.comparison import AnswerRow, Best, NotRanked
from suite.report.evidence.merge import ComparisonGroup, Evidence
from suite.report.evidence.precisions import Setting, settings
from suite.report.evidence.processes import Processes
from suite.report.sections.answers import asked, cost
from suite.report.sections.memory import figure
from suite.report.text.markdown import DASH, Markdown, Notes, table
from suite.report.text.units import multiple
from suite.results.questions import Question
from suite.results.records import Measured
from suite.stats import Equivalence, TooFew, ratio_interval

Labels = Mapping[ComparisonGroup, str]
RULE = (
    "Each framework against itself, in its best proven mode of either precision. A ratio is taken round by round and "
    "its interval over rounds, at 95 % by itself. Equivalence of accuracies is tested as between frameworks, over "
    "paired seeds. Frameworks are compared with each other within one precision alone."
)


def section(evidence: Evidence, labels: Labels, rows: Sequence[AnswerRow]) -> list[Markdown]:
    """Nothing where there is one precision; ``labels`` are the groups' names without it."""
    several = [found for found in settings(evidence) if len(found.groups) > 1]
    if not several:
        return []
    notes = Notes()
    body = [line for setting in several for line in _speeds(setting, labels, rows, evidence.frameworks, notes)]
    heads = ["benchmark", "framework", "question", "precision", "fastest", "speed over the first precision's"]
    blocks = [table(heads, body, "llllll")] if body else []
    learnt = [line for setting in several for line in _learnt(evidence, setting, labels, notes)]
    if learnt:
        heads = ["benchmark", "framework", "precision", "accuracy minus the first precision's, points", "equivalent"]
        blocks.append(table([*heads, "peak memory"], learnt, "lllllr"))
    return [*blocks, *notes.lines(), Markdown(RULE)]


def _speeds(
    setting: Setting, labels: Labels, rows: Sequence[AnswerRow], frameworks: Sequence[str], notes: Notes
) -> Iterator[list[str]]:
    """Each question of each framework in each precision."""
    mine = {(row.group, row.question): row for row in rows}
    questions: list[Question] = list(dict.fromkeys(q for group, q in mine if group in setting.groups.values()))
    for framework in frameworks:
        for question in questions:
            base: Best | None = None
            for precision, group in setting.groups.items():
                row = mine.get((group, question))
                best = row.bests.get(framework) if row else None
                if not isinstance(best, Best):
                    continue
                base = base or (best if precision == setting.usual else None)
                shown = f"{cost(question, best.cost)} ({best.framework_mode.mode})"
                said = DASH if precision == setting.usual else _ratio(base, best, notes)
                yield [labels[group], framework, asked(question), precision, shown, said]


def _ratio(base: Best | None, best: Best, notes: Notes) -> str:
    if base is None:
        return notes.dash("the first precision has no ranked number")
    rounds = sorted(set(base.by_round) & set(best.by_round))
    outcome = ratio_interval([base.by_round[r] / best.by_round[r] for r in rounds])
    if isinstance(outcome, TooFew):
        return notes.dash(str(outcome))
    return multiple(outcome)


def _learnt(evidence: Evidence, setting: Setting, labels: Labels, notes: Notes) -> Iterator[list[str]]:
    """Accuracies over paired seeds, and peak memory, of each framework in each precision."""
    processes = Processes(evidence)
    held: dict[str, dict[str, Sequence[Measured]]] = {
        precision: {mode.runner: results for mode, results in evidence.learnt.get(group, {}).items()}
        for precision, group in setting.groups.items()
    }
    for framework in evidence.frameworks:
        first = held[setting.usual].get(framework, ())
        for precision, group in setting.groups.items():
            if results := held[precision].get(framework, ()):
                told = (DASH, DASH) if precision == setting.usual else _accuracy(evidence, results, first, notes)
                yield [labels[group], framework, precision, *told, figure(results, "steady_bytes", processes, notes)]


def _accuracy(
    evidence: Evidence, results: Sequence[Measured], first: Sequence[Measured], notes: Notes
) -> tuple[str, str]:
    tested = over_seeds(evidence, results, first) if first else None
    match tested and tested[1]:
        case Equivalence() as found:
            numbers = f"{100 * found.mean:+.2f} ({100 * found.low:+.2f} to {100 * found.high:+.2f})"
            return numbers, "yes, within 0.5 points" if found.equivalent else "not shown"
        case TooFew() as few:
            return DASH, notes.dash(str(few))
        case NotRanked() as reason:
            return DASH, notes.dash(reason.reason)
        case _:
            return notes.dash("no accuracy in both precisions"), DASH
