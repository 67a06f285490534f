"""One trial: every cell ends as a result, whatever happens in it or beside it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite.data import datasets
from suite.errors import MachineError, RunError, Unsupported
from suite.inputs import examples
from suite.machine import environment
from suite.machine.environment import ROOT
from suite.meters import gpu
from suite.results import records
from suite.results.environment import Gpu
from suite.results.gpu_trace import Metered, Unmetered
from suite.results.identity import Verdict
from suite.results.records import Cause, Failed, InferenceOptions, Measured, Proof, Tuned
from suite.run.plan import STOPPED, Entry, Plan
from suite.runners import base
from suite.runners.null import runner as null
from suite.runners.reference import runner as reference
from suite.spec.loading import load
from suite.spec.resolved import Spec
from suite.trial import __main__, options
from tests.support import nvml, runs

needs_compiler = pytest.mark.skipif(nvml.COMPILER is None, reason="the double of NVML needs a C compiler")

TWO = runs.SPEC.replace("model: {mlp: {hidden: [8]}}\n", "") + (
    "cases:\n  first: {model: {mlp: {hidden: [8]}}}\n  second: {model: {mlp: {hidden: [9]}}}\n"
)
Outcome = Measured | Proof | InferenceOptions | Failed


def entry_of(made: Plan, runner: str, round_: int) -> Entry:
    return next(entry for entry in made.entries if (entry.runner, entry.round) == (runner, round_))


def outcomes(folder: Path, made: Plan, entry: Entry) -> dict[str, Outcome]:
    """What a trial left, read back from its files, by the case of the cell."""
    __main__.main(folder, entry.id)
    left = {cell.spec.partition("/")[2]: records.read(folder / "results" / entry.file(cell)) for cell in entry.cells}
    assert len(list((folder / "results").iterdir())) == len(entry.cells)
    return left


@pytest.fixture
def with_runner(monkeypatch: pytest.MonkeyPatch) -> Callable[[type[Any]], None]:
    """Let every token stand for one class of runner."""
    return lambda runner: monkeypatch.setattr(base, "find", lambda token: runner)


def test_a_measured_cell_says_what_ran_where(tmp_path: Path) -> None:
    made = runs.make(tmp_path)
    entry = entry_of(made, "reference", 2)
    (found,) = outcomes(tmp_path, made, entry).values()
    assert isinstance(found, Measured)
    assert (found.run, found.entry, found.cell, found.spec) == (made.id, entry.id, entry.cells[0], made.specs[0])
    assert found.cell.seed == 1
    assert found.environment.libraries["numpy"] == np.__version__
    assert (found.environment.threads_intra, found.environment.threads_inter) == (1, 1)
    assert found.environment.denormals == "kept"
    assert found.environment.after.load_1min is not None
    assert found.digests.spec == made.specs[0].digest
    assert found.import_ns > 0
    assert found.seconds > 0


@pytest.mark.parametrize(("device", "denormals"), [("cpu", "flushed"), ("cuda", None)])
def test_what_becomes_of_a_frameworks_denormals_is_known_on_the_processor_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, denormals: str | None
) -> None:
    monkeypatch.setattr(environment, "lock_digest", lambda token: "sha256:" + "0" * 64)
    made = runs.make(tmp_path, device=device, gpu_meter=False)
    (found,) = outcomes(tmp_path, made, entry_of(made, "reference", 0)).values()
    assert found.environment
    assert found.environment.denormals == denormals


def test_a_proof_of_the_reference_against_itself_is_identical(tmp_path: Path) -> None:
    made = runs.make(tmp_path)
    (found,) = outcomes(tmp_path, made, entry_of(made, "reference", 0)).values()
    assert isinstance(found, Proof)
    assert found.identity.verdict is Verdict.IDENTICAL
    assert found.identity.compared > 0


class Choosy(null.Runner):
    """Raises what ``fault`` makes for the spec's first case."""

    fault: Callable[[], Exception]

    def build(self, spec: Spec, mode: str, precision: base.Precision) -> null.Program:
        if spec.case == "first":
            raise type(self).fault()
        return null.Program(spec, precision)


class ResourceExhaustedError(Exception):
    """As frameworks name it."""


