"""The first thing a reader sees: one table, and one sentence per benchmark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import geometric_mean
from typing import Any

from suite.report.evidence.comparison import AnswerRow, Best, NotRanked, Pairing, comparisons, looks_of
from suite.report.evidence.gaps import LEFT_OUT, Benchmark
from suite.report.evidence.merge import ComparisonGroup, Evidence
from suite.report.evidence.unanswered import EVERYTHING, Unanswered
from suite.report.sections import overall
from suite.report.text.markdown import DASH, LONGEST_TABLE, Markdown, Notes, md, plain, table
from suite.report.text.units import duration, level, rate, speed
from suite.results.looks import of_plan
from suite.results.questions import Question, QuestionKind
from suite.stats import Ratio, TooFew

NO_NUMBER = "no number"
"""The verdict where no framework has one."""


def cost(question: Question, value: float) -> str:
    """A cost in the unit in which its question is asked."""
    return duration(value) if question.kind is QuestionKind.LATENCY else rate(value, question.counted)


def asked(question: Question) -> str:
    """A question in words."""
    match question.kind:
        case QuestionKind.TRAINING:
            return "training"
        case QuestionKind.LATENCY:
            return f"latency, batch {question.batch_size:,}"
        case QuestionKind.THROUGHPUT:
            return f"throughput, batch {question.batch_size:,}"


Show = Callable[[Question, float], str]


def _best(question: Question, best: Best | NotRanked, show: Show = cost) -> tuple[str, str]:
    """A framework's entry, and the note it needs."""
    if isinstance(best, NotRanked):
        return best.word or DASH, best.reason
    notes = [best.lacks] if best.lacks else []
    if best.variants:
        notes.append(f"identical to the reference up to {', '.join(best.variants)}")
    return f"{show(question, best.cost)} ({best.framework_mode.mode})", "; ".join(notes)


def verdict(pair: Pairing, more: str = "faster") -> str:
    """A comparison in words."""
    match pair.outcome:
        case Ratio():
            return speed(pair.first, pair.second, pair.outcome, more)
        case TooFew() as few if pair.in_turns and pair.ratios:
            middle = geometric_mean(pair.ratios.values())
            one, other, times = (
                (pair.first, pair.second, middle) if middle >= 1 else (pair.second, pair.first, 1 / middle)
            )
            return f"not ranked yet, {few.have} of {few.need} rounds: {one} / {other} {times:.2f}"
        case TooFew():
            return f"not ranked: {pair.outcome}"
        case NotRanked():
            return "not ranked"


@dataclass(frozen=True)
class _Line:
    """A line of the answer: its position, the frameworks' entries with their notes, and the verdicts."""

    place: tuple[str, str, int]
    label: str
    question: str
    bests: tuple[tuple[str, str], ...]
    verdicts: tuple[tuple[str, NotRanked | None], ...]
    known: bool = True


def _lines(
    rows: Sequence[AnswerRow],
    without: Sequence[Unanswered],
    frameworks: Sequence[str],
    labels: Mapping[ComparisonGroup, str],
    runs: Sequence[str],
    show: Show = cost,
    more: str = "faster",
) -> list[_Line]:
    """Rows with numbers, and what has none behind those of its benchmark."""
    found = []
    for i, row in enumerate(rows):
        verdicts = []
        for pair in row.pairings:
            refused = pair.outcome if isinstance(pair.outcome, NotRanked) else None
            verdicts.append((_named(row, pair, verdict(pair, more)), refused))
        bests = tuple(_best(row.question, row.bests[f], show) for f in frameworks)
        place = row.group.spec, row.group.run, i
        found.append(_Line(place, labels[row.group], asked(row.question), bests, tuple(verdicts)))
    for i, none in enumerate(without, len(rows)):
        bests = tuple((none.bests[f].word or DASH, none.bests[f].reason) for f in frameworks)
        said = none.verdict.word if none.verdict.word == LEFT_OUT else NO_NUMBER
        place, label = (none.benchmark.spec, none.benchmark.run, i), called(none.benchmark, runs)
        found.append(_Line(place, label, none.question, bests, ((said, none.verdict),), known=False))
    return sorted(found, key=lambda line: line.place)


