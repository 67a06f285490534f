"""What a spec is made of in PyTorch: native modules for its layers, and its tensors in canonical form."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from suite.errors import Unsupported
from suite.layers import AveragePool, BatchNorm, Conv2D, Dense, Flatten, MaxPool, Node, Padding, Residual, Role, window
from suite.runners.base import Weights

ATTRIBUTES = {
    Role.KERNEL: "weight",
    Role.BIAS: "bias",
    Role.GAMMA: "weight",
    Role.BETA: "bias",
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
        return x * self.factor


class Sum(nn.Module):  # type: ignore[misc]
    """Of two branches from the same input."""

    def __init__(self, body: nn.Sequential, shortcut: nn.Sequential) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x) + self.shortcut(x)


def model(nodes: tuple[Node, ...], holders: dict[str, nn.Module]) -> nn.Sequential:
    """From NHWC images to outputs in canonical form; ``holders`` gets the modules with tensors, by canonical name."""
    flat = isinstance(nodes[0].layer, Flatten)
    first = nn.Flatten() if flat else ChannelsFirst()
    last = [ChannelsLast()] if len(nodes[-1].output) == 3 else []
    return nn.Sequential(first, *_modules(nodes[flat:], holders), *last)


def _modules(nodes: tuple[Node, ...], holders: dict[str, nn.Module]) -> list[nn.Module]:
    """The modules of a branch, images in NCHW.  Raises Unsupported for a layer that is not known here."""
    modules: list[nn.Module] = []
    for node in nodes:
        if isinstance(node.layer, Residual):
            branches = (nn.Sequential(*_modules(branch, holders)) for branch in (node.body, node.shortcut))
            modules.append(Sum(*branches))
        elif maker := MAKERS.get(node.layer.layer):
            modules += maker(node, node.layer)
        else:
            raise Unsupported(f"torch has no layer {node.layer.layer!r}", where=node.name)
        if node.tensors:
            holders[node.name] = modules[-1]
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
    kind = nn.BatchNorm2d if len(node.input) == 3 else nn.BatchNorm1d
    norm = kind(node.input[-1], layer.epsilon, 1 - layer.momentum)
    norm.num_batches_tracked = None  # a counter that only a cumulative average needs
    return [norm]


Edges = tuple[tuple[int, int], tuple[int, int]]


def edges(node: Node, kernel: tuple[int, int], stride: tuple[int, int]) -> Edges:
    """Padding as ((top, left), (bottom, right))."""
    padding = getattr(node.layer, "padding", Padding.VALID)
    rows, columns = (window(node.input[i], kernel[i], stride[i], padding)[1:] for i in (0, 1))
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
        return [nn.AvgPool2d(layer.window, layer.strides, **options, count_include_pad=False)]
    if isinstance(layer, MaxPool):
        return [nn.ConstantPad2d(_sides(margins), -math.inf), nn.MaxPool2d(layer.window, layer.strides)]
    pool = [nn.ZeroPad2d(_sides(margins)), nn.AvgPool2d(layer.window, layer.strides)]
    share = nn.Sequential(*pool)(torch.ones(1, 1, *node.input[:2], dtype=torch.float64))
    return [*pool, Scale(1 / share)]


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
}
"""What each layer is made of, but a residual, which is made of layers."""


def canonical(tensor: torch.Tensor) -> torch.Tensor:
    """A native tensor seen in canonical form: (out, in) as (in, out), (out, in, kh, kw) as (kh, kw, in, out)."""
    return tensor.permute(2, 3, 1, 0) if tensor.dim() == 4 else tensor.T if tensor.dim() == 2 else tensor


def arrays(tensors: Mapping[str, torch.Tensor]) -> Weights:
    """Copies in canonical form."""
    return {name: np.array(canonical(tensor.detach()).cpu().numpy(), order="C") for name, tensor in tensors.items()}
