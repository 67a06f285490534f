"""The forward pass in TensorFlow's core: variables by canonical name, and what each layer computes with them."""

from __future__ import annotations

import zlib
from typing import Any

from suite.errors import Unsupported
from suite.layers import (
    Activation,
    AveragePool,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool,
    MaxPool,
    Node,
    Residual,
)
from suite.runners._tf_core import Function, Tensor, tf
from suite.spec import Spec

ACTIVATIONS = {"relu": tf.nn.relu, "tanh": tf.tanh, "sigmoid": tf.sigmoid, "softmax": tf.nn.softmax}


class Network:
    """Variables by canonical name, and the forward pass over them."""

    def __init__(self, spec: Spec, dtype: Any, seed: int) -> None:
        self._graph, self._seed = spec.graph, seed
        self.variables = {
            name: tf.Variable(tf.zeros(tensor.shape, dtype), trainable=tensor.role.trainable)
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
                    x = _normalise(node, layer, x, held, None if step is None else statistics)
                case Dropout(rate=rate):
                    if rate and step is not None:
                        stream = tf.constant(self._seed << 32 | zlib.crc32(node.name.encode()), tf.int64)
                        x = tf.nn.experimental.stateless_dropout(x, rate, tf.stack([stream, step]))
                case Residual():
                    shortcut = self._run(node.shortcut, x, step, statistics)
                    x = self._run(node.body, x, step, statistics) + shortcut
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
        case Conv2D(stride=stride, padding=padding):
            return _biased(tf.nn.conv2d(x, held[0], stride, padding.upper()), held)
        case MaxPool(window=window, strides=strides, padding=padding):
            return tf.nn.max_pool2d(x, window, strides, padding.upper())
        case AveragePool(window=window, strides=strides, padding=padding):
            return tf.nn.avg_pool2d(x, window, strides, padding.upper())  # TensorFlow does not count padding
        case GlobalAveragePool():
            return tf.reduce_mean(x, (1, 2))
        case Activation(layer=name):
            return ACTIVATIONS[name](x)
        case layer:
            raise Unsupported(f"TensorFlow's runner has no layer {layer.layer!r}")


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
