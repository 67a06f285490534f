"""Each layer forward and backward.

A layer is a function from its input (n, ...) and its tensors to its output and a ``Backward``: the chain rule from the
gradient of the output to the gradient of the input, followed by one gradient per trainable tensor, in the order given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from suite.runners.base import Array
from suite.spec.precision import NONE, Rounding
from suite.spec.tensors import Padding, padding_of, window

Backward = Callable[[Array], tuple[Array, ...]]
Result = tuple[Array, Backward]
Pair = tuple[int, int]
Margins = Padding | Pair
"""A rule of padding, or the rows and columns that are added on either side."""


def flatten(x: Array) -> Result:
    """(n, h, w, c) to (n, h * w * c), in NHWC order."""
    return x.reshape(len(x), -1), lambda dy: (dy.reshape(x.shape),)


def dense(x: Array, kernel: Array, bias: Array | None = None) -> Result:
    """``y = x K + b``; so ``dx = dy K^T``, ``dK = x^T dy`` and ``db`` is the sum of ``dy`` over the batch."""
    y = x @ kernel

    def backward(dy: Array) -> tuple[Array, ...]:
        gradients = dy @ kernel.T, x.T @ dy
        return gradients if bias is None else (*gradients, dy.sum(axis=0))

    return y if bias is None else y + bias, backward


def conv2d(x: Array, kernel: Array, bias: Array | None, stride: Pair, padding: Margins) -> Result:
    """Cross-correlation (Dumoulin & Visin 2016, a guide to convolution arithmetic), on zero-padded ``x``.

    ``y[n, p, q, f] = b[f] + sum over i, j, c of x[n, p * sh + i, q * sw + j, c] * K[i, j, c, f]``.  Backward,
    ``dK`` correlates the same windows with ``dy``, and ``dx`` adds ``dy K[i, j]^T`` at each offset (i, j): the
    transposed convolution.
    """
    grid = Windows(x.shape[1:3], (kernel.shape[0], kernel.shape[1]), stride, padding)
    padded = grid.pad(x, 0)
    y = np.tensordot(grid.windows(padded), kernel, axes=3)

    def backward(dy: Array) -> tuple[Array, ...]:
        everywhere = ((0, 1, 2), (0, 1, 2))
        d_kernel = np.tensordot(grid.windows(padded), dy, axes=everywhere)
        rows = dy.reshape(-1, dy.shape[-1])  # one matrix: NumPy would multiply a stack of images one by one
        d_padded = np.zeros_like(padded)
        for i, j, at in grid.offsets():
            d_padded[at] += (rows @ kernel[i, j].T).reshape(*dy.shape[:3], -1)
        gradients = grid.crop(d_padded), d_kernel
        return gradients if bias is None else (*gradients, dy.sum(axis=(0, 1, 2)))

    return y if bias is None else y + bias, backward


def max_pool(x: Array, size: Pair, stride: Pair, padding: Margins) -> Result:
    """Largest value of each window.  Among equals the first in row-major order of the window takes the gradient.

    Padding is minus infinity and so never wins.
    """
    grid = Windows(x.shape[1:3], size, stride, padding)
    padded = grid.pad(x, -math.inf)
    windows = grid.windows(padded)
    flat = windows.reshape(*windows.shape[:3], -1, x.shape[3])
    winner = flat.argmax(axis=3)

    def backward(dy: Array) -> tuple[Array, ...]:
        d_padded = np.zeros_like(padded)
        for i, j, at in grid.offsets():
            d_padded[at] += np.where(winner == i * size[1] + j, dy, 0)
        return (grid.crop(d_padded),)

    return flat.max(axis=3), backward


def average_pool(x: Array, size: Pair, stride: Pair, padding: Margins, count_padding: bool = False) -> Result:
    """Sum of each window over the number of its values that are not padding; the gradient is shared out alike.

    ``y[n, p, q] = sum over i, j of x[n, p * sh + i, q * sw + j] / values in the window``, as TensorFlow documents
    ``avg_pool2d``.  With ``count_padding`` it is over ``kh * kw`` everywhere, padding being zeros: PyTorch's
    ``AvgPool2d`` with ``count_include_pad``.
    """
    grid = Windows(x.shape[1:3], size, stride, padding)
    ones = np.ones_like(x[:1, :, :, :1])
    counts = grid.windows(grid.pad(ones, float(count_padding))).sum(axis=(3, 4))

    def backward(dy: Array) -> tuple[Array, ...]:
        d_padded = grid.pad(np.zeros_like(x), 0)
        share = dy / counts
        for _, _, at in grid.offsets():
            d_padded[at] += share
        return (grid.crop(d_padded),)

    return grid.windows(grid.pad(x, 0)).sum(axis=(3, 4)) / counts, backward


def global_average_pool(x: Array) -> Result:
    """(n, h, w, c) to (n, c): the mean over positions (Lin et al. 2013)."""
    positions = x.shape[1] * x.shape[2]
    return x.mean(axis=(1, 2)), lambda dy: (np.broadcast_to(dy[:, None, None] / positions, x.shape),)


def normalise(x: Array, gamma: Array, beta: Array, mean: Array, variance: Array, epsilon: float) -> Array:
    """``gamma * (x - mean) / sqrt(variance + epsilon) + beta``: batch normalisation in evaluation."""
    z: Array = (x - mean) / np.sqrt(variance + epsilon)
    return gamma * z + beta


def frozen_batch_norm(x: Array, gamma: Array, beta: Array, mean: Array, variance: Array, epsilon: float) -> Result:
    """Batch norm as in evaluation, while the rest is trained: the statistics are constants.

    So ``dx = gamma / sqrt(variance + epsilon) * dy``, and gamma and beta, which are frozen too, take no gradient.
    Source: Keras' documentation of ``BatchNormalization`` with ``trainable = False``.
    """
    factor = gamma / np.sqrt(variance + epsilon)
    return normalise(x, gamma, beta, mean, variance, epsilon), lambda dy: (dy * factor,)


def batch_norm(x: Array, gamma: Array, beta: Array, epsilon: float) -> tuple[Array, Backward, Array, Array]:
    """Normalise by the batch's own mean and biased variance (Ioffe & Szegedy 2015, algorithm 1).

    Returns output, backward, mean and biased variance.  With ``z`` the normalised input and means over batch and
    positions, ``dx = gamma / sqrt(variance + epsilon) * (dy - mean(dy) - z * mean(dy * z))``.
    """
    axes = tuple(range(x.ndim - 1))
    values = x.size // x.shape[-1]
    mean = x.mean(axis=axes)
    centred = x - mean
    variance = np.square(centred).mean(axis=axes)
    deviation = np.sqrt(variance + epsilon)
    z = centred / deviation

    def backward(dy: Array) -> tuple[Array, ...]:
        d_gamma, d_beta = (dy * z).sum(axis=axes), dy.sum(axis=axes)
        dx = gamma / deviation * (dy - d_beta / values - z * (d_gamma / values))
        return dx, d_gamma, d_beta

    return gamma * z + beta, backward, mean, variance


def running(old: Array, new: Array, momentum: float) -> Array:
    """``momentum * old + (1 - momentum) * new``: a running statistic after one more batch."""
    keep = old.dtype.type(momentum)
    value: Array = keep * old + (1 - keep) * new
    return value


def dropout(x: Array, rate: float, random: np.random.Generator) -> Result:
    """Inverted dropout (Srivastava et al. 2014): zero with probability ``rate``, else scaled by ``1 / (1 - rate)``."""
    scale = (random.random(x.shape) >= rate).astype(x.dtype) / (1 - rate)
    return x * scale, lambda dy: (dy * scale,)


def embedding(tokens: Array, table: Array) -> Result:
    """The mean of the tokens' rows: ``y[n] = sum over i of E[token[n, i]] / t``, for tokens (n, t), table (v, d).

    It is CBOW's projection (Mikolov et al. 2013, Efficient Estimation of Word Representations, section 3.1), which
    shares one matrix among all places.  Backward, ``dE[w]`` gains ``dy[n] / t`` each time that word w stands in n; by
    tokens, which are no numbers, the gradient is 0.
    """
    places = tokens.shape[1]

    def backward(dy: Array) -> tuple[Array, ...]:
        d_table = np.zeros_like(table)
        np.add.at(d_table, tokens, np.broadcast_to(dy[:, None] / places, (*tokens.shape, dy.shape[1])))
        return np.zeros(tokens.shape, dy.dtype), d_table

    return table[tokens].mean(axis=1), backward


def sampled_scores(tokens: Array, table: Array, output: Array, context: int, rounding: Rounding = NONE) -> Result:
    """``score[n, j] = O[candidate j] . h[n]``, ``h`` the ``embedding`` of the context, for tokens (n, context + k).

    The first ``context`` tokens are the context, the others the candidates; tables (v, d).  It is what negative
    sampling scores (Mikolov et al. 2013, Distributed Representations of Words and Phrases, equation 4), with CBOW's
    projection as the input vector.  Backward, ``dh = sum over j of dy[j] O[candidate j]``, and ``dO[w]`` gains
    ``dy[n, j] h[n]`` each time that w is candidate j.  The operands of the product are rounded, and so is what it hands
    back to each of them; what a table gains is summed as it is held.
    """
    mean, chain = embedding(tokens[:, :context], table)
    candidates = tokens[:, context:]
    hidden, rows = rounding.operand(mean), rounding.operand(output[candidates])

    def backward(dy: Array) -> tuple[Array, ...]:
        d_output = np.zeros_like(output)
        dy = rounding.operand(dy)
        np.add.at(d_output, candidates, rounding.handed(dy[..., None] * hidden[:, None]))
        _, d_table = chain(rounding.handed(np.einsum("nk,nkd->nd", dy, rows)))
        return np.zeros(tokens.shape, dy.dtype), d_table, d_output

    return np.einsum("nkd,nd->nk", rows, hidden), backward


def relu(x: Array) -> Result:
    """``max(x, 0)``; its derivative at 0 is 0."""
    return np.maximum(x, 0), lambda dy: (np.where(x > 0, dy, 0),)


def tanh(x: Array) -> Result:
    """Hyperbolic tangent; ``dx = dy * (1 - y^2)``."""
    y = np.tanh(x)
    return y, lambda dy: (dy * (1 - y * y),)


def logistic(x: Array) -> Array:
    """``1 / (1 + exp(-x))``, written so that the exponential never overflows."""
    small = np.exp(-np.abs(x))
    value: Array = np.where(x >= 0, 1, small) / (1 + small)
    return value


def sigmoid(x: Array) -> Result:
    """The logistic function; ``dx = dy * y * (1 - y)``."""
    y = logistic(x)
    return y, lambda dy: (dy * y * (1 - y),)


def softmax(x: Array) -> Result:
    """``exp(x) / sum(exp(x))`` over the last axis, shifted by its maximum; ``dx = y * (dy - sum(dy * y))``."""
    exponential = np.exp(x - x.max(axis=-1, keepdims=True))
    y = exponential / exponential.sum(axis=-1, keepdims=True)
    return y, lambda dy: (y * (dy - (dy * y).sum(axis=-1, keepdims=True)),)


STATELESS: Mapping[str, Callable[..., Result]] = {
    "flatten": lambda _, x: flatten(x),
    "dense": lambda _, x, kernel, bias=None: dense(x, kernel, bias),
    "conv2d": lambda layer, x, kernel, bias=None: conv2d(x, kernel, bias, layer.stride, layer.padding),
    "max_pool": lambda layer, x: max_pool(x, layer.window, layer.strides, layer.padding),
    "average_pool": lambda layer, x: average_pool(x, layer.window, layer.strides, layer.padding, layer.count_padding),
    "global_average_pool": lambda _, x: global_average_pool(x),
    "embedding": lambda _, x, table: embedding(x, table),
    "sampled_scores": lambda layer, x, *given: sampled_scores(x, given[0], given[1], layer.context, *given[2:]),
    "relu": lambda _, x: relu(x),
    "tanh": lambda _, x: tanh(x),
    "sigmoid": lambda _, x: sigmoid(x),
    "softmax": lambda _, x: softmax(x),
}
"""What computes the same in training and in evaluation, by the layer's name: from layer, input and tensors."""


