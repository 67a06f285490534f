"""FLOPs per byte, counted by hand."""

from __future__ import annotations

import json

import pytest

from suite.run import session
from suite.spec.dataset import DatasetFacts
from suite.spec.intensity import intensity
from suite.spec.precision import Precision
from suite.spec.recipe import Recipe
from suite.spec.resolved import Spec


def made(model: object, optimizer: object) -> Spec:
    """Of images of 2 x 2, three classes."""
    facts = DatasetFacts(
        name="toy", image_shape=(2, 2, 1), classes=3, train=40, test=10, max_value=1, digest="sha256:0"
    )
    recipe = {"name": "toy", "dataset": "toy", "optimizer": optimizer, "model": model, "batch_size": 10, "epochs": 1}
    return Spec.model_validate({**dict(Recipe.model_validate_json(json.dumps(recipe))), "data": facts})


MODEL = [{"layer": "flatten"}, {"layer": "dense", "units": 3}]
"""Twelve multiply-adds, 15 weights, 4 values in, 3 out."""
SGD = {"name": "sgd", "learning_rate": 0.1}


@pytest.mark.parametrize(
    ("precision", "low"),
    [
        ("float32", 24 / (4 * 7 + 4 * 15 / 10)),
        ("tf32", 24 / (4 * 7 + 4 * 15 / 10)),
        ("bfloat16", 24 / ((2 + 6) * 7 + 4 * 15 / 10)),
    ],
)
def test_a_pass_reads_weights_once_for_a_batch_and_all_else_for_each_example(precision: Precision, low: float) -> None:
    found = intensity(made(MODEL, SGD), 10, precision, training=False)
    assert found is not None
    assert found.high == pytest.approx(24 / (4 * 7 + 4 * 15 / 10)), "what crosses is float32 at both ends"
    assert found.low == pytest.approx(low), "a flatten moves nothing"


@pytest.mark.parametrize(
    ("optimizer", "slots"), [(SGD, 0), ({**SGD, "momentum": 0.9}, 1), ({"name": "rmsprop"}, 1), ({"name": "adam"}, 2)]
)
def test_a_step_counts_what_the_optimizer_remembers(optimizer: object, slots: int) -> None:
    found = intensity(made(MODEL, optimizer), 10, "float32", training=True)
    assert found is not None
    assert found.high == pytest.approx(72 / (4 * 7 + 4 * 15 * 2 * (1 + slots) / 10))
    assert found.low == pytest.approx(72 / (3 * 4 * 7 + 4 * 15 * (6 + 2 * slots) / 10))


def test_a_residual_adds_two_branches_and_more_layers_lower_the_lower_bound_alone() -> None:
    body = [{"layer": "conv2d", "filters": 1, "kernel": 1, "padding": "same", "use_bias": False}]
    model = [{"layer": "residual", "body": body}, *MODEL]
    found = intensity(made(model, SGD), 10, "float32", training=False)
    assert found is not None
    flops, weights = 24 + 8, 16
    assert found.low == pytest.approx(flops / (4 * (3 * 4 + 8 + 7) + 4 * weights / 10))
    assert found.high == pytest.approx(flops / (4 * 7 + 4 * weights / 10))


def test_who_counts_no_flops_has_no_intensity() -> None:
    model = [{"layer": "global_average_pool"}, {"layer": "flatten"}]
    facts = {"classes": 1}
    spec = made(MODEL, SGD)
    bare = spec.replace(model=made_layers(model), data=spec.data.model_copy(update=facts))
    assert intensity(bare, 10, "float32", training=False) is None


def made_layers(model: object) -> object:
    return Recipe.model_validate_json(
        json.dumps({"name": "x", "dataset": "x", "optimizer": SGD, "model": model, "batch_size": 1, "epochs": 1})
    ).model


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_no_benchmark_moves_less_layer_by_layer_than_at_least(precision: Precision, training: bool) -> None:
    specs = session.find(session.catalogue()).asked
    found = {spec.id: intensity(spec, spec.batch_size, precision, training=training) for spec in specs}
    wrong = {name: each for name, each in found.items() if each and not 0 < each.low <= each.high}
    assert not wrong
