"""What each framework's own profiler says of a small network's step: every mode, on the processor."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite.results.attribution import Kind
from suite.runners import base
from suite.trial.attribution import Divided, divided
from suite.trial.measure import start
from tests.support.frameworks import of_each_mode, of_each_quick_mode

STEPS = 4
CONVOLUTIONAL: list[dict[str, Any]] = [
    {"layer": "conv2d", "filters": 8, "kernel": 3, "use_bias": False}, {"layer": "batch_norm"}, {"layer": "relu"},
    {"layer": "flatten"}, {"layer": "dense", "units": 10},
]  # fmt: skip
WORK = {Kind.PRODUCT, Kind.CONVOLUTION, Kind.NORMALISATION}


def profiled(token: str, mode: str, spec: Any, trace: Path) -> Divided:
    profiler = base.profiler(token)
    if profiler is None:
        pytest.skip(f"no profiler is known for {token}")
    runner = base.find(token)("cpu", base.Threads(intra=1), 0)
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
