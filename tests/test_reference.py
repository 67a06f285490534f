"""The reference as a whole: networks against finite differences, and a program's protocol."""

import json

import numpy as np
import pytest

from suite import initial
from suite.errors import Unsupported
from suite.layers import Role
from suite.reference import optimizers
from suite.runners.base import State, Threads, find
from suite.runners.reference import Program, Runner
from suite.spec import DatasetFacts, Spec

IMAGES = 7
SHAPE = (5, 6, 2)
FACTS = DatasetFacts(name="tiny", image_shape=SHAPE, classes=3, train=7, test=4, max_value=255, digest="sha256:0")
PERCEPTRON = [
    {"layer": "flatten"},
    {"layer": "dense", "units": 4},
    {"layer": "batch_norm"},
    {"layer": "tanh"},
    {"layer": "dense", "units": 5, "use_bias": False},
    {"layer": "sigmoid"},
    {"layer": "dense", "units": 3},
]
CONVOLUTIONS = [
    {"layer": "conv2d", "filters": 3, "kernel": [3, 2], "stride": 2, "padding": "same"},
    {"layer": "batch_norm", "momentum": 0.7, "epsilon": 1e-3},
    {"layer": "relu"},
    {"layer": "max_pool", "window": 2, "stride": 1, "padding": "same"},
    {"layer": "conv2d", "filters": 2, "kernel": 2, "use_bias": False},
    {"layer": "average_pool", "window": [1, 2], "padding": "same"},
    {"layer": "flatten"},
    {"layer": "dense", "units": 3},
]
RESIDUALS = [
    {
        "layer": "residual",
        "body": [
            {"layer": "conv2d", "filters": 3, "kernel": 3, "stride": 2, "padding": "same", "use_bias": False},
            {"layer": "batch_norm"},
            {"layer": "relu"},
            {"layer": "residual", "body": [{"layer": "conv2d", "filters": 3, "kernel": 1}, {"layer": "tanh"}]},
        ],
        "shortcut": [
            {"layer": "conv2d", "filters": 3, "kernel": 1, "stride": 2, "padding": "same"},
            {"layer": "batch_norm"},
        ],
    },
    {"layer": "relu"},
    {"layer": "global_average_pool"},
]
NETWORKS = {"perceptron": PERCEPTRON, "convolutions": CONVOLUTIONS, "residuals": RESIDUALS}
LINEAR = [{"layer": "flatten"}, {"layer": "dense", "units": 3}]
DROPOUT = [{"layer": "flatten"}, {"layer": "dropout", "rate": 0.25}, {"layer": "dense", "units": 3}]
LOSSES = {"softmax_cross_entropy": "labels", "sigmoid_cross_entropy": "one_hot", "mean_squared_error": "one_hot"}
ADAM = {"name": "adam", "learning_rate": 0.01}
MOMENTUM = {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9}

PIXELS = np.random.default_rng(0).integers(0, 256, (IMAGES, *SHAPE), np.uint8)
CLASSES = np.array([0, 1, 2, 2, 1, 0, 0])
ORDER = np.array([6, 2, 0, 5, 1, 3, 4], np.int32)


def make(model, **fields):
    recipe = {"optimizer": {"name": "sgd", "learning_rate": 0.1}, "batch_size": 7, "epochs": 1, **fields}
    data = {"dataset": "tiny", "data": FACTS.model_dump()}
    return Spec.model_validate_json(json.dumps({"name": "tiny", "model": model, **data, **recipe}))


def batch(spec, dtype=np.float64):
    images = initial.images(spec, PIXELS, dtype)
    return images, initial.targets(spec, CLASSES, images)


def start(spec, seed=3):
    """Drawn weights, with every bias, scale and statistic away from 0 and 1."""
    weights = initial.weights(spec, seed)
    random = np.random.default_rng(seed)
    return {name: value + random.uniform(0.1, 0.3, value.shape) * (value.ndim == 1) for name, value in weights.items()}


def ready(spec, dtype="float64", seed=0, variants=frozenset()):
    program = Program(spec, dtype, seed, variants)
    program.load(State(start(spec)))
    program.stage("train", *batch(spec))
    return program


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


