"""The small benchmarks that faults are planted in; between them they hold every layer and optimizer."""

import json
from typing import Any

from suite.recipe import Recipe
from suite.spec import DatasetFacts, Spec


def _spec(name: str, shape: tuple[int, int, int], model: list[dict[str, Any]], **fields: Any) -> Spec:
    facts = DatasetFacts(
        name="tiny", image_shape=shape, classes=10, train=101, test=40, max_value=255, digest="sha256:0"
    )
    written = {"name": name, "dataset": "tiny", "model": model, "batch_size": 24, "epochs": 1, **fields}
    recipe = Recipe.model_validate_json(json.dumps(written))
    return Spec.model_validate({**dict(recipe), "data": facts})


SPECS = {
    "mlp": _spec(
        "mlp",
        (8, 8, 1),
        [
            {"layer": "flatten"},
            {"layer": "dense", "units": 64},
            {"layer": "relu"},
            {"layer": "dropout", "rate": 0.25},
            {"layer": "dense", "units": 32},
            {"layer": "tanh"},
            {"layer": "dropout", "rate": 0.5},
            {"layer": "dense", "units": 10},
        ],
        optimizer={"name": "adam"},
        l2=1e-3,
    ),
    "cnn": _spec(
        "cnn",
        (8, 8, 3),
        [
            {"layer": "conv2d", "filters": 8, "kernel": 3, "stride": 2, "padding": "same"},
            {"layer": "batch_norm"},
            {"layer": "relu"},
            {"layer": "conv2d", "filters": 8, "kernel": 3, "padding": "same", "use_bias": False},
            {"layer": "batch_norm", "momentum": 0.8, "epsilon": 1e-3},
            {"layer": "relu"},
            {"layer": "max_pool", "window": 2, "stride": 1, "padding": "same"},
            {"layer": "average_pool", "window": 2, "stride": 1, "padding": "same"},
            {"layer": "flatten"},
            {"layer": "dense", "units": 10},
        ],
        optimizer={"name": "sgd", "learning_rate": 0.01, "momentum": 0.9, "nesterov": True},
        batch_size=8,
    ),
    "residual": _spec(
        "residual",
        (6, 6, 3),
        [
            {"layer": "conv2d", "filters": 4, "kernel": 1, "use_bias": False},
            {
                "layer": "residual",
                "body": [
                    {"layer": "conv2d", "filters": 6, "kernel": 3, "padding": "same", "use_bias": False},
                    {"layer": "batch_norm"},
                    {"layer": "relu"},
                    {"layer": "conv2d", "filters": 6, "kernel": 3, "padding": "same"},
                ],
                "shortcut": [{"layer": "conv2d", "filters": 6, "kernel": 1}],
            },
            {"layer": "tanh"},
            {"layer": "global_average_pool"},
            {"layer": "dense", "units": 10},
            {"layer": "sigmoid"},
        ],
        optimizer={"name": "rmsprop"},
        loss="mean_squared_error",
        target="one_hot",
        input_range=[-1.0, 1.0],
    ),
    "negative": _spec(
        "negative",
        (5, 5, 2),
        [
            {"layer": "max_pool", "window": 3, "stride": 2, "padding": "same"},
            {"layer": "flatten"},
            {"layer": "dense", "units": 10},
        ],
        optimizer={"name": "sgd", "learning_rate": 0.1},
        input_range=[-2.0, -1.0],
    ),
}
