"""The small benchmarks that faults are planted in; between them they hold every layer and optimizer.

In the ``usual`` ones, convolution, relu and batch norm in this order, the relu of some filters is always on, so that
their biases have the gradient 0.
"""

import json
from typing import Any

from suite.spec.dataset import DatasetFacts
from suite.spec.recipe import Recipe
from suite.spec.resolved import Spec

WORDS = 30
CONTEXT = 8
"""Words around each one that a token data set holds, as `suite.spec.tasks.WIDEST_WINDOW` has it on either side."""


def spec_of(name: str, shape: tuple[int, ...], model: list[dict[str, Any]], **fields: Any) -> Spec:
    """A benchmark of a data set that nobody has."""
    words = len(shape) == 1
    facts = DatasetFacts.model_validate(
        {
            "name": "tiny",
            "image_shape": shape,
            "classes": WORDS if words else 10,
            "train": 101,
            "test": 40,
            "max_value": WORDS - 1 if words else 255,
            "digest": "sha256:0",
        }
    )
    written = {"name": name, "dataset": "tiny", "model": model, "batch_size": 24, "epochs": 1, **fields}
    recipe = Recipe.model_validate_json(json.dumps(written))
    return Spec.model_validate({**dict(recipe), "data": facts})


SPECS = {
    "mlp": spec_of(
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
    "cnn": spec_of(
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
    "residual": spec_of(
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
    "negative": spec_of(
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
    "padded": spec_of(
        "padded",
        (9, 8, 2),
        [
            {"layer": "conv2d", "filters": 6, "kernel": 3, "stride": 2, "padding": 1},
            {"layer": "tanh"},
            {"layer": "max_pool", "window": 3, "stride": 1, "padding": 1},
            {"layer": "average_pool", "window": [2, 3], "stride": 1, "padding": [0, 1]},
            {"layer": "conv2d", "filters": 4, "kernel": [1, 3], "padding": [1, 0]},
            {"layer": "flatten"},
            {"layer": "dense", "units": 10},
        ],
        optimizer={"name": "sgd", "learning_rate": 0.1},
        input_range=[-1.0, 1.0],
    ),
    "words": spec_of(
        "words",
        (CONTEXT,),
        [
            {"layer": "embedding", "vocabulary": WORDS, "units": 6},
            {"layer": "dense", "units": 8},
            {"layer": "tanh"},
            {"layer": "dense", "units": WORDS},
        ],
        optimizer={"name": "adam", "learning_rate": 0.01},
        task={"kind": "embedding", "window": 2},
        l2=1e-3,
    ),
    "sampled": spec_of(
        "sampled",
        (CONTEXT,),
        [{"layer": "sampled_scores", "vocabulary": WORDS, "units": 6, "context": 4}],
        optimizer={"name": "sgd", "learning_rate": 0.1},
        loss="sigmoid_cross_entropy",
        target="first",
        task={"kind": "embedding", "window": 2, "negatives": 3},
    ),
    "boxes": spec_of(
        "boxes",
        (4, 4, 1),
        [
            {"layer": "conv2d", "filters": 4, "kernel": 3, "stride": 2, "padding": "same"},
            {"layer": "relu"},
            {
                "layer": "concat",
                "branches": [
                    [{"layer": "flatten"}, {"layer": "dense", "units": 10}],
                    [{"layer": "global_average_pool"}, {"layer": "dense", "units": 3}, {"layer": "tanh"}],
                    [{"layer": "flatten"}, {"layer": "dense", "units": 1}],
                ],
            },
        ],
        optimizer={"name": "adam"},
        loss="detection",
        target="boxes",
        task={"kind": "detection", "canvas": 7, "box_weight": 2.5},
    ),
    "frozen": spec_of(
        "frozen",
        (6, 6, 2),
        [
            {"layer": "conv2d", "filters": 6, "kernel": 3, "padding": "same", "use_bias": False},
            {"layer": "batch_norm"},
            {"layer": "relu"},
            {
                "layer": "residual",
                "body": [{"layer": "conv2d", "filters": 6, "kernel": 3, "padding": 1}, {"layer": "batch_norm"}],
            },
            {"layer": "relu"},
            {"layer": "conv2d", "filters": 4, "kernel": 1, "use_bias": False},
            {"layer": "batch_norm"},
            {"layer": "tanh"},
            {"layer": "global_average_pool"},
            {"layer": "dense", "units": 10},
        ],
        optimizer={"name": "adam"},
        frozen=["conv2d_1", "residual_1", "batch_norm_2"],
        l2=1e-2,
    ),
    "usual": spec_of(
        "usual",
        (6, 6, 1),
        [
            {"layer": "conv2d", "filters": 16, "kernel": 2},
            {"layer": "relu"},
            {"layer": "batch_norm"},
            {"layer": "flatten"},
            {"layer": "dense", "units": 10},
        ],
        optimizer={"name": "adam"},
    ),
    "usual rmsprop": spec_of(
        "usual-rmsprop",
        (6, 6, 1),
        [
            {"layer": "conv2d", "filters": 16, "kernel": 2},
            {"layer": "relu"},
            {"layer": "average_pool", "window": 2},
            {"layer": "batch_norm", "momentum": 0.99, "epsilon": 1e-3},
            {"layer": "flatten"},
            {"layer": "dense", "units": 10},
        ],
        optimizer={"name": "rmsprop", "learning_rate": 0.01},
        l2=1e-3,
    ),
    "inside": spec_of(
        "inside",
        (6, 6, 2),
        [
            {"layer": "conv2d", "filters": 6, "kernel": 3, "padding": "same", "use_bias": False},
            {"layer": "batch_norm", "momentum": 0.8, "running_variance": "biased"},
            {"layer": "tanh"},
            {"layer": "average_pool", "window": 2, "stride": 1, "padding": "same", "count_padding": True},
            {"layer": "average_pool", "window": 3, "stride": 1, "padding": 1, "count_padding": True},
            {"layer": "average_pool", "window": 3, "stride": 2, "padding": "same", "count_padding": True},
            {"layer": "flatten"},
            {"layer": "dense", "units": 10},
        ],
        optimizer={"name": "rmsprop", "epsilon": 1e-4, "epsilon_place": "inside_root"},
        batch_size=8,
    ),
    "early": spec_of(
        "early",
        (5, 4, 1),
        [
            {"layer": "flatten"},
            {"layer": "dense", "units": 12},
            {"layer": "batch_norm", "running_variance": "biased"},
            {"layer": "tanh"},
            {"layer": "dense", "units": 10},
        ],
        optimizer={"name": "adam", "epsilon": 1e-4, "epsilon_place": "before_correction"},
        l2=1e-3,
    ),
    "scheduled": spec_of(
        "scheduled",
        (5, 4, 1),
        [
            {"layer": "flatten"},
            {"layer": "dense", "units": 12},
            {"layer": "tanh"},
            {"layer": "dense", "units": 10},
        ],
        optimizer={"name": "sgd", "learning_rate": 0.1, "momentum": 0.9},
        schedule={"at": [2, 3, 5], "factor": 0.25},
        epochs=7,
    ),
    "shares": spec_of(
        "shares",
        (5, 4, 1),
        [{"layer": "flatten"}, {"layer": "dense", "units": 10}, {"layer": "softmax"}],
        optimizer={"name": "sgd", "learning_rate": 0.1},
        loss="mean_squared_error",
        target="one_hot",
    ),
}
