import math

import numpy as np
import pytest

from suite.inputs import initial
from suite.spec.tensors import Initialiser, Role, Tensor

# Written down once: a change here makes every published digest of weights and orders worthless.
GOLDEN_UNIFORM = [0.3941852281610202, 0.0821263821142032, 0.5026818084535]
GOLDEN_NORMAL = [0.6941872497508114, 0.37333204585588625]
GOLDEN_ORDER = [8, 5, 1, 2, 9, 0, 4, 6, 7, 3]

UNIFORM = {
    Initialiser.GLOROT_UNIFORM: math.sqrt(6 / (300 + 200)),
    Initialiser.HE_UNIFORM: math.sqrt(6 / 300),
    Initialiser.LECUN_UNIFORM: math.sqrt(3 / 300),
    Initialiser.FAN_IN_UNIFORM: 1 / math.sqrt(300),
}
NORMAL = {
    Initialiser.GLOROT_NORMAL: math.sqrt(2 / (300 + 200)),
    Initialiser.HE_NORMAL: math.sqrt(2 / 300),
    Initialiser.LECUN_NORMAL: 1 / math.sqrt(300),
}


def draw(initialiser, shape=(300, 200)):
    return initial._draw(Tensor(Role.KERNEL, shape, initialiser, 300, 200), initial.stream(7, "test"))


@pytest.mark.parametrize(("initialiser", "bound"), UNIFORM.items())
def test_a_uniform_initialiser_fills_its_bounds_evenly(initialiser, bound):
    values = draw(initialiser)
    assert np.abs(values).max() <= bound
    assert np.abs(values).max() > 0.999 * bound
    assert abs(values.mean()) < 5 * bound / math.sqrt(3 * values.size)
    assert values.std() == pytest.approx(bound / math.sqrt(3), rel=0.02)


@pytest.mark.parametrize(("initialiser", "deviation"), NORMAL.items())
def test_a_normal_initialiser_has_its_deviation_and_is_not_truncated(initialiser, deviation):
    values = draw(initialiser)
    assert abs(values.mean()) < 5 * deviation / math.sqrt(values.size)
    assert values.std() == pytest.approx(deviation, rel=0.02)
    assert np.abs(values).max() > 3 * deviation


def test_constants_are_constant_and_every_initialiser_is_tested():
    assert not draw(Initialiser.ZEROS).any()
    assert (draw(Initialiser.ONES) == 1).all()
    assert {*UNIFORM, *NORMAL, Initialiser.ZEROS, Initialiser.ONES} == set(Initialiser)


def test_streams_are_the_same_in_every_process_and_release():
    assert initial.stream(0, "weights", "dense_1/kernel").random(3).tolist() == GOLDEN_UNIFORM
    assert initial.stream(1, "x").normal(size=2).tolist() == GOLDEN_NORMAL
    assert initial.order(3, 1, 10).tolist() == GOLDEN_ORDER


def test_a_stream_depends_on_its_seed_and_on_each_part_of_its_name():
    first = {initial.stream(*key).random() for key in [(0, "a"), (1, "a"), (0, "b"), (0, "a", 0), (0, "a", 1)]}
    assert len(first) == 5


def test_one_more_layer_changes_no_other_tensor(make_spec):
    layers = [{"layer": "flatten"}, {"layer": "dense", "units": 16}, {"layer": "dense", "units": 10}]
    plain = initial.weights(make_spec(model=layers), 5)
    more = initial.weights(make_spec(model=[*layers[:2], {"layer": "batch_norm"}, *layers[2:]]), 5)
    assert set(plain) < set(more)
    assert all((plain[name] == more[name]).all() for name in plain)
    assert not any((plain[n] == initial.weights(make_spec(model=layers), 6)[n]).all() for n in plain if "kernel" in n)


def test_tensors_of_one_shape_are_drawn_apart(make_spec):
    twice = [{"layer": "flatten"}, *[{"layer": "dense", "units": 64}] * 2, {"layer": "dense", "units": 10}]
    weights = initial.weights(make_spec(model=twice), 0)
    assert not (weights["dense_1/kernel"] == weights["dense_2/kernel"]).any()


