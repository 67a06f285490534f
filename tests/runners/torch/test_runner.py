"""The torch runner against the contract that every framework's runner keeps."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from suite.errors import MachineError, Unsupported  # noqa: E402
from suite.results.identity import Verdict  # noqa: E402
from suite.runners.base import InferenceOption, find, memory_passes  # noqa: E402
from suite.runners.torch import layers, own, quickstart  # noqa: E402
from suite.runners.torch.runner import Runner  # noqa: E402
from suite.spec.resolved import Spec  # noqa: E402
from suite.spec.semantics import under  # noqa: E402
from tests.faults.catalogue import OtherPrecision  # noqa: E402
from tests.faults.run import examine  # noqa: E402
from tests.faults.specs import SPECS  # noqa: E402
from tests.support import contract  # noqa: E402 - it and the runner need the framework

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


@few_specs
def test_the_quickstart_is_still_the_same(runner: Runner, name: str, spec: Spec) -> None:
    contract.check_probe(runner, spec, "quickstart")
    contract.check_steps(runner, spec, "quickstart", steps=3)
    contract.check_epoch(runner, spec, "quickstart")
    contract.check_prediction(runner, spec, "quickstart")
    contract.check_state(runner, spec, "quickstart")


def test_the_quickstarts_dropout_keeps_the_right_share_at_the_right_scale(runner: Runner) -> None:
    contract.check_dropout(runner, "quickstart")


def test_the_quickstart_leaves_pytorch_its_own_choices(runner: Runner) -> None:
    """Of the optimizer's implementation, of the memory format, and of where the data are; flattening moves nothing."""
    spec = contract.spec([*contract.CONVOLUTIONS[:-1], {"layer": "dense", "units": 3}])
    program = runner.build(spec, "quickstart", "float32")
    program.stage("train", *contract.data(spec, "float32"))
    assert {name: program._optimizer.defaults[name] for name in ("fused", "foreach")} == {
        "fused": None,
        "foreach": None,
    }
    images, targets = program._splits["train"]
    assert images.shape[1:] == (2, *spec.input_shape[:2])
    assert images.is_contiguous()
    assert {images.device.type, targets.device.type} == {"cpu"}
    kernels = [tensor for name, tensor in program._tensors.items() if tensor.dim() == 4]
    assert kernels
    assert all(kernel.is_contiguous() for kernel in kernels)
    assert not any(
        isinstance(module, layers.ChannelsLast | layers.ChannelsFirst) for module in program._model.modules()
    )


