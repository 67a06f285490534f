"""Nothing of the suite but the runner's own step loop runs while the clock does."""

import gc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite.errors import MachineError
from suite.metrics import loss
from suite.runners import base
from suite.runners.base import Runner
from suite.runners.null import runner as null
from suite.runners.reference import runner as reference
from suite.spec.resolved import Spec
from suite.trial import measure
from suite.trial.agent import Seat
from tests.support import contract, frames, runs
from tests.support.frameworks import of_each_quick_mode

THREADS = contract.THREADS  # a framework takes its threads once per process


@pytest.fixture
def tiny(tmp_path: Path) -> Spec:
    return runs.make(tmp_path).specs[0]


def strangers(runner: Runner, spec: Spec, mode: str, *own: str) -> Mapping[str, set[str]]:
    measure.splits(spec)
    with frames.watched() as seen:
        measure.measure(measure.Work(runner, spec, mode, "float32", 0), runs.profile(epochs=2))
    assert "build" in seen
    return frames.strangers(seen, *own)


def strangers_in_blocks(runner: Runner, spec: Spec, mode: str, *own: str) -> Mapping[str, set[str]]:
    """The same in an agent's blocks, of which outputs are kept as well."""
    program = runner.build(spec, mode, "float32")
    held = measure.splits(spec)
    for name, split in held.items():
        program.stage(name, split.images, split.targets)
    begin = measure.start(spec, 0)
    program.load(begin)
    seat = Seat(program, begin, spec, held["test"].images, 1)
    with frames.watched() as seen:
        for question, size, examples in (("training", 0, 128), ("latency", 8, 8), ("throughput", 64, 360)):
            seat.block(question, size, 6, examples, keep=True)
    gc.unfreeze()
    return frames.strangers(seen, *own)


both = pytest.mark.parametrize("found", [strangers, strangers_in_blocks])
Strangers = Callable[..., Mapping[str, set[str]]]


@both
def test_only_the_null_runner_runs_while_it_is_timed(tiny: Spec, found: Strangers) -> None:
    assert not timed(found(null.Runner("cpu", THREADS, 0), tiny, "null", "runners/null/"))


def timed(told: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Without what says, while a program is built, in which type it holds its numbers."""
    allowed = {"spec/precision.py"}
    return {call: rest for call, files in told.items() if (rest := files - allowed if call == "build" else files)}


@both
def test_only_the_reference_runs_while_it_is_timed(tiny: Spec, found: Strangers) -> None:
    own = (
        "runners/reference/",
        "spec/layers.py",
        "spec/tensors.py",
        "spec/tasks/task.py",
    )  # it reads the layers anew at every step
    own += ("spec/semantics.py", "spec/precision.py")  # and, when it is built, what its variants and precision mean
    assert not found(reference.Runner("cpu", THREADS, 0), tiny, "numpy", *own)


class Wordy(null.Program):
    """A program that calls back into the suite while the clock runs."""

    def train(self, order: Any) -> float:
        measure.compile_cache(kept=True)
        return super().train(order)

    def infer(self, images: Any) -> Any:
        loss.finite(0.0)
        return super().infer(images)


class WordyRunner(null.Runner):
    def build(self, spec: Spec, mode: str, precision: base.Precision) -> Wordy:
        return Wordy(spec, precision)


@both
def test_a_runner_that_calls_back_into_the_suite_is_found_out(tiny: Spec, found: Strangers) -> None:
    told = found(WordyRunner("cpu", THREADS, 0), tiny, "null", "runners/null/")
    assert timed(told) == {"train": {"trial/measure.py"}, "infer": {"metrics/loss.py"}}


def test_a_timer_with_something_of_its_own_inside_is_found_out(tiny: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault is planted where it would happen: between the clock and the runner."""
    timed = measure.timed

    def checking(call: Any, *arguments: Any) -> tuple[int, Any]:
        def inner(*values: Any) -> Any:
            loss.finite(float(np.size(values[0])))
            return call(*values)

        inner.__name__ = call.__name__
        return timed(inner, *arguments)

    monkeypatch.setattr(measure, "timed", checking)
    assert {"metrics/loss.py"} in strangers(null.Runner("cpu", THREADS, 0), tiny, "null", "runners/null/").values()


def test_a_block_with_something_of_the_agents_inside_is_found_out(tiny: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it looked at the outputs before it read the clock."""
    infer = null.Program.infer

    def looking(self: null.Program, images: Any) -> Any:
        return loss.finite(0.0) or infer(self, images)

    monkeypatch.setattr(null.Program, "infer", looking)
    told = strangers_in_blocks(null.Runner("cpu", THREADS, 0), tiny, "null", "runners/null/")
    assert told == {"infer": {"metrics/loss.py"}}


every_device = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])


def framework(token: str, device: base.Device) -> Runner:
    try:
        return base.find(token)(device, THREADS, 0)
    except MachineError as error:
        pytest.skip(error.what)


@of_each_quick_mode
@every_device
@both
def test_only_the_frameworks_runner_runs_while_it_is_timed(
    tiny: Spec, token: str, mode: str, device: base.Device, found: Strangers
) -> None:
    runner = framework(token, device)
    assert not timed(found(runner, tiny, mode, f"runners/{token}/"))
