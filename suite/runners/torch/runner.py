"""PyTorch itself: native modules, fused optimizers, data resident on the device.

Modes: ``eager``, and ``compile``, where Inductor compiles the forward pass, the loss, the backward pass and prediction.
On a GPU ``graphs`` launches steps and passes as CUDA graphs, ``compile_graphs`` what Inductor compiled, and
``max_autotune`` what it compiled after trying several kernels for each product.  ``quickstart`` is PyTorch's own first
tutorial, and a program of its own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import torch
import torch._dynamo

from suite.errors import MachineError, Unsupported
from suite.runners.base import Device, Precision, Threads, gpu_uuid
from suite.runners.torch import quickstart
from suite.runners.torch.graphs import RecordedProgram
from suite.runners.torch.program import LAYOUT, Program, Way
from suite.spec.precision import NO_TF32
from suite.spec.resolved import Spec
from suite.spec.semantics import Variant

COMPILATIONS = 512
"""Dynamo's limit per function, for which each shape of each program of the process counts."""
NO_GRAPHS = "CUDA graphs need a GPU"
# Inductor's own CUDA graphs hold neither the optimizer nor several steps, and the next call would overwrite what one
# returns; so it is asked for none, and what it compiles is recorded as eager steps are.
WAYS: Mapping[str, Way] = {
    "eager": Way(),
    "compile": Way("default"),
    "graphs": Way(graphs=True),
    "compile_graphs": Way("default", graphs=True),
    "max_autotune": Way("max-autotune-no-cudagraphs", graphs=True),
}


class Runner:
    """PyTorch in one process.  TF32 is off, denormals are flushed on the processor, cuDNN picks algorithms by trial.

    If it is to be ``deterministic``, cuDNN picks by rule, and what has no such algorithm raises RuntimeError.
    """

    modes: ClassVar[tuple[str, ...]] = ("eager", "compile", "quickstart", "graphs", "compile_graphs", "max_autotune")
    variants: ClassVar[frozenset[Variant]] = frozenset()
    cached: ClassVar[frozenset[str]] = frozenset({"compile", "compile_graphs", "max_autotune"})
    warmup: ClassVar[Mapping[str, int]] = {
        "eager": 3,
        "compile": 5,
        "quickstart": 3,
        "graphs": 3,
        "compile_graphs": 5,
        "max_autotune": 5,
    }

    def __init__(self, device: Device, threads: Threads, seed: int, *, deterministic: bool = False) -> None:
        """Raises MachineError where ``device`` is not there."""
        if device == "cuda" and (reason := _no_cuda()):
            raise MachineError(reason, way_out="Use the device cpu.")
        self._device, self._cuda, self._seed = torch.device(device), device == "cuda", seed
        # Threads inherit the flag of the one that starts them, so it comes before any of PyTorch's own.
        torch.set_flush_denormal(True)
        torch.set_num_threads(threads.intra)
        if torch.get_num_interop_threads() != threads.inter:
            torch.set_num_interop_threads(threads.inter)
        torch.set_float32_matmul_precision("highest")
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = not deterministic, deterministic
        torch.use_deterministic_algorithms(deterministic)
        torch.utils.deterministic.fill_uninitialized_memory = False  # a help in debugging, at a price
        torch._dynamo.config.trace_autograd_ops = True
        torch._dynamo.config.recompile_limit = COMPILATIONS
        torch._dynamo.config.accumulated_recompile_limit = COMPILATIONS
        torch.manual_seed(seed)

    def missing(self, mode: str) -> str | None:
        """Why this machine cannot offer ``mode``, or None.  Nothing is compiled to find out."""
        if mode not in self.modes:
            return f"torch has no mode {mode!r}"
        way = WAYS.get(mode, Way())
        if way.graphs and not self._cuda:
            return NO_GRAPHS
        return _no_compiler() if way.inductor else None

    def versions(self) -> dict[str, str]:
        """PyTorch and the libraries under it that decide its numbers."""
        config = torch.__config__.show()
        patterns = {
            "mkl": r"Math Kernel Library Version (\S+)",
            "onednn": r"MKL-DNN v(\S+)",
            "openmp": r"OpenMP (\d+)",
            "instructions": r"CPU capability usage: (\S+)",
        }
        found = {name: match[1] for name, pattern in patterns.items() if (match := re.search(pattern, config))}
        cudnn = torch.backends.cudnn.version()
        libraries = {"cuda": torch.version.cuda, "cudnn": cudnn and str(cudnn)}
        return {"torch": torch.__version__, **{k: v for k, v in libraries.items() if v}, **found}

    def devices(self) -> dict[str, str]:
        """The processor's instruction set, and the GPU or why there is none."""
        return {"cpu": torch.backends.cpu.get_cpu_capability(), "cuda": _no_cuda() or torch.cuda.get_device_name()}

    def settings(self) -> dict[str, str]:
        """Read back from PyTorch, not from what was asked."""
        cudnn, tf32 = torch.backends.cudnn, torch.backends.cuda.matmul.allow_tf32
        switches = {"tf32": tf32 or cudnn.allow_tf32, "deterministic": torch.are_deterministic_algorithms_enabled()}
        switches |= {"cudnn_autotune": cudnn.benchmark} if self._cuda else {}
        own = {"compile": "default mode", "layout": str(LAYOUT).removeprefix("torch.")}
        own |= {"quickstart": quickstart.SETTING}
        return {name: "on" if on else "off" for name, on in switches.items()} | own

    def gpu(self) -> str | None:
        """UUID of CUDA's first GPU, which is PyTorch's as well; None on the processor."""
        return gpu_uuid() if self._cuda else None

    def allocator_peak(self) -> int | None:
        """Peak bytes that tensors held on the GPU since the last call; None on the processor."""
        peak = int(torch.cuda.max_memory_allocated(self._device)) if self._cuda else None
        if self._cuda:
            torch.cuda.reset_peak_memory_stats(self._device)
        return peak

    def build(self, spec: Spec, mode: str, precision: Precision) -> Program | quickstart.Program:
        """Raises Unsupported for a mode or a precision that this machine cannot offer."""
        if reason := self.missing(mode) or (NO_TF32 if precision == "tf32" and not self._cuda else None):
            raise Unsupported(reason)
        if mode == "quickstart":
            return quickstart.Program(spec, self._device, precision, self._seed)
        way = WAYS[mode]
        return (RecordedProgram if way.graphs else Program)(spec, self._device, precision, self._seed, way)


def _no_cuda() -> str | None:
    if torch.version.cuda is None:
        return "this PyTorch is built without CUDA"
    try:
        with warnings.catch_warnings(action="ignore"):
            torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return str(error).splitlines()[0].split(". ")[0]
    return None


def _no_compiler() -> str | None:
    """Inductor writes C++ that includes Python's headers."""
    name = os.environ.get("CXX", "g++")
    found = shutil.which(name)
    if not found:
        return f"torch.compile needs a C++ compiler: there is no {name} on this machine"
    if subprocess.run([found, "--version"], capture_output=True, check=False).returncode:
        return f"torch.compile needs a C++ compiler: {found} does not run"
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        return "torch.compile needs Python's headers: there is no Python.h on this machine"
    return None
