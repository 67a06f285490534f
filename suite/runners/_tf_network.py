"""The forward pass in TensorFlow's core: variables by canonical name, and what each layer computes with them."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from suite.errors import Unsupported
from suite.layers import (
    Activation,
    AveragePool,
    BatchNorm,
    Concat,
    Conv2D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GlobalAveragePool,
    MaxPool,
    Node,
    Padding,
    Residual,
    SampledScores,
    padding_of,
    walk,
    window,
)
from suite.runners._tf_core import Function, Tensor, tf
from suite.spec import Spec

ACTIVATIONS = {"relu": tf.nn.relu, "tanh": tf.tanh, "sigmoid": tf.sigmoid, "softmax": tf.nn.softmax}


class Network:
    """Variables by canonical name, and the forward pass over them."""

    def __init__(self, spec: Spec, dtype: Any, seed: int) -> None:
        self._graph, self._seed = spec.graph, seed
        self._frozen = {node.name for node in walk(spec.graph) if spec.is_frozen(node)}
        self.variables = {
            name: tf.Variable(tf.zeros(tensor.shape, dtype), trainable=name in spec.trainable)
            for name, tensor in spec.tensors.items()
        }

    def evaluate(self, images: Tensor) -> Tensor:
        """Outputs with running statistics and without dropout."""
        return self._run(self._graph, images, None, {})

    def train(self, images: Tensor, step: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Training outputs, and the running statistics as they are after this batch; ``step`` picks what drops out."""
        statistics: dict[str, Tensor] = {}
        return self._run(self._graph, images, step, statistics), statistics

    def _run(self, nodes: tuple[Node, ...], x: Tensor, step: Tensor | None, statistics: dict[str, Tensor]) -> Tensor:
        """Run ``nodes`` one after another; ``step`` is None in evaluation."""
        for node in nodes:
            held = [self.variables[tensor.name] for tensor in node.tensors]
            match node.layer:
                case BatchNorm() as layer:
                    still = step is None or node.name in self._frozen
                    x = _normalise(node, layer, x, held, None if still else statistics)
                case Dropout(rate=rate):
                    if rate and step is not None:
                        stream = tf.constant(self._seed << 32 | zlib.crc32(node.name.encode()), tf.int64)
                        x = tf.nn.experimental.stateless_dropout(x, rate, tf.stack([stream, step]))
                case Residual():
                    shortcut = self._run(node.shortcut, x, step, statistics)
                    x = self._run(node.body, x, step, statistics) + shortcut
                case Concat():
                    x = tf.concat([self._run(branch, x, step, statistics) for branch in node.branches], -1)
                case _:
                    x = _stateless(node, x, held)
        return x


def _stateless(node: Node, x: Tensor, held: list[Tensor]) -> Tensor:
    """A layer that computes the same in training and in evaluation."""
    match node.layer:
        case Flatten():
            return tf.reshape(x, (-1, *node.output))
        case Dense():
            return _biased(tf.matmul(x, held[0]), held)
        case Conv2D(kernel=kernel, stride=stride):
            return _biased(tf.nn.conv2d(x, held[0], stride, _padding(node, kernel, stride)), held)
        case MaxPool() | AveragePool() as layer:
            return _pool(node, layer, x)
        case GlobalAveragePool():
            return tf.reduce_mean(x, (1, 2))
        case Activation(layer=name):
            return ACTIVATIONS[name](x)
        case Embedding() | SampledScores() as layer:
            return _look_up(layer, x, held)
        case layer:
            raise Unsupported(f"TensorFlow's runner has no layer {layer.layer!r}")


def _pool(node: Node, layer: MaxPool | AveragePool, x: Tensor) -> Tensor:
    """Natively where TensorFlow knows the padding by name, for of other padding it counts every value."""
    size, stride, largest = layer.window, layer.strides, isinstance(layer, MaxPool)
    pool: Function = tf.nn.max_pool2d if largest else tf.nn.avg_pool2d
    padding = _padding(node, size, stride)
    if isinstance(padding, str):
        return pool(x, size, stride, padding)
    pooled = pool(tf.pad(x, padding, constant_values=x.dtype.min if largest else 0), size, stride, "VALID")
    return pooled if largest else pooled * _share(node, size, stride).astype(x.dtype.as_numpy_dtype)


