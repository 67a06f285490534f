"""The jax runner against the contract that every framework's runner keeps."""

import os
import subprocess
import sys

import numpy as np
import pytest

jax = pytest.importorskip("suite.runners.jax.runner", reason="needs the jax environment")

from suite.errors import MachineError, Unsupported  # noqa: E402
from suite.inputs import initial  # noqa: E402
from suite.machine.environment import ROOT  # noqa: E402
from suite.results.identity import Verdict  # noqa: E402
from suite.runners.base import InferenceOption, Precision, State  # noqa: E402
from suite.runners.jax import network  # noqa: E402
from suite.runners.jax.learner import Learner  # noqa: E402
from suite.runners.jax.network import Network  # noqa: E402
from suite.runners.reference import runner as reference  # noqa: E402
from suite.spec.resolved import Spec  # noqa: E402
from tests.faults.catalogue import OtherPrecision  # noqa: E402
from tests.faults.run import examine  # noqa: E402
from tests.faults.specs import SPECS  # noqa: E402
from tests.support import contract  # noqa: E402 - it needs no framework, but is of use only with one

pytestmark = pytest.mark.jax
MODES = jax.Runner.modes
ALL, FEW = dict(contract.SPECS), dict(contract.FEW)
WHOLE = {name: of for name, of in ALL.items() if not name.startswith(("conv-", "max_pool-", "average_pool-"))}
JITTED = ("residuals", "rmsprop", "sampled", "boxes", "frozen-l2-steps", "other-way-adam-l2-steps")
"""All kinds of layers, losses and optimizers."""
WINDOWS = [name for name in ALL if name not in WHOLE]
THIRD = {name: ALL[name] for i, name in enumerate(WINDOWS) if name.startswith("conv-") or i % 3 == 0}
"""Each way that a convolution pads, and each that one kind of pooling pads."""
NARROW = {**contract.FACTS.model_dump(mode="json"), "classes": 2}
every_mode = pytest.mark.parametrize("mode", MODES)


def cases(op_by_op: dict[str, Spec]) -> pytest.MarkDecorator:
    """``op_by_op`` in eager mode, where specs share what is compiled, and some in jit, where each compiles anew."""
    chosen = [(mode, name) for mode in MODES for name in (op_by_op if mode == "eager" else JITTED)]
    return pytest.mark.parametrize(("mode", "name"), chosen, ids=["-".join(case) for case in chosen])


class Kept:
    """A runner whose programs are built once, for each compiles anew; a check loads and stages what it needs."""

    def __init__(self, runner: jax.Runner) -> None:
        self._runner, self._built = runner, {}

    def build(self, of: Spec, mode: str, precision: Precision) -> jax.Program:
        key = of.digest, mode, precision
        if key not in self._built:
            self._built[key] = self._runner.build(of, mode, precision)
        return self._built[key]


