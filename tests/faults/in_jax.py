# ruff: noqa: E501
"""Faults in what the JAX runner is made of, replaced while it is at work; a function is traced with the fault in."""

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np

from suite.runners.base import Runner
from suite.runners.jax import learner, network
from suite.runners.jax.core import jax, jnp, lax
from suite.spec.layers import Embedding, SampledScores
from tests.faults.catalogue import Fault
from tests.faults.harmless import Mutant
from tests.faults.plant import Planted

LOSS, MOVED, RATES = learner.loss, learner.moved, learner.Learner.rates
PENALISE, STEP = learner.Learner.penalise, learner.Learner.step
MARGINS, COUNTED, ROWS, DROPPED = network.margins, network._counted, network._rows, network._dropped
NETWORK, NORMALISE, BIASED = network.Network.__init__, network.Network._normalise, network.Network._biased
STATELESS, ELEMENTARY = network.Network._stateless, network.Network._elementary
MATMUL, CONV, CONCATENATE = jnp.matmul, lax.conv_general_dilated, jnp.concatenate
BITS = (7, 10, 12, 14, 16, 18, 20)


def replaced(owner: Any, name: str, function: Callable[..., Any]) -> Callable[[Runner, float], Runner]:
    """A fault that puts ``function`` in the place of ``owner.name``; it is given the magnitude first."""

    def plant(runner: Runner, m: float) -> Runner:
        def faulty(*arguments: Any, **options: Any) -> Any:
            return function(m, *arguments, **options)

        return Planted(runner, context=lambda: patch.object(owner, name, faulty))

    return plant


def _cut(x: Any, bits: float) -> Any:
    """A float32 array cut to some bits of mantissa; its gradient passes."""
    if x.dtype != jnp.float32:
        return x
    mask = np.uint32((0xFFFFFFFF << (23 - int(bits))) & 0xFFFFFFFF)
    low = lax.bitcast_convert_type(lax.bitcast_convert_type(lax.stop_gradient(x), jnp.uint32) & mask, jnp.float32)
    return x + lax.stop_gradient(low - x)


def _near_side(_m, node, *rule):
    return tuple((after, before) for before, after in MARGINS(node, *rule))


def _one_sided(_m, node, *rule):
    return tuple((before + after, 0) for before, after in MARGINS(node, *rule))


def _counting(counted):
    return lambda _m, node, layer, sides: COUNTED(node, layer.model_copy(update={"count_padding": counted}), sides)


def _variance(kind):
    def normalise(_m, self, node, layer, *rest):
        return NORMALISE(self, node, layer.model_copy(update={"running_variance": kind}), *rest)

    return normalise


def _low_norm(_m, self, node, layer, x, held, statistics):
    """By the batch, in bfloat16 what is to be in float32."""
    if statistics is None or x.dtype != jnp.float32:
        return NORMALISE(self, node, layer, x, held, statistics)
    y = NORMALISE(self, node, layer, x.astype(jnp.bfloat16), [v.astype(jnp.bfloat16) for v in held], statistics)
    statistics.update({t.name: statistics[t.name].astype(jnp.float32) for t in node.tensors[2:]})
    return y


def _softmaxed(_m, kind, outputs, *rest):
    return LOSS(kind, jax.nn.softmax(outputs) if outputs.shape[-1] == 10 else outputs, *rest)


def _half_penalty(_m, self, gradients, trained):
    return PENALISE(self, gradients, {name: value / 2 for name, value in trained.items()})


def _rate(change):
    def rates(_m, self, step, count):
        return change(self, RATES(self, step, count).copy(), step, count)

    return rates


def _with_epsilon(self, rates, *_):
    rates[1] = getattr(self._spec.optimizer, "epsilon", 0)
    return rates


def _corrected(self, rates, step, count):
    if self._spec.optimizer.name == "adam":
        rates[1] *= np.sqrt(1 - self._spec.optimizer.beta_2 ** np.arange(step + 1, step + count + 1))
    return rates


