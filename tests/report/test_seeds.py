"""One value per seed: which cells speak for a framework, and that survivors never speak for those that diverged."""

from __future__ import annotations

import pytest

import tests.support.results as make
from suite.report.evidence.seeds import has, kept, per_seed
from suite.spec.recipe import EarlyStopping


def test_a_seed_has_diverged_if_one_of_its_rounds_has() -> None:
    cells = [make.measured(number=1, seed=1), make.diverged(make.measured(number=2, seed=1), 2)]
    found = per_seed(cells, "test_accuracy")
    assert found
    assert (dict(found.values), found.ran, found.mean) == ({}, 1, None)
    assert found.diverged
    assert found.diverged.seeds[1].epoch == 2


def test_values_are_of_all_seeds_or_of_none_and_those_that_were_spared_stand_apart() -> None:
    cells = [make.measured(seed=1, accuracy=0.9), make.diverged(make.measured(seed=2)), make.measured(seed=3)]
    found = per_seed(cells, "test_accuracy")
    assert found
    assert (dict(found.values), found.ran, found.mean) == ({}, 3, None)
    assert found.spared[1] == 0.9
    assert list(found.spared) == [1, 3]
    times = per_seed(cells, "train_seconds")
    assert times
    assert list(times.values) == [1, 2, 3]
    assert times.mean


def test_a_cap_on_epochs_does_not_leave_those_out_that_were_not_lost() -> None:
    """A training that was lost ran as far as it could; the others of a capped run did not, and count all the same."""
    cells = [make.measured(seed=1, epochs=2), make.diverged(make.measured(seed=2, epochs=2), 1)]
    assert kept(cells) == cells
    found = per_seed(cells, "train_seconds")
    assert found
    assert (found.ran, found.complete, found.epochs) == (2, False, 2)


def test_what_has_no_classes_has_no_accuracy() -> None:
    layers = [{"layer": "flatten"}, {"layer": "dense", "units": 64}]
    spec = make.spec(model=layers, target="input", loss="mean_squared_error", task={"kind": "reconstruction"})
    cells = [make.diverged(make.measured(of=spec, accuracy=None), 1)]
    assert per_seed(cells, "test_accuracy") is None
    loss = per_seed(cells, "test_loss")
    assert loss
    assert loss.mean is None


@pytest.mark.parametrize(
    ("metric", "there"),
    [
        ("test_accuracy", True),
        ("train_loss", True),
        ("validation_loss", False),
        ("stopped_at_epoch", False),
        ("train_seconds", True),
        ("latency_per_image_reduction", False),
    ],
)
def test_a_spec_tells_which_metrics_a_training_can_have(metric: str, there: bool) -> None:
    assert has(make.spec(), metric) is there
    held_out = make.spec(validation_fraction=0.1, early_stopping=EarlyStopping(patience=2))
    assert has(held_out, metric) is (there or metric in ("validation_loss", "stopped_at_epoch"))
