"""What a GPU's raw series say of a cell: memory above the idle baseline, energy by span, clocks and throttling.

Pure functions over one trace, or over those of several cells.  Where the series do not suffice, the outcome is an
``Unknown`` with its reason, never a number.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median

from suite.results.gpu_trace import Metered, Span

SHORTEST_NS = 2_000_000_000
"""Energy is taken over spans of this length at least: a counter steps at its own pace."""
FEWEST = 3
"""The fewest samples from which energy is computed."""
FAR_ABOVE = 64 << 20
"""Bytes of an idle baseline above the smallest of its run from which on another process is suspected."""

THROTTLES = {
    0x1: "idle", 0x2: "clocks set by a user", 0x4: "power cap", 0x8: "hardware slowdown", 0x10: "sync boost",
    0x20: "heat (by software)", 0x40: "heat (by hardware)", 0x80: "power brake", 0x100: "clocks of the display",
}  # fmt: skip
"""Why clocks are not higher, by bit of ``nvmlDeviceGetCurrentClocksEventReasons``.  Source: nvml.h."""
IDLE = 0x1
SLOWED = 0x4 | 0x8 | 0x20 | 0x40 | 0x80
"""Power or heat: the same work would have gone faster elsewhere.  Being idle is none of it, nor is a setting."""


@dataclass(frozen=True)
class Unknown:
    """Why something is not known."""

    reason: str


def values(trace: Metered, name: str, begin_ns: int, end_ns: int) -> list[int | None]:
    """One series between two moments, ends included."""
    series: Sequence[int | None] = getattr(trace, name)
    return list(series[bisect_left(trace.at_ns, begin_ns) : bisect_right(trace.at_ns, end_ns)])


def known(trace: Metered, name: str, spans: Iterable[Span]) -> list[int] | Unknown:
    """What is known of one series within ``spans``, or why nothing is."""
    taken = [v for span in spans for v in values(trace, name, span.begin_ns, span.end_ns)]
    found = [v for v in taken if v is not None]
    if found:
        return found
    return Unknown(trace.unknown.get(name, "the driver did not report it") if taken else "no sample fell into it")


def idle(trace: Metered) -> list[Span]:
    """Spans before the framework was imported."""
    return [span for span in trace.spans if span.kind == "idle"]


def working(trace: Metered) -> list[Span]:
    """Spans of measured work."""
    return [span for span in trace.spans if span.kind != "idle"]


@dataclass(frozen=True)
class Baseline:
    """The GPU before the framework was imported: median bytes, largest utilisation in percent, mean watts."""

    used_bytes: float
    utilization_percent: int | None
    watts: float | None


def baseline(trace: Metered) -> Baseline | Unknown:
    """The idle span's, if there is one."""
    spans = idle(trace)
    if not spans:
        return Unknown("the trace has no idle span")
    used = known(trace, "used_bytes", spans)
    if isinstance(used, Unknown):
        return used
    busy, power = known(trace, "utilization_percent", spans), known(trace, "power_mw", spans)
    return Baseline(
        median(used),
        None if isinstance(busy, Unknown) else max(busy),
        None if isinstance(power, Unknown) else fmean(power) / 1e3,
    )


def peak(trace: Metered, less_reserved: bool = False) -> float | Unknown:
    """Largest used bytes after the idle span, above that span's median; with what the driver reserves taken out.

    Building and compiling lie outside every span and count here: their memory is the framework's too.
    """
    if not (spans := idle(trace)):
        return Unknown("the trace has no idle span")
    first, last = min(s.begin_ns for s in spans), max(s.end_ns for s in spans)

    def taken(begin: int, end: int) -> list[int]:
        used, reserved = (values(trace, name, begin, end) for name in ("used_bytes", "reserved_bytes"))
        if not less_reserved:
            return [u for u in used if u is not None]
        return [u - r for u, r in zip(used, reserved, strict=True) if u is not None and r is not None]

    before, after = taken(first, last), taken(last + 1, 2**63)
    if not before or not after:
        null = [trace.unknown[n] for n in ("used_bytes", "reserved_bytes")[: 1 + less_reserved] if n in trace.unknown]
        return Unknown(null[0] if null else f"no sample of it fell {'after' if before else 'into'} the idle span")
    return max(max(after) - median(before), 0.0)


