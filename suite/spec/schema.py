"""Where an error stands in a model's JSON Schema, and what names the schema has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import ErrorDetails

from suite.spec.vocabulary.words import key

Schema = Mapping[str, Any]
TAGS = ("layer", "name", "kind")
"""The fields that tell the parts of a union apart."""


def join(field: str, rest: str) -> str:
    """A field within a field: ``model[0]`` and ``units`` make ``model[0].units``."""
    return f"{field}{rest}" if rest.startswith("[") or not field or not rest else f"{field}.{rest}"


@dataclass(frozen=True)
class Spot:
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
    def of(cls, root: Schema, item: ErrorDetails) -> Spot:
        """The spot of one of pydantic's errors in the model whose schema is ``root``."""
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

    @property
    def known(self) -> tuple[str, ...]:
        """The fields of what holds it."""
        return tuple(self.parent.get("properties", ()))

    @property
    def kind(self) -> str:
        """``layer`` or ``optimizer`` if the error is in a field of one, else nothing."""
        if "layer" in self.known:
            return "layer"
        return "optimizer" if {"name", "learning_rate"} <= set(self.known) else ""


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


def terms(root: Schema) -> frozenset[str]:
    """The keys of every name in the schema: fields, and the words that they can take."""
    return frozenset(map(key, _names(root)))


def _names(schema: object) -> Iterator[str]:
    if isinstance(schema, Mapping):
        yield from schema.get("properties", ())
        yield from (word for word in (*schema.get("enum", ()), schema.get("const")) if isinstance(word, str))
        for inner in schema.values():
            yield from _names(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _names(inner)


def owners(root: Schema, field: str) -> tuple[str, ...]:
    """What has a field of that name, as a reader knows it: ``adam``, ``early_stopping``, ``the whole``."""
    found = ["the whole"] if field in root.get("properties", ()) else []
    for title, definition in root.get("$defs", {}).items():
        if field in (properties := definition.get("properties", {})):
            tag = next((properties[tag] for tag in TAGS if {"const", "enum"} & properties.get(tag, {}).keys()), None)
            found += [title] if tag is None else [tag["const"]] if "const" in tag else tag["enum"]
    return tuple(dict.fromkeys(map(_spoken, found)))


def _spoken(title: str) -> str:
    """``EarlyStopping`` as ``early_stopping``."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in title).removeprefix("_")
