"""CUDA graphs: steps and passes recorded once and launched whole.

Launched one by one, the kernels of a small network take longer to launch than to compute.  A graph holds kernels with
the addresses and the numbers that they were launched with, so all that changes between launches, weights, slots,
inputs, stands in tensors that stay where they are, and what was recorded with another learning rate is recorded anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from suite.errors import Unsupported
from suite.runners.base import Array, InferenceOption, Precision
from suite.runners.torch import layers as native
from suite.runners.torch import objective
from suite.runners.torch.program import Program, Way
from suite.spec.resolved import Spec

SEVERAL = 10
"""Steps that one launch takes, where so many of one size and rate follow one another."""
PASSES = 64
"""Batches of a pass that one launch takes at most: a graph of each kernel of ten thousand would not end being made."""
WARMING = 3
"""Runs before a recording: libraries choose algorithms and make workspaces, Inductor compiles."""
MOST_RATES = 64
"""Learning rates that steps may be recorded with; a schedule that moves with each step would record for ever."""


def record(function: Callable[[], object], pool: Any) -> Callable[[], None]:
    """``function`` as a graph to be launched, after it has run by itself; what that changed stays changed.

    Graphs of one ``pool`` share memory, so none may leave an answer in it that is read after another's launch.
    Raises Unsupported where it holds an operation that cannot be recorded.
    """
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARMING):
            function()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            function()
    except RuntimeError as error:
        raise Unsupported(f"an operation cannot be recorded in a CUDA graph: {str(error).splitlines()[0]}") from error
    return cast("Callable[[], None]", graph.replay)


def new_pool() -> Any:
    """Memory that the graphs of a program share."""
    return torch.cuda.graph_pool_handle()


@dataclass(frozen=True)
class Steps:
    """Recorded steps, and where they read the examples that each takes: ``batches`` (steps, batch size)."""

    batches: torch.Tensor
    launch: Callable[[], None]


@dataclass(frozen=True)
class Pass:
    """A recorded pass over inputs, in parts, and where it leaves its outputs."""

    outputs: torch.Tensor
    launches: tuple[Callable[[], None], ...]


@dataclass(frozen=True)
class Asked:
    """A recorded query: where it reads its images, and where it leaves its outputs."""

    images: torch.Tensor
    outputs: torch.Tensor
    launch: Callable[[], None]


class RecordedProgram(Program):
    """A program whose steps, passes and queries are launched as CUDA graphs, recorded at the first call of a shape."""

    def __init__(self, spec: Spec, device: torch.device, precision: Precision, seed: int, way: Way) -> None:
        """Raises Unsupported where a number that a graph would hold fixed changes with each step."""
        if objective.epsilons(spec, 0, 1) != [None]:
            raise Unsupported(
                "a CUDA graph holds an epsilon fixed, and PyTorch's Adam takes one before bias correction as another "
                "number at each step"
            )
        super().__init__(spec, device, precision, seed, way)
        self._pool = new_pool()
        self._loss = torch.zeros((), dtype=torch.float64, device=device)
        self._recorded: dict[tuple[int, int, float], Steps] = {}
        self._passes: dict[tuple[str, int], Pass] = {}
        self._asked: dict[tuple[tuple[int, ...], str], Asked] = {}

    def stage(self, split: str, images: Array, targets: Array) -> None:
        """Make a split resident; what was recorded over another is forgotten."""
        super().stage(split, images, targets)
        self._passes = {key: found for key, found in self._passes.items() if key[0] != split}
        if split == "train":
            self._recorded.clear()

    def train(self, order: NDArray[np.int32]) -> float:
        """One optimizer step per ``batch_size`` indices of ``order`` into ``train``, the last batch ragged.

        Returns the mean data loss per image over the call, as seen before each step.
        """
        self._switch(training=True)
        given = torch.tensor(order, device=self._device)
        rates = self._spec.rates(self._steps, -(-len(order) // self._spec.batch_size)).tolist()
        self._loss.zero_()
        for first, steps, size, rate in self._launches(len(order), rates):
            recorded = self._steps_of(steps, size, rate)
            recorded.batches.copy_(given[first : first + steps * size].view(steps, size))
            recorded.launch()
        self._steps += len(rates)
        return float(self._loss) / len(order)

    def _launches(self, examples: int, rates: list[float]) -> Iterator[tuple[int, int, int, float]]:
        """The first example, steps, batch size and learning rate of each launch."""
        size, place = self._spec.batch_size, 0
        while place < len(rates):
            first = place * size
            alike = first + SEVERAL * size <= examples and rates[place : place + SEVERAL] == [rates[place]] * SEVERAL
            steps = SEVERAL if alike else 1
            yield first, steps, min(size, examples - first), rates[place]
            place += steps

    def _steps_of(self, steps: int, size: int, rate: float) -> Steps:
        """So many steps of one size and rate, recorded before or now; what recording changed is put back."""
        if found := self._recorded.get((steps, size, rate)):
            return found
        if len({known for *_, known in self._recorded} | {rate}) > MOST_RATES:
            raise Unsupported(f"a CUDA graph holds a learning rate fixed, and there are more than {MOST_RATES}")
        images, targets = self._splits["train"]
        batches = torch.zeros((steps, size), dtype=torch.int32, device=self._device)

        def taken() -> None:
            for batch in batches.unbind():
                self._loss += self._train_batch(images, targets, batch, rate, None).double() * size

        changing = [*self._tensors.values(), *self._counters.values(), self._loss]
        changing += [slot for slots in self._slots.values() for slot in slots.values()]
        before = [tensor.detach().clone() for tensor in changing]
        with torch.random.fork_rng([self._device] if self._device.type == "cuda" else []):
            launch = record(taken, self._pool)
        with torch.no_grad():
            for tensor, old in zip(changing, before, strict=True):
                tensor.copy_(old)
        self._recorded[steps, size, rate] = found = Steps(batches, launch)
        return found

    def predict(self, split: str, batch_size: int) -> Array:
        """Evaluation outputs of a whole staged split, batch by batch; one transfer at the end."""
        self._switch(training=False)
        with torch.inference_mode():
            found = self._passes.get((split, batch_size))
            if found is None:
                found = self._passes[split, batch_size] = self._pass(self._splits[split][0], batch_size)
            for launch in found.launches:
                launch()
        return _copied(found.outputs)

    def _pass(self, images: torch.Tensor, batch_size: int) -> Pass:
        """A pass over ``images``, each part of at most ``PASSES`` batches; they are read from where they lie."""
        outputs = self._room(images[:1], len(images))
        parts = zip(images.split(PASSES * batch_size), outputs.split(PASSES * batch_size), strict=True)

        def over(part: torch.Tensor, room: torch.Tensor) -> None:
            for batch, held in zip(part.split(batch_size), room.split(batch_size), strict=True):
                held.copy_(self._forward(batch))

        launches = [record(partial(over, *each), self._pool) for each in parts]
        return Pass(outputs, tuple(launches))

    def _room(self, images: torch.Tensor, count: int) -> torch.Tensor:
        """Where the outputs of ``count`` images go, of a shape and type as those of ``images``."""
        like = self._outputs(images)
        return torch.empty((count, *like.shape[1:]), dtype=like.dtype, device=self._device)

    def _query(self, forward: Callable[..., Any], images: Array) -> Array:
        with torch.inference_mode():
            batch = native.from_host(images)
            key = tuple(batch.shape), str(batch.dtype)
            found = self._asked.get(key)
            if found is None:
                found = self._asked[key] = self._ask(forward, batch.to(self._device, copy=True))
            found.images.copy_(self._pin(batch) if self._device.type == "cuda" else batch, non_blocking=True)
            found.launch()
        return _copied(found.outputs)  # which waits, so that the pinned memory is free again

    def _ask(self, forward: Callable[..., Any], images: torch.Tensor) -> Asked:
        outputs = self._room(images, len(images))
        return Asked(images, outputs, record(lambda: outputs.copy_(forward(images)), self._pool))

    def infer_with(self, option: InferenceOption, calibration: Array) -> Callable[[Array], Array]:  # noqa: ARG002 - it has none
        """Raises Unsupported: recorded, one query would be as another, whatever the option."""
        raise Unsupported(f"{option} is tried in the modes eager and compile")


def _copied(outputs: torch.Tensor) -> Array:
    """Outputs in host memory of their own, for the next launch overwrites them where they are."""
    return cast(Array, outputs.to("cpu", copy=True).numpy())
