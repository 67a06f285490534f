"""Pure statistics over raw samples: intervals and decisions.

Costs are times: less is better, any unit.  Where data do not suffice, the outcome is a ``TooFew``, never a number.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, mannwhitneyu, t

from suite.scales import Bounds

CONFIDENCE = 0.95
LEAST_ROUNDS = 5
LEAST_SEEDS = 5
SAME_SPEED = 1.03
"""Speeds whose ratio surely lies between 1 / 1.03 and 1.03 are called equivalent."""
SLOWER = 1.02
"""A cost ratio surely above it is a slowdown.  Not 1: any change of code moves a process's layout, and speed with it.
Nor 1.05, or a slowdown of 5 % would be found as seldom as none."""
NOT_SLOWER = 1.05
"""A cost ratio surely not above it is none: 5 % is the least that is to be found.  Between the two either is right."""
SAME_ACCURACY = 0.005
"""Margin of the equivalence test over accuracies, as a fraction: half a point."""
BOUND_CONFIDENCE = 0.99
LEAST_SAMPLES = {0.9: 64, 0.99: 662, 0.999: 6636}
"""Samples from which a percentile is printed: the bound is then never the largest sample itself.

Source: early stopping in MLPerf's LoadGen (percentiles 90, 99 and 99.9 at confidence 99 %, one query over the bound).
"""
NULL_LIMIT = 0.01
"""Share of a cell's shortest sample that the instrument may cost."""
UNSETTLED_SLOWER = 1.03
UNSETTLED_P = 0.01


@dataclass(frozen=True)
class TooFew:
    """There are ``have`` of ``what`` where ``need`` are needed."""

    what: Literal["rounds", "seeds", "samples"]
    have: int
    need: int

    def __str__(self) -> str:
        return f"too few {self.what}: {self.have} of {self.need}"


class Decision(StrEnum):
    """What an interval of the speed ratio says of the first against the second."""

    FASTER = "faster"
    SLOWER = "slower"
    EQUIVALENT = "equivalent"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Ratio:
    """Speed of the first over that of the second: the geometric mean over ``rounds`` and its interval."""

    value: float
    low: float
    high: float
    rounds: int
    confidence: float

    @property
    def decision(self) -> Decision:
        """Equivalent if the interval lies within 3 %; else undecided if it holds 1."""
        if self.low >= 1 / SAME_SPEED and self.high <= SAME_SPEED:
            return Decision.EQUIVALENT
        if self.low <= 1 <= self.high:
            return Decision.UNDECIDED
        return Decision.FASTER if self.low > 1 else Decision.SLOWER

    @property
    def inverse(self) -> Ratio:
        """The second over the first."""
        return Ratio(1 / self.value, 1 / self.high, 1 / self.low, self.rounds, self.confidence)


def speed_ratio(first: Sequence[float], second: Sequence[float], comparisons: int = 1) -> Ratio | TooFew:
    """Paired t-interval on the log-ratios of costs, one pair per round.

    ``comparisons`` intervals hold together with 95 %: each is widened to 1 - 0.05 / comparisons (Bonferroni).
    """
    if len(first) != len(second) or comparisons < 1:
        raise ValueError("a pair per round and one comparison at least")
    if len(first) < LEAST_ROUNDS:
        return TooFew("rounds", len(first), LEAST_ROUNDS)
    if min(*first, *second) <= 0:
        raise ValueError("a cost is above 0")
    return _over_rounds(np.log(np.asarray(second, float)) - np.log(np.asarray(first, float)), comparisons)


def ratio_interval(ratios: Sequence[float], comparisons: int = 1) -> Ratio | TooFew:
    """As ``speed_ratio`` from the ratios of speeds themselves, one per round."""
    if comparisons < 1:
        raise ValueError("one comparison at least")
    if len(ratios) < LEAST_ROUNDS:
        return TooFew("rounds", len(ratios), LEAST_ROUNDS)
    if min(ratios) <= 0:
        raise ValueError("a ratio of speeds is above 0")
    return _over_rounds(np.log(np.asarray(ratios, float)), comparisons)


