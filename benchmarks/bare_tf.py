"""Training of mnist-mlp-128 in TensorFlow's core with nothing of the suite's around it.

The same native steps as an expert's script has them: arrays resident, the epoch one function, fused Adam.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray


def epochs(
    mode: str,
    images: NDArray[np.float32],
    labels: NDArray[np.int32],
    orders: list[NDArray[np.int32]],
    batch: int,
    threads: int,
) -> Iterator[int]:
    """Nanoseconds of one epoch per order; images (n, h, w, c)."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    x, y = tf.constant(images), tf.constant(labels, tf.int64)
    pixels, random = images[0].size, np.random.default_rng(0)
    bounds = {(pixels, 128): pixels**-0.5, (128,): pixels**-0.5, (128, 10): 128**-0.5, (10,): 128**-0.5}
    weights = [tf.Variable(random.uniform(-b, b, shape).astype(np.float32)) for shape, b in bounds.items()]
    moments = [(tf.Variable(tf.zeros_like(w)), tf.Variable(tf.zeros_like(w))) for w in weights]
    steps = tf.Variable(0.0, dtype=tf.float64)
    beta_1, beta_2, none = tf.constant(0.9), tf.constant(0.999), tf.constant(0.0)

    def step(indices: Any) -> Any:
        with tf.GradientTape() as tape:
            hidden = tf.nn.relu(
                tf.nn.bias_add(tf.matmul(tf.reshape(tf.gather(x, indices), (-1, pixels)), weights[0]), weights[1])
            )
            logits = tf.nn.bias_add(tf.matmul(hidden, weights[2]), weights[3])
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(tf.gather(y, indices), logits))
        steps.assign_add(1.0)
        root = tf.sqrt(1 - 0.999**steps)
        rate, epsilon = tf.cast(0.001 * root / (1 - 0.9**steps), tf.float32), tf.cast(1e-8 * root, tf.float32)
        for w, (m, v), g in zip(weights, moments, tape.gradient(loss, weights), strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=w.handle, m=m.handle, v=v.handle, beta1_power=none, beta2_power=none,
                lr=rate, beta1=beta_1, beta2=beta_2, epsilon=epsilon, grad=g,
            )  # fmt: skip
        return loss

    def epoch(batches: Any) -> Any:
        def body(i: Any, total: Any) -> tuple[Any, Any]:
            return i + 1, total + step(batches[i])

        return tf.while_loop(lambda i, _: i < batches.shape[0], body, (0, 0.0), parallel_iterations=1)[1]

    run = epoch if mode == "eager" else tf.function(epoch, autograph=False, jit_compile=mode == "xla" or None)
    last = step if mode == "eager" else tf.function(step, autograph=False, jit_compile=mode == "xla" or None)
    for order in orders:
        gc.collect()
        gc.disable()
        begin = time.perf_counter_ns()
        full = len(order) // batch * batch
        total = run(tf.constant(order[:full].reshape(-1, batch), tf.int64))
        if full < len(order):
            total += last(tf.constant(order[full:], tf.int64))
        float(total)
        yield time.perf_counter_ns() - begin
        gc.enable()
