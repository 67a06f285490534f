"""PyTorch itself: native modules, fused optimizers, data resident on the device.

Modes: ``eager``, and ``compile``, where Inductor compiles the forward pass, the loss, the backward pass and prediction.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import sysconfig
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
import torch._dynamo
from numpy.typing import NDArray
from torch import nn

from suite.errors import MachineError, Unsupported
from suite.layers import (
    AveragePool,
    BatchNorm,
    Conv2D,
    Dense,
    Flatten,
    MaxPool,
    Node,
    Padding,
    Residual,
    Role,
    walk,
    window,
)
from suite.runners.base import SLOTS, Array, Device, Precision, Probe, State, Threads, Variant, Weights, gpu_uuid
from suite.spec import Adam, Loss, RmsProp, Sgd, Spec

ATTRIBUTES = {
    Role.KERNEL: "weight",
    Role.BIAS: "bias",
    Role.GAMMA: "weight",
    Role.BETA: "bias",
    Role.MOVING_MEAN: "running_mean",
    Role.MOVING_VARIANCE: "running_var",
}
NATIVE_SLOTS = {"velocity": "momentum_buffer", "m": "exp_avg", "v": "exp_avg_sq", "square": "square_avg"}
COMPILATIONS = 512
"""Dynamo's limit per function, for which each shape of each program of the process counts."""


class _ChannelsFirst(nn.Module):  # type: ignore[misc]
    """NHWC memory seen as NCHW, which PyTorch calls the memory format channels_last; nothing moves."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 3, 1, 2)


class _ChannelsLast(nn.Module):  # type: ignore[misc]
    """NCHW seen as NHWC."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 2, 3, 1)


class _Scale(nn.Module):  # type: ignore[misc]
    """Multiplies by a constant."""

    def __init__(self, factor: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("factor", factor)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor


class _Residual(nn.Module):  # type: ignore[misc]
    def __init__(self, body: nn.Sequential, shortcut: nn.Sequential) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x) + self.shortcut(x)


def _model(nodes: tuple[Node, ...], holders: dict[str, nn.Module]) -> nn.Sequential:
    """From NHWC images to outputs in canonical form; ``holders`` gets the modules with tensors, by canonical name."""
    flat = isinstance(nodes[0].layer, Flatten)
    first = nn.Flatten() if flat else _ChannelsFirst()
    last = [_ChannelsLast()] if len(nodes[-1].output) == 3 else []
    return nn.Sequential(first, *_modules(nodes[flat:], holders), *last)


def _modules(nodes: tuple[Node, ...], holders: dict[str, nn.Module]) -> list[nn.Module]:
    """The modules of a branch, images in NCHW.  Raises Unsupported for a layer that is not known here."""
    modules: list[nn.Module] = []
    for node in nodes:
        if isinstance(node.layer, Residual):
            branches = (nn.Sequential(*_modules(branch, holders)) for branch in (node.body, node.shortcut))
            modules.append(_Residual(*branches))
        elif maker := MAKERS.get(node.layer.layer):
            modules += maker(node, node.layer)
        else:
            raise Unsupported(f"torch has no layer {node.layer.layer!r}", where=node.name)
        if node.tensors:
            holders[node.name] = modules[-1]
    return modules


def _flatten(node: Node, _: Flatten) -> list[nn.Module]:
    """In NHWC order, which is how channels_last lies in memory: a view."""
    return [_ChannelsLast(), nn.Flatten()] if len(node.input) == 3 else []


def _dense(node: Node, layer: Dense) -> list[nn.Module]:
    return [nn.Linear(node.input[0], layer.units, layer.use_bias)]


def _conv2d(node: Node, layer: Conv2D) -> list[nn.Module]:
    near, far = edges = _edges(node, layer.kernel, layer.stride)
    pad, padding = ([], near) if near == far else ([nn.ZeroPad2d(_sides(edges))], (0, 0))
    return [*pad, nn.Conv2d(node.input[2], layer.filters, layer.kernel, layer.stride, padding, bias=layer.use_bias)]


def _batch_norm(node: Node, layer: BatchNorm) -> list[nn.Module]:
    kind = nn.BatchNorm2d if len(node.input) == 3 else nn.BatchNorm1d
    norm = kind(node.input[-1], layer.epsilon, 1 - layer.momentum)
    norm.num_batches_tracked = None  # a counter that only a cumulative average needs
    return [norm]


Edges = tuple[tuple[int, int], tuple[int, int]]


def _edges(node: Node, kernel: tuple[int, int], stride: tuple[int, int]) -> Edges:
    """Padding as ((top, left), (bottom, right))."""
    padding = getattr(node.layer, "padding", Padding.VALID)
    rows, columns = (window(node.input[i], kernel[i], stride[i], padding)[1:] for i in (0, 1))
    return (rows[0], columns[0]), (rows[1], columns[1])


