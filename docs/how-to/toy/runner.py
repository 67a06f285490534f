"""The smallest framework: perceptrons in NumPy, trained by Adam or plain SGD."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from suite.errors import MachineError, Unsupported
from suite.runners.base import SLOTS, Array, Device, InferenceOption, Precision, Probe, State, Threads, Weights
from suite.spec.graph import walk
from suite.spec.layers import Activation, Dense, Dropout, Flatten
from suite.spec.recipe import Adam, Sgd
from suite.spec.resolved import Spec
from suite.spec.semantics import Variant
from suite.spec.targets import Loss

LAYERS = frozenset({"flatten", "dense", "relu", "tanh", "dropout"})
LOSSES = frozenset({Loss.SOFTMAX_CROSS_ENTROPY, Loss.MEAN_SQUARED_ERROR})


def refuse(spec: Spec) -> None:
    """Raises Unsupported for whatever is not here: a runner never computes something near."""
    for node in walk(spec.graph):
        if node.layer.layer not in LAYERS:
            raise Unsupported(f"toy has no layer {node.layer.layer!r}", where=node.name)
    if spec.loss not in LOSSES or len(spec.graph[-1].output) != 1:
        raise Unsupported(f"toy has no loss {spec.loss} of outputs {spec.graph[-1].output}")
    match spec.optimizer:
        case Adam(epsilon_place="after_correction") | Sgd(momentum=0):
            pass
        case optimizer:
            raise Unsupported(f"toy has no optimizer {optimizer!r}")
    if spec.frozen:
        raise Unsupported("toy has no frozen layers")


def loss(kind: Loss, outputs: Array, targets: Array) -> tuple[float, Array]:
    """The mean loss of outputs (n, k), and its gradient: of labels (n,), or of floats (n, k)."""
    if kind is Loss.MEAN_SQUARED_ERROR:
        difference = outputs - targets
        return float(np.square(difference).mean()), 2 * difference / outputs.size
    logs = outputs - outputs.max(axis=1, keepdims=True)
    logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
    true = np.eye(outputs.shape[1], dtype=outputs.dtype)[targets]
    return float(-(true * logs).sum(axis=1).mean()), (np.exp(logs) - true) / len(outputs)


class Program:
    """A spec in one precision.  Whatever comes in or goes out has the canonical form of ``suite.runners.base``."""

    def __init__(self, spec: Spec, precision: Precision, seed: int) -> None:
        refuse(spec)
        self._spec, self._dtype, self._seed = spec, np.dtype(precision), seed
        self._random = np.random.default_rng(seed)
        self._state = State({})
        self._splits: dict[str, tuple[Array, Array]] = {}

    def load(self, state: State) -> None:
        """Take weights, slots and step; slots that are left out are zero.  The stream of dropout begins again."""

        def cast(held: Weights) -> Weights:
            zeros = {name: np.zeros(tensor.shape) for name, tensor in self._spec.tensors.items()}
            return {name: np.array(value, self._dtype) for name, value in {**zeros, **held}.items()}

        slots = SLOTS["adam"] if isinstance(self._spec.optimizer, Adam) else ()
        self._state = State(cast(state.weights), {s: cast(state.slots.get(s, {})) for s in slots}, state.step)
        self._random = np.random.default_rng(self._seed)

    def state(self) -> State:
        """A copy of what is held."""
        return copy.deepcopy(self._state)

    def stage(self, split: str, images: Array, targets: Array) -> None:
        """Keep a split where training and prediction find it."""
        self._splits[split] = images, targets

    def train(self, order: NDArray[np.int32]) -> float:
        """A step for each batch of ``order``; the mean loss per image, as seen before each step."""
        images, targets = self._splits["train"]
        size, total = self._spec.batch_size, 0.0
        rates = self._spec.rates(self._state.step, -(-len(order) // size))
        for start, rate in zip(range(0, len(order), size), rates.tolist(), strict=True):
            batch = order[start : start + size]
            _, mean, gradients = self._differentiate(images[batch], targets[batch], self._random)
            self._step(gradients, rate)
            total += mean * len(batch)
        return total / len(order)

    def _step(self, gradients: Weights, rate: float) -> None:
        """Move the weights: by the gradient, or as Adam does."""
        step, weights = self._state.step + 1, self._state.weights
        for name, gradient in gradients.items():
            change = self._adam(name, gradient, step) if self._state.slots else gradient
            weights[name] = weights[name] - self._dtype.type(rate) * change
        self._state = State(weights, self._state.slots, step)

    def _adam(self, name: str, gradient: Array, step: int) -> Array:
        """Kingma & Ba 2014, algorithm 1, its numbers rounded to the weights' type first."""
        adam, held, real = self._spec.optimizer, self._state.slots, self._dtype.type
        assert isinstance(adam, Adam)
        b1, b2 = real(adam.beta_1), real(adam.beta_2)
        m = held["m"][name] = b1 * held["m"][name] + (1 - b1) * gradient
        v = held["v"][name] = b2 * held["v"][name] + (1 - b2) * np.square(gradient)
        change: Array = m / (1 - b1**step) / (np.sqrt(v / (1 - b2**step)) + real(adam.epsilon))
        return change

    def _forward(self, x: Array, random: np.random.Generator | None = None) -> tuple[Array, list[Array]]:
        """Outputs, and what each layer keeps for the way back; without ``random`` nothing drops out."""
        kept = []
        for node in self._spec.graph:
            kept.append(x)
            match node.layer:
                case Flatten():
                    x = x.reshape(len(x), -1)
                case Dense():
                    kernel, *bias = (self._state.weights[tensor.name] for tensor in node.tensors)
                    x = sum(bias, start=x @ kernel)
                case Activation(layer="relu"):
                    x = np.maximum(x, 0)
                case Activation():
                    x = kept[-1] = np.tanh(x)
                case Dropout(rate=rate) if random:
                    kept[-1] = (random.random(x.shape) >= rate).astype(self._dtype) / (1 - rate)
                    x = x * kept[-1]
        return x, kept

    def _differentiate(
        self, images: Array, targets: Array, random: np.random.Generator
    ) -> tuple[Array, float, Weights]:
        """Training outputs, the mean loss, and the gradient of each tensor, with that of ``l2 * sum(kernel^2)``."""
        outputs, kept = self._forward(images, random)
        mean, dy = loss(self._spec.loss, outputs, targets)
        gradients: Weights = {}
        for node, x in zip(reversed(self._spec.graph), reversed(kept), strict=True):
            match node.layer:
                case Flatten():
                    dy = dy.reshape(x.shape)
                case Dense():
                    kernel = self._state.weights[node.tensors[0].name]
                    found = x.T @ dy + 2 * self._spec.l2 * kernel, dy.sum(axis=0)  # of no bias there is no second
                    gradients |= {tensor.name: value for tensor, value in zip(node.tensors, found, strict=False)}
                    dy = dy @ kernel.T
                case Activation(layer="relu"):
                    dy = np.where(x > 0, dy, 0)
                case Activation():
                    dy = dy * (1 - x * x)
                case Dropout():
                    dy = dy * x
        return outputs, mean, gradients

    def predict(self, split: str, batch_size: int) -> Array:
        """Outputs of a whole split, batch by batch."""
        images, _ = self._splits[split]
        return np.concatenate([self.infer(images[i : i + batch_size]) for i in range(0, len(images), batch_size)])

    def infer(self, images: Array) -> Array:
        """Outputs of one batch."""
        return self._forward(images)[0]

    def probe(self, images: Array, targets: Array) -> Probe:
        """What the gate compares: one pass forth and back, after which all is as before, the stream of dropout too."""
        outputs, mean, gradients = self._differentiate(images, targets, copy.deepcopy(self._random))
        return Probe(outputs, self.infer(images), mean, gradients, statistics={})

    def infer_with(self, option: InferenceOption, calibration: Array) -> Callable[[Array], Array]:  # noqa: ARG002 - none
        """Raises Unsupported: there is no inference option."""
        raise Unsupported(f"toy has no inference option {option!r}")


