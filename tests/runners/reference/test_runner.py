"""The reference as a whole: networks against finite differences, and a program's protocol."""

import json

import numpy as np
import pytest

from suite.errors import Unsupported
from suite.gate import probe
from suite.inputs import initial
from suite.runners.base import State, Threads, find
from suite.runners.reference import optimizers
from suite.runners.reference.runner import Program, Runner
from suite.spec.dataset import DatasetFacts
from suite.spec.graph import walk
from suite.spec.layers import BatchNorm
from suite.spec.resolved import Spec
from suite.spec.targets import Target
from suite.spec.tensors import Role

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
BRANCHES = [
    {"layer": "conv2d", "filters": 3, "kernel": 3, "stride": 2, "padding": [1, 0], "use_bias": False},
    {"layer": "batch_norm"},
    {
        "layer": "concat",
        "branches": [
            [{"layer": "max_pool", "window": 2, "padding": 1}, {"layer": "flatten"}, {"layer": "dense", "units": 2}],
            [{"layer": "tanh"}, {"layer": "global_average_pool"}],
            [{"layer": "flatten"}, {"layer": "dense", "units": 2}, {"layer": "batch_norm"}],
        ],
    },
    {"layer": "dense", "units": 3},
]
NETWORKS = {"perceptron": PERCEPTRON, "convolutions": CONVOLUTIONS, "residuals": RESIDUALS, "branches": BRANCHES}
LINEAR = [{"layer": "flatten"}, {"layer": "dense", "units": 3}]
DROPOUT = [{"layer": "flatten"}, {"layer": "dropout", "rate": 0.25}, {"layer": "dense", "units": 3}]
LOSSES = {"softmax_cross_entropy": "labels", "sigmoid_cross_entropy": "one_hot", "mean_squared_error": "one_hot"}
ADAM = {"name": "adam", "learning_rate": 0.01}
MOMENTUM = {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9}


def make(model, **fields):
    recipe = {"optimizer": {"name": "sgd", "learning_rate": 0.1}, "batch_size": 7, "epochs": 1, **fields}
    data = {"dataset": "tiny", "data": FACTS.model_dump()}
    return Spec.model_validate_json(json.dumps({"name": "tiny", "model": model, **data, **recipe}))


def make_later(model, **fields):
    return lambda **more: make(model, **fields, **more)


PIXELS = np.random.default_rng(0).integers(0, 256, (IMAGES, *SHAPE), np.uint8)
CLASSES = np.array([0, 1, 2, 2, 1, 0, 0])
ORDER = np.array([6, 2, 0, 5, 1, 3, 4], np.int32)


TOKENS = FACTS.model_copy(update={"image_shape": (8,), "classes": 9, "max_value": 8})
LOOKUP = {"layer": "embedding", "vocabulary": 9, "units": 4}
SCORES = {"layer": "sampled_scores", "vocabulary": 9, "units": 4, "context": 4}
WORDS = {"data": TOKENS.model_dump(), "task": {"kind": "embedding", "window": 2}}
SAMPLED = {**WORDS, "task": {"kind": "embedding", "window": 2, "negatives": 2}, "target": "first"}
BOXES = {"loss": "detection", "target": "boxes", "task": {"kind": "detection", "canvas": 8, "box_weight": 3.0}}
FROZEN = ["conv2d_1", "batch_norm_1", "concat_1/1", "concat_1/3/batch_norm_1"]
OTHERS = {
    "words": make_later([LOOKUP, {"layer": "tanh"}, {"layer": "dense", "units": 9}], **WORDS),
    "sampled": make_later([SCORES], loss="sigmoid_cross_entropy", **SAMPLED),
    "boxes": make_later([*BRANCHES[:-1]], **BOXES),
    "frozen": make_later(BRANCHES, frozen=FROZEN),
}
"""What is no image of a class, and what is not all trained."""


