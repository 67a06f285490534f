"""Nothing of the suite but the runner's own step loop runs while the clock does."""

from collections.abc import Mapping
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
    return frames.strangers(seen, *own)


def test_only_the_null_runner_runs_while_it_is_timed(tiny: Spec) -> None:
    assert not strangers(null.Runner("cpu", THREADS, 0), tiny, "null", "runners/null/")


def test_only_the_reference_runs_while_it_is_timed(tiny: Spec) -> None:
    own = (
        "runners/reference/",
        "spec/layers.py",
        "spec/tensors.py",
        "spec/tasks/task.py",
    )  # it reads the layers anew at every step
    own += ("spec/semantics.py",)  # and once, when it is built, what its variants mean
    assert not strangers(reference.Runner("cpu", THREADS, 0), tiny, "numpy", *own)


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


def test_a_runner_that_calls_back_into_the_suite_is_found_out(tiny: Spec) -> None:
    found = strangers(WordyRunner("cpu", THREADS, 0), tiny, "null", "runners/null/")
    assert found == {"train": {"trial/measure.py"}, "infer": {"metrics/loss.py"}}


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


every_device = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])


def framework(token: str, device: base.Device) -> Runner:
    try:
        return base.find(token)(device, THREADS, 0)
    except MachineError as error:
        pytest.skip(error.what)


@of_each_quick_mode
@every_device
def test_only_the_frameworks_runner_runs_while_it_is_timed(
    tiny: Spec, token: str, mode: str, device: base.Device
) -> None:
    runner = framework(token, device)
    assert not strangers(runner, tiny, mode, f"runners/{token}/")
