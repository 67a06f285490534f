"""The same cells in a container and natively, on one machine: the ratio of their times, and what they computed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from suite.report.evidence.comparison import NotRanked, by_round, questions, unranked
from suite.report.evidence.conditions import CONDITIONS, deciding
from suite.report.evidence.merge import UNRANKED, ComparisonGroup, Evidence, FrameworkMode
from suite.report.sections.answers import asked, cost
from suite.report.text.markdown import Markdown, Notes, bullets, md, table
from suite.report.text.units import digits, level
from suite.results.questions import Question
from suite.results.records import Numbers
from suite.stats import LEAST_ROUNDS, Decision, Ratio, TooFew, speed_ratio

NATIVE, CONTAINER = "native", "container"
DIGESTS = {"spec": "spec", "dataset": "data set", "weights": "initial weights", "order": "batch order"}


@dataclass(frozen=True)
class PlacePair:
    """Two groups that differ in their place, and perhaps in their run, alone."""

    native: ComparisonGroup
    container: ComparisonGroup


@dataclass(frozen=True)
class PlaceRow:
    """A framework's mode under a question: median costs over rounds, and time in the container over time natively."""

    pair: PlacePair
    framework_mode: FrameworkMode
    question: Question
    native: float
    container: float
    outcome: Ratio | TooFew | NotRanked


@dataclass(frozen=True)
class Alike:
    """Under how many common seeds the digests agree and the final weights are equal, and what differs."""

    seeds: int
    digests: int
    trained: int
    weights: int
    unlike: tuple[str, ...]
    versions: tuple[str, ...]


def pairs(evidence: Evidence) -> list[PlacePair]:
    """Every native group with every one in a container of the same spec, device and precision, on the same machine."""

    def same(a: ComparisonGroup) -> tuple[str, ...]:
        return a.spec, a.spec_digest, a.device, a.precision, a.machine

    inside = [a for a in evidence.groups if a.place == CONTAINER]
    return [PlacePair(a, b) for a in evidence.groups if a.place == NATIVE for b in inside if same(a) == same(b)]


def _common(
    evidence: Evidence, pair: PlacePair
) -> Iterator[tuple[FrameworkMode, Sequence[Numbers], Sequence[Numbers]]]:
    inside = evidence.groups[pair.container]
    for framework_mode, results in evidence.groups[pair.native].items():
        if framework_mode in inside and framework_mode.runner not in UNRANKED:
            yield framework_mode, results, inside[framework_mode]


def compare(evidence: Evidence) -> list[PlaceRow]:
    """Every question that was asked in both places; the intervals hold together over this list."""
    drafts: list[tuple[PlacePair, FrameworkMode, Question, dict[int, float], dict[int, float], str]] = []
    for pair in pairs(evidence):
        for framework_mode, native, inside in _common(evidence, pair):
            unlike = alike(native, inside).unlike
            apart = [name for name in deciding(native, inside) if name != CONDITIONS["place"]]
            for question in sorted(set(questions(native)) & set(questions(inside))):
                statuses = [unranked(evidence, a, framework_mode, question) for a in (pair.native, pair.container)]
                reasons = [s.reason for s in statuses if isinstance(s, NotRanked)]
                reasons += [f"not the same {' and '.join(unlike)}"] if unlike else []
                reasons += [f"other {', '.join(apart[:3])}"] if apart else []
                costs = by_round(native, question), by_round(inside, question)
                reasons += ["a time of 0"] if min(*costs[0].values(), *costs[1].values()) <= 0 else []
                drafts.append((pair, framework_mode, question, *costs, reasons[0] if reasons else ""))
    count = sum(not why and len(set(one) & set(other)) >= LEAST_ROUNDS for *_, one, other, why in drafts)
    rows = []
    for pair, framework_mode, question, one, other, why in drafts:
        rounds = sorted(set(one) & set(other))
        outcome: Ratio | TooFew | NotRanked = NotRanked(why)
        if not why:
            # A speed ratio of the first over the second is a ratio of times of the second over the first.
            outcome = speed_ratio([one[r] for r in rounds], [other[r] for r in rounds], max(count, 1))
        rows.append(PlaceRow(pair, framework_mode, question, median(one.values()), median(other.values()), outcome))
    return rows