@pytest.fixture(scope="module", params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def runner(request: pytest.FixtureRequest) -> jax.Runner:
    try:
        return jax.Runner(request.param, contract.THREADS, contract.SEED)
    except MachineError as error:
        pytest.skip(f"{error.what}: `-m cuda` runs these alone")


@pytest.fixture(scope="module")
def on_cpu() -> jax.Runner:
    return jax.Runner("cpu", contract.THREADS, contract.SEED)


@pytest.fixture(scope="module")
def kept(runner: jax.Runner) -> Kept:
    return Kept(runner)


@cases(WHOLE | THIRD)
def test_a_probe_equals_the_reference(kept: Kept, name: str, mode: str) -> None:
    contract.check_probe(kept, ALL[name], mode)


@cases(WHOLE)
def test_ten_single_steps_equal_the_reference(kept: Kept, name: str, mode: str) -> None:
    contract.check_steps(kept, ALL[name], mode)


@cases(FEW)
def test_an_epoch_with_a_ragged_batch_equals_the_reference(kept: Kept, name: str, mode: str) -> None:
    contract.check_epoch(kept, ALL[name], mode)


@cases(FEW)
def test_every_way_to_predict_gives_the_same_outputs(kept: Kept, name: str, mode: str) -> None:
    contract.check_prediction(kept, ALL[name], mode)


@cases(FEW)
def test_a_state_survives_the_round_trip(kept: Kept, name: str, mode: str) -> None:
    contract.check_state(kept, ALL[name], mode)


@every_mode
def test_dropout_keeps_scales_and_restarts(runner: jax.Runner, mode: str) -> None:
    contract.check_dropout(runner, mode)


@every_mode
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_is_held_is_float32_throughout(runner: jax.Runner, precision: Precision, mode: str) -> None:
    """JAX knows float64 in this process, so that one number of NumPy's would widen all that it meets."""
    of = FEW["other-way-adam-l2-steps"]
    program = runner.build(of, mode, precision)
    images, targets = contract.data(of, "float32")
    program.stage("train", images, targets)
    program.load(contract.start(of))
    program.train(initial.order(contract.SEED, 0, contract.IMAGES))
    seen, held = program.probe(images[:8], targets[:8]), program.state()
    told = [seen.training_outputs, seen.outputs, program.infer(images), program.predict("train", 8)]
    told += [*seen.gradients.values(), *seen.statistics.values(), *held.weights.values()]
    told += [value for slot in held.slots.values() for value in slot.values()]
    assert {value.dtype for value in told} == {np.dtype(np.float32)}


@pytest.mark.parametrize("name", FEW)
def test_no_step_in_float32_computes_anything_in_float64(on_cpu: jax.Runner, name: str) -> None:
    of = FEW[name]
    program = on_cpu.build(of, "jit", "float32")
    images, targets = contract.data(of, "float32")
    program.load(contract.start(of))
    learner = Learner(of, "float32", 0)
    given = program._held, images, targets, np.arange(8, dtype=np.int32)
    rates = learner.rates(0, 1)[:, 0]
    assert "f64[" not in str(jax.jax.make_jaxpr(learner.step)(*given, rates, np.int32(0)))
    assert "f64[" in str(jax.jax.make_jaxpr(learner.step)(*given, rates.astype(np.float64), np.int32(0)))


@every_mode
@pytest.mark.parametrize("name", ["perceptron", "residuals"])
def test_nothing_is_traced_again_for_a_shape_seen_before(
    runner: jax.Runner, name: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []
    run = Network._run
    monkeypatch.setattr(Network, "_run", lambda *args: runs.append(1) or run(*args))
    program = runner.build(ALL[name], mode, "float64")
    images, targets = contract.data(ALL[name])
    program.stage("train", images, targets)
    program.load(contract.start(ALL[name]))

    def everything(seed: int) -> int:
        before = len(runs)
        for images_trained in (21, 16, 13):  # two full batches and a ragged one, two full, one and the ragged one
            program.train(initial.order(seed, 0, contract.IMAGES)[:images_trained])
        program.predict("train", 8)
        program.infer(images[:8])
        program.probe(images[:8], targets[:8])
        return len(runs) - before

    assert everything(1) > 0
    assert everything(2) == 0 if mode == "jit" else everything(2) > 0


def test_weights_are_given_to_a_step_and_taken_back(on_cpu: jax.Runner) -> None:
    """Donated: an epoch needs no second copy of what it changes."""
    program, _ = contract.programs(on_cpu, FEW["perceptron"], "jit")
    order = initial.order(contract.SEED, 0, contract.IMAGES)
    program.train(order)
    before = program._held
    program.train(order)
    assert all(value.is_deleted() for value in jax.jax.tree.leaves(before))


@every_mode
def test_an_order_may_be_longer_than_the_split(runner: jax.Runner, mode: str) -> None:
    program, defined = contract.programs(runner, FEW["perceptron"], mode)
    order = np.concatenate([initial.order(seed, 0, contract.IMAGES) for seed in (1, 2)])
    assert program.train(order) == pytest.approx(defined.train(order), rel=1e-6)
    assert program.state().step == defined.state().step == 6


@every_mode
def test_what_was_given_may_be_written_over_afterwards(runner: jax.Runner, mode: str) -> None:
    """On a processor JAX takes arrays over as they lie where they are aligned."""
    program, defined = contract.programs(runner, FEW["perceptron"], mode)
    images, targets = (_aligned(values) for values in contract.data(FEW["perceptron"]))
    weights = {name: _aligned(value) for name, value in contract.start(FEW["perceptron"]).weights.items()}
    program.stage("train", images, targets)
    program.load(State(weights))
    for values in (images, targets, *weights.values()):
        values[:] = 0
    contract.close({"outputs": program.predict("train", 8)}, {"outputs": defined.predict("train", 8)}, "staged")
    assert program.train(np.arange(21, dtype=np.int32)) == pytest.approx(defined.train(np.arange(21, dtype=np.int32)))
    assert not images.any()
    assert not any(value.any() for value in weights.values())


def _aligned(values: np.ndarray) -> np.ndarray:
    """A copy that starts at a multiple of 64 bytes."""
    room = np.empty(values.nbytes + 64, np.uint8)
    start = -room.ctypes.data % 64
    copy = room[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    copy[...] = values
    return copy


@every_mode
def test_an_answer_stays_what_it_was(runner: jax.Runner, mode: str) -> None:
    """Whatever the next query, or the images of the last one, come to be; and a state as it was when it was told."""
    program, _ = contract.programs(runner, FEW["perceptron"], mode)
    images = _aligned(contract.data(FEW["perceptron"])[0])
    first, held = program.infer(images[:8]), program.state()
    kept, weights = first.copy(), {name: value.copy() for name, value in held.weights.items()}
    images[:] = 0
    program.train(np.arange(21, dtype=np.int32))
    assert np.any(program.infer(images[:8]) != kept)
    np.testing.assert_array_equal(first, kept)
    assert all(np.array_equal(value, held.weights[name]) for name, value in weights.items())


@every_mode
def test_a_model_without_tensors_answers(runner: jax.Runner, mode: str) -> None:
    of = contract.spec([{"layer": "global_average_pool"}, {"layer": "tanh"}], data=NARROW)
    program = runner.build(of, mode, "float64")
    images, _ = contract.data(FEW["perceptron"])
    program.load(State({}))
    np.testing.assert_allclose(program.infer(images), np.tanh(images.mean((1, 2))), rtol=1e-12)
    assert program.state() == State({}, {"m": {}, "v": {}})


@every_mode
def test_denormals_are_flushed(on_cpu: jax.Runner, mode: str) -> None:
    """An input of 1e-20 times a weight of 1e-20 is a denormal; times 1e20 it would be 1e-20 again."""
    of = contract.spec([{"layer": "flatten"}, {"layer": "dense", "units": 84}, {"layer": "dense", "units": 3}])
    program = on_cpu.build(of, mode, "float32")
    weights = {name: np.zeros(tensor.shape) for name, tensor in of.tensors.items()}
    weights["dense_1/kernel"], weights["dense_2/kernel"] = np.eye(84) * 1e-20, np.ones((84, 3)) * 1e20
    program.load(State(weights))
    assert not program.infer(np.full((4, *contract.SHAPE), 1e-20, np.float32)).any()
    assert program.infer(np.full((4, *contract.SHAPE), 1e-15, np.float32)).all()


BUSY = """
import os, sys
import numpy as np
from suite.runners.base import Threads, find
from suite.trial.peak import flops_per_second
runner = find("jax")("cpu", Threads(intra=int(sys.argv[1])), 0)
def taken():
    stats = (open(f"/proc/self/task/{task}/stat").read() for task in os.listdir("/proc/self/task"))
    return {stat.split()[0]: sum(map(int, stat.rpartition(")")[2].split()[11:13])) for stat in stats}
flops_per_second(runner, "cpu", "jit", "float32")
before = taken()
for _ in range(3):
    flops_per_second(runner, "cpu", "jit", "float32")
busy = {task: ticks - before.get(task, 0) for task, ticks in taken().items()}
print(sum(ticks > sum(busy.values()) / 20 for task, ticks in busy.items() if int(task) != os.getpid()))
print(runner.settings()["compile"])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux which threads were at work")
def test_a_product_is_computed_by_as_many_threads_as_were_asked_for() -> None:
    """One thread of XLA's client, where one was asked for; the one that asks waits."""
    done = subprocess.run([sys.executable, "-c", BUSY, "1"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["1", "XLA, 1 threads"]


def test_what_is_missing_is_said(on_cpu: jax.Runner) -> None:
    assert [on_cpu.missing(mode) for mode in MODES] == [None] * 2
    assert "numpy" in str(on_cpu.missing("numpy"))
    with pytest.raises(Unsupported, match="numpy"):
        on_cpu.build(FEW["perceptron"], "numpy", "float32")
    with pytest.raises(Unsupported, match="tf32"):
        on_cpu.build(FEW["perceptron"], "jit", "tf32")
    assert on_cpu.versions()["jax"] == jax.jax.__version__
    assert set(on_cpu.devices()) == {"cpu", "cuda"}


@every_mode
def test_a_layer_that_it_has_not_is_unsupported(on_cpu: jax.Runner, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(network.ACTIVATIONS, "relu")
    with pytest.raises(Unsupported, match="no layer 'relu'"):
        contract.check_probe(on_cpu, FEW["perceptron"], mode)


@every_mode
def test_determinism_is_taken_when_asked_for(on_cpu: jax.Runner, mode: str) -> None:
    contract.check_determinism("jax", "cpu", mode)
    threads = f"XLA, {contract.THREADS.intra} threads"
    assert on_cpu.settings() == {"tf32": "off", "deterministic": "off", "layout": "NHWC", "compile": threads}


def test_on_the_processor_there_is_no_gpu_to_tell_of(on_cpu: jax.Runner) -> None:
    assert (on_cpu.gpu(), on_cpu.allocator_peak()) == (None, None)


def test_a_gpu_that_is_not_there_is_the_users_error_with_a_reason(on_cpu: jax.Runner) -> None:
    """The process has started on the processor, so that there is none in it."""
    if "cuda" in on_cpu._client.devices:
        pytest.skip("there is a GPU in this process")
    with pytest.raises(MachineError, match=r"without CUDA|on the processor alone"):
        jax.Runner("cuda", contract.THREADS, contract.SEED)


def test_memory_is_not_taken_beforehand() -> None:
    assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"


def test_a_peak_that_has_not_risen_is_unknown(on_cpu: jax.Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """JAX has no way to forget one."""

    class Gpu:
        peaks = iter((100, 100, 300))

        def memory_stats(self) -> dict[str, int]:
            return {"peak_bytes_in_use": next(self.peaks)}

    runner = jax.Runner("cpu", contract.THREADS, 0)
    monkeypatch.setattr(runner, "_cuda", True)
    monkeypatch.setattr(runner, "_device", Gpu())
    assert [runner.allocator_peak() for _ in range(3)] == [100, None, 300]


TUNED = contract.spec(
    [
        contract.conv(3, use_bias=False) | {"filters": 16},
        {"layer": "batch_norm"},
        {"layer": "relu"},
        contract.conv(3, stride=2) | {"filters": 16},
        contract.pool("max_pool", 3, 2, 1),
        contract.pool("average_pool", 2, 1, [1, 0]),
        {"layer": "softmax"},
        {"layer": "residual", "body": [contract.conv(1) | {"filters": 16}], "shortcut": []},
        {"layer": "flatten"},
        {"layer": "dense", "units": 3},
    ]
)
AUTOENCODER = contract.spec(contract.AUTOENCODER, loss="mean_squared_error", target="input")
CHANGES = {"channels_last": 1e-6, "channels_first": 1e-6, "bfloat16": 0.05}
"""How far, at most, each option may move outputs, relative to the largest."""


@pytest.mark.parametrize("option", CHANGES)
@pytest.mark.parametrize("of", [TUNED, AUTOENCODER], ids=["logits", "images"])
@every_mode
def test_an_option_answers_nearly_as_the_program_does(
    on_cpu: jax.Runner, option: InferenceOption, of: Spec, mode: str
) -> None:
    """In float32, for batches of several sizes, over the weights that were held; a narrower type does change it."""
    images, _ = contract.data(of, "float32")
    program = on_cpu.build(of, mode, "float32")
    program.load(contract.start(of))
    plain = program.infer(images)
    query = program.infer_with(option, images)
    program.load(State({name: np.zeros(tensor.shape) for name, tensor in of.tensors.items()}))
    for size in (1, contract.IMAGES):
        found = query(images[:size])
        assert found.dtype == np.float32
        change = np.abs(found - plain[:size]).max() / np.abs(plain).max()
        assert change <= CHANGES[option]
        assert change > 1e-5 or option.startswith("channels")


def test_channels_first_is_what_convolutions_are_given(on_cpu: jax.Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, convolve = [], network.lax.conv_general_dilated

    def watched(x, *rest, **options):
        seen.append((x.shape[1:], options["dimension_numbers"][0]))
        return convolve(x, *rest, **options)

    monkeypatch.setattr(network.lax, "conv_general_dilated", watched)
    program = on_cpu.build(AUTOENCODER, "eager", "float32")
    program.load(contract.start(AUTOENCODER))
    program.infer_with("channels_first", np.zeros(0))(contract.data(AUTOENCODER, "float32")[0])
    assert seen == [((2, 7, 6), "NCHW"), ((4, 7, 6), "NCHW")]


def test_an_option_that_jax_has_not_is_unsupported_with_its_reason(on_cpu: jax.Runner) -> None:
    tokens = ALL["words"]
    program = on_cpu.build(tokens, "eager", "float32")
    program.load(contract.start(tokens))
    words, _ = contract.data(tokens, "float32")
    plain = program.infer(words)
    np.testing.assert_allclose(program.infer_with("bfloat16", words)(words), plain, atol=0.05 * np.abs(plain).max())
    with pytest.raises(Unsupported, match="no convolution"):
        program.infer_with("channels_first", words)
    for option in ("int8_dynamic", "int8_static"):
        with pytest.raises(Unsupported, match="quantises no model"):
            program.infer_with(option, words)


@pytest.mark.parametrize(("name", "mode"), [("cnn", "eager"), ("sampled", "eager"), ("usual", "jit"), ("mlp", "jit")])
def test_the_gate_proves_bfloat16(on_cpu: jax.Runner, name: str, mode: str) -> None:
    """Weights, statistics, sums and losses in float32, what products take and layers hand on in bfloat16."""
    found = examine(SPECS[name], on_cpu, mode, precision="bfloat16")
    assert found.verdict is Verdict.IDENTICAL, found.divergence


@every_mode
def test_the_gate_sees_what_computes_in_more_than_was_asked(on_cpu: jax.Runner, mode: str) -> None:
    found = examine(SPECS["early"], OtherPrecision(on_cpu, "float32"), mode, precision="bfloat16")
    assert found.divergence is not None
    assert found.divergence.tensor == "as coarse as asked"


def test_in_float32_an_epoch_stays_near_the_reference(runner: jax.Runner) -> None:
    """Adam's powers of beta must not lose their digits."""
    of = FEW["perceptron"]
    made = [
        runner.build(of, "jit", "float32"),
        reference.Runner("cpu", contract.THREADS, 0).build(of, "numpy", "float64"),
    ]
    for program, precision in zip(made, ("float32", "float64"), strict=True):
        program.stage("train", *contract.data(of, precision))
        program.load(contract.start(of))
        program.train(initial.order(contract.SEED, 0, contract.IMAGES))
    found, wanted = (program.state().weights for program in made)
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-4, err_msg=name)
