"""Scales that end where the values of a quantity do."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.scales import ANY, POSITIVE, SHARE, Bounds

EPOCHS = Bounds(1.0, 50.0)


def there_and_back(bounds: Bounds, value: float) -> float:
    return bounds.from_scale(float(bounds.onto_scale(np.array([value]))[0]))


@pytest.mark.parametrize(
    ("bounds", "value", "place"),
    [
        (SHARE, 0.0, 0.0),
        (SHARE, 0.25, math.pi / 6),
        (SHARE, 0.5, math.pi / 4),
        (SHARE, 1.0, math.pi / 2),
        (EPOCHS, 1.0, 0.0),
        (EPOCHS, 25.5, math.pi / 4),
        (EPOCHS, 50.0, math.pi / 2),
        (POSITIVE, 0.0, 0.0),
        (POSITIVE, 9.0, 3.0),
        (Bounds(2.0), 6.0, 2.0),
        (ANY, -7.0, -7.0),
        (Bounds(1.0, 1.0), 1.0, 0.0),
    ],
)
def test_values_have_their_place_and_come_back_from_it(bounds: Bounds, value: float, place: float) -> None:
    assert bounds.onto_scale(np.array([value]))[0] == pytest.approx(place)
    assert bounds.from_scale(place) == pytest.approx(value)


@given(st.floats(0, 1))
def test_a_share_comes_back_as_itself(value: float) -> None:
    assert there_and_back(SHARE, value) == pytest.approx(value, abs=1e-15)


@given(st.floats(0, 1e300))
def test_a_loss_comes_back_as_itself(value: float) -> None:
    assert there_and_back(POSITIVE, value) == pytest.approx(value)


@given(st.floats(-1e300, 1e300))
def test_no_place_is_a_value_beyond_the_ends(place: float) -> None:
    assert 0 <= SHARE.from_scale(place) <= 1
    assert 1 <= EPOCHS.from_scale(place) <= 50
    assert POSITIVE.from_scale(place) >= 0
    assert ANY.from_scale(place) == place


def test_the_scale_rises_with_the_values() -> None:
    values = np.linspace(0, 1, 101)
    for bounds in (SHARE, POSITIVE, EPOCHS, ANY):
        low = max(bounds.low, -1.0)
        given_values = low + values * (min(bounds.high, 60.0) - low)
        assert (np.diff(bounds.onto_scale(given_values)) > 0).all()


def test_what_rounding_puts_beyond_an_end_counts_as_the_end() -> None:
    assert SHARE.onto_scale(np.array([-1e-17, 1 + 1e-15])).tolist() == [0, math.pi / 2]
    assert POSITIVE.onto_scale(np.array([-1e-17])).tolist() == [0]


@pytest.mark.parametrize("ends", [(1.0, 0.0), (-math.inf, 1.0), (math.nan, 1.0)])
def test_bounds_rise_and_an_upper_one_takes_a_lower_one(ends: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="bounds rise"):
        Bounds(*ends)
