"""Mutants of the reference: the same mathematics summed, laid out or rounded in another way."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from suite.runners.base import Runner
from suite.runners.reference import layers, optimizers
from suite.spec.precision import NONE
from suite.spec.tensors import Padding
from tests.faults.harmless import Mutant
from tests.faults.plant import Planted, patched

BATCH_NORM, CONV2D, DENSE = layers.batch_norm, layers.conv2d, layers.dense
SAMPLED_SCORES = layers.sampled_scores
SGD = optimizers.sgd


def _reversed_dense(_m, x, kernel, bias=None):
    return DENSE(x, kernel, bias) if x.ndim != 2 else _backwards(x, kernel, bias)


def _backwards(x, kernel, bias):
    _, backward = DENSE(x, kernel, bias)
    y = np.ascontiguousarray(x[:, ::-1]) @ np.ascontiguousarray(kernel[::-1])

    def reverse(dy):
        dx, _, *rest = backward(dy)
        return (dx, np.ascontiguousarray(x[::-1].T) @ np.ascontiguousarray(dy[::-1]), *rest)

    return y if bias is None else y + bias, reverse


def _split_dense(_m, x, kernel, bias=None):
    """In two halves, the bias between them."""
    half = len(kernel) // 2
    _, backward = DENSE(x, kernel, bias)
    y = x[:, :half] @ kernel[:half]
    return (y if bias is None else y + bias) + x[:, half:] @ kernel[half:], backward


def _einsum_dense(_m, x, kernel, bias=None):
    """Without BLAS."""
    y = np.einsum("ni,io->no", x, kernel)

    def backward(dy):
        gradients = np.einsum("no,io->ni", dy, kernel), np.einsum("ni,no->io", x, dy)
        return gradients if bias is None else (*gradients, np.einsum("no->o", dy))

    return y if bias is None else y + bias, backward


def _direct_conv(_m, x, kernel, bias, stride, padding):
    """A sum over offsets instead of one product over windows."""
    grid = layers.Windows(x.shape[1:3], kernel.shape[:2], stride, padding)
    padded = grid.pad(x, 0)
    _, backward = CONV2D(x, kernel, bias, stride, padding)
    y = sum(padded[at] @ kernel[i, j] for i, j, at in grid.offsets())
    return y if bias is None else y + bias, backward


def _channels_first_conv(_m, x, kernel, bias, stride, padding):
    """Windows laid out by channel."""
    grid = layers.Windows(x.shape[1:3], kernel.shape[:2], stride, padding)
    planes = np.ascontiguousarray(grid.pad(x, 0).transpose(0, 3, 1, 2))
    views = sliding_window_view(planes, kernel.shape[:2], axis=(2, 3))[:, :, :: stride[0], :: stride[1]]
    y = np.einsum("ncpqij,ijcf->npqf", views, kernel, optimize=True)
    return y if bias is None else y + bias, CONV2D(x, kernel, bias, stride, padding)[1]


def _padded_before(_m, x, kernel, bias, stride, padding):
    """Explicit padding laid around the image first, as a layer of its own."""
    if isinstance(padding, Padding):
        return CONV2D(x, kernel, bias, stride, padding)
    rows, columns = padding
    wide = np.pad(x, [(0, 0), (rows, rows), (columns, columns), (0, 0)])
    y, backward = CONV2D(wide, kernel, bias, stride, Padding.VALID)

    def cropped(dy):
        dx, *gradients = backward(dy)
        return (dx[:, rows : rows + x.shape[1], columns : columns + x.shape[2]], *gradients)

    return y, cropped


def _counted_words(_m, tokens, table):
    """How often each word stands in each example, times the table."""
    counts = np.stack([np.bincount(row, minlength=len(table)) for row in tokens]).astype(table.dtype)
    share = counts / tokens.shape[1]
    return share @ table, lambda dy: (np.zeros(tokens.shape, dy.dtype), share.T @ dy)


def _all_scores(_m, tokens, table, output, context, rounding=NONE):
    """The scores of the whole vocabulary, of which the candidates are taken."""
    hidden = rounding.operand(table[tokens[:, :context]].sum(axis=1) / context)
    scores = np.take_along_axis(hidden @ rounding.operand(output).T, tokens[:, context:].astype(np.intp), axis=1)
    return scores, SAMPLED_SCORES(tokens, table, output, context, rounding)[1]


def _folded_frozen(_m, x, gamma, beta, mean, variance, epsilon):
    factor = gamma / np.sqrt(variance + epsilon)
    return x * factor + (beta - mean * factor), lambda dy: (dy * factor,)


def _wide_batch_norm(_m, x, gamma, beta, epsilon):
    """Everything in float64 inside."""
    wide = [v.astype(np.float64) for v in (x, gamma, beta)]
    y, backward, mean, variance = BATCH_NORM(*wide, epsilon)
    narrow = x.dtype

    def back(dy):
        return tuple(g.astype(narrow) for g in backward(dy.astype(np.float64)))

    return y.astype(narrow), back, mean.astype(narrow), variance.astype(narrow)


def _folded(_m, x, gamma, beta, mean, variance, epsilon):
    """Evaluation as one multiplication and one addition."""
    factor = gamma / np.sqrt(variance + epsilon)
    return x * factor + (beta - mean * factor)


def _other_softmax_loss(_m, logits, labels):
    """Through the log of the sum of exponentials, shifted by the mean."""
    rows = np.arange(len(logits))
    shift = logits.mean(axis=-1, keepdims=True)
    total = shift + np.log(np.exp(logits - shift).sum(axis=-1, keepdims=True))
    gradient = np.exp(logits - total)
    gradient[rows, labels] -= 1
    return (total[:, 0] - logits[rows, labels]).sum() / len(logits), gradient / len(logits)


def _scheduled_adam(_m, setting, weight, gradient, held, step):
    """Bias correction in the rate and the epsilon, the slots by increments: TensorFlow's form."""
    real = weight.dtype.type
    beta_1, beta_2 = setting.beta_1, setting.beta_2
    root = np.sqrt(1 - beta_2**step)
    m = held["m"] + (gradient - held["m"]) * real(1 - beta_1)
    v = held["v"] + (np.square(gradient) - held["v"]) * real(1 - beta_2)
    rate = real(setting.learning_rate * root / (1 - beta_1**step))
    epsilon = setting.epsilon if setting.epsilon_place == "before_correction" else setting.epsilon * root
    return weight - rate * m / (np.sqrt(v) + real(epsilon)), {"m": m, "v": v}


