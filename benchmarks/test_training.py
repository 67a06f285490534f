"""Time of an epoch of training: the call that a run times, under pytest-benchmark."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.subjects import SEED, Subject
from suite.inputs import initial
from suite.results.questions import QuestionKind
from suite.trial import measure

EPOCHS = 5


@pytest.mark.usefixtures("ready")
def test_training(benchmark: Any, subject: Subject, tell: Callable[..., None]) -> None:
    """Epochs from the spec's own start, one after another, each in an order of its own."""
    spec, program = subject.spec, subject.program
    for _ in range(subject.calls):
        program.train(measure.warmup_order(spec, SEED))
    subject.begin()
    epochs = itertools.count()
    tell(QuestionKind.TRAINING, spec.batch_size, spec.train_images)
    loss = benchmark.pedantic(
        program.train, setup=lambda: ((initial.order(SEED, next(epochs), spec.train_images),), {}), rounds=EPOCHS,
        iterations=1,
    )  # fmt: skip
    assert math.isfinite(loss)
