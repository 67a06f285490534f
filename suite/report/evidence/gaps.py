"""What was asked for and has no number, and why: in a few words in place of the number, in full elsewhere."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from suite.report.evidence.merge import TURNS, UNRANKED, ComparisonGroup, Evidence, Planned, kind_of
from suite.report.text.markdown import plain
from suite.results import looks
from suite.results.records import Cause, Cell

NOT_YET = "not run yet"
UNREADABLE = "unreadable"
LEFT_OUT = "left out"


@dataclass(frozen=True, order=True)
class Benchmark:
    """What a run was asked to measure; "" is a run that is not known, or any device and precision."""

    spec: str
    run: str
    device: str = ""
    precision: str = ""

    def holds(self, cell: Cell, run: str) -> bool:
        """Whether a cell of a run is one of its own."""
        told = (self.run, run), (self.device, cell.device), (self.precision, cell.precision)
        return self.spec == cell.spec and all(mine in ("", theirs) or theirs == "" for mine, theirs in told)


@dataclass(frozen=True)
class MissingNumber:
    """What a framework's mode lacks in a benchmark: ``word`` says why, ``reason`` in full, in which ``rounds``.

    ``kind`` is that of the trial: prove, turns, measure or tune.  Without a runner it is of all that were asked; "" is
    a place that is not known.
    """

    benchmark: Benchmark
    runner: str
    mode: str
    kind: str
    word: str
    reason: str
    rounds: frozenset[int] = frozenset()
    cause: Cause | None = None
    place: str = ""

    @property
    def supported(self) -> bool:
        """Whether it was to be had here at all."""
        return self.cause is not Cause.UNSUPPORTED


@dataclass(frozen=True)
class Gaps:
    """Everything that has no number."""

    evidence: Evidence
    cells: tuple[MissingNumber, ...] = field(default=())
    """One for each cell, the null runner's among them."""

    @cached_property
    def found(self) -> tuple[MissingNumber, ...]:
        """Those of frameworks, alike ones of a mode together: of all its rounds, with the first reason."""
        grouped: dict[tuple[object, ...], list[MissingNumber]] = defaultdict(list)
        for g in self.cells:
            if g.runner not in UNRANKED:
                grouped[g.benchmark, g.runner, g.mode, g.kind, g.word, g.cause, g.place].append(g)
        return tuple(
            replace(min(alike, key=lambda g: g.reason), rounds=frozenset(number for g in alike for number in g.rounds))
            for alike in grouped.values()
        )

    @cached_property
    def asked(self) -> tuple[Benchmark, ...]:
        """Every benchmark that was to be measured, or was left out, in order."""
        measuring = ("measure", TURNS)
        cells = [(p.cell, p.run) for p in self.evidence.planned if p.kind in measuring]
        cells += [(r.cell, r.run) for r in self.evidence.numbers]
        cells += [(f.cell, f.run) for f in self.evidence.failed if kind_of(f, self.evidence.kinds) in measuring]
        named = {Benchmark(c.spec, run, c.device, c.precision) for c, run in cells if c.runner not in UNRANKED}
        known = {b for b in named if b.run}
        named = {b for b in named if b.run or not any((b.spec, b.device) == (k.spec, k.device) for k in known)}
        return tuple(sorted(named | {gap.benchmark for gap in self.found if not gap.runner}))

    def of(self, group: ComparisonGroup, runner: str, kind: str = "") -> list[MissingNumber]:
        """What a framework lacks in a comparison group.  A failure that does not tell its place may be of any."""
        here = Benchmark(group.spec, group.run, group.device, group.precision)
        return [g for g in self.within(here, kind) if g.runner == runner and g.place in ("", group.place)]

    def within(self, benchmark: Benchmark, kind: str = "") -> list[MissingNumber]:
        """What a benchmark lacks; without a ``kind`` of what its run takes speed by, in turns or as it measures."""
        turned = self.evidence.turned
        kind = kind or (TURNS if benchmark.run in turned or (turned and not benchmark.run) else "measure")
        return [g for g in self._by_spec.get(benchmark.spec, ()) if g.kind == kind and _same(benchmark, g.benchmark)]

    @cached_property
    def _by_spec(self) -> Mapping[str, list[MissingNumber]]:
        grouped: dict[str, list[MissingNumber]] = defaultdict(list)
        for gap in self.found:
            grouped[gap.benchmark.spec].append(gap)
        return grouped

    def rounds(self, gap: MissingNumber) -> int:
        """How many rounds a mode was asked for."""
        at = gap.benchmark
        return len(self._rounds.get((at.spec, at.run, gap.runner, gap.mode, _done(gap.kind)), ()))

    @cached_property
    def _rounds(self) -> Mapping[tuple[str, str, str, str, str], set[int]]:
        cells = [(r.cell, r.run, _done(kind_of(r, self.evidence.kinds))) for r in self.evidence.results]
        cells += [(p.cell, p.run, _done(p.kind)) for p in expected(self.evidence)]
        grouped: dict[tuple[str, str, str, str, str], set[int]] = defaultdict(set)
        for cell, run, kind in cells:
            if cell.round:
                grouped[cell.spec, run, cell.runner, cell.mode, kind].add(cell.round)
        return grouped


