import json

import pytest
from pydantic import ValidationError

from suite.spec.recipe import Claim, Recipe
from suite.spec.targets import LOSSES, Loss, Target


def recipe(**fields):
    base = {
        "name": "a",
        "dataset": "digits",
        "model": {"mlp": {"hidden": [4]}},
        "optimizer": {"name": "adam"},
        "batch_size": 1,
        "epochs": 1,
    }
    return Recipe.model_validate_json(json.dumps({**base, **fields}))


def test_defaults_are_those_stated():
    it = recipe()
    assert (it.input_range, it.loss, it.target, it.l2) == ((0.0, 1.0), "softmax_cross_entropy", "labels", 0.0)
    assert (it.task.kind, it.augmentation, it.schedule) == ("classification", None, None)
    assert (it.starts_from, it.inherits, it.frozen) == (None, (), ())
    adam = it.optimizer
    assert (adam.learning_rate, adam.beta_1, adam.beta_2, adam.epsilon) == (0.001, 0.9, 0.999, 1e-8)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"input_range": [1, 1]}, "input_range: must rise"),
        ({"early_stopping": {"patience": 2}}, "early_stopping: watches a validation split"),
        ({"loss": "mean_squared_error"}, "loss: mean_squared_error does not go with target labels"),
        ({"target": "one_hot"}, "loss: softmax_cross_entropy does not go with target one_hot"),
        ({"target": "boxes"}, "loss: softmax_cross_entropy does not go with target boxes"),
        ({"target": "input", "loss": "detection"}, "loss: detection does not go with target input"),
        (
            {"target": "first", "loss": "sigmoid_cross_entropy"},
            "target: first does not go with the task classification",
        ),
        ({"task": {"kind": "detection", "canvas": 9}}, "target: labels does not go with the task detection"),
        ({"inherits": ["dense_1"]}, "inherits: names layers, but there is nothing to inherit from"),
        ({"optimizer": {"name": "sgd", "learning_rate": 0.1, "nesterov": True}}, "nesterov: needs a momentum"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(fields, says):
    with pytest.raises(ValidationError, match=says):
        recipe(**fields)


def test_a_claim_may_be_a_range_and_an_accuracy_is_a_fraction():
    assert Claim(metric="seconds_per_epoch", value=4, to=10).to == 10
    with pytest.raises(ValidationError, match="must not be below the value, 4"):
        Claim(metric="seconds_per_epoch", value=4, to=3)
    with pytest.raises(ValidationError, match="an accuracy is a fraction"):
        Claim(metric="test_accuracy", value=97.35)
    with pytest.raises(ValidationError):
        Claim(metric="test_loss", value=-1)


def test_every_target_goes_with_some_loss_and_every_loss_with_some_target():
    assert LOSSES.keys() == set(Target)
    assert frozenset().union(*LOSSES.values()) == set(Loss)


def test_a_claim_that_nobody_can_test_says_why():
    claim = Claim(metric="latency_per_image_reduction", value=0.082, untestable="no tuning is named")
    assert claim.untestable == "no tuning is named"
    assert Claim(metric="train_seconds", value=102.5).untestable == ""
    with pytest.raises(ValidationError):
        Claim(metric="latency", value=1)


@pytest.mark.parametrize(
    ("fields", "widest"),
    [
        ({"metric": "test_accuracy", "value": 0.97}, 0.01),
        ({"metric": "train_accuracy", "value": 0.1, "to": 0.9}, 0.01),
        ({"metric": "latency_per_image_reduction", "value": 0.082}, 0.01),
        ({"metric": "test_loss", "value": 0.5}, 0.05),
        ({"metric": "test_loss", "value": 0.05}, 0.02),
        ({"metric": "test_loss", "value": 0.0}, 0.02),
        ({"metric": "test_loss", "value": 0.5, "to": 5.0}, 0.05),  # the value of a range is its lower end
        ({"metric": "stopped_at_epoch", "value": 16}, 1.6),
        ({"metric": "stopped_at_epoch", "value": 3}, 1.0),
        ({"metric": "train_seconds", "value": 16}, None),
        ({"metric": "seconds_per_epoch", "value": 16}, None),
        ({"metric": "test_accuracy", "value": 0.97, "half_width": 0.03}, 0.03),
        ({"metric": "test_loss", "value": 0.5, "half_width": 0.5}, 0.5),
        ({"metric": "test_loss", "value": 0.001, "half_width": 0.02}, 0.02),
        ({"metric": "stopped_at_epoch", "value": 16, "half_width": 5}, 5),
    ],
)
def test_every_metric_has_a_half_width_up_to_which_it_is_judged(fields, widest):
    assert Claim.model_validate(fields).widest == (None if widest is None else pytest.approx(widest))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"metric": "test_accuracy", "value": 0.97, "half_width": 0}, "greater than 0"),
        ({"metric": "test_accuracy", "value": 0.97, "half_width": -0.01}, "greater than 0"),
        ({"metric": "test_accuracy", "value": 0.97, "half_width": 0.5}, "half_width: is a fraction of 1"),
        ({"metric": "test_accuracy", "value": 0.97, "half_width": 1}, "half_width: is a fraction of 1"),
        (
            {"metric": "test_loss", "value": 0.5, "half_width": 0.51},
            "at most the published value, 0.5",
        ),
        ({"metric": "test_loss", "value": 0.001, "half_width": 0.03}, "or 0.02 if that is more"),
        (
            {"metric": "stopped_at_epoch", "value": 16, "half_width": 17},
            "half_width: must be at most",
        ),
        ({"metric": "train_seconds", "value": 16, "half_width": 1}, "half_width: goes with a number that is judged"),
        (
            {"metric": "test_accuracy", "value": 0.9, "half_width": 0.1, "untestable": "unsaid"},
            "half_width: goes with a number that is judged",
        ),
    ],
)
def test_a_half_width_under_which_no_verdict_could_fail_is_refused(fields, says):
    with pytest.raises(ValidationError, match=says):
        Claim.model_validate(fields)


def test_points_written_for_a_fraction_are_told_as_what_they_should_be():
    with pytest.raises(ValidationError) as refused:
        Claim(metric="test_accuracy", value=0.97, half_width=1.5)
    assert refused.value.errors()[0]["ctx"]["error"].way_out == "Write 0.015 for 1.5 points."
