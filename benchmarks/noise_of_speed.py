"""Noise of log-ratios over rounds, as ``benchmarks.coverage_of_speed`` simulates it.

Twelve comparisons: four benchmarks of three questions each.  Per round each has one log-ratio, the true one and noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm

from benchmarks.intervals_of_speed import Floats

Random = np.random.Generator
BENCHMARKS, QUESTIONS = 4, 3
COMPARISONS = BENCHMARKS * QUESTIONS
TRUE = np.log(np.ravel([[1, 1, 1.02], [1.02, 1.05, 1.5], [1, 1.02, 1.05], [1, 1.5, 1.5]]))
"""The true log-ratios, benchmark by benchmark."""
DOUBTFUL = np.log(np.tile([1, 1.5, 1.5], BENCHMARKS))
"""One comparison of a benchmark alone keeps it going, and a false call of it stops it: the worst for stopping."""
MIXED = np.repeat([0.02, 0.05], COMPARISONS // 2)
"""Standard deviations: 2 % in two benchmarks, 5 % in the other two."""
OFF = math.log(1.6)
"""A process that is off is 60 % slower."""
OTHER_ROUNDS, ALL_ROUNDS = "over the other rounds", "over all rounds"


@dataclass(frozen=True)
class Noise:
    """What is drawn for so many reports and rounds, and how log-ratios come of the rounds seen so far.

    ``mean`` and ``typical`` are mean and median of the noise, each a number or one per comparison.
    """

    words: str
    draw: Callable[[Random, tuple[int, int]], Floats]
    mean: float | Floats = 0.0
    typical: float | Floats = 0.0
    ratios: Callable[[Floats], Floats] = lambda drawn: drawn
    truth: Floats = field(default_factory=lambda: TRUE)

    @property
    def lopsided(self) -> bool:
        """Whether the mean ratio is another than the typical one."""
        return bool(np.any(np.asarray(self.mean) != self.typical))


def normal(sd: float | Floats = MIXED, words: str = "2 and 5 %") -> Noise:
    """Independent and normal."""
    return Noise(f"normal, sd {words}", lambda rng, shape: rng.normal(0, sd, (*shape, COMPARISONS)))


def doubtful(sd: float = 0.05) -> Noise:
    """Normal, where stopping does the most harm."""
    return replace(normal(sd, f"{100 * sd:g} %, one doubtful comparison a benchmark"), truth=DOUBTFUL)


def skewed() -> Iterator[Noise]:
    """Exponential and log-normal, to the side where the second is slower; and exponential in either framework."""

    def exponential(rng: Random, shape: tuple[int, int]) -> Floats:
        return np.asarray(MIXED * rng.exponential(1, (*shape, COMPARISONS)))

    shape_of = 0.5
    unit = math.sqrt((math.exp(shape_of**2) - 1) * math.exp(shape_of**2))

    def lognormal(rng: Random, shape: tuple[int, int]) -> Floats:
        return MIXED / unit * (rng.lognormal(0, shape_of, (*shape, COMPARISONS)) - 1)

    yield Noise("exponential in one framework", exponential, MIXED, MIXED * math.log(2))
    yield Noise(
        "exponential in either",
        lambda rng, shape: (exponential(rng, shape) - exponential(rng, shape)) / math.sqrt(2),
    )
    yield Noise(
        f"log-normal ({shape_of:g}) in one framework", lognormal, MIXED / unit * (math.exp(shape_of**2 / 2) - 1)
    )


def heavy() -> Noise:
    """Student's t with three degrees of freedom, scaled to the same standard deviation."""
    return Noise("t with 3 df", lambda rng, shape: MIXED / math.sqrt(3) * rng.standard_t(3, (*shape, COMPARISONS)))


