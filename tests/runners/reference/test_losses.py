"""Each loss of the reference against finite differences, SciPy and extreme logits."""

import numpy as np
import pytest
from scipy import special

from suite.runners.reference.losses import loss
from suite.spec.targets import Loss

RANDOM = np.random.default_rng(0)
OUTPUTS = RANDOM.normal(size=(4, 5))
LABELS = np.array([0, 4, 2, 2], np.int32)
FLOATS = RANDOM.random((4, 5))


WIDE = RANDOM.normal(size=(4, 7))


def targets(kind, dtype=np.float64):
    match kind:
        case Loss.SOFTMAX_CROSS_ENTROPY:
            return LABELS
        case Loss.DETECTION:
            return np.column_stack([[0, 2, 1, 1], FLOATS[:, :4]]).astype(dtype)
        case _:
            return FLOATS.astype(dtype)


def outputs(kind):
    return WIDE if kind is Loss.DETECTION else OUTPUTS


def by_scipy(kind):
    match kind:
        case Loss.SOFTMAX_CROSS_ENTROPY:
            return np.mean([-special.log_softmax(z)[label] for z, label in zip(OUTPUTS, LABELS, strict=True)])
        case Loss.SIGMOID_CROSS_ENTROPY:
            p = special.expit(OUTPUTS)
            return np.mean(-special.xlogy(FLOATS, p) - special.xlogy(1 - FLOATS, 1 - p))
        case Loss.MEAN_SQUARED_ERROR:
            return np.sum((OUTPUTS - FLOATS) ** 2) / 20
        case Loss.DETECTION:
            classes = [-special.log_softmax(z[:3])[label] for z, label in zip(WIDE, (0, 2, 1, 1), strict=True)]
            return np.mean(classes) + 2.5 * np.sum((WIDE[:, 3:] - FLOATS[:, :4]) ** 2) / 16


@pytest.mark.parametrize("kind", Loss)
def test_a_loss_is_the_mean_of_its_formula(kind):
    assert loss(kind, outputs(kind), targets(kind), 2.5)[0] == pytest.approx(by_scipy(kind), rel=1e-14)


@pytest.mark.parametrize("kind", Loss)
def test_a_gradient_agrees_with_finite_differences(kind):
    _, gradient = loss(kind, outputs(kind), targets(kind), 2.5)
    for index in np.ndindex(gradient.shape):
        step = np.zeros_like(gradient)
        step[index] = 1e-5
        high, low = (loss(kind, outputs(kind) + sign * step, targets(kind), 2.5)[0] for sign in (1, -1))
        assert gradient[index] == pytest.approx((high - low) / 2e-5, abs=1e-10)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.longdouble])
@pytest.mark.parametrize("kind", Loss)
def test_a_loss_computes_in_the_type_it_is_given(kind, dtype):
    value, gradient = loss(kind, outputs(kind).astype(dtype), targets(kind, dtype), 2.5)
    assert value.dtype == gradient.dtype == dtype


def test_cross_entropies_neither_overflow_nor_take_the_log_of_zero():
    logits = np.array([[1e4, -1e4]])
    assert loss(Loss.SOFTMAX_CROSS_ENTROPY, logits, np.array([1]))[0] == 2e4
    assert loss(Loss.SIGMOID_CROSS_ENTROPY, logits, np.array([[0.0, 1.0]]))[0] == 1e4
    assert loss(Loss.SIGMOID_CROSS_ENTROPY, logits, np.array([[1.0, 0.0]]))[0] == 0
