"""Metrics against numbers worked by hand, and against scikit-learn."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss

from suite.inputs import initial
from suite.metrics.loss import finite, penalty
from suite.metrics.loss import score as score_parts
from suite.results.records import Scores
from suite.runners.base import Array
from suite.spec.resolved import Spec

MakeSpec = Callable[..., Spec]
NO_WEIGHTS: dict[str, Array] = {}


def score(spec: Spec, outputs: Array, targets: Array, labels: Array, weights: dict[str, Array]) -> Scores:
    """Of a split in one part."""
    return score_parts(spec, [(outputs, targets, labels)], weights)


def test_two_images_by_hand(make_spec: MakeSpec) -> None:
    """Logits (0, 0) and (log 3, 0) have the probabilities (1/2, 1/2) and (3/4, 1/4); the classes are 0 and 1."""
    outputs = np.array([[0, 0], [np.log(3), 0]])
    labels = np.array([0, 1], np.int32)
    found = score(make_spec(), outputs, labels, labels, NO_WEIGHTS)
    assert found.loss == pytest.approx((np.log(2) + np.log(4)) / 2, rel=1e-15)
    assert (found.accuracy, found.penalty) == (0.5, 0.0)


def test_loss_and_accuracy_are_those_of_scikit_learn(make_spec: MakeSpec) -> None:
    random = np.random.default_rng(0)
    outputs, labels = random.normal(size=(50, 10)), random.integers(0, 10, 50).astype(np.int32)
    found = score(make_spec(), outputs, labels, labels, NO_WEIGHTS)
    probabilities = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    assert found.loss == pytest.approx(log_loss(labels, probabilities, labels=range(10)), rel=1e-12)
    assert found.accuracy == accuracy_score(labels, outputs.argmax(axis=1))


def test_scores_are_computed_in_float64(make_spec: MakeSpec) -> None:
    """In float32 a million and its log-sum-exp would cancel to nothing."""
    outputs = np.array([[1e6, 1e6 - 1]], np.float32)
    labels = np.array([1], np.int32)
    found = score(make_spec(), outputs, labels, labels, NO_WEIGHTS)
    assert found.loss == pytest.approx(1 + np.log1p(np.exp(-1)), rel=1e-9)


def test_one_hot_targets_are_scored_by_their_class(make_spec: MakeSpec) -> None:
    spec = make_spec(target="one_hot", loss="mean_squared_error")
    targets = np.eye(10, dtype=np.float32)[[3, 4]]
    outputs = np.array([np.eye(10)[3], np.eye(10)[5]])
    found = score(spec, outputs, targets, np.array([3, 4]), NO_WEIGHTS)
    assert found == Scores(loss=2 / 20, penalty=0.0, accuracy=0.5)


def test_outputs_that_are_no_classes_have_no_accuracy(make_spec: MakeSpec) -> None:
    model = [{"layer": "flatten"}, {"layer": "dense", "units": 64}]
    spec = make_spec(target="input", loss="mean_squared_error", model=model)
    images = np.ones((2, 64))
    assert score(spec, images * 3, images, np.array([0, 1]), NO_WEIGHTS) == Scores(loss=4.0, penalty=0.0, accuracy=None)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_null_and_no_crash(make_spec: MakeSpec, wrong: float) -> None:
    outputs = np.full((3, 10), wrong, np.float32)
    labels = np.zeros(3, np.int32)
    weights = {"dense_1/kernel": np.full((64, 10), wrong)}
    found = score(make_spec(l2=0.1), outputs, labels, labels, weights)
    assert found == Scores(loss=None, penalty=None, accuracy=None)


def test_one_output_that_is_no_number_spoils_the_accuracy(make_spec: MakeSpec) -> None:
    """An argmax over NaN would count it as right."""
    outputs = np.zeros((3, 10))
    outputs[1, 0] = np.nan
    labels = np.zeros(3, np.int32)
    assert score(make_spec(), outputs, labels, labels, NO_WEIGHTS).accuracy is None


def test_the_penalty_is_l2_times_the_squares_of_kernels_alone(make_spec: MakeSpec) -> None:
    spec = make_spec(l2=0.5)
    weights = {"dense_1/kernel": np.full((64, 10), 2.0, np.float32), "dense_1/bias": np.full(10, 9.0, np.float32)}
    assert penalty(spec, weights) == 0.5 * 640 * 4
    assert penalty(make_spec(), initial.weights(make_spec(), 0)) == 0.0


def test_finite_values_stay_as_they_are() -> None:
    assert (finite(1.5), finite(float("nan")), finite(float("inf"))) == (1.5, None, None)


def test_a_split_in_parts_scores_as_it_does_whole(make_spec: MakeSpec) -> None:
    random = np.random.default_rng(0)
    outputs, labels = random.normal(size=(50, 10)).astype(np.float32), random.integers(0, 10, 50).astype(np.int32)
    cuts = [slice(0, 7), slice(7, 49), slice(49, 50)]
    whole = score(make_spec(), outputs, labels, labels, NO_WEIGHTS)
    parts = score_parts(make_spec(), ((outputs[c], labels[c], labels[c]) for c in cuts), NO_WEIGHTS, 50)
    assert parts.loss == pytest.approx(whole.loss, rel=1e-14)
    assert (parts.accuracy, parts.images, whole.images) == (whole.accuracy, 50, None)
    outputs[0, 0] = np.nan
    spoilt = score_parts(make_spec(), ((outputs[c], labels[c], labels[c]) for c in cuts), NO_WEIGHTS)
    assert (spoilt.loss, spoilt.accuracy) == (None, None)


def test_the_class_of_a_detection_is_judged_by_its_logits_alone(make_spec: MakeSpec) -> None:
    spec = make_spec(
        target="boxes", loss="detection", task={"kind": "detection", "canvas": 8, "box_weight": 3.0},
        model=[{"layer": "flatten"}, {"layer": "dense", "units": 14}],
    )  # fmt: skip
    outputs = np.zeros((2, 14))
    outputs[0, 3], outputs[1, 4] = 50, 50
    outputs[:, 10:] = 99, 0, 0, 0
    targets = np.array([[3, 99, 0, 0, 2], [4, 99, 0, 0, 0]], np.float32)
    found = score(spec, outputs, targets, np.array([3, 5]), NO_WEIGHTS)
    assert found.accuracy == 0.5
    assert found.loss == pytest.approx(3.0 * 4 / 8, rel=1e-12)


def test_drawn_words_are_no_classes(make_spec: MakeSpec) -> None:
    spec = make_spec().model_copy(update={"target": "first", "loss": "sigmoid_cross_entropy"})
    targets = np.array([[1, 0], [1, 0]], np.float32)
    found = score(spec, np.zeros((2, 2)), targets, np.array([0, 0]), NO_WEIGHTS)
    assert (found.loss, found.accuracy) == (pytest.approx(np.log(2), rel=1e-12), None)


def test_a_frozen_kernel_is_not_punished(make_spec: MakeSpec) -> None:
    layers = [{"layer": "flatten"}, {"layer": "dense", "units": 2}, {"layer": "dense", "units": 10}]
    spec = make_spec(model=layers, l2=0.5, frozen=["dense_1"])
    weights = {"dense_1/kernel": np.full((64, 2), 7.0), "dense_2/kernel": np.full((2, 10), 2.0)}
    assert penalty(spec, weights) == 0.5 * 20 * 4