def _sides(edges: Edges) -> tuple[int, int, int, int]:
    (top, left), (bottom, right) = edges
    return left, right, top, bottom


def _pool(node: Node, layer: MaxPool | AveragePool) -> list[nn.Module]:
    near, far = edges = _edges(node, layer.window, layer.strides)
    uneven = [stride for stride, a, b in zip(layer.strides, near, far, strict=True) if a != b]
    if 1 not in uneven:  # with a stride above 1 the one more row on the far side is what ceil_mode adds
        options: dict[str, Any] = {"padding": near, "ceil_mode": bool(uneven)}
        if isinstance(layer, MaxPool):
            return [nn.MaxPool2d(layer.window, layer.strides, **options)]
        return [nn.AvgPool2d(layer.window, layer.strides, **options, count_include_pad=False)]
    if isinstance(layer, MaxPool):
        return [nn.ConstantPad2d(_sides(edges), -math.inf), nn.MaxPool2d(layer.window, layer.strides)]
    pool = [nn.ZeroPad2d(_sides(edges)), nn.AvgPool2d(layer.window, layer.strides)]
    share = nn.Sequential(*pool)(torch.ones(1, 1, *node.input[:2], dtype=torch.float64))
    return [*pool, _Scale(1 / share)]


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


def _canonical(tensor: torch.Tensor) -> torch.Tensor:
    """A native tensor seen in canonical form: (out, in) as (in, out), (out, in, kh, kw) as (kh, kw, in, out)."""
    return tensor.permute(2, 3, 1, 0) if tensor.dim() == 4 else tensor.T if tensor.dim() == 2 else tensor


def _arrays(tensors: Mapping[str, torch.Tensor]) -> Weights:
    """Copies in canonical form."""
    return {name: np.array(_canonical(tensor.detach()).cpu().numpy(), order="C") for name, tensor in tensors.items()}


def _criterion(loss: Loss) -> nn.Module:
    match loss:
        case Loss.SOFTMAX_CROSS_ENTROPY:
            return nn.CrossEntropyLoss()
        case Loss.SIGMOID_CROSS_ENTROPY:
            return nn.BCEWithLogitsLoss()
        case Loss.MEAN_SQUARED_ERROR:
            return nn.MSELoss()


def _optimizer(spec: Spec, kernels: list[torch.Tensor], others: list[torch.Tensor]) -> torch.optim.Optimizer:
    """The decay of kernels is the gradient of ``l2 * sum(kernel ** 2)``, which each of them adds to the gradient."""
    groups: list[dict[str, Any]] = [{"params": kernels + others}]
    if spec.l2:  # each group is a launch of its own
        groups = [{"params": kernels, "weight_decay": 2 * spec.l2}, *([{"params": others}] if others else [])]
    match spec.optimizer:
        case Sgd(learning_rate=rate, momentum=momentum, nesterov=nesterov):
            return torch.optim.SGD(groups, rate, momentum, nesterov=nesterov, fused=True)
        case Adam(learning_rate=rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon):
            return torch.optim.Adam(groups, rate, (beta_1, beta_2), epsilon, fused=True)
        case RmsProp(learning_rate=rate, rho=rho, epsilon=epsilon):
            return torch.optim.RMSprop(groups, rate, rho, epsilon, foreach=True)  # there is no fused one


