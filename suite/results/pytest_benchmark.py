"""The file that pytest-benchmark writes: what the suite's benchmarks state in it, and reading it strictly.

`pytest benchmarks` times the runners' own calls (benchmarks/test_*.py) and states what each number is of as the
``extra_info`` of its benchmark.  Such files come from anywhere, as results do: of all that they hold only what is
modelled here is taken, and a benchmark that states nothing is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, ConfigDict, Field, TypeAdapter, model_validator

from suite.errors import ResultError
from suite.files import read_json, validate
from suite.results.environment import Environment
from suite.results.questions import QuestionKind
from suite.results.records import Cell, Digests
from suite.spec.tensors import Frozen

Positive = Annotated[int, Field(gt=0, lt=2**63)]
Seconds = Annotated[float, Field(ge=0, le=1e9)]


class Told(Frozen):
    """What was timed: the ``extra_info`` of a benchmark.

    ``batch_size`` is that of a query, of a pass or of a step; ``images`` are those of one timed call.  The environment
    leaves its packages out: the lock says them.
    """

    schema_version: Literal[1] = 1
    question: QuestionKind
    batch_size: Positive
    images: Positive
    cell: Cell
    digests: Digests
    environment: Environment


class _Taken(Frozen):
    model_config = ConfigDict(extra="ignore")  # the format is pytest-benchmark's, and holds much more


class Stats(_Taken):
    """Seconds per call over ``rounds`` rounds of ``iterations`` calls; quartiles as pytest-benchmark takes them."""

    min: Seconds
    q1: Seconds
    median: Seconds
    q3: Seconds
    max: Seconds
    rounds: Positive
    iterations: Positive

    @model_validator(mode="after")
    def _in_order(self) -> Stats:
        if not self.min <= self.q1 <= self.median <= self.q3 <= self.max:
            raise ValueError("min, q1, median, q3 and max are not in order")
        return self


class _Benchmark(_Taken):
    extra_info: Told
    stats: Stats


class _File(_Taken):
    benchmarks: Annotated[tuple[_Benchmark, ...], Field(max_length=10_000)]
    datetime: AwareDatetime


class Timing(Frozen):
    """One benchmark of a file that was written at ``written``."""

    written: AwareDatetime
    told: Told
    stats: Stats

    @property
    def cell(self) -> Cell:
        """What was timed."""
        return self.told.cell

    @property
    def digests(self) -> Digests:
        """What a proof must share."""
        return self.told.digests

    @property
    def environment(self) -> Environment:
        """Where it was timed."""
        return self.told.environment


_ADAPTER = TypeAdapter(_File)


def read(path: Path) -> tuple[Timing, ...] | None:
    """The benchmarks of a file, or None where it is no file of pytest-benchmark's.

    Raises ResultError with the file's name and the place of what is wrong.
    """
    raw = read_json(path)
    if "benchmarks" not in raw or "machine_info" not in raw:
        return None
    if any(isinstance(b, dict) and not b.get("extra_info") for b in _list(raw["benchmarks"])):
        what = "is pytest-benchmark's, and does not say what it timed: `pytest benchmarks` writes files that do"
        raise ResultError(what, where=str(path))
    file = validate(path, raw, _ADAPTER)
    return tuple(Timing(written=file.datetime, told=b.extra_info, stats=b.stats) for b in file.benchmarks)


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
