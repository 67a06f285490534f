"""The forward pass in TensorFlow's core: variables by canonical name, and what each layer computes with them."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from suite.errors import Unsupported
from suite.runners.tf.core import Function, Tensor, tf
from suite.runners.tf.own import unfusable
from suite.spec.graph import Concat, Node, Residual, walk
from suite.spec.layers import (
    Activation,
    AveragePool,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GlobalAveragePool,
    MaxPool,
    SampledScores,
)
from suite.spec.resolved import Spec
from suite.spec.tensors import Padding, padding_of, window

Sides = list[tuple[int, int]]
ACTIVATIONS = {"relu": tf.nn.relu, "tanh": tf.tanh, "sigmoid": tf.sigmoid, "softmax": tf.nn.softmax}


class Network:
    """Variables by canonical name, and the forward pass over them; images are NHWC."""

    layout = "NHWC"

    def __init__(self, spec: Spec, dtype: Any, seed: int, *, mixed: bool = False, wide: bool = False) -> None:
        """``mixed`` computes in bfloat16 what it holds in ``dtype``, but for statistics and softmax.

        With ``wide`` products take what bfloat16 holds as float32.  On a processor TensorFlow sums the gradient of a
        convolution's kernel in bfloat16, 18 % off where all terms are of one sign, and cuts off what a matrix product
        has beyond bfloat16 where it should round, which doubles the error and leans to 0.
        """
        self._graph, self._seed, self._mixed, self._wide = spec.graph, seed, mixed, mixed and wide
        self._frozen = {node.name for node in walk(spec.graph) if spec.is_frozen(node)}
        self._alone = unfusable(spec.graph)
        self._padding = self._paddings()
        self.variables = {
            name: tf.Variable(tf.zeros(tensor.shape, dtype), trainable=name in spec.trainable)
            for name, tensor in spec.tensors.items()
        }

    def twin(self, kind: type[Network], dtype: Any) -> Network:
        """Another network of this one's values as they are now, in ``dtype`` but for those of batch norms."""
        other = kind.__new__(kind)
        other._graph, other._seed, other._frozen, other._alone = self._graph, self._seed, self._frozen, self._alone
        other._padding, other._mixed, other._wide = other._paddings(), False, False
        norms = {t.name for node in walk(self._graph) if isinstance(node.layer, BatchNorm) for t in node.tensors}
        other.variables = {
            name: tf.Variable(tf.cast(variable, tf.float32 if name in norms else dtype), trainable=False)
            for name, variable in self.variables.items()
        }
        return other

    def _paddings(self) -> dict[str, str | Sides]:
        """Of each layer with windows; found once, for eager operations would ask each time."""
        windowed = Conv2D | MaxPool | AveragePool
        return {n.name: _padding(n, n.layer, self.layout) for n in walk(self._graph) if isinstance(n.layer, windowed)}

    def evaluate(self, images: Tensor) -> Tensor:
        """Outputs with running statistics and without dropout."""
        return self._through(images, None, {})

    def train(self, images: Tensor, step: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Training outputs, and the running statistics as they are after this batch; ``step`` picks what drops out."""
        statistics: dict[str, Tensor] = {}
        return self._through(images, step, statistics), statistics

    def _through(self, images: Tensor, step: Tensor | None, statistics: dict[str, Tensor]) -> Tensor:
        outputs = self._run(self._graph, self._low(images) if images.dtype.is_floating else images, step, statistics)
        return self._full(outputs)

    def _low(self, values: Tensor) -> Tensor:
        """As a product takes them, and as a layer hands them on."""
        return tf.cast(values, tf.bfloat16) if self._mixed else values

    def _full(self, values: Tensor) -> Tensor:
        """As sums are taken."""
        return tf.cast(values, tf.float32) if self._mixed else values

    def _run(self, nodes: tuple[Node, ...], x: Tensor, step: Tensor | None, statistics: dict[str, Tensor]) -> Tensor:
        """Run ``nodes`` one after another; ``step`` is None in evaluation."""
        for node in nodes:
            held = [self.variables[tensor.name] for tensor in node.tensors]
            match node.layer:
                case BatchNorm() as layer:
                    still = step is None or node.name in self._frozen
                    x = self._normalise(node, layer, x, held, None if still else statistics)
                case Dropout(rate=rate):
                    if rate and step is not None:
                        stream = tf.constant(self._seed << 32 | zlib.crc32(node.name.encode()), tf.int64)
                        kept = tf.nn.experimental.stateless_dropout(self._full(x), rate, tf.stack([stream, step]))
                        x = self._low(kept)
                case Residual():
                    shortcut = self._run(node.shortcut, x, step, statistics)
                    x = self._run(node.body, x, step, statistics) + shortcut
                case Concat():
                    x = tf.concat([self._run(branch, x, step, statistics) for branch in node.branches], -1)
                case _:
                    x = self._stateless(node, x, held)
        return x

    def _stateless(self, node: Node, x: Tensor, held: list[Tensor]) -> Tensor:
        """A layer that computes the same in training and in evaluation."""
        match node.layer:
            case Flatten():
                return tf.reshape(x, (-1, *node.output))
            case Dense():
                return self._biased(tf.matmul(*self._operands(x, held[0])), held[1:], "NHWC")
            case Conv2D(stride=stride):
                operands = self._operands(x, held[0])
                y = tf.nn.conv2d(*operands, stride, self._padding[node.name], self.layout)
                return self._biased(y, held[1:], self.layout)
            case MaxPool() | AveragePool() as layer:
                return self._pool(node, layer, x)
            case GlobalAveragePool():
                return self._low(tf.reduce_mean(self._full(x), (1, 2)))
            case Activation(layer=name) if name in ACTIVATIONS:
                return ACTIVATIONS[name](self._full(x) if name == "softmax" else x)
            case Embedding() | SampledScores() as layer:
                return self._low(_look_up(layer, x, held, *([self._operand] if self._mixed else [])))
            case layer:
                raise Unsupported(f"TensorFlow's runner has no layer {layer.layer!r}")

    def _operands(self, x: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
        """What a product multiplies, as it is rounded; ``wide``, in float32."""
        return self._operand(x), self._operand(kernel)

    def _operand(self, values: Tensor) -> Tensor:
        return self._full(self._low(values)) if self._wide else self._low(values)

    def _biased(self, y: Tensor, bias: list[Tensor], layout: str) -> Tensor:
        """Mixed, added in float32: the gradient of a bias in bfloat16 TensorFlow sums in bfloat16."""
        if not bias:
            return self._low(y)
        if not self._mixed:
            return tf.nn.bias_add(y, bias[0], layout)
        return self._low(tf.nn.bias_add(self._full(y), self._full(self._low(bias[0])), layout))

    def _pool(self, node: Node, layer: MaxPool | AveragePool, x: Tensor) -> Tensor:
        """Natively where TensorFlow knows the padding by name, for of other padding it counts every value.

        Of padding by name its mean counts none.
        """
        largest, padding = isinstance(layer, MaxPool), self._padding[node.name]
        pool: Function = tf.nn.max_pool2d if largest else tf.nn.avg_pool2d
        if isinstance(padding, str):
            return pool(x, layer.window, layer.strides, padding, self.layout)
        padded = tf.pad(x, padding, constant_values=x.dtype.min if largest else 0)
        pooled = pool(padded, layer.window, layer.strides, "VALID", self.layout)
        if isinstance(layer, MaxPool) or layer.count_padding:
            return pooled
        share = _share(node, layer, self.layout)
        return self._low(self._full(pooled) * share.astype(self._full(pooled).dtype.as_numpy_dtype))

    def _normalise(
        self, node: Node, layer: BatchNorm, x: Tensor, held: list[Tensor], statistics: dict[str, Tensor] | None
    ) -> Tensor:
        """Normalisation by the batch, which then enters ``statistics``, or by the running ones where that is None."""
        images = x if len(node.input) == 3 else tf.reshape(x, (-1, 1, 1, *node.input))
        alone = statistics is None and node.name in self._alone
        norm: Function = _plain_norm if x.dtype == tf.float64 or alone else _fused_norm
        if alone and self._mixed:
            images = self._full(images)
        elif alone:
            held = [tf.cast(values, x.dtype) for values in held]
        y, mean, variance = norm(images, *held, layer.epsilon, statistics is not None)
        y = self._low(y)
        if statistics is not None:
            images = self._full(images)
            keep = images.dtype.as_numpy_dtype(layer.momentum)
            taken = (1 - keep), (1 - keep) * (_biased_share(images) if layer.running_variance == "biased" else 1)
            for tensor, old, new, share in zip(node.tensors[2:], held[2:], (mean, variance), taken, strict=True):
                statistics[tensor.name] = keep * old + share * new
        return y if len(node.input) == 3 else tf.reshape(y, (-1, *node.input))


def _look_up(
    layer: Embedding | SampledScores, x: Tensor, held: list[Tensor], low: Function = lambda values: values
) -> Tensor:
    """The mean of a context's rows, and what candidates score by it: a product, whose operands ``low`` rounds."""
    if isinstance(layer, Embedding):
        return tf.reduce_mean(tf.gather(held[0], x), 1)
    hidden = tf.reduce_mean(tf.gather(held[0], x[:, : layer.context]), 1)
    return tf.linalg.matvec(low(tf.gather(held[1], x[:, layer.context :])), low(hidden))


def _padding(node: Node, layer: Conv2D | MaxPool | AveragePool, layout: str) -> str | Sides:
    """As TensorFlow takes it: by name where a name says the same, else (before, after) of each dimension."""
    sides = _sides(node, layer, layer.padding)
    counted = isinstance(layer, AveragePool) and layer.count_padding
    named = (Padding.VALID,) if counted else (Padding.VALID, Padding.SAME)
    known = (rule.upper() for rule in named if layer.padding is rule or _sides(node, layer, rule) == sides)
    return next(known, [(0, 0), *sides, (0, 0)] if layout == "NHWC" else [(0, 0), (0, 0), *sides])


def _sides(node: Node, layer: Conv2D | MaxPool | AveragePool, padding: Padding | tuple[int, int]) -> Sides:
    """(before, after) of rows and of columns."""
    size, stride = (layer.kernel, layer.stride) if isinstance(layer, Conv2D) else (layer.window, layer.strides)
    return [window(node.input[i], size[i], stride[i], padding_of(padding, i))[1:] for i in (0, 1)]


def _share(node: Node, layer: MaxPool | AveragePool, layout: str) -> Any:
    """By how much a mean over padded windows must grow to be one over what is not padding, for each position."""
    shares = []
    for axis, (before, _) in enumerate(_sides(node, layer, layer.padding)):
        starts = np.arange(node.output[axis]) * layer.strides[axis] - before
        counted = np.minimum(starts + layer.window[axis], node.input[axis]) - np.maximum(starts, 0)
        shares.append(layer.window[axis] / counted)
    share = np.multiply.outer(*shares)
    return share[..., None] if layout == "NHWC" else share


def _biased_share(images: Tensor) -> Any:
    """What a batch's unbiased variance is multiplied by to be the biased one: (n - 1) / n, for n values a channel.

    It is a number wherever the batch's size is known when a step is built: then it costs nothing, being multiplied into
    what the running variance takes of the new one.  In a session it is an operation on two integers.  Of one value
    TensorFlow's operation gives the biased variance as it is.
    """
    if images.shape.is_fully_defined():
        values = images.shape.num_elements() // images.shape[-1]
        return images.dtype.as_numpy_dtype((values - 1) / values if values > 1 else 1)
    values = tf.cast(tf.size(images) // images.shape[-1], images.dtype)
    return tf.maximum(values - 1, 1) / values


def _fused_norm(
    x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor, epsilon: float, training: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs, mean and unbiased variance of images (n, h, w, c): the fused operation, which float64 has not.

    Of images in bfloat16 all else is float32.
    """
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
