"""How often the suite's 95 % prediction intervals hold one further run, by simulation.

    .envs/core/bin/python -m benchmarks.coverage               # the tables of docs/statistics.md: a minute or two
    .envs/core/bin/python -m benchmarks.coverage --runs 400    # a quick look

Each simulated study draws some seeds and one more; its interval comes from ``suite.stats.prediction``, on the scale
that reports use.  The last tables set the scales that were not taken beside it, for five seeds of which none collapses;
*widest* is the greatest mean width of an interval over that of the middle 95 % of all runs.  Draws are seeded: the same
command prints the same tables.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from suite.scales import POSITIVE, SHARE, Bounds
from suite.stats import Prediction, prediction

Floats = NDArray[np.float64]
Random = np.random.Generator
Draw = Callable[[Random, tuple[int, int]], Floats]
SEEDS = (5, 6, 10, 20)
IMAGES = (360, 10_000)
CHANCE = 0.1
EPOCHS = Bounds(1.0, 50.0)


@dataclass(frozen=True)
class Clipped(Bounds):
    """The plain scale, cut off at the ends: not taken, for skewed runs."""

    def onto_scale(self, values: Floats) -> Floats:  # noqa: D102 -- as its base
        return values

    def from_scale(self, place: float) -> float:  # noqa: D102 -- as its base
        return min(max(place, self.low), self.high)


@dataclass(frozen=True)
class Logit(Bounds):
    """Empirical logits, half a count added to either side: not taken, for near 1 they are wide beyond use."""

    images: int = IMAGES[-1]

    def onto_scale(self, values: Floats) -> Floats:  # noqa: D102 -- as its base
        right = values * self.images
        return np.log((right + 0.5) / (self.images - right + 0.5))

    def from_scale(self, place: float) -> float:  # noqa: D102 -- as its base
        share = ((self.images + 1) / (1 + np.exp(-np.clip(place, -700, 700))) - 0.5) / self.images
        return float(np.clip(share, 0, 1))


@dataclass(frozen=True)
class Log(Bounds):
    """Logarithms: not taken, for one loss near 0 makes them wide beyond use, and 0 has none."""

    def onto_scale(self, values: Floats) -> Floats:  # noqa: D102 -- as its base
        return np.log(values)

    def from_scale(self, place: float) -> float:  # noqa: D102 -- as its base
        return float(np.exp(np.clip(place, -700, 700)))


@dataclass(frozen=True)
class Noise:
    """How the values of seeds come about, in words, and who draws so many of them; ``broken`` if some seeds fail."""

    words: str
    draw: Draw
    broken: bool = False


def shares() -> Iterator[Noise]:
    """True accuracies of seeds around a centre."""
    for centre in (0.1, 0.5, 0.9, 0.97, 0.99, 0.999):
        yield Noise(f"{percent(centre)}, counting alone", lambda _, shape, p=centre: np.full(shape, p))
    for spread, centre in product((0.3, 1.0), (0.5, 0.97, 0.999)):
        yield Noise(
            f"{percent(centre)}, normal in the logit, s = {spread:g}",
            lambda rng, shape, p=centre, s=spread: 1 / (1 + np.exp(-rng.normal(np.log(p / (1 - p)), s, shape))),
        )
    for spread, centre in ((0.01, 0.5), (0.01, 0.97), (0.01, 0.99), (0.003, 0.99)):
        yield Noise(
            f"{percent(centre)}, normal in the share, s = {percent(spread)}",
            lambda rng, shape, p=centre, s=spread: np.clip(rng.normal(p, s, shape), 0, 1),
        )
    for tail, centre in ((0.03, 0.9), (0.01, 0.97)):
        yield Noise(
            f"{percent(centre)}, skewed, {percent(tail)} below it in the mean",
            lambda rng, shape, p=centre, m=tail: np.clip(p - rng.exponential(m, shape), 0, 1),
        )
    for part in (0.2, 0.5):
        yield Noise(
            f"97.0 %, but {percent(part)} of the seeds collapse to chance",
            lambda rng, shape, c=part: np.where(rng.random(shape) < c, CHANCE, 0.97),
            broken=True,
        )


def losses() -> Iterator[Noise]:
    """Losses of seeds in units of their centre; those that collapse end at a loss of chance, 23 times as high."""
    for s in (0.02, 0.1, 0.2):
        yield Noise(f"normal, s = {percent(s)}", lambda rng, shape, s=s: np.clip(rng.normal(1, s, shape), 1e-6, None))
    for s in (0.3, 0.6, 1.0):
        yield Noise(f"normal in the logarithm, s = {s:g}", lambda rng, shape, s=s: rng.lognormal(0, s, shape))
    yield Noise("exponential", lambda rng, shape: rng.exponential(1, shape))
    for part in (0.2, 0.5):
        yield Noise(
            f"{percent(part)} of the seeds collapse",
            lambda rng, shape, c=part: np.where(rng.random(shape) < c, 23.0, rng.normal(1, 0.05, shape)),
            broken=True,
        )


def stops() -> Iterator[Noise]:
    """Epochs of stopping: some patience and a skewed rest, 50 at most."""
    for mean in (5, 15):
        yield Noise(
            f"patience 5 and {mean} more in the mean",
            lambda rng, shape, m=mean: np.minimum(6 + np.floor(rng.gamma(2, m / 2, shape)), 50),
        )


def counted(noise: Noise, images: int) -> Noise:
    """Accuracies over so many test images under true ones."""
    return Noise(noise.words, lambda rng, shape: rng.binomial(images, noise.draw(rng, shape)) / images, noise.broken)


@dataclass(frozen=True)
class Held:
    """Share of intervals that hold one further run; their mean half-width over that of the runs' own middle 95 %."""

    share: float
    width: float


