"""TensorFlow's core: ``tf.nn``, variables, fused training ops.  Not Keras, which is a program of its own.

Modes: ``eager`` calls op after op from Python; ``graph`` runs an epoch as one ``tf.function``; ``xla`` compiles it.
"""

from __future__ import annotations

import os
import platform
import sys
import zlib
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from suite.errors import MachineError, Unsupported
from suite.layers import (
    Activation,
    AveragePool,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool,
    MaxPool,
    Node,
    Residual,
    Role,
    walk,
)
from suite.runners.base import SLOTS, Array, Device, Precision, Probe, State, Threads, Variant, Weights, gpu_uuid
from suite.spec import Adam, Loss, RmsProp, Sgd, Spec

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
_keras = sys.modules.setdefault("keras", cast(ModuleType, None))  # TensorFlow imports Keras if it can: here it cannot
try:
    import tensorflow as tf
    from tensorflow.python.framework.config import is_op_determinism_enabled  # which has no public name
finally:
    if _keras is None:
        del sys.modules["keras"]

Tensor = Any
Function = Callable[..., Any]
ACTIVATIONS = {"relu": tf.nn.relu, "tanh": tf.tanh, "sigmoid": tf.sigmoid, "softmax": tf.nn.softmax}


class Network:
    """Variables by canonical name, and the forward pass over them."""

    def __init__(self, spec: Spec, dtype: Any, seed: int) -> None:
        self._graph, self._seed = spec.graph, seed
        self.variables = {
            name: tf.Variable(tf.zeros(tensor.shape, dtype), trainable=tensor.role.trainable)
            for name, tensor in spec.tensors.items()
        }

    def evaluate(self, images: Tensor) -> Tensor:
        """Outputs with running statistics and without dropout."""
        return self._run(self._graph, images, None, {})

    def train(self, images: Tensor, step: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Training outputs, and the running statistics as they are after this batch; ``step`` picks what drops out."""
        statistics: dict[str, Tensor] = {}
        return self._run(self._graph, images, step, statistics), statistics

    def _run(self, nodes: tuple[Node, ...], x: Tensor, step: Tensor | None, statistics: dict[str, Tensor]) -> Tensor:
        """Run ``nodes`` one after another; ``step`` is None in evaluation."""
        for node in nodes:
            held = [self.variables[tensor.name] for tensor in node.tensors]
            match node.layer:
                case BatchNorm() as layer:
                    x = _normalise(node, layer, x, held, None if step is None else statistics)
                case Dropout(rate=rate):
                    if rate and step is not None:
                        stream = tf.constant(self._seed << 32 | zlib.crc32(node.name.encode()), tf.int64)
                        x = tf.nn.experimental.stateless_dropout(x, rate, tf.stack([stream, step]))
                case Residual():
                    shortcut = self._run(node.shortcut, x, step, statistics)
                    x = self._run(node.body, x, step, statistics) + shortcut
                case _:
                    x = _stateless(node, x, held)
        return x


def _stateless(node: Node, x: Tensor, held: list[Tensor]) -> Tensor:
    """A layer that computes the same in training and in evaluation."""
    match node.layer:
        case Flatten():
            return tf.reshape(x, (-1, *node.output))
        case Dense():
            return _biased(tf.matmul(x, held[0]), held)
        case Conv2D(stride=stride, padding=padding):
            return _biased(tf.nn.conv2d(x, held[0], stride, padding.upper()), held)
        case MaxPool(window=window, strides=strides, padding=padding):
            return tf.nn.max_pool2d(x, window, strides, padding.upper())
        case AveragePool(window=window, strides=strides, padding=padding):
            return tf.nn.avg_pool2d(x, window, strides, padding.upper())  # TensorFlow does not count padding
        case GlobalAveragePool():
            return tf.reduce_mean(x, (1, 2))
        case Activation(layer=name):
            return ACTIVATIONS[name](x)
        case layer:
            raise Unsupported(f"TensorFlow's runner has no layer {layer.layer!r}")


def _biased(x: Tensor, held: list[Tensor]) -> Tensor:
    return tf.nn.bias_add(x, held[1]) if len(held) == 2 else x


def _normalise(
    node: Node, layer: BatchNorm, x: Tensor, held: list[Tensor], statistics: dict[str, Tensor] | None
) -> Tensor:
    """Batch normalisation by the batch, which then enters ``statistics``, or by the running ones where that is None."""
    images = x if len(node.input) == 3 else tf.reshape(x, (-1, 1, 1, *node.input))
    norm: Function = _fused_norm if x.dtype == tf.float32 else _plain_norm
    y, mean, variance = norm(images, *held, layer.epsilon, statistics is not None)
    if statistics is not None:
        keep = x.dtype.as_numpy_dtype(layer.momentum)
        for tensor, old, new in zip(node.tensors[2:], held[2:], (mean, variance), strict=True):
            statistics[tensor.name] = keep * old + (1 - keep) * new
    return y if len(node.input) == 3 else tf.reshape(y, (-1, *node.input))


def _fused_norm(
    x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor, epsilon: float, training: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs, mean and unbiased variance of images (n, h, w, c): the fused operation, which float64 has not."""
    running = ([], []) if training else (mean, variance)
    fused = tf.raw_ops.FusedBatchNormV3(
        x=x, scale=gamma, offset=beta, mean=running[0], variance=running[1], epsilon=epsilon, is_training=training
    )
    return fused.y, fused.batch_mean, fused.batch_variance


def _plain_norm(
    x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor, epsilon: float, training: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The same by elementary operations."""
    if training:
        mean, variance = tf.nn.moments(x, (0, 1, 2))
    values = tf.cast(tf.size(x) // x.shape[-1], x.dtype)
    y = tf.nn.batch_normalization(x, mean, variance, beta, gamma, epsilon)
    return y, mean, variance * values / tf.maximum(values - 1, 1)


def _loss(kind: Loss, outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean over the batch, and over outputs where a target is as wide as they are."""
    match kind:
        case Loss.SOFTMAX_CROSS_ENTROPY if is_op_determinism_enabled():  # several operations: on a GPU the one is not
            values = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, outputs)
        case Loss.SOFTMAX_CROSS_ENTROPY:
            values = tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(features=outputs, labels=targets).loss
        case Loss.SIGMOID_CROSS_ENTROPY:
            values = tf.nn.sigmoid_cross_entropy_with_logits(targets, outputs)
        case Loss.MEAN_SQUARED_ERROR:
            values = tf.math.squared_difference(outputs, targets)
    return tf.reduce_mean(values)


class Trainer:
    """The optimizer and its slots; ``rates`` gives what changes from step to step."""

    def __init__(self, spec: Spec, variables: Mapping[str, Tensor], real: type[np.floating[Any]]) -> None:
        self._optimizer, self._real = spec.optimizer, real
        self._decay = real(2 * spec.l2)
        self._decayed = {name for name, tensor in spec.tensors.items() if spec.l2 and tensor.role is Role.KERNEL}
        self._constants = [tf.constant(real(value)) for value in self._hyperparameters()]
        self.variables = {name: v for name, v in variables.items() if v.trainable}
        kept = () if isinstance(spec.optimizer, Sgd) and not spec.optimizer.momentum else SLOTS[spec.optimizer.name]
        self.slots = {
            slot: {name: tf.Variable(tf.zeros_like(v), trainable=False) for name, v in self.variables.items()}
            for slot in kept
        }

    def _hyperparameters(self) -> tuple[float, ...]:
        """What every step takes: made tensors once, for eager operations would make them anew each time."""
        match self._optimizer:
            case Adam(beta_1=beta_1, beta_2=beta_2):
                return 0.0, beta_1, beta_2
            case Sgd(momentum=momentum):
                return (momentum,)
            case RmsProp(rho=rho):
                return rho, 1 - float(self._real(rho))

    def rates(self, step: int, count: int) -> Array:
        """Learning rates and epsilons (2, count) of the steps after ``step``.

        TensorFlow's Adam adds its epsilon before bias correction.  The paper's ``m^ / (sqrt(v^) + epsilon)`` is
        ``sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + epsilon * sqrt(1 - b2^t))``; the powers are taken in float64,
        for in float32 ``1 - b2^t`` loses half of its digits.
        """
        optimizer = self._optimizer
        rates = np.empty((2, count))
        rates.T[:] = optimizer.learning_rate, 0 if isinstance(optimizer, Sgd) else optimizer.epsilon
        if isinstance(optimizer, Adam):
            t = np.arange(step + 1, step + count + 1)
            root = np.sqrt(1 - float(self._real(optimizer.beta_2)) ** t)
            rates *= root / (1 - float(self._real(optimizer.beta_1)) ** t), root
        return cast(Array, rates.astype(self._real))

    def penalise(self, gradients: list[Tensor]) -> list[Tensor]:
        """Gradients of the objective: those of ``l2 * sum(kernel ** 2)`` added to those of the loss."""
        return [
            g + self._decay * v if name in self._decayed else g
            for (name, v), g in zip(self.variables.items(), gradients, strict=True)
        ]

    def apply(self, gradients: list[Tensor], rate: Tensor, epsilon: Tensor) -> None:
        """One step of every variable."""
        for (name, variable), gradient in zip(self.variables.items(), gradients, strict=True):
            slots = [values[name] for values in self.slots.values()]
            match self._optimizer:
                case Adam():
                    none, beta_1, beta_2 = self._constants
                    tf.raw_ops.ResourceApplyAdam(
                        var=variable.handle, m=slots[0].handle, v=slots[1].handle, beta1_power=none, beta2_power=none,
                        lr=rate, beta1=beta_1, beta2=beta_2, epsilon=epsilon, grad=gradient,
                    )  # fmt: skip
                case Sgd(momentum=0):
                    tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=rate, delta=gradient)
                case Sgd(nesterov=nesterov):
                    tf.raw_ops.ResourceApplyMomentum(
                        var=variable.handle, accum=slots[0].handle, lr=rate, grad=gradient,
                        momentum=self._constants[0], use_nesterov=nesterov,
                    )  # fmt: skip
                case RmsProp():  # the fused operation has its epsilon inside the root
                    rho, rest = self._constants
                    square = slots[0].assign(rho * slots[0] + rest * tf.square(gradient))
                    variable.assign_sub(rate * gradient / (tf.sqrt(square) + epsilon))


