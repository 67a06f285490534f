"""The profile that a command asks for: a named one, with what its options replace."""

from __future__ import annotations

import pytest

from suite.cli import profiles
from suite.errors import SpecError
from suite.runners import base


def test_options_replace_what_the_profile_says_and_nothing_else() -> None:
    plain = profiles.profile("quick")
    changed = profiles.profile("quick", epochs=3, device=None, benchmarks=(), runners={})
    assert changed == plain.model_copy(update={"epochs": 3})


def test_looks_end_with_the_rounds_that_are_asked_for() -> None:
    plain = profiles.profile("full")
    fewer = profiles.profile("full", rounds=plain.looks[0] + 1)
    assert fewer.looks == (plain.looks[0], plain.looks[0] + 1)
    assert profiles.profile("full", rounds=plain.looks[-1] + 1).looks == (*plain.looks, plain.looks[-1] + 1)


def test_a_name_alone_stands_for_all_modes_of_a_framework() -> None:
    assert profiles.runners(["torch"]) == {"torch": base.modes("torch")}
    assert profiles.runners(["tf:xla", "tf:graph,xla"]) == {"tf": ("xla", "graph")}
    assert profiles.runners(["zork:fast"]) == {"zork": ("fast",)}, "who knows the runners refuses it"


def test_what_is_no_profile_is_refused_by_its_field() -> None:
    with pytest.raises(SpecError, match="rounds"):
        profiles.valid({**dict(profiles.profile("quick")), "rounds": -1})
