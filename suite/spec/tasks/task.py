"""What every task has: which examples it makes of a data set, and how outputs become metrics and tables.

A task is a file in this folder, named as its ``kind``.  It holds one subclass of ``Task``, and, where outputs are
judged by more than loss and accuracy, one of ``TaskMetrics``.  Nothing else in the suite names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from suite.spec.dataset import DatasetFacts
from suite.spec.targets import Target
from suite.spec.tasks.shown import Block
from suite.spec.tensors import Frozen, Shape, Tensor

Array = NDArray[Any]
Floats = NDArray[np.float64]
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class Source:
    """Examples of a data set from which a task makes its own.

    ``pixels`` are uint8 images (n, h, w, c), or words (n, tokens); ``classes`` (n,) are their classes.  They are the
    ``rows`` of the data set's own training or test images, whose shape is ``whole``, and ``part`` of a split of the
    spec's, whose classes are ``split`` (m,).  What is drawn is drawn for the split: a part is a part of that.  ``once``
    gives the random stream of a name, the same for every run; ``random`` that of a name for this seed and epoch, or,
    where examples are judged, for this split.  ``prepared`` is what ``Task.prepared`` returned.
    """

    pixels: Array
    classes: NDArray[np.int64]
    rows: NDArray[np.int64]
    whole: Shape
    part: slice
    split: NDArray[np.int64]
    once: Callable[[str], np.random.Generator]
    random: Callable[[str], np.random.Generator]
    prepared: Any


@dataclass(frozen=True)
class Made:
    """What a program is given: uint8 images (n, h, w, c) or int32 words (n, tokens); and boxes (n, 4), if any."""

    inputs: Array
    boxes: Floats | None = None


@dataclass(frozen=True)
class Judged:
    """A trained model's outputs (n, ...) over the test split, and what they are judged by.

    ``parts`` gives outputs and targets in parts; ``classes`` (n,) are the true ones.  ``tensors`` and ``weights`` are
    the model's, by canonical name, and ``words`` is the vocabulary of a text.  ``learnt`` is what ``Task.learnt``
    returned.
    """

    outputs: Array
    parts: Callable[[], Iterator[tuple[Array, Array]]]
    classes: NDArray[np.int64]
    data: DatasetFacts
    tensors: Mapping[str, Tensor]
    weights: Mapping[str, Array]
    words: Sequence[str]
    learnt: Any


class TaskMetrics(Frozen):
    """What a trained model is judged by beyond loss and accuracy: a record for each kind of task.

    Every figure is over the test split, and null where it has no value: no prediction of a class, no anomaly.
    """

    kind: str

    @property
    def tells_nothing(self) -> bool:
        """Whether outputs, or weights, were no numbers that could be judged."""
        return False

    def histogram(self) -> Histogram | None:
        """What a chart shows of it, if anything."""
        return None

    @classmethod
    def shown(cls, found: Mapping[str, Mapping[int, Any]], called: Callable[[int], str], large: bool) -> list[Block]:
        """What a report shows of them: ``found`` has, by a framework's name, the metrics of each seed.

        ``called`` names a class.  In ``large`` reports, over many benchmarks, long tables are left out.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Histogram:
    """Counts between ``edges`` of two kinds of examples, by their names, and a ``mark`` on the axis, if any."""

    title: str
    axis: str
    edges: tuple[float, ...]
    counts: Mapping[str, tuple[int, ...]]
    mark: tuple[str, float] | None


class Task(Frozen):
    """What outputs are for."""

    kind: str
    metrics_kind: ClassVar[type[TaskMetrics] | None] = None
    default_for: ClassVar[frozenset[Target]] = frozenset()
    """The targets whose task it is where a spec states none."""
    takes_images: ClassVar[bool] = True
    takes_words: ClassVar[bool] = False
    tells_classes: ClassVar[bool] = False
    """Whether a class that no training image shows is a loss."""
    augmentable: ClassVar[bool] = False
    drawn: ClassVar[bool] = False
    """Whether random streams make examples of the data set's."""

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets that go with it."""
        raise NotImplementedError

    @property
    def renewed(self) -> bool:
        """Whether each epoch trains on examples of its own."""
        return False

    @property
    def weight_of_boxes(self) -> float:
        """What the loss multiplies the error of boxes by; 1 where there are none."""
        return 1.0

    @property
    def of_any_data(self) -> Task:
        """The task under which the gate trains on examples of any class."""
        return self

    def suits(self, data: DatasetFacts, dataset: str) -> None:
        """Raises MisfitError where the task cannot be made of data, called ``dataset`` in the spec."""

    def input_shape(self, data: DatasetFacts) -> Shape:
        """What the model is given, without the batch: an image (h, w, c), or words (tokens,)."""
        return data.image_shape

    def outputs(self, data: DatasetFacts) -> int:
        """How many outputs an example has, under targets that are not the input itself."""
        return data.classes

    def trained_classes(self, data: DatasetFacts) -> tuple[int, ...] | None:
        """The numbers of the classes trained on; None where it is all of them."""
        return None

    def prepared(self, classes: NDArray[np.int64], data: DatasetFacts) -> Any:
        """What is made once of the classes (n,) of the training images, for ``made``.  Raises DataError."""
        return None

    def made(self, source: Source) -> Made:
        """Examples as the model is given them."""
        return Made(source.pixels.astype(np.int32) if source.pixels.ndim == 2 else source.pixels)

    def learnt(self, parts: Iterator[tuple[Array, Array]]) -> Any:
        """What is kept of the outputs over the training examples, given in parts with their targets."""
        return None

    def metrics(self, judged: Judged) -> TaskMetrics | None:
        """What the outputs over the test split are judged by; None where there is nothing beyond loss and accuracy."""
        return None
