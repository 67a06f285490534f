"""The runner that defines what a Spec means: plain NumPy, in any precision, or in any NumPy float type.

The mathematics stands beside it; here it is put behind the protocol.
"""

from __future__ import annotations

import copy
import platform
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from suite.errors import Unsupported
from suite.runners.base import Array, Device, InferenceOption, Precision, Probe, State, Threads, Weights
from suite.runners.reference import losses, network, optimizers
from suite.spec.precision import NONE, Rounding, held
from suite.spec.resolved import Spec
from suite.spec.semantics import Variant, under
from suite.spec.tensors import Role


class Program:
    """A spec in NumPy; ``dtype`` is any NumPy float type, and everything is computed in it, rounded as told."""

    def __init__(
        self,
        spec: Spec,
        dtype: DTypeLike,
        seed: int = 0,
        variants: frozenset[Variant] = frozenset(),
        rounding: Rounding = NONE,
    ) -> None:
        spec = under(spec, variants)
        self._spec, self._dtype, self._seed, self._rounding = spec, np.dtype(dtype), seed, rounding
        self._trainable = list(spec.trainable)
        self._kernels = [name for name, tensor in spec.trainable.items() if tensor.role is Role.KERNEL]
        self._splits: dict[str, tuple[Array, Array]] = {}
        self._weights: Weights = {}
        self._slots: dict[str, Weights] = {}
        self._step = 0
        self._random = self._stream()

    def _stream(self) -> np.random.Generator:
        """The dropout stream from its start: Philox, keyed by the seed."""
        return np.random.Generator(np.random.Philox(key=self._seed))

    def load(self, state: State) -> None:
        """Take weights, slots and step; slots left out are zero.  Restarts the dropout stream."""
        self._weights = {name: np.array(state.weights[name], self._dtype) for name in self._spec.tensors}
        self._slots = {
            slot: {
                name: np.array(held[name], self._dtype) if name in held else np.zeros_like(self._weights[name])
                for name in self._trainable
            }
            for slot in optimizers.slots(self._spec.optimizer)
            for held in (state.slots.get(slot, {}),)
        }
        self._step = state.step
        self._random = self._stream()

    def state(self) -> State:
        """Copies of what the program holds."""
        return copy.deepcopy(State(self._weights, self._slots, self._step))

    def stage(self, split: str, images: Array, targets: Array) -> None:
        """Keep a split under its name."""
        self._splits[split] = self._cast(images), self._cast(targets)

    def train(self, order: NDArray[np.int32]) -> float:
        """One optimizer step per ``batch_size`` indices of ``order`` into ``train``, the last batch ragged.

        Returns the mean data loss per image over the call, as seen before each step.
        """
        images, targets = self._splits["train"]
        size, total = self._spec.batch_size, 0.0
        rates = self._spec.rates(self._step, -(-len(order) // size))
        for start, rate in zip(range(0, len(order), size), rates.tolist(), strict=True):
            batch = order[start : start + size]
            total += self._train_batch(images[batch], targets[batch], rate) * len(batch)
        return total / len(order)

    def _train_batch(self, images: Array, targets: Array, rate: float) -> float:
        _, loss, training = self._differentiate(images, targets, self._random)
        self._step += 1
        optimizer = self._spec.optimizer.model_copy(update={"learning_rate": rate})
        for name in self._trainable:
            held = {slot: values[name] for slot, values in self._slots.items()}
            self._weights[name], new = optimizers.update(
                optimizer, self._weights[name], training.gradients[name], held, self._step
            )
            for slot, value in new.items():
                self._slots[slot][name] = value
        self._weights.update(training.statistics)
        return float(loss)

    def _differentiate(
        self, images: Array, targets: Array, random: np.random.Generator
    ) -> tuple[Array, Any, network.TrainingPass]:
        """Training outputs, data loss, and the pass with the gradients of loss + l2 * sum(kernel^2).

        The sum is over the kernels that are trained.
        """
        training = network.TrainingPass(self._weights, random, self._spec.frozen_names, self._rounding)
        outputs, backward = training.forward(self._spec.graph, self._entering(images))
        loss, gradient = losses.loss(self._spec.loss, outputs, targets, self._spec.box_weight)
        backward(gradient)
        if self._spec.l2:
            for name in self._kernels:
                training.gradients[name] = training.gradients[name] + 2 * self._spec.l2 * self._weights[name]
        return outputs, loss, training

    def predict(self, split: str, batch_size: int) -> Array:
        """Evaluation outputs (n, *output) of a whole staged split, batch by batch."""
        images, _ = self._splits[split]
        return np.concatenate([self.infer(images[i : i + batch_size]) for i in range(0, len(images), batch_size)])

    def infer(self, images: Array) -> Array:
        """Evaluation outputs (n, *output) of one batch."""
        return network.evaluate(self._spec.graph, self._entering(self._cast(images)), self._weights, self._rounding)

    def probe(self, images: Array, targets: Array) -> Probe:
        """One forward and backward pass over a batch; nothing is updated, and the dropout stream stays where it is."""
        random = copy.deepcopy(self._random)
        outputs, loss, training = self._differentiate(self._cast(images), self._cast(targets), random)
        gradients = {name: training.gradients[name] for name in self._trainable}
        return Probe(outputs, self.infer(images), float(loss), gradients, training.statistics)

    def _cast(self, values: Array) -> Array:
        """Floats in the program's type; integer labels and tokens as they are."""
        return np.asarray(values, self._dtype if np.issubdtype(values.dtype, np.floating) else None)

    def _entering(self, images: Array) -> Array:
        """Inputs as a layer would hand them on; tokens as they are."""
        return self._rounding.handed(images) if np.issubdtype(images.dtype, np.floating) else images

    def infer_with(self, option: InferenceOption, calibration: Array) -> Callable[[Array], Array]:  # noqa: ARG002 - it has none
        """Raises Unsupported: it defines numbers, and has no second way to them."""
        raise Unsupported(f"the reference has no inference option {option!r}")


class Runner:
    """NumPy on the processor.  NumPy's BLAS takes its threads from the environment before the process starts."""

    modes: ClassVar[tuple[str, ...]] = ("numpy",)
    variants: ClassVar[frozenset[Variant]] = frozenset()
    cached: ClassVar[frozenset[str]] = frozenset()
    warmup: ClassVar[Mapping[str, int]] = {"numpy": 1}

    def __init__(
        self,
        device: Device,
        threads: Threads,
        seed: int,
        *,
        deterministic: bool = True,  # noqa: ARG002 - NumPy always is
        variants: frozenset[Variant] = frozenset(),
    ) -> None:
        """``variants`` are computed instead of the canonical semantics."""
        self._device, self._threads, self._seed, self._computed = device, threads, seed, variants

    def missing(self, mode: str) -> str | None:
        """Why this machine cannot offer ``mode``, or None."""
        if mode not in self.modes:
            return f"the reference has no mode {mode!r}"
        return None if self._device == "cpu" else "NumPy computes on the processor only"

    def versions(self) -> dict[str, str]:
        """NumPy, its BLAS, and Python."""
        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        library = f"{blas['name']} {blas['version']}"
        return {"numpy": np.__version__, "blas": library, "python": platform.python_version()}

    def devices(self) -> dict[str, str]:
        """The processor alone."""
        return {"cpu": platform.processor() or platform.machine(), "cuda": "NumPy computes on the processor only"}

    def settings(self) -> dict[str, str]:
        """Nothing is to be set; images lie as the spec says."""
        return {"layout": "NHWC"}

    def gpu(self) -> str | None:
        """None is used."""
        return None

    def allocator_peak(self) -> int | None:
        """Nothing is allocated on a GPU."""
        return None

    def build(self, spec: Spec, mode: str, precision: Precision) -> Program:
        """Raises Unsupported for another mode or device."""
        if reason := self.missing(mode):
            raise Unsupported(reason)
        return Program(spec, held(precision), self._seed, self._computed, Rounding(precision))
