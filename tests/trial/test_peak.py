"""What the machine can do: a matrix product and a copy of known sizes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from suite.runners import base
from suite.runners.base import Threads
from suite.runners.reference.runner import Runner
from suite.trial import peak


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A clock that goes on by a microsecond at each look, and by what is told."""
    now = [0]

    def clock() -> int:
        now[0] += 1000
        return now[0]

    monkeypatch.setattr(peak, "perf_counter_ns", clock)
    return lambda nanoseconds: now.__setitem__(0, now[0] + nanoseconds)


def test_a_chain_of_products_counts_what_it_computes_and_leaves_next_to_nothing() -> None:
    spec = peak.product(64, 3)
    assert spec.flops == 2 * (3 * 64 * 64 + 64)
    assert spec.graph[-1].output == (1,), "all outputs cross to the host"


def test_the_fastest_product_counts(monkeypatch: pytest.MonkeyPatch, ticking: Callable[[int], None]) -> None:
    monkeypatch.setitem(peak.SIZES, "cpu", (32, 64, 2))
    monkeypatch.setattr(peak, "LONGEST_NS", 10**6)
    runner = Runner("cpu", Threads(intra=1), 0)
    assert peak.flops_per_second(runner, "cpu", runner.modes[0], "float32") == pytest.approx(2 * 32 * 64**2 * 2 / 1e-6)
    ticking(0)


@pytest.mark.parametrize(("precision", "kind", "values"), [("bfloat16", "bfloat16", 512), ("tf32", "float32", 256)])
def test_a_copy_counts_what_is_read_and_written(
    monkeypatch: pytest.MonkeyPatch,
    ticking: Callable[[int], None],
    precision: base.Precision,
    kind: str,
    values: int,
) -> None:
    """1,024 bytes are read and as many written, in a microsecond for each pass and one for the call."""
    asked = []

    def passes(*words: object) -> Callable[[int], None]:
        asked.append(words)
        return lambda times: ticking(1000 * times)

    monkeypatch.setattr(base, "memory_passes", passes)
    monkeypatch.setattr(peak, "array_bytes", lambda _: 1024)
    found = peak.bytes_per_second("toy", "cuda", precision)
    assert asked == [("toy", "cuda", kind, values)]
    assert found == pytest.approx(2048 * 64 / 65e-6), "of the longest call, which loses the least to itself"


def test_an_array_is_four_times_the_caches_and_a_memory_without_room_is_not_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peak.environment, "last_level_caches", lambda: 1 << 30)
    assert peak.array_bytes("cpu") == 4 << 30
    monkeypatch.setattr(peak.psutil, "virtual_memory", lambda: type("Memory", (), {"available": 31 << 30}))
    monkeypatch.setattr(base, "memory_passes", lambda *_: pytest.fail("it would take an eighth of the memory twice"))
    assert peak.bytes_per_second("reference", "cpu", "float32") is None
    monkeypatch.setattr(peak.environment, "last_level_caches", lambda: None)
    assert peak.array_bytes("cpu") == peak.UNTOLD_ARRAY


def test_numpy_copies_and_who_states_no_pass_has_no_bandwidth() -> None:
    for kind in ("float32", "bfloat16"):
        over = base.memory_passes("reference", "cpu", kind, 1 << 10)  # type: ignore[arg-type]
        assert over is not None
        over(2)
    assert base.memory_passes("null", "cpu", "float32", 1) is None
    assert peak.bytes_per_second("null", "cpu", "float32") is None