def called(benchmark: Benchmark, runs: Sequence[str]) -> str:
    """A benchmark without numbers, by its name and, among several, its run."""
    number = f", run {runs.index(benchmark.run) + 1}" if len(runs) > 1 and benchmark.run in runs else ""
    return benchmark.spec + number


def answer_rows(
    rows: Sequence[AnswerRow],
    without: Sequence[Unanswered],
    frameworks: Sequence[str],
    labels: Mapping[ComparisonGroup, str],
    runs: Sequence[str],
) -> list[tuple[str, ...]]:
    """Header and rows as plain text, for a terminal; why something is not ranked in a few words.

    Each pair of frameworks has a row of its own.
    """
    found = [("benchmark", "question", *frameworks, "verdict")]
    for line in _lines(rows, without, frameworks, labels, runs):
        words = [f"{said}: {why.word or why.reason}" if why and line.known else said for said, why in line.verdicts]
        bests = [text for text, _ in line.bests]
        found += [(line.label, line.question, *bests, word) for word in words or ["nothing to compare with"]]
    return [tuple(plain(cell) for cell in row) for row in found]


def _named(row: AnswerRow, pair: Pairing, words: str) -> str:
    """With more than two frameworks a verdict names its pair."""
    return f"{pair.first} / {pair.second}: {words}" if len(row.pairings) > 1 else words


def answers(
    evidence: Evidence,
    rows: Sequence[AnswerRow],
    without: Sequence[Unanswered],
    labels: Mapping[ComparisonGroup, str],
    ratio_chart: str | None,
    others: int = 0,
) -> list[Markdown]:
    """The section's blocks; ``others``: comparisons elsewhere in the report whose intervals share the same 95 %."""
    if not rows and not without:
        return [Markdown(nothing(evidence))]
    ranks = ranking(evidence, rows, labels, without=without)
    blocks = [*ranks, *overall.section(rows), *_sentences(rows, without, labels, evidence.runs)]
    blocks.append(_rule(evidence, rows, others))
    if ratio_chart:
        blocks.append(Markdown(f"![Ratios of speed with their intervals](charts/{ratio_chart})"))
    return blocks


def nothing(evidence: Evidence) -> str:
    """The text of the answer where nothing was to be measured."""
    words = "There is no number to compare"
    if evidence.proofs:
        counts = Counter(str(proof.identity.verdict) for proof in evidence.proofs)
        counts.update(str(f.cause) for f in evidence.failed)
        words += ": nothing was measured. Of the proofs " + ", ".join(f"{n:,} {what}" for what, n in counts.items())
    return words + "."


def ranking(
    evidence: Evidence,
    rows: Sequence[AnswerRow],
    labels: Mapping[ComparisonGroup, str],
    show: Show = cost,
    more: str = "faster",
    without: Sequence[Unanswered] = (),
) -> list[Markdown]:
    """A line per question: each framework's best mode, and the verdict on each pair.

    Of a table too long to be shown whole, what has no number comes first.
    """
    notes = Notes()
    body: list[list[str]] = []
    found = _lines(rows, without, evidence.frameworks, labels, evidence.runs, show, more)
    for line in sorted(found, key=lambda line: line.known) if len(found) > LONGEST_TABLE else found:
        cells: list[str] = [line.label, line.question]
        cells += [notes.mark(text, note) if note else text for text, note in line.bests]
        told = {note for text, note in line.bests if note}
        verdicts = []
        for said, why in line.verdicts:
            words = md("{}", said)
            own = why is not None and not any(note in why.reason for note in told)
            verdicts.append(notes.mark(words, why.reason) if why is not None and own else words)
        cells.append(Markdown("; ".join(verdicts)) if verdicts else notes.dash("only one framework was measured"))
        body.append(cells)
    heads = ["benchmark", "question", *(f"{f}, best mode" for f in evidence.frameworks), "verdict"]
    return [table(heads, body), *notes.lines()]


