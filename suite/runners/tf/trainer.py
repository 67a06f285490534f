"""A step of training in TensorFlow's core: the loss, its gradients, the fused training operations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from suite.runners.base import SLOTS, Array, Precision
from suite.runners.tf.core import Tensor, is_op_determinism_enabled, tf
from suite.runners.tf.network import Network
from suite.spec.precision import held
from suite.spec.recipe import Adam, RmsProp, Sgd
from suite.spec.resolved import Spec
from suite.spec.targets import Loss
from suite.spec.tensors import Role


def _loss(kind: Loss, outputs: Tensor, targets: Tensor, box_weight: float = 1.0) -> Tensor:
    """Mean over the batch, and over outputs where a target is as wide as they are.

    In detection the last four outputs are a box, whose mean squared error adds to the loss of the class.
    """
    match kind:
        case Loss.SOFTMAX_CROSS_ENTROPY if is_op_determinism_enabled():  # several operations: on a GPU the one is not
            values = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, outputs)
        case Loss.SOFTMAX_CROSS_ENTROPY:
            values = tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(features=outputs, labels=targets).loss
        case Loss.DETECTION:
            labels = tf.cast(targets[:, 0], tf.int64)
            boxes = _loss(Loss.MEAN_SQUARED_ERROR, outputs[:, -4:], targets[:, 1:])
            return _loss(Loss.SOFTMAX_CROSS_ENTROPY, outputs[:, :-4], labels) + box_weight * boxes
        case Loss.SIGMOID_CROSS_ENTROPY:
            values = tf.nn.sigmoid_cross_entropy_with_logits(targets, outputs)
        case Loss.MEAN_SQUARED_ERROR:
            values = tf.math.squared_difference(outputs, targets)
    return tf.reduce_mean(values)


class Trainer:
    """The optimizer and its slots; ``rates`` gives what changes from step to step."""

    def __init__(self, spec: Spec, variables: Mapping[str, Tensor], real: type[np.floating[Any]]) -> None:
        self._spec, self._optimizer, self._real = spec, spec.optimizer, real
        self._decay = real(2 * spec.l2)
        self._decayed = {name for name, tensor in spec.trainable.items() if spec.l2 and tensor.role is Role.KERNEL}
        self._constants = [tf.constant(real(value)) for value in self._hyperparameters()]
        self.variables = {name: variables[name] for name in spec.trainable}
        self._scatters = (
            isinstance(spec.optimizer, Sgd) and not spec.optimizer.momentum and not is_op_determinism_enabled()
        )
        kept = () if isinstance(spec.optimizer, Sgd) and not spec.optimizer.momentum else SLOTS[spec.optimizer.name]
        self.slots = {
            slot: {name: tf.Variable(tf.zeros_like(v), trainable=False) for name, v in self.variables.items()}
            for slot in kept
        }
        fused = isinstance(spec.optimizer, RmsProp) and spec.optimizer.epsilon_place == "inside_root"
        self.scratch = {
            name: tf.Variable(tf.zeros_like(v), trainable=False) for name, v in self.variables.items() if fused
        }
        """The momentum that TensorFlow's RMSprop multiplies by 0 and writes anew in each step: no slot.

        It is 0 after loading, for 0 times what is not finite would stay so.
        """

    def _hyperparameters(self) -> tuple[float, ...]:
        """What every step takes: made tensors once, for eager operations would make them anew each time."""
        match self._optimizer:
            case Adam(beta_1=beta_1, beta_2=beta_2):
                return 0.0, beta_1, beta_2
            case Sgd(momentum=momentum):
                return (momentum,)
            case RmsProp(rho=rho):
                return rho, 1 - float(self._real(rho)), 0.0

    def rates(self, step: int, count: int) -> Array:
        """Learning rates and epsilons (2, count) of the steps after ``step``.

        TensorFlow's Adam adds its epsilon before bias correction.  The paper's ``m^ / (sqrt(v^) + epsilon)`` is
        ``sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + epsilon * sqrt(1 - b2^t))``, so that one to be added after it is
        another in each step; the powers are taken in float64, for in float32 ``1 - b2^t`` loses half of its digits.
        """
        optimizer = self._optimizer
        rates = np.empty((2, count))
        rates[0] = self._spec.rates(step, count)
        rates[1] = 0 if isinstance(optimizer, Sgd) else optimizer.epsilon
        if isinstance(optimizer, Adam):
            t = np.arange(step + 1, step + count + 1)
            root = np.sqrt(1 - float(self._real(optimizer.beta_2)) ** t)
            rates[0] *= root / (1 - float(self._real(optimizer.beta_1)) ** t)
            if optimizer.epsilon_place == "after_correction":
                rates[1] *= root
        return cast(Array, rates.astype(self._real))

    def penalise(self, gradients: list[Tensor]) -> list[Tensor]:
        """Gradients of the objective: those of ``l2 * sum(kernel ** 2)`` added to those of the loss."""
        return [
            g + self._decay * v if name in self._decayed else g
            for (name, v), g in zip(self.variables.items(), gradients, strict=True)
        ]

    def apply(self, gradients: list[Tensor], rate: Tensor, epsilon: Tensor) -> list[Tensor]:
        """One step of every variable; returns its operations, which run by themselves but in a graph of version 1."""
        done: list[Tensor] = []
        for (name, variable), given in zip(self.variables.items(), gradients, strict=True):
            gradient = given if self._scatters else dense(given)
            slots = [values[name] for values in self.slots.values()]
            match self._optimizer:
                case Adam():
                    none, beta_1, beta_2 = self._constants
                    step = tf.raw_ops.ResourceApplyAdam(
                        var=variable.handle, m=slots[0].handle, v=slots[1].handle, beta1_power=none, beta2_power=none,
                        lr=rate, beta1=beta_1, beta2=beta_2, epsilon=epsilon, grad=gradient,
                    )  # fmt: skip
                case Sgd(momentum=0) if isinstance(gradient, tf.IndexedSlices):
                    step = _scatter(variable, gradient, rate)
                case Sgd(momentum=0):
                    step = tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=rate, delta=gradient)
                case Sgd(nesterov=nesterov):
                    step = tf.raw_ops.ResourceApplyMomentum(
                        var=variable.handle, accum=slots[0].handle, lr=rate, grad=gradient,
                        momentum=self._constants[0], use_nesterov=nesterov,
                    )  # fmt: skip
                case RmsProp(epsilon_place="inside_root"):
                    rho, _, none = self._constants
                    step = tf.raw_ops.ResourceApplyRMSProp(
                        var=variable.handle, ms=slots[0].handle, mom=self.scratch[name].handle, lr=rate, rho=rho,
                        momentum=none, epsilon=epsilon, grad=gradient,
                    )  # fmt: skip
                case RmsProp():  # the fused operation has its epsilon inside the root
                    rho, rest, _ = self._constants
                    square = slots[0].assign(rho * slots[0] + rest * tf.square(gradient))
                    step = variable.assign_sub(rate * gradient / (tf.sqrt(square) + epsilon))
            done.append(step)
        return done


def _scatter(variable: Tensor, gradient: Tensor, rate: Tensor) -> Tensor:
    """Move the rows alone that were looked up, one that was so twice twice."""
    return variable.scatter_sub(tf.IndexedSlices(rate * gradient.values, gradient.indices))


def dense(gradient: Tensor) -> Tensor:
    """A gradient in its variable's shape; of one that rows were looked up in, the tape knows those rows alone."""
    return tf.convert_to_tensor(gradient)


