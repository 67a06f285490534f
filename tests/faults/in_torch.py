# ruff: noqa: E501
"""Faults in PyTorch's own functions, replaced while the runner is at work."""

import contextlib
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch.nn import functional

from suite.runners.base import Runner
from suite.runners.torch import layers as native
from suite.runners.torch import objective
from tests.faults.catalogue import Fault
from tests.faults.harmless import Mutant
from tests.faults.plant import Planted

LINEAR, CONV2D, BATCH_NORM = functional.linear, functional.conv2d, functional.batch_norm
CROSS_ENTROPY, DROPOUT, GRAD = functional.cross_entropy, functional.dropout, torch.autograd.grad
AVERAGE_POOL, MAX_POOL, BAG = functional.avg_pool2d, functional.max_pool2d, functional.embedding_bag
EMBEDDING, MSE, SIGMOID_LOSS = functional.embedding, functional.mse_loss, functional.binary_cross_entropy_with_logits
EDGES, OPTIMIZER, DETECTION = native.edges, objective.optimizer, objective.DetectionLoss
SET_RATE, EPSILONS = objective.set_rate, objective.epsilons
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


def _half_decay(_m, *given, **more):
    optimizer = OPTIMIZER(*given, **more)
    for group in optimizer.param_groups:
        group["weight_decay"] /= 2
    return optimizer


def _default_epsilon(_m, *given, **more):
    optimizer = OPTIMIZER(*given, **more)
    for group in optimizer.param_groups:
        group["eps"] = 1e-7
    return optimizer


def _decoupled(_m, spec, kernels, others, *_, **__):
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


def _one_sided(_m, *arguments):
    near, far = EDGES(*arguments)
    return (0, 0), tuple(a + b for a, b in zip(near, far, strict=True))


def _counting_pool(_m, x, size, stride, padding=0, ceil_mode=False, *_):
    return AVERAGE_POOL(x, size, stride, padding, ceil_mode, count_include_pad=True)


def _zero_max_pool(_m, x, size, stride, padding, *_, **__):
    rows, columns = padding
    return MAX_POOL(functional.pad(x, (columns, columns, rows, rows)), size, stride)


def _bag(x, weight, **options):
    return BAG(x, weight, mode="mean", **options)


class _Overwriting(torch.autograd.Function):
    """The mean of rows; on the way back a row that occurs again keeps its last gradient alone."""

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return weight[x.long()].mean(1)

    @staticmethod
    def backward(ctx, dy):
        x, weight = ctx.saved_tensors
        gradient = torch.zeros_like(weight)
        gradient[x.long().flatten()] = (dy / x.shape[1]).repeat_interleave(x.shape[1], 0)
        return None, gradient


def _one_table(_m, scores, x):
    mean = BAG(x[:, : scores.context], scores.weight, mode="mean")
    return (
        torch.einsum("nkd,nd->nk", EMBEDDING(x[:, scores.context :], scores.weight), mean)
        + 0 * scores.output_weight.sum()
    )


def _late_candidates(_m, x, weight, *_, **__):
    return EMBEDDING(x.roll(1, 1), weight)


def _reversed_branches(_m, joined, x):
    return torch.cat([branch(x) for branch in reversed(joined.branches)], dim=1)


def _uncounted_pool(_m, x, size, stride, padding=0, ceil_mode=False, *_):
    return AVERAGE_POOL(x, size, stride, padding, ceil_mode, count_include_pad=False)


def _half_counted_pool(_m, x, size, stride, padding=0, ceil_mode=False, count_include_pad=True, _divisor=None):
    """What PyTorch's own padding counts: not the row that ceil_mode adds."""
    return AVERAGE_POOL(x, size, stride, padding, ceil_mode, count_include_pad)


@torch.no_grad()
def _outside(_m, rmsprop):
    for group in rmsprop.param_groups:
        for weight in group["params"]:
            square = rmsprop.state[weight]["square_avg"]
            square.mul_(group["alpha"]).addcmul_(weight.grad, weight.grad, value=1 - group["alpha"])
            weight.addcdiv_(weight.grad, square.sqrt() + group["eps"], value=-group["lr"])


def capability():
    """The GPU's major compute capability."""
    return torch.cuda.get_device_capability()[0]


