"""Intervals, tests and verdicts: by hand, against scipy, by simulation, and by their laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from suite.scales import ANY, POSITIVE, SHARE
from suite.stats import (
    LEAST_SAMPLES,
    Centre,
    Decision,
    Equivalence,
    NoSpread,
    Percentile,
    Prediction,
    Ratio,
    Regression,
    Slowdown,
    TooFew,
    WarmUp,
    autocorrelation,
    equivalence,
    instrument_share,
    median_interval,
    percentile,
    prediction,
    ratio_interval,
    rounds_interval,
    slowdown,
    speed_ratio,
    unpaired_ratio,
    warm_up,
)

costs = st.lists(st.tuples(*[st.floats(1e-3, 1e3)] * 2), min_size=5, max_size=20)


def ratio(first: list[float], second: list[float], comparisons: int = 1) -> Ratio:
    outcome = speed_ratio(first, second, comparisons)
    assert isinstance(outcome, Ratio)
    return outcome


def test_a_ratio_is_the_geometric_mean_with_the_interval_worked_by_hand() -> None:
    # Log-ratios ln 2 * (0, 1, 1, 1, 2): mean ln 2, s = ln 2 * sqrt(1/2), t(0.975, 4) = 2.776445.
    found = ratio([1, 1, 1, 1, 1], [1, 2, 2, 2, 4])
    half = 2.776445 * math.log(2) * math.sqrt(0.5) / math.sqrt(5)
    assert found.value == pytest.approx(2)
    assert (found.low, found.high) == pytest.approx((2 * math.exp(-half), 2 * math.exp(half)), rel=1e-6)
    assert (found.rounds, found.confidence) == (5, 0.95)


def test_a_ratio_agrees_with_scipy_under_bonferroni() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.lognormal(0, 0.1, 7), rng.lognormal(0.3, 0.1, 7)
    found = ratio(list(first), list(second), comparisons=6)
    theirs = scipy_stats.ttest_1samp(np.log(second / first), 0).confidence_interval(1 - 0.05 / 6)
    assert (math.log(found.low), math.log(found.high)) == pytest.approx((theirs.low, theirs.high))


def test_four_rounds_are_too_few() -> None:
    assert speed_ratio([1] * 4, [2] * 4) == TooFew("rounds", 4, 5)
    assert str(speed_ratio([], [])) == "too few rounds: 0 of 5"


@pytest.mark.parametrize(("first", "second"), [([1] * 5, [1] * 6), ([0] * 5, [1] * 5), ([1] * 5, [-1] * 5)])
def test_a_ratio_needs_pairs_and_costs_above_zero(first: list[float], second: list[float]) -> None:
    with pytest.raises(ValueError, match=r"pair|above 0"):
        speed_ratio(first, second)


@pytest.mark.parametrize(
    ("low", "high", "decision"),
    [
        (1.1, 1.2, Decision.FASTER),
        (0.8, 0.9, Decision.SLOWER),
        (0.9, 1.1, Decision.UNDECIDED),
        (0.98, 1.02, Decision.EQUIVALENT),
        (1.01, 1.02, Decision.EQUIVALENT),
        (1 / 1.03, 1.03, Decision.EQUIVALENT),
        (1.01, 1.04, Decision.FASTER),
        (0.96, 1.0, Decision.UNDECIDED),
        (0.96, 0.99, Decision.SLOWER),
    ],
)
def test_an_interval_decides_in_four_ways(low: float, high: float, decision: Decision) -> None:
    assert Ratio(math.sqrt(low * high), low, high, 5, 0.95).decision is decision


def test_ratios_cover_the_truth_in_95_of_100_simulated_runs() -> None:
    rng = np.random.default_rng(7)
    logs = rng.normal(0.2, 0.08, (4000, 5))
    found = [ratio([1.0] * 5, list(np.exp(row))) for row in logs]
    assert 0.93 <= np.mean([r.low <= math.exp(0.2) <= r.high for r in found]) <= 0.97


def test_bonferroni_keeps_all_of_ten_intervals_true_in_95_of_100_simulated_runs() -> None:
    rng = np.random.default_rng(8)
    runs = np.exp(rng.normal(0, 0.05, (600, 10, 5)))
    held = [all(r.low <= 1 <= r.high for r in (ratio([1.0] * 5, list(c), 10) for c in run)) for run in runs]
    assert np.mean(held) >= 0.93


@given(costs, st.floats(0.01, 100))
def test_a_ratio_does_not_depend_on_the_unit_of_time(pairs: list[tuple[float, float]], unit: float) -> None:
    first, second = map(list, zip(*pairs, strict=True))
    plain, scaled = ratio(first, second), ratio([unit * c for c in first], [unit * c for c in second])
    for name in ("value", "low", "high"):
        assert math.log(getattr(scaled, name)) == pytest.approx(math.log(getattr(plain, name)), rel=1e-6, abs=1e-6)


@given(costs, st.integers(1, 50))
def test_a_ratio_lies_in_its_interval_which_widens_with_comparisons(pairs: list[tuple[float, float]], m: int) -> None:
    first, second = map(list, zip(*pairs, strict=True))
    one, many = ratio(first, second), ratio(first, second, m)
    assert one.low <= one.value * (1 + 1e-12)
    assert one.value <= one.high * (1 + 1e-12)
    assert many.low <= one.low * (1 + 1e-12)
    assert many.high >= one.high * (1 - 1e-12)


@given(costs)
def test_swapping_the_two_inverts_the_ratio_and_its_decision(pairs: list[tuple[float, float]]) -> None:
    first, second = map(list, zip(*pairs, strict=True))
    there, back = ratio(first, second), ratio(second, first).inverse
    assert (math.log(there.low), math.log(there.high)) == pytest.approx((math.log(back.low), math.log(back.high)))


def test_equivalence_agrees_with_two_one_sided_tests_of_scipy() -> None:
    first, second = [0.97, 0.972, 0.968, 0.975, 0.971], [0.969, 0.974, 0.967, 0.973, 0.972]
    found = equivalence(first, second)
    assert isinstance(found, Equivalence)
    differences = np.subtract(first, second)
    above = scipy_stats.ttest_1samp(differences, -0.005, alternative="greater").pvalue
    below = scipy_stats.ttest_1samp(differences, 0.005, alternative="less").pvalue
    assert found.p == pytest.approx(max(above, below))
    assert found.equivalent
    assert found.mean == pytest.approx(0.0002)


def test_equivalence_holds_just_when_the_90_percent_interval_lies_within_the_margin() -> None:
    rng = np.random.default_rng(3)
    for _ in range(300):
        found = equivalence(list(rng.normal(0.97, 0.004, 5)), list(rng.normal(0.972, 0.004, 5)))
        assert isinstance(found, Equivalence)
        assert found.equivalent == (found.low > -0.005 and found.high < 0.005)


def test_equal_differences_decide_without_a_spread() -> None:
    same = equivalence([0.97] * 5, [0.97] * 5)
    apart = equivalence([0.98] * 5, [0.97] * 5)
    assert isinstance(same, Equivalence)
    assert isinstance(apart, Equivalence)
    assert same.equivalent
    assert not apart.equivalent


def test_equivalence_errs_in_at_most_5_of_100_runs_at_the_margin() -> None:
    rng = np.random.default_rng(4)
    wrong = 0
    for differences in rng.normal(0.005, 0.002, (4000, 5)):
        found = equivalence(list(differences), [0.0] * 5)
        assert isinstance(found, Equivalence)
        wrong += found.equivalent
    assert wrong / 4000 <= 0.06  # 5 % plus three standard errors of the simulation


def test_four_seeds_are_too_few() -> None:
    assert equivalence([0.9] * 4, [0.9] * 4) == TooFew("seeds", 4, 5)
    assert prediction([0.9] * 4, SHARE) == TooFew("seeds", 4, 5)


def test_a_prediction_interval_is_worked_by_hand() -> None:
    # Values 1..5: mean 3, s = sqrt(2.5), half = 2.776445 * sqrt(2.5) * sqrt(1.2) = 4.808943.
    found = prediction([1, 2, 3, 4, 5], ANY)
    assert isinstance(found, Prediction)
    assert (found.mean, found.low, found.high) == pytest.approx((3, 3 - 4.808943, 3 + 4.808943), rel=1e-6)


def test_prediction_intervals_hold_one_further_run_in_95_of_100() -> None:
    rng = np.random.default_rng(5)
    held = []
    for row in rng.normal(0.97, 0.003, (4000, 6)):
        found = prediction(list(row[:5]), SHARE)
        assert isinstance(found, Prediction)
        held.append(found.holds(row[5]))
    assert 0.93 <= np.mean(held) <= 0.97


def test_a_prediction_interval_is_worked_by_hand_on_the_scale_of_shares() -> None:
    # Angles 0.2 to 0.6: mean 0.4, s = sqrt(0.025), half = 2.776445 * sqrt(0.025) * sqrt(1.2) = 0.480894.
    angles = [0.2, 0.3, 0.4, 0.5, 0.6]
    shares = [math.sin(angle) ** 2 for angle in angles]
    found = prediction(shares, SHARE)
    assert isinstance(found, Prediction)
    assert (found.low, found.high) == (0, pytest.approx(math.sin(0.4 + 0.480894) ** 2, rel=1e-6))
    assert found.mean == pytest.approx(sum(shares) / 5)
    assert found.half_width == pytest.approx(found.high / 2)


@given(st.lists(st.floats(0, 1), min_size=5, max_size=30))
def test_an_interval_of_shares_holds_their_mean_and_no_value_that_is_no_share(values: list[float]) -> None:
    found = prediction(values, SHARE)
    assert isinstance(found, Prediction)
    assert 0 <= found.low <= found.mean <= found.high <= 1


@given(st.lists(st.floats(0, 1e6), min_size=5, max_size=30))
def test_an_interval_of_losses_holds_their_mean_and_nothing_below_zero(values: list[float]) -> None:
    found = prediction(values, POSITIVE)
    assert isinstance(found, Prediction)
    assert 0 <= found.low <= found.mean <= found.high


@given(st.lists(st.floats(0, 1), min_size=5, max_size=30))
def test_an_interval_of_errors_mirrors_that_of_accuracies(values: list[float]) -> None:
    accuracy, error = prediction(values, SHARE), prediction([1 - v for v in values], SHARE)
    assert isinstance(accuracy, Prediction)
    assert isinstance(error, Prediction)
    assert (1 - error.high, 1 - error.low) == pytest.approx((accuracy.low, accuracy.high), abs=1e-6)


@given(st.floats(0, 1), st.integers(5, 20))
def test_equal_runs_predict_their_value_and_no_other(value: float, runs: int) -> None:
    assert prediction([value] * runs, SHARE) == Prediction(value, value, value, runs)


def test_runs_that_collapse_to_chance_predict_anything_but_no_impossible_share() -> None:
    found = prediction([0.1, 0.98, 0.12, 0.97, 0.1, 0.96], SHARE)
    assert isinstance(found, Prediction)
    assert found.low < 0.01
    assert found.high == 1


def test_an_interval_of_differences_of_shares_ends_where_they_do() -> None:
    found = equivalence([1.0, 0.9, 1.0, 0.1, 1.0], [0.0, 0.1, 0.0, 0.1, 0.0])
    assert isinstance(found, Equivalence)
    assert found.high == 1
    assert found.mean == pytest.approx(0.76)
    opposite = equivalence([0.0, 0.1, 0.0, 0.1, 0.0], [1.0, 0.9, 1.0, 0.1, 1.0])
    assert isinstance(opposite, Equivalence)
    assert (opposite.low, opposite.high) == (-1, pytest.approx(-found.low))


@pytest.mark.parametrize("share", LEAST_SAMPLES)
def test_percentiles_begin_where_the_second_largest_sample_bounds_them(share: float) -> None:
    need = LEAST_SAMPLES[share]
    assert percentile(range(need - 1), share) == TooFew("samples", need - 1, need)
    found = percentile(range(need), share)
    assert isinstance(found, Percentile)
    assert found.bound == need - 2
    # One sample fewer, and the second largest no longer bounds with 99 %.
    assert scipy_stats.binom.cdf(need - 2, need, share) >= 0.99
    assert scipy_stats.binom.cdf(need - 3, need - 1, share) < 0.99


def test_a_percentile_takes_the_nearest_rank() -> None:
    found = percentile(list(range(100, 0, -1)), 0.9)
    assert isinstance(found, Percentile)
    assert (found.value, found.bound) == (90, 97)


def test_percentile_bounds_hold_the_truth_in_99_of_100_simulated_runs() -> None:
    rng = np.random.default_rng(6)
    truth = -math.log(0.1)
    held = []
    for row in rng.exponential(1, (4000, 80)):
        found = percentile(list(row), 0.9)
        assert isinstance(found, Percentile)
        held.append(found.bound >= truth)
    assert np.mean(held) >= 0.985


@given(st.lists(st.integers(0, 10**12), min_size=64, max_size=200))
def test_a_percentile_is_a_sample_and_never_above_its_bound(samples: list[int]) -> None:
    found = percentile(samples, 0.9)
    assert isinstance(found, Percentile)
    assert min(samples) <= found.value <= found.bound <= max(samples)
    assert sum(s <= found.value for s in samples) >= 0.9 * len(samples)


def test_autocorrelation_is_worked_by_hand() -> None:
    # 1, 2, 3 about 2: products (-1)(0) + (0)(1) = 0.  1, -1, 1, -1: -3 / 4.
    assert autocorrelation([1, 2, 3]) == pytest.approx(0)
    assert autocorrelation([1, -1, 1, -1]) == pytest.approx(-0.75)
    assert autocorrelation([5, 5, 5]) == NoSpread()
    assert autocorrelation([1, 2]) == TooFew("samples", 2, 3)


@given(st.lists(st.integers(1, 10**15), min_size=3, max_size=50))
def test_autocorrelation_lies_between_minus_one_and_one(samples: list[int]) -> None:
    found = autocorrelation(samples)
    assert isinstance(found, NoSpread) or (isinstance(found, float) and -1 <= found <= 1)


def test_a_slow_start_is_flagged_and_steady_noise_is_not() -> None:
    rng = np.random.default_rng(9)
    steady = rng.normal(100, 2, 80)
    slow = np.concatenate([rng.normal(120, 2, 20), steady[20:]])
    first, second = warm_up(list(slow)), warm_up(list(steady))
    assert isinstance(first, WarmUp)
    assert isinstance(second, WarmUp)
    assert not first.enough
    assert second.enough
    assert warm_up([1.0] * 11) == TooFew("samples", 11, 12)


def test_a_sure_but_small_slowness_is_no_flaw_of_warm_up() -> None:
    found = warm_up([102.0 + 0.001 * i for i in range(20)] + [100.0 + 0.001 * i for i in range(60)])
    assert isinstance(found, WarmUp)
    assert found.p < 0.01
    assert found.enough


def test_warm_up_raises_few_false_alarms() -> None:
    rng = np.random.default_rng(10)
    found = [warm_up(list(row)) for row in rng.lognormal(0, 0.1, (1000, 40))]
    assert np.mean([isinstance(w, WarmUp) and not w.enough for w in found]) <= 0.02


@settings(max_examples=50)
@given(st.lists(st.floats(1, 1e6), min_size=1), st.lists(st.floats(1, 1e6), min_size=1))
def test_the_instruments_share_is_median_over_shortest(null: list[float], samples: list[float]) -> None:
    assert instrument_share(null, samples) == pytest.approx(float(np.median(null)) / min(samples))


def test_the_instruments_share_of_nothing_is_infinite() -> None:
    assert instrument_share([1, 2], [0, 5]) == math.inf


def test_a_slowdown_is_the_geometric_mean_with_the_bounds_worked_by_hand() -> None:
    # Logs ln 2 * (0, 1, 1, 1, 2): mean ln 2, s = ln 2 * sqrt(1/2); one-sided t(0.95, 4) = 2.131847.
    found = slowdown([1, 2, 2, 2, 4])
    assert isinstance(found, Slowdown)
    half = 2.131847 * math.log(2) * math.sqrt(0.5) / math.sqrt(5)
    assert found.value == pytest.approx(2)
    assert (found.low, found.high) == pytest.approx((2 * math.exp(-half), 2 * math.exp(half)), rel=1e-6)
    assert (found.rounds, found.confidence) == (5, 0.95)


def test_each_of_several_slowdowns_at_several_looks_is_bounded_at_a_share_of_the_error() -> None:
    theirs = scipy_stats.ttest_1samp(np.log([1, 1.1, 1.2, 1.1, 1.0, 1.3]), 0, alternative="greater")
    for comparisons, looks, share in ((4, 1, 0.05 / 4), (4, 3, 0.05 / 12)):
        found = slowdown([1, 1.1, 1.2, 1.1, 1.0, 1.3], comparisons, looks)
        assert isinstance(found, Slowdown)
        assert math.log(found.low) == pytest.approx(theirs.confidence_interval(1 - share).low)
        assert found.confidence == pytest.approx(1 - share)


def test_slower_takes_the_lower_bound_above_2_percent_and_not_slower_the_upper_one_not_above_5() -> None:
    bounds = (1.021, 1.2), (1.021, 1.04), (1.0, 1.05), (1.02, 1.06)
    verdicts = [Slowdown(1, low, high, 5, 0.95).verdict for low, high in bounds]
    assert verdicts == [Regression.SLOWER, Regression.SLOWER, Regression.NOT_SLOWER, Regression.UNDECIDED]


def test_four_rounds_are_too_few_for_a_slowdown_and_for_unpaired_runs() -> None:
    assert slowdown([1.0] * 4) == TooFew("rounds", 4, 5)
    assert unpaired_ratio([1.0] * 6, [1.0] * 4) == TooFew("rounds", 4, 5)


def test_the_same_code_is_hardly_ever_called_slower_at_any_look_and_5_percent_nearly_always() -> None:
    """Looks after 5, 8 and 12 rounds, with a standard deviation of 1.2 % between them, as one of six comparisons."""
    rng = np.random.default_rng(12)

    def verdict(ratios: list[float]) -> Regression:
        for look in (5, 8, 12):
            found = slowdown(ratios[:look], comparisons=6, looks=3)
            assert isinstance(found, Slowdown)
            if found.verdict is not Regression.UNDECIDED:
                break
        return found.verdict

    def shares(true: float, spread: float = 0.012) -> dict[Regression, float]:
        told = [verdict(list(row)) for row in true * rng.lognormal(0, spread, (2000, 12))]
        return {each: told.count(each) / len(told) for each in Regression}

    assert shares(1.0)[Regression.SLOWER] == 0
    assert shares(1.0)[Regression.NOT_SLOWER] > 0.99
    assert shares(1.05)[Regression.SLOWER] > 0.99
    assert shares(1.05)[Regression.NOT_SLOWER] < 0.05 / 6
    for spread in (0.012, 0.03):
        assert shares(1.02, spread)[Regression.SLOWER] < 0.05 / 6


def test_what_was_not_measured_in_pairs_gets_welchs_interval() -> None:
    rng = np.random.default_rng(13)
    first, second = rng.lognormal(0, 0.1, 6), rng.lognormal(0.3, 0.3, 9)
    found = unpaired_ratio(list(first), list(second), comparisons=3)
    assert isinstance(found, Ratio)
    theirs = scipy_stats.ttest_ind(np.log(second), np.log(first), equal_var=False).confidence_interval(1 - 0.05 / 3)
    assert (math.log(found.low), math.log(found.high)) == pytest.approx((theirs.low, theirs.high))
    assert found.rounds == 6


def test_unpaired_runs_without_any_spread_have_an_interval_of_no_width() -> None:
    assert unpaired_ratio([1.0] * 5, [2.0] * 5) == Ratio(2.0, 2.0, 2.0, 5, 0.95)


def test_a_median_lies_between_the_widest_order_statistics_that_95_percent_need() -> None:
    assert median_interval([1.0] * 5) == TooFew("samples", 5, 6)
    assert median_interval([]) == TooFew("samples", 0, 6)
    assert median_interval([6, 1, 5, 2, 4, 3]) == Centre(3.5, 1, 6, 6, "samples")
    for count in (6, 17, 50, 333):
        found = median_interval(range(1, count + 1))
        assert isinstance(found, Centre)
        assert found.low + found.high == count + 1
        assert 2 * scipy_stats.binom.cdf(found.low - 1, count, 0.5) <= 0.05
        assert 2 * scipy_stats.binom.cdf(found.low, count, 0.5) > 0.05


def test_median_intervals_hold_the_truth_in_95_of_100_simulated_runs() -> None:
    rng = np.random.default_rng(14)
    held = []
    for row in rng.exponential(1, (3000, 31)):
        found = median_interval(list(row))
        assert isinstance(found, Centre)
        held.append(found.low <= math.log(2) <= found.high)
    assert 0.94 <= np.mean(held) <= 0.985


def test_rounds_are_put_together_by_their_geometric_mean_with_the_interval_worked_by_hand() -> None:
    # Logs ln 2 * (0, 1, 1, 1, 2): mean ln 2, s = ln 2 * sqrt(1/2), t(0.975, 4) = 2.776445.
    found = rounds_interval([1, 2, 2, 2, 4])
    assert isinstance(found, Centre)
    half = 2.776445 * math.log(2) * math.sqrt(0.5) / math.sqrt(5)
    assert (found.value, found.count, found.what) == (pytest.approx(2), 5, "rounds")
    assert (found.low, found.high) == pytest.approx((2 * math.exp(-half), 2 * math.exp(half)), rel=1e-6)
    assert rounds_interval([1.0] * 4) == TooFew("rounds", 4, 5)
    with pytest.raises(ValueError, match="above 0"):
        rounds_interval([1, 2, 3, 4, 0])


def test_ratios_of_rounds_have_the_interval_of_their_costs():
    first, second = [1.0, 1.1, 0.9, 1.2, 1.0], [2.0, 2.3, 1.9, 2.1, 2.2]
    ratios = [theirs / ours for ours, theirs in zip(first, second, strict=True)]
    one, other = ratio_interval(ratios, 7), speed_ratio(first, second, 7)
    assert (one.low, one.value, one.high) == pytest.approx((other.low, other.value, other.high))
    assert one.confidence == other.confidence == pytest.approx(1 - 0.05 / 7)
    assert ratio_interval([1.0] * 4) == TooFew("rounds", 4, 5)
    for bad in ([1.0, 1.0, 1.0, 1.0, 0.0], [-1.0] * 5):
        with pytest.raises(ValueError, match="above 0"):
            ratio_interval(bad)
    with pytest.raises(ValueError, match="one comparison"):
        ratio_interval([1.0] * 5, 0)
