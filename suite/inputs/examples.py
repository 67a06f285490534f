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
from suite.spec.recipe import Augmentation
from suite.spec.resolved import Spec
from suite.spec.targets import Target
from suite.spec.tasks.task import Source

WIDE = 1000
"""Outputs above which not all examples are judged: 80,000 rows of 4,096 would take 1.3 GB in float32 alone."""
JUDGED = 20_000
"""Examples of each split that are judged where outputs are wide: the standard error of a share is 0.4 points."""
PART = 1 << 22
"""Outputs that are judged at once: in float64 they take 32 MB."""
KEPT = 2
"""Examples that are kept, of as many specs and seeds."""
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
        if spec.trained_classes is not None:
            usable = np.flatnonzero(np.isin(arrays.train_labels, spec.trained_classes))
        train, held_out = initial.split(spec)
        self._rows = {"train": usable[train], "validation": usable[held_out], "test": np.arange(spec.data.test)}
        if not spec.validation_images:
            del self._rows["validation"]
        if self._width > WIDE:
            self._rows |= {name: _some(rows, name) for name, rows in self._rows.items() if name != "train"}
            self._rows[SAMPLE] = _some(self._rows["train"], "train")
        self._prepared = spec.task.prepared(arrays.train_labels, arrays.facts)

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
        return self._spec.augmentation is not None or self._spec.task.renewed

    @property
    def drawn(self) -> bool:
        """Whether random streams make the training examples of the data set's: augmentation, drawn words, canvases."""
        return self.renewed or self._spec.task.drawn

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
        spec, seed = self._spec, self._seed
        rows = self._rows[name][part]
        pixels, labels = self._source(name)
        mine, classes = pixels[rows], np.asarray(labels[rows])
        if spec.augmentation and epoch is not None:
            mine = augmented(mine, spec.augmentation, initial.stream(seed, "augment", epoch))
        place = "test" if name == "test" else "train"
        source = Source(
            mine, classes, rows, pixels.shape, part, self.labels(name),
            once=lambda what: initial.stream(0, what, place),
            random=lambda what: initial.stream(0, what, name) if epoch is None else initial.stream(seed, what, epoch),
            prepared=self._prepared,
        )  # fmt: skip
        made = spec.task.made(source)
        inputs: Array = made.inputs if spec.input_dtype == "tokens" else initial.images(spec, made.inputs)
        return Split(inputs, initial.targets(spec, classes, inputs, made.boxes), classes)


def _some(rows: NDArray[np.int64], name: str) -> NDArray[np.int64]:
    """The first ``JUDGED`` of shuffled rows, in their order; all where there are no more."""
    return np.sort(initial.stream(0, "judged", name).permutation(rows)[:JUDGED])


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


_kept: dict[tuple[str, int], Examples] = {}


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


def of(spec: Spec, seed: int) -> Examples:
    """The examples of a spec, made once where several cells want them."""
    key = spec.digest, seed
    held = _kept.pop(key, None) or Examples(spec, seed, _arrays(spec.dataset))
    while len(_kept) >= KEPT:
        del _kept[next(iter(_kept))]
    _kept[key] = held  # the last used is last
    return held
