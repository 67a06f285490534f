"""The verdict over the run: a line per question, right below the answer's table."""

from __future__ import annotations

from collections.abc import Sequence

from suite.report.evidence.comparison import AnswerRow
from suite.report.evidence.overall import Overall, overall
from suite.report.text.markdown import Markdown, md, table
from suite.report.text.units import speed
from suite.results.questions import QuestionKind
from suite.stats import Decision, Ratio

ASKED = {
    QuestionKind.TRAINING: "training",
    QuestionKind.LATENCY: "latency, smallest batch",
    QuestionKind.THROUGHPUT: "throughput, largest batch",
}
RULE = (
    "*Over all benchmarks*: each round gives the mean over benchmarks of the log-ratio, and the interval is Student's "
    "over the rounds that all of them have, at 95 % by itself. Benchmarks are not treated as independent, since those "
    "of one round may share processes. They are no sample of all networks: the mean is of these benchmarks alone."
)


def section(rows: Sequence[AnswerRow]) -> list[Markdown]:
    """Nothing where there is no more than one benchmark, or nothing was timed in turns."""
    found = overall(rows)
    if not found:
        return []
    several = len({verdict.setting for verdict in found}) > 1
    body = []
    for verdict in found:
        pair = f"{verdict.first} / {verdict.second}"
        where = [", ".join(verdict.setting[i] for i in (0, 3, 4, 2))] if several else []
        count = f"{verdict.benchmarks}"
        count += f" of {verdict.asked}" if verdict.benchmarks < verdict.asked else ""
        body.append([*where, ASKED[verdict.kind], pair, count, _said(verdict), *_counts(verdict)])
    heads = [*(["run"] if several else []), "over all benchmarks", "frameworks", "benchmarks", "verdict"]
    heads += ["first faster", "second faster", "equivalent", "undecided"]
    return [table(heads, body, "l" * several + "llrlrrrr"), Markdown(RULE)]


def _said(verdict: Overall) -> str:
    match verdict.outcome:
        case Ratio() as ratio:
            return speed(verdict.first, verdict.second, ratio)
        case few:
            return md("none, {} in common", few)


def _counts(verdict: Overall) -> list[str]:
    order = (Decision.FASTER, Decision.SLOWER, Decision.EQUIVALENT, Decision.UNDECIDED)
    return [f"{verdict.counts[decision]}" for decision in order]
