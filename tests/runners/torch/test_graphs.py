"""Steps, passes and queries as they are recorded in CUDA graphs, on a processor.

A tape stands for the graph: it keeps each operation with the very tensors that it was given, and runs them again.  So
what reads a tensor that is no longer the program's, or a number of another step, shows here as on a GPU.  That CUDA can
record each operation is left to tests/test_cuda.py.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

from suite.errors import Unsupported  # noqa: E402
from suite.results.identity import Verdict  # noqa: E402
from suite.runners.torch import graphs, runner  # noqa: E402
from suite.runners.torch.runner import Runner  # noqa: E402
from suite.spec.resolved import Spec  # noqa: E402
from tests.faults.run import examine  # noqa: E402
from tests.faults.specs import SPECS  # noqa: E402
from tests.support import contract  # noqa: E402 - it and the runner need the framework

pytestmark = pytest.mark.torch
NAMED = dict(contract.SPECS)
DENSE, STEPS = NAMED["perceptron"], NAMED["steps-sgd"]
RECORDED = ("perceptron", "rmsprop", "sampled", "boxes", "frozen-l2-steps", "other-way")


class Tape(TorchDispatchMode):  # type: ignore[misc]
    """Operations as they run, with their tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, function: Any, types: Any, given: Any = (), options: Any = None) -> Any:
        found = function(*given, **(options or {}))
        self.operations.append((function, given, options or {}, found))
        return found

    def replay(self) -> None:
        """Each operation again, its answers where they were the first time."""
        with torch.no_grad():
            for function, given, options, found in self.operations:
                again = function(*given, **options)
                for old, new in zip(tree_leaves(found), tree_leaves(again), strict=True):
                    if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                        old.copy_(new)


def taped(function: Callable[[], object], _pool: Any) -> Callable[[], None]:
    for _ in range(graphs.WARMING):
        function()
    with Tape() as tape:
        function()
    return tape.replay


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> Runner:
    monkeypatch.setattr(graphs, "record", taped)
    monkeypatch.setattr(graphs, "new_pool", lambda: None)
    monkeypatch.setattr(runner, "NO_GRAPHS", None)
    return Runner("cpu", contract.THREADS, contract.SEED)


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_it_is_still_the_same(recording: Runner, name: str) -> None:
    spec = NAMED[name]
    contract.check_probe(recording, spec, "graphs")
    contract.check_steps(recording, spec, "graphs", steps=3)
    contract.check_epoch(recording, spec, "graphs")
    contract.check_prediction(recording, spec, "graphs")
    contract.check_state(recording, spec, "graphs")


def test_recorded_dropout_keeps_the_right_share_at_the_right_scale(recording: Runner) -> None:
    contract.check_dropout(recording, "graphs")


def test_the_gate_proves_what_is_recorded(recording: Runner) -> None:
    found = examine(SPECS["cnn"], recording, "graphs")
    assert found.verdict is Verdict.IDENTICAL, found.divergence


def program(of: Runner, spec: Spec, mode: str = "graphs") -> Any:
    built = of.build(spec, mode, "float32")
    for split in ("train", "test"):
        built.stage(split, *contract.data(spec, "float32"))
    built.load(contract.start(spec))
    return built


def test_many_steps_are_launched_several_at_a_time_and_the_ragged_one_alone(recording: Runner) -> None:
    built, size = program(recording, STEPS), STEPS.batch_size
    places = list(built._launches(31 * size - 1, [0.1] * 31))
    assert [steps for _, steps, *_ in places] == [10, 10, 10, 1]
    assert [first for first, *_ in places] == [0, 10 * size, 20 * size, 30 * size]
    assert places[-1][2] == size - 1
    changing = [0.1] * 5 + [0.01] * 26
    assert [steps for _, steps, *_ in built._launches(31 * size, changing)] == [1] * 5 + [10, 10] + [1] * 6


@pytest.mark.parametrize("spec", [DENSE, STEPS], ids=["one rate", "rates"])
def test_long_orders_end_where_eager_steps_end(recording: Runner, spec: Spec) -> None:
    order = np.resize(np.arange(contract.IMAGES, dtype=np.int32), 25 * spec.batch_size + 3)
    ends = []
    for mode in ("eager", "graphs"):
        built = program(recording, spec, mode)
        loss = built.train(order)
        built.load(contract.start(spec))  # recorded by now: launched alone
        assert built.train(order) == pytest.approx(loss, rel=1e-5)
        ends.append(built.state())
    assert ends[0].step == ends[1].step == 26
    for name, value in ends[0].weights.items():
        np.testing.assert_allclose(ends[1].weights[name], value, rtol=2e-4, atol=2e-5, err_msg=name)


def test_another_split_of_the_same_shape_is_read(recording: Runner) -> None:
    built = program(recording, DENSE)
    images, targets = contract.data(DENSE, "float32")
    first = built.predict("test", 8)
    order = np.arange(8, dtype=np.int32)
    loss = built.train(order)
    built.load(contract.start(DENSE))
    for split in ("test", "train"):
        built.stage(split, images[::-1].copy(), targets[::-1].copy())
    np.testing.assert_allclose(built.predict("test", 8), first[::-1], rtol=1e-5, atol=1e-6)
    assert built.train(order) != loss


def test_an_answer_stays_what_it_was_when_the_next_query_comes(recording: Runner) -> None:
    built = program(recording, DENSE)
    images, _ = contract.data(DENSE, "float32")
    first = built.infer(images[:4])
    kept = first.copy()
    assert np.any(built.infer(images[4:8]) != kept)
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(built.infer(images[:4]), kept)


def test_a_number_that_changes_with_each_step_is_unsupported(recording: Runner) -> None:
    with pytest.raises(Unsupported, match="epsilon"):
        recording.build(NAMED["other-way-adam-l2-steps"], "graphs", "float32")


def test_more_rates_than_are_worth_recording_are_unsupported(
    recording: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "MOST_RATES", 1)
    built = program(recording, STEPS)
    with pytest.raises(Unsupported, match="more than 1"):
        built.train(np.resize(np.arange(8, dtype=np.int32), 40 * STEPS.batch_size))


def test_options_of_inference_are_unsupported(recording: Runner) -> None:
    built = program(recording, DENSE)
    with pytest.raises(Unsupported, match="eager and compile"):
        built.infer_with("bfloat16", contract.data(DENSE, "float32")[0])


def test_without_a_gpu_it_is_unsupported_with_the_reason() -> None:
    with pytest.raises(Unsupported, match="CUDA graphs need a GPU"):
        Runner("cpu", contract.THREADS, contract.SEED).build(DENSE, "graphs", "float32")
