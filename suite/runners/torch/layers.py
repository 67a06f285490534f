"""What a spec is made of in PyTorch: native modules for its layers, and its tensors in canonical form."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from suite.errors import Unsupported
from suite.runners.base import Array, Weights
from suite.spec.graph import Concat, Node, Residual
from suite.spec.layers import AveragePool, BatchNorm, Conv2D, Dense, Embedding, Flatten, MaxPool
from suite.spec.resolved import Spec
from suite.spec.tensors import Padding, Role, padding_of, window

ATTRIBUTES = {
    Role.KERNEL: "weight",
    Role.BIAS: "bias",
    Role.GAMMA: "weight",
    Role.BETA: "bias",
    Role.EMBEDDING: "weight",
    Role.OUTPUT_EMBEDDING: "output_weight",
    Role.MOVING_MEAN: "running_mean",
    Role.MOVING_VARIANCE: "running_var",
}


class ChannelsFirst(nn.Module):  # type: ignore[misc]
    """NHWC memory seen as NCHW, which PyTorch calls the memory format channels_last; nothing moves."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 3, 1, 2)


class ChannelsLast(nn.Module):  # type: ignore[misc]
    """NCHW seen as NHWC."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 2, 3, 1)


class Scale(nn.Module):  # type: ignore[misc]
    """Multiplies by a constant."""

    def __init__(self, factor: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("factor", factor)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * self.factor).to(x.dtype)


class Cast(nn.Module):  # type: ignore[misc]
    """To another type."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.to(self.dtype)


class Sum(nn.Module):  # type: ignore[misc]
    """Of two branches from the same input."""

    def __init__(self, body: nn.Sequential, shortcut: nn.Sequential) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x) + self.shortcut(x)


class SideBySide(nn.Module):  # type: ignore[misc]
    """The features of several branches from the same input, in their order."""

    def __init__(self, branches: list[nn.Sequential]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class SampledScores(nn.Module):  # type: ignore[misc]
    """Tokens (n, context + candidates) to each candidate's product with the mean of the context (n, candidates)."""

    def __init__(self, vocabulary: int, units: int, context: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocabulary, units))
        self.output_weight = nn.Parameter(torch.empty(vocabulary, units))
        self.context = context

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = functional.embedding_bag(x[:, : self.context], self.weight, mode="mean")
        candidates = functional.embedding(x[:, self.context :], self.output_weight)
        return torch.bmm(candidates, mean.unsqueeze(2)).squeeze(2)


class BiasedNorm(nn.BatchNorm2d):  # type: ignore[misc]
    """Batch norm of (n, c) or (n, c, h, w) whose running variance takes the batch's biased one.

    PyTorch has no such thing: its operation adds the unbiased one, ``n / (n - 1)`` times as large for n values.  So it
    is given the running variance times that factor, and what it makes of it is taken by its inverse: two operations on
    c numbers.  They are not made in place, for the way back reads what the operation was given.
    """

    def _check_input_dim(self, x: torch.Tensor) -> None:
        if x.dim() not in (2, 4):
            raise ValueError(f"expected (n, c) or (n, c, h, w), not {x.dim()} dimensions")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(x)
        values = x.numel() // x.shape[1]
        share = (values - 1) / values if values > 1 else 1.0  # of one value PyTorch takes no variance at all
        variance = self.running_var / share
        y = functional.batch_norm(
            x, self.running_mean, variance, self.weight, self.bias, True, self.momentum, self.eps
        )  # fmt: skip
        torch.mul(variance, share, out=self.running_var)
        return y


