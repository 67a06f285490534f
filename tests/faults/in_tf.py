# ruff: noqa: E501
"""Faults in what the TensorFlow runner is made of, replaced while it is at work; a graph is traced with the fault in."""

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np
import tensorflow as tf

from suite.runners.base import Precision, Program, Runner
from suite.runners.tf import network, trainer
from suite.spec.layers import AveragePool, Embedding
from suite.spec.resolved import Spec
from suite.spec.tensors import Padding, window
from tests.faults.catalogue import Fault
from tests.faults.harmless import Mutant
from tests.faults.plant import Planted

FUSED, PLAIN, LOSS = network._fused_norm, network._plain_norm, trainer._loss
PADDING, LOOK_UP, NETWORK = network._padding, network._look_up, network.Network.__init__
RATES, PENALISE, SCATTER, DENSE = trainer.Trainer.rates, trainer.Trainer.penalise, trainer._scatter, trainer.dense
UPDATE, TRAINER = trainer.Learner.update, trainer.Trainer.__init__
MATMUL, CONV2D, CONCAT = tf.matmul, tf.nn.conv2d, tf.concat
RMSPROP = tf.raw_ops.ResourceApplyRMSProp
DROPOUT, MOMENTUM = tf.nn.experimental.stateless_dropout, tf.raw_ops.ResourceApplyMomentum
BITS = (7, 10, 12, 14, 16, 18, 20)


def replaced(owner: Any, name: str, function: Callable[..., Any]) -> Callable[[Runner, float], Runner]:
    """A fault that puts ``function`` in the place of ``owner.name``; it is given the magnitude first."""

    def plant(runner: Runner, m: float) -> Runner:
        def faulty(*arguments: Any, **options: Any) -> Any:
            return function(m, *arguments, **options)

        return Planted(runner, context=lambda: patch.object(owner, name, faulty))

    return plant


class InSession(Planted):
    """Whatever the mode that is asked for, a session."""

    def build(self, spec: Spec, mode: str, precision: Precision) -> Program:
        return super().build(spec, "session", precision)


def in_session(owner: Any, name: str, function: Callable[..., Any]) -> Callable[[Runner, float], Runner]:
    """``replaced``, in a session alone."""

    def plant(runner: Runner, m: float) -> Runner:
        return InSession(runner, context=replaced(owner, name, function)(runner, m)._context)

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


def _softmaxed(_m, kind, outputs, *rest):
    return LOSS(kind, tf.nn.softmax(outputs) if outputs.shape[-1] == 10 else outputs, *rest)


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


def _stated_near(_m, node, layer, layout):
    found = PADDING(node, layer, layout)
    return found if isinstance(found, str) else [(before + after, 0) for before, after in found]


def _summed(_m, layer, x, held, *low):
    return LOOK_UP(layer, x, held, *low) * (x.shape[1] if isinstance(layer, Embedding) else 1)


def _one_table(_m, layer, x, held, *low):
    return LOOK_UP(layer, x, [held[0], held[0] + 0 * held[1]] if len(held) == 2 else held, *low)


def _last_of_each(gradient):
    """The rows of a gradient, of those of one word the last alone, the others 0."""
    same = tf.equal(gradient.indices[:, None], gradient.indices)
    later = tf.linalg.band_part(tf.cast(same, gradient.values.dtype), 0, -1)
    alone = tf.equal(tf.reduce_sum(later, 1, keepdims=True), 1)
    return tf.IndexedSlices(tf.where(alone, gradient.values, 0), gradient.indices, gradient.dense_shape)


def _words_once(_m, gradient):
    return DENSE(_last_of_each(gradient) if isinstance(gradient, tf.IndexedSlices) else gradient)


def _moved_once(_m, variable, gradient, rate):
    return SCATTER(variable, _last_of_each(gradient), rate)


def _nothing_frozen(_m, self, *given, **more):
    NETWORK(self, *given, **more)
    self._frozen = set()


def _constant_rate(_m, self, step, count):
    rates = RATES(self, step, count).copy()
    rates[0] = self._spec.optimizer.learning_rate
    return rates


def _corrected_epsilon(_m, self, step, count):
    rates = RATES(self, step, count).copy()
    if self._optimizer.name == "adam":
        rates[1] *= np.sqrt(1 - self._optimizer.beta_2 ** np.arange(step + 1, step + count + 1))
    return rates


def _outside_root(_m, *, grad, epsilon, **options):
    """Somebody meant to bring an epsilon from outside the root inside it."""
    return RMSPROP(grad=grad, epsilon=tf.square(epsilon), **options)


def _with_momentum(_m, *, momentum, **options):
    return RMSPROP(momentum=momentum + 0.9, **options)


def _uncounted(_m, node, layer, layout):
    return "SAME" if isinstance(layer, AveragePool) else PADDING(node, layer, layout)


def _not_wide(_m, self, *given, **more):
    """Convolutions in bfloat16, as they come: their gradients are summed in it on a processor."""
    NETWORK(self, *given, **{**more, "wide": False})


def _biased_low(_m, self, y, bias, layout):
    return tf.nn.bias_add(self._low(y), self._low(bias[0]), layout) if bias else self._low(y)