def _over_rounds(logs: NDArray[np.float64], comparisons: int) -> Ratio:
    confidence = 1 - (1 - CONFIDENCE) / comparisons
    mean, half = _t_interval(logs, confidence)
    return Ratio(math.exp(mean), math.exp(mean - half), math.exp(mean + half), len(logs), confidence)


def _t_interval(values: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """Mean and half-width of Student's interval."""
    error = float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()), error * _quantile((1 + confidence) / 2, len(values) - 1)


@functools.cache
def _quantile(share: float, freedom: int) -> float:
    return float(t.ppf(share, freedom))


def unpaired_ratio(first: Sequence[float], second: Sequence[float], comparisons: int = 1) -> Ratio | TooFew:
    """As ``speed_ratio`` where the rounds of the two are no pairs: Welch's interval on the means of log-costs."""
    have = min(len(first), len(second))
    if have < LEAST_ROUNDS:
        return TooFew("rounds", have, LEAST_ROUNDS)
    if min(*first, *second) <= 0:
        raise ValueError("a cost is above 0")
    logs = np.log(np.asarray(first, float)), np.log(np.asarray(second, float))
    confidence = 1 - (1 - CONFIDENCE) / comparisons
    mean = float(logs[1].mean() - logs[0].mean())
    errors = [float(values.var(ddof=1)) / len(values) for values in logs]
    if not any(errors):
        return Ratio(math.exp(mean), math.exp(mean), math.exp(mean), have, confidence)
    # Welch and Satterthwaite's degrees of freedom
    freedom = sum(errors) ** 2 / sum(e**2 / (len(values) - 1) for e, values in zip(errors, logs, strict=True))
    half = math.sqrt(sum(errors)) * float(t.ppf((1 + confidence) / 2, freedom))
    return Ratio(math.exp(mean), math.exp(mean - half), math.exp(mean + half), have, confidence)


class Regression(StrEnum):
    """What the bounds of a slowdown say of a change."""

    SLOWER = "slower"
    NOT_SLOWER = "not slower"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Slowdown:
    """Cost after a change over cost before: the geometric mean over ``rounds``, and bounds that hold one by one.

    ``confidence`` is that of each bound alone; that both hold has twice its error.
    """

    value: float
    low: float
    high: float
    rounds: int
    confidence: float

    @property
    def verdict(self) -> Regression:
        """Slower if the lower bound is above 1.02; else not slower if the upper bound is not above 1.05."""
        if self.low > SLOWER:
            return Regression.SLOWER
        return Regression.NOT_SLOWER if self.high <= NOT_SLOWER else Regression.UNDECIDED


