"""What each framework's own profiler says of a small network's step: every mode, on the processor."""

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite.results.attribution import Kind
from suite.runners import base
from suite.trial.attribution import Divided, divided
from suite.trial.measure import start
from tests.support import contract
from tests.support.frameworks import of_each_mode, of_each_quick_mode

STEPS = 4
CONVOLUTIONAL: list[dict[str, Any]] = [
    {"layer": "conv2d", "filters": 8, "kernel": 3, "use_bias": False}, {"layer": "batch_norm"}, {"layer": "relu"},
    {"layer": "flatten"}, {"layer": "dense", "units": 10},
]  # fmt: skip
WORK = {Kind.PRODUCT, Kind.CONVOLUTION, Kind.NORMALISATION}


def profiled(token: str, mode: str, spec: Any, trace: Path, device: Any = "cpu") -> Divided:
    profiler = base.profiler(token)
    if profiler is None:
        pytest.skip(f"no profiler is known for {token}")
    runner = base.find(token)(device, contract.THREADS, 0)  # a framework takes its threads once per process
    if reason := runner.missing(mode):
        pytest.skip(reason)
    program = runner.build(spec, mode, "float32")
    draw = np.random.default_rng(0)
    images = draw.random((spec.batch_size * STEPS, *spec.input_shape), np.float32)
    program.stage("train", images, draw.integers(0, 10, len(images), np.int32))
    program.load(start(spec, 0))
    order = np.arange(len(images), dtype=np.int32)
    with profiler.prepared():
        program.train(order)
    return divided(profiler.profiled(lambda: program.train(order), trace))


@pytest.mark.filterwarnings("ignore")  # those of compilers
@of_each_mode
def test_a_step_is_divided_among_the_work_that_is_in_it(token, mode, make_spec, tmp_path):
    found = profiled(token, mode, make_spec(model=CONVOLUTIONAL), tmp_path / "trace.json")
    assert sum(found.kinds.values()) == pytest.approx(found.wall_ns)
    assert {kind for kind in WORK if not found.kinds.get(kind)} == set(), found.operations
    assert found.kinds.get(Kind.OTHER, 0) < found.wall_ns / 10, found.operations
    products = [each for each in found.operations if each.kind is Kind.PRODUCT]
    assert max(each.calls for each in products) >= STEPS


@pytest.mark.cuda
@of_each_quick_mode
def test_on_a_gpu_its_kernels_are_divided(token, mode, make_spec, tmp_path):
    found = profiled(token, mode, make_spec(model=CONVOLUTIONAL), tmp_path / "trace.json", "cuda")
    assert found.on_device
    assert sum(found.kinds.values()) == pytest.approx(found.wall_ns)
    assert {kind for kind in WORK if not found.kinds.get(kind)} == set(), found.operations


@of_each_quick_mode
def test_without_convolutions_there_are_none(token, mode, make_spec, tmp_path):
    found = profiled(token, mode, make_spec(), tmp_path / "trace.json")
    assert found.kinds[Kind.PRODUCT] > 0
    assert found.kinds[Kind.OPTIMIZER] > 0
    assert not found.kinds.get(Kind.CONVOLUTION)


