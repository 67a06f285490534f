"""JAX as every part of its runner imports it, and XLA's client: what a process decides once, before it computes."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # else JAX takes three quarters of a GPU
import jax
import jax.numpy as jnp
from jax import lax

from suite.runners.base import Device, Threads

__all__ = ["Array", "Client", "client", "jax", "jnp", "lax"]

Array = Any
"""One of JAX's, or what stands for it while a function is traced."""

# For float64, which proves.  A program in float32 says so of every array it makes; Python's own numbers are weak.
jax.config.update("jax_enable_x64", True)


@dataclass(frozen=True)
class Client:
    """XLA's client as it was started: the first device of each kind that it has, its threads, its determinism.

    Its threads serve all operations alike; how many run at once cannot be told to it.
    """

    devices: dict[Device, Any]
    threads: int
    deterministic: bool


_started: list[Client] = []


def client(kind: Device, threads: Threads, *, deterministic: bool) -> Client:
    """The client of this process, which starts as the first who asks wants it.  For the processor no GPU is touched.

    XLA takes its threads from PJRT_NPROC (``DefaultThreadPoolSize`` in xla/pjrt/utils.cc) and its switches from
    XLA_FLAGS, both when a client starts.  Deterministic, it takes no operation that
    is not, and tries out no algorithms.
    """
    if not _started:
        os.environ["PJRT_NPROC"] = str(threads.intra)
        if deterministic:
            os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()
        if kind == "cpu":
            jax.config.update("jax_platforms", "cpu")
        devices: dict[Device, Any] = {"cpu": jax.devices("cpu")[0]}
        if kind == "cuda":
            with suppress(RuntimeError):  # there is none
                devices["cuda"] = jax.devices("cuda")[0]
        _started.append(Client(devices, threads.intra, deterministic))
    return _started[0]
