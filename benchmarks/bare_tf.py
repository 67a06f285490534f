"""Training in TensorFlow's core with nothing of the suite's around it: what its runner is measured against.

The same native steps as an expert's script has them: arrays resident, the epoch one function, fused optimizers; in the
mode session, a graph of TensorFlow 1 with the data in it.  Which network is trained follows from the images:
mnist-mlp-128's for 28 pixels, cifar-resnet50's for 32.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

RANDOM = np.random.default_rng(0)
Order = NDArray[np.int32]


def variable(value: NDArray[Any], trainable: bool = True) -> Any:
    """In float32."""
    return tf.Variable(value.astype(np.float32), trainable=trainable)


class Perceptron:
    """784-128-10 and Adam, as in mnist-mlp-128/pytorch-recipe."""

    compiles_whole_epochs = True

    def __init__(self) -> None:
        bounds = {(784, 128): 784**-0.5, (128,): 784**-0.5, (128, 10): 128**-0.5, (10,): 128**-0.5}
        self.weights = [variable(RANDOM.uniform(-b, b, shape)) for shape, b in bounds.items()]
        self.moments = [[tf.Variable(tf.zeros(shape), trainable=False) for _ in range(2)] for shape in bounds]
        self.steps = tf.Variable(np.float64(0), trainable=False)
        self.betas, self.none = (tf.constant(0.9), tf.constant(0.999)), tf.constant(0.0)

    def logits(self, x: Any) -> tuple[Any, list[Any]]:
        """(n, 10), and what else a training pass changes: nothing."""
        kernel_1, bias_1, kernel_2, bias_2 = self.weights
        hidden = tf.nn.relu(tf.nn.bias_add(tf.matmul(tf.reshape(x, (-1, 784)), kernel_1), bias_1))
        return tf.nn.bias_add(tf.matmul(hidden, kernel_2), bias_2), []

    def update(self, gradients: list[Any]) -> list[Any]:
        """Adam's epsilon behind bias correction, by its schedule."""
        steps = self.steps.assign_add(1.0)
        root = tf.sqrt(1 - 0.999**steps)
        rate, epsilon = tf.cast(0.001 * root / (1 - 0.9**steps), tf.float32), tf.cast(1e-8 * root, tf.float32)
        return [
            tf.raw_ops.ResourceApplyAdam(
                var=w.handle, m=m.handle, v=v.handle, beta1_power=self.none, beta2_power=self.none,
                lr=rate, beta1=self.betas[0], beta2=self.betas[1], epsilon=epsilon, grad=g,
            )
            for w, (m, v), g in zip(self.weights, self.moments, gradients, strict=True)
        ]  # fmt: skip


