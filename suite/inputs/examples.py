"""The examples that a task makes of its data set: by the core, from named random streams, the same for everyone.

Pixels are kept as bytes, and floats are made when they are asked for.  Whatever is drawn is drawn outside timed
regions: once for good (an object's place on its canvas, the words that a validation or test example is judged against),
or anew in each epoch of training (augmentation, drawn words).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from suite.data import datasets
from suite.data.content import Arrays
from suite.errors import DataError
from suite.inputs import initial
from suite.runners.base import Array
from suite.spec import paths
from suite.spec.recipe import Target
from suite.spec.resolved import Spec
from suite.spec.tasks import WIDEST_WINDOW, Anomaly, Augmentation, Detection, WordEmbedding

WIDE = 1000
"""Outputs above which not all examples are judged: 80,000 rows of 4,096 would take 1.3 GB in float32 alone."""
JUDGED = 20_000
"""Examples of each split that are judged where outputs are wide: the standard error of a share is 0.4 points."""
PART = 1 << 22
"""Outputs that are judged at once: in float64 they take 32 MB."""
COUNT_POWER = 0.75
"""What counts of words are raised to before words are drawn by them (Mikolov et al. 2013, negative sampling)."""
SAMPLE = "sample"
"""The split that stands for ``train`` where outputs are wide."""


@dataclass(frozen=True)
class Split:
    """Examples as a program takes them, (n, h, w, c) in float32 or words (n, t) in int32; targets, and classes (n,)."""

    images: Array
    targets: Array
    labels: Array


class Examples:
    """All examples of a spec under one seed.

    Raises DataError where the data are not those that the spec was made for, or allow no such task.
    """

    def __init__(self, spec: Spec, seed: int, arrays: Arrays) -> None:
        if arrays.facts.digest != spec.data.digest:
            found, planned = (facts.digest.removeprefix("sha256:")[:12] for facts in (arrays.facts, spec.data))
            raise DataError(
                f"{paths.label(spec.dataset)} is not the data set that the run was planned with: "
                f"its digest is {found}, the plan's is {planned}",
                where=str(paths.file_of(spec.dataset) or ""),
                way_out="Put back what was there, or run again, which plans anew.",
            )
        self._spec, self._seed, self._arrays = spec, seed, arrays
        usable = np.arange(spec.data.train)
        if isinstance(spec.task, Anomaly):
            usable = np.flatnonzero(np.isin(arrays.train_labels, spec.normal_classes))
        train, held_out = initial.split(spec)
        self._rows = {"train": usable[train], "validation": usable[held_out], "test": np.arange(spec.data.test)}
        if not spec.validation_images:
            del self._rows["validation"]
        if self._width > WIDE:
            self._rows |= {name: _some(rows, name) for name, rows in self._rows.items() if name != "train"}
            self._rows[SAMPLE] = _some(self._rows["train"], "train")
        self._weights = _word_weights(arrays) if _negatives(spec) else None

    @property
    def _width(self) -> int:
        return math.prod(self._spec.graph[-1].output)

    @property
    def words(self) -> tuple[str, ...]:
        """The vocabulary of a text."""
        return self._arrays.words

    @property
    def names(self) -> tuple[str, ...]:
        """The splits there are: train, validation if the spec has one, test; and where outputs are wide ``SAMPLE``."""
        return tuple(self._rows)

    @property
    def renewed(self) -> bool:
        """Whether each epoch trains on examples of its own."""
        return self._spec.augmentation is not None or self._weights is not None

    @property
    def drawn(self) -> bool:
        """Whether random streams make the training examples of the data set's: augmentation, drawn words, canvases."""
        return self.renewed or isinstance(self._spec.task, Detection)

    @property
    def learnt(self) -> str:
        """The split that tells how well the training examples were learnt."""
        return SAMPLE if SAMPLE in self._rows else "train"

    def count(self, name: str) -> int:
        """Examples of a split."""
        return len(self._rows[name])

    def judged(self, name: str) -> int | None:
        """How many examples stand for a split that is not judged whole; None where it is."""
        whole = {
            SAMPLE: self._spec.train_images,
            "validation": self._spec.validation_images,
            "test": self._spec.data.test,
        }
        return self.count(name) if name in whole and self.count(name) < whole[name] else None

    def labels(self, name: str) -> NDArray[np.int64]:
        """The classes (n,) of a split."""
        found: NDArray[np.int64] = self._source(name)[1][self._rows[name]]
        return found

    def split(self, name: str, epoch: int | None = None) -> Split:
        """A whole split; of ``train`` as epoch ``epoch`` (from 0) has it, or as it is judged."""
        return self._made(name, slice(None), epoch)

    def some(self, name: str, count: int) -> Split:
        """The first ``count`` examples of a split, as it is judged."""
        return self._made(name, slice(count), None)

    def parts(self, name: str) -> Iterator[tuple[slice, Array, Array]]:
        """Targets and classes of a split as it is judged, in parts of few enough outputs, each with its place."""
        size = max(1, PART // self._width)
        for start in range(0, self.count(name), size):
            part = slice(start, start + size)
            classes = self.labels(name)[part]
            if self._spec.target in (Target.INPUT, Target.BOXES):
                yield part, self._made(name, part, None).targets, classes
            else:  # they are told without the images
                yield part, initial.targets(self._spec, classes, np.empty((len(classes), 0), np.float32)), classes

    def _source(self, name: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
        held = self._arrays
        return (held.test_images, held.test_labels) if name == "test" else (held.train_images, held.train_labels)

    def _made(self, name: str, part: slice, epoch: int | None) -> Split:
        rows = self._rows[name][part]
        pixels, labels = self._source(name)
        mine, classes = pixels[rows], np.asarray(labels[rows])
        boxes = None
        match self._spec.task:
            case WordEmbedding(window=window):
                inputs: Array = mine[:, WIDEST_WINDOW - window : WIDEST_WINDOW + window].astype(np.int32)
                if self._weights is not None:
                    drawn = self._drawn(name, epoch)[part]
                    inputs = np.column_stack([inputs, classes.astype(np.int32), drawn])
            case Detection(canvas=canvas):
                places = self._places("test" if name == "test" else "train", canvas)[rows]
                boxes = bounds(mine, places, canvas)
                inputs = initial.images(self._spec, placed(mine, places, canvas))
            case _ if self._spec.input_dtype == "tokens":
                inputs = mine.astype(np.int32)
            case _:
                if self._spec.augmentation and epoch is not None:
                    random = initial.stream(self._seed, "augment", epoch)
                    mine = augmented(mine, self._spec.augmentation, random)
                inputs = initial.images(self._spec, mine)
        return Split(inputs, initial.targets(self._spec, classes, inputs, boxes), classes)

    def _drawn(self, name: str, epoch: int | None) -> NDArray[np.int32]:
        """The drawn words of a split (n, k): in training another set in each epoch and for each seed."""
        stream = (self._seed, "negatives", epoch) if epoch is not None else (0, "negatives", name)
        assert self._weights is not None
        return drawn_words(self.labels(name), _negatives(self._spec), self._weights, initial.stream(*stream))

    def _places(self, source: str, canvas: int) -> NDArray[np.int64]:
        """Top and left (n, 2) of every image of the data set on its canvas."""
        pixels = self._source(source)[0]
        room = np.array([canvas - pixels.shape[1] + 1, canvas - pixels.shape[2] + 1])
        return initial.stream(0, "canvas", source).integers(0, room, (len(pixels), 2))


def _some(rows: NDArray[np.int64], name: str) -> NDArray[np.int64]:
    """The first ``JUDGED`` of shuffled rows, in their order; all where there are no more."""
    return np.sort(initial.stream(0, "judged", name).permutation(rows)[:JUDGED])


def _negatives(spec: Spec) -> int:
    return spec.task.negatives if isinstance(spec.task, WordEmbedding) else 0


def _word_weights(arrays: Arrays) -> NDArray[np.int64]:
    """How often each word is drawn, by its count among the training words; whole numbers, the same everywhere."""
    counts = np.bincount(arrays.train_labels, minlength=arrays.facts.classes)
    if np.count_nonzero(counts) < 2:
        raise DataError(f"{arrays.facts.name} has no other word to draw")
    weights: NDArray[np.int64] = np.rint(1024 * counts.astype(np.float64) ** COUNT_POWER).astype(np.int64)
    return weights


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


def placed(pixels: Array, places: NDArray[np.int64], canvas: int) -> NDArray[np.uint8]:
    """Images (n, h, w, c) on black squares (n, canvas, canvas, c), top and left as ``places`` (n, 2) say."""
    count, height, width, channels = pixels.shape
    found = np.zeros((count, canvas, canvas, channels), pixels.dtype)
    rows = places[:, 0, None, None] + np.arange(height)[:, None]
    columns = places[:, 1, None, None] + np.arange(width)
    found[np.arange(count)[:, None, None], rows, columns] = pixels
    return found


def bounds(pixels: Array, places: NDArray[np.int64], canvas: int) -> NDArray[np.float64]:
    """Boxes (n, 4) around the pixels above 0: x, y, width, height as fractions of the canvas.

    An image that is all black has an empty box, where it lies.
    """
    bright = pixels.max(axis=3) > 0
    corners = []
    for axis, place in ((1, places[:, 1]), (2, places[:, 0])):
        there = bright.any(axis=axis)  # over rows for columns, over columns for rows
        first = there.argmax(axis=1)
        last = there.shape[1] - there[:, ::-1].argmax(axis=1)
        extent = np.where(there.any(axis=1), last - first, 0)
        corners.append((place + first, extent))
    (x, width), (y, height) = corners
    return np.column_stack([x, y, width, height]) / canvas


def augmented(pixels: Array, how: Augmentation, random: np.random.Generator) -> NDArray[np.uint8]:
    """Images (n, h, w, c), each padded by ``crop`` black pixels, cropped to its size at random, mirrored at random."""
    count, height, width = pixels.shape[:3]
    found = pixels
    if how.crop:
        places = random.integers(0, 2 * how.crop + 1, (count, 2))
        padded = np.pad(pixels, ((0, 0), (how.crop, how.crop), (how.crop, how.crop), (0, 0)))
        found = np.empty_like(pixels)
        for top, left in np.unique(places, axis=0):
            mine = (places == (top, left)).all(axis=1)
            found[mine] = padded[mine, top : top + height, left : left + width]
    if how.flip:
        turned = random.integers(0, 2, count).astype(bool)
        found = np.where(turned[:, None, None, None], found[:, :, ::-1], found)
    return found


@lru_cache(maxsize=2)
def _arrays(dataset: str) -> Arrays:
    """A data set; the user's own file was whole when the run was planned."""
    try:
        return datasets.load(dataset)
    except DataError as error:
        if not paths.is_own(dataset):
            raise
        what = f"{error.what}, though it could be read when the run was planned"
        way_out = "Put back what was there, or run again, which plans anew."
        raise DataError(what, where=error.where, way_out=way_out) from error


@lru_cache(maxsize=2)
def of(spec_json: str, seed: int) -> Examples:
    """The examples of a resolved spec, made once where several cells want them."""
    spec = Spec.model_validate_json(spec_json)
    return Examples(spec, seed, _arrays(spec.dataset))
