"""The profile that a command asks for: a named one, with what its options replace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from suite.results import looks
from suite.run import session
from suite.run.profile import Profile
from suite.runners import base
from suite.spec.yaml import refuse


def profile(name: str, **asked: Any) -> Profile:
    """The named profile with what the caller wants otherwise; null and empty is as it has it.  Raises SpecError."""
    changes = {field: value for field, value in asked.items() if value not in (None, (), {})}
    wanted = session.profile(name, benchmarks="benchmarks" not in changes, device=changes.get("device"))
    found = dict(wanted.asking(changes["benchmarks"]) if "benchmarks" in changes else wanted)
    if replaced := {"runners", "epochs"} & changes.keys():
        changes["single"] = {n: own.model_copy(update=dict.fromkeys(replaced)) for n, own in found["single"].items()}
    if found["looks"] and "rounds" in changes:
        changes["looks"] = looks.in_order(found["looks"], changes["rounds"])
    return valid({**found, **changes})


def valid(fields: dict[str, Any]) -> Profile:
    """A profile of these fields.  Raises SpecError."""
    try:
        return Profile.model_validate(fields)
    except ValidationError as error:
        refuse(Path("the command"), Profile, error)


def runners(items: list[str]) -> dict[str, tuple[str, ...]]:
    """``torch:eager,compile`` and ``torch`` as the modes of each runner; a name alone stands for all of its modes."""
    found: dict[str, tuple[str, ...]] = {}
    for item in items:
        token, _, modes = item.partition(":")
        chosen = tuple(modes.split(",")) if modes or token not in base.tokens() else base.modes(token)
        found[token] = tuple(dict.fromkeys((*found.get(token, ()), *chosen)))
    return found
