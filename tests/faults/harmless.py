"""Mutants that compute the same in another way: the gate must let them pass."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from suite.runners.base import Array, Runner, State, Weights
from tests.faults.plant import Inputs, Layout, Planted, Wrapped


@dataclass(frozen=True)
class Mutant:
    """A harmless change, planted by ``plant``."""

    name: str
    plant: Callable[[Runner], Runner]


class LoadedTwice(Wrapped):
    def load(self, state: State) -> None:
        self.inner.load(state)
        self.inner.load(self.inner.state())


class PermutedBatch(Wrapped):
    """The images of each batch in another order within it."""

    def train(self, order):
        size = self.spec.batch_size
        batches = [order[i : i + size] for i in range(0, len(order), size)]
        return self.inner.train(np.concatenate([np.roll(batch[::-1], 3) for batch in batches]))

    def probe(self, images, targets):
        turned = np.random.default_rng(0).permutation(len(images))
        seen = self.inner.probe(images[turned], targets[turned])
        back = np.argsort(turned)
        return replace(seen, training_outputs=seen.training_outputs[back], outputs=seen.outputs[back])


class SmallChunks(Wrapped):
    """Predictions five images at a time."""

    def predict(self, split: str, batch_size: int) -> Array:
        return self.inner.predict(split, 5)


class OneByOne(Wrapped):
    """An epoch as one call per batch, with a look inside before each."""

    def stage(self, split, images, targets):
        self.batch = images[:4], targets[:4]
        self.inner.stage(split, images, targets)

    def train(self, order):
        size, total = self.spec.batch_size, 0.0
        for i in range(0, len(order), size):
            self.inner.probe(*self.batch)
            total += self.inner.train(order[i : i + size]) * len(order[i : i + size])
        return total / len(order)


class Strided(Inputs):
    """Images as every second element of a larger array."""

    def images(self, images: Array) -> Array:
        wide = np.zeros((*images.shape[:-1], 2 * images.shape[-1]), images.dtype)
        wide[..., ::2] = images
        return wide[..., ::2]


class FortranImages(Inputs):
    def images(self, images: Array) -> Array:
        return np.asfortranarray(images)


class FortranWeights(Layout):
    def there(self, name: str, value: Array) -> Array:
        return np.asfortranarray(value)


class FortranOutputs(Wrapped):
    def infer(self, images):
        return np.asfortranarray(self.inner.infer(images))

    def predict(self, split, batch_size):
        return np.asfortranarray(self.inner.predict(split, batch_size))


class ScaledSlots(Wrapped):
    """Slots held in another unit, with the rounding that costs."""

    factor = 3.0

    def load(self, state):
        self.inner.load(replace(state, slots=self._times(self._times(state.slots, self.factor), 1 / self.factor)))

    def state(self):
        state = self.inner.state()
        return replace(state, slots=self._times(self._times(state.slots, self.factor), 1 / self.factor))

    @staticmethod
    def _times(slots: dict[str, Weights], factor: float) -> dict[str, Weights]:
        return {slot: {k: v * v.dtype.type(factor) for k, v in held.items()} for slot, held in slots.items()}


def _wrapping(cls) -> Callable[[Runner], Runner]:
    return lambda runner: Planted(runner, program=cls)


ANYWHERE = (
    Mutant("nothing changed", lambda runner: runner),
    Mutant("weights loaded twice", _wrapping(LoadedTwice)),
    Mutant("batches permuted within", _wrapping(PermutedBatch)),
    Mutant("predictions in small chunks", _wrapping(SmallChunks)),
    Mutant("an epoch batch by batch, with looks inside", _wrapping(OneByOne)),
    Mutant("strided images", _wrapping(Strided)),
    Mutant("images in Fortran order", _wrapping(FortranImages)),
    Mutant("weights in Fortran order", _wrapping(FortranWeights)),
    Mutant("outputs in Fortran order", _wrapping(FortranOutputs)),
    Mutant("slots held three times as large", _wrapping(ScaledSlots)),
)
