"""Passes over memory in PyTorch: a copy of one array into another that is there already."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch

from suite.runners.base import Device


def passes(device: Device, kind: Literal["float32", "bfloat16"], values: int) -> Callable[[int], None]:
    """A call of so many passes, each of which reads ``values`` values and writes as many; it ends behind the barrier.

    A copy that made its own array would wait, on a processor, until the system has cleared the pages of it.
    """
    source = torch.ones(values, dtype=getattr(torch, kind), device=device)
    target = torch.zeros_like(source)

    def over(times: int) -> None:
        for _ in range(times):
            target.copy_(source)
        if device == "cuda":
            torch.cuda.synchronize()

    return over