def test_weights_are_float64_of_the_stated_shapes(make_spec):
    spec = make_spec()
    weights = initial.weights(spec, 0)
    assert {name: array.shape for name, array in weights.items()} == {n: t.shape for n, t in spec.tensors.items()}
    assert {array.dtype for array in weights.values()} == {np.dtype(np.float64)}


def test_an_order_visits_every_image_once_and_each_epoch_in_its_own_way():
    orders = [initial.order(0, epoch, 1000) for epoch in range(3)]
    assert all((np.sort(order) == np.arange(1000)).all() for order in orders)
    assert all(order.dtype == np.int32 for order in orders)
    assert not (orders[0] == orders[1]).all()
    assert (orders[0] != np.arange(1000)).any()


def test_the_validation_split_is_disjoint_whole_and_the_same_for_every_training(make_spec):
    spec = make_spec(validation_fraction=0.1)
    train, validation = initial.split(spec)
    assert len(validation) == spec.validation_images == 144
    assert len(train) == spec.train_images == 1437 - 144
    assert sorted([*train, *validation]) == list(range(1437))
    assert (validation == initial.split(make_spec(validation_fraction=0.1, epochs=9))[1]).all()
    assert not (np.diff(validation) == 1).all()


@pytest.mark.parametrize("ends", [[0.0, 1.0], [-1.0, 1.0], [-0.1, 0.3], [-2.1179, 2.64]])
def test_the_darkest_and_the_brightest_pixel_land_exactly_on_the_range(make_spec, ends):
    spec = make_spec(input_range=ends)
    pixels = np.arange(17, dtype=np.uint8).reshape(1, 17, 1, 1)
    values = initial.images(spec, pixels, np.float64).ravel()
    assert [values[0], values[-1]] == ends
    assert np.allclose(np.diff(values), (ends[1] - ends[0]) / 16, rtol=1e-12, atol=0)


def test_images_on_0_to_1_are_the_rounded_quotients(make_spec):
    spec = make_spec(data=make_spec().data.model_copy(update={"max_value": 255}))
    pixels = np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1)
    assert (initial.images(spec, pixels, np.float64) == pixels / 255).all()
    single = initial.images(spec, pixels)
    assert single.dtype == np.float32
    assert (single == (pixels / 255).astype(np.float32)).all()
    assert single.flags.c_contiguous


def test_targets_are_what_the_spec_says(make_spec):
    labels = np.array([3, 0, 9])
    images = np.random.default_rng(0).random((3, 8, 8, 1), np.float32)
    classes = initial.targets(make_spec(), labels, images)
    assert classes.dtype == np.int32
    assert classes.tolist() == [3, 0, 9]
    hot = initial.targets(make_spec(target="one_hot", loss="mean_squared_error"), labels, images)
    assert hot.dtype == np.float32
    assert hot.shape == (3, 10)
    assert hot.argmax(1).tolist() == [3, 0, 9]
    assert hot.sum() == 3
    flat = make_spec(
        target="input", loss="mean_squared_error", model=[{"layer": "flatten"}, {"layer": "dense", "units": 64}]
    )
    assert (initial.targets(flat, labels, images) == images.reshape(3, 64)).all()
    whole = make_spec(target="input", loss="mean_squared_error", model=[{"layer": "relu"}])
    assert (initial.targets(whole, labels, images) == images).all()


def test_a_fingerprint_changes_with_name_shape_type_and_bytes():
    zeros = np.zeros((2, 3), np.float32)
    prints = [
        initial.fingerprint(arrays)
        for arrays in (
            {"a": zeros},
            {"b": zeros},
            {"a": zeros.reshape(3, 2)},
            {"a": zeros.astype(np.int32)},
            {"a": zeros + 1},
            {"a": -zeros},
            {"a": zeros, "b": zeros},
            {"a": zeros.astype(">f4")},
            {"a": np.float32(0)},
            {"a": np.zeros(1, np.float32)},
            {"a": zeros[:0]},
        )
    ]
    assert len(set(prints)) == len(prints)


def test_a_fingerprint_does_not_depend_on_order_or_memory_layout():
    a, b = np.arange(6.0).reshape(2, 3), np.arange(3)
    assert initial.fingerprint({"a": a, "b": b}) == initial.fingerprint({"b": b, "a": np.asfortranarray(a)})
    assert initial.fingerprint({}).startswith("sha256:e3b0c442")
