"""Each loss of the reference against finite differences, SciPy and extreme logits."""

import numpy as np
import pytest
from scipy import special

from suite.reference.losses import loss
from suite.spec import Loss

RANDOM = np.random.default_rng(0)
OUTPUTS = RANDOM.normal(size=(4, 5))
LABELS = np.array([0, 4, 2, 2], np.int32)
FLOATS = RANDOM.random((4, 5))


def targets(kind, dtype=np.float64):
    return LABELS if kind is Loss.SOFTMAX_CROSS_ENTROPY else FLOATS.astype(dtype)


def by_scipy(kind):
    match kind:
        case Loss.SOFTMAX_CROSS_ENTROPY:
            return np.mean([-special.log_softmax(z)[label] for z, label in zip(OUTPUTS, LABELS, strict=True)])
        case Loss.SIGMOID_CROSS_ENTROPY:
            p = special.expit(OUTPUTS)
            return np.mean(-special.xlogy(FLOATS, p) - special.xlogy(1 - FLOATS, 1 - p))
        case Loss.MEAN_SQUARED_ERROR:
            return np.sum((OUTPUTS - FLOATS) ** 2) / 20


@pytest.mark.parametrize("kind", Loss)
def test_a_loss_is_the_mean_of_its_formula(kind):
    assert loss(kind, OUTPUTS, targets(kind))[0] == pytest.approx(by_scipy(kind), rel=1e-14)


@pytest.mark.parametrize("kind", Loss)
def test_a_gradient_agrees_with_finite_differences(kind):
    _, gradient = loss(kind, OUTPUTS, targets(kind))
    for index in np.ndindex(OUTPUTS.shape):
        step = np.zeros_like(OUTPUTS)
        step[index] = 1e-5
        high, low = (loss(kind, OUTPUTS + sign * step, targets(kind))[0] for sign in (1, -1))
        assert gradient[index] == pytest.approx((high - low) / 2e-5, abs=1e-10)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.longdouble])
@pytest.mark.parametrize("kind", Loss)
def test_a_loss_computes_in_the_type_it_is_given(kind, dtype):
    value, gradient = loss(kind, OUTPUTS.astype(dtype), targets(kind, dtype))
    assert value.dtype == gradient.dtype == dtype


def test_cross_entropies_neither_overflow_nor_take_the_log_of_zero():
    logits = np.array([[1e4, -1e4]])
    assert loss(Loss.SOFTMAX_CROSS_ENTROPY, logits, np.array([1]))[0] == 2e4
    assert loss(Loss.SIGMOID_CROSS_ENTROPY, logits, np.array([[0.0, 1.0]]))[0] == 1e4
    assert loss(Loss.SIGMOID_CROSS_ENTROPY, logits, np.array([[1.0, 0.0]]))[0] == 0
