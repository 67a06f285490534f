"""The tf runner against the contract that every framework's runner keeps."""

import os
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("suite.runners.tf.runner", reason="needs the tf environment")

from suite.errors import MachineError, Unsupported  # noqa: E402
from suite.gate.tolerance import bound  # noqa: E402
from suite.inputs import initial  # noqa: E402
from suite.results.identity import Verdict  # noqa: E402
from suite.runners.base import InferenceOption, State  # noqa: E402
from suite.runners.reference import runner as reference  # noqa: E402
from suite.runners.tf import memory, network, quickstart  # noqa: E402
from suite.runners.tf.core import onednn  # noqa: E402
from suite.runners.tf.network import Network  # noqa: E402
from suite.runners.tf.options import lite  # noqa: E402
from suite.spec.resolved import Spec  # noqa: E402
from tests.faults.catalogue import OtherPrecision  # noqa: E402
from tests.faults.run import examine  # noqa: E402
from tests.faults.specs import SPECS  # noqa: E402
from tests.support import contract  # noqa: E402 - it needs no framework, but is of use only with one

pytestmark = pytest.mark.tf
MODES = tf.Runner.modes
ALL, FEW = dict(contract.SPECS), dict(contract.FEW)
WHOLE = {name: of for name, of in ALL.items() if not name.startswith(("conv-", "max_pool-", "average_pool-"))}


def cases(under_xla: dict[str, Spec]) -> pytest.MarkDecorator:
    """Every spec in most modes, ``under_xla`` alone in xla: a program compiles for seconds there.

    A few in the quickstart, whose pass and whose step are the graph's.
    """
    fewer = {"xla": under_xla, "quickstart": FEW}
    chosen = [(mode, name) for mode in MODES for name in fewer.get(mode, ALL)]
    return pytest.mark.parametrize(("mode", "name"), chosen, ids=["-".join(case) for case in chosen])


NARROW = {**contract.FACTS.model_dump(mode="json"), "classes": 2}
TANH = {"layer": "tanh"}
every_mode = pytest.mark.parametrize("mode", MODES)
tunable_mode = pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "quickstart"])


def willing(tuning: InferenceOption, mode: str) -> AbstractContextManager[object]:
    """Without oneDNN, TensorFlow has no convolution in NCHW for the processor, and says so; XLA has one of its own."""
    if tuning == "channels_first" and mode != "xla" and not onednn():
        return pytest.raises(Unsupported, match=r"^TensorFlow says: [^{\[/]* only supports (the )?NHWC [^{\[/]*$")
    return nullcontext()


