"""Verdicts on published numbers: each can be given, and each can fail."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.report.evidence.verdicts import ClaimVerdict, Published, judge
from suite.scales import ANY, POSITIVE, SHARE, Bounds
from suite.stats import Prediction, prediction

REPRODUCED, NOT_REPRODUCED, TOO_NOISY = (
    ClaimVerdict.REPRODUCED,
    ClaimVerdict.NOT_REPRODUCED,
    ClaimVerdict.TOO_NOISY,
)
NEAR, FAR = [0.974, 0.976, 0.975, 0.973, 0.977], [0.950, 0.951, 0.949, 0.952, 0.948]
WIDE = [0.95, 0.96, 0.97, 0.98, 0.99]
COLLAPSED = [0.1, 0.85, 0.1, 0.9, 0.1, 0.87, 0.12, 0.1, 0.11, 0.1]


def accuracy(value: float, to: float | None = None, widest: float = 0.01) -> Published:
    return Published(value, SHARE, widest, to)


@pytest.mark.parametrize(
    ("values", "alternatives", "verdict"),
    [
        (NEAR, [], REPRODUCED),
        (FAR, [], NOT_REPRODUCED),
        (WIDE, [], TOO_NOISY),
        (NEAR[:4], [], ClaimVerdict.NOT_FAR_ENOUGH),
        (NEAR, [NEAR], REPRODUCED),
        (NEAR, [FAR], ClaimVerdict.ASSUMPTION),
        (FAR, [FAR, NEAR], ClaimVerdict.ASSUMPTION),
        (NEAR, [FAR[:4]], REPRODUCED),
        (NEAR[:4], [FAR], ClaimVerdict.NOT_FAR_ENOUGH),
        # What is too noisy to tell contradicts nothing, whichever of the two choices it is.
        (NEAR, [WIDE], REPRODUCED),
        (FAR, [WIDE], NOT_REPRODUCED),
        (WIDE, [NEAR], TOO_NOISY),
        (WIDE, [FAR], TOO_NOISY),
        (WIDE, [NEAR, FAR], TOO_NOISY),
        (NEAR, [WIDE, FAR], ClaimVerdict.ASSUMPTION),
    ],
)
def test_a_claim_is_judged_by_rule(values: list[float], alternatives: list[list[float]], verdict: ClaimVerdict) -> None:
    assert judge(accuracy(0.975), values, alternatives) is verdict


def test_a_claim_that_any_interval_holds_is_never_reproduced() -> None:
    """Ten runs of which most collapse to chance: their interval holds nearly every share."""
    for published in (0.1, 0.426, 0.9, 0.999):
        assert judge(accuracy(published), COLLAPSED) is TOO_NOISY


def test_what_lies_outside_is_not_reproduced_however_wide_the_interval_is() -> None:
    wide = [0.60, 0.65, 0.70, 0.68, 0.62]
    assert judge(accuracy(0.7), wide) is TOO_NOISY
    assert judge(accuracy(0.95), wide) is NOT_REPRODUCED


def test_the_end_of_a_wide_interval_that_hangs_on_the_scale_decides_nothing() -> None:
    """Ten seeds whose interval ends at 98.5 % on the scale of shares and beyond 100 % on the plain one."""
    seeds = [0.1028, 0.4583, 0.1028, 0.4667, 0.7417, 0.7472, 0.4306, 0.7389, 0.4528, 0.7833]
    found = prediction(seeds, SHARE)
    assert isinstance(found, Prediction)
    assert found.high < 0.99
    assert judge(accuracy(0.999), seeds) is TOO_NOISY
    lower = [value - 0.15 if value > 0.4 else value for value in seeds]
    assert judge(accuracy(0.999), lower) is NOT_REPRODUCED
    # Of a narrow one the end counts: on the plain scale it lies a little higher.
    shares, plain = prediction(NEAR, SHARE), prediction(NEAR, ANY)
    assert isinstance(shares, Prediction)
    assert isinstance(plain, Prediction)
    assert shares.high < plain.high
    assert judge(accuracy((shares.high + plain.high) / 2), NEAR) is NOT_REPRODUCED


def test_half_of_the_interval_may_be_as_wide_as_stated_and_no_wider() -> None:
    found = prediction(NEAR, SHARE)
    assert isinstance(found, Prediction)
    assert judge(accuracy(0.975, widest=found.half_width), NEAR) is REPRODUCED
    assert judge(accuracy(0.975, widest=found.half_width * 0.999), NEAR) is TOO_NOISY
    assert judge(accuracy(0.975, widest=0.1), WIDE) is REPRODUCED


def test_a_published_range_is_met_anywhere_in_it_by_an_interval_that_is_narrow() -> None:
    assert judge(accuracy(0.9, to=0.974), NEAR) is REPRODUCED
    assert judge(accuracy(0.9, to=0.95), NEAR) is NOT_REPRODUCED
    assert judge(accuracy(0.9, to=1.0), NEAR) is REPRODUCED
    assert judge(accuracy(0.99, to=1.0), NEAR) is NOT_REPRODUCED
    assert judge(accuracy(0.9, to=0.96), NEAR, [FAR]) is ClaimVerdict.ASSUMPTION
    # A wide range is no excuse for a wide interval: it would be met by next to anything.
    assert judge(accuracy(0.5, to=1.0), COLLAPSED) is TOO_NOISY


def test_losses_and_epochs_are_judged_within_their_own_bounds() -> None:
    losses = [0.001, 0.002, 0.0005, 0.004, 0.012]
    assert judge(Published(0.0, POSITIVE, 0.02), losses) is REPRODUCED
    assert judge(Published(0.0, POSITIVE, 0.005), losses) is TOO_NOISY
    assert judge(Published(0.5, POSITIVE, 0.05), losses) is NOT_REPRODUCED
    assert judge(Published(16, Bounds(1, 50), 1.6), [16, 12, 20, 18, 13]) is TOO_NOISY
    assert judge(Published(16, Bounds(1, 50), 1.6), [16, 16, 16, 17, 16]) is REPRODUCED
    assert judge(Published(30, Bounds(1, 50), 3.0), [16, 16, 16, 17, 16]) is NOT_REPRODUCED


@given(st.lists(st.floats(0, 1), min_size=5, max_size=12), st.floats(0, 1))
def test_whatever_is_reproduced_lies_inside_and_could_have_lain_outside(values: list[float], value: float) -> None:
    verdict = judge(accuracy(value), values)
    found = prediction(values, SHARE)
    assert isinstance(found, Prediction)
    if verdict is NOT_REPRODUCED or verdict is REPRODUCED:
        assert found.holds(value) == (verdict is REPRODUCED)
    assert (found.half_width <= 0.01) or verdict is not REPRODUCED
    if verdict is TOO_NOISY:
        assert found.half_width > 0.01
    if verdict is REPRODUCED:
        assert judge(accuracy(0.0), values) is NOT_REPRODUCED or judge(accuracy(1.0), values) is NOT_REPRODUCED
