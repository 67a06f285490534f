"""Divergence: the first loss or weight of a training that is not finite, with its epoch.  It is an outcome, no failure.

A record states it.  In records from before it did, a loss of null says the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from suite.spec.tensors import Frozen


class What(StrEnum):
    """What was not finite, in the order in which an epoch shows it."""

    START = "weights that it started from"
    TRAINING_LOSS = "training loss"
    WEIGHTS = "weights"
    VALIDATION_LOSS = "validation loss"
    TEST_LOSS = "test loss"
    FINAL_LOSS = "loss of the trained network"


class Divergence(Frozen):
    """``epoch`` (from 1) is the first that showed it; running statistics count among the weights.

    ``ended``: what ended the training because of it.  *weights*: no step mends weights that are not finite, so the
    suite stopped.  *early stopping*: what the spec's own rule watched was not finite, and its patience ran out.  Null:
    training went on to the end of its schedule.
    """

    epoch: Annotated[int, Field(ge=1, le=100_000)]
    what: What
    ended: Literal["weights", "early stopping"] | None = None

    def __str__(self) -> str:
        """A sentence without its subject: ``diverged in epoch 2: weights not finite; training ended there``."""
        end = {
            "weights": "; training ended, for no step mends such weights",
            "early stopping": "; early stopping ended training, for what it watches was not finite",
            None: "",
        }[self.ended]
        return f"diverged in epoch {self.epoch:,}: {self.what} not finite{end}"


class Judged(Protocol):
    """Scores of a split: the loss and the penalty on top of it, each null where it is not finite."""

    @property
    def loss(self) -> float | None: ...  # noqa: D102

    @property
    def penalty(self) -> float | None: ...  # noqa: D102


class Trained(Protocol):
    """An epoch: the mean loss seen while training, and the scores after it, if taken."""

    @property
    def train_loss(self) -> float | None: ...  # noqa: D102

    @property
    def validation(self) -> Judged | None: ...  # noqa: D102

    @property
    def test(self) -> Judged | None: ...  # noqa: D102


def finite(weights: Mapping[str, NDArray[Any]]) -> bool:
    """Whether all weights and running statistics are finite."""
    return all(bool(np.isfinite(value).all()) for value in weights.values())


def in_epoch(epoch: Trained, *, sound: bool = True) -> What | None:
    """What an epoch showed first that was not finite; ``sound`` if the weights after it were finite."""
    judged = [scores for scores in (epoch.validation, epoch.test) if scores is not None]
    if epoch.train_loss is None:
        return What.TRAINING_LOSS
    if not sound or any(scores.penalty is None for scores in judged):
        return What.WEIGHTS
    if epoch.validation is not None and epoch.validation.loss is None:
        return What.VALIDATION_LOSS
    return What.TEST_LOSS if epoch.test is not None and epoch.test.loss is None else None


def told(
    epochs: Sequence[Trained], final: Iterable[Judged | None], *, stopped_early: bool, best_epoch: int | None
) -> Divergence | None:
    """What the losses of a training tell by themselves; ``final`` are the scores of the trained network."""
    first = next(_shown(epochs), None)
    if first is None:
        lost = any(scores.loss is None or scores.penalty is None for scores in final if scores is not None)
        first = (len(epochs), What.FINAL_LOSS) if lost else None
    if first is None:
        return None
    since = epochs[best_epoch or 0 :]
    blind = stopped_early and any(e.validation is not None and e.validation.loss is None for e in since)
    return Divergence(epoch=first[0], what=first[1], ended="early stopping" if blind else None)


def _shown(epochs: Sequence[Trained]) -> Iterator[tuple[int, What]]:
    for number, epoch in enumerate(epochs, 1):
        if what := in_epoch(epoch):
            yield number, what
