"""What the machine can do: the FLOP/s of one large matrix product, by a framework, in the precision that is timed.

It is a dense layer over a staged split, asked as throughput is, so that it is computed as everything else is.
"""

from __future__ import annotations

import json
from time import perf_counter_ns

import numpy as np

from suite.runners.base import Device, Precision, Runner, State
from suite.spec.dataset import DatasetFacts
from suite.spec.recipe import Recipe
from suite.spec.resolved import Spec

SIDES = {"cpu": 1024, "cuda": 8192}
"""Rows, columns and depth of the product: large enough that what surrounds it takes next to nothing."""
TRIES = 8
"""The fastest of which counts: whatever else the machine does only adds."""


def flops_per_second(runner: Runner, device: Device, mode: str, precision: Precision) -> float:
    """Two FLOPs for each multiply and add.  Raises what the framework raises."""
    side = SIDES[device]
    spec = product(side)
    program = runner.build(spec, mode, precision)
    draw = np.random.default_rng(0)
    images = draw.standard_normal((side, *spec.input_shape), np.float32)
    program.stage("test", images, np.zeros(side, np.int32))
    kernel = draw.standard_normal((side, side)) / side
    program.load(State({"dense_1/kernel": kernel, "dense_1/bias": np.zeros(side)}))
    taken = []
    for _ in range(1 + runner.warmup[mode] + TRIES):
        began = perf_counter_ns()
        program.predict("test", side)
        taken.append(perf_counter_ns() - began)
    return 2.0 * side**3 / (min(taken) / 1e9)


def product(side: int) -> Spec:
    """A dense layer: (side, side) by (side, side), and a bias, which is one addition in ``side``."""
    facts = DatasetFacts(
        name="product", image_shape=(side, 1, 1), classes=side, train=side, test=side, max_value=1, digest="sha256:0"
    )
    recipe = {
        "name": "product", "dataset": "product", "optimizer": {"name": "sgd", "learning_rate": 0.1},
        "model": [{"layer": "flatten"}, {"layer": "dense", "units": side}],
        "batch_size": side, "epochs": 1,
    }  # fmt: skip
    return Spec.model_validate({**dict(Recipe.model_validate_json(json.dumps(recipe))), "data": facts})
