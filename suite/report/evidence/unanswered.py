"""Benchmarks and questions without a valid number: in the answer, at the report's head, and on the terminal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from suite.report.evidence.comparison import AnswerRow, Best, NotRanked
from suite.report.evidence.gaps import LEFT_OUT, Benchmark, Gaps, MissingNumber, aside, failed, phrase, reasons
from suite.report.evidence.merge import ComparisonGroup, Evidence, comparison_group, in_order
from suite.report.text.markdown import plain
from suite.results.questions import QuestionKind

EVERYTHING = "everything"
TUNED = "inference options"
MEASURED = "measured"
SHOWN = 8
"""Lines that a terminal shows; the report has them all."""
NAMED = 6
SHORT = 160


@dataclass(frozen=True)
class Unanswered:
    """A benchmark under a question, in words, for which no framework has a number; why, by framework.

    ``left_out`` says why the run did without it, if it did.
    """

    benchmark: Benchmark
    question: str
    bests: Mapping[str, NotRanked]
    left_out: str = ""

    @property
    def failed(self) -> bool:
        """Whether something that should have been compared was not.

        Inference options rank no framework. Of them only what crashes has failed, and each failure says so itself.
        """
        failed = any(best.failure for best in self.bests.values())
        return bool(self.left_out) or (failed and self.question != TUNED)

    @property
    def verdict(self) -> NotRanked:
        """The verdict in place of a comparison."""
        told = {framework: best.word for framework, best in self.bests.items() if best.word}
        if self.left_out:
            return NotRanked(self.left_out, word=LEFT_OUT)
        reason = "; ".join(f"{f}: {best.reason}" for f, best in self.bests.items())
        return NotRanked(reason, word=", ".join(f"{f} {word}" for f, word in told.items()))


def unanswered(evidence: Evidence, lost: Gaps, rows: Sequence[AnswerRow]) -> tuple[Unanswered, ...]:
    """What was asked for and has no row of its own, in order of benchmarks."""
    found: list[Unanswered] = []
    for benchmark in lost.asked:
        mine = [row for row in rows if at(row.group, benchmark)]
        if mine:
            found += _unasked(evidence, benchmark, mine)
        else:
            gaps = lost.within(benchmark)
            left_out = next((gap.reason for gap in gaps if gap.word == LEFT_OUT), "")
            found.append(Unanswered(benchmark, EVERYTHING, _why(evidence, lost, benchmark, gaps), left_out))
        if tuning := lost.within(benchmark, "tune"):
            found.append(Unanswered(benchmark, TUNED, _why(evidence, lost, benchmark, tuning)))
    return tuple(found)


def at(where: ComparisonGroup, benchmark: Benchmark) -> bool:
    """Whether a comparison group holds numbers of a benchmark."""
    pairs = (benchmark.run, where.run), (benchmark.device, where.device), (benchmark.precision, where.precision)
    return benchmark.spec == where.spec and all(mine in ("", theirs) for mine, theirs in pairs)


def _why(evidence: Evidence, lost: Gaps, benchmark: Benchmark, gaps: Sequence[MissingNumber]) -> dict[str, NotRanked]:
    """Why each framework has no number."""
    tuned = {r.cell.runner for r in evidence.tuned if at(comparison_group(r), benchmark)}
    found = {}
    for framework in evidence.frameworks:
        mine = [gap for gap in gaps if gap.runner in (framework, "")]
        if mine:
            words = LEFT_OUT if any(gap.word == LEFT_OUT for gap in mine) else phrase(lost, mine)
            found[framework] = NotRanked(reasons(mine), failed(mine), word=words)
        elif any(gap.kind == "tune" for gap in gaps) and framework in tuned:
            found[framework] = NotRanked("its numbers are on the page of the study", failure=False, word=MEASURED)
        else:
            found[framework] = NotRanked(f"no result of {framework} in this run", word="no result")
    return found


def _unasked(evidence: Evidence, benchmark: Benchmark, rows: Sequence[AnswerRow]) -> Iterator[Unanswered]:
    """Kinds of work that the plan asks for and no cell has."""
    profile = (evidence.plans.get(benchmark.run) or evidence.plans.get("") or {}).get("profile")
    profile = profile if isinstance(profile, Mapping) else {}
    there = {row.question.kind for row in rows}
    test = evidence.specs[rows[0].group].data.test
    for kind in (QuestionKind.LATENCY, QuestionKind.THROUGHPUT):
        sizes = _sizes(profile.get(f"{kind}_batches"))
        if kind in there or not sizes:
            continue
        few = sizes[0] > test and kind is QuestionKind.LATENCY
        words = f"test split of {test:,}" if few else "no sample"
        why = f"the test split holds {test:,} examples" if few else "no sample was taken"
        bests = {framework: NotRanked(why, failure=not few, word=words) for framework in evidence.frameworks}
        yield Unanswered(benchmark, f"{kind}, batch {sizes[0]:,}", bests)


def _sizes(batches: Any) -> list[int]:
    return sorted(b for b in batches if isinstance(b, int)) if isinstance(batches, list | tuple) else []


@dataclass(frozen=True)
class _Answered:
    """A benchmark's frameworks without a valid number, in few words, and whether any has one."""

    any_stands: bool
    words: Mapping[str, str]
    left_out: bool = False

    def __str__(self) -> str:
        if self.left_out:
            return LEFT_OUT
        return ", ".join(f"{framework} {words}" for framework, words in self.words.items())


