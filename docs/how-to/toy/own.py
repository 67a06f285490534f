"""Where the toy's own API differs from what a spec asks, told without the framework."""

from __future__ import annotations

from suite.spec.differences import Difference
from suite.spec.resolved import Spec


def own(spec: Spec) -> tuple[Difference, ...]:  # noqa: ARG001 - it has no API of its own
    """Nowhere: the toy has nothing but what it is asked for."""
    return ()
