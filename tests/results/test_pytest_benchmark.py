"""What is taken of pytest-benchmark's files, and that nothing else gets through."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from suite.errors import ResultError
from suite.files import MAX_DEPTH
from suite.results import pytest_benchmark
from tests.support import timings


def save(folder: Path, file: Any) -> Path:
    path = folder / "torch.json"
    path.write_text(file if isinstance(file, str) else json.dumps(file))
    return path


def changed(**fields: Any) -> dict[str, Any]:
    """A file whose only benchmark has other fields, by dotted names."""
    file = timings.file(timings.timing())
    for name, value in fields.items():
        place, parts = file["benchmarks"][0], name.split("__")
        for part in parts[:-1]:
            place = place[part]
        place[parts[-1]] = value
    return file


def test_what_a_benchmark_states_is_taken_and_the_rest_left(tmp_path: Path) -> None:
    file = timings.file(timings.timing(), timings.timing(question="training", batch_size=32, images=1437))
    read = pytest_benchmark.read(save(tmp_path, file))
    assert read is not None
    assert [t.told.question for t in read] == ["latency", "training"]
    assert read[0] == timings.timing()
    assert {"data", "outliers"} <= set(file["benchmarks"][0]["stats"]), "the file holds more than is taken"


@pytest.mark.parametrize("file", [{"schema_version": 3}, {"benchmarks": []}, {"machine_info": {}}])
def test_another_file_is_not_taken_for_one(tmp_path: Path, file: dict[str, Any]) -> None:
    assert pytest_benchmark.read(save(tmp_path, file)) is None


def test_a_file_of_other_benchmarks_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match=r"torch\.json: is pytest-benchmark's, and does not say what it timed"):
        pytest_benchmark.read(save(tmp_path, changed(extra_info={})))


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"stats__median": -1.0}, "benchmarks.0.stats.median"),
        ({"stats__median": "1.0"}, "benchmarks.0.stats.median"),
        ({"stats__median": 1e12}, "benchmarks.0.stats.median"),
        ({"stats__q1": 5e-4}, "not in order"),
        ({"stats__rounds": 0}, "benchmarks.0.stats.rounds"),
        ({"stats__rounds": 10**30}, "benchmarks.0.stats.rounds"),
        ({"extra_info__question": "speed"}, "benchmarks.0.extra_info.question"),
        ({"extra_info__images": 0}, "benchmarks.0.extra_info.images"),
        ({"extra_info__more": 1}, "benchmarks.0.extra_info.more"),
        ({"extra_info__schema_version": 2}, "benchmarks.0.extra_info.schema_version"),
        ({"extra_info__digests__spec": "sha256:0"}, "benchmarks.0.extra_info.digests.spec"),
        ({"extra_info__cell__spec": "x" * 500}, "benchmarks.0.extra_info.cell.spec"),
        ({"extra_info__environment__machine": None}, "benchmarks.0.extra_info.environment.machine"),
    ],
)
def test_what_makes_no_sense_is_refused_by_file_and_place(tmp_path: Path, fields: dict[str, Any], place: str) -> None:
    with pytest.raises(ResultError, match=rf"torch\.json: .*{place}"):
        pytest_benchmark.read(save(tmp_path, changed(**fields)))


def doubled(text: str) -> str:
    return text.replace('"benchmarks":', '"benchmarks": [], "benchmarks":', 1)


def not_a_number(text: str) -> str:
    return text.replace('"version":', '"ops": NaN, "version":', 1)


def deep(text: str) -> str:
    return text.replace('"version":', f'"deep": {"[" * MAX_DEPTH}{"]" * MAX_DEPTH}, "version":', 1)


@pytest.mark.parametrize(
    ("harm", "words"), [(doubled, "stands twice"), (not_a_number, "NaN is no JSON number"), (deep, "nested over")]
)
def test_what_the_standard_reader_lets_through_is_refused(
    tmp_path: Path, harm: Callable[[str], str], words: str
) -> None:
    with pytest.raises(ResultError, match=words):
        pytest_benchmark.read(save(tmp_path, harm(json.dumps(timings.file(timings.timing())))))


@pytest.mark.parametrize("benchmarks", [7, {"a": 1}, [7], [{}], [{"extra_info": 7}], None])
def test_a_file_of_another_shape_is_refused(tmp_path: Path, benchmarks: object) -> None:
    with pytest.raises(ResultError, match=r"torch\.json"):
        pytest_benchmark.read(save(tmp_path, {"machine_info": {}, "datetime": "x", "benchmarks": benchmarks}))