def model(spec: Spec, holders: dict[str, nn.Module], *, mixed: bool = False) -> nn.Sequential:
    """From NHWC images, or tokens, to outputs in canonical form.

    ``holders`` gets the modules with tensors, by the canonical name of their layer.  Frozen ones want no gradient.
    A ``mixed`` one is for autocast to bfloat16, which rounds the operands of products by itself: what comes out of a
    table is handed on in bfloat16 as well, and softmax is taken in float32.
    """
    nodes = spec.graph
    images, flat = len(nodes[0].input) == 3, isinstance(nodes[0].layer, Flatten)
    first = [nn.Flatten()] if flat else [ChannelsFirst()] if images else []
    last = [ChannelsLast()] if len(nodes[-1].output) == 3 else []
    return nn.Sequential(*first, *_modules(spec, nodes[flat:], holders, mixed), *last)


def _modules(spec: Spec, nodes: tuple[Node, ...], holders: dict[str, nn.Module], mixed: bool) -> list[nn.Module]:
    """The modules of a branch, images in NCHW.  Raises Unsupported for a layer that is not known here."""

    def branch(nodes: tuple[Node, ...]) -> nn.Sequential:
        return nn.Sequential(*_modules(spec, nodes, holders, mixed))

    modules: list[nn.Module] = []
    for node in nodes:
        match node.layer:
            case Residual():
                modules.append(Sum(branch(node.body), branch(node.shortcut)))
            case Concat():
                modules.append(SideBySide([branch(nodes) for nodes in node.branches]))
            case layer:
                if layer.layer not in MAKERS:
                    raise Unsupported(f"torch has no layer {layer.layer!r}", where=node.name)
                modules += MAKERS[layer.layer](node, layer)
        if node.tensors:
            holders[node.name] = modules[-1].requires_grad_(not spec.is_frozen(node))
        if mixed and node.layer.layer in MIXED:
            MIXED[node.layer.layer](modules)
    return modules


def _flatten(node: Node, _: Flatten) -> list[nn.Module]:
    """In NHWC order, which is how channels_last lies in memory: a view."""
    return [ChannelsLast(), nn.Flatten()] if len(node.input) == 3 else []


def _dense(node: Node, layer: Dense) -> list[nn.Module]:
    return [nn.Linear(node.input[0], layer.units, layer.use_bias)]


def _conv2d(node: Node, layer: Conv2D) -> list[nn.Module]:
    near, far = margins = edges(node, layer.kernel, layer.stride)
    pad, padding = ([], near) if near == far else ([nn.ZeroPad2d(_sides(margins))], (0, 0))
    return [*pad, nn.Conv2d(node.input[2], layer.filters, layer.kernel, layer.stride, padding, bias=layer.use_bias)]


def _batch_norm(node: Node, layer: BatchNorm) -> list[nn.Module]:
    """Frozen or not: a frozen one is never in training, so that its running variance takes nothing."""
    if layer.running_variance == "biased":
        kind = BiasedNorm
    else:
        kind = nn.BatchNorm2d if len(node.input) == 3 else nn.BatchNorm1d
    norm = kind(node.input[-1], layer.epsilon, 1 - layer.momentum)
    norm.num_batches_tracked = None  # a counter that only a cumulative average needs
    return [norm]


Edges = tuple[tuple[int, int], tuple[int, int]]


def edges(node: Node, kernel: tuple[int, int], stride: tuple[int, int]) -> Edges:
    """Padding as ((top, left), (bottom, right))."""
    padding = getattr(node.layer, "padding", Padding.VALID)
    rows, columns = (window(node.input[i], kernel[i], stride[i], padding_of(padding, i))[1:] for i in (0, 1))
    return (rows[0], columns[0]), (rows[1], columns[1])


def _sides(margins: Edges) -> tuple[int, int, int, int]:
    (top, left), (bottom, right) = margins
    return left, right, top, bottom