def capability():
    """The GPU's major compute capability."""
    details = tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[0])
    return details["compute_capability"][0]


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
    Fault("tf: a convolution's kernel in bfloat16 itself", "usual", r"bfloat16 conv2d alone, gradients: conv2d_1/kernel", replaced(network.Network, "__init__", _not_wide), precision="bfloat16"),
    Fault("tf: biases added in bfloat16", "mlp", r"bfloat16 dense alone, gradients: dense_1/bias", replaced(network.Network, "_biased", _biased_low), precision="bfloat16"),
    Fault("tf: dropout's mask never changes", "mlp", "dropout 0.25: fresh mask", replaced(tf.nn.experimental, "stateless_dropout", _same_mask)),
    Fault("tf: stated padding on the near side", "padded", TRAINING + "conv2d_1", replaced(network, "_padding", _stated_near)),
    Fault("tf: average pooling counts stated padding", "padded", TRAINING + "average_pool_1", replaced(network, "_share", lambda *_: np.ones(1))),
    Fault("tf: words summed", "words", TRAINING + "embedding_1", replaced(network, "_look_up", _summed)),
    Fault("tf: one table for context and candidates", "sampled", TRAINING + r"sampled_scores_1\S*", replaced(network, "_look_up", _one_table)),
    Fault("tf: a repeated word's gradient counted once", "words", "float64 gradients: embedding_1/embedding", replaced(trainer, "dense", _words_once)),
    Fault("tf: a repeated word's row moved once", "sampled", STEP_1 + r"weights: sampled_scores_1/\w+", replaced(trainer, "_scatter", _moved_once)),
    Fault("tf: branches in another order", "boxes", TRAINING + "concat_1", replaced(tf, "concat", lambda _m, values, axis: CONCAT(values[::-1], axis))),
    Fault("tf: boxes weigh as much as classes", "boxes", "float64 loss: loss", replaced(trainer, "_loss", lambda _m, kind, outputs, targets, *_: LOSS(kind, outputs, targets))),
    Fault("tf: a frozen batch norm takes the batch's statistics", "frozen", TRAINING + "residual_1/body/batch_norm_1", replaced(network.Network, "__init__", _nothing_frozen)),
    Fault("tf: the rate never steps", "scheduled", r"float64 step \d+, weights: dense_1/kernel", replaced(trainer.Trainer, "rates", _constant_rate)),
    Fault("tf: Adam's epsilon after correction, not before", "early", STEP_1 + r"weights: \S+", replaced(trainer.Trainer, "rates", _corrected_epsilon)),
    Fault("tf: RMSprop's epsilon squared inside the root", "inside", STEP_1 + r"weights: \S+", replaced(tf.raw_ops, "ResourceApplyRMSProp", _outside_root)),
    Fault("tf: RMSprop with momentum", "inside", r"float32 epoch, .*", replaced(tf.raw_ops, "ResourceApplyRMSProp", _with_momentum)),
    Fault("tf: running variance unbiased, not biased", "inside", "float64 statistics: batch_norm_1/moving_variance", replaced(network, "_biased_share", lambda *_: 1)),
    Fault("tf: padding does not count where it should", "inside", TRAINING + "average_pool_1", replaced(network, "_padding", _uncounted)),
    Fault("tf: statistics no part of the step", "cnn", STEP_1 + "statistics: batch_norm_1/moving_mean", replaced(trainer.Learner, "update", lambda _m, self, gradients, _statistics, *rest: UPDATE(self, gradients, {}, *rest))),
    Fault("tf: in a session, the last operation of a step is not run", "scheduled", STEP_1 + "slot velocity: dense_2/bias", in_session(trainer.Learner, "update", lambda _m, *given: UPDATE(*given)[:-1])),
)
# fmt: on


def _split_matmul(_m, a, b):
    half = a.shape[1] // 2
    return MATMUL(a[:, half:], b[half:]) + MATMUL(a[:, :half], b[:half])


def _folded(_m, x, gamma, beta, mean, variance, epsilon, training):
    """The elementary operations in single precision too."""
    y, *moments = PLAIN(tf.cast(x, gamma.dtype), gamma, beta, mean, variance, epsilon, training)
    return tf.cast(y, x.dtype), *moments


def _one_hot(_m, layer, x, held, *low):
    if not isinstance(layer, Embedding):
        return LOOK_UP(layer, x, held, *low)
    rows = tf.one_hot(x, held[0].shape[0], dtype=held[0].dtype)
    return MATMUL(tf.reduce_sum(rows, 1), held[0]) / x.shape[1]


def _padded_first(_m, x, kernel, stride, padding, layout):
    if isinstance(padding, str):
        return CONV2D(x, kernel, stride, padding, layout)
    return CONV2D(tf.pad(x, padding), kernel, stride, "VALID", layout)


def _never_scatters(_m, self, *arguments):
    TRAINER(self, *arguments)
    self._scatters = False


MUTANTS = (
    Mutant("tf: words by one-hot rows", lambda runner: replaced(network, "_look_up", _one_hot)(runner, 0)),
    Mutant("tf: padded before convolution", lambda runner: replaced(tf.nn, "conv2d", _padded_first)(runner, 0)),
    Mutant("tf: tables moved whole", lambda runner: replaced(trainer.Trainer, "__init__", _never_scatters)(runner, 0)),
    Mutant("tf: dense sums in halves", lambda runner: replaced(tf, "matmul", _split_matmul)(runner, 0)),
    Mutant("tf: batch norm unfused", lambda runner: replaced(network, "_fused_norm", _folded)(runner, 0)),
)