def _look_up(layer: Embedding | SampledScores, x: Tensor, held: list[Tensor]) -> Tensor:
    """The mean of a context's rows, and what candidates score by it."""
    if isinstance(layer, Embedding):
        return tf.reduce_mean(tf.gather(held[0], x), 1)
    hidden = tf.reduce_mean(tf.gather(held[0], x[:, : layer.context]), 1)
    return tf.linalg.matvec(tf.gather(held[1], x[:, layer.context :]), hidden)


def _padding(node: Node, kernel: tuple[int, int], stride: tuple[int, int]) -> str | list[tuple[int, int]]:
    """As TensorFlow takes it: by name where a name says the same, else (before, after) of each dimension."""
    given = getattr(node.layer, "padding", Padding.VALID)
    sides = _sides(node, kernel, stride, given)
    named = (Padding.VALID, Padding.SAME)
    known = (rule.upper() for rule in named if given is rule or _sides(node, kernel, stride, rule) == sides)
    return next(known, [(0, 0), *sides, (0, 0)])


def _sides(
    node: Node, kernel: tuple[int, int], stride: tuple[int, int], padding: Padding | tuple[int, int]
) -> list[tuple[int, int]]:
    """(before, after) of rows and of columns."""
    return [window(node.input[i], kernel[i], stride[i], padding_of(padding, i))[1:] for i in (0, 1)]


def _share(node: Node, size: tuple[int, int], stride: tuple[int, int]) -> Any:
    """By how much a mean over padded windows must grow to be one over what is not padding: (rows, columns, 1)."""
    shares = []
    for axis, (before, _) in enumerate(_sides(node, size, stride, getattr(node.layer, "padding", Padding.VALID))):
        starts = np.arange(node.output[axis]) * stride[axis] - before
        counted = np.minimum(starts + size[axis], node.input[axis]) - np.maximum(starts, 0)
        shares.append(size[axis] / counted)
    return np.multiply.outer(*shares)[..., None]


def _biased(x: Tensor, held: list[Tensor]) -> Tensor:
    return tf.nn.bias_add(x, held[1]) if len(held) == 2 else x


def _normalise(
    node: Node, layer: BatchNorm, x: Tensor, held: list[Tensor], statistics: dict[str, Tensor] | None
) -> Tensor:
    """Batch normalisation by the batch, which then enters ``statistics``, or by the running ones where that is None."""
    images = x if len(node.input) == 3 else tf.reshape(x, (-1, 1, 1, *node.input))
    norm: Function = _fused_norm if x.dtype == tf.float32 else _plain_norm
    y, mean, variance = norm(images, *held, layer.epsilon, statistics is not None)
    if statistics is not None:
        keep = x.dtype.as_numpy_dtype(layer.momentum)
        for tensor, old, new in zip(node.tensors[2:], held[2:], (mean, variance), strict=True):
            statistics[tensor.name] = keep * old + (1 - keep) * new
    return y if len(node.input) == 3 else tf.reshape(y, (-1, *node.input))


def _fused_norm(
    x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor, epsilon: float, training: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs, mean and unbiased variance of images (n, h, w, c): the fused operation, which float64 has not."""
    running = ([], []) if training else (mean, variance)
    fused = tf.raw_ops.FusedBatchNormV3(
        x=x, scale=gamma, offset=beta, mean=running[0], variance=running[1], epsilon=epsilon, is_training=training
    )
    return fused.y, fused.batch_mean, fused.batch_variance


def _plain_norm(
    x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor, epsilon: float, training: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The same by elementary operations."""
    if training:
        mean, variance = tf.nn.moments(x, (0, 1, 2))
    values = tf.cast(tf.size(x) // x.shape[-1], x.dtype)
    y = tf.nn.batch_normalization(x, mean, variance, beta, gamma, epsilon)
    return y, mean, variance * values / tf.maximum(values - 1, 1)
