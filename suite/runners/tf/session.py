"""TensorFlow 1's way, define and run: a graph is built once, and a session runs the step from Python.

The data are variables of the graph, filled once; a step is fed its indices, rate and epsilon.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from suite.runners.base import Array, InferenceOption, Precision, Probe, State
from suite.runners.tf.core import Tensor, switch_tf32, tf, types
from suite.runners.tf.options import QUANTISED, applied, lite, refusals
from suite.runners.tf.trainer import Learner
from suite.spec.precision import held
from suite.spec.resolved import Spec
from suite.spec.targets import Loss

placeholder = tf.compat.v1.placeholder


class _Split(NamedTuple):
    """A split's images and targets: variables, what they are filled from, and how many images that was."""

    variables: tuple[Tensor, ...]
    filling: tuple[Tensor, ...]
    images: int


class _Sweep(NamedTuple):
    """The outputs of a split's images from ``begin`` to ``end``."""

    begin: Tensor
    end: Tensor
    outputs: Tensor


class _Step(NamedTuple):
    """What a step is fed, and what is fetched: the loss, and that it is done."""

    indices: Tensor
    rate: Tensor
    epsilon: Tensor
    number: Tensor
    done: tuple[Tensor, Tensor]


class _Look(NamedTuple):
    """What a probe is fed and fetches."""

    batch: tuple[Tensor, ...]
    number: Tensor
    seen: tuple[Any, ...]


