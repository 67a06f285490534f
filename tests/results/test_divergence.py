"""What in a training was not finite, and where it showed first: as recorded, and as older records tell it."""

from typing import Any

import numpy as np
import pytest

import tests.support.results as make
from suite.results import divergence
from suite.results.divergence import Divergence, What
from suite.results.records import Epoch, Scores, Training

FINE = Scores(loss=0.1, penalty=0.0, accuracy=0.9)
LOST = Scores(loss=None, penalty=0.0, accuracy=None)
UNPUNISHED = Scores(loss=0.1, penalty=None, accuracy=0.9)


def epoch(train_loss: float | None = 0.5, validation: Scores | None = FINE, test: Scores | None = FINE) -> Epoch:
    return Epoch(seconds_ns=1, images=1, train_loss=train_loss, validation=validation, test=test)


def training(*epochs: Epoch, **fields: Any) -> Training:
    found = make.measured().training
    assert found
    return found.model_copy(update={"epochs": epochs, "validation": FINE, **fields})


@pytest.mark.parametrize(
    ("found", "sound", "what"),
    [
        (epoch(), True, None),
        (epoch(validation=None, test=None), True, None),
        (epoch(None, LOST, LOST), False, What.TRAINING_LOSS),
        (epoch(), False, What.WEIGHTS),
        (epoch(test=UNPUNISHED), True, What.WEIGHTS),
        (epoch(validation=LOST, test=LOST), True, What.VALIDATION_LOSS),
        (epoch(test=LOST), True, What.TEST_LOSS),
        (epoch(validation=None, test=LOST), True, What.TEST_LOSS),
    ],
)
def test_an_epoch_tells_the_first_thing_that_was_not_finite(found: Epoch, sound: bool, what: What | None) -> None:
    assert divergence.in_epoch(found, sound=sound) is what


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_not_finite_is_enough(value: float) -> None:
    weights = {"kernel": np.zeros((2, 3)), "variance": np.ones(4, np.float32)}
    assert divergence.finite(weights)
    weights["variance"][3] = value
    assert not divergence.finite(weights)


def test_older_records_tell_it_by_their_losses() -> None:
    assert training(epoch(), epoch()).divergence is None
    found = training(epoch(), epoch(None, LOST, LOST), epoch(None, LOST, LOST), test=LOST, train=LOST).divergence
    assert found == Divergence(epoch=2, what=What.TRAINING_LOSS)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_network_can_come_out_of_finite_epochs_without_a_finite_loss(split: str) -> None:
    found = training(epoch(), epoch(), **{split: LOST}).divergence
    assert found == Divergence(epoch=2, what=What.FINAL_LOSS)


@pytest.mark.parametrize(("best", "since", "ended"), [(None, LOST, "early stopping"), (1, FINE, None)])
def test_early_stopping_of_an_older_record_ended_for_it_if_what_it_watches_was_lost(
    best: int | None, since: Scores, ended: str | None
) -> None:
    lost = epoch(None, since, LOST)
    found = training(epoch(), lost, lost, stopped_early=True, best_epoch=best).divergence
    assert found == Divergence(epoch=2, what=What.TRAINING_LOSS, ended=ended)


def test_what_is_recorded_goes_before_what_is_told() -> None:
    stated = Divergence(epoch=1, what=What.WEIGHTS, ended="weights")
    assert training(epoch(), epoch(None), diverged=stated).divergence == stated


def test_a_training_that_ended_for_it_is_complete_and_one_that_was_cut_short_is_not() -> None:
    ended = Divergence(epoch=1, what=What.WEIGHTS, ended="weights")
    assert make.measured(epochs=1, taught={"diverged": ended}).complete
    assert not make.measured(epochs=1, taught={"diverged": Divergence(epoch=1, what=What.TEST_LOSS)}).complete
    assert not make.measured(epochs=1).complete


def test_it_is_told_in_words() -> None:
    stated = Divergence(epoch=1, what=What.WEIGHTS, ended="weights")
    assert str(stated) == "diverged in epoch 1: weights not finite; training ended, for no step mends such weights"
    assert str(Divergence(epoch=2, what=What.TEST_LOSS)) == "diverged in epoch 2: test loss not finite"
