"""What the machine can do: a matrix product of a known size."""

import pytest

from suite.runners.base import Threads
from suite.runners.reference.runner import Runner
from suite.trial import peak


def test_a_product_counts_what_it_computes() -> None:
    spec = peak.product(64)
    assert spec.flops == 2 * 64 * 64


def test_the_fastest_pass_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(peak.SIDES, "cpu", 64)
    clock = iter(range(0, 10**12, 1000))
    monkeypatch.setattr(peak, "perf_counter_ns", lambda: next(clock))
    runner = Runner("cpu", Threads(intra=1), 0)
    assert peak.flops_per_second(runner, "cpu", runner.modes[0], "float32") == pytest.approx(2 * 64**3 / 1e-6)