def _wide_sgd(_m, setting, weight, gradient, held):
    wide = [v.astype(np.float64) for v in (weight, gradient)]
    new, slots = SGD(setting, *wide, {k: v.astype(np.float64) for k, v in held.items()})
    return new.astype(weight.dtype), {k: v.astype(weight.dtype) for k, v in slots.items()}


def _incremental_rmsprop(_m, setting, weight, gradient, held):
    real = weight.dtype.type
    square = held["square"] + (gradient * gradient - held["square"]) * real(1 - setting.rho)
    epsilon = real(setting.epsilon)
    inside = setting.epsilon_place == "inside_root"
    step = gradient / (np.sqrt(square + epsilon) if inside else np.sqrt(square) + epsilon)
    return weight - step * real(setting.learning_rate), {"square": square}


def _global_mean(_m, x):
    positions = x.shape[1] * x.shape[2]
    y = x[:, ::-1, ::-1].reshape(len(x), positions, -1).sum(axis=1) * x.dtype.type(1 / positions)
    return y, lambda dy: (np.broadcast_to(dy[:, None, None] * dy.dtype.type(1 / positions), x.shape),)


def one_thread() -> AbstractContextManager[Any]:
    """NumPy's BLAS on one thread, where threadpoolctl is there to say so."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return nullcontext()
    return threadpool_limits(limits=1)


def _replacing(**functions) -> Callable[[Runner], Runner]:
    return lambda runner: patched(**functions)(runner, 0.0)


MUTANTS = (
    Mutant("one thread", lambda runner: Planted(runner, context=one_thread)),
    Mutant("dense sums in reverse", _replacing(layers__dense=_reversed_dense)),
    Mutant("dense sums in halves", _replacing(layers__dense=_split_dense)),
    Mutant("dense without BLAS", _replacing(layers__dense=_einsum_dense)),
    Mutant("direct convolution", _replacing(layers__conv2d=_direct_conv)),
    Mutant("convolution over planes", _replacing(layers__conv2d=_channels_first_conv)),
    Mutant("explicit padding laid around beforehand", _replacing(layers__conv2d=_padded_before)),
    Mutant("words counted, then multiplied", _replacing(layers__embedding=_counted_words)),
    Mutant("candidates taken from the scores of all words", _replacing(layers__sampled_scores=_all_scores)),
    Mutant("frozen batch norm folded", _replacing(layers__frozen_batch_norm=_folded_frozen)),
    Mutant("batch norm in float64 inside", _replacing(layers__batch_norm=_wide_batch_norm)),
    Mutant("batch norm folded in evaluation", _replacing(layers__normalise=_folded)),
    Mutant("softmax loss by another formula", _replacing(losses__softmax_cross_entropy=_other_softmax_loss)),
    Mutant("Adam with scheduled rate and epsilon", _replacing(optimizers__adam=_scheduled_adam)),
    Mutant("sgd in float64 inside", _replacing(optimizers__sgd=_wide_sgd)),
    Mutant("RMSprop by increments", _replacing(optimizers__rmsprop=_incremental_rmsprop)),
    Mutant("global mean in reverse", _replacing(layers__global_average_pool=_global_mean)),
)
