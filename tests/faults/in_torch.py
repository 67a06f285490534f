# ruff: noqa: E501
"""Faults in PyTorch's own functions, replaced while the runner is at work."""

import contextlib
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
from torch.nn import functional

from suite.runners import _torch_layers as native
from suite.runners import _torch_objective as objective
from suite.runners.base import Runner
from tests.faults.catalogue import Fault
from tests.faults.harmless import Mutant
from tests.faults.plant import Planted

LINEAR, CONV2D, BATCH_NORM = functional.linear, functional.conv2d, functional.batch_norm
CROSS_ENTROPY, DROPOUT, GRAD = functional.cross_entropy, functional.dropout, torch.autograd.grad
EDGES, OPTIMIZER = native.edges, objective.optimizer
BITS = (7, 10, 12, 14, 16, 18, 20)


def replaced(owner: Any, name: str, function: Callable[..., Any]) -> Callable[[Runner, float], Runner]:
    """A fault that puts ``function`` in the place of ``owner.name``; it is given the magnitude first."""

    def plant(runner: Runner, m: float) -> Runner:
        def faulty(*arguments: Any, **options: Any) -> Any:
            return function(m, *arguments, **options)

        return Planted(runner, context=lambda: patch.object(owner, name, faulty))

    return plant


class _Cut(torch.autograd.Function):
    """A float32 tensor cut to some bits of mantissa; its gradient passes."""

    @staticmethod
    def forward(ctx, x, bits):
        if x.dtype != torch.float32:
            return x.clone()
        mask = -(1 << (23 - bits))
        return torch.bitwise_and(x.contiguous().view(torch.int32), mask).view(torch.float32)

    @staticmethod
    def backward(ctx, dy):
        return dy, None


def _low_linear(bits, x, weight, bias=None):
    return LINEAR(_Cut.apply(x, int(bits)), _Cut.apply(weight, int(bits)), bias)


def _low_conv(bits, x, weight, *rest, **options):
    return CONV2D(_Cut.apply(x, int(bits)), _Cut.apply(weight, int(bits)), *rest, **options)


def _near_side(_m, *arguments):
    near, far = EDGES(*arguments)
    return far, near


def _momentum_complement(_m, x, mean, variance, weight, bias, training, momentum, epsilon):
    return BATCH_NORM(x, mean, variance, weight, bias, training, 1 - momentum, epsilon)


def _keras_epsilon(_m, x, mean, variance, weight, bias, training, momentum, epsilon):
    return BATCH_NORM(x, mean, variance, weight, bias, training, momentum, 1e-3 if epsilon == 1e-5 else epsilon)


def _doubled_softmax(_m, outputs, targets, **options):
    return CROSS_ENTROPY(outputs.softmax(dim=-1), targets, **options)


def _half_decay(_m, *arguments):
    optimizer = OPTIMIZER(*arguments)
    for group in optimizer.param_groups:
        group["weight_decay"] /= 2
    return optimizer


def _default_epsilon(_m, *arguments):
    optimizer = OPTIMIZER(*arguments)
    for group in optimizer.param_groups:
        group["eps"] = 1e-7
    return optimizer


def _decoupled(_m, spec, kernels, others):
    groups = [{"params": kernels, "weight_decay": 2 * spec.l2}, {"params": others, "weight_decay": 0.0}]
    rate, betas = spec.optimizer.learning_rate, (spec.optimizer.beta_1, spec.optimizer.beta_2)
    return torch.optim.AdamW(groups, rate, betas, spec.optimizer.epsilon)


def _accumulating(_m, loss, parameters):
    summed = [g + getattr(p, "before", 0) for p, g in zip(parameters, GRAD(loss, parameters), strict=True)]
    for parameter, gradient in zip(parameters, summed, strict=True):
        parameter.before = gradient.detach()
    return tuple(summed)


def _unscaled_dropout(_m, x, p=0.5, training=True, inplace=False):
    return DROPOUT(x, p, training) * (1 - p) if training else x


def _dropout_in_evaluation(_m, x, p=0.5, training=True, inplace=False):
    return DROPOUT(x, p, True)


TRAINING, STEP_1 = r"float64 training outputs: ", r"float64 step 1, "
# fmt: off
FAULTS = (  # a fault a line, to be read as a table
    Fault("torch: SAME padding on the near side", "cnn", TRAINING + "conv2d_1", replaced(native, "edges", _near_side)),
    Fault("torch: average pooling counts padding", "cnn", TRAINING + "average_pool_1", replaced(native.Scale, "forward", lambda _m, _self, x: x)),
    Fault("torch: tanh for relu", "mlp", TRAINING + "relu_1", replaced(functional, "relu", lambda _m, x, inplace=False: x.tanh())),
    Fault("torch: batch norm's momentum as its complement", "cnn", "float64 statistics: batch_norm_1/moving_mean", replaced(functional, "batch_norm", _momentum_complement)),
    Fault("torch: Keras's epsilon in batch norm", "cnn", TRAINING + "batch_norm_1", replaced(functional, "batch_norm", _keras_epsilon)),
    Fault("torch: doubled softmax", "mlp", "float64 loss: loss", replaced(functional, "cross_entropy", _doubled_softmax)),
    Fault("torch: loss summed", "mlp", "float64 loss: loss", replaced(functional, "cross_entropy", lambda _m, y, t, **_: CROSS_ENTROPY(y, t, reduction="sum"))),
    Fault("torch: weight decay without its 2", "mlp", STEP_1 + "slot m: dense_1/kernel", replaced(objective, "optimizer", _half_decay)),
    Fault("torch: weight decay decoupled", "mlp", STEP_1 + "slot m: dense_1/kernel", replaced(objective, "optimizer", _decoupled)),
    Fault("torch: Adam's epsilon of Keras", "mlp", STEP_1 + r"weights: \S+", replaced(objective, "optimizer", _default_epsilon)),
    Fault("torch: gradients accumulate", "mlp", "float64 step 2, slot m: dense_1/kernel", replaced(torch.autograd, "grad", _accumulating)),
    Fault("torch: dense layers in TF32 or bfloat16", "mlp", "float32 training outputs: dense_1", replaced(functional, "linear", _low_linear), BITS, 16),
    Fault("torch: convolutions in TF32 or bfloat16", "cnn", "float32 training outputs: conv2d_1", replaced(functional, "conv2d", _low_conv), BITS, 16),
    Fault("torch: dropout unscaled", "mlp", "dropout 0.25: scale", replaced(functional, "dropout", _unscaled_dropout)),
    Fault("torch: dropout in evaluation", "mlp", "(float32 query of .*: outputs|dropout 0.25: evaluation)", replaced(functional, "dropout", _dropout_in_evaluation)),
)
# fmt: on


@contextlib.contextmanager
def _threads(count):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _split_linear(_m, x, weight, bias=None):
    half = x.shape[1] // 2
    return LINEAR(x[:, half:], weight[:, half:], bias) + LINEAR(x[:, :half], weight[:, :half])


def _contiguous_conv(_m, x, weight, *rest, **options):
    return CONV2D(x.contiguous(), weight.contiguous(), *rest, **options)


MUTANTS = (
    Mutant("torch: two threads", lambda runner: Planted(runner, context=lambda: _threads(2))),
    Mutant("torch: dense sums in halves", lambda runner: replaced(functional, "linear", _split_linear)(runner, 0)),
    Mutant("torch: convolution in NCHW", lambda runner: replaced(functional, "conv2d", _contiguous_conv)(runner, 0)),
    Mutant("torch: without oneDNN", lambda runner: Planted(runner, context=lambda: torch.backends.mkldnn.flags(False))),
)
