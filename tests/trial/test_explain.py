"""The process that profiles: the very calls that are timed elsewhere, warm, and of as many steps as told."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import TypeAdapter

from suite.errors import Unsupported
from suite.results.attribution import Attribution, Kind
from suite.results.questions import QuestionKind
from suite.run.explain import Asked, result, trace
from suite.runners import base
from suite.runners.base import Event, Traced
from suite.runners.reference.runner import Program
from suite.trial import explain
from tests.support import runs


@pytest.fixture
def lasting(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What calls under the profiler last, one after the other; half of each is a matrix product."""
    times = [500, 300, 900, 400, 600]
    left = cycle(times)

    def profiled(call: Callable[[], object], path: Path) -> Traced:
        call()
        lasted = next(left)
        path.write_text(json.dumps({"traceEvents": [], "lasted": lasted}))
        return Traced([Event("MatMul", 0, lasted // 2, "main")], 0, lasted)

    monkeypatch.setattr(explain, "end_with_parent", lambda: None)
    double = SimpleNamespace(blind="nothing", prepared=nullcontext, profiled=profiled)
    monkeypatch.setattr(base, "profiler", lambda token: double)
    return times


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What is asked of the reference: the call, and examples or the batch size."""
    asked: list[tuple[str, int]] = []

    def watched(name: str, size: Callable[..., int]) -> None:
        real = getattr(Program, name)

        def call(self: Any, *arguments: Any) -> Any:
            asked.append((name, size(*arguments)))
            return real(self, *arguments)

        monkeypatch.setattr(Program, name, call)

    watched("train", len)
    watched("predict", lambda split, size: size)
    return asked


def explained(folder: Path, question: str = "training", size: int = 0, steps: int = 2) -> Attribution:
    runs.make(folder)
    explain.main(folder, "reference", "numpy", Asked("tiny", QuestionKind(question), size, steps))
    return TypeAdapter(Attribution).validate_json(result(folder, "reference", "numpy").read_bytes())


def test_the_shortest_of_the_profiled_calls_is_told_and_its_trace_is_kept(
    tmp_path: Path, lasting: list[int], counted: list[tuple[str, int]]
) -> None:
    found = explained(tmp_path)
    assert found.wall_ns == min(lasting) == 300
    assert found.kinds == {Kind.PRODUCT: 150, Kind.IDLE: 150}
    assert json.loads(trace(tmp_path, "reference", "numpy").read_text())["lasted"] == 300
    assert [path.name for path in tmp_path.glob("*.new")] == []
    assert (found.steps, found.batch_size, len(found.bare_ns)) == (2, 64, explain.CALLS)
    assert set(counted) == {("train", 128)}
    assert len(counted) > 2 * explain.CALLS  # it was warm before


def test_where_nobody_says_how_many_steps_they_are_few(tmp_path: Path, lasting: list[int]) -> None:
    assert explain.LEAST_STEPS <= explained(tmp_path, steps=0).steps <= explain.MOST_STEPS


def test_a_pass_is_as_many_batches_as_the_test_split_has(
    tmp_path: Path, lasting: list[int], counted: list[tuple[str, int]]
) -> None:
    found = explained(tmp_path, "throughput", 100)
    assert (found.steps, found.batch_size) == (4, 100)
    assert set(counted) == {("predict", 100)}


def test_queries_are_as_many_as_asked_for(tmp_path: Path, lasting: list[int]) -> None:
    found = explained(tmp_path, "latency", 3, 7)
    assert (found.steps, found.batch_size) == (7, 3)


def test_more_images_than_there_are_cannot_be_asked_for(tmp_path: Path, lasting: list[int]) -> None:
    runs.make(tmp_path)
    with pytest.raises(Unsupported, match="fewer than 1000 images"):
        explain.explained(tmp_path, "reference", "numpy", Asked("tiny", QuestionKind.LATENCY, 1000, 1))
