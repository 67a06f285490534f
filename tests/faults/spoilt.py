"""Programs that spoil what crosses their boundary; ``m`` is the magnitude, where there is one."""

from dataclasses import replace

import numpy as np

from suite.runners.base import Array, Probe, State
from suite.spec.targets import Loss
from tests.faults.plant import Inputs, Layout, Outputs, Wrapped


class TrainsOther(Wrapped):
    def __init__(self, inner, spec, precision, other):
        super().__init__(inner, spec, precision)
        self.other = other

    def load(self, state):
        self.inner.load(state)
        self.other.load(state)

    def state(self):
        return self.other.state()

    def stage(self, split, images, targets):
        self.inner.stage(split, images, targets)
        self.other.stage(split, images, targets)

    def train(self, order):
        return self.other.train(order)


class LabelsOffByOne(Inputs):
    def targets(self, targets: Array) -> Array:
        return (targets + 1) % 10 if targets.ndim == 1 else targets


class ChannelsMixed(Inputs):
    def images(self, images: Array) -> Array:
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(images.shape)


class OtherRange(Inputs):
    def images(self, images: Array) -> Array:
        return images * 2 - 1


class OffRange(Inputs):
    m: float

    def images(self, images: Array) -> Array:
        return images * (1 + self.m)


class Half(Inputs):
    """Images rounded to ``m`` bits of mantissa, in the timed precision alone."""

    m: float

    def images(self, images: Array) -> Array:
        return truncated(images, int(self.m)) if self.precision == "float32" else images


def truncated(values: Array, bits: int) -> Array:
    """Float32 with the mantissa cut to ``bits`` bits: 10 is TF32, 7 bfloat16."""
    whole = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return (whole & np.uint32((0xFFFFFFFF << (23 - bits)) & 0xFFFFFFFF)).view(np.float32).astype(values.dtype)


class Transposed(Layout):
    def there(self, name: str, value: Array) -> Array:
        return np.ascontiguousarray(value.T) if name == "dense_1/kernel" and value.shape == (64, 64) else value


class Flipped(Layout):
    def there(self, name: str, value: Array) -> Array:
        return np.ascontiguousarray(value[::-1, ::-1]) if name == "conv2d_1/kernel" else value


class AxesSwapped(Layout):
    def there(self, name: str, value: Array) -> Array:
        return np.ascontiguousarray(value.swapaxes(2, 3)) if name == "conv2d_2/kernel" else value


class FlattenOrder(Layout):
    """The head's rows in NCHW order, as after a flatten in another layout."""

    def there(self, name: str, value: Array) -> Array:
        if name != "dense_1/kernel" or len(value) != 128:
            return value
        return value.reshape(4, 4, 8, -1).transpose(2, 0, 1, 3).reshape(value.shape)

    def back(self, name: str, value: Array) -> Array:
        if name != "dense_1/kernel" or len(value) != 128:
            return value
        return value.reshape(8, 4, 4, -1).transpose(1, 2, 0, 3).reshape(value.shape)


class BiasLost(Layout):
    """A bias that takes no part; what is given is given back."""

    held: Array

    def there(self, name: str, value: Array) -> Array:
        if name == "dense_2/bias":
            self.held = value
            return np.zeros_like(value)
        return value

    def back(self, name: str, value: Array) -> Array:
        return self.held if name == "dense_2/bias" and hasattr(self, "held") else value


class LoadTransposed(Wrapped):
    def load(self, state: State) -> None:
        turned = {k: v.T if k == "dense_1/kernel" and v.shape == (64, 64) else v for k, v in state.weights.items()}
        self.inner.load(replace(state, weights=turned))


class OneWeightOff(Wrapped):
    m: float

    def load(self, state: State) -> None:
        weights = {name: value.copy() for name, value in state.weights.items()}
        if "dense_1/kernel" in weights:
            kernel = weights["dense_1/kernel"]
            at = np.unravel_index(np.abs(kernel).argmax(), kernel.shape)
            kernel[at] *= 1 + self.m
        self.inner.load(replace(state, weights=weights))


class SlotsForgotten(Wrapped):
    def load(self, state: State) -> None:
        self.inner.load(replace(state, slots={}))


class SlotScaled(Wrapped):
    """The second moment, or the velocity, off by a factor when it is read."""

    m: float

    def state(self) -> State:
        state = self.inner.state()
        *_, last = state.slots
        scaled = {name: value * (1 + self.m) for name, value in state.slots[last].items()}
        return replace(state, slots={**state.slots, last: scaled})


class StepAhead(Wrapped):
    """A counter that starts from 1 where the optimizer adds 1 itself."""

    def load(self, state: State) -> None:
        self.inner.load(replace(state, step=state.step + 1))

    def state(self) -> State:
        state = self.inner.state()
        return replace(state, step=state.step - 1)


class StepStuck(Wrapped):
    """A counter that every load resets; the true count is told."""

    given = 0

    def load(self, state: State) -> None:
        self.given = state.step
        self.inner.load(replace(state, step=0))

    def state(self) -> State:
        state = self.inner.state()
        return replace(state, step=state.step + self.given)


