"""Passes over memory in NumPy: a copy of one array into another that is there already."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from suite.runners.base import Device


def passes(_device: Device, kind: Literal["float32", "bfloat16"], values: int) -> Callable[[int], None]:
    """A call of so many passes, each of which reads ``values`` values and writes as many.

    NumPy knows no bfloat16; a copy asks for the bytes of a value alone.
    """
    source = np.ones(values, np.uint16 if kind == "bfloat16" else np.float32)
    target = np.zeros_like(source)

    def over(times: int) -> None:
        for _ in range(times):
            np.copyto(target, source)

    return over
