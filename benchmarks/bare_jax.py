"""Training in JAX with nothing of the suite's around it: what its runner is measured against.

The same steps as an expert's script has them: arrays resident, an epoch one jitted loop, weights and moments donated to
it.  It knows mnist-mlp-128's network, for images of 28 pixels.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

RANDOM = np.random.default_rng(0)
SHAPES = {(784, 128): 784**-0.5, (128,): 784**-0.5, (128, 10): 128**-0.5, (10,): 128**-0.5}
"""784-128-10, as in mnist-mlp-128/pytorch-recipe, and the bounds that its values are drawn within."""


def epochs(
    mode: str,
    images: NDArray[np.float32],
    labels: NDArray[np.int32],
    orders: list[NDArray[np.int32]],
    batch: int,
    threads: int,
) -> Iterator[int]:
    """Nanoseconds of one epoch per order; images (n, 28, 28, 1)."""
    os.environ["PJRT_NPROC"] = str(threads)  # before XLA's client starts
    import jax
    import jax.numpy as jnp

    if mode != "jit" or images.shape[1:] != (28, 28, 1):
        raise SystemExit("the bare loop of jax knows the mode jit and mnist-mlp-128")
    x, y = jnp.array(images), jnp.array(labels, jnp.int32)
    full = [order[: len(order) // batch * batch].reshape(-1, batch) for order in orders]

    def objective(weights: list[Any], images: Any, labels: Any) -> Any:
        kernel_1, bias_1, kernel_2, bias_2 = weights
        hidden = jax.nn.relu(jnp.matmul(images.reshape(len(images), -1), kernel_1, precision="highest") + bias_1)
        logits = jnp.matmul(hidden, kernel_2, precision="highest") + bias_2
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean()

    def step(held: Any, indices: Any) -> tuple[Any, Any]:
        weights, first, second, count = held
        loss, gradients = jax.value_and_grad(objective)(weights, x[indices], y[indices])
        count = count + 1
        first = [0.9 * m + 0.1 * g for m, g in zip(first, gradients, strict=True)]
        second = [0.999 * v + 0.001 * g * g for v, g in zip(second, gradients, strict=True)]
        rate, root = 0.001 / (1 - 0.9**count), jnp.sqrt(1 - 0.999**count)
        moved = [w - rate * m / (jnp.sqrt(v) / root + 1e-8) for w, m, v in zip(weights, first, second, strict=True)]
        return (moved, first, second, count), loss

    def epoch(held: Any, batches: Any) -> tuple[Any, Any]:
        held, losses = jax.lax.scan(step, held, batches)
        return held, losses.sum()

    whole, last = jax.jit(epoch, donate_argnums=0), jax.jit(step, donate_argnums=0)
    weights = [jnp.array(RANDOM.uniform(-b, b, shape), jnp.float32) for shape, b in SHAPES.items()]
    moments = [[jnp.zeros(shape, jnp.float32) for shape in SHAPES] for _ in range(2)]
    held = (weights, *moments, jnp.float32(0))
    for order, batches in zip(orders, full, strict=True):
        gc.collect()
        gc.disable()
        begin = time.perf_counter_ns()
        held, total = whole(held, batches)
        if len(order) > batches.size:
            held, loss = last(held, order[batches.size :])
            total = total + loss
        float(total)
        jax.block_until_ready(held)
        yield time.perf_counter_ns() - begin
        gc.enable()
