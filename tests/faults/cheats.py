"""Programs that are fast because they do not compute what they are asked, in the calls that are timed.

``odds`` are those that one audit sees it: the share of a block's calls whose answer is wrong.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from suite.results.questions import QuestionKind
from suite.runners.base import Array, Precision, Program, State
from suite.spec.resolved import Spec
from tests.faults.plant import Wrapped
from tests.faults.spoilt import (
    PredictionOfLoading,
    PredictionShort,
    PredictionShuffled,
    QueryRounded,
    RemembersByContent,
    RemembersPrediction,
    RemembersQueries,
    WeightsOfLoading,
    truncated,
)

QUERY, PASS = QuestionKind.LATENCY, QuestionKind.THROUGHPUT


class OneCached(Wrapped):
    """The first query that it was ever asked, of each shape, gets the answer of then."""

    def infer(self, images: Array) -> Array:
        self.first = getattr(self, "first", {})
        if images.shape not in self.first:
            self.first[images.shape] = images.tobytes(), self.inner.infer(images)
        asked, answer = self.first[images.shape]
        return answer if images.tobytes() == asked else self.inner.infer(images)


class OfLast(Wrapped):
    """Every other query or so, by chance, gets the answer of the one before it."""

    def __init__(self, inner: Program, spec: Spec, precision: Precision) -> None:
        super().__init__(inner, spec, precision)
        self.chance, self.last = np.random.default_rng(0), {}

    def infer(self, images: Array) -> Array:
        before, answer = self.last.get(images.shape), self.inner.infer(images)
        self.last[images.shape] = answer
        return answer if before is None or self.chance.random() < 0.5 else before


class Parts(Wrapped):
    """Changes the answer to each batch, of queries and passes alike."""

    def infer(self, images: Array) -> Array:
        return self.answer(self.inner.infer, images)

    def stage(self, split: str, images: Array, targets: Array) -> None:
        self.images = images
        self.inner.stage(split, images, targets)

    def predict(self, split: str, batch_size: int) -> Array:
        batches = range(0, len(self.images), batch_size)
        return np.concatenate([self.infer(self.images[i : i + batch_size]) for i in batches])

    def answer(self, infer: Callable[[Array], Array], images: Array) -> Array:
        return infer(images)


class HalfZeros(Parts):
    def answer(self, infer, images):
        half = infer(images[: -(-len(images) // 2)])
        return np.concatenate([half, np.zeros_like(half)])[: len(images)]


class HalfRepeated(Parts):
    def answer(self, infer, images):
        half = infer(images[: -(-len(images) // 2)])
        return np.concatenate([half, half])[: len(images)]


class LastRowMissing(Parts):
    def answer(self, infer, images):
        return infer(images)[:-1]


class OneRowOff(Parts):
    """The first image of each batch is answered as the second."""

    def answer(self, infer, images):
        outputs = np.array(infer(images))
        outputs[0] = outputs[1 % len(outputs)]
        return outputs


class OnlyFirstBatch(Wrapped):
    """A pass is its first batch over and over."""

    def predict(self, split, batch_size):
        outputs = np.array(self.inner.predict(split, batch_size))
        return np.resize(outputs[:batch_size], outputs.shape)


class BatchSkipped(Wrapped):
    """One batch of a pass holds what the memory held before: the outputs of the batch before, or zeros."""

    which: int

    def predict(self, split, batch_size):
        outputs = np.array(self.inner.predict(split, batch_size))
        starts = list(range(0, len(outputs), batch_size))
        start = starts[self.which if self.which < 0 else min(self.which, len(starts) - 1)]
        skipped = outputs[start : start + batch_size]
        skipped[...] = outputs[start - batch_size : start][: len(skipped)] if start else 0
        return outputs


class Rounded(Wrapped):
    """Answers by weights of a narrower type; what it says that it holds is right."""

    def rounded(self, value: Array) -> Array:
        return value

    def _asked(self, ask):
        held = self.inner.state()
        self.inner.load(State({name: self.rounded(value) for name, value in held.weights.items()}))
        answer = ask()
        self.inner.load(held)
        return answer

    def infer(self, images):
        return self._asked(lambda: self.inner.infer(images))

    def predict(self, split, batch_size):
        return self._asked(lambda: self.inner.predict(split, batch_size))


class Bfloat16(Rounded):
    def rounded(self, value):
        return truncated(value, 7)


class Float16(Rounded):
    def rounded(self, value):
        return value.astype(np.float16).astype(value.dtype)


class LoadBefore(Rounded):
    """Answers by the weights that were held before the last load."""

    before: State | None = None

    def load(self, state):
        self.before = self.inner.state() if self.before else state
        self.inner.load(state)

    def _asked(self, ask):
        held = self.inner.state()
        self.inner.load(self.before)
        answer = ask()
        self.inner.load(held)
        return answer


class Training(Parts):
    """Outputs as in training: by the statistics of the batch, with dropout."""

    def stage(self, split, images, targets):
        self.targets = targets
        super().stage(split, images, targets)

    def answer(self, infer, images):
        del infer
        targets = np.resize(self.targets, (len(images), *self.targets.shape[1:]))
        return self.inner.probe(images, targets).training_outputs


class NotFinite(Parts):
    def answer(self, infer, images):
        outputs = np.array(infer(images))
        outputs[-1] = np.nan
        return outputs


class QueryOfPass(QueryRounded):
    """Outputs of a pass in half precision."""

    def infer(self, images):
        return self.inner.infer(images)

    def predict(self, split, batch_size):
        return self.inner.predict(split, batch_size).astype(np.float16).astype(np.float32)


@dataclass(frozen=True)
class Asked:
    """A question as a cheat's odds depend on it: calls of a block, and different queries."""

    kind: QuestionKind
    batch_size: int
    calls: int
    queries: int