@dataclass(frozen=True)
class Energy:
    """Of the whole GPU over one span: joules, mean watts by the counter and by samples of power, joules per example."""

    joules: float
    watts: float
    sampled_watts: float | None
    per_image: float | None


def energy(trace: Metered, span: Span) -> Energy | Unknown:
    """The counter's slope between the first and the last sample within ``span``, over the whole of it.

    Unknown where the slope would tell nothing: a short span, few samples, a null, a counter that stepped back or that
    did not move.
    """
    length = span.end_ns - span.begin_ns
    if length < SHORTEST_NS:
        return Unknown(f"energy needs {SHORTEST_NS / 1e9:g} s of uninterrupted work")
    counter = values(trace, "energy_mj", span.begin_ns, span.end_ns)
    told = [e for e in counter if e is not None]
    if len(told) < len(counter):
        return Unknown(trace.unknown.get("energy_mj", "the driver did not report the energy of every sample"))
    times = trace.at_ns[bisect_left(trace.at_ns, span.begin_ns) : bisect_right(trace.at_ns, span.end_ns)]
    if len(told) < FEWEST or times[-1] == times[0]:
        return Unknown(f"energy needs {FEWEST} samples")
    if any(later < earlier for earlier, later in pairwise(told)):
        return Unknown("the energy counter stepped back")
    if told[-1] == told[0]:
        return Unknown("the energy counter did not move")
    watts = (told[-1] - told[0]) / 1e3 / ((times[-1] - times[0]) / 1e9)
    joules = watts * length / 1e9
    power = known(trace, "power_mw", [span])
    return Energy(
        joules,
        watts,
        None if isinstance(power, Unknown) else fmean(power) / 1e3,
        joules / span.images if span.images else None,
    )


@dataclass(frozen=True)
class GpuState:
    """The GPU during measured work of one or several cells: percent, degrees Celsius, MHz, shares of samples."""

    utilization: float | Unknown
    celsius: int | Unknown
    sm_mhz: float | Unknown
    least_sm_mhz: int | Unknown
    throttle: Mapping[str, float] | Unknown


def state(traces: Sequence[Metered]) -> GpuState:
    """Mean utilisation, highest temperature, median and lowest SM clock, and the share of each throttle reason."""

    def pooled(name: str) -> list[int] | Unknown:
        parts = [known(trace, name, working(trace)) for trace in traces]
        found = [v for part in parts if not isinstance(part, Unknown) for v in part]
        reasons = [part for part in parts if isinstance(part, Unknown)]
        return found or (reasons[0] if reasons else Unknown("no GPU was metered"))

    busy, heat, clock, bits = (pooled(n) for n in ("utilization_percent", "celsius", "sm_mhz", "throttle"))
    return GpuState(
        busy if isinstance(busy, Unknown) else fmean(busy),
        heat if isinstance(heat, Unknown) else max(heat),
        clock if isinstance(clock, Unknown) else median(clock),
        clock if isinstance(clock, Unknown) else min(clock),
        bits if isinstance(bits, Unknown) else shares(bits),
    )


def shares(bits: Sequence[int]) -> dict[str, float]:
    """Share of samples by throttle reason, being idle left out; a bit without a name has its number."""
    union = 0
    for sample in bits:
        union |= sample
    each = [1 << i for i in range(union.bit_length()) if union >> i & 1]
    return {
        THROTTLES.get(bit, f"reason {bit:#x}"): sum(bool(sample & bit) for sample in bits) / len(bits)
        for bit in each
        if bit != IDLE
    }


def slowed(trace: Metered, spans: Sequence[Span]) -> list[str]:
    """The reasons of power or heat that throttled the GPU within ``spans``, if any."""
    bits = known(trace, "throttle", spans)
    if isinstance(bits, Unknown):
        return []
    return [name for bit, name in THROTTLES.items() if bit & SLOWED and any(sample & bit for sample in bits)]
