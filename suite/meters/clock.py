"""The clock: one way to time a call, with nothing of the suite's own inside the timed region."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter_ns
from typing import Any


def timed(call: Callable[..., Any], *arguments: Any) -> tuple[int, Any]:
    """Nanoseconds that ``call(*arguments)`` took, and what it returned.

    The call ends behind the runner's own barrier, so asynchronous work is inside.
    """
    start = perf_counter_ns()
    value = call(*arguments)
    return perf_counter_ns() - start, value


@contextmanager
def gc_frozen() -> Iterator[None]:
    """What lives by now is left out of later collections, each of which would else walk through a whole framework."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def gc_disabled() -> Iterator[None]:
    """Garbage is collected before, and not during, what is measured."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
