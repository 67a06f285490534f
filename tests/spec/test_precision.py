"""Rounding to few bits of fraction, against its definition: the nearest, ties to even."""

import math

import numpy as np
import pytest

from suite.spec.precision import FRACTION, TIMEABLE, Rounding, held, rounded, ulp

LOW = tuple(precision for precision in TIMEABLE if precision != held(precision))


def by_definition(value, bits):
    """The nearest number of so many bits, by an exact fraction and an exponent."""
    fraction, exponent = math.frexp(value)  # in [0.5, 1)
    return math.ldexp(round(fraction * 2 ** (bits + 1)), exponent - bits - 1)  # Python's round goes to even


def several(seed=0, count=4000):
    random = np.random.default_rng(seed)
    return (random.standard_normal(count) * np.exp(random.uniform(-60, 60, count))).astype(np.float32)


@pytest.mark.parametrize("precision", LOW)
def test_it_rounds_to_the_nearest_and_ties_to_even(precision):
    values = several()
    wanted = [by_definition(float(value), FRACTION[precision]) for value in values]
    assert np.array_equal(rounded(values, precision), np.array(wanted, np.float32))
    half = 1 + ulp(precision) / 2
    assert rounded(np.array([half, half + ulp(precision)]), precision).tolist() == [1, 1 + 2 * ulp(precision)]


@pytest.mark.parametrize("precision", LOW)
def test_what_is_rounded_stays_as_it_is(precision):
    once = rounded(several(), precision)
    assert np.array_equal(rounded(once, precision), once)
    assert once.dtype == np.float32


@pytest.mark.parametrize("precision", LOW)
def test_what_is_not_finite_stays_so_and_what_is_too_large_becomes_so(precision):
    odd = np.array([np.nan, np.inf, -np.inf, np.finfo(np.float32).max, -0.0], np.float32)
    found = rounded(odd, precision)
    assert np.isnan(found[0])
    assert found[1:4].tolist() == [np.inf, -np.inf, np.inf]
    assert math.copysign(1, found[4]) == -1


def test_what_is_held_in_full_is_not_touched():
    for precision in ("float64", "float32"):
        values = np.array([1 / 3], held(precision))
        for way in (Rounding(precision).operand, Rounding(precision).handed):
            assert way(values) is values
    tf32 = Rounding("tf32")
    assert tf32.handed(values) is values
    assert tf32.operand(values) != values


def test_arrays_of_any_shape_and_stride():
    values = several(count=24).reshape(2, 3, 4)[:, ::-1].transpose(2, 0, 1)
    assert np.array_equal(rounded(values, "bfloat16"), rounded(values.copy(), "bfloat16"))
    assert rounded(np.float32(1.005), "bfloat16").shape == ()
