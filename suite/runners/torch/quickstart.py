"""PyTorch as its own first tutorial has it: what a program does before anybody makes it fast.

From pytorch.org's tutorials "Learn the Basics: Quickstart" and, for the optimizers, "Learning PyTorch with Examples":
eager modules in PyTorch's default memory format, an optimizer with its own choice of implementation, a batch at a time
from host memory by ``.to(device)``, ``backward``, ``step``, ``zero_grad``, the loss read by ``.item()`` in every
hundredth batch, and ``eval`` with ``no_grad`` to predict.  Precision is that of "Automatic Mixed Precision": autocast.

What a benchmark means stays the spec's: weights, order of batches, epsilon, rates, and TF32 off.  Three things differ
from the tutorials.  A batch is cut out of one array, where a DataLoader asks for it image by image.  The loss of every
batch is kept, on the device, for a call returns their mean.  And a prediction brings its outputs back, batch by batch,
where the tutorial brings the number of right ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from suite.errors import Unsupported
from suite.runners.base import SLOTS, Array, InferenceOption, Precision, Probe, State, Weights
from suite.runners.torch import layers as native
from suite.runners.torch import objective
from suite.spec.graph import Node, walk
from suite.spec.layers import Activation, BatchNorm, Dense, Dropout, Flatten
from suite.spec.precision import held
from suite.spec.recipe import Sgd
from suite.spec.resolved import Spec
from suite.spec.targets import Loss
from suite.spec.tensors import Role

READ_EVERY = 100
"""Batches after which the tutorial reads the loss."""
SETTING = "NCHW, default optimizer, each batch from host memory"


class Program:
    """A spec as the tutorials would write it; see ``suite.runners.base.Program``."""

    def __init__(self, spec: Spec, device: torch.device, precision: Precision, seed: int) -> None:
        self._spec, self._device, self._seed = spec, device, seed
        self._mixed, self._tf32 = precision == "bfloat16", precision == "tf32"
        self._dtype: torch.dtype = getattr(torch, held(precision))
        holders: dict[str, Any] = {}
        flat = isinstance(spec.graph[0].layer, Flatten)
        self._turned = dict(_behind_images(spec.graph[flat:]))
        dense = [name.rpartition("/")[0] for name in self._turned]
        made = native.model(spec, holders, mixed=self._mixed)
        self._first = isinstance(made[0], native.ChannelsFirst)
        self._model = _plain(made, {holders[name] for name in dense}).to(device, self._dtype)
        self._criterion = objective.criterion(spec)
        self._tensors: dict[str, torch.Tensor] = {
            tensor.name: getattr(holders[node.name], native.ATTRIBUTES[tensor.role])
            for node in walk(spec.graph)
            for tensor in node.tensors
        }
        norms = (node for node in walk(spec.graph) if isinstance(node.layer, BatchNorm))
        self._still = [holders[node.name].eval() for node in norms if spec.is_frozen(node)]
        self._trainable = {name: self._tensors[name] for name in spec.trainable}
        self._kernels = {n: t for n, t in self._trainable.items() if spec.tensors[n].role is Role.KERNEL}
        others = [t for name, t in self._trainable.items() if name not in self._kernels]
        self._optimizer = objective.optimizer(spec, list(self._kernels.values()), others, "default")
        self._steps, self._rate = 0, spec.optimizer.learning_rate
        slots = () if isinstance(spec.optimizer, Sgd) and not spec.optimizer.momentum else SLOTS[spec.optimizer.name]
        self._slots = {slot: {n: torch.zeros_like(t) for n, t in self._trainable.items()} for slot in slots}
        self._splits: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def _canonical(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """A native tensor, seen with its axes in the canonical order; a kernel behind images has theirs apart."""
        if name not in self._turned:
            return native.canonical(tensor, self._spec.tensors[name].role)
        height, width, channels = self._turned[name]
        return tensor.view(-1, channels, height, width).permute(2, 3, 1, 0)

    def _arrays(self, tensors: dict[str, torch.Tensor]) -> Weights:
        """Copies in canonical form."""
        found = {}
        for name, tensor in tensors.items():
            seen = self._canonical(name, tensor.detach()).cpu().numpy()
            found[name] = np.array(seen, order="C").reshape(self._spec.tensors[name].shape)
        return found

    def load(self, state: State) -> None:
        """Take weights, slots and step; slots left out are zero.  Restarts the dropout stream."""
        with torch.no_grad():
            for kind, tensors in {"": self._tensors, **self._slots}.items():
                given = state.slots.get(kind, {}) if kind else state.weights
                for name, tensor in tensors.items():
                    there = self._canonical(name, tensor)
                    there.copy_(torch.tensor(given[name]).reshape(there.shape) if name in given else torch.zeros(()))
        self._steps = state.step
        for name, parameter in self._trainable.items():
            slots = {objective.SLOTS[slot]: mine[name] for slot, mine in self._slots.items()}
            if not isinstance(self._spec.optimizer, Sgd):  # which counts no steps
                slots["step"] = torch.tensor(float(state.step), dtype=torch.float32)
            self._optimizer.state[parameter] = slots
        torch.manual_seed(self._seed)
        self._barrier()

    def state(self) -> State:
        """Copies of what the program holds, in canonical form."""
        slots = {slot: self._arrays(mine) for slot, mine in self._slots.items()}
        return State(self._arrays(self._tensors), slots, self._steps)

    def stage(self, split: str, images: Array, targets: Array) -> None:
        """Keep a split in host memory, as a data set would have it: images, and targets that are images, in NCHW."""
        self._splits[split] = self._images(images), self._targets(targets)

    def _images(self, images: Array) -> torch.Tensor:
        """As the model takes them, in host memory."""
        return self._channels_first(torch.tensor(images)) if self._first else torch.tensor(images)

    def _targets(self, targets: Array) -> torch.Tensor:
        """PyTorch takes class labels as int64 alone."""
        labels = self._spec.loss is Loss.SOFTMAX_CROSS_ENTROPY
        made = torch.tensor(targets, dtype=torch.int64 if labels else self._dtype)
        return self._channels_first(made) if made.dim() == 4 else made

    @staticmethod
    def _channels_first(images: torch.Tensor) -> torch.Tensor:
        return images.permute(0, 3, 1, 2).contiguous()

    def train(self, order: NDArray[np.int32]) -> float:
        """One optimizer step per ``batch_size`` indices of ``order`` into ``train``, the last batch ragged.

        Returns the mean data loss per image over the call, as seen before each step.
        """
        images, targets = self._splits["train"]
        batches = torch.tensor(order).split(self._spec.batch_size)
        rates = self._spec.rates(self._steps, len(batches)).tolist()
        epsilons = objective.epsilons(self._spec, self._steps, len(batches))
        losses = []
        with self._settings(training=True):
            for i, (batch, rate, epsilon) in enumerate(zip(batches, rates, epsilons, strict=True)):
                self._schedule(rate, epsilon)
                x, y = images[batch].to(self._device), targets[batch].to(self._device)
                loss = self._criterion(self._outputs(x), y)
                loss.backward()
                self._optimizer.step()
                self._optimizer.zero_grad()
                losses.append(loss.detach())
                if i % READ_EVERY == 0:
                    loss.item()
        self._steps += len(batches)
        sizes = torch.tensor([len(batch) for batch in batches], dtype=torch.float64)
        return float(torch.stack(losses).double().cpu() @ sizes) / len(order)

    def _schedule(self, rate: float, epsilon: float | None) -> None:
        """Where the spec asks a step for another rate, or for an epsilon of its own."""
        if rate != self._rate:
            objective.set_rate(self._optimizer, rate)
            self._rate = rate
        if epsilon is not None:
            objective.set_epsilon(self._optimizer, epsilon)

    def _outputs(self, x: torch.Tensor) -> torch.Tensor:
        return native.outputs(self._model, x, mixed=self._mixed)

    def predict(self, split: str, batch_size: int) -> Array:
        """Evaluation outputs of a whole staged split, batch by batch."""
        images, _ = self._splits[split]
        with self._settings(training=False), torch.no_grad():
            return np.concatenate([self._answer(batch) for batch in images.split(batch_size)])

    def infer(self, images: Array) -> Array:
        """One query: a batch in host memory to outputs in host memory.

        It comes in NHWC; a model that wants NCHW costs a copy of the batch, but where there is one channel.
        """
        batch = native.from_host(images)
        with self._settings(training=False), torch.no_grad():
            return self._answer(self._channels_first(batch) if self._first else batch)

    def _answer(self, batch: torch.Tensor) -> Array:
        outputs = self._outputs(batch.to(self._device)).cpu()
        return cast(Array, (outputs.permute(0, 2, 3, 1) if outputs.dim() == 4 else outputs).numpy())

    def infer_with(self, option: InferenceOption, calibration: Array) -> Callable[[Array], Array]:  # noqa: ARG002 - none
        """Raises Unsupported: the tutorials have no such options."""
        raise Unsupported(f"the quickstart has no inference option {option}; the modes eager and compile have")

    def probe(self, images: Array, targets: Array) -> Probe:
        """One forward and backward pass over a batch; nothing is updated, and the dropout stream stays where it is."""
        moving = {n: t for n, t in self._tensors.items() if n not in self._trainable}
        moving = {n: t for n, t in moving.items() if n not in self._spec.frozen_names}
        before = {name: tensor.clone() for name, tensor in moving.items()}
        forked = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(forked), self._settings(training=True):
            seen = self._outputs(self._images(images).to(self._device))
            loss = self._criterion(seen, self._targets(targets).to(self._device))
            loss.backward()
        gradients = {name: cast(torch.Tensor, tensor.grad) for name, tensor in self._trainable.items()}
        # What the optimizer adds to the gradient of each kernel.
        gradients |= {n: gradients[n] + 2 * self._spec.l2 * kernel.detach() for n, kernel in self._kernels.items()}
        self._optimizer.zero_grad()
        statistics = self._arrays(moving)
        for name, tensor in before.items():
            self._tensors[name].copy_(tensor)
        outputs = seen.detach().cpu()
        outputs = outputs.permute(0, 2, 3, 1) if outputs.dim() == 4 else outputs
        return Probe(outputs.numpy(), self.infer(images), loss.item(), self._arrays(gradients), statistics)

    def _settings(self, *, training: bool) -> AbstractContextManager[None]:
        """The model in ``training`` or not, what is frozen never; on a GPU cuDNN as PyTorch has it by default."""
        if self._model.training is not training:
            self._model.train(training)
            for norm in self._still:
                norm.eval()
        return self._as_by_default() if self._device.type == "cuda" else nullcontext()

    @contextmanager
    def _as_by_default(self) -> Iterator[None]:
        """Switches of the process, which it shares with the modes that let cuDNN pick its algorithms by trial."""
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = self._tf32
        before, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, False
        try:
            yield
        finally:
            torch.backends.cudnn.benchmark = before

    def _barrier(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def _plain(model: nn.Sequential, behind_images: set[nn.Module]) -> nn.Sequential:
    """The model from NCHW to NCHW, which flattens in that order before dense layers that are ``behind_images``."""
    for part in [part for part in model.modules() if isinstance(part, nn.Sequential)]:
        turns = [i for i, module in enumerate(part) if isinstance(module, native.ChannelsLast)]
        ends = [i for i, module in enumerate(part) if module in behind_images]
        for turn in sorted((max(i for i in turns if i < end) for end in ends), reverse=True):
            del part[turn]
    modules = list(model)
    images_in, images_out = isinstance(modules[0], native.ChannelsFirst), isinstance(modules[-1], native.ChannelsLast)
    return nn.Sequential(*modules[images_in : len(modules) - images_out])


def _behind_images(nodes: tuple[Node, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Kernels of dense layers behind a flatten of images, with the shape (h, w, c) of those.

    Nothing stands between that tells one feature from another, so such a kernel may have its inputs in NCHW's order:
    flattening then moves nothing, as in a program of PyTorch's own.
    """
    shape: tuple[int, ...] = ()
    for node in nodes:
        for branch in (node.body, node.shortcut, *node.branches):
            yield from _behind_images(branch)
        if isinstance(node.layer, Dense) and shape:
            yield f"{node.name}/{Role.KERNEL}", shape
        if isinstance(node.layer, Flatten):
            shape = node.input if len(node.input) == 3 else shape
        elif not isinstance(node.layer, Activation | Dropout):
            shape = ()