class Residual:
    """ResNet-50 for small images, momentum, and decay of the kernels, as in cifar-resnet50/cifar10."""

    compiles_whole_epochs = False  # a loop of convolutions would run on one thread of a processor

    def __init__(self) -> None:
        self.norms: list[tuple[Any, ...]] = []
        self.kernels: list[Any] = []
        self.stem = self.convolution(3, 64, 3)
        self.blocks, channels = [], 64
        for stage, count in enumerate((3, 4, 6, 3)):
            width = 64 << stage
            for block in range(count):
                stride = 2 if stage and not block else 1
                shortcut = None if block else self.convolution(channels, 4 * width, 1, stride)
                body = (
                    self.convolution(channels, width, 1),
                    self.convolution(width, width, 3, stride),
                    self.convolution(width, 4 * width, 1),
                )
                self.blocks.append((body, shortcut))
                channels = 4 * width
        self.kernels.append(variable(RANDOM.uniform(-(2048**-0.5), 2048**-0.5, (2048, 10))))
        self.bias = variable(np.zeros(10))
        self.weights = [*self.kernels, *(v for norm in self.norms for v in norm[:2]), self.bias]
        self.velocities = [tf.Variable(tf.zeros(w.shape), trainable=False) for w in self.weights]
        self.rate, self.momentum = tf.constant(0.1), tf.constant(0.9)

    def convolution(self, inputs: int, outputs: int, size: int, stride: int = 1) -> Callable[[Any, list[Any]], Any]:
        """With the batch norm behind it, whose running statistics it appends to what is to be done."""
        kernel = variable(RANDOM.normal(0, (2 / (size * size * inputs)) ** 0.5, (size, size, inputs, outputs)))
        values = np.ones(outputs), np.zeros(outputs)
        gamma, beta = (variable(v) for v in values)
        mean, variance = (variable(v, trainable=False) for v in values[::-1])
        self.kernels.append(kernel)
        self.norms.append((gamma, beta, mean, variance))
        margin = (size // 2, size // 2)

        def apply(x: Any, done: list[Any]) -> Any:
            fused = tf.raw_ops.FusedBatchNormV3(
                x=tf.nn.conv2d(x, kernel, stride, [(0, 0), margin, margin, (0, 0)]),
                scale=gamma, offset=beta, mean=[], variance=[], epsilon=1e-5, is_training=True,
            )  # fmt: skip
            done += [mean.assign(0.9 * mean + 0.1 * fused.batch_mean)]
            done += [variance.assign(0.9 * variance + 0.1 * fused.batch_variance)]
            return fused.y

        return apply

    def logits(self, x: Any) -> tuple[Any, list[Any]]:
        """(n, 10), and the operations that keep the running statistics."""
        done: list[Any] = []
        x = tf.nn.relu(self.stem(x, done))
        for (first, second, third), shortcut in self.blocks:
            y = third(tf.nn.relu(second(tf.nn.relu(first(x, done)), done)), done)
            x = tf.nn.relu(y + (shortcut(x, done) if shortcut else x))
        features = tf.nn.dropout(tf.reduce_mean(x, (1, 2)), 0.2)
        return tf.nn.bias_add(tf.matmul(features, self.kernels[-1]), self.bias), done

    def update(self, gradients: list[Any]) -> list[Any]:
        """Momentum; a kernel's gradient gains that of its decay."""
        decayed = len(self.kernels)
        return [
            tf.raw_ops.ResourceApplyMomentum(
                var=w.handle, accum=v.handle, lr=self.rate, momentum=self.momentum,
                grad=g + 0.0005 * w if i < decayed else g,
            )
            for i, (w, v, g) in enumerate(zip(self.weights, self.velocities, gradients, strict=True))
        ]  # fmt: skip


NETWORKS: dict[tuple[int, ...], type[Perceptron] | type[Residual]] = {(28, 28, 1): Perceptron, (32, 32, 3): Residual}


def epochs(
    mode: str,
    images: NDArray[np.float32],
    labels: NDArray[np.int32],
    orders: list[Order],
    batch: int,
    threads: int,
) -> Iterator[int]:
    """Nanoseconds of one epoch per order; images (n, h, w, c)."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    build = in_session if mode == "session" else in_functions
    run = build(mode, NETWORKS[images.shape[1:]], images, labels, batch, threads)
    for order in orders:
        gc.collect()
        gc.disable()
        begin = time.perf_counter_ns()
        run(order)
        yield time.perf_counter_ns() - begin
        gc.enable()


def differentiate(network: Perceptron | Residual, x: Any, y: Any) -> tuple[Any, list[Any]]:
    """The loss, and the operations of a step."""
    with tf.GradientTape() as tape:
        logits, done = network.logits(x)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
    return loss, done + network.update(tape.gradient(loss, network.weights))


def in_functions(
    mode: str, kind: type[Perceptron] | type[Residual], images: Any, labels: Any, batch: int, _threads: int
) -> Callable[[Order], float]:
    """Eagerly, as a function, or compiled by XLA."""
    network, x, y = kind(), tf.constant(images), tf.constant(labels, tf.int64)

    def step(indices: Any) -> Any:
        return differentiate(network, tf.gather(x, indices), tf.gather(y, indices))[0]

    def compiled(function: Callable[..., Any], xla: bool) -> Callable[..., Any]:
        return function if mode == "eager" else tf.function(function, autograph=False, jit_compile=xla or None)

    last = compiled(step, mode == "xla")
    inner = step if kind.compiles_whole_epochs or mode != "xla" else last

    def epoch(batches: Any) -> Any:
        def body(i: Any, total: Any) -> tuple[Any, Any]:
            return i + 1, total + inner(batches[i])

        return tf.while_loop(lambda i, _: i < batches.shape[0], body, (0, 0.0), parallel_iterations=1)[1]

    whole = compiled(epoch, mode == "xla" and kind.compiles_whole_epochs)

    def run(order: Order) -> float:
        full = len(order) // batch * batch
        total = whole(tf.constant(order[:full].reshape(-1, batch), tf.int64))
        if full < len(order):
            total += last(tf.constant(order[full:], tf.int64))
        return float(total)

    return run


def in_session(
    _mode: str, kind: type[Perceptron] | type[Residual], images: Any, labels: Any, batch: int, threads: int
) -> Callable[[Order], float]:
    """In a graph of TensorFlow 1, a step to each run of a session."""
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, tf.device("/CPU:0"):
        network = kind()
        given = v1.placeholder(tf.float32, images.shape), v1.placeholder(tf.int64, labels.shape)
        x, y = (tf.Variable(values, trainable=False) for values in given)
        indices = v1.placeholder(tf.int64, (None,))
        loss, done = differentiate(network, tf.gather(x, indices), tf.gather(y, indices))
        step, start = tf.group(*done), v1.global_variables_initializer()
    session = v1.Session(
        graph=graph, config=v1.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=1)
    )
    session.run(start, dict(zip(given, (images, labels), strict=True)))

    def run(order: Order) -> float:
        places = order.astype(np.int64)
        return sum(
            float(session.run((loss, step), {indices: places[i : i + batch]})[0]) for i in range(0, len(order), batch)
        )

    return run
