# ruff: noqa: E501
"""Faults in the mathematics itself: functions of a runner's replaced while it, and not the reference, is at work."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np

from suite.runners.base import Runner
from suite.runners.reference import layers, losses, optimizers
from suite.runners.reference.network import TrainingPass
from suite.runners.reference.runner import Program
from tests.faults.catalogue import RELATIVE, Fault
from tests.faults.in_low_precision import FAULTS as LOW
from tests.faults.plant import Planted, patched
from tests.faults.reworked import MUTANTS as MUTANTS
from tests.faults.spoilt import truncated

# Kept, for inside the patches these names mean the faulty functions.
AVERAGE_POOL, BATCH_NORM, CONV2D, DENSE, DROPOUT, MAX_POOL = (
    layers.average_pool,
    layers.batch_norm,
    layers.conv2d,
    layers.dense,
    layers.dropout,
    layers.max_pool,
)
NORMALISE, RELU, WINDOW = layers.normalise, layers.relu, layers.window
EMBEDDING, SAMPLED_SCORES, FROZEN = layers.embedding, layers.sampled_scores, layers.frozen_batch_norm
SOFTMAX_LOSS, DETECTION, SIGMOID_LOSS = losses.softmax_cross_entropy, losses.detection, losses.sigmoid_cross_entropy
SGD, ADAM = optimizers.sgd, optimizers.adam
DIFFERENTIATE, CONCAT, SINGLE = Program._differentiate, TrainingPass._concat, TrainingPass._single


def method(owner: type, name: str, function: Callable[..., Any]) -> Callable[[Runner, float], Runner]:
    return lambda runner, _m: Planted(runner, context=lambda: patch.object(owner, name, function))


def activation(name: str, function: Callable[..., Any]) -> Callable[[Runner, float], Runner]:
    return lambda runner, _m: Planted(runner, context=lambda: patch.object(layers, name, function))


def _padding_before(_m, *arguments):
    out, before, after = WINDOW(*arguments)
    return out, after, before


def _padding_on_one_side(_m, *arguments):
    out, before, after = WINDOW(*arguments)
    return (out, before + after, 0) if isinstance(arguments[-1], int) else (out, before, after)


def _summed_words(_m, tokens, table):
    y, backward = EMBEDDING(tokens, table)
    places = tokens.shape[1]
    return y * places, lambda dy: backward(dy * places)


def _words_weigh_alike(_m, tokens, table):
    """A word that stands twice in an example counts once."""
    y = np.stack([table[np.unique(row)].mean(axis=0) for row in tokens])
    return y, EMBEDDING(tokens, table)[1]


def _set_not_added(_m, tokens, table):
    """Of the gradients of a word that stands in several places, the last one stays."""
    y, _ = EMBEDDING(tokens, table)

    def backward(dy):
        d_table = np.zeros_like(table)
        d_table[tokens] = dy[:, None] / tokens.shape[1]
        return np.zeros(tokens.shape, dy.dtype), d_table

    return y, backward


def _once_an_example(_m, tokens, table):
    """A word that stands twice in an example takes its gradient once."""
    y, _ = EMBEDDING(tokens, table)

    def backward(dy):
        d_table = np.zeros_like(table)
        for row, d in zip(tokens, dy, strict=True):
            d_table[np.unique(row)] += d / len(row)
        return np.zeros(tokens.shape, dy.dtype), d_table

    return y, backward


def _candidates_untrained(_m, tokens, table, output, context):
    y, backward = SAMPLED_SCORES(tokens, table, output, context)

    def without(dy):
        d_tokens, d_table, d_output = backward(dy)
        return d_tokens, d_table, np.zeros_like(d_output)

    return y, without


def _one_table(_m, tokens, table, output, context):
    return SAMPLED_SCORES(tokens, table, table + 0 * output, context)


def _context_of_all(_m, tokens, table, output, context):
    hidden = table[tokens].mean(axis=1)
    y = np.einsum("nkd,nd->nk", output[tokens[:, context:]], hidden)
    return y, SAMPLED_SCORES(tokens, table, output, context)[1]


def _first_row_is_padding(_m, tokens, table):
    """The row of word 0 takes no gradient, as that of a padding index."""
    y, backward = EMBEDDING(tokens, table)

    def without(dy):
        d_tokens, d_table = backward(dy)
        d_table[0] = 0
        return d_tokens, d_table

    return y, without


def _mean_of_negatives(_m, logits, targets):
    """The true word weighs as much as all the drawn ones together."""
    loss, gradient = SIGMOID_LOSS(logits, targets)
    share = np.where(targets == 1, 0.5, 0.5 / (logits.shape[1] - 1)).astype(logits.dtype) * logits.shape[1]
    return loss, gradient * share


def _lazy_adam(_m, setting, weight, gradient, held, step):
    """Rows without a gradient keep their slots and their weights."""
    new, slots = ADAM(setting, weight, gradient, held, step)
    if weight.ndim != 2:
        return new, slots
    still = ~gradient.any(axis=1, keepdims=True)
    return np.where(still, weight, new), {slot: np.where(still, held[slot], value) for slot, value in slots.items()}


def _boxes_over_batch(_m, outputs, targets, weight):
    """The error of boxes as a sum over the four numbers."""
    return DETECTION(outputs, targets, 4 * weight)


def _boxes_first(_m, outputs, targets, weight):
    """The box is taken from the front of the outputs."""
    loss, gradient = DETECTION(np.roll(outputs, -4, axis=1), targets, weight)
    return loss, np.roll(gradient, 4, axis=1)


def _box_gradient_unweighted(_m, outputs, targets, weight):
    return DETECTION(outputs, targets, weight)[0], DETECTION(outputs, targets, 1.0)[1]


def _branches_reversed(self, node, x):
    y, backward = CONCAT(self, replace(node, branches=node.branches[::-1]), x)
    return y, backward


def _branch_gradients_shifted(self, node, x):
    y, backward = CONCAT(self, node, x)
    return y, lambda dy: backward(np.roll(dy, 1, axis=1))


def _first_branch_alone_goes_back(self, node, x):
    y, backward = CONCAT(self, node, x)
    first = node.branches[0][-1].output[0]
    mask = np.arange(y.shape[1]) < first

    def one(dy):
        backward(dy)
        kept = dict(self.gradients)
        dx = backward(np.where(mask, dy, 0))
        self.gradients.update(kept)
        return dx

    return y, one


def _trained_backward(_m, x, gamma, beta, mean, variance, epsilon):
    """The way back of a batch norm that is trained."""
    backward = BATCH_NORM(x, gamma, beta, epsilon)[1]
    return FROZEN(x, gamma, beta, mean, variance, epsilon)[0], lambda dy: backward(dy)[:1]


def _gradient_stops(self, node, x):
    y, backward = SINGLE(self, node, x)
    return y, (lambda dy: np.zeros_like(backward(dy))) if self._is_frozen(node) else backward


def _counting_padding(_m, x, size, stride, padding, counted):
    grid = layers.Windows(x.shape[1:3], size, stride, padding)
    area = size[0] * size[1]

    def backward(dy):
        d_padded = grid.pad(np.zeros_like(x), 0)
        for _, _, at in grid.offsets():
            d_padded[at] += dy / area
        return (grid.crop(d_padded),)

    return grid.windows(grid.pad(x, 0)).sum(axis=(3, 4)) / area, backward


def _zero_wins(_m, x, size, stride, padding):
    with patch.object(layers.math, "inf", 0):
        return MAX_POOL(x, size, stride, padding)


def _scaled_kernel(m, x, kernel, bias=None):
    return DENSE(x, kernel * (1 + m) if kernel.shape == (64, 32) else kernel, bias)


def _low_dense(bits, x, kernel, bias=None):
    if x.dtype != np.float32:
        return DENSE(x, kernel, bias)
    return DENSE(truncated(x, int(bits)), truncated(kernel, int(bits)), bias)


def _low_conv(bits, x, kernel, bias, stride, padding):
    if x.dtype != np.float32:
        return CONV2D(x, kernel, bias, stride, padding)
    return CONV2D(truncated(x, int(bits)), truncated(kernel, int(bits)), bias, stride, padding)


def _low_backward(bits, x, kernel, bias=None):
    y, backward = DENSE(x, kernel, bias)
    if x.dtype != np.float32:
        return y, backward
    return y, lambda dy: backward(truncated(dy, int(bits)))


def _rough_root(m, x, gamma, beta, epsilon):
    """A reciprocal root with a relative error of ``m``, in single precision."""
    wrong = gamma * x.dtype.type(1 + m) if x.dtype == np.float32 else gamma
    return BATCH_NORM(x, wrong, beta, epsilon)


def _without_mean_terms(_m, x, gamma, beta, epsilon):
    y, backward, mean, variance = BATCH_NORM(x, gamma, beta, epsilon)
    deviation = np.sqrt(variance + epsilon)
    return y, lambda dy: (gamma / deviation * dy, *backward(dy)[1:]), mean, variance


def _unbiased_in_training(_m, x, gamma, beta, epsilon):
    count = x.size // x.shape[-1]
    _, backward, mean, variance = BATCH_NORM(x, gamma, beta, epsilon)
    z = (x - mean) / np.sqrt(variance * count / (count - 1) + epsilon)
    return gamma * z + beta, backward, mean, variance


def _epsilon_outside(_m, x, gamma, beta, mean, variance, epsilon):
    return gamma * (x - mean) / (np.sqrt(variance) + epsilon) + beta


def _batch_statistics(_m, x, gamma, beta, mean, variance, epsilon):
    return BATCH_NORM(x, gamma, beta, epsilon)[0]


def _no_mean(_m, x, gamma, beta, mean, variance, epsilon):
    return NORMALISE(x, gamma, beta, np.zeros_like(mean), variance, epsilon)


def _doubled_softmax(_m, logits, labels):
    outputs, back = layers.softmax(logits)
    loss, gradient = SOFTMAX_LOSS(outputs, labels)
    return loss, back(gradient)[0]


def _summed(_m, logits, labels):
    loss, gradient = SOFTMAX_LOSS(logits, labels)
    return loss * len(labels), gradient * len(labels)


def _smoothed(m, logits, labels):
    loss, gradient = SOFTMAX_LOSS(logits, labels)
    return loss + m * loss.dtype.type(1), gradient


def _leaking(x):
    y, backward = RELU(x)
    return y, lambda dy: (backward(dy)[0] + 0.01 * np.where(x > 0, 0, dy),)


def _hard_sigmoid(x):
    y = np.clip(x / 6 + 0.5, 0, 1)
    return y, lambda dy: (np.where((y > 0) & (y < 1), dy / 6, 0),)


def _bias_gradient_missing(_m, x, kernel, bias=None):
    y, backward = DENSE(x, kernel, bias)

    def without(dy):
        dx, d_kernel, *rest = backward(dy)
        return (dx, d_kernel, *(np.zeros_like(r) for r in rest))

    return y, without


def _decoupled(_m, setting, weight, gradient, held, step):
    new, slots = ADAM(setting, weight, gradient - 2e-3 * weight, held, step)
    return new - setting.learning_rate * 2e-3 * weight, slots


def _rate_in_velocity(_m, setting, weight, gradient, held):
    velocity = setting.momentum * held["velocity"] - setting.learning_rate * gradient
    step = setting.momentum * velocity - setting.learning_rate * gradient if setting.nesterov else velocity
    return weight + step, {"velocity": velocity}


def _dampened(_m, setting, weight, gradient, held):
    return SGD(setting, weight, (1 - setting.momentum) * gradient, held)


def _rough_update(m, setting, weight, gradient, held, step):
    """A step that is off in single precision alone."""
    new, slots = ADAM(setting, weight, gradient, held, step)
    return (weight + (new - weight) * weight.dtype.type(1 + m) if weight.dtype == np.float32 else new), slots


def _unscaled(_m, x, rate, random):
    mask = (random.random(x.shape) >= rate).astype(x.dtype)
    return x * mask, lambda dy: (dy * mask,)


def _scaled_otherwise(_m, x, rate, random):
    mask = (random.random(x.shape) >= rate).astype(x.dtype) / max(rate, 1e-3)
    return (x * mask, lambda dy: (dy * mask,)) if rate else DROPOUT(x, rate, random)


def _keeps_otherwise(m, x, rate, random):
    """Drops more than it says; the scale is right."""
    scale = (random.random(x.shape) >= rate * (1 + m)).astype(x.dtype) / (1 - rate)
    return x * scale, lambda dy: (dy * scale,)


def _same_mask(_m, x, rate, random):
    return DROPOUT(x, rate, np.random.default_rng(1))


def _mask_per_unit(_m, x, rate, random):
    scale = np.broadcast_to((random.random(x.shape[1:]) >= rate).astype(x.dtype) / (1 - rate), x.shape)
    return x * scale, lambda dy: (dy * scale,)


def _other_mask_back(_m, x, rate, random):
    y, _ = DROPOUT(x, rate, random)
    return y, DROPOUT(x, rate, random)[1]


def _accumulating(self, *arguments):
    outputs, loss, training = DIFFERENTIATE(self, *arguments)
    before = self.__dict__.setdefault("accumulated", {})
    for name, gradient in training.gradients.items():
        training.gradients[name] = before[name] = gradient + before.get(name, 0)
    return outputs, loss, training


def _branches(self, node, x, forth, back):
    """A residual whose shortcut counts ``forth`` in the sum and ``back`` in the gradient."""
    body, body_back = self.forward(node.body, x)
    shortcut, shortcut_back = self.forward(node.shortcut, x)
    return body + forth * shortcut, lambda dy: body_back(dy) + back * shortcut_back(dy)


def _shortcut_lost(self, node, x):
    return _branches(self, node, x, 0, 0)


def _shortcut_gradient_lost(self, node, x):
    return _branches(self, node, x, 1, 0)


TRAINING, STEP_1 = r"float64 training outputs: ", r"float64 step 1, "
# fmt: off
OWN = (  # a fault a line, to be read as a table
    Fault("SAME padding on the near side", "cnn", TRAINING + "conv2d_1", patched(layers__window=_padding_before)),
    Fault("average pooling counts padding", "cnn", TRAINING + "average_pool_1", patched(layers__average_pool=_counting_padding)),
    Fault("a padded zero wins a max pool", "negative", TRAINING + "max_pool_1", patched(layers__max_pool=_zero_wins)),
    Fault("kernel scaled", "mlp", TRAINING + "dense_2", patched(layers__dense=_scaled_kernel), RELATIVE, 1e-8),
    Fault("batch variance unbiased", "cnn", TRAINING + "batch_norm_1", patched(layers__batch_norm=_unbiased_in_training)),
    Fault("batch norm's gradient without its mean terms", "cnn", "float64 gradients: conv2d_2/kernel", patched(layers__batch_norm=_without_mean_terms)),
    Fault("batch norm's epsilon outside the root", "cnn", "float64 evaluation outputs: batch_norm_1", patched(layers__normalise=_epsilon_outside)),
    Fault("evaluation with the batch's statistics", "cnn", "float64 evaluation outputs: batch_norm_1", patched(layers__normalise=_batch_statistics)),
    Fault("running mean left out", "cnn", "float64 evaluation outputs: batch_norm_1/moving_mean", patched(layers__normalise=_no_mean)),
    Fault("doubled softmax", "mlp", "float64 loss: loss", patched(losses__softmax_cross_entropy=_doubled_softmax)),
    Fault("loss summed over the batch", "mlp", "float64 loss: loss", patched(losses__softmax_cross_entropy=_summed)),
    Fault("loss off by a constant", "mlp", "float64 loss: loss", patched(losses__softmax_cross_entropy=_smoothed), RELATIVE, 1e-8),
    Fault("relu leaks backward", "cnn", "float64 gradients: batch_norm_2/beta", activation("relu", _leaking)),
    Fault("hard sigmoid", "residual", TRAINING + "sigmoid_1", activation("sigmoid", _hard_sigmoid)),
    Fault("gradient of biases missing", "mlp", "float64 gradients: dense_3/bias", patched(layers__dense=_bias_gradient_missing)),
    Fault("weight decay decoupled", "mlp", STEP_1 + "slot m: dense_1/kernel", patched(optimizers__adam=_decoupled)),
    Fault("learning rate inside the velocity", "cnn", STEP_1 + "slot velocity: conv2d_1/kernel", patched(optimizers__sgd=_rate_in_velocity)),
    Fault("momentum dampened", "cnn", STEP_1 + "slot velocity: conv2d_1/kernel", patched(optimizers__sgd=_dampened)),
    Fault("gradients accumulate from step to step", "cnn", "float64 step 1, slot velocity: conv2d_1/kernel", method(Program, "_differentiate", _accumulating)),
    Fault("shortcut left out", "residual", TRAINING + "residual_1", method(TrainingPass, "_branch", _shortcut_lost)),
    Fault("shortcut's gradient left out", "residual", "float64 gradients: conv2d_1/kernel", method(TrainingPass, "_branch", _shortcut_gradient_lost)),
    Fault("dense layers in TF32 or bfloat16", "mlp", "float32 training outputs: dense_1", patched(layers__dense=_low_dense), (7, 10, 12, 14, 16, 18, 20), 16),
    Fault("convolutions in TF32 or bfloat16", "cnn", "float32 training outputs: conv2d_1", patched(layers__conv2d=_low_conv), (7, 10, 12, 14, 16, 18, 20), 16),
    Fault("low precision on the way back", "mlp", r"float32 gradients: dense_\d/\w+", patched(layers__dense=_low_backward), (7, 10, 12, 14, 16, 18, 20), 14),
    Fault("rough reciprocal root", "cnn", "float32 training outputs: batch_norm_1", patched(layers__batch_norm=_rough_root), RELATIVE, 1e-4),
    Fault("optimizer's step off in single precision", "mlp", r"float32 epoch, .*", patched(optimizers__adam=_rough_update), RELATIVE[:6], 1e-1),
    Fault("explicit padding on one side", "padded", TRAINING + "conv2d_1", patched(layers__window=_padding_on_one_side)),
    Fault("average pooling counts explicit padding", "padded", TRAINING + "average_pool_1", patched(layers__average_pool=_counting_padding)),
    Fault("an explicitly padded zero wins a max pool", "padded", TRAINING + "max_pool_1", patched(layers__max_pool=_zero_wins)),
    Fault("words summed", "words", TRAINING + "embedding_1", patched(layers__embedding=_summed_words)),
    Fault("words of an example as a set", "words", TRAINING + r"embedding_1\S*", patched(layers__embedding=_words_weigh_alike)),
    Fault("gradients of a word overwritten", "words", "float64 gradients: embedding_1/embedding", patched(layers__embedding=_set_not_added)),
    Fault("gradient of a repeated word counted once", "words", "float64 gradients: embedding_1/embedding", patched(layers__embedding=_once_an_example)),
    Fault("first word taken for padding", "words", "float64 gradients: embedding_1/embedding", patched(layers__embedding=_first_row_is_padding)),
    Fault("rows without a gradient left alone", "words", "float64 step 2, slot m: embedding_1/embedding", patched(optimizers__adam=_lazy_adam)),
    Fault("candidates' table not trained", "sampled", "float64 gradients: sampled_scores_1/output_embedding", patched(layers__sampled_scores=_candidates_untrained)),
    Fault("one table for context and candidates", "sampled", TRAINING + r"sampled_scores_1\S*", patched(layers__sampled_scores=_one_table)),
    Fault("candidates in the context", "sampled", TRAINING + r"sampled_scores_1\S*", patched(layers__sampled_scores=_context_of_all)),
    Fault("true word weighs as much as all others", "sampled", "float64 gradients: sampled_scores_1/output_embedding", patched(losses__sigmoid_cross_entropy=_mean_of_negatives)),
    Fault("error of boxes summed over a box", "boxes", "float64 loss: loss", patched(losses__detection=_boxes_over_batch)),
    Fault("box before the classes", "boxes", "float64 loss: loss", patched(losses__detection=_boxes_first)),
    Fault("gradient of boxes without their weight", "boxes", r"float64 gradients: concat_1/3/dense_1/bias", patched(losses__detection=_box_gradient_unweighted)),
    Fault("branches in another order", "boxes", TRAINING + "concat_1", method(TrainingPass, "_concat", _branches_reversed)),
    Fault("branches' gradients shifted", "boxes", "float64 gradients: concat_1/3/dense_1/bias", method(TrainingPass, "_concat", _branch_gradients_shifted)),
    Fault("one branch alone passes a gradient back", "boxes", "float64 gradients: conv2d_1/bias", method(TrainingPass, "_concat", _first_branch_alone_goes_back)),
    Fault("frozen batch norm's gradient as if trained", "frozen", "float64 gradients: conv2d_2/kernel", patched(layers__frozen_batch_norm=_trained_backward)),
    Fault("no gradient passes a frozen layer", "frozen", "float64 gradients: conv2d_2/kernel", method(TrainingPass, "_single", _gradient_stops)),
    Fault("dropout unscaled", "mlp", "dropout 0.25: scale", patched(layers__dropout=_unscaled)),
    Fault("dropout scaled by the other rate", "mlp", "dropout 0.25: scale", patched(layers__dropout=_scaled_otherwise)),
    Fault("rate of what dropout keeps", "mlp", "dropout 0.25: keep rate", patched(layers__dropout=_keeps_otherwise), RELATIVE[:4], 0.1),
    Fault("dropout's mask never changes", "mlp", "dropout 0.25: fresh mask", patched(layers__dropout=_same_mask)),
    Fault("dropout's mask shared by the batch", "mlp", "dropout 0.25: keep rate.*", patched(layers__dropout=_mask_per_unit)),
    Fault("another mask on the way back", "mlp", "dropout 0.25: gradient", patched(layers__dropout=_other_mask_back)),
)
# fmt: on
FAULTS = (*OWN, *LOW)
