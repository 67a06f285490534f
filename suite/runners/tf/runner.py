"""TensorFlow's core: ``tf.nn``, variables, fused training ops.  Not Keras, which is a program of its own.

Modes: ``eager`` calls op after op from Python; ``graph`` runs an epoch as one ``tf.function``; ``xla`` compiles it;
``session`` runs step after step in a graph of TensorFlow 1.  And ``quickstart``, which is TensorFlow's own tutorial and
a program of its own.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from typing import ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from suite.errors import MachineError, Unsupported
from suite.runners.base import Array, Device, InferenceOption, Precision, Probe, State, Threads, Weights, gpu_uuid
from suite.runners.tf import quickstart
from suite.runners.tf.core import Function, Tensor, is_op_determinism_enabled, onednn, switch_tf32, tf, types
from suite.runners.tf.options import QUANTISED, applied, lite, refusals
from suite.runners.tf.session import Program as SessionProgram
from suite.runners.tf.session import settings as session_settings
from suite.runners.tf.trainer import Learner
from suite.spec.graph import walk
from suite.spec.layers import AveragePool, Conv2D, MaxPool
from suite.spec.precision import NO_TF32, held
from suite.spec.resolved import Spec
from suite.spec.semantics import Variant
from suite.spec.targets import Loss


class Program:
    """A spec in TensorFlow; see ``suite.runners.base.Program``."""

    def __init__(self, spec: Spec, mode: str, precision: Precision, device: str, seed: int) -> None:
        self._spec, self._device, self._precision = spec, device, precision
        self._real = np.dtype(held(precision)).type
        self._types = types(spec, self._real)
        with tf.device(device):
            self._learner = Learner(spec, precision, seed, device)
        self._network, self._trainer = self._learner.network, self._learner.trainer
        self._splits: dict[str, tuple[Tensor, Tensor]] = {}
        self._step = self._capacity = 0
        # XLA runs convolution and pooling inside a loop on one thread of a processor, 17 times slower: there it
        # compiles the step, and TensorFlow's graph loops over it.  Without them the whole epoch is 1.3 times faster.
        windowed = any(isinstance(node.layer, Conv2D | MaxPool | AveragePool) for node in walk(spec.graph))
        inner = mode == "xla" and windowed and "CPU" in device
        self._once, loop = _compiler(mode, mode == "xla"), _compiler(mode, mode == "xla" and not inner)
        self._infer, self._inspect = self._once(self._network.evaluate), self._once(self._learner.look)
        self._advance = self._once(self._take_step)
        self._evaluate = self._infer if inner else self._network.evaluate
        self._body = self._advance if inner else self._take_step
        self._epoch = loop(self._eager_epoch if mode == "eager" else self._graph_epoch)
        self._sweep = loop(self._eager_sweep if mode == "eager" else self._graph_sweep)

    def load(self, state: State) -> None:
        """Take weights, slots and step; the dropout stream is a function of seed, layer and step."""
        for name, variable in self._network.variables.items():
            variable.assign(np.asarray(state.weights[name], self._real))
        for slot, variables in self._trainer.slots.items():
            held = state.slots.get(slot, {})
            for name, variable in variables.items():
                variable.assign(np.asarray(held[name], self._real) if name in held else tf.zeros_like(variable))
        for variable in self._trainer.scratch.values():
            variable.assign(tf.zeros_like(variable))
        self._step = state.step

    def state(self) -> State:
        """Copies of what the program holds."""
        slots = {slot: _arrays(variables) for slot, variables in self._trainer.slots.items()}
        return State(_arrays(self._network.variables), slots, self._step)

    def stage(self, split: str, images: Array, targets: Array) -> None:
        """Put a split on the device."""
        self._splits.pop(split, None)  # first, for what each epoch has anew may fill much of the memory
        self._splits[split] = self._given(images, targets)
        if split == "train":
            self._capacity = len(images) // self._spec.batch_size

    def _given(self, images: Array, targets: Array) -> tuple[Tensor, Tensor]:
        with tf.device(self._device):
            return tf.constant(images, self._types[0]), tf.constant(targets, self._types[1])

    def train(self, order: NDArray[np.int32]) -> float:
        """One optimizer step per ``batch_size`` indices of ``order`` into ``train``, the last batch ragged.

        Returns the mean data loss per image over the call, as seen before each step.
        """
        switch_tf32(self._device, self._precision)
        size, split = self._spec.batch_size, self._splits["train"]
        full, ragged = divmod(len(order), size)
        rows = max(full, self._capacity)  # an order is filled up to one length, so that it compiles once
        rates = self._trainer.rates(self._step, rows + 1)
        total = 0.0
        with tf.device(self._device):
            if full:
                batches = tf.constant(np.resize(order, (rows, size)), tf.int64)
                counts = tf.constant(full), tf.constant(self._step, tf.int64)  # int32 is kept in host memory
                total += float(self._epoch(*split, batches, *tf.unstack(tf.constant(rates)), *counts)) * size
            if ragged:
                batch, step = tf.constant(order[-ragged:], tf.int64), tf.constant(self._step + full, tf.int64)
                total += float(self._advance(*split, batch, *tf.unstack(tf.constant(rates[:, full])), step)) * ragged
        self._step += full + bool(ragged)
        return total / len(order)

    def _take_step(
        self, images: Tensor, targets: Tensor, batch: Tensor, rate: Tensor, epsilon: Tensor, step: Tensor
    ) -> Tensor:
        """Train on the images that ``batch`` (n,) points to; returns their mean loss before the step."""
        seen = self._learner.differentiate(tf.gather(images, batch), tf.gather(targets, batch), step)
        _, loss, gradients, statistics = seen
        self._learner.update(gradients, statistics, rate, epsilon)
        return tf.cast(loss, tf.float64)

    def _graph_epoch(
        self,
        images: Tensor,
        targets: Tensor,
        batches: Tensor,
        rates: Tensor,
        epsilons: Tensor,
        count: Tensor,
        step: Tensor,
    ) -> Tensor:
        """Steps ``step`` to ``step + count`` over rows of ``batches`` (rows, n); returns the sum of their losses."""

        def body(i: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
            # A gather is one operation where an index in brackets becomes four.
            batch, rate, epsilon = (tf.gather(values, i) for values in (batches, rates, epsilons))
            return i + 1, total + self._body(images, targets, batch, rate, epsilon, step + tf.cast(i, tf.int64))

        start = tf.zeros((), tf.int32), tf.zeros((), tf.float64)
        return tf.while_loop(lambda i, _: i < count, body, start, parallel_iterations=1)[1]

    def _eager_epoch(
        self,
        images: Tensor,
        targets: Tensor,
        batches: Tensor,
        rates: Tensor,
        epsilons: Tensor,
        count: Tensor,
        step: Tensor,
    ) -> Tensor:
        """The same, op after op; tensors are cut into rows all at once, for each cut is an op as dear as a layer."""
        total = tf.zeros((), tf.float64)
        rows = [tf.unstack(values[:count]) for values in (batches, rates, epsilons)]
        for batch, rate, epsilon, at in zip(*rows, tf.unstack(tf.range(step, step + len(rows[0]))), strict=True):
            total += self._take_step(images, targets, batch, rate, epsilon, at)
        return total

    def predict(self, split: str, batch_size: int) -> Array:
        """Evaluation outputs of a whole staged split; they leave the device together."""
        switch_tf32(self._device, self._precision)
        outputs: Array = self._sweep(self._splits[split][0], batch_size).numpy()
        return outputs

    def _graph_sweep(self, images: Tensor, size: int) -> Tensor:
        full, ragged = divmod(images.shape[0], size)
        if not full:  # XLA compiles a loop's body even where it never runs, and there is no slice of this size
            return self._evaluate(images)
        start, shape = full * size, self._spec.graph[-1].output

        def body(i: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
            batch = tf.slice(images, (i * size, *(0 for _ in images.shape[1:])), (size, *images.shape[1:]))
            return i + 1, outputs.write(i, self._evaluate(batch))

        held = tf.TensorArray(self._real, full, element_shape=(size, *shape))
        outputs = tf.while_loop(lambda i, _: i < full, body, (0, held), parallel_iterations=1)[1]
        together = tf.reshape(outputs.stack(), (start, *shape))
        return tf.concat([together, self._evaluate(images[start:])], 0) if ragged else together

    def _eager_sweep(self, images: Tensor, size: int) -> Tensor:
        return tf.concat([self._evaluate(images[i : i + size]) for i in range(0, images.shape[0], size)], 0)

    def infer(self, images: Array) -> Array:
        """One query: a batch in host memory to outputs in host memory."""
        switch_tf32(self._device, self._precision)
        with tf.device(self._device):
            outputs: Array = self._infer(tf.constant(images, self._types[0])).numpy()
        return outputs

    def probe(self, images: Array, targets: Array) -> Probe:
        """One batch through the same forward pass, loss and differentiation as in training; nothing is updated."""
        switch_tf32(self._device, self._precision)
        with tf.device(self._device):
            seen = self._inspect(*self._given(images, targets), tf.constant(self._step, tf.int64))
        training_outputs, outputs, loss, gradients, statistics = seen
        return Probe(training_outputs.numpy(), outputs.numpy(), float(loss), _arrays(gradients), _arrays(statistics))

    def infer_with(self, option: InferenceOption, calibration: Array) -> Callable[[Array], Array]:
        """``infer`` with one option changed, over the weights held; raises Unsupported where TensorFlow cannot."""
        if option in QUANTISED:
            return lite(self._spec, self.state().weights, option, calibration, "GPU" in self._device)
        with tf.device(self._device):
            answer = self._once(applied(self._network, self._spec, option)[1])
        kind = types(self._spec, np.float32)[0]

        def query(images: Array) -> Array:
            with tf.device(self._device):
                outputs: Array = answer(tf.constant(images, kind)).numpy()
            return outputs

        with refusals():
            query(calibration[:1])
        return query


def _arrays(tensors: Mapping[str, Tensor]) -> Weights:
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def _compiler(mode: str, xla: bool) -> Callable[[Function], Function]:
    if mode == "eager":
        return lambda function: function
    return lambda function: cast(Function, tf.function(function, autograph=False, jit_compile=xla or None))


class Runner:
    """TensorFlow in one process.  On the processor it flushes denormals to zero by itself, in every mode."""

    modes: ClassVar[tuple[str, ...]] = ("eager", "graph", "xla", "session", "quickstart")
    variants: ClassVar[frozenset[Variant]] = frozenset()
    cached: ClassVar[frozenset[str]] = frozenset()
    warmup: ClassVar[Mapping[str, int]] = {"eager": 2, "graph": 3, "xla": 3, "session": 3, "quickstart": 3}

    def __init__(self, device: Device, threads: Threads, seed: int, *, deterministic: bool = False) -> None:
        """Raises MachineError where ``device`` is not there.  A process cannot take determinism back."""
        self._cuda, self._seed = device == "cuda", seed
        tf.config.threading.set_intra_op_parallelism_threads(threads.intra)
        tf.config.threading.set_inter_op_parallelism_threads(threads.inter)
        tf.config.experimental.enable_tensor_float_32_execution(False)
        self._gpus = tf.config.list_physical_devices("GPU")
        for gpu in self._gpus:
            tf.config.experimental.set_memory_growth(gpu, True)  # else TensorFlow takes the whole GPU
        if not self._cuda:
            tf.config.set_visible_devices([], "GPU")
        elif not self._gpus:
            raise MachineError(self.devices()["cuda"], way_out="Use the device cpu.")
        os.environ["TF_CUDNN_USE_AUTOTUNE"] = "0" if deterministic else "1"  # by trial, as it is by default
        if deterministic:  # dropout is a function of its seed already
            tf.config.experimental.enable_op_determinism()

    def missing(self, mode: str) -> str | None:
        """Why this machine cannot offer ``mode``, or None."""
        return None if mode in self.modes else f"TensorFlow has no mode {mode!r}"

    def versions(self) -> dict[str, str]:
        """TensorFlow, what it was built against, and whether it takes oneDNN's kernels on this processor.

        Unless TF_ENABLE_ONEDNN_OPTS tells it, it does where the processor has instructions for neural networks
        (tensorflow/core/util/port.cc).
        """
        built = tf.sysconfig.get_build_info()
        cuda = {name: str(built[f"{name}_version"]) for name in ("cuda", "cudnn") if f"{name}_version" in built}
        return {"tensorflow": tf.__version__, "numpy": np.__version__, "onednn": "on" if onednn() else "off", **cuda}

    def devices(self) -> dict[str, str]:
        """What TensorFlow sees."""
        cpu = platform.processor() or platform.machine()
        if self._gpus:
            return {"cpu": cpu, "cuda": tf.config.experimental.get_device_details(self._gpus[0])["device_name"]}
        built = tf.test.is_built_with_cuda()
        return {"cpu": cpu, "cuda": "TensorFlow finds no GPU" if built else "this TensorFlow is built without CUDA"}

    def settings(self) -> dict[str, str]:
        """Read back from TensorFlow, and from the environment that it reads."""
        tf32 = tf.config.experimental.tensor_float_32_execution_enabled()
        switches = {"tf32": tf32, "deterministic": is_op_determinism_enabled()}
        switches |= {"cudnn_autotune": os.environ["TF_CUDNN_USE_AUTOTUNE"] == "1"} if self._cuda else {}
        own = {"layout": "NHWC", "session": session_settings(self._cuda), "quickstart": quickstart.SETTING}
        return {name: "on" if on else "off" for name, on in switches.items()} | own

    def gpu(self) -> str | None:
        """UUID of CUDA's first GPU, which TensorFlow takes as well; None on the processor."""
        return gpu_uuid() if self._cuda else None

    def allocator_peak(self) -> int | None:
        """Peak bytes that tensors held on the GPU since the last call; None on the processor."""
        peak = int(tf.config.experimental.get_memory_info("GPU:0")["peak"]) if self._cuda else None
        if self._cuda:
            tf.config.experimental.reset_memory_stats("GPU:0")
        return peak

    def build(self, spec: Spec, mode: str, precision: Precision) -> Program | SessionProgram | quickstart.Program:
        """Raises Unsupported where TensorFlow, or this machine, lacks the mode or the precision."""
        if reason := self.missing(mode) or (NO_TF32 if precision == "tf32" and not self._cuda else None):
            raise Unsupported(reason)
        device = "/GPU:0" if self._cuda else "/CPU:0"
        if mode == "session":
            return SessionProgram(spec, precision, device, self._seed)
        if mode == "quickstart":
            return quickstart.Program(spec, precision, device, self._seed)
        program = Program(spec, mode, precision, device, self._seed)
        if mode == "xla" and self._cuda and is_op_determinism_enabled():
            refuse_without_determinism(program, spec)
        return program


def refuse_without_determinism(program: Program, spec: Spec) -> None:
    """Raises Unsupported where XLA has no deterministic form of an operation on a GPU, which it says as it compiles."""
    images = np.zeros((2, *spec.input_shape), np.int32 if spec.input_dtype == "tokens" else np.float32)
    shapes = {Loss.SOFTMAX_CROSS_ENTROPY: (2,), Loss.DETECTION: (2, 5)}
    targets = np.zeros(shapes.get(spec.loss, (2, *spec.graph[-1].output)), np.float32)
    try:
        program.probe(images, targets)
    except tf.errors.OpError as error:
        if "determinis" not in str(error):
            raise
        raise Unsupported(f"XLA is not deterministic here: {str(error).splitlines()[0]}") from error
