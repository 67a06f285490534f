"""The image itself, as an autoencoder gives it back."""

from __future__ import annotations

from typing import ClassVar, Literal

from suite.spec.targets import Target
from suite.spec.tasks.task import Task


class Reconstruction(Task):
    """The image itself, as an autoencoder gives it back: the mean squared error."""

    kind: Literal["reconstruction"]
    default_for: ClassVar[frozenset[Target]] = frozenset({Target.INPUT})

    @property
    def targets(self) -> tuple[Target, ...]:
        """The input itself."""
        return (Target.INPUT,)
