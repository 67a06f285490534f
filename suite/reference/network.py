"""A graph of layers forward, in training or in evaluation, and backward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

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
    Role,
)
from suite.reference import layers
from suite.runners.base import Array, Variant, Weights

ACTIVATIONS = {"relu": layers.relu, "tanh": layers.tanh, "sigmoid": layers.sigmoid, "softmax": layers.softmax}


def evaluate(nodes: tuple[Node, ...], x: Array, weights: Weights) -> Array:
    """Outputs with running statistics and without dropout."""
    for node in nodes:
        match node.layer:
            case Residual():
                x = evaluate(node.body, x, weights) + evaluate(node.shortcut, x, weights)
            case BatchNorm(epsilon=epsilon):
                gamma, beta, mean, variance = (weights[t.name] for t in node.tensors)
                x = layers.normalise(x, gamma, beta, mean, variance, epsilon)
            case Dropout():
                pass
            case _:
                x, _ = _stateless(node, x, weights)
    return x


@dataclass
class Training:
    """One forward and backward pass; ``statistics`` fill on the way forth, ``gradients`` on the way back."""

    weights: Weights
    random: np.random.Generator
    variants: frozenset[Variant] = frozenset()
    statistics: Weights = field(default_factory=dict)
    gradients: Weights = field(default_factory=dict)

    def forward(self, nodes: tuple[Node, ...], x: Array) -> tuple[Array, Callable[[Array], Array]]:
        """Training outputs, and the way back from their gradient to that of ``x``."""
        steps: list[Callable[[Array], Array]] = []
        for node in nodes:
            x, step = self._branch(node, x) if isinstance(node.layer, Residual) else self._single(node, x)
            steps.append(step)

        def backward(dy: Array) -> Array:
            for step in reversed(steps):
                dy = step(dy)
            return dy

        return x, backward

    def _branch(self, node: Node, x: Array) -> tuple[Array, Callable[[Array], Array]]:
        """``body(x) + shortcut(x)``: both branches take the gradient of the sum, and theirs add up in ``x``."""
        body, body_back = self.forward(node.body, x)
        shortcut, shortcut_back = self.forward(node.shortcut, x)
        return body + shortcut, lambda dy: body_back(dy) + shortcut_back(dy)

    def _single(self, node: Node, x: Array) -> tuple[Array, Callable[[Array], Array]]:
        match node.layer:
            case BatchNorm():
                y, chain = self._batch_norm(node, node.layer, x)
            case Dropout(rate=rate):
                y, chain = layers.dropout(x, rate, self.random)
            case _:
                y, chain = _stateless(node, x, self.weights)
        names = [t.name for t in node.tensors if t.role.trainable]

        def backward(dy: Array) -> Array:
            dx, *gradients = chain(dy)
            self.gradients.update(zip(names, gradients, strict=True))
            return dx

        return y, backward

    def _batch_norm(self, node: Node, layer: BatchNorm, x: Array) -> layers.Result:
        """Batch norm whose running variance takes the unbiased one, ``n / (n - 1)`` times the batch's, n values each.

        The variant takes the biased one.
        """
        tensors = {t.role: t.name for t in node.tensors}
        gamma, beta = self.weights[tensors[Role.GAMMA]], self.weights[tensors[Role.BETA]]
        y, chain, mean, variance = layers.batch_norm(x, gamma, beta, layer.epsilon)
        if "biased_running_variance" not in self.variants:
            values = x.size // x.shape[-1]
            variance = variance * (values / max(values - 1, 1))
        for role, value in ((Role.MOVING_MEAN, mean), (Role.MOVING_VARIANCE, variance)):
            self.statistics[tensors[role]] = layers.running(self.weights[tensors[role]], value, layer.momentum)
        return y, chain


def _stateless(node: Node, x: Array, weights: Weights) -> layers.Result:
    """A layer that computes the same in training and in evaluation."""
    kernel, bias, *_ = (*(weights[t.name] for t in node.tensors), None, None)
    match node.layer:
        case Flatten():
            return layers.flatten(x)
        case Dense():
            assert kernel is not None
            return layers.dense(x, kernel, bias)
        case Conv2D(stride=stride, padding=padding):
            assert kernel is not None
            return layers.conv2d(x, kernel, bias, stride, padding)
        case MaxPool(window=window, strides=strides, padding=padding):
            return layers.max_pool(x, window, strides, padding)
        case AveragePool(window=window, strides=strides, padding=padding):
            return layers.average_pool(x, window, strides, padding)
        case GlobalAveragePool():
            return layers.global_average_pool(x)
        case Activation(layer=name):
            return ACTIVATIONS[name](x)
        case _:
            raise TypeError(f"{node.name}: no stateless layer")
