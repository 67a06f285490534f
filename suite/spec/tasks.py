"""What a benchmark's outputs are for: which examples are made of its data set, and what its outputs are judged by.

Whatever is drawn here is drawn by the core from the shared random streams, once for all frameworks.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from suite.spec.tensors import Frozen, MisfitError

WIDEST_WINDOW = 4
"""Words on either side that a token data set keeps of every example."""
Word = Annotated[str, Field(min_length=1, max_length=40)]
LONGEST_CLASS = 64
"""Letters of a class's name."""


def _class_name(value: object) -> object:
    if type(value) is int or (isinstance(value, str) and 0 < len(value) <= LONGEST_CLASS):
        return value
    raise MisfitError(
        f"must be a class as the labels have it: a whole number, or a text of at most {LONGEST_CLASS} letters"
    )


ClassName = Annotated[int | str, BeforeValidator(_class_name)]
"""A class as the data have it: a number, or a text where labels are texts."""


class Classification(Frozen):
    """An image's class: accuracy, confusion matrix, precision and recall of each class."""

    kind: Literal["classification"]


class Reconstruction(Frozen):
    """The image itself, as an autoencoder gives it back: the mean squared error."""

    kind: Literal["reconstruction"]


class Anomaly(Frozen):
    """Images of other classes than the ``normal`` ones, told by how badly they are reconstructed.

    Trained, and validated, on normal images alone.  An image is called anomalous if its mean squared error lies above
    the ``quantile`` of the training images' own errors.  Classes are named as the data have them: by number, or by text
    where labels are texts.
    """

    kind: Literal["anomaly"]
    normal: Annotated[tuple[ClassName, ...], Field(min_length=1)]
    quantile: Annotated[float, Field(gt=0, lt=1)] = 0.95


class WordEmbedding(Frozen):
    """A word from its context: continuous bag of words (Mikolov et al. 2013, Efficient Estimation).

    ``window`` words on either side are the context.  Without ``negatives`` the outputs are the logits of the whole
    vocabulary; with them, each epoch draws that many other words for each example, by their counts to the power 0.75,
    and the true word comes first.  ``neighbours`` are words whose nearest ones are told; an analogy (a, b, c, d) asks
    whether b - a + c is nearest to d.
    """

    kind: Literal["embedding"]
    window: Annotated[int, Field(ge=1, le=WIDEST_WINDOW)]
    negatives: NonNegativeInt = 0
    neighbours: tuple[Word, ...] = ()
    analogies: tuple[tuple[Word, Word, Word, Word], ...] = ()


class Detection(Frozen):
    """One object to an image: its class, and the box (x, y, width, height) around it as fractions of the canvas.

    Each image of the data set is placed on a black square of ``canvas`` pixels; the box is that of its pixels above 0.
    ``box_weight`` is what the loss multiplies the boxes' mean squared error by.
    """

    kind: Literal["detection"]
    canvas: PositiveInt
    box_weight: PositiveFloat = 1.0


Task = Annotated[
    Classification | Reconstruction | Anomaly | WordEmbedding | Detection,
    Field(discriminator="kind"),
]


class Augmentation(Frozen):
    """New training images in each epoch: padded by ``crop`` black pixels and cropped at random, mirrored at random.

    The core makes them outside the timed region, so that every framework trains on the very same pixels.
    """

    crop: NonNegativeInt = 0
    flip: bool = False

    @model_validator(mode="after")
    def _does_something(self) -> Augmentation:
        if not self.crop and not self.flip:
            raise MisfitError("changes nothing", way_out="State crop or flip, or drop it.")
        return self


class Schedule(Frozen):
    """Steps of the learning rate: it is multiplied by ``factor`` before each of the epochs ``at``, counted from 0."""

    at: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    factor: Annotated[float, Field(gt=0, lt=1)]

    @model_validator(mode="after")
    def _rises(self) -> Schedule:
        if any(later <= earlier for earlier, later in zip(self.at, self.at[1:], strict=False)):
            raise MisfitError("must rise", "at")
        return self