class Runner:
    """NumPy on the processor; it takes its threads from the environment."""

    modes: ClassVar[tuple[str, ...]] = ("plain",)
    variants: ClassVar[frozenset[Variant]] = frozenset()
    cached: ClassVar[frozenset[str]] = frozenset()
    warmup: ClassVar[Mapping[str, int]] = {"plain": 1}

    def __init__(
        self,
        device: Device,
        threads: Threads,  # noqa: ARG002 - NumPy's come from the environment
        seed: int,
        *,
        deterministic: bool = False,  # noqa: ARG002 - it always is
    ) -> None:
        """Raises MachineError where ``device`` is not there."""
        if device == "cuda":
            raise MachineError("toy computes on the processor only", way_out="Use the device cpu.")
        self._seed = seed

    def missing(self, mode: str) -> str | None:
        """Why this machine cannot offer ``mode``, or None."""
        return None if mode in self.modes else f"toy has no mode {mode!r}"

    def versions(self) -> dict[str, str]:
        """The framework first, and what under it decides its numbers."""
        return {"toy": "1.0", "numpy": np.__version__}

    def devices(self) -> dict[str, str]:
        """The processor alone."""
        return {"cpu": "NumPy", "cuda": "toy computes on the processor only"}

    def settings(self) -> dict[str, str]:
        """As they are, not as they were asked for."""
        return {"tf32": "off", "deterministic": "on", "layout": "NHWC"}

    def gpu(self) -> str | None:
        """None is used."""
        return None

    def allocator_peak(self) -> int | None:
        """Nothing is allocated on a GPU."""
        return None

    def build(self, spec: Spec, mode: str, precision: Precision) -> Program:
        """Raises Unsupported where a layer, a mode or the like is not here."""
        if reason := self.missing(mode):
            raise Unsupported(reason)
        return Program(spec, precision, self._seed)