def _same(one: Benchmark, other: Benchmark) -> bool:
    pairs = (one.run, other.run), (one.device, other.device), (one.precision, other.precision)
    return one.spec == other.spec and all("" in pair or pair[0] == pair[1] for pair in pairs)


def expected(evidence: Evidence) -> list[Planned]:
    """The planned cells, without rounds that a benchmark need not have: it may have been decided at an earlier look."""
    last = {
        (run, spec): looks.due(rounds, looks.of_plan(evidence.plans.get(run, {})))
        for (run, spec), rounds in evidence.held.items()
    }
    found = []
    for p in evidence.planned:
        until = last.get((p.run, p.cell.spec)) if p.kind == TURNS else None
        if until is None or p.cell.round <= until:
            found.append(p)
    return found


def lacking(evidence: Evidence) -> list[Planned]:
    """Cells of the plans that left no result; of a plan whose run is not known, none in any run."""
    twins = {id(control) for control in evidence.controls}  # stand in for no cell
    there = {(r.run, r.cell, _done(kind_of(r, evidence.kinds))) for r in evidence.results if id(r) not in twins}
    there |= {("", cell, kind) for _, cell, kind in there}
    return [p for p in expected(evidence) if (p.run, p.cell, _done(p.kind)) not in there]


def _done(kind: str) -> str:
    """The kinds that leave records of their own; a plan may not tell whether it proves or measures."""
    return kind if kind in (TURNS, "tune") else ""


def gaps(evidence: Evidence) -> Gaps:
    """Every failure, every planned cell without a result, and what was left out."""
    found: list[MissingNumber] = []

    def take(
        cell: Cell, run: str, kind: str, word: str, reason: str, cause: Cause | None = None, place: str = ""
    ) -> None:
        benchmark = Benchmark(cell.spec, run, cell.device, cell.precision)
        rounds = frozenset({cell.round} if cell.round else ())
        found.append(MissingNumber(benchmark, cell.runner, cell.mode, kind, word, reason, rounds, cause, place))

    for f in evidence.failed:
        word = "parent diverged" if f.cause is Cause.DIVERGED else f"parent failed: {f.cause}"
        word = word if f.inherited else str(f.cause)
        place = f.environment.place if f.environment else ""
        take(f.cell, f.run, kind_of(f, evidence.kinds), word, f.reason, f.cause, place)
    spoilt = {error.where.replace("\\", "/").rsplit("/", 1)[-1] for error in evidence.refused}
    for p in lacking(evidence):
        name = f"{p.entry}--{p.cell.slug}.json"
        unread = name in spoilt
        reason = f"{name} cannot be read: see the refused files" if unread else "it has left no result yet"
        take(p.cell, p.run, p.kind, UNREADABLE if unread else NOT_YET, reason)
    for run, plan in evidence.plans.items():
        left_out = plan.get("left_out")
        for spec, why in left_out.items() if isinstance(left_out, Mapping) else ():
            kind = TURNS if run in evidence.turned else "measure"
            found.append(MissingNumber(Benchmark(str(spec), run), "", "", kind, LEFT_OUT, plain(str(why))))
    return Gaps(
        evidence,
        tuple(sorted(found, key=lambda g: (g.benchmark, g.runner, g.mode, g.kind, g.word, min(g.rounds, default=0)))),
    )


def aside(lost: Gaps, gap: MissingNumber) -> str:
    """Which work a gap is of, where it is not that of the answer; or nothing."""
    turned = gap.kind == "measure" and (gap.benchmark.run in lost.evidence.turned)
    return "training" if turned else {"prove": "the gate", "tune": "inference options"}.get(gap.kind, "")


def phrase(all_gaps: Gaps, several: Iterable[MissingNumber], modes: Iterable[str] = ()) -> str:
    """Why a framework has no number, in few words: the cause alone where it is that of all its ``modes``."""
    by_words: dict[str, list[str]] = {}
    for gap in several:
        asked = all_gaps.rounds(gap)
        part = f" in {len(gap.rounds)} of {asked} rounds" if gap.rounds and len(gap.rounds) < asked else ""
        by_words.setdefault(gap.word + part, []).append(gap.mode)
    everyone = {mode for mine in by_words.values() for mode in mine} | set(modes)
    if len(by_words) == 1 and set(next(iter(by_words.values()))) == everyone:
        return next(iter(by_words))
    return ", ".join(f"{' and '.join(dict.fromkeys(mine))} {words}" for words, mine in by_words.items())


def failed(several: Iterable[MissingNumber]) -> bool:
    """Whether something that should have been compared was not.  What diverged has an outcome, and did not fail."""
    return any(gap.cause is not Cause.DIVERGED for gap in several)


def reasons(several: Iterable[MissingNumber]) -> str:
    """The same in full, the first few."""
    told = dict.fromkeys(f"{gap.mode} {gap.word}: {gap.reason}".strip() for gap in several)
    return "; ".join(list(told)[:3]) + (f"; and {len(told) - 3} more" if len(told) > 3 else "")