def batch(spec, dtype=np.float64):
    if spec.data.tokens or spec.target is Target.BOXES:
        images, targets = probe.batch(spec, IMAGES, "test")
        return probe.cast(images, dtype), probe.cast(targets, dtype)
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


EVERY = {
    **{
        (name, loss): make_later(NETWORKS[name], loss=loss, target=LOSSES[loss]) for name in NETWORKS for loss in LOSSES
    },
    **{(name, "its own loss"): made for name, made in OTHERS.items()},
}


@pytest.mark.parametrize("name", EVERY, ids=" ".join)
def test_gradients_of_a_network_agree_with_finite_differences(name):
    spec = EVERY[name](l2=0.01)
    program, weights = Program(spec, "float64"), start(spec)

    def objective(name, index, change):
        moved = {**weights, name: weights[name].copy()}
        moved[name][index] += change
        program.load(State(moved))
        kernels = [moved[key] for key, tensor in spec.trainable.items() if tensor.role is Role.KERNEL]
        return program.probe(*batch(spec)).loss + 0.01 * sum((kernel**2).sum() for kernel in kernels)

    program.load(State(weights))
    gradients = program.probe(*batch(spec)).gradients
    assert list(gradients) == list(spec.trainable)
    for name, gradient in gradients.items():
        assert gradient.shape == weights[name].shape
        for index in list(np.ndindex(gradient.shape))[::3]:
            slope = (objective(name, index, 1e-5) - objective(name, index, -1e-5)) / 2e-5
            assert gradient[index] == pytest.approx(slope, abs=1e-8), (name, index)


def test_a_frozen_layer_keeps_all_it_holds_and_has_no_slots():
    spec = make(BRANCHES, frozen=FROZEN, optimizer=ADAM, l2=0.1)
    program = ready(spec)
    program.train(ORDER)
    state = program.state()
    moved = {name for name, value in state.weights.items() if (value != start(spec)[name]).any()}
    assert moved == spec.tensors.keys() - spec.frozen_names
    assert len(spec.frozen_names) == 1 + 4 + 2 + 4
    assert state.slots["m"].keys() == spec.trainable.keys()


def test_a_frozen_batch_norm_trains_as_it_evaluates_and_tells_no_statistics():
    model = [{"layer": "batch_norm", "epsilon": 1.0}, *LINEAR]
    frozen, trained = (ready(make(model, frozen=names)) for names in (["batch_norm_1"], []))
    seen, other = frozen.probe(*batch(make(model))), trained.probe(*batch(make(model)))
    np.testing.assert_array_equal(seen.training_outputs, seen.outputs)
    np.testing.assert_array_equal(seen.outputs, other.outputs)
    assert np.abs(other.training_outputs - other.outputs).max() > 1e-3
    assert seen.statistics == {}
    assert seen.gradients.keys() == {"dense_1/kernel", "dense_1/bias"}
    norms = [n for n in walk(make(BRANCHES, frozen=FROZEN).graph) if isinstance(n.layer, BatchNorm)]
    assert len(norms) == 2


def test_the_penalty_leaves_frozen_kernels_and_tables_of_words_alone():
    for model, fields, spared in (
        (BRANCHES, {"frozen": FROZEN}, {"concat_1/3/dense_1/bias", "concat_1/3/dense_1/kernel"}),
        ([LOOKUP, {"layer": "dense", "units": 9}], WORDS, {"embedding_1/embedding"}),
    ):
        plain, decayed = (ready(make(model, l2=l2, **fields)) for l2 in (0.0, 0.25))
        spec = make(model, **fields)
        one, other = (program.probe(*batch(spec)).gradients for program in (plain, decayed))
        assert spared & one.keys()
        for name, gradient in one.items():
            penalty = 0.5 * start(spec)[name] if name.endswith("/kernel") else 0
            np.testing.assert_allclose(other[name], gradient + penalty, rtol=0, atol=1e-15, err_msg=name)
        assert one.keys() == spec.trainable.keys()


