"""How often a report's intervals of speed hold all together: benchmarks/coverage_of_speed.py, with fewer reports."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import trim_mean
from scipy.stats.mstats import winsorize

from benchmarks import intervals_of_speed
from benchmarks.coverage_of_speed import (
    LOOKS,
    Rule,
    called,
    early,
    equivalent,
    evenly,
    last,
    late,
    main,
    pocock,
    reports,
    study,
    unsplit,
    widths,
)
from benchmarks.intervals_of_speed import bootstrap, extremes, student, walsh, yuen, yuen_exact
from benchmarks.noise_of_speed import (
    ALL_ROUNDS,
    CHOICES,
    COMPARISONS,
    OTHER_ROUNDS,
    TRUE,
    Noise,
    doubtful,
    heavy,
    modes,
    noises,
    normal,
    others,
    over_rounds,
    skewed,
    slow_processes,
)
from suite.stats import Decision, Ratio, speed_ratio

RUNS = 1500
"""The standard error of a coverage of 95 % is 0.6 %."""
FIVE = (5, 7, 9, 11, 13)


def test_the_intervals_and_their_calls_are_those_of_reports() -> None:
    rng = np.random.default_rng(3)
    logs = rng.normal([0, 0, 0.2, -0.2], [0.005, 0.1, 0.02, 0.02], (40, 7, 4))
    low, high = student(logs, 0.05 / 12 / 2)
    words = set()
    for report, comparison in np.ndindex(low.shape):
        found = speed_ratio(np.ones(7).tolist(), np.exp(logs[report, :, comparison]).tolist(), 12 * 2)
        assert isinstance(found, Ratio)
        ends = low[report, comparison], high[report, comparison]
        assert ends == pytest.approx((math.log(found.low), math.log(found.high)))
        assert called(*ends) == (found.decision in (Decision.FASTER, Decision.SLOWER))
        assert equivalent(*ends) == (found.decision is Decision.EQUIVALENT)
        words.add(found.decision)
    assert len(words) == 4


def test_a_benchmark_stops_at_the_look_that_settles_it_and_keeps_that_interval() -> None:
    spread = np.tile([-0.1, 0.1], 6)[:, None] * np.repeat([0.01, 1, 1, 1], 3)
    seen = np.array([spread, spread])
    seen[1, 6:] *= 0.001
    found = reports(np.zeros(COMPARISONS), lambda n: seen[:, :n], Rule((6, 9, 12)), 2)
    assert found.rounds.tolist() == [[6, 12, 12, 12]] * 2
    for benchmark, n in enumerate((6, 12, 12, 12)):
        low, high = student(seen[:, :n], 0.05 / 12 / 3)
        of = slice(3 * benchmark, 3 * benchmark + 3)
        assert np.allclose(found.low[:, of], low[:, of], rtol=1e-9)
        assert np.allclose(found.high[:, of], high[:, of], rtol=1e-9)


@pytest.mark.parametrize("looks", LOOKS)
@pytest.mark.parametrize("noise", [normal(), doubtful(), heavy(), slow_processes(0.03)], ids=lambda noise: noise.words)
def test_under_even_noise_all_intervals_hold_in_95_of_100_reports(noise: Noise, looks: tuple[int, ...]) -> None:
    found = study(noise, Rule(looks), RUNS)
    assert found.held > 0.935
    assert found.held == found.typical
    assert looks[0] <= found.rounds <= looks[-1]


def test_intervals_not_widened_for_comparisons_miss() -> None:
    for looks in LOOKS:
        assert study(doubtful(), Rule(looks, comparisons=1), RUNS).held < 0.9


def test_intervals_not_widened_for_looks_miss() -> None:
    """They miss most where a false call stops a benchmark."""
    split, bold = (study(doubtful(), Rule(FIVE, split=split), 2 * RUNS) for split in (evenly, unsplit))
    assert split.held > 0.965
    assert bold.held < 0.95
    assert bold.false > 2 * split.false


@pytest.mark.parametrize("split", [evenly, late, early, last])
def test_the_error_is_shared_out_among_looks(split) -> None:
    for looks in LOOKS:
        assert sum(split(looks, 0.05)) == pytest.approx(0.05)


def test_pocock_lies_between_the_looks_share_and_the_whole_error() -> None:
    for looks in LOOKS[1:]:
        assert 0.004 / len(looks) < pocock(looks, 0.004)[0] < 0.004
    assert pocock((6,), 0.004)[0] == pytest.approx(0.004, rel=0.15)


def test_lopsided_noise_and_rounds_that_hang_together_show() -> None:
    """The bad rows: the mean is missed where the typical ratio is not, and no interval knows of correlated rounds."""
    for noise in (next(skewed()), slow_processes(0.03, either=False)):
        found = study(noise, Rule((6, 9, 12)), RUNS)
        assert found.held < 0.9
        assert found.typical > 0.945
    assert study(over_rounds(), Rule((6,)), RUNS).held < 0.9


def test_modes_chosen_over_the_other_rounds_make_intervals_too_narrow_and_over_all_rounds_do_not() -> None:
    """A round that is low leads the others to its mode, so the rounds' costs hang together."""
    assert study(modes(0.0, 0.0, best=OTHER_ROUNDS), Rule((12,)), RUNS).held < 0.85
    for gaps in ((0.0, 0.0), (0.02, 0.02), (0.02, 0.2)):
        assert study(modes(*gaps, best=ALL_ROUNDS), Rule((12,)), RUNS).held > 0.935


