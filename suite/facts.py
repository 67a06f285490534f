"""What a spec must know of its data set, without a look at the arrays."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from suite.layers import Frozen, MisfitError


class DatasetFacts(Frozen):
    """What a spec must know of its data: ``image_shape`` is (height, width, channels), values are 0..``max_value``.

    Of text it is (tokens,): the words around each word, which is the class.  ``digest`` is ``sha256:...`` over the
    decoded arrays; ``train`` and ``test`` count images; ``train_counts`` counts the training images of each class, and
    is null where there are too many classes.
    """

    name: str
    image_shape: Annotated[tuple[PositiveInt, ...], Field(min_length=1, max_length=3)]
    classes: PositiveInt
    train: PositiveInt
    test: PositiveInt
    max_value: PositiveInt
    digest: str
    train_counts: tuple[NonNegativeInt, ...] | None = None

    @model_validator(mode="after")
    def _is_image_or_text(self) -> DatasetFacts:
        if len(self.image_shape) == 2:
            raise MisfitError("must be (height, width, channels), or (tokens,)", "image_shape")
        return self

    @property
    def tokens(self) -> bool:
        """Whether it holds words, not images."""
        return len(self.image_shape) == 1
