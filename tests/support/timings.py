"""Synthetic, valid benchmarks of pytest-benchmark's, and the file that would hold them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

import tests.support.results as make
from suite.results.environment import Environment
from suite.results.pytest_benchmark import Stats, Timing, Told
from suite.results.questions import QuestionKind
from suite.spec.resolved import Spec

WRITTEN = datetime(2026, 11, 22, 2, tzinfo=UTC)


def timing(
    runner: str = "torch", mode: str = "compile", question: Literal["training", "latency", "throughput"] = "latency",
    batch_size: int = 1, images: int = 1, of: Spec | None = None, seconds: float = 1e-4,
    environment: Environment | None = None, written: datetime = WRITTEN, **stats: int,
) -> Timing:  # fmt: skip
    """One benchmark whose quartiles lie 10 % around its median."""
    of = of or make.spec()
    told = Told(
        question=QuestionKind(question), batch_size=batch_size, images=images, cell=make.cell(runner, mode, of=of),
        digests=make.digests(of, 1), environment=environment or make.environment(runner),
    )  # fmt: skip
    shares = {"min": 0.8, "q1": 0.9, "median": 1.0, "q3": 1.1, "max": 3.0}
    times = {name: share * seconds for name, share in shares.items()}
    return Timing(written=written, told=told, stats=Stats(**{**times, "rounds": 200, "iterations": 1, **stats}))


def file(*timings: Timing) -> dict[str, Any]:
    """As pytest-benchmark writes it, with some of what nobody takes."""
    return {
        "machine_info": {"node": "a host", "cpu": {}},
        "commit_info": {"id": "0123", "dirty": False},
        "benchmarks": [
            {
                "group": "digits-mlp: latency, batch 1", "name": "test_latency[a]", "params": {"batch_size": 1},
                "extra_info": t.told.model_dump(mode="json"), "options": {"disable_gc": True, "timer": "perf_counter"},
                "stats": {**t.stats.model_dump(mode="json"), "data": [t.stats.median], "outliers": "3;4", "ops": 1e4},
            }
            for t in timings
        ],
        "datetime": timings[0].written.isoformat(),
        "version": "5.3.1",
    }  # fmt: skip