def test_the_quickstart_reads_the_loss_as_rarely_as_the_tutorial(
    on_cpu: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = contract.spec([*contract.FLAT])
    program = loaded(on_cpu, spec, "quickstart")
    program.stage("train", *contract.data(spec, "float32"))
    read, item = [], torch.Tensor.item
    monkeypatch.setattr(torch.Tensor, "item", lambda self: read.append(self.requires_grad) or item(self))
    program.train(np.resize(np.arange(8, dtype=np.int32), 8 * (quickstart.READ_EVERY + 1)))
    assert sum(read) == 2, "an optimizer reads its counters, which want no gradient"


def test_the_quickstart_has_no_inference_options(on_cpu: Runner) -> None:
    with pytest.raises(Unsupported, match="the modes eager and compile have"):
        loaded(on_cpu, TUNED, "quickstart").infer_with("bfloat16", contract.data(TUNED, "float32")[0])


def test_threads_are_what_was_asked_for(on_cpu: Runner) -> None:
    assert (torch.get_num_threads(), torch.get_num_interop_threads()) == (2, 1)


def test_denormals_are_flushed_on_every_thread(on_cpu: Runner) -> None:
    smallest = torch.full((1 << 20,), 2.0**-126)
    assert not (smallest * 0.5).any()


def test_a_mode_it_does_not_have_is_unsupported(on_cpu: Runner) -> None:
    with pytest.raises(Unsupported, match="no mode 'xla'"):
        on_cpu.build(contract.SPECS[0][1], "xla", "float32")


def test_a_layer_that_it_has_not_is_unsupported(on_cpu: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(layers.MAKERS, "relu")
    with pytest.raises(Unsupported, match="no layer 'relu'"):
        on_cpu.build(contract.SPECS[0][1], "eager", "float32")


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
    assert on_cpu.settings() == {
        "tf32": "off", "deterministic": "off", "compile": "default mode", "layout": "channels_last",
        "quickstart": quickstart.SETTING,
    }  # fmt: skip
    asked = Runner("cpu", contract.THREADS, contract.SEED, deterministic=True)
    assert asked.settings()["deterministic"] == "on"
    assert torch.are_deterministic_algorithms_enabled()
    assert Runner("cpu", contract.THREADS, contract.SEED).settings()["deterministic"] == "off"


def test_on_the_processor_there_is_no_gpu_to_tell_of(on_cpu: Runner) -> None:
    assert (on_cpu.gpu(), on_cpu.allocator_peak()) == (None, None)


TUNED = contract.spec([contract.conv(3), {"layer": "batch_norm"}, {"layer": "relu"}, *contract.HEAD])
DENSE = dict(contract.SPECS)["perceptron"]
NARROW = ("bfloat16", "int8_dynamic", "int8_static")


def loaded(runner: Runner, spec: Spec, mode: str) -> Any:
    program = runner.build(spec, mode, "float32")
    program.load(contract.start(spec))
    return program


@pytest.mark.parametrize(
    ("tuning", "most"), [("channels_last", 1e-5), ("channels_first", 1e-5), *((name, 0.05) for name in NARROW)]
)
def test_a_tuning_answers_nearly_the_same_and_leaves_the_program_alone(
    on_cpu: Runner, tuning: InferenceOption, most: float
) -> None:
    program = loaded(on_cpu, TUNED, "eager")
    images, _ = contract.data(TUNED, "float32")
    plain = program.infer(images)
    found = program.infer_with(tuning, images)(images)
    error = np.abs(found - plain).max() / np.abs(plain).max()
    assert found.dtype == np.float32
    assert error < most
    assert bool(error > 1e-4) is (tuning in NARROW)
    np.testing.assert_array_equal(program.infer(images), plain)


@pytest.mark.parametrize("tuning", ["channels_first", *NARROW])
def test_a_biased_running_variance_leaves_tunings_as_they_are(on_cpu: Runner, tuning: InferenceOption) -> None:
    """It is of no matter in evaluation, and PyTorch quantises its own batch norms alone."""
    images, _ = contract.data(TUNED, "float32")
    biased = under(TUNED, ("biased_running_variance",))
    one, other = (loaded(on_cpu, spec, "eager").infer_with(tuning, images)(images) for spec in (TUNED, biased))
    np.testing.assert_array_equal(one, other)


@compiles
@pytest.mark.parametrize("tuning", ["channels_first", "bfloat16"])
def test_a_tuning_is_compiled_where_the_mode_says_so(on_cpu: Runner, tuning: InferenceOption) -> None:
    images, _ = contract.data(TUNED, "float32")
    query = loaded(on_cpu, TUNED, "compile").infer_with(tuning, images)
    plain = loaded(on_cpu, TUNED, "eager").infer(images)
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    found = query(images)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == before + 1
    np.testing.assert_allclose(found, plain, atol=0.05 * np.abs(plain).max())


@compiles
def test_what_pytorch_quantises_cannot_be_compiled_and_it_says_so(on_cpu: Runner) -> None:
    images, _ = contract.data(TUNED, "float32")
    with pytest.raises(Unsupported, match="cannot be compiled"):
        loaded(on_cpu, TUNED, "compile").infer_with("int8_static", images)


@pytest.mark.parametrize(
    ("tuning", "contiguous"), [("channels_last", torch.channels_last), ("channels_first", torch.contiguous_format)]
)
def test_a_memory_format_is_that_of_kernels_and_of_what_reaches_them(
    on_cpu: Runner, tuning: InferenceOption, contiguous: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def watched(x: torch.Tensor, weight: torch.Tensor, *rest: Any) -> torch.Tensor:
        seen.extend([x, weight])
        return original(x, weight, *rest)

    original = torch.nn.functional.conv2d
    images, _ = contract.data(TUNED, "float32")
    query = loaded(on_cpu, TUNED, "eager").infer_with(tuning, images)
    monkeypatch.setattr(torch.nn.functional, "conv2d", watched)
    query(images)
    assert len(seen) == 2
    assert all(tensor.is_contiguous(memory_format=contiguous) for tensor in seen)


def test_no_memory_format_changes_a_model_without_convolutions(on_cpu: Runner) -> None:
    images, _ = contract.data(DENSE, "float32")
    with pytest.raises(Unsupported, match="no convolution"):
        loaded(on_cpu, DENSE, "eager").infer_with("channels_first", images)


def test_a_model_without_dense_layers_is_not_quantised_by_them(on_cpu: Runner) -> None:
    spec = dict(contract.SPECS)["autoencoder"]
    images, _ = contract.data(spec, "float32")
    with pytest.raises(Unsupported, match="int8_dynamic"):
        loaded(on_cpu, spec, "eager").infer_with("int8_dynamic", images)


@pytest.mark.parametrize("mode", ["eager", pytest.param("compile", marks=compiles)])
def test_a_step_of_the_learning_rate_compiles_nothing_again(on_cpu: Runner, mode: str) -> None:
    spec = contract.spec([*contract.FLAT], schedule={"at": [1], "factor": 0.5}, optimizer=contract.MOMENTUM)
    program = loaded(on_cpu, spec, mode)
    program.stage("train", *contract.data(spec, "float32"))
    order = np.arange(8, dtype=np.int32)
    program.train(order)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for _ in range(spec.steps_per_epoch):
            program.train(order)
    rates = {group["lr"] for group in program._optimizer.param_groups}
    assert rates == {spec.optimizer.learning_rate / 2}
    program.load(contract.start(spec))
    program.train(order)
    assert program._optimizer.param_groups[0]["lr"] == spec.optimizer.learning_rate


def test_of_what_is_frozen_no_gradient_is_asked(on_cpu: Runner) -> None:
    spec = contract.spec([*contract.CONVOLUTIONS], frozen=["conv2d_1", "batch_norm_1"])
    program = loaded(on_cpu, spec, "eager")
    wanted = {name for name, tensor in program._tensors.items() if tensor.requires_grad}
    assert wanted == set(spec.trainable)


def test_what_is_said_of_pytorchs_own_api_is_so() -> None:
    """Defaults, RMSprop and Adam, the running variance, padding: ``_torch_own`` tells them without PyTorch."""
    parameter = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    adam, rmsprop, sgd = (
        made([parameter]).defaults for made in (torch.optim.Adam, torch.optim.RMSprop, torch.optim.SGD)
    )
    assert {
        "adam": dict(zip(("beta_1", "beta_2"), adam["betas"], strict=True))
        | {"learning_rate": adam["lr"], "epsilon": adam["eps"]},
        "rmsprop": {"learning_rate": rmsprop["lr"], "rho": rmsprop["alpha"], "epsilon": rmsprop["eps"]},
        "sgd": {"learning_rate": sgd["lr"], "momentum": sgd["momentum"]},
        "batch_norm": {"momentum": 1 - torch.nn.BatchNorm2d(1).momentum, "epsilon": torch.nn.BatchNorm2d(1).eps},
    } == own.DEFAULTS  # fmt: skip
    outside, after = (
        torch.optim.RMSprop([parameter], lr=0.1, alpha=0.9, eps=0.5),
        torch.optim.Adam([parameter], lr=0.1, betas=(0.9, 0.99), eps=0.5),
    )
    for optimizer, moved in ((outside, 0.1 * 2 / (0.4**0.5 + 0.5)), (after, 0.1 * 2 / (2 + 0.5))):
        before, parameter.grad = parameter.item(), torch.full((1,), 2.0, dtype=torch.float64)
        optimizer.step()
        assert before - parameter.item() == pytest.approx(moved, rel=1e-12)
    norm = torch.nn.BatchNorm1d(1, momentum=0.5)
    norm(torch.tensor([[1.0], [3.0]]))
    assert norm.running_var.item() == 0.5 + 0.5 * 2  # the biased variance is 1
    ones = torch.ones(1, 1, 4, 4)
    assert torch.nn.AvgPool2d(3, 1, padding=1)(ones)[0, 0, 0, 0].item() == pytest.approx(4 / 9)
    half = torch.nn.AvgPool2d(3, 2, ceil_mode=True, count_include_pad=True)(ones)
    assert half[0, 0, 1, 1].item() == 1  # what ceil_mode adds is not counted
    with pytest.raises(ValueError, match="padding='same' is not supported for strided"):
        torch.nn.Conv2d(1, 1, 3, 2, padding="same")
    assert torch.nn.Embedding(1000, 100).weight.std().item() == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize("name", SPECS)
def test_the_gate_proves_bfloat16(on_cpu: Runner, name: str) -> None:
    """Weights, statistics, sums and losses in float32, what products take and layers hand on in bfloat16."""
    found = examine(SPECS[name], on_cpu, on_cpu.modes[0], precision="bfloat16")
    assert found.verdict is Verdict.IDENTICAL, found.divergence


@pytest.mark.parametrize("mode", ["eager", "quickstart", pytest.param("compile", marks=compiles)])
def test_the_gate_proves_bfloat16_in_every_mode(on_cpu: Runner, mode: str) -> None:
    found = examine(SPECS["usual"], on_cpu, mode, precision="bfloat16")
    assert found.verdict is Verdict.IDENTICAL, found.divergence


@pytest.mark.parametrize("mode", ["eager", pytest.param("compile", marks=compiles)])
def test_the_gate_sees_what_computes_in_more_than_was_asked(on_cpu: Runner, mode: str) -> None:
    found = examine(SPECS["early"], OtherPrecision(on_cpu, "float32"), mode, precision="bfloat16")
    assert found.divergence is not None
    assert found.divergence.tensor == "as coarse as asked"


def test_a_processor_has_no_tf32(on_cpu: Runner) -> None:
    with pytest.raises(Unsupported, match="tf32"):
        on_cpu.build(contract.FEW[0][1], on_cpu.modes[0], "tf32")


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_a_pass_over_memory_copies_all_of_an_array_into_one_that_is_there(kind: Any) -> None:
    over = memory_passes("torch", "cpu", kind, 1 << 10)
    assert over is not None
    with torch.profiler.profile(profile_memory=True, record_shapes=True) as seen:
        over(3)
    copies = [event for event in seen.events() if event.name == "aten::copy_"]
    assert [event.input_shapes[:2] for event in copies] == [[[1 << 10], [1 << 10]]] * 3
    assert sum(event.self_cpu_memory_usage for event in seen.events()) == 0, "a new array would be paid for as well"
