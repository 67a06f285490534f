"""What the machine can do: FLOP/s of a large matrix product and bytes/s of a large copy, by a framework.

The product is a chain of dense layers over a staged split, asked as throughput is, so that it is computed as everything
else is.  It ends in one unit, because outputs leave the device: those of the product itself would take longer to cross
to the host than it takes a GPU to compute them.

The copy follows STREAM (McCalpin 1995, "Memory bandwidth and machine balance in current high performance computers";
stream.c, "Copy: a(i) = b(i)"): bytes per second = 2 * bytes of the array * passes / seconds, one read and one write,
and a line that a processor fetches only to overwrite it is not counted.  Each array is at least four times all
last-level caches of the processor together, as STREAM's run rules ask, or on a GPU far beyond its L2.
"""

from __future__ import annotations

import gc
import json
import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from time import perf_counter_ns
from typing import Any, Literal

import numpy as np
import psutil

from suite.machine import environment
from suite.runners import base
from suite.runners.base import Device, Precision, Runner, State
from suite.spec.dataset import DatasetFacts
from suite.spec.precision import VALUE_BYTES
from suite.spec.recipe import Recipe
from suite.spec.resolved import Spec

SIZES = {"cpu": (1024, 1024, 1), "cuda": (16384, 4096, 8)}
"""Rows, side of the square kernels, and layers: so large that what surrounds the products takes next to nothing."""
TRIES, LONGEST_NS = 64, 1_000_000_000
"""The fastest try counts: whatever else the machine does only adds.  After so long no other begins."""
TIMES_CACHE = 4
"""How often the last-level caches fit into an array that is copied."""
LEAST_ARRAY, UNTOLD_ARRAY, CUDA_ARRAY = 64 << 20, 256 << 20, 512 << 20
"""Bytes of an array: at least; where no cache is told; and on a GPU, whose largest L2 so far is some 128 MiB."""
SHARE_OF_MEMORY = 8
"""An array may take one part in so many of the memory that is free."""
PASSES = (1, 4, 16, 64)
"""Of calls over memory: short ones meet a moment when nothing else is at work, and in long ones what a call costs by
itself, or a new array, is lost."""


def found(token: str, runner: Runner, device: Device, mode: str, precision: Precision) -> dict[str, Any]:
    """FLOP/s, bytes/s (null where nobody can say) and the nanoseconds that finding both took.

    Raises what the framework raises.
    """
    began = perf_counter_ns()
    flops = flops_per_second(runner, device, mode, precision)
    gc.collect()  # a program may hold itself in a circle, and its arrays are large
    moved = bytes_per_second(token, device, precision)
    gc.collect()
    return {"flops": flops, "bytes": moved, "ns": perf_counter_ns() - began}


def flops_per_second(runner: Runner, device: Device, mode: str, precision: Precision) -> float:
    """Two FLOPs for each multiply and add.  Raises what the framework raises."""
    rows, side, layers = SIZES[device]
    spec = product(side, layers)
    program = runner.build(spec, mode, precision)
    draw = np.random.default_rng(0)
    images = draw.standard_normal((rows, *spec.input_shape), np.float32)
    program.stage("test", images, np.zeros(rows, np.int32))
    kernel = draw.standard_normal((side, side), np.float32) / math.sqrt(side)  # so that no layer's outputs grow
    weights = {name: kernel[:, : tensor.shape[1]] for name, tensor in spec.tensors.items() if len(tensor.shape) == 2}
    biases = {name: np.zeros(tensor.shape) for name, tensor in spec.tensors.items() if len(tensor.shape) == 1}
    program.load(State(weights | biases))
    _fastest(lambda: program.predict("test", rows), runner.warmup[mode])
    return 2.0 * rows * side**2 * layers / (_fastest(lambda: program.predict("test", rows), TRIES) / 1e9)


def product(side: int, layers: int) -> Spec:
    """``layers`` dense layers, each by a kernel of (side, side), and one of a single unit."""
    facts = DatasetFacts(
        name="product", image_shape=(side, 1, 1), classes=1, train=1, test=1, max_value=1, digest="sha256:0"
    )
    dense = [{"layer": "dense", "units": units} for units in (*(side for _ in range(layers)), 1)]
    recipe = {
        "name": "product", "dataset": "product", "optimizer": {"name": "sgd", "learning_rate": 0.1},
        "model": [{"layer": "flatten"}, *dense],
        "batch_size": 1, "epochs": 1,
    }  # fmt: skip
    return Spec.model_validate({**dict(Recipe.model_validate_json(json.dumps(recipe))), "data": facts})


def bytes_per_second(token: str, device: Device, precision: Precision) -> float | None:
    """Bytes read and written per second by passes over arrays of the values that layers hand on in this precision.

    Null where the framework states no such pass, or the memory has no room for it.  Raises what the framework raises.
    """
    size = array_bytes(device)
    if device == "cpu" and size * SHARE_OF_MEMORY > psutil.virtual_memory().available:
        return None
    kind: Literal["float32", "bfloat16"] = "bfloat16" if precision == "bfloat16" else "float32"
    over = base.memory_passes(token, device, kind, size // VALUE_BYTES[kind])
    return None if over is None else _rate_of(over, size)


def array_bytes(device: Device) -> int:
    """Of each array that is copied."""
    if device == "cuda":
        return CUDA_ARRAY
    caches = environment.last_level_caches()
    return UNTOLD_ARRAY if caches is None else max(LEAST_ARRAY, TIMES_CACHE * caches)


def _rate_of(over: Callable[[int], None], size: int) -> float:
    """Of the fastest call, each length being tried once at least."""
    over(1)
    best, until = 0.0, perf_counter_ns() + LONGEST_NS
    while not best or perf_counter_ns() < until:
        for passes in PASSES:
            best = max(best, 2.0 * size * passes / (_fastest(partial(over, passes), 1) / 1e9))
    return best


def _fastest(call: Callable[[], object], tries: int) -> int:
    """Nanoseconds of the fastest of so many calls."""
    clock = [perf_counter_ns()]
    while len(clock) <= tries and clock[-1] - clock[0] < LONGEST_NS:
        call()
        clock.append(perf_counter_ns())
    return max(min(later - earlier for earlier, later in pairwise(clock)), 1)
