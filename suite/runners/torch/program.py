"""A benchmark in PyTorch: native modules, a fused optimizer, data resident on the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from suite.runners.base import SLOTS, Array, InferenceOption, Precision, Probe, State
from suite.runners.torch import layers as native
from suite.runners.torch import objective, options
from suite.spec.graph import walk
from suite.spec.layers import BatchNorm
from suite.spec.precision import held
from suite.spec.recipe import Adam, Sgd
from suite.spec.resolved import Spec
from suite.spec.targets import Loss
from suite.spec.tensors import Role

LAYOUT = torch.channels_last
"""How weights and gradients of four axes lie in memory: as images come, where PyTorch's own default is NCHW."""


@dataclass(frozen=True)
class Way:
    """How a mode runs: what Inductor is asked for, if it compiles, and whether CUDA graphs launch it."""

    inductor: str | None = None
    graphs: bool = False


class Program:
    """A spec as a Sequential of native modules, in the memory format ``LAYOUT``."""

    def __init__(self, spec: Spec, device: torch.device, precision: Precision, seed: int, way: Way) -> None:
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
        recorded = way.graphs and device.type == "cuda"
        kind: objective.Implementation = "recorded" if recorded else "fused"
        self._optimizer = objective.optimizer(spec, list(self._kernels.values()), others, kind)
        self._parameters = list(self._trainable.values())
        self._steps, self._rate = 0, spec.optimizer.learning_rate
        # A fused Adam counts where its parameters are, and so does what is recorded; the others on the processor.
        counted = device if isinstance(spec.optimizer, Adam) or recorded else torch.device("cpu")
        counters = {} if isinstance(spec.optimizer, Sgd) else self._trainable  # SGD counts no steps
        self._counters = {name: torch.zeros((), dtype=torch.float32, device=counted) for name in counters}
        slots = () if isinstance(spec.optimizer, Sgd) and not spec.optimizer.momentum else SLOTS[spec.optimizer.name]
        self._slots = {
            slot: {name: torch.zeros_like(tensor) for name, tensor in self._trainable.items()} for slot in slots
        }
        self._splits: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self._pinned: dict[tuple[int, ...], torch.Tensor] = {}
        self._way = way
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
            if (counter := self._counters.get(name)) is not None:
                slots["step"] = counter.fill_(state.step)
            self._optimizer.state[parameter] = slots
        torch.manual_seed(self._seed)
        self._barrier()

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
        return native.outputs(self._model, images, mixed=self._mixed)

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
        with torch.inference_mode():
            batch = native.from_host(images)
            if self._device.type == "cuda":
                batch = self._pin(batch).to(self._device, non_blocking=True)
            outputs = forward(batch)
        return cast(Array, outputs.cpu().numpy())  # which waits, so that the pinned memory is free again

    def infer_with(self, option: InferenceOption, calibration: Array) -> Callable[[Array], Array]:
        """``infer`` with one option changed, over the weights that are held; outputs in float32.

        Raises Unsupported where PyTorch, the device or the mode has no such thing.
        """
        inputs = torch.tensor(calibration, device=self._device)
        model = options.applied(self._model, self._spec, option, inputs, bool(self._way.inductor))
        return partial(self._query, self._compile(model))

    def _compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """As the mode has it: compiled, or as it is.

        fullgraph makes an error of what cannot be compiled; dynamic=False gives every shape its own graph.
        """
        if self._way.inductor is None:
            return function
        return cast(
            "Callable[..., Any]", torch.compile(function, fullgraph=True, dynamic=False, mode=self._way.inductor)
        )

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
