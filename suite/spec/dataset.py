"""What a spec must know of its data set, without a look at the arrays."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from suite.spec.tensors import Frozen, MisfitError


class DatasetFacts(Frozen):
    """What a spec must know of its data: ``image_shape`` is (height, width, channels), values are 0..``max_value``.

    Of text it is (tokens,): the words around each word, which is the class.  ``digest`` is ``sha256:...`` over the
    decoded arrays; ``train`` and ``test`` count images; ``train_counts`` counts the training images of each class, and
    is null where there are too many classes; ``test_counts`` is the like, and null where it is not known.

    Of a user's own labels that are not 0 to n - 1, ``labels_are`` says what they are, and ``class_names`` what each of
    the classes that they are mapped to was called; both are null where there is nothing to map.
    """

    name: str
    image_shape: Annotated[tuple[PositiveInt, ...], Field(min_length=1, max_length=3)]
    classes: PositiveInt
    train: PositiveInt
    test: PositiveInt
    max_value: PositiveInt
    digest: str
    train_counts: tuple[NonNegativeInt, ...] | None = None
    test_counts: tuple[NonNegativeInt, ...] | None = None
    labels_are: Annotated[str, Field(max_length=200)] | None = None
    class_names: Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=1000)] | None = None

    @model_validator(mode="after")
    def _is_image_or_text(self) -> DatasetFacts:
        if len(self.image_shape) == 2:
            raise MisfitError("must be (height, width, channels), or (tokens,)", "image_shape")
        return self

    def called(self, number: int) -> str:
        """The name of a class; its number where the data give it none."""
        names = self.class_names or ()
        return names[number] if number < len(names) else str(number)

    @property
    def unseen(self) -> tuple[int, ...]:
        """The classes that occur in the test alone, as far as that is known."""
        pairs = enumerate(zip(self.train_counts or (), self.test_counts or (), strict=False))
        return tuple(number for number, (train, test) in pairs if test and not train)

    @property
    def tokens(self) -> bool:
        """Whether it holds words, not images."""
        return len(self.image_shape) == 1
