"""A step of training in JAX: the loss, its gradients, and the optimizer by its formula, over a tree of arrays."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np

from suite.runners import base
from suite.runners.base import SLOTS, Precision
from suite.runners.jax.core import Array, jax, jnp
from suite.runners.jax.network import Network, Tensors
from suite.spec.precision import held
from suite.spec.recipe import Adam, Optimizer, RmsProp, Sgd
from suite.spec.resolved import Spec
from suite.spec.targets import Loss
from suite.spec.tensors import Role


class Held(NamedTuple):
    """All that a step changes: weights with running statistics, and optimizer slots by slot name."""

    weights: dict[str, Array]
    slots: dict[str, dict[str, Array]]


class Learner:
    """A spec's network, its loss and its optimizer, as functions of what is held."""

    def __init__(self, spec: Spec, precision: Precision, seed: int) -> None:
        self._spec, self._real = spec, np.dtype(held(precision)).type
        self._loss, self._box_weight = spec.loss, spec.box_weight
        self._decayed = {name for name, tensor in spec.trainable.items() if spec.l2 and tensor.role is Role.KERNEL}
        self.network = Network(spec, precision, seed)
        plain = isinstance(spec.optimizer, Sgd) and not spec.optimizer.momentum
        self.slots = () if plain else SLOTS[spec.optimizer.name]

    def rates(self, step: int, count: int) -> base.Array:
        """Learning rates and epsilons (2, count) of the steps after ``step``, as ``moved`` takes them.

        Adam's ``rate * m^ / (sqrt(v^) + epsilon)`` is ``rate * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + epsilon *
        sqrt(1 - b2^t))``: bias correction moves into two numbers a step.  The powers are taken in float64, for in
        float32 ``1 - b2^t`` loses half of its digits.
        """
        optimizer = self._spec.optimizer
        rates = np.zeros((2, count))
        rates[0] = self._spec.rates(step, count)
        if not isinstance(optimizer, Sgd):
            rates[1] = optimizer.epsilon
        if isinstance(optimizer, Adam):
            t = np.arange(step + 1, step + count + 1)
            root = np.sqrt(1 - float(self._real(optimizer.beta_2)) ** t)
            rates[0] *= root / (1 - float(self._real(optimizer.beta_1)) ** t)
            if optimizer.epsilon_place == "after_correction":
                rates[1] *= root
        return cast(base.Array, rates.astype(self._real))

    def differentiate(
        self, weights: Tensors, images: Array, targets: Array, number: Array
    ) -> tuple[Array, Array, dict[str, Array], dict[str, Array]]:
        """Training outputs, mean data loss, gradients of the objective, running statistics."""
        trained = {name: weights[name] for name in self._spec.trainable}

        def objective(trained: Tensors) -> tuple[Array, tuple[Array, dict[str, Array]]]:
            outputs, statistics = self.network.train({**weights, **trained}, images, number)
            return loss(self._loss, outputs, targets, self._box_weight), (outputs, statistics)

        (value, (outputs, statistics)), gradients = jax.value_and_grad(objective, has_aux=True)(trained)
        return outputs, value, self.penalise(gradients, trained), statistics

    def penalise(self, gradients: dict[str, Array], trained: Tensors) -> dict[str, Array]:
        """Gradients of the objective: those of ``l2 * sum(kernel ** 2)`` added to those of the loss."""
        decay = 2 * self._spec.l2
        return {name: g + decay * trained[name] if name in self._decayed else g for name, g in gradients.items()}

    def look(self, weights: Tensors, images: Array, targets: Array, number: Array) -> tuple[Any, ...]:
        """What a Probe tells, in its order, through the same differentiation as in training."""
        outputs, value, gradients, statistics = self.differentiate(weights, images, targets, number)
        return outputs, self.network.evaluate(weights, images), value, gradients, statistics

    def step(
        self, now: Held, images: Array, targets: Array, batch: Array, rates: Array, number: Array
    ) -> tuple[Held, Array]:
        """What is held after a step on the images that ``batch`` (n,) points to, and their mean loss before it."""
        _, value, gradients, statistics = self.differentiate(
            now.weights, _rows(images, batch), _rows(targets, batch), number
        )
        weights, slots = {**now.weights, **statistics}, {slot: dict(values) for slot, values in now.slots.items()}
        for name, gradient in gradients.items():
            there = [values[name] for values in slots.values()]
            weights[name], new = moved(self._spec.optimizer, weights[name], gradient, there, rates)
            for values, value_of_slot in zip(slots.values(), new, strict=True):
                values[name] = value_of_slot
        return Held(weights, slots), value


def _rows(values: Array, batch: Array) -> Array:
    return jnp.take(values, batch, axis=0, mode="clip")


def moved(
    optimizer: Optimizer, weight: Array, gradient: Array, slots: list[Array], rates: Array
) -> tuple[Array, tuple[Array, ...]]:
    """A weight and its slots after a step; ``rates`` are the learning rate and the epsilon, both of this step.

    The formulas are the reference's (``suite/runners/reference/optimizers.py``), and hyperparameters are rounded to the
    weight's type as there.
    """
    rate, epsilon = rates[0], rates[1]
    real = weight.dtype.type
    match optimizer:
        case Sgd(momentum=0):
            return weight - rate * gradient, ()
        case Sgd(momentum=momentum, nesterov=nesterov):
            velocity = momentum * slots[0] + gradient
            return weight - rate * (gradient + momentum * velocity if nesterov else velocity), (velocity,)
        case Adam():
            beta_1, beta_2 = real(optimizer.beta_1), real(optimizer.beta_2)
            m = beta_1 * slots[0] + (1 - beta_1) * gradient
            v = beta_2 * slots[1] + (1 - beta_2) * jnp.square(gradient)
            return weight - rate * m / (jnp.sqrt(v) + epsilon), (m, v)
        case RmsProp():
            rho = real(optimizer.rho)
            square = rho * slots[0] + (1 - rho) * jnp.square(gradient)
            inside = optimizer.epsilon_place == "inside_root"
            root = jnp.sqrt(square + epsilon) if inside else jnp.sqrt(square) + epsilon
            return weight - rate * gradient / root, (square,)


def loss(kind: Loss, outputs: Array, targets: Array, box_weight: float = 1.0) -> Array:
    """Mean over the batch, and over outputs where a target is as wide as they are.

    In detection the last four outputs are a box, whose mean squared error adds to the loss of the class.
    """
    match kind:
        case Loss.SOFTMAX_CROSS_ENTROPY:
            labels = jax.nn.one_hot(targets, outputs.shape[-1], dtype=outputs.dtype)
            return -(labels * jax.nn.log_softmax(outputs)).sum(-1).mean()
        case Loss.SIGMOID_CROSS_ENTROPY:
            return (jnp.maximum(outputs, 0) - outputs * targets + jnp.log1p(jnp.exp(-jnp.abs(outputs)))).mean()
        case Loss.MEAN_SQUARED_ERROR:
            return jnp.square(outputs - targets).mean()
        case Loss.DETECTION:
            boxes = loss(Loss.MEAN_SQUARED_ERROR, outputs[:, -4:], targets[:, 1:])
            classes = loss(Loss.SOFTMAX_CROSS_ENTROPY, outputs[:, :-4], targets[:, 0].astype(jnp.int32))
            return classes + box_weight * boxes