def assert_same_state(one, other):
    assert_equal(one.weights, other.weights)
    assert one.slots.keys() == other.slots.keys()
    for slot, values in one.slots.items():
        assert_equal(values, other.slots[slot])
    assert one.step == other.step


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("network", NETWORKS)
def test_gradients_of_a_network_agree_with_finite_differences(network, loss):
    spec = make(NETWORKS[network], loss=loss, target=LOSSES[loss], l2=0.01)
    program, weights = Program(spec, "float64"), start(spec)

    def objective(name, index, change):
        moved = {**weights, name: weights[name].copy()}
        moved[name][index] += change
        program.load(State(moved))
        kernels = [value for key, value in moved.items() if spec.tensors[key].role is Role.KERNEL]
        return program.probe(*batch(spec)).loss + 0.01 * sum((kernel**2).sum() for kernel in kernels)

    program.load(State(weights))
    gradients = program.probe(*batch(spec)).gradients
    assert list(gradients) == [name for name, tensor in spec.tensors.items() if tensor.role.trainable]
    for name, gradient in gradients.items():
        assert gradient.shape == weights[name].shape
        for index in list(np.ndindex(gradient.shape))[::3]:
            slope = (objective(name, index, 1e-5) - objective(name, index, -1e-5)) / 2e-5
            assert gradient[index] == pytest.approx(slope, abs=1e-8), (name, index)


def test_a_network_of_images_is_compared_with_its_input():
    spec = make(
        [{"layer": "conv2d", "filters": 2, "kernel": 3, "padding": "same"}], loss="mean_squared_error", target="input"
    )
    images, targets = batch(spec)
    probe = ready(spec).probe(images, targets)
    assert probe.outputs.shape == (IMAGES, *SHAPE)
    assert probe.loss == pytest.approx(((probe.outputs - images) ** 2).mean())


def test_l2_adds_twice_its_kernel_to_the_gradient_of_kernels_alone_and_nothing_to_the_loss():
    plain, decayed = (ready(make(CONVOLUTIONS, l2=l2)) for l2 in (0.0, 0.25))
    spec = make(CONVOLUTIONS)
    one, other = (program.probe(*batch(spec)) for program in (plain, decayed))
    assert one.loss == other.loss
    for name, gradient in one.gradients.items():
        penalty = 0.5 * start(spec)[name] if name.endswith("/kernel") else 0
        np.testing.assert_allclose(other.gradients[name], gradient + penalty, rtol=0, atol=1e-15, err_msg=name)


def test_a_probe_changes_nothing():
    spec = make([*CONVOLUTIONS[:6], *DROPOUT], optimizer=ADAM)
    program, untouched = ready(spec), ready(spec)
    one, other = program.probe(*batch(spec)), program.probe(*batch(spec))
    np.testing.assert_array_equal(one.training_outputs, other.training_outputs)
    assert_same_state(program.state(), untouched.state())
    assert program.train(ORDER) == untouched.train(ORDER)
    assert_same_state(program.state(), untouched.state())


