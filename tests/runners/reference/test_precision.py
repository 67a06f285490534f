"""The reference in few bits: what it rounds, what it holds in full, and that it comes near what float64 gives."""

import numpy as np
import pytest

from suite.gate import probe
from suite.runners.base import State, Threads
from suite.runners.reference.runner import Runner
from suite.spec.precision import rounded, ulp
from tests.faults.specs import SPECS, spec_of

DENSE = spec_of(
    "dense",
    (1, 2, 1),
    [{"layer": "flatten"}, {"layer": "dense", "units": 10}],
    optimizer={"name": "sgd", "learning_rate": 1.0},
    loss="mean_squared_error",
    target="one_hot",
)


def program(spec, precision):
    return Runner("cpu", Threads(intra=1), 0).build(spec, "numpy", precision)


def test_a_dense_layer_rounds_operands_adds_in_full_and_hands_on_in_few_bits():
    """1.01 is 1.0078125 in bfloat16 and 1.009765625 in TF32."""
    kernel, bias = np.repeat([[1.01], [1.0]], 10, axis=1), np.full(10, 2.0**-9)
    asked = np.array([1.0, 1.0]).reshape(1, 1, 2, 1)
    answers = {}
    for precision in ("float32", "tf32", "bfloat16"):
        found = program(DENSE, precision)
        found.load(State({"dense_1/kernel": kernel, "dense_1/bias": bias}))
        answers[precision] = float(found.infer(asked)[0, 0])
    assert answers["float32"] == np.float32(2.01 + 2.0**-9)
    assert answers["tf32"] == 2.009765625 + 2.0**-9, "the bias is no operand of a product"
    assert answers["bfloat16"] == 2.015625, "2.0078125 + 2 ** -9, to the nearest of 2, 2.015625"


def test_weights_move_by_less_than_they_would_be_rounded_to():
    """What is kept in float32 takes a step that bfloat16 could not show."""
    spec = DENSE.replace(optimizer=DENSE.optimizer.model_copy(update={"learning_rate": 1e-4}))
    found = program(spec, "bfloat16")
    found.load(State({"dense_1/kernel": np.ones((2, 10)), "dense_1/bias": np.zeros(10)}))
    found.stage("train", np.ones((1, 1, 2, 1), np.float32), np.zeros((1, 10), np.float32))
    found.train(np.zeros(1, np.int32))
    moved = found.state().weights["dense_1/kernel"]
    gradient = rounded(np.float32(2 * 2 / 10), "bfloat16")
    assert np.array_equal(moved, np.full((2, 10), np.float32(1) - np.float32(1e-4) * gradient))
    assert not np.array_equal(rounded(moved, "bfloat16"), moved)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_it_comes_as_near_float64_as_its_bits_let_it(name, precision):
    spec = SPECS[name].without_dropout()
    images, targets = probe.batch(spec, spec.batch_size, "test")
    seen = {}
    for each in ("float64", precision):
        found = program(spec, each)
        found.load(probe.at(State(probe.start(spec)), each))
        seen[each] = found.probe(probe.cast(images, each), probe.cast(targets, each))
    exact, rough = seen["float64"], seen[precision]
    off = float(np.abs(rough.outputs - exact.outputs).max() / np.abs(exact.outputs).max())
    assert off < 16 * ulp(precision)
    assert rough.outputs.dtype == np.float32
    assert {gradient.dtype for gradient in rough.gradients.values()} == {np.dtype(np.float32)}
    lost = sum(float(np.square(rough.gradients[name] - g).sum()) for name, g in exact.gradients.items())
    whole = sum(float(np.square(g).sum()) for g in exact.gradients.values())
    assert lost < whole * max(32 * ulp(precision), 0.1) ** 2, "a relu on its edge may be much of one gradient"


def test_outputs_are_numbers_of_few_bits_unless_a_softmax_made_them():
    for name in ("mlp", "cnn"):
        spec = SPECS[name].without_dropout()
        found = program(spec, "bfloat16")
        found.load(probe.at(State(probe.start(spec)), "bfloat16"))
        outputs = found.infer(probe.cast(probe.batch(spec, 8, "test")[0], "bfloat16"))
        assert np.array_equal(rounded(outputs, "bfloat16"), outputs)
