"""Where the time of a call went, as a framework's own profiler saw it: by kind of work, and by operation."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from suite.results.environment import Environment
from suite.results.questions import QuestionKind
from suite.results.values import Count, Nanoseconds, Word
from suite.spec.tensors import Frozen


class Kind(StrEnum):
    """A kind of work.  A fused kernel counts as the first of these that it holds."""

    CONVOLUTION = "convolutions"
    PRODUCT = "matrix products"
    OPTIMIZER = "optimizer"
    NORMALISATION = "normalisation"
    POOLING = "pooling"
    RANDOM = "random numbers"
    ELEMENTWISE = "element-wise and reductions"
    COPY = "copies and gathers"
    VIEW = "views and allocation"
    OTHER = "other operations"
    IDLE = "between operations"


class Operation(Frozen):
    """One operation over the call: how often it ran, and the nanoseconds of wall time that are its own."""

    name: Word
    kind: Kind
    calls: Count
    ns: NonNegativeFloat


class Attribution(Frozen):
    """A profiled call of ``steps`` steps: its wall time divided among the kinds of work.

    ``bare_ns`` are times of the same call without the profiler, taken before.  ``operations`` come longest first.
    """

    spec: Word
    runner: Word
    mode: Word
    precision: Word
    device: Word
    question: QuestionKind
    batch_size: PositiveInt
    steps: PositiveInt
    wall_ns: Annotated[Nanoseconds, Field(gt=0)]
    bare_ns: Annotated[tuple[Nanoseconds, ...], Field(min_length=1, max_length=1000)]
    kinds: dict[Kind, NonNegativeFloat]
    fused_ns: NonNegativeFloat = Field(0.0, description="of kernels that a compiler made of several operations")
    started: Count = Field(description="operations that ran in the call, of those that the profiler sees")
    operations: Annotated[tuple[Operation, ...], Field(max_length=100)]
    around: Annotated[tuple[Operation, ...], Field(max_length=100)] = Field(
        (), description="the ranges that were open while no operation ran, with what they have of that time"
    )
    on_device: bool = Field(False, description="what is divided is the time of a GPU, not that of the host's threads")
    blind: Word = Field("", description="what the profiler cannot see")
    environment: Environment

    @model_validator(mode="after")
    def _adds_up(self) -> Attribution:
        if not math.isclose(sum(self.kinds.values()), self.wall_ns, rel_tol=1e-6):
            raise ValueError("the kinds of work do not add up to the time of the call")
        return self

    @property
    def who(self) -> str:
        """The framework in its mode, as a command line names it."""
        return f"{self.runner}:{self.mode}"

    @property
    def bare(self) -> float:
        """Nanoseconds of a step without the profiler: of the call that was least disturbed."""
        return min(self.bare_ns) / self.steps

    @property
    def profiled(self) -> float:
        """Nanoseconds of a step under the profiler, which is what the table divides."""
        return self.wall_ns / self.steps

    def per_step(self, kind: Kind) -> float:
        """Nanoseconds of a kind of work in a step."""
        return self.kinds.get(kind, 0.0) / self.steps


class Unexplained(Frozen):
    """A framework in a mode of which there is no attribution, and why."""

    who: Word
    reason: Annotated[str, Field(max_length=2000)]
