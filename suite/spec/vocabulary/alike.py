"""Words that the suite has and others have too, in another meaning: taken as they are here, and told to the reader."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_NORMAL = (
    "{} is a whole normal distribution, as PyTorch's; Keras' and JAX's of that name are cut off at two standard "
    "deviations, at the same variance."
)
INITIALISERS_ALIKE: Mapping[str, str] = MappingProxyType(
    {name: _NORMAL.format(name) for name in ("glorot_normal", "he_normal", "lecun_normal")}
)
SMALL_MOMENTUM = 0.5
"""Below it a batch norm's momentum is likely meant as PyTorch's."""
NORM_ALIKE = (
    "momentum {momentum:g} of {name} is the share of the old value that is kept, as in Keras; in PyTorch that is "
    "{other:g}, the share of the new one."
)
EMBEDDING_ALIKE = "{name} gives the mean of its tokens' rows; PyTorch's and Keras' Embedding give a row for each token."