def slow_processes(share: float, either: bool = True, shared: bool = False) -> Noise:
    """Normal, but a share of processes is off: in either framework or only the second; per question, or for all three.

    A framework's process of a round answers all questions of a benchmark, so a process that is off may be off in all.
    """

    def draw(rng: Random, shape: tuple[int, int]) -> Floats:
        def off() -> Floats:
            of = BENCHMARKS if shared else COMPARISONS
            return np.repeat(np.where(rng.random((*shape, of)) < share, OFF, 0.0), COMPARISONS // of, axis=2)

        noise = rng.normal(0, MIXED, (*shape, COMPARISONS)) + off()
        return noise - off() if either else noise

    words = f"{100 * share:g} % of processes off, {'either framework' if either else 'one framework'}"
    words += ", all questions at once" if shared else ""
    if either:
        return Noise(words, draw)
    return Noise(words, draw, share * OFF, np.array([_middle(share, sd) for sd in MIXED]))


def _middle(share: float, sd: float) -> float:
    """Median of a normal mixture of which a share is off."""
    return float(brentq(lambda x: (1 - share) * norm.cdf(x / sd) + share * norm.cdf((x - OFF) / sd) - 0.5, -sd, sd))


def over_questions(correlation: float = 0.8) -> Noise:
    """Normal, correlated over the questions of a benchmark."""

    def draw(rng: Random, shape: tuple[int, int]) -> Floats:
        common = np.repeat(rng.normal(0, 1, (*shape, BENCHMARKS)), QUESTIONS, axis=2)
        own = rng.normal(0, 1, (*shape, COMPARISONS))
        return MIXED * (math.sqrt(correlation) * common + math.sqrt(1 - correlation) * own)

    return Noise(f"normal, correlated {correlation:g} over questions", draw)


def over_rounds(correlation: float = 0.3) -> Noise:
    """Normal, each round correlated with the one before."""

    def draw(rng: Random, shape: tuple[int, int]) -> Floats:
        found = rng.normal(0, 1, (*shape, COMPARISONS))
        for number in range(1, shape[1]):
            found[:, number] *= math.sqrt(1 - correlation**2)
            found[:, number] += correlation * found[:, number - 1]
        return np.asarray(MIXED * found)

    return Noise(f"normal, AR(1) {correlation:g} over rounds", draw)


Picks = NDArray[np.intp]
Choose = Callable[[Floats], Picks]


def modes(*slower: float, best: str = ALL_ROUNDS, more: int = 1, off: float = 0.0, picked: bool = False) -> Noise:
    """Two modes per framework, or ``more``, the best and others slower by a share; ``best`` names who enters a round.

    The true ratio is that of the best modes, or of those ``picked``.
    """
    gaps = np.log1p([[0.0] + [share] * more for share in slower])

    def draw(rng: Random, shape: tuple[int, int]) -> Floats:
        size = (*shape, COMPARISONS, *gaps.shape)
        costs = gaps + MIXED[:, None, None] / math.sqrt(2) * rng.normal(0, 1, size)
        return costs + OFF * (rng.random(size) < off) if off else costs

    def ratios(costs: Floats) -> Floats:
        found = np.take_along_axis(costs - gaps if picked else costs, CHOICES[best](costs)[..., None], axis=-1)[..., 0]
        return found[..., 1] - found[..., 0]

    words = f"other modes {' and '.join(f'{100 * share:g} %' for share in slower)} slower"
    words = words.replace("other modes", f"{more} other modes") if more > 1 else words
    return Noise(f"{words}{f', {100 * off:g} % of processes off' if off else ''}, best {best}", draw, ratios=ratios)


def leave_one_out(costs: Floats) -> Picks:
    """Per round (the second axis) the mode (the last) of the lowest median over the others, as reports once did."""
    return np.asarray(np.argmin(others(costs), axis=-1))


def over_all(costs: Floats) -> Picks:
    """In each round the mode with the lowest median over all rounds."""
    return first_rounds(costs, costs.shape[1])


def first_rounds(costs: Floats, many: int) -> Picks:
    """In each round the mode with the lowest median over so many first rounds."""
    best = np.argmin(np.median(costs[:, :many], axis=1, keepdims=True), axis=-1)
    return np.broadcast_to(best, costs.shape[:-1])


CHOICES: dict[str, Choose] = {
    OTHER_ROUNDS: leave_one_out,
    ALL_ROUNDS: over_all,
    "over the first 6 rounds": lambda costs: first_rounds(costs, 6),
    "in the first round": lambda costs: first_rounds(costs, 1),
}
"""Which mode enters a round, in words."""


def others(costs: Floats) -> Floats:
    """Per round (the second axis) the median over the other rounds."""
    n = costs.shape[1]
    order = np.argsort(costs, axis=1)
    ordered = np.take_along_axis(costs, order, axis=1)
    places = np.argsort(order, axis=1)
    lower, upper = (
        np.where(places <= at, ordered[:, [at + 1]], ordered[:, [at]]) for at in ((n - 2) // 2, (n - 1) // 2)
    )
    return (lower + upper) / 2


GAPS: tuple[tuple[float, float], ...] = ((0.0, 0.0), (0.02, 0.02), (0.2, 0.2), (0.02, 0.2), (0.0, 0.2))


def noises() -> Iterator[Noise]:
    """All of them."""
    yield normal(0.02, "2 %")
    yield normal(0.05, "5 %")
    yield normal()
    yield doubtful()
    yield over_questions()
    yield over_rounds()
    yield heavy()
    yield from skewed()
    for share in (0.01, 0.03):
        yield slow_processes(share)
    yield slow_processes(0.03, shared=True)
    for share in (0.01, 0.03):
        yield slow_processes(share, either=False)
    for best in (OTHER_ROUNDS, ALL_ROUNDS):
        for gaps in GAPS:
            yield modes(*gaps, best=best)
        yield modes(0.02, 0.2, best=best, off=0.02)