@pytest.mark.parametrize(
    ("error", "cause", "reason"),
    [
        (Unsupported("no layer 'swirl'", where="swirl_1"), Cause.UNSUPPORTED, "swirl_1: no layer 'swirl'"),
        (MemoryError("of 3 TiB"), Cause.OUT_OF_MEMORY, "MemoryError: of 3 TiB"),
        (ResourceExhaustedError("OOM"), Cause.OUT_OF_MEMORY, "ResourceExhaustedError: OOM"),
        (ValueError("no such thing"), Cause.CRASHED, "ValueError: no such thing"),
        (ValueError("x" * 100_000), Cause.CRASHED, "ValueError: " + "x" * (2000 - 12)),
    ],
)
@pytest.mark.parametrize("round_", [0, 2])
def test_an_error_in_one_cell_is_a_result_and_the_others_go_on(
    tmp_path: Path,
    with_runner: Callable[[type[Any]], None],
    error: Exception,
    cause: Cause,
    reason: str,
    round_: int,
) -> None:
    with_runner(type("Faulty", (Choosy,), {"fault": staticmethod(lambda: error)}))
    made = runs.make(tmp_path, spec=TWO, runners={"null": ("null",)})
    left = outcomes(tmp_path, made, entry_of(made, "null", round_))
    assert isinstance(left["first"], Failed)
    assert (left["first"].cause, left["first"].reason) == (cause, reason)
    assert left["first"].environment is not None
    assert isinstance(left["second"], Measured if round_ else Proof)


def test_a_mode_that_is_missing_here_is_unsupported_with_the_runners_reason(
    tmp_path: Path, with_runner: Callable[[type[Any]], None]
) -> None:
    class Compilerless(null.Runner):
        def missing(self, mode: str) -> str | None:
            return "no C++ compiler"

        def build(self, spec: Spec, mode: str, precision: base.Precision) -> null.Program:
            raise AssertionError("built all the same")

    with_runner(Compilerless)
    made = runs.make(tmp_path, runners={"null": ("null",)})
    (found,) = outcomes(tmp_path, made, entry_of(made, "null", 1)).values()
    assert isinstance(found, Failed)
    assert (found.cause, found.reason) == (Cause.UNSUPPORTED, "no C++ compiler")


