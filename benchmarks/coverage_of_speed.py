"""How often the intervals of speed of one report hold all together, by simulation.

    .envs/core/bin/python -m benchmarks.coverage_of_speed               # all tables: two minutes or so
    .envs/core/bin/python -m benchmarks.coverage_of_speed --runs 400    # a quick look

A simulated report has twelve comparisons in four benchmarks.  It is looked at after given numbers of rounds.  At a look
a benchmark stops if each of its comparisons is decided (the interval leaves 1 out, or lies within 3 % of it) with a
half-width of x1.25 or less, or precise (x1.05 or less); its intervals are those of the look at which it stopped, or
else of the last look.  Each interval may err by 0.05 over the number of comparisons and of looks.

*Held*: all intervals hold the mean of log-ratios; *typical*: all hold their median, which is another where the noise is
lopsided.  *Half-width*: the median over comparisons, and the median of each report's widest.  *False*: the share of
comparisons called faster or slower whose true ratio is 1, in the mean and typically.  Draws are seeded: the same
command prints the same tables.
"""

from __future__ import annotations

import argparse
import functools
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2, t

from benchmarks.intervals_of_speed import (
    Floats,
    Interval,
    bootstrap,
    extremes,
    quantile,
    student,
    walsh,
    yuen,
    yuen_exact,
)
from benchmarks.noise_of_speed import (
    ALL_ROUNDS,
    BENCHMARKS,
    CHOICES,
    COMPARISONS,
    GAPS,
    QUESTIONS,
    Noise,
    doubtful,
    heavy,
    modes,
    noises,
    normal,
    over_rounds,
    skewed,
    slow_processes,
)
from suite.stats import CONFIDENCE, SAME_SPEED

PRECISE, WIDEST = math.log(1.05), math.log(1.25)
LOOKS = ((6,), (5, 8), (6, 7), (6, 9), (6, 9, 12), (5, 7, 9, 11, 13))
WIDTHS = (0.01, 0.02, 0.03, 0.05)
PATHS = 200_000
Split = Callable[[tuple[int, ...], float], list[float]]


def evenly(looks: tuple[int, ...], error: float) -> list[float]:
    """The same part of the error for each look (Bonferroni)."""
    return [error / len(looks)] * len(looks)


def unsplit(looks: tuple[int, ...], error: float) -> list[float]:
    """The whole error at each look, as if there were no others: too bold."""
    return [error] * len(looks)


def late(looks: tuple[int, ...], error: float) -> list[float]:
    """More of the error for later looks, as 1 to 2 to 3."""
    return [error * 2 * at / (len(looks) * (len(looks) + 1)) for at in range(1, len(looks) + 1)]


def early(looks: tuple[int, ...], error: float) -> list[float]:
    """More of the error for earlier looks, as 3 to 2 to 1."""
    return late(looks, error)[::-1]


def last(looks: tuple[int, ...], error: float) -> list[float]:
    """A tenth of the error for all looks but the last."""
    return [error / 10 / (len(looks) - 1)] * (len(looks) - 1) + [error * 0.9] if len(looks) > 1 else [error]


def pocock(looks: tuple[int, ...], error: float) -> list[float]:
    """The same error at each look, as great as the looks' own correlation allows: found by simulating normal noise."""
    return [_level(looks, error)] * len(looks)


@functools.cache
def _level(looks: tuple[int, ...], error: float) -> float:
    paths = np.random.default_rng(looks).normal(0, 1, (PATHS, looks[-1]))
    least = np.ones(PATHS)
    for n in looks:
        seen = paths[:, :n]
        scores = np.abs(seen.mean(axis=1)) / seen.std(axis=1, ddof=1) * math.sqrt(n)
        np.minimum(least, 2 * t.sf(scores, n - 1), out=least)
    return float(np.quantile(least, error))


@dataclass(frozen=True)
class Rule:
    """When a report is looked at, by which interval, and how the error is shared out."""

    looks: tuple[int, ...]
    interval: Interval = student
    split: Split = evenly
    comparisons: int = COMPARISONS
    """Over how many the intervals are widened; one would be too bold."""
    precise: float = PRECISE

    @property
    def errors(self) -> list[float]:
        """That of one interval, for each look."""
        return self.split(self.looks, (1 - CONFIDENCE) / self.comparisons)


@dataclass(frozen=True)
class Reports:
    """Final intervals (reports, comparisons), what they should hold, and rounds used (reports, benchmarks)."""

    truth: Floats
    low: Floats
    high: Floats
    rounds: NDArray[np.int64]

    @property
    def held(self) -> float:
        """Share of reports all of whose intervals hold the truth."""
        return float(((self.low <= self.truth) & (self.truth <= self.high)).all(axis=1).mean())

    @property
    def false(self) -> float:
        """Share of comparisons of a true ratio of 1 that are called faster or slower."""
        return float(called(self.low, self.high)[:, self.truth == 0].mean())


