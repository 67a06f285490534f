"""Training of mnist-mlp-128 in PyTorch with nothing of the suite's around it: what its runner is measured against.

The same native steps as an expert's script has them: arrays resident, fused Adam, the loss kept on the device.
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
    model = nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 128), nn.ReLU(), nn.Linear(128, 10))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), 0.001, (0.9, 0.999), 1e-8, fused=True)
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