class Program:
    """A spec as a Sequential of native modules, in the memory format channels_last."""

    def __init__(self, spec: Spec, device: torch.device, dtype: torch.dtype, seed: int, compiled: bool) -> None:
        self._spec, self._device, self._dtype, self._seed = spec, device, dtype, seed
        holders: dict[str, nn.Module] = {}
        # channels_last makes flattening in NHWC order a view.  On a CPU contiguous NCHW was within 7 % either way:
        # a step of two convolutions with batch norm took 38.6 against 36.1 ms eager, 42.9 against 45.3 ms compiled.
        self._model = _model(spec.graph, holders).to(device, dtype, memory_format=torch.channels_last)
        self._criterion = _criterion(spec.loss)
        self._tensors: dict[str, torch.Tensor] = {
            tensor.name: getattr(holders[node.name], ATTRIBUTES[tensor.role])
            for node in walk(spec.graph)
            for tensor in node.tensors
        }
        roles = {name: tensor.role for name, tensor in spec.tensors.items()}
        self._trainable = {name: t for name, t in self._tensors.items() if roles[name].trainable}
        self._statistics = {name: t for name, t in self._tensors.items() if not roles[name].trainable}
        self._kernels = {name: t for name, t in self._trainable.items() if roles[name] is Role.KERNEL}
        others = [t for name, t in self._trainable.items() if name not in self._kernels]
        self._optimizer = _optimizer(spec, list(self._kernels.values()), others)
        self._parameters = list(self._trainable.values())
        self._steps = 0
        slots = () if isinstance(spec.optimizer, Sgd) and not spec.optimizer.momentum else SLOTS[spec.optimizer.name]
        self._slots = {
            slot: {name: torch.zeros_like(tensor) for name, tensor in self._trainable.items()} for slot in slots
        }
        self._splits: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self._pinned: dict[tuple[int, ...], torch.Tensor] = {}
        self._forward: Callable[..., Any] = self._model
        self._differentiate: Callable[..., Any] = self._differentiation
        if compiled:
            # fullgraph makes an error of what cannot be compiled; dynamic=False gives every shape its own graph.
            # Inductor's default mode: with CUDA graphs the next call would overwrite what this one returns.
            self._forward = torch.compile(self._forward, fullgraph=True, dynamic=False)
            self._differentiate = torch.compile(self._differentiate, fullgraph=True, dynamic=False)

    def load(self, state: State) -> None:
        """Take weights, slots and step; slots left out are zero.  Restarts the dropout stream."""
        with torch.no_grad():
            for name, tensor in self._tensors.items():
                _canonical(tensor).copy_(torch.tensor(state.weights[name]))
            for slot, held in self._slots.items():
                given = state.slots.get(slot, {})
                for name, tensor in held.items():
                    _canonical(tensor).copy_(torch.tensor(given.get(name, 0.0)))
        self._steps = state.step
        for name, parameter in self._trainable.items():
            native = {NATIVE_SLOTS[slot]: held[name] for slot, held in self._slots.items()}
            if not isinstance(self._spec.optimizer, Sgd):  # which counts no steps
                native["step"] = torch.tensor(float(state.step), dtype=torch.float32, device=self._counter_device())
            self._optimizer.state[parameter] = native
        torch.manual_seed(self._seed)
        self._barrier()

    def _counter_device(self) -> torch.device:
        """A fused Adam counts where its parameters are, the others on the processor."""
        return self._device if isinstance(self._spec.optimizer, Adam) else torch.device("cpu")

    def state(self) -> State:
        """Copies of what the program holds, in canonical form."""
        return State(_arrays(self._tensors), {slot: _arrays(held) for slot, held in self._slots.items()}, self._steps)

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
        losses = [self._train_batch(images, targets, batch) for batch in batches]
        self._steps += len(batches)
        sizes = torch.tensor([len(batch) for batch in batches], dtype=torch.float64, device=self._device)
        return float(torch.stack(losses).double() @ sizes) / len(order)

    def _train_batch(self, images: torch.Tensor, targets: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
        """One optimizer step; returns the loss, which stays on the device."""
        loss, _, gradients = self._differentiate(images.index_select(0, batch), targets.index_select(0, batch))
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = gradient
        self._optimizer.step()
        return loss

    def _differentiation(
        self, images: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        """The mean loss of a batch, the outputs it is made of, and its gradient for each parameter.

        With the gradients asked for inside, one graph holds both passes: a compiled step took 0.76 ms of processor time
        where compiling the forward pass and calling ``backward`` on its loss took 1.06 (mnist-mlp-128, batch 64).
        """
        outputs = self._model(images)
        loss = self._criterion(outputs, targets)
        gradients = torch.autograd.grad(loss, self._parameters)
        # A fused optimizer walks through memory as it lies: a gradient in another layout would be added elsewhere.
        held = [g.contiguous(memory_format=torch.channels_last) if g.dim() == 4 else g for g in gradients]
        return loss.detach(), outputs.detach(), held

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
        if not images.flags.carray:  # torch takes neither negative strides nor read-only memory
            images = np.array(images, order="C")
        with torch.inference_mode():
            batch = torch.from_numpy(images)
            if self._device.type == "cuda":
                batch = self._pin(batch).to(self._device, non_blocking=True)
            outputs = self._forward(batch)
        return cast(Array, outputs.cpu().numpy())  # which waits, so that the pinned memory is free again

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
        statistics = _arrays(self._statistics)
        for name, tensor in before.items():
            self._statistics[name].copy_(tensor)
        return Probe(outputs.cpu().numpy(), self.infer(images), float(loss), _arrays(gradients), statistics)

    def _switch(self, *, training: bool) -> None:
        if self._model.training is not training:
            self._model.train(training)

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
        return {name: "on" if on else "off" for name, on in switches.items()} | {"compile": "default mode"}

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
        """Raises Unsupported for a mode that this machine cannot offer."""
        if reason := self.missing(mode):
            raise Unsupported(reason)
        return Program(spec, self._device, getattr(torch, precision), self._seed, mode == "compile")


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
