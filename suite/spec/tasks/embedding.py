"""A word from its context: what the trained word vectors know."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt

from suite.errors import DataError
from suite.spec.dataset import DatasetFacts
from suite.spec.targets import Target
from suite.spec.tasks.shown import Block, Points, Sentence, Table, seeds
from suite.spec.tasks.task import Array, Floats, Judged, Made, Source, Task, TaskMetrics
from suite.spec.tensors import Frozen, Role, Shape

WIDEST_WINDOW = 4
"""Words on either side that a token data set keeps of every example."""
COUNT_POWER = 0.75
"""What counts of words are raised to before words are drawn by them (Mikolov et al. 2013, negative sampling)."""
NEAREST, SHOWN = 8, 6
"""Neighbours of a word that are recorded, and that a report shows."""
Word = Annotated[str, Field(max_length=40)]
Named = Annotated[str, Field(min_length=1, max_length=40)]


class Near(Frozen):
    """A word and the cosine between its vector and another's."""

    word: Word
    cosine: Annotated[float, Field(ge=-1.001, le=1.001)]


class Neighbours(Frozen):
    """The words nearest to ``word``, nearest first; empty where it is not in the vocabulary."""

    word: Word
    near: Annotated[tuple[Near, ...], Field(max_length=50)]


class Analogy(Frozen):
    """``a`` is to ``b`` as ``c`` is to ``d``: the rank of d (from 1) and what came first; null if a word is unknown."""

    a: Word
    b: Word
    c: Word
    d: Word
    rank: Annotated[int, Field(ge=1)] | None
    first: Word | None


class EmbeddingMetrics(TaskMetrics):
    """What the trained word vectors know."""

    kind: Literal["embedding"] = "embedding"
    neighbours: Annotated[tuple[Neighbours, ...], Field(max_length=100)]
    analogies: Annotated[tuple[Analogy, ...], Field(max_length=1000)]

    @property
    def tells_nothing(self) -> bool:
        """Whether the vectors were no numbers, or nothing was asked of them."""
        return not self.neighbours and not self.analogies

    @classmethod
    def shown(cls, found: Mapping[str, Mapping[int, Any]], called: Callable[[int], str], large: bool) -> list[Block]:
        """Nearest words under one seed, and analogies over all."""
        if not found:
            return []
        shared = set.intersection(*(set(s) for s in found.values()))
        firsts = {who: s[min(shared)] if shared else s[min(s)] for who, s in found.items()}
        which = f"seed {min(shared)}" if shared else "each framework's first seed"
        return [*_nearest(firsts, which), *_analogies(found)]


class WordEmbedding(Task):
    """A word from its context: continuous bag of words (Mikolov et al. 2013, Efficient Estimation).

    ``window`` words on either side are the context.  Without ``negatives`` the outputs are the logits of the whole
    vocabulary; with them, each epoch draws that many other words for each example, by their counts to the power 0.75,
    and the true word comes first.  ``neighbours`` are words whose nearest ones are told; an analogy (a, b, c, d) asks
    whether b - a + c is nearest to d.
    """

    kind: Literal["embedding"]
    window: Annotated[int, Field(ge=1, le=WIDEST_WINDOW)]
    negatives: NonNegativeInt = 0
    neighbours: tuple[Named, ...] = ()
    analogies: tuple[tuple[Named, Named, Named, Named], ...] = ()
    metrics_kind: ClassVar[type[TaskMetrics] | None] = EmbeddingMetrics
    takes_images: ClassVar[bool] = False
    takes_words: ClassVar[bool] = True

    @property
    def targets(self) -> tuple[Target, ...]:
        """The word, or, with drawn words, the first of the outputs."""
        return (Target.FIRST if self.negatives else Target.LABELS,)

    @property
    def renewed(self) -> bool:
        """Whether words are drawn."""
        return self.negatives > 0

    def input_shape(self, data: DatasetFacts) -> Shape:
        """The words of the context; with drawn ones, the true word and those behind it."""
        return (2 * self.window + (1 + self.negatives if self.negatives else 0),)

    def outputs(self, data: DatasetFacts) -> int:
        """The vocabulary; with drawn words, the true one and those."""
        return 1 + self.negatives if self.negatives else data.classes

    def prepared(self, classes: NDArray[np.int64], data: DatasetFacts) -> NDArray[np.int64] | None:
        """How often each word is drawn, by its count among the training words; whole numbers, the same everywhere."""
        if not self.negatives:
            return None
        counts = np.bincount(classes, minlength=data.classes)
        if np.count_nonzero(counts) < 2:
            raise DataError(f"{data.name} has no other word to draw")
        weights: NDArray[np.int64] = np.rint(1024 * counts.astype(np.float64) ** COUNT_POWER).astype(np.int64)
        return weights

    def made(self, source: Source) -> Made:
        """The words of the context; behind them the true one and those drawn, another set in each epoch and seed."""
        inputs: Array = source.pixels[:, WIDEST_WINDOW - self.window : WIDEST_WINDOW + self.window].astype(np.int32)
        if self.negatives:
            drawn = drawn_words(source.split, self.negatives, source.prepared, source.random("negatives"))
            inputs = np.column_stack([inputs, source.classes.astype(np.int32), drawn[source.part]])
        return Made(inputs)

    def metrics(self, judged: Judged) -> EmbeddingMetrics:
        """What the trained vectors know."""
        (name,) = (n for n, tensor in judged.tensors.items() if tensor.role is Role.EMBEDDING)
        return embedded(self, judged.weights[name], judged.words)