@pytest.fixture(scope="module", params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def runner(request: pytest.FixtureRequest) -> tf.Runner:
    try:
        made = tf.Runner(request.param, contract.THREADS, contract.SEED)
    except MachineError as error:
        pytest.skip(error.what)
    if request.param == "cuda" and not tf.tf.config.list_logical_devices("GPU"):
        pytest.skip("a runner on the processor has hidden the GPU from this process: `-m cuda` runs these alone")
    return made


@pytest.fixture(scope="module")
def on_cpu() -> tf.Runner:
    return tf.Runner("cpu", contract.THREADS, contract.SEED)


@cases(ALL)
def test_a_probe_equals_the_reference(runner: tf.Runner, name: str, mode: str) -> None:
    contract.check_probe(runner, ALL[name], mode)


@cases(WHOLE)
def test_ten_single_steps_equal_the_reference(runner: tf.Runner, name: str, mode: str) -> None:
    contract.check_steps(runner, ALL[name], mode)


@cases(FEW)
def test_an_epoch_with_a_ragged_batch_equals_the_reference(runner: tf.Runner, name: str, mode: str) -> None:
    contract.check_epoch(runner, ALL[name], mode)


@cases(FEW)
def test_every_way_to_predict_gives_the_same_outputs(runner: tf.Runner, name: str, mode: str) -> None:
    contract.check_prediction(runner, ALL[name], mode)


@cases(FEW)
def test_a_state_survives_the_round_trip(runner: tf.Runner, name: str, mode: str) -> None:
    contract.check_state(runner, ALL[name], mode)


@every_mode
def test_dropout_keeps_scales_and_restarts(runner: tf.Runner, mode: str) -> None:
    contract.check_dropout(runner, mode)


@every_mode
def test_in_float32_an_epoch_of_fused_operations_stays_near_the_reference(runner: tf.Runner, mode: str) -> None:
    """Batch normalisation is another operation than in float64; Adam's powers of beta must not lose their digits."""
    of = FEW["perceptron"]
    made = [
        runner.build(of, mode, "float32"),
        reference.Runner("cpu", contract.THREADS, 0).build(of, "numpy", "float64"),
    ]
    for program, precision in zip(made, ("float32", "float64"), strict=True):
        program.stage("train", *contract.data(of, precision))
        program.load(contract.start(of))
        program.train(initial.order(contract.SEED, 0, contract.IMAGES))
    found, wanted = (program.state() for program in made)
    for name, value in wanted.weights.items():
        assert found.weights[name].dtype == np.float32
        np.testing.assert_allclose(found.weights[name], value, rtol=1e-4, atol=1e-4, err_msg=name)


@every_mode
@pytest.mark.parametrize("name", ["perceptron", "residuals"])
def test_nothing_is_traced_again_for_a_shape_seen_before(
    runner: tf.Runner, name: str, mode: str, monkeypatch: pytest.MonkeyPatch
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
    assert everything(2) == 0 if mode != "eager" else everything(2) > 0


@every_mode
def test_an_order_may_be_longer_than_the_split(runner: tf.Runner, mode: str) -> None:
    program, defined = contract.programs(runner, FEW["perceptron"], mode)
    order = np.concatenate([initial.order(seed, 0, contract.IMAGES) for seed in (1, 2)])
    assert program.train(order) == pytest.approx(defined.train(order), rel=1e-6)
    assert program.state().step == defined.state().step == 6


@every_mode
def test_what_was_given_may_be_written_over_afterwards(runner: tf.Runner, mode: str) -> None:
    """Arrays that lie as TensorFlow's own do could be taken over as they are."""
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
def test_a_model_without_tensors_answers(runner: tf.Runner, mode: str) -> None:
    of = contract.spec([{"layer": "global_average_pool"}, {"layer": "tanh"}], data=NARROW)
    program = runner.build(of, mode, "float64")
    images, _ = contract.data(FEW["perceptron"])
    program.load(State({}))
    np.testing.assert_allclose(program.infer(images), np.tanh(images.mean((1, 2))), rtol=1e-12)
    assert program.state() == State({}, {"m": {}, "v": {}})


@every_mode
def test_denormals_are_flushed(on_cpu: tf.Runner, mode: str) -> None:
    """An input of 1e-20 times a weight of 1e-20 is a denormal; times 1e20 it would be 1e-20 again."""
    of = contract.spec([{"layer": "flatten"}, {"layer": "dense", "units": 84}, {"layer": "dense", "units": 3}])
    program = on_cpu.build(of, mode, "float32")
    weights = {name: np.zeros(tensor.shape) for name, tensor in of.tensors.items()}
    weights["dense_1/kernel"], weights["dense_2/kernel"] = np.eye(84) * 1e-20, np.ones((84, 3)) * 1e20
    program.load(State(weights))
    assert not program.infer(np.full((4, *contract.SHAPE), 1e-20, np.float32)).any()
    assert program.infer(np.full((4, *contract.SHAPE), 1e-15, np.float32)).all()


def test_threads_are_as_asked_and_tf32_is_off(on_cpu: tf.Runner) -> None:
    threading = tf.tf.config.threading
    assert threading.get_intra_op_parallelism_threads() == contract.THREADS.intra
    assert threading.get_inter_op_parallelism_threads() == contract.THREADS.inter
    assert not tf.tf.config.experimental.tensor_float_32_execution_enabled()


def test_what_is_missing_is_said(on_cpu: tf.Runner) -> None:
    assert [on_cpu.missing(mode) for mode in MODES] == [None] * len(MODES)
    assert "numpy" in str(on_cpu.missing("numpy"))
    with pytest.raises(Unsupported, match="numpy"):
        on_cpu.build(FEW["perceptron"], "numpy", "float32")
    assert on_cpu.versions()["tensorflow"] == tf.tf.__version__
    assert on_cpu.versions()["onednn"] == ("on" if onednn() else "off")
    assert set(on_cpu.devices()) == {"cpu", "cuda"}


@every_mode
def test_a_layer_that_it_has_not_is_unsupported(on_cpu: tf.Runner, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(network.ACTIVATIONS, "relu")
    of = FEW["perceptron"]
    with pytest.raises(Unsupported, match="no layer 'relu'"):
        contract.check_probe(on_cpu, of, mode)


def test_keras_is_never_imported() -> None:
    code = "import sys, suite.runners.tf.runner; sys.exit(any(name.split('.')[0] == 'keras' for name in sys.modules))"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


@pytest.mark.parametrize("mode", ["eager", "graph", "session"])
def test_determinism_is_taken_when_asked_for(on_cpu: tf.Runner, mode: str) -> None:
    contract.check_determinism("tf", "cpu", mode)
    threads = f"{contract.THREADS.intra} + {contract.THREADS.inter} threads"
    assert on_cpu.settings() == {
        "tf32": "off", "deterministic": "off", "layout": "NHWC", "session": f"{threads}, soft placement on",
        "quickstart": quickstart.SETTING,
    }  # fmt: skip


def test_the_quickstart_calls_a_function_for_each_batch_of_a_data_set(
    on_cpu: tf.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order that is given, whole batches first; nothing is compiled by XLA."""
    of = FEW["perceptron"]
    images, targets = contract.data(of)
    program = on_cpu.build(of, "quickstart", "float64")
    program.stage("train", images, targets)
    program.load(contract.start(of))
    order = initial.order(contract.SEED, 0, contract.IMAGES)
    seen, step = [], program._train_step
    assert step._jit_compile in (None, False)
    monkeypatch.setattr(program, "_train_step", lambda x, *rest: seen.append(x.numpy()) or step(x, *rest))
    program.train(order)
    assert [len(batch) for batch in seen] == [of.batch_size] * (len(order) // of.batch_size) + [
        len(order) % of.batch_size
    ]
    np.testing.assert_array_equal(np.concatenate(seen), images[order])
    with pytest.raises(Unsupported, match="the modes eager, graph and xla have"):
        program.infer_with("bfloat16", images)


def test_on_the_processor_there_is_no_gpu_to_tell_of(on_cpu: tf.Runner) -> None:
    assert (on_cpu.gpu(), on_cpu.allocator_peak()) == (None, None)


@pytest.mark.skipif(bool(tf.tf.config.list_physical_devices("GPU")), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_the_users_error_with_a_reason(on_cpu: tf.Runner) -> None:
    with pytest.raises(MachineError, match=on_cpu.devices()["cuda"]):
        tf.Runner("cuda", contract.THREADS, contract.SEED)


@tunable_mode
def test_a_batch_norm_between_convolution_and_tanh_is_not_fused_with_them(on_cpu: tf.Runner, mode: str) -> None:
    """TensorFlow would, and then refuse to compute it."""
    chain = [contract.conv(use_bias=False), {"layer": "batch_norm"}, {"layer": "dropout", "rate": 0.5}, TANH]
    of = contract.spec(
        [*chain, {"layer": "residual", "body": chain}, *contract.HEAD], frozen=["conv2d_1", "batch_norm_1"]
    )
    images, targets = contract.data(of, "float32")
    program = on_cpu.build(of, mode, "float32")
    expected = reference.Runner("cpu", contract.THREADS, 0).build(of, "numpy", "float64")
    for each in (program, expected):
        each.load(contract.start(of))
    wanted = expected.infer(images.astype(np.float64))
    np.testing.assert_allclose(program.infer(images), wanted, atol=1e-5)
    np.testing.assert_allclose(program.probe(images, targets).outputs, wanted, atol=1e-5)
    for tuning in ("channels_first", "bfloat16"):
        with willing(tuning, mode):
            np.testing.assert_allclose(program.infer_with(tuning, images)(images), wanted, atol=0.05)


def wide(**fields: object) -> dict[str, object]:
    return contract.conv(3, use_bias=False) | {"filters": 16} | fields


TUNED = contract.spec(
    [
        wide(padding=1),
        {"layer": "batch_norm"},
        {"layer": "relu"},
        wide(stride=2, use_bias=True),
        contract.pool("max_pool", 3, 2, 1),
        contract.pool("average_pool", 2, 1, [1, 0]),
        {"layer": "softmax"},
        {"layer": "residual", "body": [contract.conv(1) | {"filters": 16}], "shortcut": []},
        {"layer": "flatten"},
        {"layer": "dense", "units": 3},
    ]
)
LAYOUT = bound(None, "float32") if os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "1" else 1e-6
"""By a layout; where oneDNN is forced upon a processor that TensorFlow spares it, by the gate's floor of rounding."""
CHANGES = {
    "channels_last": LAYOUT,
    "channels_first": LAYOUT,
    "bfloat16": 0.05,
    "int8_dynamic": 0.05,
    "int8_static": 0.1,
}
"""How far, at most, each tuning may move outputs, relative to the largest."""


@pytest.mark.parametrize("tuning", CHANGES)
@tunable_mode
def test_a_tuning_answers_nearly_as_the_program_does(on_cpu: tf.Runner, tuning: InferenceOption, mode: str) -> None:
    """In float32, for batches of several sizes, over the weights that were held; a narrower type does change it."""
    images, _ = contract.data(TUNED, "float32")
    program = on_cpu.build(TUNED, mode, "float32")
    program.load(contract.start(TUNED))
    plain = program.infer(images)
    with willing(tuning, mode):
        query = program.infer_with(tuning, images)
        program.load(State({name: np.zeros(tensor.shape) for name, tensor in TUNED.tensors.items()}))
        for size in (1, contract.IMAGES, 2):
            found = query(images[:size])
            assert found.dtype == np.float32
            change = np.abs(found - plain[:size]).max() / np.abs(plain).max()
            assert change <= CHANGES[tuning]
            assert change > 1e-5 or tuning.startswith("channels")


@tunable_mode
def test_channels_first_is_what_convolutions_are_given(
    on_cpu: tf.Runner, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, convolve = [], tf.tf.nn.conv2d
    images, _ = contract.data(TUNED, "float32")
    program = on_cpu.build(TUNED, mode, "float32")
    program.load(contract.start(TUNED))
    monkeypatch.setattr(tf.tf.nn, "conv2d", lambda x, *rest: seen.append((x.shape[1], rest[-1])) or convolve(x, *rest))
    with willing("channels_first", mode):
        program.infer_with("channels_first", images)
    whole = [(2, "NCHW"), (16, "NCHW"), (16, "NCHW")]
    assert seen == whole[: 1 if mode == "eager" and not onednn() else None]


@pytest.mark.skipif(sys.platform != "linux", reason="TensorFlow has oneDNN to choose on Linux")
def test_tunings_are_the_same_with_and_without_onednn() -> None:
    """A process decides once, so another tests what this one does not have."""
    other = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0" if onednn() else "1"}
    chosen = "tuning_answers or channels_first or not_fused"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", __file__, "-q", "-p", "no:cacheprovider", "-k", chosen, "-m", "not cuda"],
        capture_output=True, text=True, check=False, env=other,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    asked = "from suite.runners.tf.core import onednn; print(onednn())"
    said = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, env=other)
    assert said.stdout.strip() == str(not onednn())


@tunable_mode
def test_words_are_tuned_too(on_cpu: tf.Runner, mode: str) -> None:
    spec = next(of for of in ALL.values() if of.input_dtype == "tokens" and len(of.graph) > 1)
    tokens, _ = contract.data(spec, "float32")
    program = on_cpu.build(spec, mode, "float32")
    program.load(contract.start(spec))
    plain = program.infer(tokens)
    for tuning in ("bfloat16", "int8_dynamic", "int8_static"):
        np.testing.assert_allclose(program.infer_with(tuning, tokens)(tokens), plain, atol=0.05 * np.abs(plain).max())
    with pytest.raises(Unsupported, match="no convolution"):
        program.infer_with("channels_first", tokens)


@tunable_mode
def test_what_tensorflow_refuses_is_unsupported_with_its_reason(
    on_cpu: tf.Runner, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason is the first line that is one."""
    real = tf.tf.nn.conv2d

    def refusing(*arguments: object) -> object:
        if arguments[-1] == "NCHW":
            raise tf.tf.errors.UnimplementedError(None, None, "only NHWC on the CPU\nand more")
        return real(*arguments)

    images, _ = contract.data(TUNED, "float32")
    program = on_cpu.build(TUNED, mode, "float32")
    program.load(contract.start(TUNED))
    monkeypatch.setattr(tf.tf.nn, "conv2d", refusing)
    with pytest.raises(Unsupported, match=r"only NHWC on the CPU$"):
        program.infer_with("channels_first", images)


def test_lite_stays_on_the_processor() -> None:
    with pytest.raises(Unsupported, match="processor"):
        lite(TUNED, {}, "int8_static", np.zeros(1), cuda=True)


def test_what_is_said_of_tensorflows_own_api_is_so(on_cpu: tf.Runner) -> None:
    """RMSprop's and Adam's epsilon, pooling's padding, what max pooling takes: ``_tf_own`` tells them without it."""
    flow, real = tf.tf, np.float64
    weight, square, momentum = (flow.Variable([value], dtype=real) for value in (1.0, 0.0, 0.0))
    given = {"lr": real(0.1), "epsilon": real(0.5), "grad": flow.constant([2.0], real), "var": weight.handle}
    flow.raw_ops.ResourceApplyRMSProp(ms=square.handle, mom=momentum.handle, rho=real(0.9), momentum=real(0), **given)
    assert 1 - float(weight[0]) == pytest.approx(0.1 * 2 / (0.4 + 0.5) ** 0.5)
    weight.assign([1.0])
    first, second = (flow.Variable([0.0], dtype=real) for _ in range(2))
    flow.raw_ops.ResourceApplyAdam(
        m=first.handle, v=second.handle, beta1_power=real(0.9), beta2_power=real(0.99), beta1=real(0.9),
        beta2=real(0.99), **given,
    )  # fmt: skip
    assert 1 - float(weight[0]) == pytest.approx(0.1 * (0.01**0.5 / 0.1) * 0.2 / (0.04**0.5 + 0.5))
    ones = flow.ones((1, 4, 4, 1))
    assert float(flow.nn.avg_pool2d(ones, 3, 1, "SAME")[0, 0, 0, 0]) == 1
    with pytest.raises(TypeError):
        flow.nn.avg_pool2d(ones, 3, 1, [[0, 0], [1, 1], [1, 1], [0, 0]])
    assert flow.nn.max_pool2d(ones, 3, 1, [[0, 0], [1, 1], [1, 1], [0, 0]]).shape == (1, 4, 4, 1)
    fused = flow.raw_ops.FusedBatchNormV3(
        x=np.float32([1, 3]).reshape(2, 1, 1, 1), scale=[1.0], offset=[0.0], mean=[], variance=[], is_training=True
    )
    assert float(fused.batch_variance[0]) == 2  # the biased variance is 1


KERAS = """
import inspect, numpy as np, keras
from suite.runners.tf.own import DEFAULTS
classes = {"adam": keras.optimizers.Adam, "rmsprop": keras.optimizers.RMSprop, "sgd": keras.optimizers.SGD}
classes["batch_norm"] = keras.layers.BatchNormalization
for name, held in DEFAULTS.items():
    given = inspect.signature(classes[name].__init__).parameters
    assert {field: given[field].default for field in held} == held, name
weight = keras.Variable(np.ones(1, "float32"))
keras.optimizers.RMSprop(0.1, epsilon=0.5).apply([np.float32([2])], [weight])
np.testing.assert_allclose(1 - np.array(weight), 0.1 * 2 / (0.1 * 4 + 0.5) ** 0.5, rtol=1e-5)
weight.assign(np.ones(1))
keras.optimizers.Adam(0.1, 0.9, 0.99, epsilon=0.5).apply([np.float32([2])], [weight])
np.testing.assert_allclose(1 - np.array(weight), 0.1 * (0.01**0.5 / 0.1) * 0.2 / (0.04**0.5 + 0.5), rtol=1e-4)
weight.assign(np.ones(1))
keras.optimizers.SGD(0.1, weight_decay=0.5).apply([np.float32([0])], [weight])
np.testing.assert_allclose(np.array(weight), 1 - 0.1 * 0.5, rtol=1e-6)
norm = keras.layers.BatchNormalization(momentum=0.5)
norm(np.float32([[1], [3]]), training=True)
np.testing.assert_allclose(np.array(norm.moving_variance), [0.5 + 0.5 * 1], rtol=1e-6)
pooled = keras.layers.AveragePooling2D(3, 1, "same")(np.ones((1, 4, 4, 1), "float32"))
assert float(pooled[0, 0, 0, 0]) == 1
"""


def test_what_is_said_of_keras_is_so() -> None:
    """In a process of its own, for here Keras stays out."""
    pytest.importorskip("keras")
    done = subprocess.run(
        [sys.executable, "-c", KERAS], cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("name", SPECS)
def test_the_gate_proves_bfloat16(on_cpu: tf.Runner, name: str) -> None:
    """Weights, statistics, sums and losses in float32, what products take and layers hand on in bfloat16."""
    found = examine(SPECS[name], on_cpu, on_cpu.modes[1], precision="bfloat16")
    assert found.verdict is Verdict.IDENTICAL, found.divergence


@pytest.mark.parametrize("mode", MODES)
def test_the_gate_proves_bfloat16_in_every_mode(on_cpu: tf.Runner, mode: str) -> None:
    found = examine(SPECS["usual"], on_cpu, mode, precision="bfloat16")
    assert found.verdict is Verdict.IDENTICAL, found.divergence


@pytest.mark.parametrize("mode", MODES)
def test_the_gate_sees_what_computes_in_more_than_was_asked(on_cpu: tf.Runner, mode: str) -> None:
    found = examine(SPECS["early"], OtherPrecision(on_cpu, "float32"), mode, precision="bfloat16")
    assert found.divergence is not None
    assert found.divergence.tensor == "as coarse as asked"


def test_a_processor_has_no_tf32(on_cpu: tf.Runner) -> None:
    with pytest.raises(Unsupported, match="tf32"):
        on_cpu.build(contract.FEW[0][1], on_cpu.modes[0], "tf32")


class Refusing:
    """A program whose compiler has something to say."""

    def __init__(self, words: str) -> None:
        self._words = words

    def probe(self, *_: object) -> None:
        raise tf.tf.errors.UnimplementedError(None, None, self._words)


@pytest.mark.parametrize(("name", "spec"), contract.FEW, ids=contract.ids(contract.FEW))
def test_what_determinism_is_asked_about_is_what_a_program_takes(on_cpu: tf.Runner, name: str, spec: Spec) -> None:
    program = on_cpu.build(spec, "eager", "float32")
    program.load(contract.start(spec))
    tf.refuse_without_determinism(program, spec)


def test_what_xla_cannot_do_twice_alike_is_unsupported_with_its_words() -> None:
    spec = contract.SPECS[0][1]
    with pytest.raises(Unsupported, match="no deterministic implementation"):
        tf.refuse_without_determinism(Refusing("select has no deterministic implementation\nmore"), spec)
    with pytest.raises(tf.tf.errors.UnimplementedError):
        tf.refuse_without_determinism(Refusing("out of memory"), spec)


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_a_pass_over_memory_takes_all_of_an_array_as_often_as_asked(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, str]] = []

    def noted(values: Any) -> Any:
        def note(array: Any) -> Any:
            seen.append((array.size, array.dtype.name))
            return -array

        found = memory.tf.numpy_function(note, [values], values.dtype)
        found.set_shape(values.shape)
        return found

    monkeypatch.setattr(memory.tf, "negative", noted)
    over = memory.passes("cpu", kind, 1 << 10)  # type: ignore[arg-type]
    over(3)
    over(2)
    assert seen == [(1 << 10, kind)] * 5