def slowdown(ratios: Sequence[float], comparisons: int = 1, looks: int = 1) -> Slowdown | TooFew:
    """One-sided t-bounds on the log of cost ratios, after over before, one per round.

    The lower bounds of ``comparisons`` slowdowns at ``looks`` looks hold together with 95 % (Bonferroni), and so do the
    upper ones; rounds may end at any look for whatever reason.
    """
    if min(comparisons, looks) < 1:
        raise ValueError("one comparison and one look at least")
    if len(ratios) < LEAST_ROUNDS:
        return TooFew("rounds", len(ratios), LEAST_ROUNDS)
    if min(ratios) <= 0:
        raise ValueError("a ratio of costs is above 0")
    share = (1 - CONFIDENCE) / (comparisons * looks)
    mean, half = _t_interval(np.log(np.asarray(ratios, float)), 1 - 2 * share)
    return Slowdown(math.exp(mean), math.exp(mean - half), math.exp(mean + half), len(ratios), 1 - share)


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided t-tests: the mean of paired differences of shares, its 90 % interval, the larger p-value.

    Two shares are 1 apart at most, and so are their means: what an interval has beyond is cut off, and holds no less.
    Source: Schuirmann 1987; the test holds at 5 % just when the 90 % interval lies within the margin.
    """

    mean: float
    low: float
    high: float
    p: float
    margin: float
    pairs: int

    @property
    def equivalent(self) -> bool:
        """Whether the difference is within the margin, at 5 %."""
        return self.p < 0.05


def equivalence(first: Sequence[float], second: Sequence[float], margin: float = SAME_ACCURACY) -> Equivalence | TooFew:
    """Test over paired seeds whether ``first - second``, both shares, lies within ``margin`` of 0."""
    if len(first) != len(second) or not 0 < margin < 1:
        raise ValueError("a pair per seed and a margin between 0 and 1")
    if len(first) < LEAST_SEEDS:
        return TooFew("seeds", len(first), LEAST_SEEDS)
    differences = np.asarray(first, float) - np.asarray(second, float)
    mean, half = _t_interval(differences, 0.9)
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    if error == 0:
        p = 0.0 if abs(mean) < margin else 1.0
    else:
        p = float(t.cdf((abs(mean) - margin) / error, len(differences) - 1))
    return Equivalence(mean, max(mean - half, -1.0), min(mean + half, 1.0), p, margin, len(differences))


@dataclass(frozen=True)
class Prediction:
    """Where one further run falls with 95 %, from ``runs`` runs with their mean."""

    mean: float
    low: float
    high: float
    runs: int

    @property
    def half_width(self) -> float:
        """Half of the distance between its ends; the mean need not lie in the middle."""
        return (self.high - self.low) / 2

    def holds(self, value: float) -> bool:
        """Whether ``value`` lies in it, ends included."""
        return self.meets(value, value)

    def meets(self, low: float, high: float) -> bool:
        """Whether some value from ``low`` to ``high`` lies in it, ends included."""
        return self.low <= high and low <= self.high


def prediction(values: Sequence[float], bounds: Bounds) -> Prediction | TooFew:
    """Student's prediction interval on the scale of ``bounds``, brought back: mean +- t * s * sqrt(1 + 1/n) there.

    The mean is that of the values themselves.  ``benchmarks/coverage.py`` simulates how often such intervals hold.
    """
    if len(values) < LEAST_SEEDS:
        return TooFew("seeds", len(values), LEAST_SEEDS)
    if min(values) == max(values):
        return Prediction(values[0], values[0], values[0], len(values))
    exact = np.asarray(values, float)
    centre, half = _t_interval(bounds.onto_scale(exact), CONFIDENCE)
    half *= math.sqrt(len(values) + 1)
    mean = float(exact.mean())
    low, high = bounds.from_scale(centre - half), bounds.from_scale(centre + half)
    return Prediction(mean, min(low, mean), max(high, mean), len(values))


@dataclass(frozen=True)
class Percentile:
    """The sample at ``share`` by nearest rank, and the order statistic that bounds the true one with 99 %."""

    share: float
    value: float
    bound: float


def percentile(samples: Sequence[float], share: float) -> Percentile | TooFew:
    """A percentile out of ``LEAST_SAMPLES`` with its upper bound, free of any assumed distribution.

    The k-th smallest of n samples is at least the true percentile with probability P(Binomial(n, share) < k).
    """
    count, need = len(samples), LEAST_SAMPLES[share]
    if count < need:
        return TooFew("samples", count, need)
    ordered = np.sort(np.asarray(samples, float))
    at = math.ceil(round(share * count, 6))
    bound = int(binom.ppf(BOUND_CONFIDENCE, count, share)) + 1
    return Percentile(share, float(ordered[at - 1]), float(ordered[bound - 1]))


@dataclass(frozen=True)
class Centre:
    """A middle value with its 95 % interval, from ``count`` of ``what``."""

    value: float
    low: float
    high: float
    count: int
    what: Literal["rounds", "samples"]


def median_interval(samples: Sequence[float]) -> Centre | TooFew:
    """The median between two order statistics, which hold the true one with 95 % or more; from 6 samples on.

    The k-th smallest of n and the k-th largest hold it with probability 1 - 2 P(Binomial(n, 1/2) < k), whatever the
    distribution, if samples are independent.
    """
    count = len(samples)
    inner = int(binom.ppf((1 - CONFIDENCE) / 2, count, 0.5)) if count else 0
    if inner < 1:
        return TooFew("samples", count, 6)
    ordered = np.sort(np.asarray(samples, float))
    return Centre(float(np.median(ordered)), float(ordered[inner - 1]), float(ordered[-inner]), count, "samples")


def rounds_interval(costs: Sequence[float]) -> Centre | TooFew:
    """Geometric mean of positive costs, one per round, with Student's interval over their logarithms."""
    if len(costs) < LEAST_ROUNDS:
        return TooFew("rounds", len(costs), LEAST_ROUNDS)
    if min(costs) <= 0:
        raise ValueError("a cost is above 0")
    mean, half = _t_interval(np.log(np.asarray(costs, float)), CONFIDENCE)
    return Centre(math.exp(mean), math.exp(mean - half), math.exp(mean + half), len(costs), "rounds")