def drawn_words(
    words: NDArray[np.int64], count: int, weights: NDArray[np.int64], random: np.random.Generator
) -> NDArray[np.int32]:
    """For each of ``words`` (n,) other ones (n, count), drawn in proportion to their ``weights`` (vocabulary,).

    The word itself is cut out of the line on which a number is drawn, so nothing is ever drawn twice.
    """
    ends = np.cumsum(weights)
    own = weights[words][:, None]
    drawn = random.integers(0, ends[-1] - own, (len(words), count))
    drawn += np.where(drawn >= (ends[words][:, None] - own), own, 0)
    return np.searchsorted(ends, drawn, side="right").astype(np.int32)


def embedded(task: WordEmbedding, vectors: Array, words: Sequence[str]) -> EmbeddingMetrics:
    """Nearest neighbours and analogies among ``vectors`` (words, width), by cosine; word 0 stands for no word."""
    rows = vectors.astype(np.float64)[: len(words)]
    if not np.isfinite(rows).all():  # asked first: the length of such a row is not above 0 either
        return EmbeddingMetrics(neighbours=(), analogies=())
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    units = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    place = {word: i for i, word in enumerate(words) if i}
    return EmbeddingMetrics(
        neighbours=tuple(_neighbours(word, place, units, words) for word in task.neighbours),
        analogies=tuple(_analogy(question, place, units, words) for question in task.analogies),
    )


def _neighbours(word: str, place: dict[str, int], units: Floats, words: Sequence[str]) -> Neighbours:
    if word not in place:
        return Neighbours(word=word, near=())
    cosines = units @ units[place[word]]
    order = [int(i) for i in np.argsort(-cosines, kind="stable") if i not in (0, place[word])][:NEAREST]
    return Neighbours(word=word, near=tuple(Near(word=words[i], cosine=float(cosines[i])) for i in order))


def _analogy(
    question: tuple[str, str, str, str], place: dict[str, int], units: Floats, words: Sequence[str]
) -> Analogy:
    """3CosAdd (Mikolov et al. 2013): the word nearest to ``b - a + c``, the question's own words left out."""
    a, b, c, d = question
    if not all(word in place for word in question):
        return Analogy(a=a, b=b, c=c, d=d, rank=None, first=None)
    cosines = units @ (units[place[b]] - units[place[a]] + units[place[c]])
    cosines[[0, place[a], place[b], place[c]]] = -np.inf
    order = np.argsort(-cosines, kind="stable")
    rank = int(np.flatnonzero(order == place[d])[0]) + 1
    return Analogy(a=a, b=b, c=c, d=d, rank=rank, first=words[int(order[0])])


def _nearest(firsts: Mapping[str, EmbeddingMetrics], which: str) -> list[Block]:
    words = list(dict.fromkeys(n.word for m in firsts.values() for n in m.neighbours))
    if not words:
        return []
    rows = []
    for word in words:
        near = [next((n for n in m.neighbours if n.word == word), None) for m in firsts.values()]
        rows.append((word, *map(_near, near)))
    return [Sentence("Nearest words", f", with the cosine, after {which}."), Table(("word", *firsts), rows)]


def _near(found: Neighbours | None) -> str:
    if found is None or not found.near:
        return "not in the vocabulary"
    return ", ".join(f"{near.word} {near.cosine:.2f}" for near in found.near[:SHOWN])


def _analogies(found: Mapping[str, Mapping[int, EmbeddingMetrics]]) -> list[Block]:
    every = [q for s in found.values() for m in s.values() for q in m.analogies]
    asked = dict.fromkeys((q.a, q.b, q.c, q.d) for q in every)
    if not asked:
        return []
    rows = []
    for question in asked:
        a, b, c, d = question
        answers = [
            _answer([q for m in s.values() for q in m.analogies if (q.a, q.b, q.c, q.d) == question])
            for s in found.values()
        ]
        rows.append((f"{a} : {b} = {c} : {d}", *answers))
    heads = ("analogy", *(f"{who}, {seeds(len(s))}" for who, s in found.items()))
    lines = []
    for who, s in found.items():
        ranks = [q.rank for m in s.values() for q in m.analogies if q.rank is not None]
        lines.append(f"{who}: the right word comes first in {ranks.count(1)} of {len(ranks)} answers")
    told = ": the right word's median rank over seeds, and what came first under the first seed."
    return [Sentence("Analogies", told), Table(heads, rows), Points(tuple(lines))]


def _answer(found: Sequence[Analogy]) -> str:
    ranks = [q.rank for q in found if q.rank is not None]
    if not ranks:
        return "a word is not in the vocabulary"
    spread = f" ({min(ranks):,} to {max(ranks):,})" if min(ranks) < max(ranks) else ""
    return f"{median(ranks):,g}{spread}; {found[0].first or '—'}"
