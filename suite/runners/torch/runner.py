"""PyTorch itself: native modules, fused optimizers, data resident on the device.

Modes: ``eager``, and ``compile``, where Inductor compiles the forward pass, the loss, the backward pass and prediction.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
import torch._dynamo
from numpy.typing import NDArray

from suite.errors import MachineError, Unsupported
from suite.runners.base import SLOTS, Array, Device, InferenceOption, Precision, Probe, State, Threads, gpu_uuid
from suite.runners.torch import layers as native
from suite.runners.torch import objective, options
from suite.spec.graph import walk
from suite.spec.layers import BatchNorm
from suite.spec.precision import NO_TF32, held
from suite.spec.recipe import Adam, Sgd
from suite.spec.resolved import Spec
from suite.spec.semantics import Variant
from suite.spec.targets import Loss
from suite.spec.tensors import Role

COMPILATIONS = 512
"""Dynamo's limit per function, for which each shape of each program of the process counts."""
LAYOUT = torch.channels_last
"""How weights and gradients of four axes lie in memory: as images come, where PyTorch's own default is NCHW."""


class Program:
    """A spec as a Sequential of native modules, in the memory format ``LAYOUT``."""

    def __init__(self, spec: Spec, device: torch.device, precision: Precision, seed: int, compiled: bool) -> None:
        dtype: torch.dtype = getattr(torch, held(precision))
        self._spec, self._device, self._dtype, self._seed = spec, device, dtype, seed
        self._mixed, self._tf32 = precision == "bfloat16", precision == "tf32"
        holders: dict[str, Any] = {}
        # channels_last makes flattening in NHWC order a view.  On a CPU contiguous NCHW was within 7 % either way:
        # a step of two convolutions with batch norm took 38.6 against 36.1 ms eager, 42.9 against 45.3 ms compiled.
        self._model = native.model(spec, holders, mixed=self._mixed).to(device, dtype, memory_format=LAYOUT)
        self._criterion = objective.criterion(spec)
        self._tensors: dict[str, torch.Tensor] = {
            tensor.name: getattr(holders[node.name], native.ATTRIBUTES[tensor.role])
            for node in walk(spec.graph)
            for tensor in node.tensors
        }
        norms = (node for node in walk(spec.graph) if isinstance(node.layer, BatchNorm))
        self._still = [holders[node.name].eval() for node in norms if spec.is_frozen(node)]
        self._roles = {name: tensor.role for name, tensor in spec.tensors.items()}
        self._trainable = {name: self._tensors[name] for name in spec.trainable}
        moving = {name for name, role in self._roles.items() if not role.trainable} - spec.frozen_names
        self._statistics = {name: t for name, t in self._tensors.items() if name in moving}
        self._kernels = {name: t for name, t in self._trainable.items() if self._roles[name] is Role.KERNEL}
        others = [t for name, t in self._trainable.items() if name not in self._kernels]
        self._optimizer = objective.optimizer(spec, list(self._kernels.values()), others)
        self._parameters = list(self._trainable.values())
        self._steps, self._rate = 0, spec.optimizer.learning_rate
        slots = () if isinstance(spec.optimizer, Sgd) and not spec.optimizer.momentum else SLOTS[spec.optimizer.name]
        self._slots = {
            slot: {name: torch.zeros_like(tensor) for name, tensor in self._trainable.items()} for slot in slots
        }
        self._splits: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self._pinned: dict[tuple[int, ...], torch.Tensor] = {}
        self._compiled = compiled
        self._forward = self._compile(self._outputs)
        self._differentiate = self._compile(self._differentiation)

    def load(self, state: State) -> None:
        """Take weights, slots and step; slots left out are zero.  Restarts the dropout stream."""
        with torch.no_grad():
            for name, tensor in self._tensors.items():
                native.canonical(tensor, self._roles[name]).copy_(torch.tensor(state.weights[name]))
            for slot, held in self._slots.items():
                given = state.slots.get(slot, {})
                for name, tensor in held.items():
                    native.canonical(tensor, self._roles[name]).copy_(torch.tensor(given.get(name, 0.0)))
        self._steps = state.step
        for name, parameter in self._trainable.items():
            slots = {objective.SLOTS[slot]: held[name] for slot, held in self._slots.items()}
            if not isinstance(self._spec.optimizer, Sgd):  # which counts no steps
                slots["step"] = torch.tensor(float(state.step), dtype=torch.float32, device=self._counter_device())
            self._optimizer.state[parameter] = slots
        torch.manual_seed(self._seed)
        self._barrier()

    def _counter_device(self) -> torch.device:
        """A fused Adam counts where its parameters are, the others on the processor."""
        return self._device if isinstance(self._spec.optimizer, Adam) else torch.device("cpu")

    def state(self) -> State:
        """Copies of what the program holds, in canonical form."""
        slots = {slot: native.arrays(held, self._roles) for slot, held in self._slots.items()}
        return State(native.arrays(self._tensors, self._roles), slots, self._steps)

    def stage(self, split: str, images: Array, targets: Array) -> None:
        """Make a split resident on the device; ``train`` is what training draws from."""
        self._splits[split] = torch.tensor(images, device=self._device), self._targets(targets)
        self._barrier()

    def _targets(self, targets: Array) -> torch.Tensor:
        """PyTorch takes class labels as int64 alone."""
        labels = self._spec.loss is Loss.SOFTMAX_CROSS_ENTROPY
        return torch.tensor(targets, dtype=torch.int64 if labels else self._dtype, device=self._device)

    def train(self, order: NDArray[np.int32]) -> float:
        """One optimizer step per ``batch_size`` indices of ``order`` into ``train``, the last batch ragged.

        Returns the mean data loss per image over the call, as seen before each step.
        """
        self._switch(training=True)
        images, targets = self._splits["train"]
        batches = torch.tensor(order, device=self._device).split(self._spec.batch_size)
        rates = self._spec.rates(self._steps, len(batches)).tolist()
        epsilons = objective.epsilons(self._spec, self._steps, len(batches))
        losses = [self._train_batch(images, targets, *each) for each in zip(batches, rates, epsilons, strict=True)]
        self._steps += len(batches)
        sizes = torch.tensor([len(batch) for batch in batches], dtype=torch.float64, device=self._device)
        return float(torch.stack(losses).double() @ sizes) / len(order)

    def _train_batch(
        self, images: torch.Tensor, targets: torch.Tensor, batch: torch.Tensor, rate: float, epsilon: float | None
    ) -> torch.Tensor:
        """One optimizer step, by another ``epsilon`` if there is one; returns the loss, which stays on the device."""
        loss, _, gradients = self._differentiate(images.index_select(0, batch), targets.index_select(0, batch))
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = gradient
        if rate != self._rate:
            objective.set_rate(self._optimizer, rate)
            self._rate = rate
        if epsilon is not None:
            objective.set_epsilon(self._optimizer, epsilon)
        self._optimizer.step()
        return loss

    def _differentiation(
        self, images: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        """The mean loss of a batch, the outputs it is made of, and its gradient for each parameter.

        With the gradients asked for inside, one graph holds both passes: a compiled step took 0.76 ms of processor time
        where compiling the forward pass and calling ``backward`` on its loss took 1.06 (mnist-mlp-128, batch 64).
        """
        outputs = self._outputs(images)
        loss = self._criterion(outputs, targets)
        gradients = torch.autograd.grad(loss, self._parameters)
        # A fused optimizer walks through memory as it lies: a gradient in another layout would be added elsewhere.
        held = [g.contiguous(memory_format=LAYOUT) if g.dim() == 4 else g for g in gradients]
        return loss.detach(), outputs.detach(), held

    def _outputs(self, images: torch.Tensor) -> torch.Tensor:
        """Of the model; in mixed precision its inputs are rounded like whatever a layer hands on."""
        if not self._mixed:
            return cast(torch.Tensor, self._model(images))
        with torch.autocast(self._device.type, torch.bfloat16):
            outputs = self._model(images.to(torch.bfloat16) if images.is_floating_point() else images)
        return cast(torch.Tensor, outputs.float())

    def predict(self, split: str, batch_size: int) -> Array:
        """Evaluation outputs of a whole staged split, batch by batch; one transfer at the end."""
        self._switch(training=False)
        images, _ = self._splits[split]
        with torch.inference_mode():
            outputs = torch.cat([self._forward(batch) for batch in images.split(batch_size)])
        return cast(Array, outputs.cpu().numpy())

    def infer(self, images: Array) -> Array:
        """One query: a batch in host memory to outputs in host memory."""
        self._switch(training=False)
        return self._query(self._forward, images)

    def _query(self, forward: Callable[..., Any], images: Array) -> Array:
        if not images.flags.carray:  # torch takes neither negative strides nor read-only memory
            images = np.array(images, order="C")
        with torch.inference_mode():
            batch = torch.from_numpy(images)
            if self._device.type == "cuda":
                batch = self._pin(batch).to(self._device, non_blocking=True)
            outputs = forward(batch)
        return cast(Array, outputs.cpu().numpy())  # which waits, so that the pinned memory is free again

    def infer_with(self, option: InferenceOption, calibration: Array) -> Callable[[Array], Array]:
        """``infer`` with one option changed, over the weights that are held; outputs in float32.

        Raises Unsupported where PyTorch, the device or the mode has no such thing.
        """
        inputs = torch.tensor(calibration, device=self._device)
        model = options.applied(self._model, self._spec, option, inputs, self._compiled)
        return partial(self._query, self._compile(model))

    def _compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """In the mode ``compile``, compiled; else as it is.

        fullgraph makes an error of what cannot be compiled; dynamic=False gives every shape its own graph.  Inductor's
        default mode: with CUDA graphs the next call would overwrite what this one returns.
        """
        return torch.compile(function, fullgraph=True, dynamic=False) if self._compiled else function

    def _pin(self, batch: torch.Tensor) -> torch.Tensor:
        """A batch in page-locked memory, from where the GPU fetches it by itself; one buffer for each shape."""
        if batch.shape not in self._pinned:  # locking pages takes longer than a query
            self._pinned[batch.shape] = torch.empty_like(batch, pin_memory=True)
        return self._pinned[batch.shape].copy_(batch)

    def probe(self, images: Array, targets: Array) -> Probe:
        """One forward and backward pass over a batch; nothing is updated, and the dropout stream stays where it is."""
        self._switch(training=True)
        before = {name: tensor.clone() for name, tensor in self._statistics.items()}
        with torch.random.fork_rng([self._device] if self._device.type == "cuda" else []):
            loss, outputs, found = self._differentiate(
                torch.tensor(images, device=self._device), self._targets(targets)
            )
        gradients = dict(zip(self._trainable, found, strict=True))
        if self._spec.l2:
            # What the optimizer adds to the gradient of each kernel.
            gradients |= {n: gradients[n] + 2 * self._spec.l2 * kernel.detach() for n, kernel in self._kernels.items()}
        statistics = native.arrays(self._statistics, self._roles)
        for name, tensor in before.items():
            self._statistics[name].copy_(tensor)
        held = native.arrays(gradients, self._roles)
        return Probe(outputs.cpu().numpy(), self.infer(images), float(loss), held, statistics)

    def _switch(self, *, training: bool) -> None:
        if self._device.type == "cuda":  # a switch of the process, which programs of several precisions may share
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = self._tf32
        if self._model.training is not training:
            self._model.train(training)
            for norm in self._still:  # frozen
                norm.eval()

    def _barrier(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


class Runner:
    """PyTorch in one process.  TF32 is off, denormals are flushed on the processor, cuDNN picks algorithms by trial.

    If it is to be ``deterministic``, cuDNN picks by rule, and what has no such algorithm raises RuntimeError.
    """

    modes: ClassVar[tuple[str, ...]] = ("eager", "compile")
    variants: ClassVar[frozenset[Variant]] = frozenset()
    cached: ClassVar[frozenset[str]] = frozenset({"compile"})
    warmup: ClassVar[Mapping[str, int]] = {"eager": 3, "compile": 5}

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
        return _no_compiler() if mode == "compile" else None

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

    def build(self, spec: Spec, mode: str, precision: Precision) -> Program:
        """Raises Unsupported for a mode or a precision that this machine cannot offer."""
        if reason := self.missing(mode) or (NO_TF32 if precision == "tf32" and not self._cuda else None):
            raise Unsupported(reason)
        return Program(spec, self._device, precision, self._seed, mode == "compile")


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