def test_batch_norm_trains_on_the_batch_and_evaluates_on_what_ran_before_it():
    spec = make([{"layer": "flatten"}, {"layer": "dense", "units": 3}, {"layer": "batch_norm", "epsilon": 1.0}])
    images, labels = batch(spec)
    weights = start(spec)
    program = ready(spec)
    probe = program.probe(images, labels)
    dense = images.reshape(IMAGES, -1) @ weights["dense_1/kernel"] + weights["dense_1/bias"]
    gamma, beta, mean, variance = (
        weights[f"batch_norm_1/{role}"] for role in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    trained = gamma * (dense - dense.mean(0)) / np.sqrt(dense.var(0) + 1) + beta
    np.testing.assert_allclose(probe.training_outputs, trained, rtol=1e-12)
    np.testing.assert_allclose(probe.outputs, gamma * (dense - mean) / np.sqrt(variance + 1) + beta, rtol=1e-12)
    after = {
        "batch_norm_1/moving_mean": 0.9 * mean + 0.1 * dense.mean(0),
        "batch_norm_1/moving_variance": 0.9 * variance + 0.1 * dense.var(0, ddof=1),
    }
    assert probe.statistics.keys() == after.keys()
    for name, value in after.items():
        np.testing.assert_allclose(probe.statistics[name], value, rtol=1e-12)
    program.train(np.arange(IMAGES, dtype=np.int32))
    assert_equal({name: program.state().weights[name] for name in after}, probe.statistics)
    biased = ready(spec, variants=frozenset({"biased_running_variance"})).probe(images, labels).statistics
    np.testing.assert_allclose(biased["batch_norm_1/moving_variance"], 0.9 * variance + 0.1 * dense.var(0), rtol=1e-12)


def test_statistics_over_images_count_positions_as_values():
    model = [{"layer": "batch_norm", "momentum": 0.0}, *LINEAR]
    spec = make(model)
    images, labels = batch(spec)
    variance = ready(spec).probe(images, labels).statistics["batch_norm_1/moving_variance"]
    np.testing.assert_allclose(variance, images.var(axis=(0, 1, 2), ddof=1), rtol=1e-12)


@pytest.mark.parametrize("optimizer", [MOMENTUM, ADAM, {"name": "rmsprop"}], ids=lambda o: o["name"])
def test_training_takes_one_step_per_batch_the_ragged_last_one_at_its_own_mean(optimizer):
    spec = make(LINEAR, optimizer=optimizer, batch_size=3, l2=0.01)
    program, looker = ready(spec), ready(spec)
    images, labels = batch(spec)
    weights, slots, losses = start(spec), {}, []
    for step, chosen in enumerate((ORDER[:3], ORDER[3:6], ORDER[6:]), 1):
        looker.load(State(weights, slots, step - 1))
        probe = looker.probe(images[chosen], labels[chosen])
        losses += [probe.loss] * len(chosen)
        held, weights = looker.state().slots, dict(weights)
        for name, gradient in probe.gradients.items():
            before = {slot: values[name] for slot, values in held.items()}
            weights[name], after = optimizers.update(spec.optimizer, weights[name], gradient, before, step, frozenset())
            for slot, value in after.items():
                slots.setdefault(slot, {})[name] = value
        slots = {slot: dict(values) for slot, values in slots.items()}
    assert program.train(ORDER) == pytest.approx(np.mean(losses), rel=1e-14)
    assert_same_state(program.state(), State(weights, slots, 3))


def test_the_loss_of_a_ragged_epoch_is_the_mean_over_images():
    spec = make(LINEAR, optimizer={"name": "sgd", "learning_rate": 1e-300}, batch_size=3)
    program = ready(spec)
    assert program.train(ORDER) == pytest.approx(program.probe(*batch(spec)).loss, rel=1e-14)


@pytest.mark.parametrize("optimizer", [MOMENTUM, ADAM, {"name": "rmsprop"}], ids=lambda o: o["name"])
def test_training_goes_on_from_a_loaded_state_as_if_never_stopped(optimizer):
    spec = make(CONVOLUTIONS, optimizer=optimizer)
    whole, first, second = ready(spec), ready(spec), ready(spec)
    for _ in range(4):
        whole.train(ORDER)
    for _ in range(2):
        first.train(ORDER)
    second.load(first.state())
    assert_same_state(second.state(), first.state())
    for _ in range(2):
        second.train(ORDER)
    assert_same_state(second.state(), whole.state())
    assert whole.state().step == 4


def test_slots_left_out_are_zero_and_sgd_without_momentum_has_none():
    state = ready(make(LINEAR, optimizer=ADAM)).state()
    assert state.slots.keys() == {"m", "v"}
    assert not any(value.any() for values in state.slots.values() for value in values.values())
    assert ready(make(LINEAR)).state().slots == {}
    assert ready(make(LINEAR, optimizer=MOMENTUM)).state().slots.keys() == {"velocity"}


def test_a_statistic_has_no_slot():
    slots = ready(make(PERCEPTRON, optimizer=ADAM)).state().slots
    assert not any("moving" in name for name in slots["m"])


def test_a_state_shares_no_memory_with_the_program():
    spec = make(PERCEPTRON, optimizer=ADAM)
    program, weights = Program(spec, "float64"), start(spec)
    program.load(State(weights))
    copies = program.state()
    for array in (*weights.values(), *copies.weights.values(), *copies.slots["m"].values()):
        array += 1
    assert_same_state(program.state(), ready(spec).state())


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("network", NETWORKS)
def test_a_program_computes_in_its_own_type_throughout(network, dtype):
    spec = make(NETWORKS[network], optimizer=MOMENTUM, l2=0.01)
    program = ready(spec, dtype)
    probe = program.probe(*batch(spec))
    program.train(ORDER)
    state = program.state()
    arrays = [probe.outputs, probe.training_outputs, program.predict("train", 4), program.infer(batch(spec)[0])]
    named = (probe.gradients, probe.statistics, state.weights, *state.slots.values())
    assert {a.dtype for a in (*arrays, *(a for group in named for a in group.values()))} == {np.dtype(dtype)}


@pytest.mark.parametrize("network", NETWORKS)
def test_a_wider_type_only_sharpens_the_numbers(network):
    spec = make(NETWORKS[network])
    wide, exact, narrow = (ready(spec, dtype).probe(*batch(spec)) for dtype in (np.longdouble, "float64", "float32"))
    for name, gradient in wide.gradients.items():
        scale = max(1, np.abs(gradient).max())
        assert np.abs(exact.gradients[name] - gradient).max() <= 1e-14 * scale
        assert 0 < np.abs(narrow.gradients[name] - gradient).max() <= 1e-5 * scale


def test_predict_goes_batch_by_batch_over_the_whole_split():
    spec = make(CONVOLUTIONS)
    program = ready(spec)
    whole = program.infer(batch(spec)[0])
    assert whole.shape == (IMAGES, 3)
    for size in (1, 3, 7, 100):
        np.testing.assert_allclose(program.predict("train", size), whole, rtol=0, atol=1e-14)


def test_dropout_falls_in_training_alone_and_its_stream_restarts_with_load():
    spec = make(DROPOUT)
    program, other = ready(spec), ready(spec, seed=1)
    probe = program.probe(*batch(spec))
    assert np.abs(probe.training_outputs - probe.outputs).max() > 1e-3
    np.testing.assert_array_equal(probe.outputs, ready(spec.without_dropout()).probe(*batch(spec)).training_outputs)
    first, second = program.train(ORDER), program.train(ORDER)
    assert first != second
    program.load(State(start(spec)))
    assert program.train(ORDER) == first
    assert other.train(ORDER) != first


def test_a_trial_of_the_runner_builds_what_it_says():
    spec = make(PERCEPTRON)
    runner = find("reference")("cpu", Threads(intra=1, inter=1), 0)
    program = runner.build(spec, "numpy", "float32")
    program.load(State(start(spec)))
    assert program.infer(batch(spec)[0]).dtype == np.float32
    assert runner.missing("numpy") is None
    assert {"numpy", "blas", "python"} == runner.versions().keys()
    assert runner.devices().keys() == {"cpu", "cuda"}


def test_the_runner_computes_the_variants_it_is_given():
    variant = frozenset({"adam_epsilon_before_correction"})
    spec = make(LINEAR, optimizer={**ADAM, "epsilon": 1e-3})
    steps = []
    for variants in (frozenset(), variant):
        program = Runner("cpu", Threads(intra=1, inter=1), 0, variants=variants).build(spec, "numpy", "float64")
        program.load(State(start(spec)))
        program.stage("train", *batch(spec))
        program.train(ORDER)
        steps.append(program.state().weights["dense_1/kernel"])
    assert np.abs(steps[0] - steps[1]).max() > 1e-5


@pytest.mark.parametrize(("device", "mode"), [("cpu", "eager"), ("cuda", "numpy")])
def test_another_mode_or_device_is_unsupported_with_the_reason(device, mode):
    runner = Runner(device, Threads(intra=1, inter=1), 0)
    assert runner.missing(mode)
    with pytest.raises(Unsupported, match=r"reference has no mode|processor only"):
        runner.build(make(LINEAR), mode, "float64")
