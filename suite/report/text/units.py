"""Numbers as people read them: three significant digits, a unit, thousands apart."""

from __future__ import annotations

import math

from suite.stats import Decision, Ratio


def digits(value: float, significant: int = 3) -> str:
    """``value`` to so many significant digits, without exponent where that reads well."""
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e15:
        return f"{value:.{significant - 1}e}"
    places = significant - 1 - math.floor(math.log10(abs(float(f"{value:.{significant - 1}e}"))))
    return f"{round(value, places):,.{max(places, 0)}f}"


def duration(nanoseconds: float) -> str:
    """A time in the unit that suits it."""
    for limit, unit in ((1e3, "ns"), (1e6, "µs"), (1e9, "ms"), (120e9, "s")):
        if nanoseconds < limit * (1 - 5e-4):
            return f"{digits(nanoseconds / (limit / 1e3 if unit != 's' else 1e9))} {unit}"
    return f"{digits(nanoseconds / 60e9)} min"


def rate(nanoseconds: float, counted: str = "images") -> str:
    """How many per second: of images, or of whatever ``counted`` names."""
    return f"{digits(1e9 / nanoseconds)} {counted}/s" if nanoseconds else f"∞ {counted}/s"


def mebibytes(count: float) -> str:
    """Bytes in MiB."""
    return f"{count / 2**20:,.0f} MiB"


def joules(value: float) -> str:
    """Energy in the unit that suits it."""
    for limit, unit in ((1e-6, "nJ"), (1e-3, "µJ"), (1.0, "mJ"), (1e3, "J")):
        if value < limit * (1 - 5e-4):
            return f"{digits(value / (limit / 1e3))} {unit}"
    return f"{digits(value / 1e3)} kJ"


def watts(value: float) -> str:
    """Power."""
    return f"{digits(value)} W"


def flops(per_second: float) -> str:
    """Arithmetic per second."""
    for limit, unit in ((1e6, "kFLOP/s"), (1e9, "MFLOP/s"), (1e12, "GFLOP/s")):
        if per_second < limit * (1 - 5e-4):
            return f"{digits(per_second / (limit / 1e3))} {unit}"
    return f"{digits(per_second / 1e12)} TFLOP/s"


def moved(per_second: float) -> str:
    """Bytes per second, in powers of ten, as STREAM has them."""
    for limit, unit in ((1e6, "kB/s"), (1e9, "MB/s"), (1e12, "GB/s")):
        if per_second < limit * (1 - 5e-4):
            return f"{digits(per_second / (limit / 1e3))} {unit}"
    return f"{digits(per_second / 1e12)} TB/s"


def percent(fraction: float, places: int = 2) -> str:
    """A fraction in percent."""
    return f"{100 * fraction:.{places}f} %"


def level(confidence: float) -> str:
    """A confidence level, with as many nines as it has."""
    return f"{100 * confidence:.4g} %"


def _span(ratio: Ratio) -> tuple[str, str]:
    """A ratio, and its interval."""
    times, low, high = (f"{x:.2f}" if x < 10 else digits(x) for x in (ratio.value, ratio.low, ratio.high))
    return times, f"{low} to {high}"


def multiple(ratio: Ratio, sign: str = "") -> str:
    """A ratio with its interval, and whether it may as well be 1: ``1.42 (1.36 to 1.49)``."""
    times, span = _span(ratio)
    return f"{times}{sign} ({span})" + (", undecided" if ratio.decision is Decision.UNDECIDED else "")


def speed(first: str, second: str, ratio: Ratio, more: str = "faster") -> str:
    """A ratio in words: ``torch 1.42x faster (1.36 to 1.49)``."""
    if ratio.value < 1:
        first, second, ratio = second, first, ratio.inverse
    times, span = _span(ratio)
    match ratio.decision:
        case Decision.EQUIVALENT:
            return f"equivalent within 3 %: {first} / {second} {times} ({span})"
        case Decision.UNDECIDED:
            return f"undecided: {first} / {second} {times} ({span})"
        case _:
            return f"{first} {times}x {more} ({span})"
