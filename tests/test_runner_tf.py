"""The tf runner against the contract that every framework's runner keeps."""

import pytest

tf = pytest.importorskip("suite.runners.tf", reason="needs the tf environment")

import contract  # noqa: E402 - it needs no framework, but is of use only with one

from suite.spec import Spec  # noqa: E402

pytestmark = pytest.mark.tf
MODES = tf.Runner.modes
every_mode = pytest.mark.parametrize("mode", MODES)
every_spec = pytest.mark.parametrize("of", [of for _, of in contract.SPECS], ids=contract.ids(contract.SPECS))


@pytest.fixture(scope="module")
def runner() -> tf.Runner:
    return tf.Runner("cpu", contract.THREADS, contract.SEED)


@every_mode
@every_spec
def test_a_probe_equals_the_reference(runner: tf.Runner, of: Spec, mode: str) -> None:
    contract.check_probe(runner, of, mode)


@every_mode
@every_spec
def test_ten_single_steps_equal_the_reference(runner: tf.Runner, of: Spec, mode: str) -> None:
    contract.check_steps(runner, of, mode)


@every_mode
@every_spec
def test_an_epoch_with_a_ragged_batch_equals_the_reference(runner: tf.Runner, of: Spec, mode: str) -> None:
    contract.check_epoch(runner, of, mode)


@every_mode
@every_spec
def test_every_way_to_predict_gives_the_same_outputs(runner: tf.Runner, of: Spec, mode: str) -> None:
    contract.check_prediction(runner, of, mode)


@every_mode
@every_spec
def test_a_state_survives_the_round_trip(runner: tf.Runner, of: Spec, mode: str) -> None:
    contract.check_state(runner, of, mode)


@every_mode
def test_dropout_keeps_scales_and_restarts(runner: tf.Runner, mode: str) -> None:
    contract.check_dropout(runner, mode)