class Windows:
    """Where the windows of a convolution or pooling lie on the padded image."""

    def __init__(self, image: tuple[int, ...], size: Pair, stride: Pair, padding: Margins) -> None:
        self.image, self.size, self.stride = image, size, stride
        axes = [window(image[i], size[i], stride[i], padding_of(padding, i)) for i in (0, 1)]
        self.out = axes[0][0], axes[1][0]
        self.margins = [(0, 0), *(axis[1:] for axis in axes), (0, 0)]

    def pad(self, x: Array, value: float) -> Array:
        """``x`` (n, h, w, c) with its margins filled with ``value``; ``x`` itself where there are none."""
        return np.pad(x, self.margins, constant_values=value) if np.any(self.margins) else x

    def crop(self, padded: Array) -> Array:
        """The image without its margins."""
        (top, _), (left, _) = self.margins[1:3]
        return padded[:, top : top + self.image[0], left : left + self.image[1]]

    def windows(self, padded: Array) -> Array:
        """A view (n, rows, columns, kh, kw, c) of every window."""
        view = sliding_window_view(padded, self.size, axis=(1, 2))[:, :: self.stride[0], :: self.stride[1]]
        return view.transpose(0, 1, 2, 4, 5, 3)

    def offsets(self) -> Iterator[tuple[int, int, tuple[slice, slice, slice]]]:
        """Each place (i, j) within a window, and the slices of the padded image that all windows have there."""
        for i in range(self.size[0]):
            for j in range(self.size[1]):
                rows = slice(i, i + (self.out[0] - 1) * self.stride[0] + 1, self.stride[0])
                columns = slice(j, j + (self.out[1] - 1) * self.stride[1] + 1, self.stride[1])
                yield i, j, (slice(None), rows, columns)
