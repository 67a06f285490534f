"""The runner that computes nothing answers in the right shapes all the same."""

import json

import numpy as np
import pytest

from suite.errors import Unsupported
from suite.runners.base import State, Threads, find
from suite.spec.dataset import DatasetFacts
from suite.spec.resolved import Spec

FACTS = DatasetFacts(name="tiny", image_shape=(4, 4, 1), classes=3, train=7, test=4, max_value=255, digest="sha256:0")
RECIPE = {
    "name": "tiny",
    "dataset": "tiny",
    "data": FACTS.model_dump(),
    "model": [{"layer": "flatten"}, {"layer": "batch_norm"}, {"layer": "dense", "units": 3}],
    "optimizer": {"name": "adam"},
    "batch_size": 7,
    "epochs": 1,
}


@pytest.fixture
def spec():
    return Spec.model_validate_json(json.dumps(RECIPE))


@pytest.fixture
def program(spec):
    runner = find("null")("cpu", Threads(intra=1, inter=1), 0)
    built = runner.build(spec, "null", "float32")
    built.load(State({name: np.ones(tensor.shape) for name, tensor in spec.tensors.items()}, {}, 5))
    built.stage("train", np.ones((7, 4, 4, 1), np.float32), np.zeros(7, np.int32))
    return built


def test_outputs_are_zeros_of_the_right_shape_and_made_once(program):
    for outputs in (program.predict("train", 2), program.infer(np.ones((7, 4, 4, 1), np.float32))):
        assert outputs.shape == (7, 3)
        assert outputs.dtype == np.float32
        assert not outputs.any()
    assert program.predict("train", 2) is program.predict("train", 3)


def test_training_steps_through_every_batch_and_changes_nothing(spec, program, monkeypatch):
    sizes = []
    monkeypatch.setattr(program, "_train_batch", lambda batch: sizes.append(len(batch)))
    assert program.train(np.arange(17, dtype=np.int32)) == 0.0
    assert sizes == [7, 7, 3]
    state = program.state()
    assert state.step == 5
    assert state.weights.keys() == spec.tensors.keys()
    assert all((value == 1).all() for value in state.weights.values())


def test_what_was_loaded_is_kept_as_a_copy(program):
    program.state().weights["dense_1/bias"][:] = 9
    assert program.state().weights["dense_1/bias"].tolist() == [1, 1, 1]


def test_a_probe_has_every_tensor(spec, program):
    probe = program.probe(np.ones((2, 4, 4, 1), np.float32), np.zeros(2, np.int32))
    assert probe.outputs.shape == probe.training_outputs.shape == (2, 3)
    assert {**probe.gradients, **probe.statistics}.keys() == spec.tensors.keys()
    assert all(not value.any() for value in probe.gradients.values())
    assert probe.statistics["batch_norm_1/moving_mean"].tolist() == [1] * 16


def test_a_probe_has_a_gradient_of_what_is_trained_and_the_statistics_that_move_alone(spec):
    frozen = spec.replace(frozen=("batch_norm_1",))
    program = find("null")("cpu", Threads(intra=1, inter=1), 0).build(frozen, "null", "float32")
    program.load(State({name: np.ones(tensor.shape) for name, tensor in spec.tensors.items()}))
    probe = program.probe(np.ones((2, 4, 4, 1), np.float32), np.zeros(2, np.int32))
    assert list(probe.gradients) == ["dense_1/kernel", "dense_1/bias"]
    assert probe.statistics == {}


def test_there_is_nothing_to_tune(program):
    with pytest.raises(Unsupported, match="no inference option 'bfloat16'"):
        program.infer_with("bfloat16", np.ones((2, 4, 4, 1), np.float32))


def test_another_mode_is_unsupported_with_the_reason(spec):
    runner = find("null")("cpu", Threads(intra=1, inter=1), 0)
    assert runner.missing("null") is None
    with pytest.raises(Unsupported, match="no mode 'eager'"):
        runner.build(spec, "eager", "float32")


def test_it_says_what_it_is_made_of():
    runner = find("null")("cpu", Threads(intra=1, inter=1), 0)
    assert runner.versions().keys() == {"numpy", "python"}
    assert runner.devices().keys() == {"cpu", "cuda"}
