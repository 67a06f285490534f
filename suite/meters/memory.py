"""Peak resident memory of this process, phase by phase.

Linux keeps the peak (``VmHWM``) and resets it when 5 is written to ``/proc/self/clear_refs`` (proc(5)).  Elsewhere
the peak is unknown: null.
"""

from __future__ import annotations

from pathlib import Path

PROC = Path("/proc/self")


def reset_peak() -> bool:
    """Forget the peak so far; False where the system does not let us."""
    try:
        (PROC / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_bytes() -> int | None:
    """Peak resident bytes since the last reset, or null."""
    try:
        lines = (PROC / "status").read_text().splitlines()
    except OSError:
        return None
    values = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return values[0] * 1024 if values else None


class Phases:
    """Peaks of consecutive phases; null for all where the peak cannot be reset."""

    def __init__(self) -> None:
        self._known = reset_peak()

    def end(self) -> int | None:
        """The peak of the phase that ends here; the next one begins."""
        peak = peak_bytes() if self._known else None
        self._known = reset_peak() and self._known
        return peak