class Program:
    """A spec in a graph and a session of TensorFlow 1; see ``suite.runners.base.Program``."""

    def __init__(self, spec: Spec, precision: Precision, device: str, seed: int) -> None:
        self._spec, self._device, self._precision = spec, device, precision
        self._real = np.dtype(held(precision)).type
        self._types = types(spec, self._real)
        self._splits: dict[str, _Split] = {}
        self._sweeps: dict[str, _Sweep] = {}
        self._graph = tf.Graph()
        with self._building():
            self._learner = Learner(spec, precision, seed, device)
            self._held = {"": self._learner.network.variables, **self._learner.trainer.slots}
            self._fed = {
                kind: {name: placeholder(v.dtype, v.shape) for name, v in held.items()}
                for kind, held in self._held.items()
            }
            assigned = [
                v.assign(self._fed[kind][name]) for kind, held in self._held.items() for name, v in held.items()
            ]
            self._take = tf.group(*assigned)
            self._begin = [variable.initializer for variable in self._learner.trainer.scratch.values()]
        self._session = tf.compat.v1.Session(graph=self._graph, config=_configuration("GPU" in device))
        self.load(State({name: np.zeros(tensor.shape) for name, tensor in spec.tensors.items()}))

    @contextmanager
    def _building(self) -> Iterator[None]:
        with self._graph.as_default(), tf.device(self._device):
            yield

    def load(self, state: State) -> None:
        """Take weights, slots and step; the dropout stream is a function of seed, layer and step."""
        feed = {}
        for kind, placeholders in self._fed.items():
            given = state.slots.get(kind, {}) if kind else state.weights
            for name, place in placeholders.items():
                # A copy, for a variable may go on in the memory of the array that it was fed.
                feed[place] = np.array(given[name], self._real) if name in given else np.zeros(place.shape, self._real)
        self._session.run(self._begin)
        self._session.run(self._take, feed)
        self._step = state.step

    def state(self) -> State:
        """Copies of what the program holds."""
        held = self._session.run(self._held)
        return State(held.pop(""), held, self._step)

    def stage(self, split: str, images: Array, targets: Array) -> None:
        """Fill the variables of a split, whatever its length; indices in int64, as the other modes have them."""
        made = self._split(split)
        fills = [variable.initializer for variable in made.variables]
        for arrays in ((images[:0], targets[:0]), (images, targets)):  # what was there before gives its memory back
            copies = [np.array(values, kind) for values, kind in zip(arrays, self._types, strict=True)]
            self._session.run(fills, dict(zip(made.filling, copies, strict=True)))
        self._splits[split] = made._replace(images=len(images))

    def _places(self) -> tuple[Tensor, ...]:
        """For a batch of any size, images and targets."""
        boxes, labels = self._spec.loss is Loss.DETECTION, self._types[1] is np.int64
        target = (5,) if boxes else () if labels else self._spec.graph[-1].output
        shapes = self._spec.input_shape, target
        return tuple(placeholder(kind, (None, *shape)) for kind, shape in zip(self._types, shapes, strict=True))

    def _split(self, name: str) -> _Split:
        if name not in self._splits:
            with self._building():
                filling = self._places()
                variables = tuple(tf.Variable(values, trainable=False, shape=values.shape) for values in filling)
            self._splits[name] = _Split(variables, filling, 0)
        return self._splits[name]

    @cached_property
    def _training(self) -> _Step:
        with self._building():
            indices, number = placeholder(tf.int64, (None,)), placeholder(tf.int64, ())
            rate, epsilon = placeholder(self._real, ()), placeholder(self._real, ())
            images, targets = (tf.gather(values, indices) for values in self._split("train").variables)
            _, loss, gradients, statistics = self._learner.differentiate(images, targets, number)
            update = tf.group(*self._learner.update(gradients, statistics, rate, epsilon))
        return _Step(indices, rate, epsilon, number, (loss, update))

    def train(self, order: NDArray[np.int32]) -> float:
        """One optimizer step per ``batch_size`` indices of ``order`` into ``train``, the last batch ragged.

        Returns the mean data loss per image over the call, as seen before each step.
        """
        switch_tf32(self._device, self._precision)
        step, run, size = self._training, self._session.run, self._spec.batch_size
        starts = range(0, len(order), size)
        rates, epsilons = self._learner.trainer.rates(self._step, len(starts))
        places = order.astype(np.int64)
        total = 0.0
        for i, start in enumerate(starts):
            batch = places[start : start + size]
            fed = {step.indices: batch, step.rate: rates[i], step.epsilon: epsilons[i], step.number: self._step + i}
            loss, _ = run(step.done, fed)
            total += float(loss) * len(batch)
        self._step += len(starts)
        return total / len(order)

    def predict(self, split: str, batch_size: int) -> Array:
        """Evaluation outputs of a whole staged split, batch by batch: each run of a session brings its outputs back."""
        if split not in self._sweeps:
            with self._building():
                begin, end = placeholder(tf.int64, ()), placeholder(tf.int64, ())
                outputs = self._learner.network.evaluate(self._split(split).variables[0][begin:end])
            self._sweeps[split] = _Sweep(begin, end, outputs)
        switch_tf32(self._device, self._precision)
        begin, end, outputs = self._sweeps[split]
        images = self._splits[split].images
        starts = range(0, images, batch_size)
        return np.concatenate(
            [self._session.run(outputs, {begin: i, end: min(i + batch_size, images)}) for i in starts]
        )

    @cached_property
    def _query(self) -> tuple[Tensor, Tensor]:
        with self._building():
            images = placeholder(self._types[0], (None, *self._spec.input_shape))
            return images, self._learner.network.evaluate(images)

    def infer(self, images: Array) -> Array:
        """One query: a batch in host memory to outputs in host memory."""
        switch_tf32(self._device, self._precision)
        fed, outputs = self._query
        answer: Array = self._session.run(outputs, {fed: images})
        return answer

    @cached_property
    def _looking(self) -> _Look:
        with self._building():
            (images, targets), number = self._places(), placeholder(tf.int64, ())
            seen = self._learner.look(images, targets, number)
        return _Look((images, targets), number, seen)

    def infer_with(self, option: InferenceOption, calibration: Array) -> Callable[[Array], Array]:
        """``infer`` with one option changed, over the weights held; raises Unsupported where TensorFlow cannot."""
        if option in QUANTISED:
            return lite(self._spec, self.state().weights, option, calibration, "GPU" in self._device)
        with refusals(), self._building():
            images = placeholder(types(self._spec, np.float32)[0], (None, *self._spec.input_shape))
            network, evaluate = applied(self._learner.network, self._spec, option)
            outputs = evaluate(images)
        with refusals():
            self._session.run([variable.initializer for variable in network.variables.values()])
            self._session.run(outputs, {images: calibration[:1]})
        return lambda given: cast(Array, self._session.run(outputs, {images: given}))

    def probe(self, images: Array, targets: Array) -> Probe:
        """One batch through the same forward pass, loss and differentiation as in training; nothing is updated."""
        switch_tf32(self._device, self._precision)
        look = self._looking
        fed = dict(zip((*look.batch, look.number), (images, targets, self._step), strict=True))
        training_outputs, outputs, loss, gradients, statistics = self._session.run(look.seen, fed)
        return Probe(training_outputs, outputs, float(loss), gradients, statistics)


def settings(cuda: bool) -> str:
    """How a session is configured, in words; read back from what each one is given."""
    given = _configuration(cuda)
    threads = f"{given.intra_op_parallelism_threads} + {given.inter_op_parallelism_threads} threads"
    growth = f", memory growth {'on' if given.gpu_options.allow_growth else 'off'}" if cuda else ""
    return f"{threads}, soft placement {'on' if given.allow_soft_placement else 'off'}{growth}"


def _configuration(cuda: bool) -> Any:
    """Of a session: the process's threads, and the GPU's memory as it is needed."""
    threading = tf.config.threading
    return tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=threading.get_intra_op_parallelism_threads(),
        inter_op_parallelism_threads=threading.get_inter_op_parallelism_threads(),
        allow_soft_placement=True,
        device_count={} if cuda else {"GPU": 0},
        gpu_options=tf.compat.v1.GPUOptions(allow_growth=True),
    )
