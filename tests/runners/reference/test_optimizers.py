"""Two steps of each optimizer of the reference against numbers worked by hand; the gradients are 2, then 4."""

from math import sqrt

import numpy as np
import pytest

from suite.runners.reference.optimizers import slots, update
from suite.spec.recipe import Adam, RmsProp, Sgd

MOMENTUM = Sgd(name="sgd", learning_rate=0.5, momentum=0.5)
ADAM = Adam(name="adam", learning_rate=0.5, beta_1=0.5, beta_2=0.75, epsilon=1.0)
RMSPROP = RmsProp(name="rmsprop", learning_rate=0.5, rho=0.75, epsilon=1.0)
M, V = 0.5 * 1 + 0.5 * 4, 0.75 * 1 + 0.25 * 16
"""Adam's moments after both gradients, from m = 0.5 * 2 = 1 and v = 0.25 * 4 = 1; RMSprop's square is V as well."""
WORKED = {
    "sgd": (Sgd(name="sgd", learning_rate=0.5), -1.0, -3.0, {}),
    "momentum": (MOMENTUM, -1.0, -1 - 0.5 * 5, {"velocity": 0.5 * 2 + 4}),
    "nesterov": (
        MOMENTUM.model_copy(update={"nesterov": True}),
        -0.5 * (2 + 0.5 * 2),
        -1.5 - 0.5 * (4 + 0.5 * 5),
        {"velocity": 5.0},
    ),
    "adam": (
        ADAM,
        -0.5 * 2 / (2 + 1),
        -1 / 3 - 0.5 * (M / 0.75) / (sqrt(V / 0.4375) + 1),
        {"m": M, "v": V},
    ),
    "adam, epsilon before correction": (
        ADAM.model_copy(update={"epsilon_place": "before_correction"}),
        -0.5 * (0.5 / 0.5) * 1 / (1 + 1),
        -0.25 - 0.5 * (sqrt(0.4375) / 0.75) * M / (sqrt(V) + 1),
        {"m": M, "v": V},
    ),
    "rmsprop": (RMSPROP, -0.5 * 2 / (1 + 1), -0.5 - 0.5 * 4 / (sqrt(V) + 1), {"square": V}),
    "rmsprop, epsilon inside the root": (
        RMSPROP.model_copy(update={"epsilon_place": "inside_root"}),
        -0.5 * 2 / sqrt(1 + 1),
        -0.5 * 2 / sqrt(2) - 0.5 * 4 / sqrt(V + 1),
        {"square": V},
    ),
}


def two_steps(optimizer, dtype=np.float64):
    weight = np.zeros(1, dtype)
    held = {slot: np.zeros(1, dtype) for slot in slots(optimizer)}
    path = []
    for step, gradient in ((1, 2), (2, 4)):
        weight, held = update(optimizer, weight, np.array([gradient], dtype), held, step)
        path.append(weight)
    return path, held


@pytest.mark.parametrize("case", WORKED)
def test_two_steps_give_the_numbers_worked_by_hand(case):
    optimizer, first, second, expected = WORKED[case]
    path, held = two_steps(optimizer)
    np.testing.assert_allclose(np.concatenate(path), [first, second], rtol=1e-15)
    assert held.keys() == expected.keys() == set(slots(optimizer))
    for slot, value in expected.items():
        np.testing.assert_allclose(held[slot], [value], rtol=1e-15, err_msg=slot)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.longdouble])
@pytest.mark.parametrize("case", WORKED)
def test_an_optimizer_computes_in_the_type_it_is_given(case, dtype):
    optimizer, _, second, _ = WORKED[case]
    path, held = two_steps(optimizer, dtype)
    assert {a.dtype for a in (*path, *held.values())} == {np.dtype(dtype)}
    assert float(path[-1][0]) == pytest.approx(second, rel=4 * float(np.finfo(dtype).eps) + 1e-15)


def test_hyperparameters_are_those_of_the_type():
    """A program in float32 knows beta_2 = 0.999 only to its 24 bits, and 1 - beta_2 to fewer."""
    adam = Adam(name="adam")
    for dtype in (np.float32, np.longdouble):
        empty = dict.fromkeys("mv", np.zeros(1, dtype))
        _, held = update(adam, np.zeros(1, dtype), np.ones(1, dtype), empty, 1)
        assert held["v"][0] == dtype(1) - dtype(0.999)
