"""What is wrong with a value, in its author's terms: pydantic's errors, translated.

A problem names a field as the author wrote it, never the branch of a union that a validator tried; it says what was
expected and what was found, and offers the closest name there is.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from suite.layers import MisfitError

MOST = 5
"""Problems listed at once; more would hide the first."""

Schema = Mapping[str, Any]

_TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "list_type": "a list",
    "model_type": "a mapping of fields",
    "model_attributes_type": "a mapping of fields",
    "dict_type": "a mapping",
}
_BOUNDS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}
_JSON_TYPES = {
    "array": "a list",
    "object": "a mapping of fields",
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
}


@dataclass(frozen=True)
class Problem:
    """One wrong field (empty for the whole), what is wrong with it, and the way out if one is known."""

    field: str
    what: str
    way_out: str = ""


def problems(model: type[BaseModel], error: ValidationError) -> tuple[Problem, ...]:
    """Translate ``error``, raised by ``model``: at most ``MOST`` problems, none a consequence of another."""
    schema = model.model_json_schema()
    items = error.errors(include_url=False)
    places = [_Place.of(schema, item) for item in items]
    meant = {
        f"{place.parent_field}/{_closest(place)}" for place, item in zip(places, items, strict=True) if _extra(item)
    }

    def follows(place: _Place, item: ErrorDetails) -> bool:
        """Whether it is a default that waits for a wrong field, a misspelt field that is missing, or a list that is
        short of its wrong items.
        """
        if item["type"] == "default_factory_not_called":
            return True
        if item["type"] == "missing":
            return f"{place.parent_field}/{place.step}" in meant
        inside = (other for other in items if len(other["loc"]) > len(item["loc"]))
        return item["type"] == "too_short" and any(other["loc"][: len(item["loc"])] == item["loc"] for other in inside)

    roots = [(place, item) for place, item in zip(places, items, strict=True) if not follows(place, item)]
    return tuple(_problem(place, item) for place, item in roots[:MOST])


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like ``name``, if any is."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


def join(field: str, rest: str) -> str:
    """A field within a field: ``model[0]`` and ``units`` make ``model[0].units``."""
    return f"{field}{rest}" if rest.startswith("[") or not field or not rest else f"{field}.{rest}"


@dataclass(frozen=True)
class _Place:
    """Where an error is: the field's path, the path and the schema of what holds it, its own schema.

    ``branches`` are what a union may be there, by the tag that pydantic puts into a location.
    """

    field: str
    parent_field: str
    step: str | int
    parent: Schema
    own: Schema
    branches: Mapping[str, Schema]

    @classmethod
    def of(cls, root: Schema, item: ErrorDetails) -> _Place:
        definitions = root.get("$defs", {})
        own, parent = _plain(root, definitions), root
        field, parent_field, last = "", "", item["loc"][0] if item["loc"] else ""
        for step in item["loc"]:
            if (branch := _branches(own, definitions).get(str(step))) is not None:
                own = branch
                continue
            parent, parent_field, last = own, field, step
            own, field = _child(own, step, definitions), join(field, f"[{step}]" if isinstance(step, int) else step)
        return cls(field, parent_field, last, parent, own, _branches(own, definitions))


def _plain(schema: Schema, definitions: Schema) -> Schema:
    """Follow references, and look through "or null"."""
    while True:
        options = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
        if "$ref" in schema:
            schema = definitions[schema["$ref"].rsplit("/", 1)[1]]
        elif len(options) == 1:
            schema = options[0]
        else:
            return schema


def _branches(schema: Schema, definitions: Schema) -> dict[str, Schema]:
    if "discriminator" in schema:
        mapping: dict[str, str] = schema["discriminator"]["mapping"]
        return {tag: _plain({"$ref": reference}, definitions) for tag, reference in mapping.items()}
    options = [_plain(option, definitions) for option in schema.get("oneOf", ())]
    return {str(option.get("type")): option for option in options}


def _child(schema: Schema, step: str | int, definitions: Schema) -> Schema:
    if isinstance(step, int):
        listed = schema.get("prefixItems", ())
        child = listed[step] if step < len(listed) else schema.get("items", {})
    else:
        child = schema.get("properties", {}).get(step, schema.get("additionalProperties"))
    return _plain(child, definitions) if isinstance(child, Mapping) else {}


def _extra(item: ErrorDetails) -> bool:
    return item["type"] == "extra_forbidden"


def _closest(place: _Place) -> str | None:
    return closest(str(place.step), place.parent.get("properties", ()))


def _problem(place: _Place, item: ErrorDetails) -> Problem:
    kind, found = item["type"], _shown(item["input"])
    misfit = item.get("ctx", {}).get("error")
    if isinstance(misfit, MisfitError):
        return Problem(join(place.field, misfit.field), misfit.what, misfit.way_out)
    if kind == "missing":
        return Problem(place.field, "is missing", "Add it.")
    if _extra(item):
        return _unknown(place.field, "there is no such field", _closest(place), place.parent.get("properties", ()))
    if place.branches:
        return _of_union(place, item)
    if kind in ("enum", "literal_error"):
        known = place.own.get("enum", [place.own.get("const")])
        return _unknown(place.field, f"{found} is not known", closest(str(item["input"]), known), known)
    return Problem(place.field, _message(place, item, found))


def _message(place: _Place, item: ErrorDetails, found: str) -> str:
    kind, context = item["type"], item.get("ctx", {})
    if kind in _TYPES:
        return f"must be {_TYPES[kind]}, not {found}"
    if kind in _BOUNDS:
        word, key = _BOUNDS[kind]
        return f"must be {word} {context[key]:g}, not {found}"
    if kind == "too_short":
        return f"must have at least {context['min_length']} of them, not {context['actual_length']}"
    if kind == "too_long":
        return f"must have at most {context['max_length']} of them, not {context['actual_length']}"
    if kind == "string_pattern_mismatch" and "description" in place.own:
        return f"must be {place.own['description']}, not {found}"
    return item["msg"].removeprefix("Value error, ").replace("Input should", "must").replace("String should", "must")


def _of_union(place: _Place, item: ErrorDetails) -> Problem:
    found = item["input"]
    if "discriminator" not in place.own:
        wanted = " or ".join(_JSON_TYPES[option] for option in place.branches)
        return Problem(place.field, f"must be {wanted}, not {_shown(found)}")
    key, known = place.own["discriminator"]["propertyName"], list(place.branches)
    if not isinstance(found, Mapping):
        way_out = f"Write `{key}: {found}`." if found in known else f"Begin with `{key}:`."
        return Problem(place.field, f"must be a mapping of fields, not {_shown(found)}", way_out)
    field = join(place.field, key)
    if key not in found:
        return Problem(field, "is missing", _list(known))
    return _unknown(field, f"{_shown(found[key])} is not known", closest(str(found[key]), known), known)


def _unknown(field: str, what: str, name: str | None, known: Iterable[object]) -> Problem:
    return Problem(field, f"{what}; did you mean {name}?") if name else Problem(field, what, _list(known))


def _list(known: Iterable[object]) -> str:
    return f"There are: {', '.join(map(str, known))}."


def _shown(value: object) -> str:
    match value:
        case None:
            return "empty"
        case bool():
            return str(value).lower()
        case str():
            return f"the text {value if len(value) <= 40 else value[:37] + '...'!r}"
        case list() | tuple():
            return "a list"
        case dict():
            return "a mapping"
        case _:
            return str(value)
