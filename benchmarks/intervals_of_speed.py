"""Intervals over rounds, many at once: the one that reports use, and those that might take its place.

Each takes log-ratios (reports, rounds, comparisons) and the error that one interval may have, and gives its ends
(reports, comparisons).  Where so few rounds admit no such interval, it has no ends: minus to plus infinity.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, t

Floats = NDArray[np.float64]
Ends = tuple[Floats, Floats]
Interval = Callable[[Floats, float], Ends]
RESAMPLES = 2000
PATHS = 200_000


@functools.cache
def quantile(error: float, freedom: int) -> float:
    """Student's two-sided quantile."""
    return float(t.isf(error / 2, freedom))


def student(logs: Floats, error: float) -> Ends:
    """As reports: mean +- t s / sqrt(n)."""
    n = logs.shape[1]
    mean = logs.mean(axis=1)
    half = quantile(error, n - 1) * logs.std(axis=1, ddof=1) / math.sqrt(n)
    return mean - half, mean + half


def yuen(logs: Floats, error: float) -> Ends:
    """Yuen's interval, trimmed by 20 % at either end: one round of five to nine, two of ten to fourteen."""
    return _trimmed(logs, quantile(error, _left(logs) - 1))


def yuen_exact(logs: Floats, error: float) -> Ends:
    """The same, but widened as normal noise needs it; Student's quantile is a little too small for few rounds."""
    return _trimmed(logs, _normal_quantile(logs.shape[1], error))


def _left(logs: Floats) -> int:
    n: int = logs.shape[1]
    return n - 2 * (n // 5)


def _trimmed(logs: Floats, factor: float) -> Ends:
    """The mean without the least and the greatest, its error from the winsorised spread."""
    mean, error = _trimmed_mean(logs)
    return mean - factor * error, mean + factor * error


def _trimmed_mean(logs: Floats) -> tuple[Floats, Floats]:
    n, left = logs.shape[1], _left(logs)
    cut = (n - left) // 2
    ordered = np.sort(logs, axis=1)
    mean = ordered[:, cut : n - cut].mean(axis=1)
    spread = np.clip(ordered, ordered[:, [cut]], ordered[:, [n - cut - 1]]).std(axis=1, ddof=1)
    return mean, spread * math.sqrt((n - 1) / (left * (left - 1)))


@functools.cache
def _normal_quantile(n: int, error: float) -> float:
    mean, spread = _trimmed_mean(np.random.default_rng(n).normal(0, 1, (PATHS, n, 1)))
    return float(np.quantile(np.abs(mean / spread), 1 - error))


def extremes(logs: Floats, error: float) -> Ends:
    """Between two order statistics, as few as the error allows: holds the median whatever the distribution."""
    n = logs.shape[1]
    inner = int(np.searchsorted(2 * binom.cdf(np.arange(n // 2), n, 0.5), error, side="right"))
    return _between(logs, inner)


def walsh(logs: Floats, error: float) -> Ends:
    """Between two of the means of pairs of rounds, by Wilcoxon's signed ranks: exact if the noise is symmetric."""
    n = logs.shape[1]
    first, second = np.triu_indices(n)
    inner = int(np.searchsorted(2 * _signed_ranks(n), error, side="right"))
    return _between((logs[:, first] + logs[:, second]) / 2, inner)


@functools.cache
def _signed_ranks(n: int) -> Floats:
    """Chances that the sum of n positive ranks is at most 0, 1, 2 and so on."""
    chances = np.ones(1)
    for rank in range(1, n + 1):
        chances = np.convolve(chances, np.eye(1, rank + 1)[0] + np.eye(1, rank + 1, rank)[0]) / 2
    return chances.cumsum()


def _between(values: Floats, inner: int) -> Ends:
    """From the ``inner``-th least to the ``inner``-th greatest."""
    if inner < 1:
        nowhere = np.full((values.shape[0], values.shape[2]), np.inf)
        return -nowhere, nowhere
    ordered = np.sort(values, axis=1)
    return ordered[:, inner - 1], ordered[:, -inner]


def bootstrap(logs: Floats, error: float) -> Ends:
    """Percentiles of the mean over rounds drawn again with replacement; all reports take the same draws."""
    reports, n, comparisons = logs.shape
    weights = np.random.default_rng(n).multinomial(n, np.full(n, 1 / n), RESAMPLES) / n
    at = max(int(error / 2 * RESAMPLES), 1) - 1
    low, high = np.empty((2, reports, comparisons))
    for part in np.array_split(np.arange(reports), max(reports // 200, 1)):
        means = np.partition(np.moveaxis(logs[part], 1, 2) @ weights.T, (at, RESAMPLES - 1 - at), axis=2)
        low[part], high[part] = means[..., at], means[..., RESAMPLES - 1 - at]
    return low, high
