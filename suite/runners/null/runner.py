"""The runner that computes nothing: what a measurement of it shows is what the instrument itself costs."""

from __future__ import annotations

import copy
import platform
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from suite.errors import Unsupported
from suite.runners.base import Array, Device, InferenceOption, Precision, Probe, State, Threads
from suite.spec.graph import walk
from suite.spec.layers import BatchNorm
from suite.spec.precision import held
from suite.spec.resolved import Spec
from suite.spec.semantics import Variant
from suite.spec.tensors import Shape


class _Zeros(dict[int, Array]):
    """Zeros (n, *output) by n, made when first asked for: a look-up is all that a query costs."""

    def __init__(self, output: Shape, dtype: np.dtype[Any]) -> None:
        super().__init__()
        self._output, self._dtype = output, dtype

    def __missing__(self, images: int) -> Array:
        one = np.zeros(self._output, self._dtype)
        made = self[images] = np.broadcast_to(one, (images, *self._output))  # of a whole vocabulary it takes no memory
        return made


class Program:
    """Answers in the right shapes, with zeros that are made once per shape."""

    def __init__(self, spec: Spec, precision: Precision) -> None:
        self._spec, self._dtype = spec, np.dtype(held(precision))
        self._state = State({})
        self._images: dict[str, int] = {}
        self._outputs = _Zeros(self._spec.graph[-1].output, self._dtype)

    def load(self, state: State) -> None:
        """Keep a copy of the state."""
        self._state = copy.deepcopy(state)

    def state(self) -> State:
        """A copy of what was loaded: nothing ever changes it."""
        return copy.deepcopy(self._state)

    def stage(self, split: str, images: Array, targets: Array) -> None:  # noqa: ARG002 - nothing is compared
        """Remember how many images the split holds, and make the outputs of the whole."""
        self._images[split] = len(images)
        self._outputs.__missing__(len(images))

    def train(self, order: NDArray[np.int32]) -> float:
        """The loop over batches that every runner has, around an empty step; the loss is 0."""
        for start in range(0, len(order), self._spec.batch_size):
            self._train_batch(order[start : start + self._spec.batch_size])
        return 0.0

    def _train_batch(self, batch: NDArray[np.int32]) -> None:
        """Nothing."""

    def predict(self, split: str, batch_size: int) -> Array:  # noqa: ARG002 - there is no work to divide
        """Zeros (n, *output) for the whole split."""
        return self._outputs[self._images[split]]

    def infer(self, images: Array) -> Array:
        """Zeros (n, *output)."""
        return self._outputs[len(images)]

    def probe(self, images: Array, targets: Array) -> Probe:  # noqa: ARG002 - nothing is compared
        """Zeros for outputs, loss and gradients of what is trained; the statistics of batch norms, as loaded."""
        outputs = self._outputs[len(images)]
        gradients = {name: np.zeros(t.shape, self._dtype) for name, t in self._spec.trainable.items()}
        norms = (node for node in walk(self._spec.graph) if isinstance(node.layer, BatchNorm))
        moving = (t for node in norms if not self._spec.is_frozen(node) for t in node.tensors if not t.role.trainable)
        statistics = {t.name: self._state.weights[t.name].copy() for t in moving}
        return Probe(outputs, outputs, 0.0, gradients, statistics)

    def infer_with(self, option: InferenceOption, calibration: Array) -> Callable[[Array], Array]:  # noqa: ARG002 - it has none
        """Raises Unsupported: nothing is computed, so no option changes anything."""
        raise Unsupported(f"the null runner has no inference option {option!r}")


class Runner:
    """No framework at all; threads, device and seed change nothing."""

    modes: ClassVar[tuple[str, ...]] = ("null",)
    variants: ClassVar[frozenset[Variant]] = frozenset()
    cached: ClassVar[frozenset[str]] = frozenset()
    warmup: ClassVar[Mapping[str, int]] = {"null": 1}

    def __init__(self, device: Device, threads: Threads, seed: int, *, deterministic: bool = False) -> None:
        pass

    def missing(self, mode: str) -> str | None:
        """Why this machine cannot offer ``mode``, or None."""
        return None if mode in self.modes else f"the null runner has no mode {mode!r}"

    def versions(self) -> dict[str, str]:
        """NumPy, which holds the zeros, and Python, which runs the loop."""
        return {"numpy": np.__version__, "python": platform.python_version()}

    def devices(self) -> dict[str, str]:
        """None is used."""
        return {"cpu": "not used", "cuda": "not used"}

    def settings(self) -> dict[str, str]:
        """Nothing is to be set."""
        return {}

    def gpu(self) -> str | None:
        """None is used."""
        return None

    def allocator_peak(self) -> int | None:
        """Nothing is allocated on a GPU."""
        return None

    def build(self, spec: Spec, mode: str, precision: Precision) -> Program:
        """Raises Unsupported for another mode."""
        if reason := self.missing(mode):
            raise Unsupported(reason)
        return Program(spec, precision)
