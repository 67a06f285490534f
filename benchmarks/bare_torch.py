"""Training in PyTorch with nothing of the suite's around it: what its runner is measured against.

The same native steps as an expert's script has them: arrays resident, a fused optimizer, the loss kept on the device.
Which network is trained follows from the images: mnist-mlp-128's for 28 pixels, cifar-resnet50's for 32.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch._dynamo
from numpy.typing import NDArray
from torch import nn
from torchvision.models import resnet50

Network = tuple[nn.Module, torch.optim.Optimizer]


def perceptron() -> Network:
    """784-128-10 and Adam, as in mnist-mlp-128/pytorch-recipe."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    return model, torch.optim.Adam(model.parameters(), 0.001, (0.9, 0.999), 1e-8, fused=True)


class Cifar(nn.Module):  # type: ignore[misc]
    """torchvision's ResNet-50 with a stem for small images (n, 32, 32, 3), which are channels_last as they lie."""

    def __init__(self) -> None:
        super().__init__()
        self.network = resnet50(num_classes=10)
        self.network.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.network.maxpool = nn.Identity()
        self.network.fc = nn.Sequential(nn.Dropout(0.2), self.network.fc)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, 10)."""
        return self.network(x.permute(0, 3, 1, 2))


def residual() -> Network:
    """ResNet-50, momentum, and decay of the kernels, as in cifar-resnet50/cifar10."""
    model = Cifar().to(memory_format=torch.channels_last)
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": 0.0005},
        {"params": [p for p in parameters if p.dim() == 1]},
    ]
    return model, torch.optim.SGD(groups, 0.1, 0.9, fused=True)


NETWORKS = {(28, 28, 1): perceptron, (32, 32, 3): residual}


def epochs(
    mode: str,
    images: NDArray[np.float32],
    labels: NDArray[np.int32],
    orders: list[NDArray[np.int32]],
    batch: int,
    threads: int,
) -> Iterator[int]:
    """Nanoseconds of one epoch per order; images (n, h, w, c)."""
    torch.set_flush_denormal(True)
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    x, y = torch.tensor(images), torch.tensor(labels, dtype=torch.int64)
    model, optimizer = NETWORKS[images.shape[1:]]()
    criterion = nn.CrossEntropyLoss()
    parameters = list(model.parameters())

    def differentiate(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        loss = criterion(model(x), y)
        return loss.detach(), torch.autograd.grad(loss, parameters)

    if mode == "compile":
        torch._dynamo.config.trace_autograd_ops = True
        differentiate = torch.compile(differentiate, fullgraph=True, dynamic=False)

    def step(batch: torch.Tensor) -> torch.Tensor:
        loss, gradients = differentiate(x.index_select(0, batch), y.index_select(0, batch))
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
        return loss

    def backward(batch: torch.Tensor) -> torch.Tensor:
        optimizer.zero_grad()
        loss = criterion(model(x.index_select(0, batch)), y.index_select(0, batch))
        loss.backward()
        optimizer.step()
        return loss.detach()

    one: Any = step if mode == "compile" else backward
    for order in orders:
        gc.collect()
        gc.disable()
        begin = time.perf_counter_ns()
        losses = [one(indices) for indices in torch.from_numpy(order).split(batch)]
        float(torch.stack(losses).mean())
        yield time.perf_counter_ns() - begin
        gc.enable()
