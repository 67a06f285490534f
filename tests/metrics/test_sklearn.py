"""The reference's training of a perceptron against scikit-learn's, which nobody here wrote.

scikit-learn adds ``alpha / (2 * batch) * sum(kernel ** 2)`` to a batch's loss, so ``alpha`` is ``2 * batch * l2``; its
Adam adds epsilon before the bias correction, which the reference has as a variant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier

from suite.data import datasets
from suite.inputs import initial
from suite.runners.base import State, Weights
from suite.runners.reference.runner import Program
from suite.spec.resolved import Spec

HIDDEN = (24, 16)
BATCH, EPOCHS = 32, 3
EPSILON_BEFORE = frozenset({"adam_epsilon_before_correction"})

Make = Callable[..., Spec]


def perceptron(make_spec: Make, activation: str, **fields: Any) -> Spec:
    layers = [{"layer": "flatten"}]
    for units in HIDDEN:
        layers += [{"layer": "dense", "units": units}, {"layer": activation}]
    return make_spec(model=[*layers, {"layer": "dense", "units": 10}], batch_size=BATCH, **fields)


def classifier(spec: Spec, start: Weights, images: Any, labels: Any, **options: Any) -> MLPClassifier:
    """scikit-learn's perceptron, holding ``start`` and an optimizer that has not taken a step."""
    activation = {"sigmoid": "logistic"}.get(name := spec.model[2].layer, name)
    made = MLPClassifier(
        HIDDEN, activation=activation, shuffle=False, alpha=2 * BATCH * spec.l2, random_state=0, **options
    )
    made.partial_fit(images[:BATCH], labels[:BATCH], classes=np.arange(10))  # it makes its arrays at its first step
    for i, (kernel, bias) in enumerate(zip(made.coefs_, made.intercepts_, strict=True), 1):
        kernel[...] = start[f"dense_{i}/kernel"]
        bias[...] = start[f"dense_{i}/bias"]
    del made._optimizer
    return made


def both(spec: Spec, count: int, variants: frozenset[Any], **options: Any) -> tuple[Weights, Weights, Weights]:
    """Initial weights, and the final ones of both, over the first ``count`` digits in the suite's own order."""
    arrays = datasets.load("digits")
    images = initial.images(spec, arrays.train_images, np.float64)[:count]
    labels = arrays.train_labels[:count].astype(np.int32)
    start = initial.weights(spec, 0)
    ours = Program(spec, np.float64, variants=variants)
    ours.load(State(start))
    ours.stage("train", images, labels)
    flat = images.reshape(count, -1)
    theirs = classifier(spec, start, flat, labels, **options)
    for epoch in range(EPOCHS):
        order = initial.order(0, epoch, count)
        ours.train(order)
        for i in range(0, count, BATCH):
            batch = order[i : i + BATCH]
            theirs.partial_fit(flat[batch], labels[batch])
    named = {}
    for i, (kernel, bias) in enumerate(zip(theirs.coefs_, theirs.intercepts_, strict=True), 1):
        named |= {f"dense_{i}/kernel": kernel, f"dense_{i}/bias": bias}
    return start, ours.state().weights, named


def assert_alike(start: Weights, ours: Weights, theirs: Weights) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert np.abs(value - start[name]).max() > 1e-3, name  # it learned
        np.testing.assert_allclose(value, theirs[name], rtol=0, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_plain_descent_ends_where_scikit_learns_does_ragged_batches_included(make_spec: Make, activation: str) -> None:
    spec = perceptron(make_spec, activation, optimizer={"name": "sgd", "learning_rate": 0.1})
    assert spec.data.train % BATCH
    assert_alike(
        *both(spec, spec.data.train, frozenset(), solver="sgd", learning_rate_init=0.1, momentum=0.0,
              nesterovs_momentum=False)
    )  # fmt: skip


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_and_l2_end_where_scikit_learns_do(make_spec: Make, nesterov: bool) -> None:
    descent = {"name": "sgd", "learning_rate": 0.02, "momentum": 0.9, "nesterov": nesterov}
    spec = perceptron(make_spec, "relu", optimizer=descent, l2=0.001)
    assert_alike(
        *both(spec, 44 * BATCH, frozenset(), solver="sgd", learning_rate_init=0.02, momentum=0.9,
              nesterovs_momentum=nesterov)
    )  # fmt: skip


def test_adam_with_epsilon_before_the_correction_ends_where_scikit_learns_does(make_spec: Make) -> None:
    spec = perceptron(make_spec, "tanh", optimizer={"name": "adam", "learning_rate": 0.003, "epsilon": 1e-4}, l2=0.001)
    options = {"solver": "adam", "learning_rate_init": 0.003, "epsilon": 1e-4}
    assert_alike(*both(spec, 44 * BATCH, EPSILON_BEFORE, **options))
    _, canonical, theirs = both(spec, 44 * BATCH, frozenset(), **options)
    assert max(np.abs(canonical[name] - theirs[name]).max() for name in theirs) > 1e-6  # the variant is no pretence
