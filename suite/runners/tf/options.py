"""Inference in TensorFlow with one option changed: another memory format, or a narrower type.

In int8 it is TensorFlow Lite that computes, on the processor, whatever the mode.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from typing_extensions import override

from suite.errors import Unsupported
from suite.runners.base import Array, InferenceOption, Weights
from suite.runners.tf.core import Function, Tensor, tf, types
from suite.runners.tf.network import Network
from suite.spec.graph import Node, walk
from suite.spec.layers import Activation, BatchNorm, Conv2D, Dense, Flatten, GlobalAveragePool
from suite.spec.resolved import Spec

QUANTISED = frozenset({"int8_dynamic", "int8_static"})
NO_REASON = r"\s|Graph execution error:|Detected at node |Node: "
"""How those lines begin that name places and not causes."""
CHUNK = 32
"""Inputs at once while ranges are learnt."""


class ChannelsFirst(Network):
    """Evaluation over images in NCHW; they come and go in NHWC."""

    layout = "NCHW"

    @override
    def evaluate(self, images: Tensor) -> Tensor:
        outputs = super().evaluate(_planes(images))
        return _pixels(outputs) if len(self._graph[-1].output) == 3 else outputs

    @override
    def _stateless(self, node: Node, x: Tensor, held: list[Tensor]) -> Tensor:
        if len(node.input) == 3:
            match node.layer:
                case GlobalAveragePool():
                    return tf.reduce_mean(x, (2, 3))
                case Flatten():
                    return super()._stateless(node, _pixels(x), held)
                case Activation(layer="softmax"):
                    return tf.nn.softmax(x, 1)
        return super()._stateless(node, x, held)

    @override
    def _normalise(
        self, node: Node, layer: BatchNorm, x: Tensor, held: list[Tensor], statistics: dict[str, Tensor] | None
    ) -> Tensor:
        if len(node.input) != 3:
            return super()._normalise(node, layer, x, held, statistics)
        if node.name in self._alone:
            return _planes(super()._normalise(node, layer, _pixels(x), held, statistics))
        gamma, beta, mean, variance = held
        return tf.raw_ops.FusedBatchNormV3(
            x=x, scale=gamma, offset=beta, mean=mean, variance=variance, epsilon=layer.epsilon, is_training=False,
            data_format=self.layout,
        ).y  # fmt: skip


def _planes(x: Tensor) -> Tensor:
    return tf.transpose(x, (0, 3, 1, 2))


def _pixels(x: Tensor) -> Tensor:
    return tf.transpose(x, (0, 2, 3, 1))


def applied(network: Network, spec: Spec, option: InferenceOption) -> tuple[Network, Function]:
    """A twin of ``network`` under ``option``, and its evaluation, inputs and outputs in float32 (or tokens).

    Raises Unsupported where the layout changes nothing.
    """
    if option == "bfloat16":
        narrow = network.twin(Network, tf.bfloat16)
        tokens = spec.input_dtype == "tokens"
        return narrow, lambda x: tf.cast(narrow.evaluate(x if tokens else tf.cast(x, tf.bfloat16)), tf.float32)
    if not any(isinstance(node.layer, Conv2D) for node in walk(spec.graph)):
        raise Unsupported(f"{spec.id} has no convolution, so that no memory format changes it")
    twin = network.twin(ChannelsFirst if option == "channels_first" else Network, tf.float32)
    return twin, twin.evaluate


@contextmanager
def refusals() -> Iterator[None]:
    """What TensorFlow has no kernel for is Unsupported, with TensorFlow's reason."""
    try:
        yield
    except tf.errors.OpError as error:
        raise Unsupported(f"TensorFlow says: {_reason(error.message)}") from None


def _reason(message: str) -> str:
    """What TensorFlow says without the places in its graph and in our code."""
    told = (line for line in message.splitlines() if line.strip() and not re.match(NO_REASON, line))
    return re.sub(r"^\{\{.*?\}\} | \[Op:.*", "", next(told, message))


def lite(
    spec: Spec, weights: Weights, option: InferenceOption, calibration: Array, cuda: bool
) -> Callable[[Array], Array]:
    """``weights`` in TensorFlow Lite's int8; raises Unsupported where it cannot."""
    if cuda:
        raise Unsupported("TensorFlow Lite computes on the processor alone")
    return _Lite(spec, weights, calibration if option == "int8_static" else None)


class _Lite:
    """A spec's evaluation in TensorFlow Lite: weights in int8, and with ``ranges`` what lies between layers too.

    Layers that Lite has no int8 for stay in float32.
    """

    def __init__(self, spec: Spec, weights: Weights, ranges: Array | None) -> None:
        if not any(isinstance(node.layer, Conv2D | Dense) for node in walk(spec.graph)):
            raise Unsupported(f"{spec.id} has no layer that TensorFlow Lite quantises")
        self._type = types(spec, np.float32)[0]
        with tf.device("/CPU:0"):
            module = tf.Module()
            module.network = network = Network(spec, tf.float32, 0)
            for name, variable in network.variables.items():
                variable.assign(weights[name].astype(np.float32))
            inputs = tf.TensorSpec((None, *spec.input_shape), self._type)
            function = tf.function(network.evaluate, autograph=False).get_concrete_function(inputs)
        with warnings.catch_warnings(action="ignore"):  # Lite is about to move into another package
            converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            if ranges is not None:
                converter.representative_dataset = lambda: self._chunks(ranges)
            threads = tf.config.threading.get_intra_op_parallelism_threads()
            self._interpreter = tf.lite.Interpreter(model_content=converter.convert(), num_threads=threads)
        (self._input,) = (place["index"] for place in self._interpreter.get_input_details())
        (self._output,) = (place["index"] for place in self._interpreter.get_output_details())
        self._shape: tuple[int, ...] = ()

    def _chunks(self, ranges: Array) -> Iterator[list[Array]]:
        for start in range(0, len(ranges), CHUNK):
            yield [ranges[start : start + CHUNK].astype(self._type)]

    def __call__(self, images: Array) -> Array:
        """Outputs in float32; room is made anew where the batch has another size than the last."""
        if images.shape != self._shape:
            self._interpreter.resize_tensor_input(self._input, images.shape)
            self._interpreter.allocate_tensors()
            self._shape = images.shape
        self._interpreter.set_tensor(self._input, images.astype(self._type, copy=False))
        self._interpreter.invoke()
        outputs: Array = self._interpreter.get_tensor(self._output)
        return outputs