class StepMiscounted(Wrapped):
    def state(self) -> State:
        state = self.inner.state()
        return replace(state, step=state.step + 1)


class RaggedDropped(Wrapped):
    def train(self, order):
        size = self.spec.batch_size
        return self.inner.train(order[: max(len(order) // size, 1) * size])


class OrderIgnored(Wrapped):
    def train(self, order):
        return self.inner.train(np.arange(len(order), dtype=order.dtype))


class OrderOfNextBatch(Wrapped):
    """Every index one further on: an order off by one."""

    count = 1

    def stage(self, split, images, targets):
        self.count = len(images)
        self.inner.stage(split, images, targets)

    def train(self, order):
        return self.inner.train(((order + 1) % self.count).astype(order.dtype))


class BatchesWeighAlike(Wrapped):
    """The epoch's loss as the mean over batches, however small the last one is."""

    def train(self, order):
        size = self.spec.batch_size
        return float(np.mean([self.inner.train(order[i : i + size]) for i in range(0, len(order), size)]))


class LastBatchLost(Wrapped):
    """The loss of the last batch instead of the epoch's."""

    def train(self, order):
        size = self.spec.batch_size
        return [self.inner.train(order[i : i + size]) for i in range(0, len(order), size)][-1]


class Doubled(Outputs):
    """A softmax behind the model, whose loss has one of its own."""

    def outputs(self, outputs: Array) -> Array:
        if self.spec.loss is not Loss.SOFTMAX_CROSS_ENTROPY:
            return outputs
        exponential = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
        return exponential / exponential.sum(axis=-1, keepdims=True)


class QueryRounded(Wrapped):
    """Queries answered in half precision; all else is right."""

    def infer(self, images: Array) -> Array:
        return self.inner.infer(images).astype(np.float16).astype(images.dtype)


class PredictionShuffled(Wrapped):
    def predict(self, split: str, batch_size: int) -> Array:
        return self.inner.predict(split, batch_size)[::-1]


class PredictionShort(Wrapped):
    """A prediction that leaves out the ragged end."""

    def predict(self, split: str, batch_size: int) -> Array:
        outputs = self.inner.predict(split, batch_size)
        return outputs[: len(outputs) // batch_size * batch_size]


class Seen(Wrapped):
    """Changes what a probe shows."""

    def probe(self, images, targets):
        return self.change(self.inner.probe(images, targets))

    def change(self, seen: Probe) -> Probe:
        return seen


class NanInOne(Seen):
    def change(self, seen: Probe) -> Probe:
        spoilt = {name: g.copy() for name, g in seen.gradients.items()}
        if "dense_1/bias" in spoilt:
            spoilt["dense_1/bias"][3] = np.nan
        return replace(seen, gradients=spoilt)


class OneGradientOff(Seen):
    m: float
    tensor = "dense_2/kernel"

    def change(self, seen: Probe) -> Probe:
        spoilt = {name: g.copy() for name, g in seen.gradients.items()}
        if self.tensor in spoilt:
            g = spoilt[self.tensor]
            g[np.unravel_index(np.abs(g).argmax(), g.shape)] *= 1 + self.m
        return replace(seen, gradients=spoilt)


class GradientMissing(Seen):
    def change(self, seen: Probe) -> Probe:
        return replace(seen, gradients={k: v for k, v in seen.gradients.items() if k != "dense_2/bias"})


class StatisticsStill(Wrapped):
    """Training leaves the running statistics as they were."""

    def load(self, state):
        self.before = {k: v for k, v in state.weights.items() if "moving" in k}
        self.inner.load(state)

    def state(self):
        state = self.inner.state()
        return replace(state, weights={**state.weights, **self.before})


class ContextLast(Inputs):
    """Words with the candidates in front of the context."""

    def images(self, images: Array) -> Array:
        return np.ascontiguousarray(np.roll(images, images.shape[1] // 2, axis=1))


class NextWord(Inputs):
    """Every word by the row of the one after it in the vocabulary."""

    def images(self, images: Array) -> Array:
        return ((images + 1) % (self.spec.data.max_value + 1)).astype(images.dtype)


class TrueWordLast(Inputs):
    def targets(self, targets: Array) -> Array:
        return np.ascontiguousarray(targets[:, ::-1])


class BoxLabelsOffByOne(Inputs):
    def targets(self, targets: Array) -> Array:
        return np.column_stack([(targets[:, 0] + 1) % 10, targets[:, 1:]]).astype(targets.dtype)


class BoxesByCorners(Inputs):
    """Boxes as two corners instead of a corner and a size."""

    def targets(self, targets: Array) -> Array:
        return np.concatenate([targets[:, :3], targets[:, 1:3] + targets[:, 3:]], axis=1)


class FrozenDrifts(Wrapped):
    """Training moves those frozen tensors whose name ends in ``ending``, by a share of ``m``."""

    ending: str
    m: float
    trained = False

    def load(self, state):
        self.trained = False
        self.inner.load(state)

    def train(self, order):
        self.trained = True
        return self.inner.train(order)

    def state(self):
        state = self.inner.state()
        if not self.trained:
            return state
        moved = {k for k in self.spec.frozen_names if k.endswith(self.ending)}
        return replace(state, weights={k: v * (1 - self.m) if k in moved else v for k, v in state.weights.items()})


class FrozenGradients(Seen):
    """A gradient for what is frozen, and be it 0."""

    def change(self, seen: Probe) -> Probe:
        return replace(seen, gradients={**seen.gradients, "conv2d_1/kernel": np.zeros(1)})


class DecaysTables(Seen):
    """L2 on tables of words as well."""

    def load(self, state):
        self.held = state.weights
        self.inner.load(state)

    def change(self, seen: Probe) -> Probe:
        penalty = {k: 2 * self.spec.l2 * self.held[k] for k in seen.gradients if k.endswith("embedding")}
        return replace(seen, gradients={k: g + penalty.get(k, 0) for k, g in seen.gradients.items()})


class NanAfterAnEpoch(Wrapped):
    """Weights that an epoch in single precision blows up."""

    trained = False

    def train(self, order):
        self.trained = self.precision == "float32"
        return self.inner.train(order)

    def state(self):
        state = self.inner.state()
        if not self.trained or "dense_1/kernel" not in state.weights:
            return state
        return replace(state, weights={**state.weights, "dense_1/kernel": state.weights["dense_1/kernel"] * np.nan})


class FlushedSlots(Wrapped):
    """Values below ``m`` of the largest set to 0 when training in single precision."""

    m: float

    def state(self):
        state = self.inner.state()
        if self.precision != "float32":
            return state
        over = {
            slot: {k: np.where(np.abs(v) < self.m * np.abs(v).max(), 0, v) for k, v in held.items()}
            for slot, held in state.slots.items()
        }
        return replace(state, slots=over)


class RemembersTraining(Wrapped):
    """Of an order of one length it trains the first alone, and gives its loss and its end again."""

    def load(self, state):
        self.inner.load(state)
        self.ends = {}

    def train(self, order):
        if len(order) in self.ends:
            loss, end = self.ends[len(order)]
            self.inner.load(end)
            return loss
        loss = self.inner.train(order)
        self.ends[len(order)] = loss, self.inner.state()
        return loss


class RemembersLoss(Wrapped):
    """Trains, but gives the loss of the first order of this length."""

    def train(self, order):
        self.losses = getattr(self, "losses", {})
        return self.losses.setdefault(len(order), self.inner.train(order))


class RemembersQueries(Wrapped):
    """Gives the first answer of each shape again; with ``by_weights``, until it is given weights."""

    by_weights = False

    def load(self, state):
        self.inner.load(state)
        if self.by_weights:
            self.answers = {}

    def infer(self, images):
        self.answers = getattr(self, "answers", {})
        at = self.key(images)
        if at not in self.answers:
            self.answers[at] = self.inner.infer(images)
        return self.answers[at]

    def key(self, images):
        return images.shape


class RemembersByAddress(RemembersQueries):
    """Takes what lies in the same memory for the same images."""

    by_weights = True

    def key(self, images):
        return images.shape, images.__array_interface__["data"][0]


class RemembersByContent(RemembersQueries):
    """Gives the answer to the same images again, whatever the weights are by then."""

    def key(self, images):
        return images.shape, images.tobytes()


class WeightsOfLoading(Wrapped):
    """Queries by the weights that were loaded, however long it has trained since."""

    def load(self, state):
        self.inner.load(state)
        self.loaded = self.inner.state()

    def _as_loaded(self, ask):
        now = self.inner.state()
        self.inner.load(self.loaded)
        answer = ask()
        self.inner.load(now)
        return answer

    def infer(self, images):
        return self._as_loaded(lambda: self.inner.infer(images))


class PredictionOfLoading(WeightsOfLoading):
    """Predicts so, and answers queries rightly."""

    def infer(self, images):
        return self.inner.infer(images)

    def predict(self, split, batch_size):
        return self._as_loaded(lambda: self.inner.predict(split, batch_size))


class RemembersPrediction(Wrapped):
    """Predicts each split once; with ``by_weights``, until it is given weights."""

    by_weights = False

    def load(self, state):
        self.inner.load(state)
        if self.by_weights:
            self.answers = {}

    def predict(self, split, batch_size):
        self.answers = getattr(self, "answers", {})
        if (split, batch_size) not in self.answers:
            self.answers[split, batch_size] = self.inner.predict(split, batch_size)
        return self.answers[split, batch_size]


class KeepsStaged(Wrapped):
    """Keeps the first images that it was given for training."""

    def stage(self, split, images, targets):
        self.kept = getattr(self, "kept", set())
        if split != "train" or (split, images.shape) not in self.kept:
            self.inner.stage(split, images.copy(), targets.copy())
        self.kept.add((split, images.shape))