def test_what_cannot_be_recorded_is_a_failure_of_its_cell_alone(
    tmp_path: Path, with_runner: Callable[[type[Any]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runner that breaks its contract must not take the other cells with it."""
    digests = __main__.measure.digests

    def broken(spec: Spec, *more: Any) -> Any:
        return "no digests" if spec.case == "first" else digests(spec, *more)

    monkeypatch.setattr(__main__.measure, "digests", broken)
    made = runs.make(tmp_path, spec=TWO, runners={"null": ("null",)})
    left = outcomes(tmp_path, made, entry_of(made, "null", 2))
    assert isinstance(left["first"], Failed)
    assert left["first"].cause is Cause.CRASHED
    assert isinstance(left["second"], Measured)


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_a_training_that_diverges_is_measured_with_null_for_its_loss(tmp_path: Path) -> None:
    wild = runs.SPEC.replace("0.1}", "1e30}").replace("epochs: 2", "epochs: 1")
    made = runs.make(tmp_path, spec=wild)
    (found,) = outcomes(tmp_path, made, entry_of(made, "reference", 1)).values()
    assert isinstance(found, Measured)
    assert found.training is not None
    assert found.training.epochs[0].train_loss is None
    assert found.training.test.loss is None
    assert found.training.test.accuracy is None


def test_the_reference_in_a_proof_knows_the_variants_asked_for(
    tmp_path: Path, with_runner: Callable[[type[Any]], None]
) -> None:
    class Variant(reference.Runner):
        variants = frozenset({"adam_epsilon_before_correction"})

        def __init__(self, device: base.Device, threads: base.Threads, seed: int, **switches: object) -> None:
            super().__init__(device, threads, seed, variants=self.variants)

    with_runner(Variant)
    made = runs.make(tmp_path, spec=runs.SPEC.replace("{name: sgd, learning_rate: 0.1}", "{name: adam}"))
    (found,) = outcomes(tmp_path, made, entry_of(made, "reference", 0)).values()
    assert isinstance(found, Proof)
    assert found.identity.verdict is Verdict.VARIANT
    assert found.identity.variant_shift


def test_a_runner_that_cannot_start_ends_its_trial_alone(tmp_path: Path) -> None:
    """The status of a crash, so that the parent records it and the run goes on; the log has the sentence."""
    made = runs.make(tmp_path, runners={"nothing": ("null",)})
    entry = entry_of(made, "nothing", 1)
    command = [sys.executable, "-m", "suite.trial", str(tmp_path), entry.id]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode not in (0, STOPPED)
    assert "there is no runner 'nothing'" in done.stderr
    assert "Traceback" not in done.stderr


def test_turns_are_no_trial(tmp_path: Path) -> None:
    made = runs.make(tmp_path)
    entry = next(entry for entry in made.entries if entry.kind == "turns")
    command = [sys.executable, "-m", "suite.trial", str(tmp_path), entry.id]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == STOPPED
    assert "turns are no trial" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_trial_whose_parent_is_gone_does_nothing(tmp_path: Path) -> None:
    """It was killed before this one could ask the system to tell it so."""
    made = runs.make(tmp_path)
    command = [sys.executable, "-m", "suite.trial", str(tmp_path), entry_of(made, "reference", 1).id]
    variables = {**os.environ, "PARITY_PARENT": "1"}
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "whoever started this is gone" in done.stderr
    assert not (tmp_path / "results").exists()


def test_a_plan_that_is_none_stops_the_run(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("{}")
    command = [sys.executable, "-m", "suite.trial", str(tmp_path), "r01-00-null"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == STOPPED
    assert "Traceback" not in done.stderr


def test_a_result_that_cannot_be_written_ends_the_trial(tmp_path: Path) -> None:
    made = runs.make(tmp_path)
    (tmp_path / "results").write_text("in the way")
    with pytest.raises(RunError):
        __main__.main(tmp_path, entry_of(made, "reference", 1).id)


def test_causes_are_told_apart() -> None:
    assert __main__.cause(MachineError("no GPU")) is Cause.CRASHED
    assert __main__.reason_of(MachineError("no GPU", way_out="Buy one.")) == "no GPU\n  Buy one."


def run_beside_a_gpu(folder: Path, script: str, **changes: object) -> tuple[Plan, list[Outcome]]:
    """A proof and the measurements of a run, each in a process that meets the double of NVML."""
    made = runs.make(folder, **changes)
    played = nvml.environment(nvml.build(folder / "nvml"), nvml.script(folder / "script", script))
    for entry in (entry_of(made, "reference", 0), entry_of(made, "reference", 1)):
        command = [sys.executable, "-m", "suite.trial", str(folder), entry.id]
        environment = {key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"} | played
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return made, [records.read(path) for path in sorted((folder / "results").iterdir())]


@needs_compiler
def test_a_metered_cell_brings_its_trace_and_a_proof_takes_none(tmp_path: Path) -> None:
    _, (proof, found) = run_beside_a_gpu(tmp_path, nvml.ONE, gpu_meter=True, throughput_seconds=1.0)
    assert isinstance(proof, Proof)
    assert isinstance(found, Measured)
    assert isinstance(found.gpu, Metered)
    assert found.gpu.uuid == nvml.UUID
    assert [span.kind for span in found.gpu.spans] == ["idle", "training", "latency", "throughput"]
    idle, training, latency, throughput = found.gpu.spans
    assert (training.batch_size, training.images) == (64, 1437)
    assert (latency.batch_size, latency.images) == (1, 3)
    assert throughput.batch_size == 256
    assert throughput.images == 360 * len(found.throughput[0].samples_ns)
    assert idle.end_ns - idle.begin_ns >= found.gpu.period_ns
    for span, timed in ((training, found.training.epochs[0].seconds_ns if found.training else 0),
                        (latency, sum(found.latency[0].samples_ns)),
                        (throughput, sum(found.throughput[0].samples_ns))):  # fmt: skip
        assert span.end_ns - span.begin_ns >= timed > 0
    assert sum(idle.begin_ns <= at <= idle.end_ns for at in found.gpu.at_ns) >= 3
    assert sum(throughput.begin_ns <= at <= throughput.end_ns for at in found.gpu.at_ns) >= 2
    assert found.memory.device_bytes == 0
    assert found.memory.allocator_bytes is None


@needs_compiler
def test_a_gpu_beside_a_cell_of_the_processor_is_told_and_is_no_part_of_the_machine(tmp_path: Path) -> None:
    _, (proof, found) = run_beside_a_gpu(tmp_path, nvml.ONE, gpu_meter=True)
    for outcome in (proof, found):
        assert outcome.environment is not None
        assert outcome.environment.gpus == (Gpu(name="Double A", uuid=nvml.UUID, memory_bytes=80_000_000_000),)
        assert outcome.environment.driver == "575.51"
        assert outcome.environment.machine == environment.machine()


@needs_compiler
def test_on_a_gpu_the_machine_is_another(tmp_path: Path) -> None:
    """The reference computes on the processor only: it says so, and the record is that of a machine with a GPU."""
    _, (proof, found) = run_beside_a_gpu(tmp_path, nvml.ONE, device="cuda")
    gpu = Gpu(name="Double A", uuid=nvml.UUID, memory_bytes=80_000_000_000)
    for outcome in (proof, found):
        assert isinstance(outcome, Failed)
        assert outcome.environment is not None
        assert outcome.environment.machine == environment.machine((gpu,)) != environment.machine()


@needs_compiler
def test_a_gpu_that_cannot_be_metered_leaves_the_numbers_and_the_reason(tmp_path: Path) -> None:
    _, (_, found) = run_beside_a_gpu(tmp_path, nvml.ONE + "0 * fail nvmlInitWithFlags 4\n", gpu_meter=True)
    assert isinstance(found, Measured)
    assert found.gpu == Unmetered(reason="NVML: Insufficient Permissions")
    assert found.memory.device_bytes is None
    assert (found.environment.gpus, found.environment.driver) == ((), None)
    assert found.training is not None


@pytest.mark.parametrize(
    ("device", "asked", "expected"),
    [("cpu", None, False), ("cuda", None, True), ("cpu", True, True), ("cuda", False, False)],
)
def test_a_gpu_is_metered_where_one_computes_unless_the_profile_says_otherwise(
    device: str, asked: bool | None, expected: bool
) -> None:
    assert runs.profile(device=device, gpu_meter=asked).metered is expected


def test_the_framework_is_not_there_while_the_gpu_idles(
    tmp_path: Path, with_runner: Callable[[type[Any]], None]
) -> None:
    """The order of a trial: idle samples, then the framework, then its GPU, then the cell."""
    happened: list[object] = []

    class Meter(gpu.Meter):
        def idle(self) -> None:
            happened.append("idle")

        def aim(self, uuid: str | None) -> None:
            happened.append(uuid)

        def begin(self) -> None:
            happened.append("begin")

        def trace(self) -> None:
            happened.append("trace")

    class Gpu(null.Runner):
        def __init__(self, *arguments: Any, **switches: Any) -> None:
            happened.append("framework")
            super().__init__(*arguments, **switches)

        def gpu(self) -> str:
            return "GPU-x"

        def settings(self) -> dict[str, str]:
            return {"tf32": "off"}

        def allocator_peak(self) -> int:
            happened.append("peak")
            return 12 * happened.count("peak")

    with_runner(Gpu)
    made = runs.make(tmp_path, runners={"null": ("null",)})
    entry = entry_of(made, "null", 1)
    __main__.Trial(tmp_path, made, entry, Meter()).run()
    found = records.read(tmp_path / "results" / entry.file(entry.cells[0]))
    assert happened == ["idle", "framework", "GPU-x", "begin", "peak", "trace", "peak"]
    assert isinstance(found, Measured)
    assert found.memory.allocator_bytes == 24
    assert found.environment.settings == {"tf32": "off"}


TO_ITSELF = "target: input\nloss: mean_squared_error\n"
TUNED = ("batch:8", "mode:numpy", "int8_dynamic")


def test_tuned_inference_runs_over_the_weights_that_the_donor_trained(tmp_path: Path) -> None:
    made = runs.make(tmp_path, rounds=1, tunings=TUNED)
    measuring = entry_of(made, "reference", 1)
    tuning = next(entry for entry in made.entries if entry.kind == "tune")
    (taken,) = outcomes(tmp_path, made, measuring).values()
    assert isinstance(taken, Measured)
    __main__.main(tmp_path, tuning.id)
    found = records.read(tmp_path / "results" / tuning.file(tuning.cells[0]))
    assert isinstance(found, InferenceOptions)
    assert found.weights == taken.training.weights if taken.training else False
    assert found.digests == taken.digests
    ways = {way.tuning: way for way in found.tunings}
    assert list(ways) == ["none", "batch:8", "int8_dynamic", "again"]
    assert [len(ways[name].samples_ns) for name in ("none", "batch:8")] == [3, 3]
    assert ways["none"].accuracy == (taken.training.test.accuracy if taken.training else None)
    assert ways["none"].images == 360
    assert ways["int8_dynamic"].reason


def test_static_quantisation_learns_from_training_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray] = []

    def watched(work: Any, state: Any, asked: options.Asked) -> tuple[Tuned, ...]:
        seen.extend((asked.inputs, asked.calibration))
        return options.tune(work, state, asked)

    monkeypatch.setattr(__main__, "tune", watched)
    made = runs.make(tmp_path, rounds=1, tunings=TUNED)
    __main__.main(tmp_path, next(entry for entry in made.entries if entry.kind == "tune").id)
    asked, learnt = seen
    train, test = (examples.of(made.specs[0], 0).split(name).images for name in ("train", "test"))
    assert np.array_equal(asked, test)
    assert np.array_equal(learnt, train[: options.CALIBRATION])


def test_without_a_donors_weights_tuned_inference_takes_the_initial_ones(tmp_path: Path) -> None:
    made = runs.make(tmp_path, rounds=1, tunings=TUNED)
    tuning = next(entry for entry in made.entries if entry.kind == "tune")
    __main__.main(tmp_path, tuning.id)
    found = records.read(tmp_path / "results" / tuning.file(tuning.cells[0]))
    assert isinstance(found, InferenceOptions)
    assert found.weights == found.digests.weights


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_inference_over_weights_that_diverged_is_not_tuned(tmp_path: Path) -> None:
    """Neither is it measured over untrained ones in their stead."""
    made = runs.make(tmp_path, spec=runs.SPEC.replace("0.1}", "1.0e+30}"), rounds=1, tunings=TUNED)
    __main__.main(tmp_path, entry_of(made, "reference", 1).id)
    tuning = next(entry for entry in made.entries if entry.kind == "tune")
    __main__.main(tmp_path, tuning.id)
    found = records.read(tmp_path / "results" / tuning.file(tuning.cells[0]))
    assert isinstance(found, Failed)
    assert found.cause is Cause.DIVERGED
    assert "diverged in epoch 1" in found.reason


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_a_training_that_diverges_says_so_in_the_trials_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = runs.make(tmp_path, spec=runs.SPEC.replace("0.1}", "1.0e+30}"), rounds=1)
    (found,) = outcomes(tmp_path, made, entry_of(made, "reference", 1)).values()
    assert isinstance(found, Measured), "it is an outcome, no failure"
    assert found.complete
    assert (
        "tiny numpy, seed 0: diverged in epoch 1: training loss not finite; training ended" in capsys.readouterr().out
    )


def test_answers_are_compared_over_as_many_images_as_are_cheap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = runs.make(tmp_path).specs[0]
    images, labels = __main__.option_examples(spec, 0)
    assert (len(images), len(labels if labels is not None else ())) == (360, 360)
    monkeypatch.setattr(__main__, "OPTION_LEAST", 7)
    monkeypatch.setattr(__main__, "OPTION_FLOPS", 20.5 * spec.flops)
    assert len(__main__.option_examples(spec, 0)[0]) == 20
    monkeypatch.setattr(__main__, "OPTION_OUTPUTS", 110)
    assert len(__main__.option_examples(spec, 0)[0]) == 11
    monkeypatch.setattr(__main__, "OPTION_OUTPUTS", 10)
    assert len(__main__.option_examples(spec, 0)[0]) == 7
    path = tmp_path / "whole.yaml"
    path.write_text(runs.SPEC.replace("{mlp: {hidden: [8]}}", "[{layer: relu}]") + TO_ITSELF)
    assert __main__.option_examples(load(path, datasets.describe)[0], 0)[1] is None