def alike(native: Sequence[Numbers], inside: Sequence[Numbers]) -> Alike:
    """Compare digests and final weights seed by seed; versions are compared whatever the weights say."""
    sides = [_by_seed(side) for side in (native, inside)]
    seeds = sorted(set(sides[0]) & set(sides[1]))
    agreeing = trained = equal = 0
    unlike: set[str] = set()
    for seed in seeds:
        both = [r for side in sides for r in side[seed]]
        differing = [words for name, words in DIGESTS.items() if len({getattr(r.digests, name) for r in both}) > 1]
        unlike |= set(differing)
        agreeing += not differing
        ends: list[dict[int, set[str]]] = [defaultdict(set), defaultdict(set)]
        for found, side in zip(ends, sides, strict=True):
            for r in side[seed]:
                if r.training:
                    found[len(r.training.epochs)].add(r.training.weights)
        lengths = set(ends[0]) & set(ends[1])
        trained += bool(lengths)
        equal += bool(lengths) and all(len(ends[0][n] | ends[1][n]) == 1 for n in lengths)
    ordered = tuple(words for words in DIGESTS.values() if words in unlike)
    return Alike(len(seeds), agreeing, trained, equal, ordered, tuple(_versions(native, inside)))


def _by_seed(results: Sequence[Numbers]) -> dict[int, list[Numbers]]:
    found: dict[int, list[Numbers]] = defaultdict(list)
    for r in results:
        found[r.cell.seed].append(r)
    return found


def _versions(native: Sequence[Numbers], inside: Sequence[Numbers]) -> list[str]:
    """What differs between the two programs, as far as both record it."""

    def told(results: Sequence[Numbers]) -> dict[str, set[str]]:
        found: dict[str, set[str]] = defaultdict(set)
        for env in (r.environment for r in results):
            programs = {"Python": env.python, "the suite's source": env.source.removeprefix("sha256:")[:12]}
            for name, version in {**env.packages, **env.libraries, **programs}.items():
                found[name].add(version)
        return found

    ours, theirs = told(native), told(inside)
    return [
        f"{name} {' and '.join(sorted(ours[name]))} natively, {' and '.join(sorted(theirs[name]))} in the container"
        for name in sorted(set(ours) & set(theirs))
        if ours[name] != theirs[name]
    ]


def turns(evidence: Evidence, pair: PlacePair) -> Markdown:
    """Whether the two runs took turns or one came after the other, by their time stamps."""
    trials: dict[tuple[str, str, str], list[tuple[float, float]]] = defaultdict(list)
    for group in (pair.native, pair.container):
        for results in evidence.groups[group].values():
            for r in results:
                began = r.started.timestamp()
                trials[(group.place, r.run, r.entry)].append((began, began + r.seconds))
    ordered = sorted((min(s for s, _ in spans), max(e for _, e in spans), key[0]) for key, spans in trials.items())
    changes = sum(earlier[2] != later[2] for earlier, later in pairwise(ordered))
    until = {NATIVE: -math.inf, CONTAINER: -math.inf}
    crossing = 0
    for began, ended, place in ordered:
        crossing += began < until[CONTAINER if place == NATIVE else NATIVE]
        until[place] = max(until[place], ended)
    rounds = [{r.cell.round for rs in evidence.groups[a].values() for r in rs} for a in (pair.native, pair.container)]
    over = f"the place changed {changes} times over {len(ordered)} trials"
    if changes == 1:
        names = ("the native one", "the one in the container")
        first, last = names if ordered[0][2] == NATIVE else reversed(names)
        words = (
            f"Of the two runs {first} came first and {last} second, so these ratios include what else changed between"
        )
    elif changes >= len(rounds[0] & rounds[1]):
        words = f"The two runs took turns: {over}"
    else:
        words = f"The two runs lie in blocks: {over}"
    disturbed = f"; **{crossing} trials began while one in the other place ran**" if crossing else ""
    return Markdown(f"{words}{disturbed}.")


def section(evidence: Evidence, labels: Mapping[ComparisonGroup, str]) -> list[Markdown]:
    """Ratios, turns, and what was alike; ``labels`` do not name the place.  Nothing unless both places are there."""
    if len({a.place for a in evidence.groups}) < 2:
        return []
    found = pairs(evidence)
    if not found:
        return [Markdown("No benchmark ran in both places on one machine, by its fingerprint: nothing is compared.")]
    rows = compare(evidence)
    return [*_ratios(rows, labels), *_turns(evidence, found, labels), *_alike(evidence, found, labels)]