def called(low: Floats, high: Floats) -> NDArray[np.bool_]:
    """Whether an interval calls one faster, as ``suite.stats.Ratio.decision`` does."""
    return ((low > 0) | (high < 0)) & ~equivalent(low, high)


def equivalent(low: Floats, high: Floats) -> NDArray[np.bool_]:
    """Whether an interval lies within 3 % of 1."""
    return (low >= -math.log(SAME_SPEED)) & (high <= math.log(SAME_SPEED))


def settled(low: Floats, high: Floats, precise: float) -> NDArray[np.bool_]:
    """Whether each comparison of a benchmark is decided or precise (reports, benchmarks)."""
    half = (high - low) / 2
    fine = ((called(low, high) | equivalent(low, high)) & (half <= WIDEST)) | (half <= precise)
    return np.asarray(fine.reshape(-1, BENCHMARKS, QUESTIONS).all(axis=2))


def reports(truth: Floats, seen: Callable[[int], Floats], rule: Rule, runs: int) -> Reports:
    """Look, stop or go on; ``seen`` gives the noise of so many rounds."""
    going = np.ones((runs, BENCHMARKS), bool)
    ends = np.empty((2, runs, COMPARISONS))
    found = Reports(truth, ends[0], ends[1], np.zeros((runs, BENCHMARKS), np.int64))
    for n, error in zip(rule.looks, rule.errors, strict=True):
        low, high = rule.interval(truth + seen(n), error)
        now = np.repeat(going, QUESTIONS, axis=1)
        found.low[now], found.high[now], found.rounds[going] = low[now], high[now], n
        going &= ~settled(low, high, rule.precise)
    return found


@dataclass(frozen=True)
class Outcome:
    """What came of so many reports under one noise and rule; ``widest`` is the median of each report's widest."""

    runs: int
    held: float
    typical: float
    half: float
    widest: float
    rounds: float
    false: float
    false_typical: float

    @property
    def cells(self) -> list[str]:
        """As a row of a table."""
        held = [percent(share, self.runs) for share in (self.held, self.typical)]
        widths = [f"x{math.exp(half):.2f}" for half in (self.half, self.widest)]
        false = [f"{100 * share:.2f} %" for share in (self.false, self.false_typical)]
        return [*held, *widths, f"{self.rounds:.1f}", *false]


HEADS = ("held", "typical", "half-width", "widest", "rounds", "false", "false, typical")


def study(noise: Noise, rule: Rule, runs: int) -> Outcome:
    """Simulate so many reports; lopsided noise twice, once centred on its mean and once on its median."""
    drawn = noise.draw(np.random.default_rng([*noise.words.encode()]), (runs, rule.looks[-1]))

    def centred(on: float | Floats) -> Reports:
        return reports(noise.truth, lambda n: noise.ratios(drawn[:, :n]) - on, rule, runs)

    about = centred(noise.mean)
    typical = centred(noise.typical) if noise.lopsided else about
    half = (about.high - about.low) / 2
    return Outcome(
        runs,
        about.held,
        typical.held,
        float(np.median(half)),
        float(np.median(half.max(axis=1))),
        float(about.rounds.mean()),
        about.false,
        typical.false,
    )


def by_noise(rule: Rule, runs: int) -> Iterator[list[str]]:
    """A row per noise."""
    for noise in noises():
        yield [noise.words, *study(noise, rule, runs).cells]


SPLITS = {
    "evenly (Bonferroni)": evenly,
    "1 : 2 : 3": late,
    "3 : 2 : 1": early,
    "nine tenths for the last": last,
    "Pocock": pocock,
    "whole error at each look": unsplit,
}


def by_rule(noise: Noise, runs: int) -> Iterator[list[str]]:
    """Looks against fixed rounds, and ways to split the error; the last two are what must not be done."""
    for fixed in (6, 8, 9, 12):
        yield [f"fixed rounds: {fixed}", *study(noise, Rule((fixed,)), runs).cells]
    for looks in LOOKS[1:]:
        for words, split in SPLITS.items():
            yield [f"{looks}, {words}", *study(noise, Rule(looks, split=split), runs).cells]
        yield [f"{looks}, not widened for comparisons", *study(noise, Rule(looks, comparisons=1), runs).cells]