@pytest.mark.parametrize("n", [5, 6])
def test_the_median_over_the_other_rounds(n: int) -> None:
    costs = np.random.default_rng(n).normal(0, 1, (3, n, 4, 2, 2))
    for left_out in range(n):
        expected = np.median(np.delete(costs, left_out, axis=1), axis=1)
        assert np.allclose(others(costs)[:, left_out], expected)


@pytest.mark.parametrize("best", CHOICES)
def test_a_mode_that_is_far_better_enters_every_round(best: str) -> None:
    noise = modes(0.5, 0.5, best=best)
    costs = noise.draw(np.random.default_rng(1), (5, 7))
    assert np.array_equal(noise.ratios(costs), costs[..., 1, 0] - costs[..., 0, 0])


@pytest.mark.parametrize("noise", list(noises()), ids=lambda noise: noise.words)
def test_noise_has_the_mean_and_the_median_that_it_states(noise: Noise) -> None:
    drawn = noise.draw(np.random.default_rng(0), (4000, 6))
    if drawn.ndim == 3:
        flat = drawn.reshape(-1, COMPARISONS)
        assert np.allclose(flat.mean(axis=0), noise.mean, atol=0.003)
        assert np.allclose(np.median(flat, axis=0), noise.typical, atol=0.003)
    assert noise.ratios(drawn).shape == (4000, 6, COMPARISONS)


def test_yuens_interval_is_about_the_trimmed_mean_and_holds_as_stated_if_exact() -> None:
    logs = np.random.default_rng(2).normal(0, 1, (20_000, 10, 1))
    low, high = yuen(logs, 0.05)
    assert np.allclose((low + high) / 2, trim_mean(logs, 0.2, axis=1))
    clipped = winsorize(logs[0, :, 0], (0.2, 0.2)).std(ddof=1)
    # six of ten rounds are left, so five degrees of freedom
    assert (high - low)[0, 0] / 2 == pytest.approx(2.5706 * clipped * math.sqrt(9 / (6 * 5)), rel=1e-4)
    for error in (0.05, 0.004):
        low, high = yuen_exact(logs, error)
        assert np.mean((low > 0) | (high < 0)) == pytest.approx(error, rel=0.25)


def test_intervals_by_ranks_hold_at_least_as_stated_or_have_no_ends() -> None:
    # of the 32 subsets of ranks 1 to 5 so many sum to at most 0, 1, 2, 3
    assert intervals_of_speed._signed_ranks(5)[:4] * 32 == pytest.approx([1, 2, 3, 5])
    logs = np.random.default_rng(5).standard_t(3, (20_000, 9, 1))
    for interval in (walsh, extremes):
        low, high = interval(logs, 0.05)
        assert 0.025 < np.mean((low > 0) | (high < 0)) < 0.053
        assert np.all(np.isinf(interval(logs[:, :6], 0.004)))
    low, high = extremes(logs, 2 / 2**9)
    assert np.array_equal(low, logs.min(axis=1))
    assert np.array_equal(high, logs.max(axis=1))


def test_the_bootstrap_is_too_narrow_for_few_rounds() -> None:
    found = study(normal(), Rule((6,), bootstrap), 200)
    assert found.held < 0.7


def test_the_table_of_half_widths_agrees_with_simulation() -> None:
    rows = {row[0]: row[1:] for row in widths(COMPARISONS, 1)}
    found = study(normal(0.05, "5 %"), Rule((6,)), RUNS)
    stated = [float(factor.strip(" x")) for factor in rows["6"][-1].split(",")]
    assert stated == pytest.approx([math.exp(found.half), math.exp(found.widest)], abs=0.011)


def test_the_command_prints_the_same_tables_each_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["coverage_of_speed", "--runs", "10"])
    assert main() == 0
    first = capsys.readouterr().out
    assert main() == 0
    assert capsys.readouterr().out == first
    assert first.count("\n| ---") == len(LOOKS) + 2 + 3 + 4 + 5 + 6
    assert np.count_nonzero(TRUE == 0) == 4
