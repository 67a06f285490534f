"""What is wrong with a value, in its author's terms: pydantic's errors, translated.

A problem names a field as the author wrote it, never the branch of a union that a validator tried; it says what was
expected and what was found.  Of a name that is not known it lists what there is, and says whether it is a typing error,
is called otherwise here, or is something that the suite has not (``suite.spec.vocabulary.tables``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from suite.spec.schema import Schema, Spot, join, owners, terms
from suite.spec.spelling import Finding, Typo, find, listed, sentence
from suite.spec.spelling import shown as cut
from suite.spec.tensors import MisfitError, Padding
from suite.spec.vocabulary.fields import ADVICE, fields_of
from suite.spec.vocabulary.tables import VALUES, Place
from suite.spec.vocabulary.words import Gap, Synonym

MOST = 5
"""Problems listed at once; more would hide the first."""

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
_PLACES: Mapping[str | int, Place] = {
    "optimizer": Place.OPTIMIZER,
    "loss": Place.LOSS,
    **dict.fromkeys(("kernel_init", "bias_init", "init", "output_init"), Place.INITIALISER),
    "schedule": Place.SCHEDULE,
    "task": Place.TASK,
    "target": Place.TARGET,
    "monitor": Place.MONITOR,
    "metric": Place.METRIC,
    "activation": Place.LAYER,
    "padding": Place.PADDING,
    "device": Place.DEVICE,
}
"""What the words are names of that stand in a field."""
_TAGGED = {"layer": Place.LAYER, "name": Place.OPTIMIZER, "kind": Place.TASK}
"""What the words are names of that tell the parts of a union apart."""
_NAMING = ("name", "class_name", "kind", "type", "policy", "mode", "layer")
"""Fields that, here or elsewhere, name which of several things a mapping is."""


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
    places = [Spot.of(schema, item) for item in items]
    extras = [(place, _field(place, schema)) for place, item in zip(places, items, strict=True) if _extra(item)]
    meant = {f"{place.parent_field}/{found.meant}" for place, found in extras if isinstance(found, Typo | Synonym)}
    other = {place.parent_field for place, found in extras if isinstance(found, Gap) and found.whole}

    def follows(place: Spot, item: ErrorDetails) -> bool:
        """Whether it is a default that waits for a wrong field, a field that is missing because it is misspelt or
        because another thing is meant, or a list that is short of its wrong items.
        """
        if item["type"] == "default_factory_not_called":
            return True
        if item["type"] == "missing":
            return place.parent_field in other or f"{place.parent_field}/{place.step}" in meant
        inside = (other for other in items if len(other["loc"]) > len(item["loc"]))
        return item["type"] == "too_short" and any(other["loc"][: len(item["loc"])] == item["loc"] for other in inside)

    roots = [(place, item) for place, item in zip(places, items, strict=True) if not follows(place, item)]
    return tuple(_problem(schema, place, item) for place, item in roots[:MOST])


def _extra(item: ErrorDetails) -> bool:
    return item["type"] == "extra_forbidden"


def _field(place: Spot, schema: Schema) -> Finding | None:
    tables = fields_of(str(place.parent.get("title", "")), place.kind)
    return find(str(place.step), place.known, tables, terms(schema))


def _problem(schema: Schema, place: Spot, item: ErrorDetails) -> Problem:
    kind, found = item["type"], item["input"]
    misfit = item.get("ctx", {}).get("error")
    if isinstance(misfit, MisfitError):
        told = _elsewhere(found, tuple(Padding), _PLACES.get(place.step))
        return Problem(join(place.field, misfit.field), misfit.what, f"{told} {misfit.way_out}".strip())
    if kind == "missing":
        told = ADVICE.get((str(place.parent.get("title")), str(place.step), kind), "")
        return Problem(place.field, "is missing", f"Add it. {told}".strip())
    if _extra(item):
        return _unknown_field(schema, place, found)
    if place.branches:
        return _of_union(schema, place, found)
    if kind in ("enum", "literal_error"):
        known = [str(name) for name in place.own.get("enum", [place.own.get("const")])]
        return _unknown_word(schema, place.field, found, known, _PLACES.get(place.step))
    told = ADVICE.get((str(place.parent.get("title")), str(place.step), kind), "")
    if kind in _TYPES and isinstance(found, str):
        told = _elsewhere(found, (), _PLACES.get(place.step))
    return Problem(place.field, _message(place, item, _shown(found)), told)


def _message(place: Spot, item: ErrorDetails, found: str) -> str:
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


def _of_union(schema: Schema, place: Spot, found: object) -> Problem:
    if "discriminator" not in place.own:
        wanted = " or ".join(_JSON_TYPES[option] for option in place.branches)
        return Problem(place.field, f"must be {wanted}, not {_shown(found)}")
    tag, known = place.own["discriminator"]["propertyName"], list(place.branches)
    if not isinstance(found, Mapping):
        told = ""
        if isinstance(found, str) and found not in known:
            told = f"{_elsewhere(found, known, _TAGGED.get(tag))} {listed(known)}".strip()
        way_out = f"Write `{tag}: {found}`." if found in known else f"Begin with `{tag}:`."
        return Problem(place.field, f"must be a mapping of fields, not {_shown(found)}", f"{way_out} {told}".strip())
    field = join(place.field, tag)
    if tag not in found:
        return Problem(field, "is missing", listed(known))
    return _unknown_word(schema, field, found[tag], known, _TAGGED.get(tag))


def _unknown_word(schema: Schema, field: str, word: object, known: Sequence[str], place: Place | None) -> Problem:
    """A word that is none of the ``known`` ones, or something that is no word at all."""
    names = listed(known)
    if isinstance(word, Mapping):
        told = _elsewhere(next((word[name] for name in _NAMING if name in word), None), known, place)
        return Problem(field, f"{_shown(word)} is not known: it is one word", f"{told} {names}".strip())
    if not isinstance(word, str):
        return Problem(field, f"{_shown(word)} is not known", names)
    found = find(word, known, (VALUES[place],) if place else (), terms(schema))
    match found:
        case Typo(meant):
            return Problem(field, f"{_shown(word)} is not known; did you mean {meant}?", names)
        case Synonym(meant, but):
            return Problem(field, f"{cut(word)} is called {meant} here", f"{but} {names}".strip())
        case Gap(nearest):
            return Problem(field, f"the suite has no {place} {cut(word)}", f"{nearest} {names}")
        case _:
            return Problem(field, f"{_shown(word)} is not known", names)


def _unknown_field(schema: Schema, place: Spot, value: object) -> Problem:
    names, step = listed(place.known), str(place.step)
    kinds = VALUES[Place.SCHEDULE] if place.parent.get("title") == "Schedule" and step in _NAMING else {}
    if isinstance(value, str) and isinstance(wish := find(value, (), (kinds,)), Gap):
        return Problem(place.field, f"the suite has no {Place.SCHEDULE} {cut(value)}", f"{wish.nearest} {names}")
    match _field(place, schema):
        case Typo(meant):
            return Problem(place.field, f"there is no such field; did you mean {meant}?", names)
        case Synonym(meant, but):
            return Problem(place.field, f"there is no such field: it is called {meant} here", f"{but} {names}".strip())
        case Gap(nearest):
            return Problem(place.field, "there is no such field", f"{nearest} {names}")
        case _:
            others = ", ".join(owners(schema, step)[:MOST])
            return Problem(
                place.field, f"there is no such field{f' here; it belongs to {others}' * bool(others)}", names
            )


def _elsewhere(word: object, known: Iterable[str], place: Place | None) -> str:
    """What to say of a word that stands where none can."""
    found = find(word, known, (VALUES[place],) if place else ()) if isinstance(word, str) else None
    return sentence(found) if found else ""


def _shown(value: object) -> str:
    match value:
        case None:
            return "empty"
        case bool():
            return str(value).lower()
        case str():
            return f"the text {cut(value)!r}"
        case list() | tuple():
            return "a list"
        case dict():
            return "a mapping"
        case _:
            return str(value)