def by_choice(looks: tuple[int, ...], runs: int) -> Iterator[list[str]]:
    """A row per distance of modes and way to choose one; in the last a framework has three others, as good or not."""
    for best in CHOICES:
        for gaps, more, off in (*((gaps, 1, 0.0) for gaps in GAPS), (GAPS[-1], 3, 0.0), (GAPS[-2], 1, 0.02)):
            noise, chosen = (modes(*gaps, best=best, more=more, off=off, picked=picked) for picked in (False, True))
            held = percent(study(chosen, Rule(looks), runs).held, runs)
            yield [noise.words, held, *study(noise, Rule(looks), runs).cells]


SCHEDULES = ((6,), (8,), (10,), (12,), (5, 8), (6, 9), (8, 12), (6, 9, 12), (6, 8, 10, 12))


def by_schedule(noise: Noise, runs: int) -> Iterator[list[str]]:
    """A row per schedule of looks, interval and precision wanted."""
    for looks in SCHEDULES:
        for words in ("Student", "Yuen, 20 %, exact"):
            for factor in (1.05, 1.1) if len(looks) > 1 else (1.05,):
                rule = Rule(looks, INTERVALS[words], precise=math.log(factor))
                yield [f"{looks}, precise at x{factor:g}", words, *study(noise, rule, runs).cells]


INTERVALS: dict[str, Interval] = {
    "Student": student,
    "Yuen, 20 %": yuen,
    "Yuen, 20 %, exact": yuen_exact,
    "Walsh": walsh,
    "order statistics": extremes,
    "bootstrap": bootstrap,
}


def by_interval(looks: tuple[int, ...], runs: int) -> Iterator[list[str]]:
    """A row per noise and interval, where so few rounds admit one."""
    chosen = [normal(), heavy(), next(skewed()), slow_processes(0.03)]
    chosen += [slow_processes(0.03, either=False), modes(0.02, 0.2, best=ALL_ROUNDS, off=0.02), over_rounds()]
    for noise in chosen:
        for words, interval in INTERVALS.items():
            if interval is not bootstrap or looks == (12,):
                found = study(noise, Rule(looks, interval), runs)
                if found.half < math.inf:
                    yield [noise.words, words, *found.cells]


def widths(comparisons: int, looks: int) -> Iterator[list[str]]:
    """A row per number of rounds: the median half-width by standard deviation, and the median of the widest."""
    for n in range(5, 14):
        unit = quantile((1 - CONFIDENCE) / comparisons / looks, n - 1) / math.sqrt(n)
        spreads = [math.sqrt(chi2.ppf(share, n - 1) / (n - 1)) for share in (0.5, 0.5 ** (1 / comparisons))]
        yield [str(n), *(", ".join(f"x{math.exp(sd * unit * spread):.2f}" for spread in spreads) for sd in WIDTHS)]


def percent(share: float, runs: int) -> str:
    """A share in percent with its standard error."""
    return f"{100 * share:.1f} ± {100 * math.sqrt(share * (1 - share) / runs):.1f} %"


def show(heads: Sequence[str], rows: Iterable[list[str]], words: int = 1) -> None:
    """A table in Markdown, whose first so many columns are words."""
    for row in (heads, ["---"] * words + ["--:"] * (len(heads) - words), *rows):
        print(f"| {' | '.join(row)} |", flush=True)
    print(flush=True)


def main() -> int:
    """All tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=4000, help="simulated reports of each kind")
    runs = parser.parse_args().runs
    for looks in LOOKS:
        show([f"noise, looks at {looks}", *HEADS], by_noise(Rule(looks), runs))
    for noise in (normal(), doubtful()):
        show([f"rule, under {noise.words}", *HEADS], by_rule(noise, runs))
    for looks in ((6,), (12,), (6, 9, 12)):
        show([f"modes, looks at {looks}", "held, of those chosen", *HEADS], by_choice(looks, runs))
    for noise in (normal(), normal(0.05, "5 %"), slow_processes(0.01), slow_processes(0.03)):
        show([f"looks, under {noise.words}", "interval", *HEADS], by_schedule(noise, runs), 2)
    for looks in ((6,), (9,), (12,), (6, 9), (6, 9, 12)):
        show([f"noise, looks at {looks}", "interval", *HEADS], by_interval(looks, runs), 2)
    for comparisons in (12, 16):
        for many in (1, 2, 3):
            heads = [f"rounds, {comparisons} comparisons, {many} look{'s' if many > 1 else ''}"]
            show([*heads, *(f"sd {100 * sd:g} %, median and widest" for sd in WIDTHS)], widths(comparisons, many))
    return 0


if __name__ == "__main__":
    sys.exit(main())
