"""The frameworks that there are, by their tokens: a test of all of them asks here, and so tests another one, too."""

from __future__ import annotations

from typing import Any

import pytest

from suite.machine import environment
from suite.runners import base

TOKENS = tuple(token for token in base.tokens() if environment.lock_digest(token))
"""The runners with an environment of their own; the others compute in the core's."""
MODES = tuple((token, mode) for token in TOKENS for mode in base.modes(token))
"""Every framework in every mode."""
_SOON = ("eager", "graph", "quickstart")
QUICK = tuple(case for case in MODES if case[1] in _SOON or case == (case[0], base.modes(case[0])[0]))
"""Those that are soon ready: what compiles for long is left out, but for a framework that has nothing else."""


def _marked(token: str, *more: str) -> Any:
    """A case that needs the environment of ``token``."""
    return pytest.param(token, *more, marks=getattr(pytest.mark, token))


# `make test-TOKEN` finds the files that use one of these by its name, besides those that state the mark.
of_each_framework = pytest.mark.parametrize("token", [_marked(token) for token in TOKENS])
of_each_mode = pytest.mark.parametrize(("token", "mode"), [_marked(*case) for case in MODES])
of_each_quick_mode = pytest.mark.parametrize(("token", "mode"), [_marked(*case) for case in QUICK])
