"""The clock and the memory meter."""

import gc
import mmap
import weakref
from pathlib import Path

import pytest

from suite.meters import clock, memory
from suite.meters.clock import gc_disabled, gc_frozen, timed
from suite.meters.memory import Phases

MIB = 1 << 20


class Knot:
    """An object that only the garbage collector can end."""

    def __init__(self) -> None:
        self.self = self


def test_a_call_is_timed_from_just_before_to_just_after(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[object] = []

    def reading() -> int:
        events.append("clock")
        return {1: 5, 3: 12}[len(events)]

    monkeypatch.setattr(clock, "perf_counter_ns", reading)
    assert timed(lambda *values: events.append(values) or "value", 1, 2) == (7, "value")
    assert events == ["clock", (1, 2), "clock"]


def test_what_a_timed_call_raises_goes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        timed(lambda: 1 // 0)


def test_no_garbage_is_collected_within_quiet_and_it_is_again_after() -> None:
    assert gc.isenabled()
    with gc_disabled():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_garbage_collection_comes_back_after_an_exception() -> None:
    with pytest.raises(ZeroDivisionError), gc_disabled():
        raise ZeroDivisionError
    assert gc.isenabled()


def test_garbage_collection_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with gc_disabled():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_lives_is_settled_only_within_and_also_after_an_exception() -> None:
    def fail() -> None:
        with gc_frozen():
            assert gc.get_freeze_count() > 0
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert gc.get_freeze_count() == 0


def test_garbage_is_collected_before_what_is_measured() -> None:
    gc.disable()
    try:
        gone = weakref.ref(Knot())
        assert gone() is not None
        with gc_disabled():
            assert gone() is None
    finally:
        gc.enable()


needs_peaks = pytest.mark.skipif(not memory.reset_peak(), reason="this system does not let a process forget its peak")


@needs_peaks
def test_the_phase_that_allocates_has_the_higher_peak() -> None:
    """Straight from the system: what an allocator still holds from before would be resident already."""
    phases = Phases()
    with mmap.mmap(-1, 50 * MIB) as held:
        held.write(b"1" * len(held))
    busy, idle = phases.end(), phases.end()
    assert busy is not None
    assert idle is not None
    assert busy - idle > 40 * MIB


@needs_peaks
def test_a_peak_is_in_bytes() -> None:
    peak = memory.peak_bytes()
    assert peak is not None
    assert 10 * MIB < peak < 100_000 * MIB


def test_peaks_are_null_where_the_system_keeps_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "PROC", tmp_path / "none")
    phases = Phases()
    assert (phases.end(), phases.end(), memory.peak_bytes()) == (None, None, None)


def test_peaks_are_null_where_they_cannot_be_reset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "clear_refs").mkdir()
    (tmp_path / "status").write_text("Name:\tpython\nVmHWM:\t    2048 kB\n")
    monkeypatch.setattr(memory, "PROC", tmp_path)
    assert memory.peak_bytes() == 2 * MIB
    assert Phases().end() is None