def held(noise: Noise, seeds: int, runs: int, bounds: Bounds) -> Held:
    """What came of so many studies of so many seeds."""
    drawn = noise.draw(np.random.default_rng([seeds, *noise.words.encode()]), (runs, seeds + 1))
    found = [prediction(row[:-1], bounds) for row in drawn.tolist()]
    made = [interval for interval in found if isinstance(interval, Prediction)]
    inside = [interval.holds(last) for interval, last in zip(made, drawn[:, -1], strict=True)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Held(float(np.mean(inside)), 2 * fmean(interval.half_width for interval in made) / float(high - low))


def coverage(noises: Iterable[Noise], runs: int, bounds: Bounds, images: Sequence[int] = ()) -> Iterator[list[str]]:
    """A row per noise: the coverage by number of seeds, for each number of test images if these are accuracies."""
    for noise in noises:
        several = [counted(noise, count) for count in images] or [noise]
        yield [noise.words, *(percent(held(one, n, runs, bounds).share) for one in several for n in SEEDS)]


def compared(noises: Iterable[Noise], runs: int, scales: Mapping[str, Bounds]) -> Iterator[list[str]]:
    """A row per scale, at five seeds: the lowest and the mean coverage over the noises, and the widest interval."""
    drawn = list(noises)
    for name, scale in scales.items():
        found = [held(noise, SEEDS[0], runs, scale) for noise in drawn]
        inside = [one.share for one in found]
        yield [name, percent(min(inside)), percent(fmean(inside)), f"{max(one.width for one in found):.3g}"]


def percent(share: float) -> str:
    """A share in percent."""
    return f"{100 * share:.1f} %"


def show(heads: Sequence[str], rows: Iterator[list[str]]) -> None:
    """A table in Markdown."""
    for row in (heads, ["---"] + ["--:"] * (len(heads) - 1), *rows):
        print(f"| {' | '.join(row)} |", flush=True)
    print(flush=True)


def main() -> int:
    """All tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=4000, help="simulated studies of each noise")
    runs = parser.parse_args().runs
    seeds = [f"{n} seeds" for n in SEEDS]
    by_images = [f"{n}, {images:,} images" for images in IMAGES for n in seeds]
    show(["accuracy of the seeds", *by_images], coverage(shares(), runs, SHARE, IMAGES))
    show(["loss of the seeds", *seeds], coverage(losses(), runs, POSITIVE))
    show(["epoch of stopping", *seeds], coverage(stops(), runs, EPOCHS))
    heads = ["lowest", "mean", "widest"]
    for images in IMAGES:
        scales = {"arcsine of the root": SHARE, "plain, cut off": Clipped(0.0, 1.0), "logit": Logit(images=images)}
        noises = [counted(noise, images) for noise in shares() if not noise.broken]
        show([f"scale of accuracies over {images:,} images", *heads], compared(noises, runs, scales))
    others = {"root": POSITIVE, "plain, cut off": Clipped(0.0), "logarithm": Log()}
    show(["scale of losses", *heads], compared([n for n in losses() if not n.broken], runs, others))
    return 0


if __name__ == "__main__":
    sys.exit(main())