def _answered(lost: Gaps, rows: Sequence[AnswerRow], without: Sequence[Unanswered]) -> dict[Benchmark, _Answered]:
    found = {}
    for benchmark in lost.asked:
        stands = left_out = False
        words: dict[str, dict[str, None]] = defaultdict(dict)
        for row in (row for row in rows if at(row.group, benchmark)):
            for framework, best in row.bests.items():
                stands |= isinstance(best, Best)
                told = best.lacks if isinstance(best, Best) else best.word
                words[framework] |= {told: None} if told else {}
        for each in (each for each in without if each.benchmark == benchmark):
            left_out |= bool(each.left_out)
            for framework, none in each.bests.items():
                part = f" in {TUNED}" if each.question == TUNED else ""
                words[framework] |= {none.word + part: None} if none.word and none.word != MEASURED else {}
        found[benchmark] = _Answered(stands, {f: ", ".join(told) for f, told in words.items() if told}, left_out)
    return found


def head(lost: Gaps, rows: Sequence[AnswerRow], without: Sequence[Unanswered]) -> list[str]:
    """What a reader must know before the first number: how many benchmarks lack numbers, and why in few words."""
    statuses = _answered(lost, rows, without)
    none = {b: str(s) for b, s in statuses.items() if not s.any_stands}
    some = {b: str(s) for b, s in statuses.items() if s.any_stands and s.words}
    every = f"{len(statuses):,} benchmark{'s' if len(statuses) > 1 else ''}"
    lines = []
    for found, one, several in (
        (none, "has no valid number", "have no valid number"),
        (some, "lacks some numbers", "lack some numbers"),
    ):
        if found:
            shown = list(found.items())[:NAMED]
            names = "; ".join(f"{b.spec} ({plain(why, SHORT)})" if why else b.spec for b, why in shown)
            more = f"; and {len(found) - NAMED:,} more" if len(found) > NAMED else ""
            lines.append(f"{len(found):,} of {every} {one if len(found) == 1 else several}: {names}{more}.")
    return lines


def lines(lost: Gaps, rows: Sequence[AnswerRow]) -> tuple[str, ...]:
    """For a terminal: a line on each kind of failure, what is merely unsupported last."""
    groups: dict[tuple[bool, str, str], list[tuple[str, str, str]]] = defaultdict(list)
    for gap in lost.found:
        part = f" in {where}" if (where := aside(lost, gap)) else ""
        groups[not gap.supported, gap.word + part, gap.reason].append((gap.benchmark.spec, gap.runner, gap.mode))
    for row in rows:
        for framework, best in row.bests.items():
            if isinstance(best, NotRanked) and best.failure and not lost.of(row.group, framework):
                groups[False, best.word, best.reason].append((row.group.spec, framework, ""))
    told = []
    for (_, word, reason), cells in sorted(groups.items(), key=lambda item: (item[0][0], -len(item[1]), item[0])):
        specs = sorted({spec for spec, _, _ in cells})
        modes: dict[str, set[str]] = defaultdict(set)
        for _, runner, mode in cells:
            modes[runner] |= {mode} if mode else set()
        who = ", ".join(f"{runner} {' and '.join(sorted(modes[runner]))}".strip() for runner in in_order(modes))
        names = ", ".join(specs[:3]) + (f" and {len(specs) - 3} more" if len(specs) > 3 else "")
        told.append(f"{plain(names, SHORT)}: {plain(f'{who} {word}', SHORT)}: {plain(reason, SHORT)}")
    more = [f"and {len(told) - SHOWN:,} more, in the report"] if len(told) > SHOWN else []
    return (*told[:SHOWN], *more)
