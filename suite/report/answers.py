"""The first thing a reader sees: one table, and one sentence per benchmark."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

from suite.report.compare import Best, Kind, NotRanked, Pairing, Question, Row, comparisons
from suite.report.markdown import DASH, Markdown, Notes, md, plain, table
from suite.report.merge import Arena, Evidence
from suite.report.units import duration, level, rate, speed
from suite.stats import Ratio, TooFew


def cost(question: Question, value: float) -> str:
    """A cost in the unit in which its question is asked."""
    return duration(value) if question.kind is Kind.LATENCY else rate(value, question.counted)


def asked(question: Question) -> str:
    """A question in words."""
    match question.kind:
        case Kind.TRAINING:
            return "training"
        case Kind.LATENCY:
            return f"latency, batch {question.batch_size:,}"
        case Kind.THROUGHPUT:
            return f"throughput, batch {question.batch_size:,}"


Show = Callable[[Question, float], str]


def _best(question: Question, best: Best | NotRanked, show: Show = cost) -> tuple[str, str]:
    """A framework's entry, and the note it needs."""
    if isinstance(best, NotRanked):
        return DASH, best.reason
    notes = []
    if best.variants:
        notes.append(f"identical to the reference up to {', '.join(best.variants)}")
    if len(best.chosen) > 1:
        notes.append(f"{' and '.join(best.chosen)} are nearly alike: leaving out a round changes which is best")
    return f"{show(question, best.cost)} ({best.contender.mode})", "; ".join(notes)


def verdict(pair: Pairing, more: str = "faster") -> str:
    """A comparison in words."""
    match pair.outcome:
        case Ratio():
            return speed(pair.first, pair.second, pair.outcome, more)
        case TooFew():
            return f"not ranked: {pair.outcome}"
        case NotRanked():
            return "not ranked"


def answer_rows(rows: Sequence[Row], frameworks: Sequence[str], labels: Mapping[Arena, str]) -> list[tuple[str, ...]]:
    """Header and rows as plain text, for a terminal."""
    found = [("benchmark", "question", *frameworks, "verdict")]
    for row in rows:
        bests = [_best(row.question, row.bests[f])[0] for f in frameworks]
        words = []
        for pair in row.pairings:
            why = f": {pair.outcome.reason}" if isinstance(pair.outcome, NotRanked) else ""
            words.append(_named(row, pair, verdict(pair)) + why)
        found.append((labels[row.arena], asked(row.question), *bests, "; ".join(words) or "nothing to compare with"))
    return [tuple(plain(cell) for cell in row) for row in found]


def _named(row: Row, pair: Pairing, words: str) -> str:
    """With more than two frameworks a verdict names its pair."""
    return f"{pair.first} / {pair.second}: {words}" if len(row.pairings) > 1 else words


def answers(
    evidence: Evidence, rows: Sequence[Row], labels: Mapping[Arena, str], ratio_chart: str | None, others: int = 0
) -> list[Markdown]:
    """The section's blocks; ``others``: comparisons elsewhere in the report that hold together with these."""
    if not rows:
        return [Markdown("There is no number to compare.")]
    blocks = [*ranking(evidence, rows, labels), *_sentences(rows, labels), _rule(rows, others)]
    if ratio_chart:
        blocks.append(Markdown(f"![Ratios of speed with their intervals](charts/{ratio_chart})"))
    return blocks


def ranking(
    evidence: Evidence, rows: Sequence[Row], labels: Mapping[Arena, str], show: Show = cost, more: str = "faster"
) -> list[Markdown]:
    """A line per question: each framework's best mode, and the verdict on each pair."""
    notes = Notes()
    body: list[list[str]] = []
    for row in rows:
        line: list[str] = [labels[row.arena], asked(row.question)]
        for framework in evidence.frameworks:
            text, note = _best(row.question, row.bests[framework], show)
            line.append(notes.mark(text, note) if note else text)
        verdicts = []
        for pair in row.pairings:
            words = md("{}", _named(row, pair, verdict(pair, more)))
            if isinstance(pair.outcome, NotRanked):
                words = notes.mark(words, pair.outcome.reason)
            verdicts.append(words)
        line.append(Markdown("; ".join(verdicts)) if verdicts else notes.dash("only one framework was measured"))
        body.append(line)
    heads = ["benchmark", "question", *(f"{f}, best mode" for f in evidence.frameworks), "verdict"]
    return [table(heads, body), *notes.lines()]


def _sentences(rows: Sequence[Row], labels: Mapping[Arena, str]) -> list[Markdown]:
    lines = []
    for arena, group in groupby(rows, key=lambda row: row.arena):
        clauses: dict[Markdown, list[str]] = {}
        for row in group:
            clauses.setdefault(_clause(row), []).append(asked(row.question))
        parts = [md("{}: {}", " and ".join(named), clause) for clause, named in clauses.items()]
        lines.append(md("- **{}**: {}.", labels[arena], Markdown("; ".join(parts))))
    return [Markdown("\n".join(lines))]


def _clause(row: Row) -> Markdown:
    clauses = []
    for pair in row.pairings:
        match pair.outcome:
            case Ratio():
                modes = [b.contender.mode for f in (pair.first, pair.second) if isinstance(b := row.bests[f], Best)]
                clauses.append(
                    md(
                        "{}, {} against {}, {} rounds",
                        verdict(pair),
                        *modes,
                        pair.outcome.rounds,
                    )
                )
            case TooFew():
                clauses.append(md("{} and {} not ranked, {}", pair.first, pair.second, pair.outcome))
            case NotRanked():
                clauses.append(md("{} and {} not ranked, {}", pair.first, pair.second, pair.outcome.reason))
    return Markdown("; ".join(clauses)) if clauses else Markdown("only one framework was measured")


def _rule(rows: Sequence[Row], others: int) -> Markdown:
    count = comparisons(rows)
    if not count:
        return Markdown(
            "No interval could be computed: ranking takes two proven frameworks, and five rounds of each in which "
            "training did not diverge."
        )
    confidence = next(p.outcome.confidence for row in rows for p in row.pairings if isinstance(p.outcome, Ratio))
    return Markdown(
        f"How to read it: the ratio is the geometric mean, over rounds, of the ratio of the two medians in a round; in "
        f"brackets its interval. {_made(count, others)} made, so each interval is "
        f"taken at {level(confidence)} and all hold together at 95 % (Bonferroni). *Equivalent* means that the "
        "interval lies within 3 % of 1, *undecided* that it holds 1. A framework's best mode is the proven one with "
        "the lowest median over rounds; the ratio takes, in each round, the mode that is best over the other rounds, "
        "so that no round helps to choose what it measures."
    )


def _made(count: int, others: int) -> str:
    both = count + others
    energy = f", {others} of them of energy," if others else ""
    return f"{both} comparison{'s' if both > 1 else ''}{energy} {'were' if both > 1 else 'was'}"