TRAINING, STEP_1 = r"float64 training outputs: ", r"float64 step 1, "
STEP_N = r"float64 step \d+.*, weights: dense_1/kernel"
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
    Fault("torch: gradients accumulate", "mlp", "float64 step 1, slot m: dense_1/kernel", replaced(torch.autograd, "grad", _accumulating)),
    Fault("torch: dense layers in TF32 or bfloat16", "mlp", "float32 training outputs: dense_1", replaced(functional, "linear", _low_linear), BITS, 16),
    Fault("torch: convolutions in TF32 or bfloat16", "cnn", "float32 training outputs: conv2d_1", replaced(functional, "conv2d", _low_conv), BITS, 16),
    Fault("torch: dropout unscaled", "mlp", "dropout 0.25: scale", replaced(functional, "dropout", _unscaled_dropout)),
    Fault("torch: explicit padding on one side", "padded", TRAINING + "conv2d_1", replaced(native, "edges", _one_sided)),
    Fault("torch: average pooling counts explicit padding", "padded", TRAINING + "average_pool_1", replaced(functional, "avg_pool2d", _counting_pool)),
    Fault("torch: max pooling lets padding win", "padded", TRAINING + "max_pool_1", replaced(functional, "max_pool2d", _zero_max_pool)),
    Fault("torch: words summed", "words", TRAINING + r"embedding_1\S*", replaced(functional, "embedding_bag", lambda _m, x, w, *_, **__: BAG(x, w, mode="sum"))),
    Fault("torch: the largest of words", "words", TRAINING + r"embedding_1\S*", replaced(functional, "embedding_bag", lambda _m, x, w, *_, **__: BAG(x, w, mode="max"))),
    Fault("torch: the first word taken for padding", "words", TRAINING + r"embedding_1\S*", replaced(functional, "embedding_bag", lambda _m, x, w, *_, **__: _bag(x, w, padding_idx=0))),
    Fault("torch: gradients of words by frequency", "words", "float64 gradients: embedding_1/embedding", replaced(functional, "embedding_bag", lambda _m, x, w, *_, **__: _bag(x, w, scale_grad_by_freq=True))),
    Fault("torch: gradients of a repeated word overwritten", "words", "float64 gradients: embedding_1/embedding", replaced(functional, "embedding_bag", lambda _m, x, w, *_, **__: _Overwriting.apply(x, w))),
    Fault("torch: words in TF32 or bfloat16", "words", "float32 training outputs: embedding_1", replaced(functional, "embedding_bag", lambda bits, x, w, *_, **__: _bag(x, _Cut.apply(w, int(bits)))), BITS, 14),
    Fault("torch: one table for context and candidates", "sampled", TRAINING + r"sampled_scores_1\S*", replaced(native.SampledScores, "forward", _one_table)),
    Fault("torch: candidates one place on", "sampled", TRAINING + r"sampled_scores_1\S*", replaced(functional, "embedding", _late_candidates)),
    Fault("torch: negatives summed, not averaged", "sampled", "float64 loss: loss", replaced(functional, "binary_cross_entropy_with_logits", lambda _m, y, t, *_, **__: SIGMOID_LOSS(y, t, reduction="sum") / len(y))),
    Fault("torch: branches in reverse", "boxes", TRAINING + "concat_1", replaced(native.SideBySide, "forward", _reversed_branches)),
    Fault("torch: weight of boxes lost", "boxes", "float64 loss: loss", replaced(objective, "DetectionLoss", lambda *_: DETECTION(1.0))),
    Fault("torch: error of boxes summed over coordinates", "boxes", "float64 loss: loss", replaced(functional, "mse_loss", lambda _m, y, t, **_: 4 * MSE(y, t))),
    Fault("torch: the learning rate never steps", "scheduled", STEP_N, replaced(objective, "set_rate", lambda *_: None)),
    Fault("torch: the learning rate steps once", "scheduled", STEP_N, replaced(objective, "set_rate", lambda _m, optimizer, rate: SET_RATE(optimizer, max(rate, 0.025)))),
    Fault("torch: frozen batch norm by the batch", "frozen", TRAINING + "residual_1/body/batch_norm_1", replaced(torch.nn.BatchNorm2d, "eval", lambda _m, norm: norm)),
    Fault("torch: Adam's epsilon as it is, not before correction", "early", STEP_1 + r"weights: \S+", replaced(objective, "epsilons", lambda _m, _spec, _step, count: [None] * count)),
    Fault("torch: Adam's epsilon of the step before", "early", r"float64 step 2, weights: \S+", replaced(objective, "epsilons", lambda _m, spec, step, count: EPSILONS(spec, max(step - 1, 0), count))),
    Fault("torch: RMSprop's epsilon outside the root, not inside", "inside", STEP_1 + r"weights: \S+", replaced(objective.RmsPropInside, "step", _outside)),
    Fault("torch: running variance unbiased, not biased", "inside", "float64 statistics: batch_norm_1/moving_variance", replaced(native.BiasedNorm, "forward", lambda _m, norm, x: torch.nn.BatchNorm2d.forward(norm, x))),
    Fault("torch: padding does not count where it should", "inside", TRAINING + "average_pool_2", replaced(functional, "avg_pool2d", _uncounted_pool)),
    Fault("torch: padding counts on the near side alone", "inside", TRAINING + "average_pool_3", replaced(functional, "avg_pool2d", _half_counted_pool)),
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


def _looked_up(_m, x, weight, *_, **__):
    return functional.embedding(x.long(), weight).mean(1)


def _sorted_bag(_m, x, weight, *_, **__):
    return _bag(x.sort(1).values, weight)


def _filled(_m, joined, x):
    parts = [branch(x) for branch in joined.branches]
    ends = np.cumsum([part.shape[1] for part in parts])
    return sum(
        functional.pad(part, (int(end) - part.shape[1], int(ends[-1] - end)))
        for part, end in zip(parts, ends, strict=True)
    )


MUTANTS = (
    Mutant(
        "torch: words looked up, then averaged",
        lambda runner: replaced(functional, "embedding_bag", _looked_up)(runner, 0),
    ),
    Mutant(
        "torch: words in another order", lambda runner: replaced(functional, "embedding_bag", _sorted_bag)(runner, 0)
    ),
    Mutant(
        "torch: branches added side by side", lambda runner: replaced(native.SideBySide, "forward", _filled)(runner, 0)
    ),
    Mutant("torch: two threads", lambda runner: Planted(runner, context=lambda: _threads(2))),
    Mutant("torch: dense sums in halves", lambda runner: replaced(functional, "linear", _split_linear)(runner, 0)),
    Mutant("torch: convolution in NCHW", lambda runner: replaced(functional, "conv2d", _contiguous_conv)(runner, 0)),
    Mutant("torch: without oneDNN", lambda runner: Planted(runner, context=lambda: torch.backends.mkldnn.flags(False))),
)
