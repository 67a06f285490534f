"""What a spec must know of its data set, without a look at the arrays."""

from __future__ import annotations

from pydantic import NonNegativeInt, PositiveInt

from suite.layers import Frozen


class DatasetFacts(Frozen):
    """What a spec must know of its data: ``image_shape`` is (height, width, channels), values are 0..``max_value``.

    Of text it is (tokens,): the words around each word, which is the class.  ``digest`` is ``sha256:...`` over the
    decoded arrays; ``train`` and ``test`` count images; ``train_counts`` counts the training images of each class, and
    is null where there are too many classes.
    """

    name: str
    image_shape: tuple[PositiveInt, PositiveInt, PositiveInt] | tuple[PositiveInt]
    classes: PositiveInt
    train: PositiveInt
    test: PositiveInt
    max_value: PositiveInt
    digest: str
    train_counts: tuple[NonNegativeInt, ...] | None = None

    @property
    def tokens(self) -> bool:
        """Whether it holds words, not images."""
        return len(self.image_shape) == 1
