"""Time of a query and of a pass over the test images: the calls that a run times, under pytest-benchmark.

Warm-up and rounds are stated, one call each, so that nothing but the runner's own call is inside the plugin's clock.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.subjects import PROFILE, Subject
from suite.results.questions import QuestionKind
from suite.trial.measure import WARMUP_QUERIES

PASSES = 10


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize("batch_size", PROFILE.latency_batches)
def test_latency(benchmark: Any, subject: Subject, tell: Callable[..., None], batch_size: int) -> None:
    """One query: a batch in host memory to outputs in host memory, over the test images in turn."""
    images = subject.held["test"].images
    if batch_size > len(images):
        pytest.skip(f"{subject.spec.dataset} has {len(images)} test images")
    whole = len(images) // batch_size * batch_size
    queries = itertools.cycle([images[i : i + batch_size] for i in range(0, whole, batch_size)])
    tell(QuestionKind.LATENCY, batch_size, batch_size)
    outputs = benchmark.pedantic(
        subject.program.infer, setup=lambda: ((next(queries),), {}), rounds=PROFILE.latency_samples, iterations=1,
        warmup_rounds=WARMUP_QUERIES * subject.calls,
    )  # fmt: skip
    assert len(outputs) == batch_size


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize("batch_size", PROFILE.throughput_batches)
def test_throughput(benchmark: Any, subject: Subject, tell: Callable[..., None], batch_size: int) -> None:
    """A pass over the staged test images with the pipeline kept full."""
    images = len(subject.held["test"].images)
    tell(QuestionKind.THROUGHPUT, batch_size, images)
    outputs = benchmark.pedantic(
        subject.program.predict, args=("test", batch_size), rounds=PASSES, iterations=1, warmup_rounds=subject.calls
    )
    assert len(outputs) == images