def _pool(node: Node, layer: MaxPool | AveragePool) -> list[nn.Module]:
    near, far = margins = edges(node, layer.window, layer.strides)
    uneven = [stride for stride, a, b in zip(layer.strides, near, far, strict=True) if a != b]
    if 1 not in uneven:  # with a stride above 1 the one more row on the far side is what ceil_mode adds
        options: dict[str, Any] = {"padding": near, "ceil_mode": bool(uneven)}
        if isinstance(layer, MaxPool):
            return [nn.MaxPool2d(layer.window, layer.strides, **options)]
        if layer.count_padding and uneven:  # count_include_pad leaves out the row that ceil_mode adds
            options["divisor_override"] = math.prod(layer.window)
        return [nn.AvgPool2d(layer.window, layer.strides, **options, count_include_pad=layer.count_padding)]
    if isinstance(layer, MaxPool):
        return [nn.ConstantPad2d(_sides(margins), -math.inf), nn.MaxPool2d(layer.window, layer.strides)]
    pool = [nn.ZeroPad2d(_sides(margins)), nn.AvgPool2d(layer.window, layer.strides)]
    if layer.count_padding:
        return pool
    share = nn.Sequential(*pool)(torch.ones(1, 1, *node.input[:2], dtype=torch.float64))
    return [*pool, Scale(1 / share)]


def _embedding(_: Node, layer: Embedding) -> list[nn.Module]:
    """Gradients are dense, as momentum and Adam move every row.

    A step of a bag took 435 us where looking up and averaging took 549 (vocabulary 4,096, 64 units, batch 512).
    """
    return [nn.EmbeddingBag(layer.vocabulary, layer.units, mode="mean")]


MAKERS: Mapping[str, Callable[[Node, Any], list[nn.Module]]] = {
    "flatten": _flatten,
    "dense": _dense,
    "conv2d": _conv2d,
    "max_pool": _pool,
    "average_pool": _pool,
    "global_average_pool": lambda *_: [nn.AdaptiveAvgPool2d(1), nn.Flatten()],
    "batch_norm": _batch_norm,
    "dropout": lambda _, layer: [nn.Dropout(layer.rate)],
    "relu": lambda *_: [nn.ReLU()],  # in place it was no faster
    "tanh": lambda *_: [nn.Tanh()],
    "sigmoid": lambda *_: [nn.Sigmoid()],
    "softmax": lambda *_: [nn.Softmax(dim=1)],
    "embedding": _embedding,
    "sampled_scores": lambda _, layer: [SampledScores(layer.vocabulary, layer.units, layer.context)],
}
"""What each layer is made of, but those of several branches, which are made of layers."""


MIXED: Mapping[str, Callable[[list[nn.Module]], object]] = {
    "embedding": lambda modules: modules.append(Cast(torch.bfloat16)),
    "softmax": lambda modules: modules.insert(-1, Cast(torch.float32)),
}
"""What autocast leaves out, put behind or before the last of the modules so far."""


def canonical(tensor: torch.Tensor, role: Role) -> torch.Tensor:
    """A native tensor seen in canonical form: (out, in) as (in, out), (out, in, kh, kw) as (kh, kw, in, out)."""
    if role is not Role.KERNEL:
        return tensor
    return tensor.permute(2, 3, 1, 0) if tensor.dim() == 4 else tensor.T


def arrays(tensors: Mapping[str, torch.Tensor], roles: Mapping[str, Role]) -> Weights:
    """Copies in canonical form, by canonical name."""
    return {n: np.array(canonical(t.detach(), roles[n]).cpu().numpy(), order="C") for n, t in tensors.items()}


def from_host(images: Array) -> torch.Tensor:
    """Images as a tensor over the same memory, which a copy is made of where torch cannot take it.

    It takes neither negative strides nor read-only memory.
    """
    return torch.from_numpy(images if images.flags.carray else np.array(images, order="C"))


def outputs(model: nn.Module, images: torch.Tensor, *, mixed: bool) -> torch.Tensor:
    """Of a model; in mixed precision its inputs are rounded like whatever a layer hands on."""
    if not mixed:
        return model(images)
    with torch.autocast(images.device.type, torch.bfloat16):
        found = model(images.to(torch.bfloat16) if images.is_floating_point() else images)
    return found.float()