def _label(pair: PlacePair, labels: Mapping[ComparisonGroup, str]) -> str:
    one, other = labels[pair.native], labels[pair.container]
    return one if one == other else f"{one} / {other}"


def _ratios(rows: Sequence[PlaceRow], labels: Mapping[ComparisonGroup, str]) -> list[Markdown]:
    if not rows:
        return [Markdown("No framework's mode was measured in both places.")]
    notes = Notes()
    body = []
    for row in rows:
        match row.outcome:
            case Ratio() as ratio:
                shown = [_times(ratio), _SAID[ratio.decision]]
            case TooFew() as few:
                shown = [notes.dash(str(few)), "not ranked"]
            case NotRanked(reason=reason):
                shown = [notes.dash(reason), "not ranked"]
        costs = [cost(row.question, c) if c > 0 else notes.dash("a time of 0") for c in (row.native, row.container)]
        body.append(
            [
                _label(row.pair, labels),
                row.framework_mode.runner,
                row.framework_mode.mode,
                asked(row.question),
                *costs,
                *shown,
            ]
        )
    heads = ["benchmark", "framework", "mode", "question", "native", "container", "time, container / native", "verdict"]
    ratios = [r.outcome for r in rows if isinstance(r.outcome, Ratio)]
    words = "Ratios of times: one pair of medians per round, paired by round number. Above 1 the container is slower."
    if ratios:
        words += (
            f" {len(ratios)} interval{'s were' if len(ratios) > 1 else ' was'} computed, each at "
            f"{level(ratios[0].confidence)}, so that all of this section hold together at 95 %."
        )
    return [table(heads, body, "llllrrll"), *notes.lines(), Markdown(words)]


_SAID = {
    Decision.FASTER: "slower in the container",
    Decision.SLOWER: "faster in the container",
    Decision.EQUIVALENT: "equivalent within 3 %",
    Decision.UNDECIDED: "undecided",
}


def _times(ratio: Ratio) -> str:
    value, low, high = (f"{x:.3f}" if x < 10 else digits(x) for x in (ratio.value, ratio.low, ratio.high))
    return f"{value} ({low} to {high})"


def _turns(evidence: Evidence, found: Sequence[PlacePair], labels: Mapping[ComparisonGroup, str]) -> list[Markdown]:
    """One sentence if it is the same for all benchmarks."""
    said: dict[Markdown, list[str]] = {}
    for pair in found:
        said.setdefault(turns(evidence, pair), []).append(_label(pair, labels))
    if len(said) == 1:
        return list(said)
    return [bullets([md("**{}**: {}", ", ".join(dict.fromkeys(names)), words) for words, names in said.items()])]


def _alike(evidence: Evidence, found: Sequence[PlacePair], labels: Mapping[ComparisonGroup, str]) -> list[Markdown]:
    notes = Notes()
    rows = []
    for pair in found:
        for framework_mode, native, inside in _common(evidence, pair):
            same = alike(native, inside)
            if not same.seeds:
                digests: str = notes.dash("no seed is common to both")
                weights: str = digests
            else:
                digests = f"agree under {same.digests} of {same.seeds} seeds"
                digests = notes.mark(digests, f"other {' and '.join(same.unlike)}") if same.unlike else digests
                weights = f"equal under {same.weights} of {same.trained} seeds"
                if not same.trained:
                    weights = notes.dash("no seed was trained equally long in both")
                elif same.weights < same.trained:
                    differing = "; ".join(same.versions[:6]) or "no version that both recorded differs"
                    weights = notes.mark(weights, differing)
            rows.append([_label(pair, labels), framework_mode.runner, framework_mode.mode, digests, weights])
    if not rows:
        return []
    return [
        table(["benchmark", "framework", "mode", "digests", "final weights"], rows, "lllll"),
        *notes.lines(),
        Markdown(
            "*Digests* are those of spec, data set, initial weights and batch order. *Final weights* are compared "
            "bit by bit. A mode that does not repeat to the bit in one place, as *Repeatability* shows, cannot do so "
            "between two."
        ),
    ]
