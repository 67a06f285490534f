"""JAX: ``jax.lax`` and ``jax.numpy`` over trees of arrays.  Not Flax, nor Optax, which are packages of their own.

Modes: ``eager`` dispatches operation after operation from Python, as JAX does without ``jit``; ``jit`` compiles a whole
epoch, and a whole prediction, into one program each, whose weights are donated to it.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from suite.errors import MachineError, Unsupported
from suite.runners import base
from suite.runners.base import Device, InferenceOption, Precision, Probe, State, Threads, Weights, gpu_uuid
from suite.runners.jax.core import Array, client, jax, jnp, lax
from suite.runners.jax.learner import Held, Learner
from suite.runners.jax.options import applied
from suite.spec.precision import NO_TF32, held
from suite.spec.resolved import Spec
from suite.spec.semantics import Variant
from suite.spec.targets import Loss

Function = Callable[..., Any]
PLUGIN = "jax-cuda13-plugin"
LIBRARIES = {"cuda": "nvidia-cuda-runtime", "cudnn": "nvidia-cudnn-cu13"}
"""Packages that bring CUDA to JAX, and what runs in it."""


class Program:
    """A spec in JAX; see ``suite.runners.base.Program``."""

    def __init__(self, spec: Spec, mode: str, precision: Precision, device: Any, seed: int) -> None:
        self._spec, self._device, self._real = spec, device, np.dtype(held(precision)).type
        tokens, labels = spec.input_dtype == "tokens", spec.loss is Loss.SOFTMAX_CROSS_ENTROPY
        self._types = np.int32 if tokens else self._real, np.int32 if labels else self._real
        self._learner = Learner(spec, precision, seed)
        self._compile = _compiler(mode, precision)
        self._evaluate = self._learner.network.evaluate
        self._infer, self._inspect = self._compile(self._evaluate), self._compile(self._learner.look)
        self._advance = self._compile(self._learner.step, donate_argnums=0)
        eager = mode == "eager"
        self._epoch = self._compile(self._op_by_op if eager else self._looped, donate_argnums=0)
        self._sweep = self._compile(self._batch_by_batch if eager else self._swept, static_argnums=2)
        self._splits: dict[str, tuple[Array, Array]] = {}
        self._held = Held({}, {})
        self._step = self._capacity = 0

    def load(self, state: State) -> None:
        """Take weights, slots and step; the dropout stream is a function of seed, layer and step."""
        weights = {name: self._put(state.weights[name], self._real) for name in self._spec.tensors}
        slots = {
            slot: {
                name: self._put(given[name] if name in given else np.zeros(tensor.shape), self._real)
                for name, tensor in self._spec.trainable.items()
            }
            for slot in self._learner.slots
            for given in (state.slots.get(slot, {}),)
        }
        self._held, self._step = Held(weights, slots), state.step

    def _put(self, values: base.Array, kind: type[np.generic]) -> Array:
        """On the device, from a copy: what JAX is given on a processor it may take over as it lies."""
        return jax.device_put(np.array(values, kind, order="C"), self._device)

    def state(self) -> State:
        """Copies of what the program holds."""
        return State(_arrays(self._held.weights), {s: _arrays(v) for s, v in self._held.slots.items()}, self._step)

    def stage(self, split: str, images: base.Array, targets: base.Array) -> None:
        """Put a split on the device."""
        self._splits.pop(split, None)  # first, for what each epoch has anew may fill much of the memory
        both = zip((images, targets), self._types, strict=True)
        self._splits[split] = jax.block_until_ready(tuple(self._put(values, kind) for values, kind in both))
        if split == "train":
            self._capacity = len(images) // self._spec.batch_size

    def train(self, order: NDArray[np.int32]) -> float:
        """One optimizer step per ``batch_size`` indices of ``order`` into ``train``, the last batch ragged.

        Returns the mean data loss per image over the call, as seen before each step.
        """
        size, split = self._spec.batch_size, self._splits["train"]
        full, ragged = divmod(len(order), size)
        rows = max(full, self._capacity)  # an order is filled up to one length, so that it compiles once
        rates, at = self._learner.rates(self._step, rows + 1), self._step
        sums = []
        if full:
            batches, counts = np.resize(order, (rows, size)).astype(np.int32), np.array([full, at], np.int32)
            self._held, total = self._epoch(self._held, *split, batches, rates, counts)
            sums.append((total, size))
        if ragged:
            batch, number = order[-ragged:].astype(np.int32), np.int32(at + full)
            self._held, loss = self._advance(self._held, *split, batch, rates[:, full], number)
            sums.append((loss, ragged))
        self._step += full + bool(ragged)
        jax.block_until_ready(self._held)
        return sum(float(value) * images for value, images in sums) / len(order)

    def _looped(
        self, now: Held, images: Array, targets: Array, batches: Array, rates: Array, counts: Array
    ) -> tuple[Held, Array]:
        """Steps over the first ``counts[0]`` rows of ``batches`` (rows, n), of which ``counts[1]`` were taken before.

        Returns what is held after them, and the sum of their losses.
        """

        def body(i: Array, carried: tuple[Held, Array]) -> tuple[Held, Array]:
            after, loss = self._learner.step(carried[0], images, targets, batches[i], rates[:, i], counts[1] + i)
            return after, carried[1] + loss.astype(jnp.float64)

        return cast(tuple[Held, Array], lax.fori_loop(0, counts[0], body, (now, jnp.float64(0))))

    def _op_by_op(
        self, now: Held, images: Array, targets: Array, batches: Array, rates: Array, counts: Array
    ) -> tuple[Held, Array]:
        """The same, one operation after another."""
        total = jnp.float64(0)
        for i in range(counts[0]):
            now, loss = self._learner.step(now, images, targets, batches[i], rates[:, i], counts[1] + i)
            total += loss
        return now, total

    def predict(self, split: str, batch_size: int) -> base.Array:
        """Evaluation outputs of a whole staged split; they leave the device together."""
        return np.asarray(self._sweep(self._held.weights, self._splits[split][0], batch_size))

    def _swept(self, weights: dict[str, Array], images: Array, size: int) -> Array:
        full, ragged = divmod(len(images), size)
        outputs = []
        if full:
            starts = size * jnp.arange(full, dtype=jnp.int32)
            together = lax.map(lambda i: self._evaluate(weights, lax.dynamic_slice_in_dim(images, i, size)), starts)
            outputs.append(together.reshape(full * size, *together.shape[2:]))
        if ragged:
            outputs.append(self._evaluate(weights, images[full * size :]))
        return jnp.concatenate(outputs)

    def _batch_by_batch(self, weights: dict[str, Array], images: Array, size: int) -> Array:
        return jnp.concatenate([self._evaluate(weights, images[i : i + size]) for i in range(0, len(images), size)])

    def infer(self, images: base.Array) -> base.Array:
        """One query: a batch in host memory to outputs in host memory."""
        return np.asarray(self._infer(self._held.weights, np.asarray(images, self._types[0])))

    def probe(self, images: base.Array, targets: base.Array) -> Probe:
        """One batch through the same forward pass, loss and differentiation as in training; nothing is updated."""
        batch = (np.asarray(v, kind) for v, kind in zip((images, targets), self._types, strict=True))
        seen = self._inspect(self._held.weights, *batch, np.int32(self._step))
        training_outputs, outputs, loss, gradients, statistics = seen
        return Probe(
            np.asarray(training_outputs), np.asarray(outputs), float(loss), _arrays(gradients), _arrays(statistics)
        )

    def infer_with(self, option: InferenceOption, calibration: base.Array) -> Callable[[base.Array], base.Array]:  # noqa: ARG002 - nothing here learns ranges
        """``infer`` with one option changed, over the weights held; raises Unsupported where JAX has no such thing."""
        evaluate, weights = applied(self._spec, self._held.weights, option)
        answer, kind = self._compile(evaluate), np.int32 if self._types[0] is np.int32 else np.float32
        return lambda images: np.asarray(answer(weights, np.asarray(images, kind)))


def _arrays(tensors: Mapping[str, Array]) -> Weights:
    """Copies; of a copy, for what JAX shows of an array itself it could not give away any more."""
    return {name: np.array(jnp.copy(tensor)) for name, tensor in tensors.items()}


def _compiler(mode: str, precision: Precision) -> Callable[..., Function]:
    """What makes a function a program: nothing in ``eager``.

    Mixed, XLA must round where it is told to: by default it leaves out what is rounded to be widened again.
    """
    if mode == "eager":
        return lambda function, **_: function
    options = {"xla_allow_excess_precision": False} if precision == "bfloat16" else None
    return lambda function, **given: cast(Function, jax.jit(function, compiler_options=options, **given))


class Runner:
    """JAX in one process.  On the processor XLA flushes denormals to zero by itself, in every mode.

    XLA's client starts with the first runner of a process, and keeps its threads, its devices and its determinism.
    """

    modes: ClassVar[tuple[str, ...]] = ("eager", "jit")
    variants: ClassVar[frozenset[Variant]] = frozenset()
    cached: ClassVar[frozenset[str]] = frozenset()
    warmup: ClassVar[Mapping[str, int]] = {"eager": 2, "jit": 3}

    def __init__(self, device: Device, threads: Threads, seed: int, *, deterministic: bool = False) -> None:
        """Raises MachineError where ``device`` is not there."""
        self._cuda, self._seed, self._peak = device == "cuda", seed, 0
        self._client = client(device, threads, deterministic=deterministic)
        if device not in self._client.devices:
            raise MachineError(self.devices()["cuda"], way_out="Use the device cpu.")
        self._device = self._client.devices[device]

    def missing(self, mode: str) -> str | None:
        """Why this machine cannot offer ``mode``, or None."""
        return None if mode in self.modes else f"JAX has no mode {mode!r}"

    def versions(self) -> dict[str, str]:
        """JAX, XLA as it comes in jaxlib, and CUDA's libraries where they are installed with it."""
        packages = ("jax", "jaxlib", "numpy", *LIBRARIES)
        return {name: version for name in packages if (version := _installed(LIBRARIES.get(name, name)))}

    def devices(self) -> dict[str, str]:
        """What JAX sees."""
        cpu = platform.processor() or platform.machine()
        if gpu := self._client.devices.get("cuda"):
            return {"cpu": cpu, "cuda": gpu.device_kind}
        if not _installed(PLUGIN):
            return {"cpu": cpu, "cuda": "this JAX is installed without CUDA"}
        return {"cpu": cpu, "cuda": "JAX finds no GPU" if self._cuda else "JAX was started on the processor alone"}

    def settings(self) -> dict[str, str]:
        """As XLA's client was started; each product says for itself how it multiplies, which is in full."""
        switches = {"tf32": False, "deterministic": self._client.deterministic}
        switches |= {"cudnn_autotune": not self._client.deterministic} if self._cuda else {}
        own = {"layout": "NHWC", "compile": f"XLA, {self._client.threads} threads"}
        return {name: "on" if on else "off" for name, on in switches.items()} | own

    def gpu(self) -> str | None:
        """UUID of CUDA's first GPU, which JAX takes as well; None on the processor."""
        return gpu_uuid() if self._cuda else None

    def allocator_peak(self) -> int | None:
        """Peak bytes that arrays held on the GPU since the last call; None on the processor.

        JAX cannot forget a peak: where it has not risen since the last call, that since then is unknown.
        """
        if not self._cuda:
            return None
        before, self._peak = self._peak, int(self._device.memory_stats()["peak_bytes_in_use"])
        return self._peak if self._peak > before else None

    def build(self, spec: Spec, mode: str, precision: Precision) -> Program:
        """Raises Unsupported where JAX, or this machine, lacks the mode or the precision."""
        if reason := self.missing(mode) or (NO_TF32 if precision == "tf32" and not self._cuda else None):
            raise Unsupported(reason)
        return Program(spec, mode, precision, self._device, self._seed)


def _installed(package: str) -> str | None:
    """The version of a package, by its name; None where it is not there."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