def _constant(self, rates, *_):
    rates[0] = self._spec.optimizer.learning_rate
    return rates


def _optimized_by(**fields):
    """By an optimizer with other fields, of those that it has."""

    def moved(_m, optimizer, *rest):
        there = {name: value for name, value in fields.items() if hasattr(optimizer, name)}
        return MOVED(optimizer.model_copy(update=there), *rest)

    return moved


def _unmoved(_m, self, now, *rest):
    after, value = STEP(self, now, *rest)
    still = {name: held for name, held in now.weights.items() if "/moving_" in name}
    return after._replace(weights={**after.weights, **still}), value


def _next_batch(_m, self, now, images, targets, batch, rates, number):
    return STEP(self, now, images, targets, jnp.roll(batch, 1).at[0].set(batch[0]), rates, number)


def _summed(_m, self, node, x, held):
    y = ELEMENTARY(self, node, x, held)
    return y * x.shape[1] if isinstance(node.layer, Embedding) else y


def _one_table(_m, self, node, x, held):
    if isinstance(node.layer, SampledScores):
        held = [held[0], held[0] + 0 * held[1]]
    return STATELESS(self, node, x, held)


@jax.custom_vjp
def _overwriting(table, indices):
    """Rows; on the way back one that occurs again keeps its last gradient alone."""
    return ROWS(table, indices)


_overwriting.defvjp(
    lambda table, indices: (ROWS(table, indices), (table, indices)),
    lambda kept, dy: (jnp.zeros_like(kept[0]).at[kept[1]].set(dy), None),
)


def _nothing_frozen(_m, self, *given):
    NETWORK(self, *given)
    self._frozen = set()


