"""A graph of layers forward, in training or in evaluation, and backward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from suite.runners.base import Array, Weights
from suite.runners.reference import layers
from suite.spec.graph import Concat, Node, Residual
from suite.spec.layers import BatchNorm, Dropout
from suite.spec.precision import NONE, Rounding
from suite.spec.tensors import Role

PRODUCTS = frozenset({"dense", "conv2d"})
LOOKED_UP = frozenset({"sampled_scores"})
"""Layers that make a product of rows that they look up."""
IN_FULL = frozenset({"softmax"})
"""Layers whose output is not rounded, whatever the precision."""


def evaluate(nodes: tuple[Node, ...], x: Array, weights: Weights, rounding: Rounding = NONE) -> Array:
    """Outputs with running statistics and without dropout; ``x`` is what a layer before might have handed on."""
    for node in nodes:
        match node.layer:
            case Residual():
                body, shortcut = (evaluate(branch, x, weights, rounding) for branch in (node.body, node.shortcut))
                x = rounding.handed(body + shortcut)
            case Concat():
                x = np.concatenate([evaluate(branch, x, weights, rounding) for branch in node.branches], axis=-1)
            case BatchNorm(epsilon=epsilon):
                gamma, beta, mean, variance = (weights[t.name] for t in node.tensors)
                x = rounding.handed(layers.normalise(x, gamma, beta, mean, variance, epsilon))
            case Dropout():
                pass
            case _:
                x, _ = _stateless(node, x, weights, rounding)
    return x


@dataclass
class TrainingPass:
    """One forward and backward pass; ``statistics`` fill on the way forth, ``gradients`` on the way back.

    Tensors in ``frozen`` take no gradient, and a batch norm among them keeps to its running statistics.  What a layer
    hands on, forth and back, is rounded as ``rounding`` says; where branches meet, so is their sum.
    """

    weights: Weights
    random: np.random.Generator
    frozen: frozenset[str] = frozenset()
    rounding: Rounding = NONE
    statistics: Weights = field(default_factory=dict)
    gradients: Weights = field(default_factory=dict)

    def forward(self, nodes: tuple[Node, ...], x: Array) -> tuple[Array, Callable[[Array], Array]]:
        """Training outputs, and the way back from their gradient to that of ``x``."""
        steps: list[Callable[[Array], Array]] = []
        for node in nodes:
            match node.layer:
                case Residual():
                    x, step = self._branch(node, x)
                case Concat():
                    x, step = self._concat(node, x)
                case _:
                    x, step = self._single(node, x)
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
        handed = self.rounding.handed
        return handed(body + shortcut), lambda dy: handed(body_back(dy) + shortcut_back(dy))

    def _concat(self, node: Node, x: Array) -> tuple[Array, Callable[[Array], Array]]:
        """Branches side by side: each takes its own columns of the gradient, and theirs add up in ``x``."""
        ends, backs = zip(*(self.forward(branch, x) for branch in node.branches), strict=True)
        edges = np.cumsum([end.shape[-1] for end in ends])[:-1]

        def backward(dy: Array) -> Array:
            parts = np.split(dy, edges, axis=-1)
            total: Array = sum(back(part) for back, part in zip(backs, parts, strict=True))
            return self.rounding.handed(total)

        return np.concatenate(ends, axis=-1), backward

    def _single(self, node: Node, x: Array) -> tuple[Array, Callable[[Array], Array]]:
        match node.layer:
            case BatchNorm():
                y, chain = self._batch_norm(node, node.layer, x)
                y = self.rounding.handed(y)
            case Dropout(rate=rate):
                y, chain = layers.dropout(x, rate, self.random)
                y = self.rounding.handed(y)
            case _:
                y, chain = _stateless(node, x, self.weights, self.rounding)
        frozen, full = self._is_frozen(node), node.layer.layer in IN_FULL
        names = [t.name for t in node.tensors if t.role.trainable]

        def backward(dy: Array) -> Array:
            dx, *gradients = chain(dy if full else self.rounding.handed(dy))
            if not frozen:
                self.gradients.update(zip(names, gradients, strict=True))
            return self.rounding.handed(dx)

        return y, backward

    def _is_frozen(self, node: Node) -> bool:
        return any(t.name in self.frozen for t in node.tensors)

    def _batch_norm(self, node: Node, layer: BatchNorm, x: Array) -> layers.Result:
        """Batch norm whose running variance takes the unbiased one, ``n / (n - 1)`` times the batch's, n values each.

        That is what PyTorch documents of ``BatchNorm2d``; Keras' ``BatchNormalization`` takes the batch's own, which is
        biased.  A frozen one keeps to its running statistics, and leaves them as they are.
        """
        if self._is_frozen(node):
            gamma, beta, mean, variance = (self.weights[t.name] for t in node.tensors)
            return layers.frozen_batch_norm(x, gamma, beta, mean, variance, layer.epsilon)
        tensors = {t.role: t.name for t in node.tensors}
        gamma, beta = self.weights[tensors[Role.GAMMA]], self.weights[tensors[Role.BETA]]
        y, chain, mean, variance = layers.batch_norm(x, gamma, beta, layer.epsilon)
        if layer.running_variance == "unbiased":
            values = x.size // x.shape[-1]
            variance = variance * (values / max(values - 1, 1))
        for role, value in ((Role.MOVING_MEAN, mean), (Role.MOVING_VARIANCE, variance)):
            self.statistics[tensors[role]] = layers.running(self.weights[tensors[role]], value, layer.momentum)
        return y, chain


def _stateless(node: Node, x: Array, weights: Weights, rounding: Rounding) -> layers.Result:
    """A layer that computes the same in training and in evaluation.

    Of a product's operands the kernel and the input are rounded, and on the way back the gradient of its output; where
    activations are handed on in few bits so are the bias, and the gradients of both, which belong to their rounded
    copies.  Tables are looked up as they are held: what is made of their rows is rounded.
    """
    kind, tensors = node.layer.layer, [weights[tensor.name] for tensor in node.tensors]
    if kind not in PRODUCTS:
        more = [rounding] if kind in LOOKED_UP and rounding.anywhere else []
        y, chain = layers.STATELESS[kind](node.layer, x, *tensors, *more)
        return y if kind in IN_FULL else rounding.handed(y), chain
    operands = [
        rounding.operand(value) if tensor.role is Role.KERNEL else rounding.handed(value)
        for tensor, value in zip(node.tensors, tensors, strict=True)
    ]
    y, chain = layers.STATELESS[kind](node.layer, rounding.operand(x), *operands)

    def backward(dy: Array) -> tuple[Array, ...]:
        operand = rounding.operand(dy)
        dx, d_kernel, *d_bias = chain(operand)
        if d_bias and operand is not dy:  # the bias' gradient is a sum, and no product
            d_bias = [dy.reshape(-1, dy.shape[-1]).sum(axis=0)]
        return dx, *(rounding.handed(gradient) for gradient in (d_kernel, *d_bias))

    return rounding.handed(y), backward
