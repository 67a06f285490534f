"""On a GPU: the gate over real benchmarks and in every mode, what it must catch there, and what only a GPU has."""

import subprocess
import sys
from functools import cache
from typing import Any

import numpy as np
import pytest

from suite.data import datasets
from suite.errors import MachineError
from suite.machine.environment import ROOT
from suite.meters import nvml
from suite.results.identity import Verdict
from suite.run import plan
from suite.runners import base
from suite.runners.base import Precision, Runner
from suite.spec.resolved import Spec
from tests.faults.catalogue import FAULTS, OtherPrecision
from tests.faults.plant import layers
from tests.faults.run import examine, try_fault
from tests.faults.specs import SPECS
from tests.support import contract
from tests.support.frameworks import of_each_framework, of_each_mode

pytestmark = [pytest.mark.cuda, pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores")]
AMPERE = 8
"""The major compute capability from which on a GPU has TF32."""
TRANSPOSED = next(fault for fault in FAULTS if fault.name == "kernel transposed")


@cache
def on_gpu(token: str) -> Runner:
    try:
        return base.find(token)("cuda", contract.THREADS, contract.SEED)
    except MachineError as error:
        pytest.skip(error.what)


@cache
def benchmark(name: str) -> Spec:
    (found,) = plan.choose((name,), ROOT / "benchmarks" / "specs", datasets.describe)
    return found


@of_each_mode
@pytest.mark.parametrize("name", ["digits-mlp", "digits-cnn"])
def test_the_gate_proves_a_benchmark(token: str, mode: str, name: str) -> None:
    found = examine(benchmark(name), on_gpu(token), mode)
    assert found.verdict is Verdict.IDENTICAL, found.divergence


def with_tf32(token: str) -> Runner:
    """Skips on a GPU without TF32, and where nobody states how to find out."""
    stated = pytest.importorskip(f"tests.faults.in_{token}", reason=f"no faults of {token}'s own are stated")
    if not hasattr(stated, "capability"):
        pytest.skip(f"{token} states no compute capability")
    runner = on_gpu(token)
    if stated.capability() < AMPERE:
        pytest.skip("this GPU has no TF32")
    return runner


def wide() -> Spec:
    def wider(layer: Any) -> Any:
        return layer.model_copy(update={"units": 512}) if layer.layer == "dense" and layer.units > 10 else layer

    return layers(SPECS["mlp"], wider)


@of_each_mode
@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
@pytest.mark.parametrize("name", ["digits-mlp", "digits-cnn"])
def test_the_gate_proves_a_benchmark_in_a_low_precision(token: str, mode: str, name: str, precision: Precision) -> None:
    found = examine(benchmark(name), with_tf32(token), mode, precision=precision)
    assert found.verdict is Verdict.IDENTICAL, found.divergence


@of_each_mode
@pytest.mark.parametrize(("asked", "given"), [("float32", "tf32"), ("tf32", "float32"), ("bfloat16", "float32")])
def test_the_gate_catches_another_precision(token: str, mode: str, asked: Precision, given: Precision) -> None:
    found = examine(wide(), OtherPrecision(with_tf32(token), given), mode, precision=asked)
    assert found.verdict is Verdict.UNPROVEN
    assert found.divergence is not None
    assert found.divergence.section.startswith(asked), "float64 is the same in both"


@of_each_mode
def test_the_gate_catches_a_transposed_kernel(token: str, mode: str) -> None:
    outcome = try_fault(TRANSPOSED, on_gpu(token), mode)
    assert outcome.right, outcome


@of_each_mode
def test_asked_for_determinism_two_processes_end_with_the_same_bits(token: str, mode: str) -> None:
    on_gpu(token)
    contract.check_determinism(token, "cuda", mode)


@of_each_framework
def test_its_gpu_is_one_that_nvml_shows(token: str) -> None:
    uuid = on_gpu(token).gpu()
    assert isinstance(nvml.choose(nvml.gpus(), uuid, None), int), uuid


@pytest.mark.torch
def test_the_driver_names_the_gpu_that_torch_computes_on() -> None:
    uuid = on_gpu("torch").gpu()
    import torch

    assert str(uuid).endswith(str(torch.cuda.get_device_properties(0).uuid))


@of_each_framework
def test_switches_that_decide_numbers_are_stated(token: str) -> None:
    settings = on_gpu(token).settings()
    assert (settings["tf32"], settings["deterministic"], settings["cudnn_autotune"]) == ("off", "off", "on")


@of_each_framework
def test_the_allocators_peak_is_that_since_it_was_last_asked(token: str) -> None:
    runner = on_gpu(token)
    runner.allocator_peak()
    spec = dict(contract.SPECS)["steps-sgd"]  # a dense layer alone: cuDNN takes no batch norm of so many
    program = runner.build(spec, base.modes(token)[0], "float32")
    program.load(contract.start(spec))
    images = np.zeros((100_000, *contract.SHAPE), np.float32)
    program.infer(images)
    assert runner.allocator_peak() >= images.nbytes
    again = runner.allocator_peak()
    assert again is None or again < images.nbytes, "what cannot be told is no peak of before"


@of_each_framework
def test_an_answer_stays_what_it_was_when_the_next_query_comes(token: str) -> None:
    of = contract.SPECS[0][1]
    program = on_gpu(token).build(of, base.modes(token)[0], "float32")
    program.load(contract.start(of))
    images, _ = contract.data(of, "float32")
    first = program.infer(images[:8])
    kept = first.copy()
    second = program.infer(images[8:16])
    np.testing.assert_array_equal(first, kept)
    assert np.any(second != kept)
    np.testing.assert_array_equal(program.infer(images[:8]), kept)


@of_each_framework
def test_the_doctor_finds_that_it_computes(token: str) -> None:
    uuid = on_gpu(token).gpu()
    command = [sys.executable, "-m", "suite.machine.doctor", token, "cuda"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert str(uuid) in done.stdout