@of_each_quick_mode
def test_the_trace_is_one_that_viewers_open(token, mode, make_spec, tmp_path):
    profiled(token, mode, make_spec(), tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    spans = [event for event in events if event["ph"] == "X"]
    assert spans
    assert all({"name", "pid", "tid", "ts", "dur"} <= set(event) for event in spans)


def test_who_has_no_profiler_says_so():
    assert base.profiler("null") is None
    assert base.profiler("reference") is None


CALL = {"ph": "X", "cat": "user_annotation", "name": "profiled call", "pid": 1, "tid": 1, "ts": 0.0, "dur": 100.0}


def span(cat: str, name: str, ts: float, dur: float, tid: int = 1) -> dict[str, Any]:
    return {"ph": "X", "cat": cat, "name": name, "pid": 1, "tid": tid, "ts": ts, "dur": dur}


@pytest.mark.torch
def test_torch_tells_the_optimizers_work_from_the_rest_and_ranges_from_operations():
    profile = importlib.import_module("suite.runners.torch.profile")
    found = divided(
        profile.read(
            [
                CALL, {"ph": "M", "name": "process_name", "pid": 1, "args": {}},
                span("user_annotation", "Optimizer.step#RMSprop.step", 50, 20), span("cpu_op", "aten::mul_", 55, 10),
                span("cpu_op", "autograd::engine::evaluate_function: AddmmBackward0", 0, 40),
                span("cpu_op", "AddmmBackward0", 1, 38), span("cpu_op", "aten::mm", 2, 20),
                span("cpu_op", "graph_0_cpp_fused__native_batch_norm_legit_relu_3", 80, 5),
            ]
        )
    )  # fmt: skip
    assert found.kinds == {
        Kind.OPTIMIZER: 10_000, Kind.PRODUCT: 20_000, Kind.NORMALISATION: 5_000, Kind.IDLE: 65_000,
    }  # fmt: skip
    assert found.fused_ns == 5_000
    assert "fused kernel 3: native_batch_norm_legit_relu" in [each.name for each in found.operations]


@pytest.mark.torch
def test_torch_on_a_gpu_is_its_kernels():
    profile = importlib.import_module("suite.runners.torch.profile")
    kernels = [
        span("kernel", "ampere_sgemm_128x64_tn", 10, 30, 7), span("gpu_memcpy", "Memcpy HtoD", 50, 10, 7),
        span("kernel", "triton_poi_fused_relu_0", 60, 5, 7), span("gpu_user_annotation", "profiled call", 0, 100, 7),
    ]  # fmt: skip
    found = divided(profile.read([CALL, span("cpu_op", "aten::conv2d", 0, 90), *kernels]))
    assert found.on_device
    assert found.kinds == {
        Kind.PRODUCT: 30_000, Kind.COPY: 10_000, Kind.ELEMENTWISE: 5_000, Kind.IDLE: 55_000,
    }  # fmt: skip


@pytest.mark.tf
def test_tf_tells_operations_of_graphs_of_xla_and_of_python_from_what_is_around_them():
    profile = importlib.import_module("suite.runners.tf.profile")

    def at(name: str, start: int, lasting: int, **stats: str) -> Any:
        return profile.Span(name, start, lasting, stats)

    xla = {"hlo_module": "step"}
    host = [
        at("profiled call", 0, 1000), at("EagerLocalExecute: MatMul", 0, 90), at("KernelAndDeviceFunc::Run", 10, 50),
        at("EagerLocalExecute: __inference_step_1", 100, 800), at("KernelAndDeviceFunc::Run", 110, 780),
        at("__inference_step_1:__inference_step_1", 120, 700),
    ]  # fmt: skip
    executor = [
        at("ExecutorState::Process", 130, 700), at("while/body/_1/while/Conv2D_1:Conv2D", 200, 100),
        at("while.3", 300, 300, hlo_op="while.3", **xla), at("fusion.1", 310, 60, hlo_op="fusion.1", **xla),
        at("end: fusion.1", 370, 5, hlo_op="fusion.1", **xla), at("dot.2", 400, 40, hlo_op="dot.2", **xla),
    ]  # fmt: skip
    compiled = {
        ("step", "while.3"): profile.Instruction("while", (), False),
        ("step", "fusion.1"): profile.Instruction("fusion", ("ResourceApplyAdam", "GatherV2"), True),
        ("step", "dot.2"): profile.Instruction("dot", (), False),
        ("other", "fusion.1"): profile.Instruction("fusion", ("MaxPool",), True),
    }
    found = divided(profile.read([("/host:CPU", "python", host), ("/host:CPU", "executor", executor)], compiled))
    assert found.kinds == {Kind.PRODUCT: 90, Kind.CONVOLUTION: 100, Kind.OPTIMIZER: 60, Kind.IDLE: 750}
    assert {each.name for each in found.operations} == {
        "MatMul", "Conv2D_1", "fusion.1 (ResourceApplyAdam, GatherV2)", "dot.2",
    }  # fmt: skip
    assert found.fused_ns == 60
    kernel = at("sgemm", 100, 200, tf_op="while/MatMul:MatMul")
    on_gpu = divided(profile.read([("/host:CPU", "python", host), ("/device:GPU:0", "Stream #1", [kernel])], {}))
    assert (on_gpu.on_device, on_gpu.kinds) == (True, {Kind.PRODUCT: 200, Kind.IDLE: 800})
