"""The toy's runner against the contract that every framework's runner keeps."""

import pytest

from suite.errors import MachineError, Unsupported
from suite.runners.base import Runner, find
from tests.support import contract

pytestmark = pytest.mark.toy
LAYERS: list[dict[str, object]] = [
    {"layer": "flatten"},
    {"layer": "dense", "units": 5, "use_bias": False},
    {"layer": "relu"},
    {"layer": "dropout", "rate": 0.0},
    {"layer": "dense", "units": 4},
    {"layer": "tanh"},
    {"layer": "dense", "units": 3},
]
PERCEPTRON = contract.spec(LAYERS, l2=0.01, schedule=contract.STEPS)
OTHERS = [name for name, _ in contract.SPECS]


@pytest.fixture(scope="module")
def runner() -> Runner:
    return find("toy")("cpu", contract.THREADS, contract.SEED)


def test_a_pass_equals_the_reference(runner: Runner) -> None:
    contract.check_probe(runner, PERCEPTRON, "plain")


@pytest.mark.parametrize("optimizer", [contract.ADAM, contract.SGD], ids=["adam", "sgd"])
def test_single_steps_equal_the_reference(runner: Runner, optimizer: dict[str, object]) -> None:
    contract.check_steps(runner, contract.spec(LAYERS, l2=0.01, optimizer=optimizer), "plain")


def test_an_epoch_with_a_ragged_batch_equals_the_reference(runner: Runner) -> None:
    contract.check_epoch(runner, PERCEPTRON, "plain")


def test_predictions_agree_on_every_way_to_ask(runner: Runner) -> None:
    contract.check_prediction(runner, PERCEPTRON, "plain")


def test_a_state_survives_its_round_trip(runner: Runner) -> None:
    contract.check_state(runner, PERCEPTRON, "plain")


def test_dropout_keeps_the_right_share_at_the_right_scale(runner: Runner) -> None:
    contract.check_dropout(runner, "plain")


@pytest.mark.parametrize("name", OTHERS)
def test_what_it_has_is_right_and_what_it_lacks_is_unsupported(runner: Runner, name: str) -> None:
    spec = dict(contract.SPECS)[name]
    try:
        runner.build(spec, "plain", "float64")
    except Unsupported:
        return
    contract.check_probe(runner, spec, "plain")


def test_a_gpu_that_is_not_there_is_the_users_error_with_a_reason() -> None:
    with pytest.raises(MachineError, match="on the processor only"):
        find("toy")("cuda", contract.THREADS, contract.SEED)