class Learner:
    """A spec's network and its trainer: what every mode steps, whatever holds the loop."""

    def __init__(self, spec: Spec, precision: Precision, seed: int, device: str) -> None:
        self._loss, self._box_weight = spec.loss, spec.box_weight
        self.network = Network(spec, held(precision), seed, mixed=precision == "bfloat16", wide="CPU" in device)
        self.trainer = Trainer(spec, self.network.variables, np.dtype(held(precision)).type)

    def differentiate(
        self, images: Tensor, targets: Tensor, step: Tensor
    ) -> tuple[Tensor, Tensor, list[Tensor], dict[str, Tensor]]:
        """Training outputs, mean data loss, gradients of the objective, running statistics."""
        with tf.GradientTape() as tape:
            outputs, statistics = self.network.train(images, step)
            loss = _loss(self._loss, outputs, targets, self._box_weight)
        gradients = self.trainer.penalise(tape.gradient(loss, list(self.trainer.variables.values())))
        return outputs, loss, gradients, statistics

    def look(self, images: Tensor, targets: Tensor, step: Tensor) -> tuple[Any, ...]:
        """What a Probe tells, in its order, through the same differentiation as in training; nothing is updated."""
        outputs, loss, gradients, statistics = self.differentiate(images, targets, step)
        named = {name: dense(g) for name, g in zip(self.trainer.variables, gradients, strict=True)}
        return outputs, self.network.evaluate(images), loss, named, statistics

    def update(
        self, gradients: list[Tensor], statistics: dict[str, Tensor], rate: Tensor, epsilon: Tensor
    ) -> list[Tensor]:
        """Take a step along ``gradients``, and the running ``statistics``; returns the operations."""
        done = self.trainer.apply(gradients, rate, epsilon)
        return done + [self.network.variables[name].assign(value) for name, value in statistics.items()]
