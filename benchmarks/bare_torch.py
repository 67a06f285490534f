"""Training in PyTorch with nothing of the suite's around it: what its runner is measured against.

The same native steps as an expert's script has them: arrays resident, a fused optimizer, the loss kept on the device;
in the mode graphs, a step as one CUDA graph.  Which network is trained follows from the images: mnist-mlp-128's for 28
pixels, cifar-resnet50's for 32, torchvision's ResNet-50 as it is for 224.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
import torch._dynamo
from numpy.typing import NDArray
from torch import nn
from torchvision.models import resnet50

Network = tuple[nn.Module, torch.optim.Optimizer]
Step = Callable[[torch.Tensor], torch.Tensor]


def perceptron(device: str) -> Network:
    """784-128-10 and Adam, as in mnist-mlp-128/pytorch-recipe."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10)).to(device)
    capturable = device == "cuda"  # or a graph could not hold it
    return model, torch.optim.Adam(model.parameters(), 0.001, (0.9, 0.999), 1e-8, fused=True, capturable=capturable)


class Images(nn.Module):  # type: ignore[misc]
    """torchvision's ResNet-50 for images (n, h, w, 3), channels_last as they lie; with another stem for small ones."""

    def __init__(self, *, small: bool) -> None:
        super().__init__()
        self.network = resnet50(num_classes=10 if small else 1000)
        if small:
            self.network.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
            self.network.maxpool = nn.Identity()
            self.network.fc = nn.Sequential(nn.Dropout(0.2), self.network.fc)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, classes)."""
        return self.network(x.permute(0, 3, 1, 2))


def residual(device: str, *, small: bool) -> Network:
    """ResNet-50, momentum, and decay of the kernels, as in cifar-resnet50/cifar10."""
    model = Images(small=small).to(device, memory_format=torch.channels_last)
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": 0.0005},
        {"params": [p for p in parameters if p.dim() == 1]},
    ]
    return model, torch.optim.SGD(groups, 0.1, 0.9, fused=True)


NETWORKS: dict[tuple[int, ...], Callable[[str], Network]] = {
    (28, 28, 1): perceptron,
    (32, 32, 3): partial(residual, small=True),
    (224, 224, 3): partial(residual, small=False),
}


def prepare(device: str, precision: str, threads: int) -> None:
    """The switches of a process, as an expert sets them."""
    torch.set_flush_denormal(True)
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    if device == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
        torch.backends.cudnn.benchmark = True


def epochs(
    mode: str,
    images: NDArray[np.float32],
    labels: NDArray[np.int32],
    orders: list[NDArray[np.int32]],
    batch: int,
    threads: int,
    device: str = "cpu",
    precision: str = "float32",
) -> Iterator[int]:
    """Nanoseconds of one epoch per order; images (n, h, w, c)."""
    prepare(device, precision, threads)
    x, y = torch.tensor(images, device=device), torch.tensor(labels, dtype=torch.int64, device=device)
    model, optimizer = NETWORKS[images.shape[1:]](device)
    criterion = nn.CrossEntropyLoss()
    parameters = list(model.parameters())

    low = precision == "bfloat16"

    def differentiate(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        with torch.autocast(device, torch.bfloat16, enabled=low):
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
        with torch.autocast(device, torch.bfloat16, enabled=low):
            loss = criterion(model(x.index_select(0, batch)), y.index_select(0, batch))
        loss.backward()
        optimizer.step()
        return loss.detach()

    one: Any = {"compile": step, "graphs": partial(_recorded, backward, {})}.get(mode, backward)
    for order in orders:
        gc.collect()
        gc.disable()
        begin = time.perf_counter_ns()
        losses = [one(indices) for indices in torch.from_numpy(order).to(device).split(batch)]
        float(torch.stack(losses).mean())
        yield time.perf_counter_ns() - begin
        gc.enable()


def _recorded(
    step: Callable[[torch.Tensor], torch.Tensor], graphs: dict[int, Any], batch: torch.Tensor
) -> torch.Tensor:
    """A step as one CUDA graph for each batch size, recorded when it first comes."""
    if len(batch) not in graphs:
        held, graph, aside = batch.clone(), torch.cuda.CUDAGraph(), torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                step(held)
        torch.cuda.current_stream().wait_stream(aside)
        with torch.cuda.graph(graph):
            loss = step(held)
        graphs[len(batch)] = held, graph, loss
    held, graph, loss = graphs[len(batch)]
    held.copy_(batch)
    graph.replay()
    return loss.clone()