class Program:
    """A spec in TensorFlow; see ``suite.runners.base.Program``."""

    def __init__(self, spec: Spec, mode: str, precision: Precision, device: str, seed: int) -> None:
        self._spec, self._device = spec, device
        self._real = np.dtype(precision).type
        with tf.device(device):
            self._network = Network(spec, precision, seed)
            self._trainer = Trainer(spec, self._network.variables, self._real)
        self._splits: dict[str, tuple[Tensor, Tensor]] = {}
        self._step = self._capacity = 0
        # XLA runs convolution and pooling inside a loop on one thread of a processor, 17 times slower: there it
        # compiles the step, and TensorFlow's graph loops over it.  Without them the whole epoch is 1.3 times faster.
        windowed = any(isinstance(node.layer, Conv2D | MaxPool | AveragePool) for node in walk(spec.graph))
        inner = mode == "xla" and windowed and "CPU" in device
        once, loop = _compiler(mode, mode == "xla"), _compiler(mode, mode == "xla" and not inner)
        self._infer, self._inspect = once(self._network.evaluate), once(self._look)
        self._advance = once(self._take_step)
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
        self._step = state.step

    def state(self) -> State:
        """Copies of what the program holds."""
        slots = {slot: _arrays(variables) for slot, variables in self._trainer.slots.items()}
        return State(_arrays(self._network.variables), slots, self._step)

    def stage(self, split: str, images: Array, targets: Array) -> None:
        """Put a split on the device; labels in int64, for TensorFlow keeps int32 in host memory."""
        kind = np.int64 if np.issubdtype(targets.dtype, np.integer) else self._real
        with tf.device(self._device):
            self._splits[split] = tf.constant(images, self._real), tf.constant(targets, kind)
        if split == "train":
            self._capacity = len(images) // self._spec.batch_size

    def train(self, order: NDArray[np.int32]) -> float:
        """One optimizer step per ``batch_size`` indices of ``order`` into ``train``, the last batch ragged.

        Returns the mean data loss per image over the call, as seen before each step.
        """
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
        _, loss, gradients, statistics = self._differentiate(tf.gather(images, batch), tf.gather(targets, batch), step)
        self._trainer.apply(gradients, rate, epsilon)
        for name, value in statistics.items():
            self._network.variables[name].assign(value)
        return tf.cast(loss, tf.float64)

    def _differentiate(
        self, images: Tensor, targets: Tensor, step: Tensor
    ) -> tuple[Tensor, Tensor, list[Tensor], dict[str, Tensor]]:
        """Training outputs, mean data loss, gradients of the objective, running statistics."""
        with tf.GradientTape() as tape:
            outputs, statistics = self._network.train(images, step)
            loss = _loss(self._spec.loss, outputs, targets)
        gradients = tape.gradient(loss, list(self._trainer.variables.values()))
        return outputs, loss, self._trainer.penalise(gradients), statistics

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
        outputs: Array = self._sweep(self._splits[split][0], batch_size).numpy()
        return outputs

    def _graph_sweep(self, images: Tensor, size: int) -> Tensor:
        full, ragged = divmod(images.shape[0], size)
        if not full:  # XLA compiles a loop's body even where it never runs, and there is no slice of this size
            return self._evaluate(images)
        start, shape = full * size, self._spec.graph[-1].output

        def body(i: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
            batch = tf.slice(images, (i * size, 0, 0, 0), (size, *images.shape[1:]))
            return i + 1, outputs.write(i, self._evaluate(batch))

        held = tf.TensorArray(images.dtype, full, element_shape=(size, *shape))
        outputs = tf.while_loop(lambda i, _: i < full, body, (0, held), parallel_iterations=1)[1]
        together = tf.reshape(outputs.stack(), (start, *shape))
        return tf.concat([together, self._evaluate(images[start:])], 0) if ragged else together

    def _eager_sweep(self, images: Tensor, size: int) -> Tensor:
        return tf.concat([self._evaluate(images[i : i + size]) for i in range(0, images.shape[0], size)], 0)

    def infer(self, images: Array) -> Array:
        """One query: a batch in host memory to outputs in host memory."""
        with tf.device(self._device):
            outputs: Array = self._infer(tf.constant(images)).numpy()
        return outputs

    def probe(self, images: Array, targets: Array) -> Probe:
        """One batch through the same forward pass, loss and differentiation as in training; nothing is updated."""
        kind = np.int64 if np.issubdtype(targets.dtype, np.integer) else self._real
        with tf.device(self._device):
            step = tf.constant(self._step, tf.int64)
            seen = self._inspect(tf.constant(images, self._real), tf.constant(targets, kind), step)
        training_outputs, loss, gradients, statistics, outputs = seen
        named = dict(zip(self._trainer.variables, gradients, strict=True))
        return Probe(training_outputs.numpy(), outputs.numpy(), float(loss), _arrays(named), _arrays(statistics))

    def _look(self, images: Tensor, targets: Tensor, step: Tensor) -> tuple[Any, ...]:
        return *self._differentiate(images, targets, step), self._network.evaluate(images)


def _arrays(tensors: Mapping[str, Tensor]) -> Weights:
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def _compiler(mode: str, xla: bool) -> Callable[[Function], Function]:
    if mode == "eager":
        return lambda function: function
    return lambda function: cast(Function, tf.function(function, autograph=False, jit_compile=xla or None))


class Runner:
    """TensorFlow in one process.  On the processor it flushes denormals to zero by itself, in every mode."""

    modes: ClassVar[tuple[str, ...]] = ("eager", "graph", "xla")
    variants: ClassVar[frozenset[Variant]] = frozenset()
    cached: ClassVar[frozenset[str]] = frozenset()
    warmup: ClassVar[Mapping[str, int]] = {"eager": 2, "graph": 3, "xla": 3}

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
        """TensorFlow, what it was built against, and which CPU kernels it takes."""
        built = tf.sysconfig.get_build_info()
        onednn = "off" if os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0" else "on"
        cuda = {name: str(built[f"{name}_version"]) for name in ("cuda", "cudnn") if f"{name}_version" in built}
        return {"tensorflow": tf.__version__, "numpy": np.__version__, "onednn": onednn, **cuda}

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
        return {name: "on" if on else "off" for name, on in switches.items()}

    def gpu(self) -> str | None:
        """UUID of CUDA's first GPU, which TensorFlow takes as well; None on the processor."""
        return gpu_uuid() if self._cuda else None

    def allocator_peak(self) -> int | None:
        """Peak bytes that tensors held on the GPU since the last call; None on the processor."""
        peak = int(tf.config.experimental.get_memory_info("GPU:0")["peak"]) if self._cuda else None
        if self._cuda:
            tf.config.experimental.reset_memory_stats("GPU:0")
        return peak

    def build(self, spec: Spec, mode: str, precision: Precision) -> Program:
        """Raises Unsupported where TensorFlow lacks the mode."""
        if reason := self.missing(mode):
            raise Unsupported(reason)
        return Program(spec, mode, precision, "/GPU:0" if self._cuda else "/CPU:0", self._seed)
