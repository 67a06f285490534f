"""The ways to plant something in any Runner: in the spec it is given, in what crosses the boundary, or in its code."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from suite.runners.base import Array, InferenceOption, Precision, Probe, Program, Runner, State, Weights
from suite.spec.graph import Concat, Layer, Residual
from suite.spec.resolved import Spec

Context = Callable[[], AbstractContextManager[Any]]


class Wrapped:
    """A Program that passes everything on; a fault overrides what it spoils."""

    def __init__(self, inner: Program, spec: Spec, precision: Precision) -> None:
        self.inner, self.spec, self.precision = inner, spec, precision

    def load(self, state: State) -> None:
        self.inner.load(state)

    def state(self) -> State:
        return self.inner.state()

    def stage(self, split: str, images: Array, targets: Array) -> None:
        self.inner.stage(split, images, targets)

    def train(self, order: NDArray[np.int32]) -> float:
        return self.inner.train(order)

    def predict(self, split: str, batch_size: int) -> Array:
        return self.inner.predict(split, batch_size)

    def infer(self, images: Array) -> Array:
        return self.inner.infer(images)

    def probe(self, images: Array, targets: Array) -> Probe:
        return self.inner.probe(images, targets)

    def infer_with(self, option: InferenceOption, calibration: Array) -> Callable[[Array], Array]:
        return self.inner.infer_with(option, calibration)


class Planted:
    """A Runner with a fault: in its specs, its programs, or, through ``context``, in what it runs inside of."""

    def __init__(
        self,
        inner: Runner,
        *,
        spec: Callable[[Spec], Spec] = lambda spec: spec,
        program: Callable[[Program, Spec, Precision], Program] = lambda program, _spec, _precision: program,
        context: Context = nullcontext,
    ) -> None:
        self._inner, self._spec, self._program, self._context = inner, spec, program, context
        self.modes, self.variants = inner.modes, inner.variants
        self.cached, self.warmup = inner.cached, inner.warmup

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def build(self, spec: Spec, mode: str, precision: Precision) -> Program:
        self.mode = mode
        with self._context():
            built = self._inner.build(self._spec(spec), mode, precision)
        return self._program(Inside(built, self._context), spec, precision)


class Inside:
    """A Program whose every call runs inside a context, so that a patch touches nothing but the program."""

    def __init__(self, inner: Program, context: Context) -> None:
        self._inner, self._context = inner, context

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        def call(*arguments: Any) -> Any:
            with self._context():
                return method(*arguments)

        return call


def layers(spec: Spec, change: Callable[[Layer], Layer | None]) -> Spec:
    """The spec with every layer changed; None drops it."""

    def over(model: tuple[Layer, ...]) -> tuple[Layer, ...]:
        changed = []
        for layer in model:
            if isinstance(layer, Residual):
                layer = layer.model_copy(update={"body": over(layer.body), "shortcut": over(layer.shortcut)})
            if isinstance(layer, Concat):
                layer = layer.model_copy(update={"branches": tuple(over(branch) for branch in layer.branches)})
            if (new := change(layer)) is not None:
                changed.append(new)
        return tuple(changed)

    return spec.replace(model=over(spec.model))


def optimizer(spec: Spec, **fields: Any) -> Spec:
    """The spec with other hyperparameters."""
    return spec.replace(optimizer=spec.optimizer.model_copy(update=fields))


class Inputs(Wrapped):
    """Changes images and targets wherever they come in."""

    def images(self, images: Array) -> Array:
        return images

    def targets(self, targets: Array) -> Array:
        return targets

    def stage(self, split: str, images: Array, targets: Array) -> None:
        self.inner.stage(split, self.images(images), self.targets(targets))

    def infer(self, images: Array) -> Array:
        return self.inner.infer(self.images(images))

    def probe(self, images: Array, targets: Array) -> Probe:
        return self.inner.probe(self.images(images), self.targets(targets))


class Layout(Wrapped):
    """Holds weights in another layout than it says, the same way in and out, so that only the mathematics tells."""

    def there(self, name: str, value: Array) -> Array:
        return value

    def back(self, name: str, value: Array) -> Array:
        return self.there(name, value)

    def load(self, state: State) -> None:
        self.inner.load(_each_tensor(state, self.there))

    def state(self) -> State:
        return _each_tensor(self.inner.state(), self.back)

    def probe(self, images: Array, targets: Array) -> Probe:
        seen = self.inner.probe(images, targets)
        return replace(
            seen,
            gradients={name: self.back(name, g) for name, g in seen.gradients.items()},
            statistics={name: self.back(name, s) for name, s in seen.statistics.items()},
        )


def _each_tensor(state: State, change: Callable[[str, Array], Array]) -> State:
    def over(held: Weights) -> Weights:
        return {name: change(name, value) for name, value in held.items()}

    return State(over(state.weights), {slot: over(held) for slot, held in state.slots.items()}, state.step)


class Outputs(Wrapped):
    """Changes outputs wherever they come out."""

    def outputs(self, outputs: Array) -> Array:
        return outputs

    def infer(self, images: Array) -> Array:
        return self.outputs(self.inner.infer(images))

    def predict(self, split: str, batch_size: int) -> Array:
        return self.outputs(self.inner.predict(split, batch_size))

    def probe(self, images: Array, targets: Array) -> Probe:
        seen = self.inner.probe(images, targets)
        return replace(seen, outputs=self.outputs(seen.outputs), training_outputs=self.outputs(seen.training_outputs))


def patched(**replacements: Any) -> Callable[[Runner, float], Runner]:
    """A fault that puts functions in the place of the reference's; each is given the magnitude first."""

    def plant(runner: Runner, m: float) -> Runner:
        def context() -> AbstractContextManager[Any]:
            stack = ExitStack()
            for target, function in replacements.items():
                stack.enter_context(patch(f"suite.runners.reference.{target.replace('__', '.')}", partial(function, m)))
            return stack

        return Planted(runner, context=context)

    return plant