TRAINING, STEP_1 = r"float64 training outputs: ", r"float64 step 1, "
# fmt: off
FAULTS = (  # a fault a line, to be read as a table
    Fault("jax: SAME padding on the near side", "cnn", TRAINING + "conv2d_1", replaced(network, "margins", _near_side)),
    Fault("jax: average pooling counts padding", "cnn", TRAINING + "average_pool_1", replaced(network, "_counted", _counting(True))),
    Fault("jax: running variance biased", "cnn", "float64 statistics: batch_norm_1/moving_variance", replaced(network.Network, "_normalise", _variance("biased"))),
    Fault("jax: doubled softmax", "mlp", "float64 loss: loss", replaced(learner, "loss", _softmaxed)),
    Fault("jax: loss summed", "mlp", "float64 loss: loss", replaced(learner, "loss", lambda _m, kind, outputs, *rest: LOSS(kind, outputs, *rest) * len(outputs))),
    Fault("jax: weight decay without its 2", "mlp", "float64 gradients: dense_3/kernel", replaced(learner.Learner, "penalise", _half_penalty)),
    Fault("jax: Adam's epsilon before bias correction", "mlp", STEP_1 + r"weights: \S+", replaced(learner.Learner, "rates", _rate(_with_epsilon))),
    Fault("jax: bias correction one step behind", "mlp", r"float64 step 2, weights: dense_1/kernel", replaced(learner.Learner, "rates", lambda _m, self, step, count: RATES(self, max(step - 1, 0), count))),
    Fault("jax: Nesterov's momentum lost", "cnn", STEP_1 + "weights: conv2d_1/kernel", replaced(learner, "moved", _optimized_by(nesterov=False))),
    Fault("jax: a batch's first image twice, its last never", "mlp", STEP_1 + "loss: loss", replaced(learner.Learner, "step", _next_batch)),
    Fault("jax: dense layers in TF32 or bfloat16", "mlp", "float32 training outputs: dense_1", replaced(jnp, "matmul", lambda bits, a, b, **o: MATMUL(_cut(a, bits), _cut(b, bits), **o)), BITS, 16),
    Fault("jax: convolutions in TF32 or bfloat16", "cnn", "float32 training outputs: conv2d_1", replaced(lax, "conv_general_dilated", lambda bits, x, k, *r, **o: CONV(_cut(x, bits), _cut(k, bits), *r, **o)), BITS, 16),
    Fault("jax: dropout's mask never changes", "mlp", "dropout 0.25: fresh mask", replaced(network, "_dropped", lambda _m, x, rate, _key: DROPPED(x, rate, jax.random.key(1)))),
    Fault("jax: dropout unscaled", "mlp", "dropout 0.25: scale", replaced(network, "_dropped", lambda _m, x, rate, key: DROPPED(x, rate, key) * (1 - rate))),
    Fault("jax: stated padding on one side", "padded", TRAINING + "conv2d_1", replaced(network, "margins", _one_sided)),
    Fault("jax: average pooling counts stated padding", "padded", TRAINING + "average_pool_1", replaced(network, "_counted", _counting(True))),
    Fault("jax: words summed", "words", TRAINING + "embedding_1", replaced(network.Network, "_elementary", _summed)),
    Fault("jax: one table for context and candidates", "sampled", TRAINING + r"sampled_scores_1\S*", replaced(network.Network, "_stateless", _one_table)),
    Fault("jax: a repeated word's gradient counted once", "words", "float64 gradients: embedding_1/embedding", replaced(network, "_rows", lambda _m, table, indices: _overwriting(table, indices))),
    Fault("jax: branches in another order", "boxes", TRAINING + "concat_1", replaced(jnp, "concatenate", lambda _m, values, *axis: CONCATENATE(values[::-1], *axis))),
    Fault("jax: boxes weigh as much as classes", "boxes", "float64 loss: loss", replaced(learner, "loss", lambda _m, kind, outputs, targets, *_: LOSS(kind, outputs, targets))),
    Fault("jax: a frozen batch norm takes the batch's statistics", "frozen", TRAINING + "residual_1/body/batch_norm_1", replaced(network.Network, "__init__", _nothing_frozen)),
    Fault("jax: the rate never steps", "scheduled", r"float64 step \d+, weights: dense_1/kernel", replaced(learner.Learner, "rates", _rate(_constant))),
    Fault("jax: Adam's epsilon after correction, not before", "early", STEP_1 + r"weights: \S+", replaced(learner.Learner, "rates", _rate(_corrected))),
    Fault("jax: RMSprop's epsilon outside the root, not inside", "inside", STEP_1 + r"weights: \S+", replaced(learner, "moved", _optimized_by(epsilon_place="outside_root"))),
    Fault("jax: running variance unbiased, not biased", "inside", "float64 statistics: batch_norm_1/moving_variance", replaced(network.Network, "_normalise", _variance("unbiased"))),
    Fault("jax: padding does not count where it should", "inside", TRAINING + "average_pool_1", replaced(network, "_counted", _counting(False))),
    Fault("jax: statistics no part of the step", "cnn", STEP_1 + "statistics: batch_norm_1/moving_mean", replaced(learner.Learner, "step", _unmoved)),
    Fault("jax: batch norm in bfloat16", "cnn", r"bfloat16 .*", replaced(network.Network, "_normalise", _low_norm), precision="bfloat16"),
)
# fmt: on


def _split_matmul(_m, a, b, **options):
    half = a.shape[1] // 2
    return MATMUL(a[:, half:], b[half:], **options) + MATMUL(a[:, :half], b[:half], **options)


def _one_hot(_m, table, indices):
    return jnp.matmul(jax.nn.one_hot(indices, len(table), dtype=table.dtype), table, precision="highest")


def _padded_first(_m, x, kernel, stride, sides, **options):
    return CONV(jnp.pad(x, ((0, 0), *sides, (0, 0))), kernel, stride, "VALID", **options)


MUTANTS = (
    Mutant("jax: words by one-hot rows", lambda runner: replaced(network, "_rows", _one_hot)(runner, 0)),
    Mutant(
        "jax: padded before convolution", lambda runner: replaced(lax, "conv_general_dilated", _padded_first)(runner, 0)
    ),
    Mutant("jax: dense sums in halves", lambda runner: replaced(jnp, "matmul", _split_matmul)(runner, 0)),
)
