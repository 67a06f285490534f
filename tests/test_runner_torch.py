"""The torch runner against the contract that every framework's runner keeps."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import contract  # noqa: E402 - it and the runner need the framework

from suite.errors import MachineError, Unsupported  # noqa: E402
from suite.runners.base import find  # noqa: E402
from suite.runners.torch import Runner  # noqa: E402
from suite.spec import Spec  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores")]
every_spec = pytest.mark.parametrize(("name", "spec"), contract.SPECS, ids=contract.ids(contract.SPECS))
few_specs = pytest.mark.parametrize(("name", "spec"), contract.FEW, ids=contract.ids(contract.FEW))
compiles = pytest.mark.skipif(
    Runner("cpu", contract.THREADS, contract.SEED).missing("compile") is not None, reason="no compiler here"
)


@pytest.fixture(scope="module", params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def runner(request: pytest.FixtureRequest) -> Runner:
    try:
        return Runner(request.param, contract.THREADS, contract.SEED)
    except MachineError as error:
        pytest.skip(error.what)


@pytest.fixture(scope="module")
def on_cpu() -> Runner:
    return Runner("cpu", contract.THREADS, contract.SEED)


@every_spec
def test_a_pass_equals_the_reference(runner: Runner, name: str, spec: Spec) -> None:
    contract.check_probe(runner, spec, "eager")


@every_spec
def test_single_steps_equal_the_reference(runner: Runner, name: str, spec: Spec) -> None:
    contract.check_steps(runner, spec, "eager")


@every_spec
def test_predictions_agree_on_every_way_to_ask(runner: Runner, name: str, spec: Spec) -> None:
    contract.check_prediction(runner, spec, "eager")


@few_specs
def test_an_epoch_with_a_ragged_batch_equals_the_reference(runner: Runner, name: str, spec: Spec) -> None:
    contract.check_epoch(runner, spec, "eager")


@few_specs
def test_a_state_survives_its_round_trip(runner: Runner, name: str, spec: Spec) -> None:
    contract.check_state(runner, spec, "eager")


def test_dropout_keeps_the_right_share_at_the_right_scale(runner: Runner) -> None:
    contract.check_dropout(runner, "eager")


@compiles
@few_specs
def test_compiled_it_is_still_the_same(runner: Runner, name: str, spec: Spec) -> None:
    contract.check_probe(runner, spec, "compile")
    contract.check_steps(runner, spec, "compile", steps=3)
    contract.check_epoch(runner, spec, "compile")
    contract.check_prediction(runner, spec, "compile")
    contract.check_state(runner, spec, "compile")


@compiles
def test_compiled_dropout_keeps_the_right_share_at_the_right_scale(runner: Runner) -> None:
    contract.check_dropout(runner, "compile")


def test_threads_are_what_was_asked_for(on_cpu: Runner) -> None:
    assert (torch.get_num_threads(), torch.get_num_interop_threads()) == (2, 1)


def test_denormals_are_flushed_on_every_thread(on_cpu: Runner) -> None:
    smallest = torch.full((1 << 20,), 2.0**-126)
    assert not (smallest * 0.5).any()


def test_a_mode_it_does_not_have_is_unsupported(on_cpu: Runner) -> None:
    with pytest.raises(Unsupported, match="no mode 'xla'"):
        on_cpu.build(contract.SPECS[0][1], "xla", "float32")


def test_compile_without_a_compiler_is_unsupported(on_cpu: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(Unsupported, match="no no-such-compiler"):
        on_cpu.build(contract.SPECS[0][1], "compile", "float32")
    assert on_cpu.missing("eager") is None


def test_compile_with_a_broken_compiler_is_unsupported(on_cpu: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "false")
    assert "does not run" in str(on_cpu.missing("compile"))


def test_compile_without_the_headers_of_python_is_unsupported(
    on_cpu: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    assert "Python.h" in str(on_cpu.missing("compile"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_the_users_error_with_a_reason(on_cpu: Runner) -> None:
    reason = on_cpu.devices()["cuda"]
    assert reason
    with pytest.raises(MachineError, match=reason.split()[0]):
        Runner("cuda", contract.THREADS, contract.SEED)


def test_it_names_the_libraries_that_decide_its_numbers(on_cpu: Runner) -> None:
    versions = on_cpu.versions()
    assert versions["torch"] == torch.__version__
    assert {"mkl", "onednn", "openmp"} <= versions.keys()
    assert all(isinstance(value, str) and value for value in versions.values())


def test_it_is_found_by_its_token() -> None:
    assert find("torch") is Runner


def test_float32_stays_float32(runner: Runner) -> None:
    program = runner.build(contract.SPECS[1][1], "eager", "float32")
    program.stage("train", *contract.data(contract.SPECS[1][1], "float32"))
    program.load(contract.start(contract.SPECS[1][1]))
    program.train(np.arange(8, dtype=np.int32))
    state = program.state()
    assert {value.dtype.name for value in (*state.weights.values(), *state.slots["m"].values())} == {"float32"}
    assert program.predict("train", 8).dtype == np.float32


def test_determinism_is_taken_when_asked_for_and_given_back(on_cpu: Runner) -> None:
    contract.check_determinism("torch", "cpu", "eager")
    assert on_cpu.settings() == {"tf32": "off", "deterministic": "off", "compile": "default mode"}
    asked = Runner("cpu", contract.THREADS, contract.SEED, deterministic=True)
    assert asked.settings()["deterministic"] == "on"
    assert torch.are_deterministic_algorithms_enabled()
    assert Runner("cpu", contract.THREADS, contract.SEED).settings()["deterministic"] == "off"


def test_on_the_processor_there_is_no_gpu_to_tell_of(on_cpu: Runner) -> None:
    assert (on_cpu.gpu(), on_cpu.allocator_peak()) == (None, None)
