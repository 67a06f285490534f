# ruff: noqa: E501
"""Faults of precision in the reference: where a mixed program rounds what it should hold in full, or the reverse."""

from contextlib import ExitStack
from unittest.mock import patch

import numpy as np

from suite.runners.reference import layers, losses, optimizers
from suite.spec.precision import Rounding, rounded
from tests.faults.catalogue import Fault, other_precision
from tests.faults.plant import Planted, patched

BATCH_NORM, DENSE, UPDATE = layers.batch_norm, layers.dense, optimizers.update
SOFTMAX, SOFTMAX_LOSS = layers.softmax, losses.softmax_cross_entropy
BF16 = "bfloat16"


def low(values):
    """Rounded to bfloat16, in what it was held in."""
    return rounded(np.asarray(values, np.float32), BF16).astype(np.asarray(values).dtype)


def in_float32(function):
    """A fault of arithmetic in single precision: float64 is left alone, for it proves another thing."""

    def planted(m, x, *given, **more):
        whole = next(a for a in (x, *given) if getattr(a, "dtype", None) in (np.float32, np.float64))
        return function(m, x, *given, **more) if whole.dtype == np.float32 else ORIGINAL[function](x, *given, **more)

    return planted


def _summed_low(_m, x, kernel, bias=None):
    """Products are added up in bfloat16, one after another."""
    y, backward = DENSE(x, kernel, bias)
    y = np.zeros_like(y)
    for i in range(x.shape[1]):
        y = low(y + low(x[:, i : i + 1] * kernel[i]))
    return y if bias is None else y + bias, backward


def _gradients_summed_low(_m, x, kernel, bias=None):
    """The same on the way back to the kernel, over the batch."""
    y, backward = DENSE(x, kernel, bias)

    def rough(dy):
        dx, d_kernel, *rest = backward(dy)
        d_kernel = np.zeros_like(d_kernel)
        for n in range(len(x)):
            d_kernel = low(d_kernel + low(np.outer(x[n], dy[n])))
        return dx, d_kernel, *rest

    return y, rough


def _norm_low(_m, x, gamma, beta, epsilon):
    """Mean, variance and scale of batch norm in bfloat16."""
    axes = tuple(range(x.ndim - 1))
    _, backward, _, _ = BATCH_NORM(x, gamma, beta, epsilon)
    mean = low(x.mean(axis=axes))
    centred = low(x - mean)
    variance = low(np.square(centred).mean(axis=axes))
    z = low(centred / low(np.sqrt(low(variance + epsilon))))
    return low(low(gamma) * z + low(beta)), backward, mean, variance


def _loss_low(_m, logits, labels):
    """Softmax and its logarithm in bfloat16."""
    rows = np.arange(len(logits))
    shifted = low(logits - logits.max(axis=-1, keepdims=True))
    total = np.zeros((len(logits), 1), logits.dtype)
    for column in range(shifted.shape[1]):
        total = low(total + low(np.exp(shifted[:, column : column + 1])))
    log_probability = low(shifted - low(np.log(total)))
    gradient = low(np.exp(log_probability))
    gradient[rows, labels] -= 1
    return low(-log_probability[rows, labels].mean()), low(low(gradient) / len(logits))


def _softmax_low(_m, x):
    y = low(np.exp(low(x - x.max(axis=-1, keepdims=True))))
    y = low(y / low(y.sum(axis=-1, keepdims=True)))
    return y, lambda dy: (y * (dy - (dy * y).sum(axis=-1, keepdims=True)),)


def _weights_low(_m, optimizer, weight, gradient, held, step):
    new, slots = UPDATE(optimizer, weight, gradient, held, step)
    return low(new), slots


def _slots_low(_m, optimizer, weight, gradient, held, step):
    new, slots = UPDATE(optimizer, weight, gradient, held, step)
    return new, {name: low(value) for name, value in slots.items()}


ORIGINAL = {
    _summed_low: DENSE, _gradients_summed_low: DENSE, _norm_low: BATCH_NORM, _loss_low: SOFTMAX_LOSS,
    _softmax_low: SOFTMAX,
}  # fmt: skip


def _updated(function):
    def planted(m, optimizer, weight, *given):
        return (function if weight.dtype == np.float32 else lambda _m, *a: UPDATE(*a))(m, optimizer, weight, *given)

    return planted


def _half(values, precision):
    """IEEE's half precision where bfloat16 is asked."""
    if precision != BF16:
        return rounded(values, precision)
    with np.errstate(over="ignore"):
        return np.asarray(values, np.float32).astype(np.float16).astype(np.float32)


def _rounding_by(function):
    """Another way to round, in the program alone."""

    def plant(runner, _m):
        def context():
            stack = ExitStack()
            for name in ("operand", "handed"):
                whole = getattr(Rounding, name)

                def instead(self, values, whole=whole):
                    return function(values, self.precision) if self.precision == BF16 else whole(self, values)

                stack.enter_context(patch.object(Rounding, name, instead))
            return stack

        return Planted(runner, context=context)

    return plant


def _truncated(values, precision):
    """Bits are cut off and not rounded."""
    bits = np.ascontiguousarray(np.asarray(values, np.float32)).view(np.uint32) & np.uint32(0xFFFF0000)
    return bits.view(np.float32).reshape(np.shape(values)) if precision == BF16 else rounded(values, precision)


TIMED_CALLS = r"bfloat16( \(trained by \d+ images\))? .*"
OPTIMIZER = r"optimizer alone, bfloat16, .*"
# fmt: off
FAULTS = (  # a fault a line, to be read as a table
    Fault("products summed in bfloat16", "mlp", TIMED_CALLS, patched(layers__dense=in_float32(_summed_low)), precision=BF16),
    Fault("kernel's gradient summed in bfloat16", "mlp", TIMED_CALLS, patched(layers__dense=in_float32(_gradients_summed_low)), precision=BF16),
    Fault("batch norm in bfloat16", "cnn", TIMED_CALLS, patched(layers__batch_norm=in_float32(_norm_low)), precision=BF16),
    Fault("softmax and loss in bfloat16", "mlp", TIMED_CALLS, patched(losses__softmax_cross_entropy=in_float32(_loss_low)), precision=BF16),
    Fault("softmax in bfloat16", "shares", r"bfloat16 softmax alone, outputs: outputs", patched(layers__softmax=in_float32(_softmax_low)), precision=BF16),
    Fault("weights kept in bfloat16", "mlp", TIMED_CALLS, patched(optimizers__update=_updated(_weights_low)), precision=BF16),
    Fault("slots kept in bfloat16", "mlp", OPTIMIZER, patched(optimizers__update=_updated(_slots_low)), precision=BF16),
    Fault("float16 instead of bfloat16", "mlp", TIMED_CALLS, _rounding_by(_half), precision=BF16),
    Fault("bits cut off instead of rounded", "mlp", TIMED_CALLS, _rounding_by(_truncated), precision=BF16),
    Fault("tf32 where float32 is asked", "mlp", r"float32 .*", other_precision("tf32")),
    Fault("float32 where tf32 is asked", "mlp", r"tf32 gradients: as coarse as asked", other_precision("float32"), precision="tf32"),
    Fault("bfloat16 where tf32 is asked", "mlp", r"tf32 .*", other_precision(BF16), precision="tf32"),
    Fault("tf32 where bfloat16 is asked", "mlp", r"bfloat16 gradients: as coarse as asked", other_precision("tf32"), precision=BF16),
)
# fmt: on