def _sentences(
    rows: Sequence[AnswerRow], without: Sequence[Unanswered], labels: Mapping[ComparisonGroup, str], runs: Sequence[str]
) -> list[Markdown]:
    lines = []
    for group, mine in groupby(rows, key=lambda row: row.group):
        clauses: dict[Markdown, list[str]] = {}
        for row in mine:
            clauses.setdefault(_clause(row), []).append(asked(row.question))
        parts = [md("{}: {}", " and ".join(named), clause) for clause, named in clauses.items()]
        lines.append(md("- **{}**: {}.", labels[group], Markdown("; ".join(parts))))
    for none in without:
        whole = none.question == EVERYTHING or none.verdict.word == LEFT_OUT
        words = none.verdict.word if whole else f"{none.question}: {none.verdict.word}"
        lines.append(md("- **{}**: no number, {}.", called(none.benchmark, runs), words))
    return [Markdown("\n".join(lines))]


def _clause(row: AnswerRow) -> Markdown:
    clauses = []
    for pair in row.pairings:
        match pair.outcome:
            case Ratio():
                modes = [
                    b.framework_mode.mode for f in (pair.first, pair.second) if isinstance(b := row.bests[f], Best)
                ]
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
                why = pair.outcome.word or pair.outcome.reason
                clauses.append(md("{} and {} not ranked, {}", pair.first, pair.second, why))
    return Markdown("; ".join(clauses)) if clauses else Markdown("only one framework was measured")


def _rule(evidence: Evidence, rows: Sequence[AnswerRow], others: int) -> Markdown:
    count = comparisons(rows)
    if not count:
        return Markdown(
            "No interval could be computed. Ranking needs two proven frameworks and five rounds of each in which "
            "training did not diverge."
        )
    levels = sorted({p.outcome.confidence for row in rows for p in row.pairings if isinstance(p.outcome, Ratio)})
    confidence = level(levels[0]) if len(levels) == 1 else f"{level(levels[0])} or more"
    in_turns = any(p.in_turns for row in rows for p in row.pairings)
    first = (
        _turns(evidence)
        if in_turns
        else (
            "How to read it: each round gives the ratio of the two frameworks' medians. The table shows the geometric "
            "mean of these ratios over the rounds, with its interval in brackets."
        )
    )
    looks = _looks(rows, evidence) if in_turns else ""
    return Markdown(
        f"{first} {_made(count, others)} made{looks}, so each "
        f"interval is taken at {confidence}, and all of them hold together at 95 % (Bonferroni). *Equivalent*: "
        "the interval lies within 3 % of 1. *Undecided*: the interval contains 1. A framework's best mode is the "
        "proven mode with the lowest median over rounds; it stands for the framework in every round."
    )


def _turns(evidence: Evidence) -> str:
    """How speed was taken in turns, and when a benchmark went on no more."""
    told = (
        "How to read it: in each *lap* every mode of every framework is asked every question once, in an order drawn "
        "anew, while the others stand still. A mode's cost in a round is that of its least disturbed laps, the "
        "cheapest third of them, and each round has fresh processes. The table shows the geometric mean over rounds "
        "of the ratio of two costs, with its interval in brackets."
    )
    width, widest = (profile_of(evidence).get(name) for name in ("half_width", "widest"))
    if len(of_plan(evidence.plan)) > 1 and isinstance(width, int | float):
        decided = f", or decided and above {widest:g}" if isinstance(widest, int | float) else ""
        told += (
            f" After a *look* only benchmarks go on that hold a comparison which is undecided and whose half-width, "
            f"the factor from the middle of its interval to an end, is above {width:g}{decided}. Rounds count up to "
            "the last look that a benchmark has reached."
        )
    return told


def profile_of(evidence: Evidence) -> Mapping[str, Any]:
    """The profile of the plan that the report tells, as far as it is there."""
    profile = evidence.plan.get("profile")
    return profile if isinstance(profile, Mapping) else {}


def _looks(rows: Sequence[AnswerRow], evidence: Evidence) -> str:
    counts = {looks for row in rows if (looks := looks_of(evidence, row.group)) > 1}
    return f", each of which may be decided at {'/'.join(map(str, sorted(counts)))} looks" if counts else ""


def _made(count: int, others: int) -> str:
    both = count + others
    energy = f", {others} of them of energy," if others else ""
    return f"{both} comparison{'s' if both > 1 else ''}{energy} {'were' if both > 1 else 'was'}"
