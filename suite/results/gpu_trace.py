"""What a GPU's driver told while a cell ran: raw series of samples, and the spans of work that they belong to.

Times are ``perf_counter_ns``, which on Linux is one clock for all processes (CLOCK_MONOTONIC), so the samples of one
process and the spans of another lie on one axis.  A value that the driver did not tell is null, and ``unknown`` says
why.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from suite.results.questions import QuestionKind
from suite.spec.tensors import Frozen

Whole = Annotated[int, Field(ge=0, lt=2**63)]
Words = Annotated[str, Field(max_length=400)]
LONGEST = 200_000
"""Samples that a trace may hold; a longer one is thinned by whoever takes it."""
Series = Annotated[tuple[Whole | None, ...], Field(max_length=LONGEST)]

SERIES = (
    "used_bytes", "reserved_bytes", "energy_mj", "power_mw", "utilization_percent", "celsius", "sm_mhz", "memory_mhz",
    "throttle",
)  # fmt: skip
"""Every series of a trace, each as long as ``at_ns``."""


class Span(Frozen):
    """A stretch of one kind of work.  ``idle`` lies before the framework is imported: nothing of ours is on the GPU."""

    kind: Literal["idle"] | QuestionKind
    batch_size: Whole | None = None
    images: Whole = 0
    begin_ns: Whole
    end_ns: Whole

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Span:
        if self.end_ns < self.begin_ns:
            raise ValueError("a span ends before it begins")
        return self


class Metered(Frozen):
    """One GPU over one cell, sampled about every ``period_ns`` by a process of its own.

    ``used_bytes`` and ``reserved_bytes`` are NVML's memory of the whole device (version 2), ``reserved`` being part of
    ``used``; ``energy_mj`` is its counter in millijoules since the driver was loaded; ``throttle`` the bits of
    ``nvmlDeviceGetCurrentClocksEventReasons``.
    """

    outcome: Literal["metered"] = "metered"
    name: Words
    uuid: Words
    driver: Words | None
    period_ns: Whole
    at_ns: Annotated[tuple[Whole, ...], Field(max_length=LONGEST)]
    used_bytes: Series
    reserved_bytes: Series
    energy_mj: Series
    power_mw: Series
    utilization_percent: Series
    celsius: Series
    sm_mhz: Series
    memory_mhz: Series
    throttle: Series
    unknown: dict[Words, Words] = Field({}, description="why a series holds a null, by its name")
    spans: Annotated[tuple[Span, ...], Field(max_length=1000)]

    @model_validator(mode="after")
    def _one_axis(self) -> Metered:
        uneven = [name for name in SERIES if len(getattr(self, name)) != len(self.at_ns)]
        if uneven:
            raise ValueError(f"{uneven[0]} has not as many values as at_ns")
        if any(later < earlier for earlier, later in zip(self.at_ns, self.at_ns[1:], strict=False)):
            raise ValueError("at_ns runs backwards")
        return self


class Unmetered(Frozen):
    """Why a GPU that should have been metered was not."""

    outcome: Literal["unmetered"] = "unmetered"
    reason: Words


Trace = Annotated[Metered | Unmetered, Field(discriminator="outcome")]
