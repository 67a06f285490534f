"""The forward pass in JAX: a function of tensors by canonical name and of a batch."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from suite.errors import Unsupported
from suite.runners.base import Precision
from suite.runners.jax.core import Array, jax, jnp, lax
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
from suite.spec.semantics import margins

Tensors = Mapping[str, Array]
ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid, "softmax": jax.nn.softmax}
PRODUCTS: Mapping[Precision, lax.Precision] = {
    "float64": lax.Precision.HIGHEST,
    "float32": lax.Precision.HIGHEST,
    "tf32": lax.Precision.HIGH,
    "bfloat16": lax.Precision.DEFAULT,
}
"""How a product multiplies what it is given; HIGH is JAX's ``tensorfloat32``."""


class Network:
    """What a spec's layers compute; images are NHWC, or in evaluation NCHW if ``layout`` says so.

    Mixed, products take and give bfloat16, which XLA sums in float32; whatever else a layer computes is in float32, and
    is handed on in bfloat16.  A bias is added in float32.
    """

    def __init__(self, spec: Spec, precision: Precision, seed: int, layout: str = "NHWC") -> None:
        self._graph, self._layout = spec.graph, layout
        self._mixed, self._precision = precision == "bfloat16", PRODUCTS[precision]
        self._first = layout == "NCHW"
        # Found once, for operations one by one would ask each time.
        windowed = [node for node in walk(spec.graph) if isinstance(node.layer, Conv2D | MaxPool | AveragePool)]
        self._sides = {node.name: margins(node) for node in windowed}
        means = ((node, node.layer) for node in windowed if isinstance(node.layer, AveragePool))
        self._counts = {node.name: _counted(node, layer, self._sides[node.name]) for node, layer in means}
        self._frozen = {node.name for node in walk(spec.graph) if spec.is_frozen(node)}
        self._keys = {
            node.name: jax.random.fold_in(jax.random.key(seed), zlib.crc32(node.name.encode()))
            for node in walk(spec.graph)
            if isinstance(node.layer, Dropout)
        }

    def evaluate(self, tensors: Tensors, images: Array) -> Array:
        """Outputs with running statistics and without dropout."""
        if not self._first:
            return self._through(tensors, images, None, {})
        outputs = self._through(tensors, images.transpose(0, 3, 1, 2), None, {})
        return outputs.transpose(0, 2, 3, 1) if outputs.ndim == 4 else outputs

    def train(self, tensors: Tensors, images: Array, step: Array) -> tuple[Array, dict[str, Array]]:
        """Training outputs, and the running statistics as they are after this batch; ``step`` picks what drops out."""
        statistics: dict[str, Array] = {}
        return self._through(tensors, images, step, statistics), statistics

    def _through(self, tensors: Tensors, images: Array, step: Array | None, statistics: dict[str, Array]) -> Array:
        floats = jnp.issubdtype(images.dtype, jnp.floating)
        return self._full(self._run(self._graph, tensors, self._low(images) if floats else images, step, statistics))

    def _low(self, values: Array) -> Array:
        """As a product takes them, and as a layer hands them on."""
        return values.astype(jnp.bfloat16) if self._mixed else values

    def _full(self, values: Array) -> Array:
        """As all else is computed; tokens as they are."""
        return values.astype(jnp.float32) if values.dtype == jnp.bfloat16 else values

    def _run(
        self, nodes: tuple[Node, ...], tensors: Tensors, x: Array, step: Array | None, statistics: dict[str, Array]
    ) -> Array:
        """Run ``nodes`` one after another; ``step`` is None in evaluation."""

        def branch(nodes: tuple[Node, ...]) -> Array:
            return self._run(nodes, tensors, x, step, statistics)

        for node in nodes:
            held = [tensors[tensor.name] for tensor in node.tensors]
            match node.layer:
                case BatchNorm() as layer:
                    still = step is None or node.name in self._frozen
                    x = self._low(self._normalise(node, layer, self._full(x), held, None if still else statistics))
                case Dropout(rate=rate):
                    if rate and step is not None:
                        x = self._low(_dropped(self._full(x), rate, jax.random.fold_in(self._keys[node.name], step)))
                case Residual():
                    x = self._low(branch(node.body) + branch(node.shortcut))
                case Concat():
                    x = jnp.concatenate([branch(nodes) for nodes in node.branches], -1)
                case _:
                    x = self._stateless(node, x, held)
        return x

    def _stateless(self, node: Node, x: Array, held: list[Array]) -> Array:
        """A layer that computes the same in training and in evaluation."""
        match node.layer:
            case Flatten():
                return (x.transpose(0, 2, 3, 1) if self._first and x.ndim == 4 else x).reshape(len(x), *node.output)
            case Dense():
                return self._biased(jnp.matmul(self._low(x), self._low(held[0]), precision=self._precision), held[1:])
            case Conv2D(stride=stride):
                y = lax.conv_general_dilated(
                    self._low(x), self._low(held[0]), stride, self._sides[node.name], precision=self._precision,
                    dimension_numbers=(self._layout, "HWIO", self._layout),
                )  # fmt: skip
                return self._biased(y, held[1:])
            case SampledScores(context=context):
                mean = _rows(held[0], x[:, :context]).mean(1)
                rows = self._low(_rows(held[1], x[:, context:]))
                return self._low(jnp.einsum("nkd,nd->nk", rows, self._low(mean), precision=self._precision))
            case Activation(layer="softmax"):  # what it hands on is not rounded
                return ACTIVATIONS["softmax"](self._full(x), 1 if self._first and x.ndim == 4 else -1)
            case _:
                return self._low(self._elementary(node, self._full(x), held))

    def _elementary(self, node: Node, x: Array, held: list[Array]) -> Array:
        """A layer without a product."""
        match node.layer:
            case MaxPool() | AveragePool() as layer:
                return self._pool(node, layer, x)
            case GlobalAveragePool():
                return x.mean((2, 3) if self._first else (1, 2))
            case Activation(layer=name) if name in ACTIVATIONS:
                return ACTIVATIONS[name](x)
            case Embedding():
                return self._full(_rows(held[0], x)).mean(1)
            case layer:
                raise Unsupported(f"JAX's runner has no layer {layer.layer!r}", where=node.name)

    def _biased(self, y: Array, bias: list[Array]) -> Array:
        """Of a product's output, the bias by channel; the bias too is rounded where activations are."""
        if not bias:
            return y
        return self._low(self._full(y) + self._by_channel(self._full(self._low(bias[0])), y))

    def _by_channel(self, values: Array, x: Array) -> Array:
        """Values (c,) in a shape that meets the channels of ``x``."""
        return values[:, None, None] if self._first and x.ndim == 4 else values

    def _pool(self, node: Node, layer: MaxPool | AveragePool, x: Array) -> Array:
        """The largest of each window, or its sum over how many of its values are counted."""

        def everywhere(pair: Any, rest: Any) -> tuple[Any, ...]:
            return (rest, rest, *pair) if self._first else (rest, *pair, rest)

        where = everywhere(layer.window, 1), everywhere(layer.strides, 1), everywhere(self._sides[node.name], (0, 0))
        if isinstance(layer, MaxPool):
            return lax.reduce_window(x, x.dtype.type(-np.inf), lax.max, *where)
        counts = self._counts[node.name]
        shape = (1, *counts.shape) if self._first else (*counts.shape, 1)
        return lax.reduce_window(x, x.dtype.type(0), lax.add, *where) / counts.reshape(shape).astype(x.dtype)

    def _normalise(
        self, node: Node, layer: BatchNorm, x: Array, held: list[Array], statistics: dict[str, Array] | None
    ) -> Array:
        """Normalisation by the batch, which then enters ``statistics``, or by the running ones where that is None.

        The variance is the mean of squared distances from the mean: that of squares less the square of the mean, in one
        pass, loses its digits where inputs lie far from 0.
        """
        gamma, beta, mean, variance = (self._by_channel(values, x) for values in held)
        if statistics is not None:
            axes = tuple(range(x.ndim - 1))
            mean = x.mean(axes)
            variance = jnp.square(x - mean).mean(axes)
            values, keep = x.size // x.shape[-1], x.dtype.type(layer.momentum)
            unbiased = 1 if layer.running_variance == "biased" else values / max(values - 1, 1)
            taken = float(1 - keep), float(1 - keep) * unbiased
            for tensor, old, new, share in zip(node.tensors[2:], held[2:], (mean, variance), taken, strict=True):
                statistics[tensor.name] = keep * old + share * new
        return (x - mean) * (gamma * lax.rsqrt(variance + layer.epsilon)) + beta


def _rows(table: Array, indices: Array) -> Array:
    """Rows of ``table``, which are there."""
    return table.at[indices].get(mode="promise_in_bounds")


def _dropped(x: Array, rate: float, key: Array) -> Array:
    """Zero with probability ``rate``, else scaled by ``1 / (1 - rate)``; drawn in float32, whatever ``x`` is."""
    return jnp.where(jax.random.bernoulli(key, np.float32(1 - rate), x.shape), x / (1 - rate), 0)


def _counted(node: Node, layer: AveragePool, sides: tuple[tuple[int, int], tuple[int, int]]) -> Any:
    """How many values the mean at each position is over: those of its window, without padding that does not count."""
    if layer.count_padding:
        return np.full((1, 1), layer.window[0] * layer.window[1])
    counts = []
    for axis, (before, _) in enumerate(sides):
        starts = np.arange(node.output[axis]) * layer.strides[axis] - before
        counts.append(np.minimum(starts + layer.window[axis], node.input[axis]) - np.maximum(starts, 0))
    return np.multiply.outer(*counts)