def mean_interval(values: Sequence[float]) -> Centre | TooFew:
    """Mean of values of any sign, one per round, with Student's interval at 95 %."""
    if len(values) < LEAST_ROUNDS:
        return TooFew("rounds", len(values), LEAST_ROUNDS)
    mean, half = _t_interval(np.asarray(values, float), CONFIDENCE)
    return Centre(mean, mean - half, mean + half, len(values), "rounds")


def line(sizes: Sequence[float], costs: Sequence[float]) -> tuple[float, float]:
    """Intercept and slope of the straight line through positive costs at two sizes or more.

    Least squares of relative errors: a cost ten times as large may be ten times as far off.
    """
    if len(set(sizes)) < 2 or len(sizes) != len(costs) or min(costs) <= 0:
        raise ValueError("a positive cost at two sizes at least")
    weights = 1 / np.asarray(costs, float)
    slope, intercept = np.polyfit(np.asarray(sizes, float), np.asarray(costs, float), 1, w=weights)
    return float(intercept), float(slope)


@dataclass(frozen=True)
class NoSpread:
    """All samples are equal: nothing can correlate."""


def autocorrelation(samples: Sequence[float]) -> float | NoSpread | TooFew:
    """Lag-1 autocorrelation, between -1 and 1: how far a sample tells its successor."""
    if len(samples) < 3:
        return TooFew("samples", len(samples), 3)
    centred = np.asarray(samples, float) - float(np.mean(samples))
    largest = float(np.abs(centred).max())
    if largest <= 1e-12 * abs(float(np.mean(samples))):
        return NoSpread()
    centred /= largest
    return float(centred[:-1] @ centred[1:] / (centred @ centred))


@dataclass(frozen=True)
class WarmUp:
    """Median of the first quarter of the measured samples over that of the rest, and the p-value of being slower."""

    early_over_late: float
    p: float

    @property
    def enough(self) -> bool:
        """Not enough if the first quarter is over 3 % slower and a one-sided Mann-Whitney test says so at 1 %."""
        return not (self.early_over_late > UNSETTLED_SLOWER and self.p < UNSETTLED_P)


def warm_up(samples: Sequence[float]) -> WarmUp | TooFew:
    """Compare the first quarter of samples, in order of measuring, with the later ones; from 12 samples on."""
    if len(samples) < 12:
        return TooFew("samples", len(samples), 12)
    values = np.asarray(samples, float)
    early, late = np.split(values, [len(values) // 4])
    p = float(mannwhitneyu(early, late, alternative="greater").pvalue)
    reference = float(np.median(late))
    return WarmUp(float(np.median(early)) / reference if reference else math.inf, p)


def instrument_share(null: Sequence[float], samples: Sequence[float]) -> float:
    """Median cost of a call that computes nothing, over the shortest sample; above ``NULL_LIMIT`` a cell is a dash."""
    shortest = min(samples)
    return float(np.median(np.asarray(null, float))) / shortest if shortest else math.inf