def always(_: Asked) -> float:
    """Whichever call is drawn."""
    return 1.0


def first_of(asked: Asked) -> float:
    """The share of a block's calls that ask the first query: ceil(calls / queries) / calls."""
    return -(-asked.calls // asked.queries) / asked.calls


def about_half(_: Asked) -> float:
    """One in two."""
    return 0.5


@dataclass(frozen=True)
class Cheat:
    """``program`` wraps a real one; it is planted in ``specs`` and seen in questions of ``kinds``.

    ``smallest`` is the batch size from which it cheats at all; ``odds`` are those that one audit sees it.
    """

    name: str
    program: Callable[[Program, Spec, Precision], Program]
    kinds: tuple[QuestionKind, ...]
    specs: tuple[str, ...] = ("cnn", "many")
    smallest: int = 1
    odds: Callable[[Asked], float] = always


def _skips(which: int) -> Callable[[Program, Spec, Precision], Program]:
    return type("BatchSkipped", (BatchSkipped,), {"which": which})


BOTH = (QUERY, PASS)
# fmt: off
CHEATS = (  # a cheat a line, to be read as a table
    Cheat("one query's answer from a cache", OneCached, (QUERY,), ("mlp", "words"), odds=first_of),
    Cheat("a query in two answered as the one before", OfLast, (QUERY,), ("cnn", "words"), odds=about_half),
    Cheat("answers remembered by shape", RemembersQueries, (QUERY,)),
    Cheat("answers remembered by content, whatever the weights", RemembersByContent, (QUERY,)),
    Cheat("a pass remembered, whatever the weights", RemembersPrediction, (PASS,)),
    Cheat("half of a batch, then zeros", HalfZeros, BOTH, smallest=2),
    Cheat("half of a batch, twice", HalfRepeated, BOTH, smallest=2),
    Cheat("the last row left out", LastRowMissing, BOTH),
    Cheat("the first batch over and over", OnlyFirstBatch, (PASS,)),
    Cheat("the first batch skipped", _skips(0), (PASS,)),
    Cheat("a batch skipped", _skips(1), (PASS,)),
    Cheat("a batch in the midst skipped", _skips(77), (PASS,), ("many",)),
    Cheat("the ragged batch skipped", _skips(-1), (PASS,)),
    Cheat("one row of each batch as its neighbour", OneRowOff, BOTH, ("mlp", "cnn"), smallest=2),
    Cheat("a value that is no number", NotFinite, BOTH),
    Cheat("rows in another order", PredictionShuffled, (PASS,)),
    Cheat("a ragged batch left out", PredictionShort, (PASS,)),
    Cheat("weights in bfloat16", Bfloat16, BOTH, ("cnn", "words", "boxes")),
    Cheat("weights in float16", Float16, BOTH, ("cnn", "words", "boxes")),
    Cheat("outputs in float16, queries", QueryRounded, (QUERY,)),
    Cheat("outputs in float16, passes", QueryOfPass, (PASS,)),
    Cheat("weights of the last load, not of training", WeightsOfLoading, (QUERY,), ("cnn", "frozen")),
    Cheat("weights of the last load, not of training, in passes", PredictionOfLoading, (PASS,), ("cnn", "frozen")),
    Cheat("weights of before the last load", LoadBefore, BOTH, ("cnn", "frozen")),
    Cheat("outputs as in training", Training, BOTH, ("mlp", "cnn"), smallest=2),
)
# fmt: on
