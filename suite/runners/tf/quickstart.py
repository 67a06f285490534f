"""TensorFlow as its own quickstart has it: what a program does before anybody makes it fast.

From tensorflow.org's tutorial "TensorFlow 2 quickstart for experts": a ``tf.data.Dataset`` of slices, in batches, and a
``tf.function`` that Python calls for each of them; gradients by a tape; the loss summed in a variable; images in NHWC,
and no XLA.

What a benchmark means stays the spec's: weights, order of batches, epsilon and rates.  Four things differ from the
tutorial.  Its model and its Adam are Keras', which is a program of its own; here they are TensorFlow's core, with the
fused operations of the other modes.  Its data set shuffles for itself; here it is made of arrays that are in order
already.  It counts right answers as well.  And a prediction brings its outputs back, batch by batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from suite.errors import Unsupported
from suite.runners.base import Array, InferenceOption, Precision, Probe, State, Weights
from suite.runners.tf.core import Tensor, switch_tf32, tf, types
from suite.runners.tf.trainer import Learner
from suite.spec.precision import held
from suite.spec.resolved import Spec

SETTING = "a tf.function for each batch of a tf.data.Dataset, without Keras"


class Program:
    """A spec as the tutorial would write it; see ``suite.runners.base.Program``."""

    def __init__(self, spec: Spec, precision: Precision, device: str, seed: int) -> None:
        self._spec, self._device, self._precision = spec, device, precision
        self._real = np.dtype(held(precision)).type
        self._types = types(spec, self._real)
        with tf.device(device):
            self._learner = Learner(spec, precision, seed, device)
            self._total = tf.Variable(0.0, dtype=tf.float64, trainable=False)
        self._network, self._trainer = self._learner.network, self._learner.trainer
        self._train_step = tf.function(self._step, autograph=False)
        self._test_step = tf.function(self._network.evaluate, autograph=False)
        self._inspect = tf.function(self._learner.look, autograph=False)
        self._splits: dict[str, tuple[Array, Array]] = {}
        self._tests: dict[tuple[str, int], Iterable[Tensor]] = {}
        self._steps = 0

    def load(self, state: State) -> None:
        """Take weights, slots and step; the dropout stream is a function of seed, layer and step."""
        for name, variable in self._network.variables.items():
            variable.assign(np.asarray(state.weights[name], self._real))
        for slot, variables in self._trainer.slots.items():
            given = state.slots.get(slot, {})
            for name, variable in variables.items():
                variable.assign(np.asarray(given[name], self._real) if name in given else tf.zeros_like(variable))
        for variable in self._trainer.scratch.values():
            variable.assign(tf.zeros_like(variable))
        self._steps = state.step

    def state(self) -> State:
        """Copies of what the program holds."""
        slots = {slot: _arrays(variables) for slot, variables in self._trainer.slots.items()}
        return State(_arrays(self._network.variables), slots, self._steps)

    def stage(self, split: str, images: Array, targets: Array) -> None:
        """Keep a split as arrays in host memory."""
        self._splits[split] = np.array(images, self._types[0]), np.array(targets, self._types[1])
        self._tests = {key: made for key, made in self._tests.items() if key[0] != split}

    def train(self, order: NDArray[np.int32]) -> float:
        """One optimizer step per ``batch_size`` indices of ``order`` into ``train``, the last batch ragged.

        Returns the mean data loss per image over the call, as seen before each step.
        """
        switch_tf32(self._device, self._precision)
        images, targets = self._splits["train"]
        batches = tf.data.Dataset.from_tensor_slices((images[order], targets[order])).batch(self._spec.batch_size)
        count = len(batches)
        rates = map(tf.unstack, self._trainer.rates(self._steps, count))
        steps = tf.unstack(tf.range(self._steps, self._steps + count, dtype=tf.int64))
        self._total.assign(0.0)
        for (x, y), rate, epsilon, step in zip(batches, *rates, steps, strict=True):
            self._train_step(x, y, rate, epsilon, step)
        self._steps += count
        return float(self._total) / len(order)

    def _step(self, images: Tensor, targets: Tensor, rate: Tensor, epsilon: Tensor, step: Tensor) -> None:
        """One optimizer step; the loss of all images, as it was before, is added up."""
        _, loss, gradients, statistics = self._learner.differentiate(images, targets, step)
        self._learner.update(gradients, statistics, rate, epsilon)
        self._total.assign_add(tf.cast(loss, tf.float64) * tf.cast(tf.shape(images)[0], tf.float64))

    def predict(self, split: str, batch_size: int) -> Array:
        """Evaluation outputs of a whole staged split, batch by batch; its data set is made once, as in the tutorial."""
        switch_tf32(self._device, self._precision)
        if (split, batch_size) not in self._tests:
            made = tf.data.Dataset.from_tensor_slices(self._splits[split][0]).batch(batch_size)
            self._tests[split, batch_size] = made
        return np.concatenate([self._test_step(batch).numpy() for batch in self._tests[split, batch_size]])

    def infer(self, images: Array) -> Array:
        """One query: a batch in host memory to outputs in host memory."""
        switch_tf32(self._device, self._precision)
        outputs: Array = self._test_step(tf.constant(images, self._types[0])).numpy()
        return outputs

    def infer_with(self, option: InferenceOption, calibration: Array) -> Callable[[Array], Array]:  # noqa: ARG002 - none
        """Raises Unsupported: the tutorial has no such options."""
        raise Unsupported(f"the quickstart has no inference option {option}; the modes eager, graph and xla have")

    def probe(self, images: Array, targets: Array) -> Probe:
        """One batch through the same forward pass, loss and differentiation as in training; nothing is updated."""
        switch_tf32(self._device, self._precision)
        given = (tf.constant(values, kind) for values, kind in zip((images, targets), self._types, strict=True))
        seen = self._inspect(*given, tf.constant(self._steps, tf.int64))
        training_outputs, outputs, loss, gradients, statistics = seen
        return Probe(training_outputs.numpy(), outputs.numpy(), float(loss), _arrays(gradients), _arrays(statistics))


def _arrays(tensors: Mapping[str, Tensor]) -> Weights:
    return {name: tensor.numpy() for name, tensor in tensors.items()}