@pytest.mark.parametrize("optimizer", [MOMENTUM, ADAM, {"name": "rmsprop"}], ids=lambda o: o["name"])
def test_the_learning_rate_falls_with_the_first_step_of_its_epoch(optimizer):
    """Three steps to an epoch: two at the full rate, however they came about, and the fourth at a tenth."""
    rate = optimizer.get("learning_rate", 0.001)
    spec = make(LINEAR, optimizer=optimizer, batch_size=3, schedule={"at": [1], "factor": 0.1}, epochs=2)
    slow = make(LINEAR, optimizer={**optimizer, "learning_rate": rate * 0.1}, batch_size=3)
    fast = make(LINEAR, optimizer={**optimizer, "learning_rate": rate}, batch_size=3)
    one, steady = ready(spec), ready(fast)
    for chosen in (ORDER[:3], ORDER[3:6], ORDER[6:]):
        one.train(chosen)
    steady.train(ORDER)
    assert_same_state(one.state(), steady.state())
    slower = ready(slow)
    slower.load(one.state())
    for program in (one, slower, steady):
        program.train(ORDER)
    for name, value in slower.state().weights.items():
        np.testing.assert_allclose(one.state().weights[name], value, rtol=1e-14, err_msg=name)
        assert np.abs(steady.state().weights[name] - value).max() > 1e-6


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
    norm = spec.model[2].model_copy(update={"running_variance": "biased"})
    asked = spec.replace(model=(*spec.model[:2], norm))
    for biased in (ready(asked), ready(spec, variants=frozenset({"biased_running_variance"}))):
        found = biased.probe(images, labels).statistics["batch_norm_1/moving_variance"]
        np.testing.assert_allclose(found, 0.9 * variance + 0.1 * dense.var(0), rtol=1e-12)


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
            weights[name], after = optimizers.update(spec.optimizer, weights[name], gradient, before, step)
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
@pytest.mark.parametrize("network", [*NETWORKS, *OTHERS])
def test_a_program_computes_in_its_own_type_throughout(network, dtype):
    made = OTHERS.get(network) or make_later(NETWORKS[network])
    spec = made(optimizer=MOMENTUM, l2=0.01, schedule={"at": [1], "factor": 0.5})
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


def test_words_are_taken_as_they_are_in_every_precision():
    """The largest index that float16 cannot hold has a row of its own."""
    facts = TOKENS.model_copy(update={"classes": 2, "max_value": 2049})
    model = [{**LOOKUP, "vocabulary": 2050, "units": 2}]
    spec = make(model, **{**WORDS, "data": facts.model_dump()})
    program = Program(spec, np.float16)
    table = np.zeros((2050, 2))
    table[2049] = 1, 2
    program.load(State({"embedding_1/embedding": table}))
    assert program.infer(np.full((1, 4), 2049, np.int32)).tolist() == [[1, 2]]
    assert program.infer(np.full((1, 4), 2048, np.int32)).tolist() == [[0, 0]]


@pytest.mark.parametrize("vocabulary", [8, 1])
def test_a_table_without_a_row_for_every_word_is_refused(vocabulary):
    with pytest.raises(ValueError, match=f"embedding_1 looks up {vocabulary} words, but tiny holds 9 words"):
        make([{**LOOKUP, "vocabulary": vocabulary}, {"layer": "dense", "units": 9}], **WORDS)


def test_a_table_of_words_takes_no_images():
    facts = FACTS.model_copy(update={"image_shape": (1, 1, 8)}).model_dump()
    with pytest.raises(ValueError, match="embedding_1 looks up 9 words, but tiny holds images"):
        make([{"layer": "flatten"}, LOOKUP, {"layer": "dense", "units": 3}], data=facts)


def test_it_offers_no_tuning():
    with pytest.raises(Unsupported, match="no inference option 'int8_static'"):
        ready(make(LINEAR)).infer_with("int8_static", batch(make(LINEAR))[0])


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
