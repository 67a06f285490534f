# ruff: noqa: E501
"""Faults in what the TensorFlow runner is made of, replaced while it is at work; a graph is traced with the fault in."""

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np
import tensorflow as tf

from suite.layers import Padding, window
from suite.runners import _tf_network as network
from suite.runners import _tf_trainer as trainer
from suite.runners.base import Runner
from tests.faults.catalogue import Fault
from tests.faults.harmless import Mutant
from tests.faults.plant import Planted

FUSED, PLAIN, LOSS = network._fused_norm, network._plain_norm, trainer._loss
RATES, PENALISE = trainer.Trainer.rates, trainer.Trainer.penalise
MATMUL, CONV2D = tf.matmul, tf.nn.conv2d
DROPOUT, MOMENTUM = tf.nn.experimental.stateless_dropout, tf.raw_ops.ResourceApplyMomentum
BITS = (7, 10, 12, 14, 16, 18, 20)


def replaced(owner: Any, name: str, function: Callable[..., Any]) -> Callable[[Runner, float], Runner]:
    """A fault that puts ``function`` in the place of ``owner.name``; it is given the magnitude first."""

    def plant(runner: Runner, m: float) -> Runner:
        def faulty(*arguments: Any, **options: Any) -> Any:
            return function(m, *arguments, **options)

        return Planted(runner, context=lambda: patch.object(owner, name, faulty))

    return plant


def _cut(x: Any, bits: float) -> Any:
    """A float32 tensor cut to some bits of mantissa; its gradient passes."""
    if x.dtype != tf.float32:
        return x
    mask = tf.constant(np.uint32((0xFFFFFFFF << (23 - int(bits))) & 0xFFFFFFFF))
    low = tf.bitcast(tf.bitwise.bitwise_and(tf.bitcast(x, tf.uint32), mask), tf.float32)
    return x + tf.stop_gradient(low - x)


def _near_side(_m, x, kernel, stride, padding, layout):
    if padding != "SAME":
        return CONV2D(x, kernel, stride, padding, layout)
    sides = [window(x.shape[i + 1], kernel.shape[i], stride[i], Padding(padding.lower()))[:0:-1] for i in (0, 1)]
    return CONV2D(x, kernel, stride, [(0, 0), *sides, (0, 0)])


def _counting_pool(_m, x, size, stride, padding, _layout):
    sides = [window(x.shape[i + 1], size[i], stride[i], Padding(padding.lower()))[1:] for i in (0, 1)]
    return tf.nn.pool(tf.pad(x, [(0, 0), *sides, (0, 0)]), size, "AVG", stride, "VALID")


def _biased(_m, x, *rest):
    y, mean, variance = PLAIN(x, *rest)
    values = tf.cast(tf.size(x) // x.shape[-1], x.dtype)
    return y, mean, variance * (values - 1) / values


def _softmaxed(_m, kind, outputs, targets):
    return LOSS(kind, tf.nn.softmax(outputs) if outputs.shape[-1] == 10 else outputs, targets)


def _half_penalty(_m, self, gradients):
    with patch.object(self, "_decay", self._decay / 2):
        return PENALISE(self, gradients)


def _uncorrected_epsilon(_m, self, step, count):
    rates = RATES(self, step, count).copy()
    rates[1] = getattr(self._optimizer, "epsilon", 0)
    return rates


def _step_behind(_m, self, step, count):
    return RATES(self, max(step - 1, 0), count)


def _without_nesterov(_m, **options):
    return MOMENTUM(**{**options, "use_nesterov": False})


def _rough_norm(m, x, gamma, *rest):
    return FUSED(x, gamma * (1 + m), *rest)


def _same_mask(_m, x, rate, seed):
    return DROPOUT(x, rate, tf.constant([1, 2], tf.int64))


TRAINING, STEP_1 = r"float64 training outputs: ", r"float64 step 1, "
# fmt: off
FAULTS = (  # a fault a line, to be read as a table
    Fault("tf: SAME padding on the near side", "cnn", TRAINING + "conv2d_1", replaced(tf.nn, "conv2d", _near_side)),
    Fault("tf: average pooling counts padding", "cnn", TRAINING + "average_pool_1", replaced(tf.nn, "avg_pool2d", _counting_pool)),
    Fault("tf: running variance biased", "cnn", "float64 statistics: batch_norm_1/moving_variance", replaced(network, "_plain_norm", _biased)),
    Fault("tf: doubled softmax", "mlp", "float64 loss: loss", replaced(trainer, "_loss", _softmaxed)),
    Fault("tf: weight decay without its 2", "mlp", "float64 gradients: dense_3/kernel", replaced(trainer.Trainer, "penalise", _half_penalty)),
    Fault("tf: Adam's epsilon before bias correction", "mlp", STEP_1 + r"weights: \S+", replaced(trainer.Trainer, "rates", _uncorrected_epsilon)),
    Fault("tf: bias correction one step behind", "mlp", r"float64 step 2, weights: dense_1/kernel", replaced(trainer.Trainer, "rates", _step_behind)),
    Fault("tf: Nesterov's momentum lost", "cnn", STEP_1 + "weights: conv2d_1/kernel", replaced(tf.raw_ops, "ResourceApplyMomentum", _without_nesterov)),
    Fault("tf: dense layers in TF32 or bfloat16", "mlp", "float32 training outputs: dense_1", replaced(tf, "matmul", lambda bits, a, b: MATMUL(_cut(a, bits), _cut(b, bits))), BITS, 16),
    Fault("tf: convolutions in TF32 or bfloat16", "cnn", "float32 training outputs: conv2d_1", replaced(tf.nn, "conv2d", lambda bits, x, k, *r: CONV2D(_cut(x, bits), _cut(k, bits), *r)), BITS, 16),
    Fault("tf: fused batch norm off", "cnn", "float32 training outputs: batch_norm_1", replaced(network, "_fused_norm", _rough_norm), (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6), 1e-4),
    Fault("tf: dropout's mask never changes", "mlp", "dropout 0.25: fresh mask", replaced(tf.nn.experimental, "stateless_dropout", _same_mask)),
)
# fmt: on


def _split_matmul(_m, a, b):
    half = a.shape[1] // 2
    return MATMUL(a[:, half:], b[half:]) + MATMUL(a[:, :half], b[:half])


def _folded(_m, x, gamma, beta, mean, variance, epsilon, training):
    """The elementary operations in single precision too."""
    return PLAIN(x, gamma, beta, mean, variance, epsilon, training)


MUTANTS = (
    Mutant("tf: dense sums in halves", lambda runner: replaced(tf, "matmul", _split_matmul)(runner, 0)),
    Mutant("tf: batch norm unfused", lambda runner: replaced(network, "_fused_norm", _folded)(runner, 0)),
)
