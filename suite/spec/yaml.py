"""Reading what people write: a YAML 1.2 file into a strict model, or a SpecError that says where and what.

YAML is taken without its traps: no aliases, tags, merge keys, directives or duplicate keys, and a date is text, as in
YAML 1.2.  What is read is what JSON can hold.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    NodeEvent,
)
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from suite.errors import SpecError
from suite.spec import paths
from suite.spec.schema import join
from suite.spec.validation import problems

MAX_FILE_BYTES = 1 << 18
MAX_DEPTH = 24
LARGEST_INTEGER = 2**63 - 1

Model = TypeVar("Model", bound=BaseModel)

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_FIELD = re.compile(r".{1,100}")
_TAG = "tag:yaml.org,2002:"


def read_model(path: Path, model: type[Model]) -> Model:
    """Read one YAML file into ``model``.  Raises SpecError with the file, the field and the way out."""
    return validated(path, model, read_yaml(path))


def validated(path: Path, model: type[Model], fields: Mapping[str, Any], place: Callable[[str], str] = str) -> Model:
    """Check ``fields``, as read from ``path``, against ``model``; ``place`` says where in the file a field stands.

    Raises SpecError with the file, each wrong field and the way out.
    """
    try:
        return model.model_validate_json(json.dumps(fields))
    except ValidationError as error:
        refuse(path, model, error, place)


def refuse(path: Path, model: type[BaseModel], error: ValidationError, place: Callable[[str], str] = str) -> NoReturn:
    """Raise what ``model`` found wrong in ``path`` as a SpecError."""
    found = problems(model, error)
    if len(found) == 1:
        field = place(found[0].field)
        raise SpecError(found[0].what, where=_where(path, field), way_out=found[0].way_out) from None
    lines = (f"\n  {place(p.field)}: {p.what}{'. ' if p.way_out else ''}{p.way_out}" for p in found)
    raise SpecError(f"{len(found)} fields are wrong{''.join(lines)}", where=str(path)) from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read one YAML 1.2 mapping of at most 256 KiB, as plain JSON values.  Raises SpecError with the line or field."""
    text = _text(path)
    yaml = YAML(typ="safe", pure=True)
    try:
        _check_events(path, yaml.parse(text))
        root = yaml.compose(text)
    except (YAMLError, ValueError, RecursionError) as error:
        raise SpecError(f"is not valid YAML: {_first_line(error)}", where=str(path)) from None
    if not isinstance(root, MappingNode):
        found = (
            "it is empty"
            if root is None
            else "it holds a single value"
            if isinstance(root, ScalarNode)
            else "it holds a list"
        )
        raise SpecError(f"must hold one mapping of fields, but {found}", where=str(path), way_out="Begin with `name:`.")
    value = _Plain(path, yaml).value(root, "")
    assert isinstance(value, dict)
    return value


def _text(path: Path) -> str:
    where = str(path)
    try:
        paths.check_regular(path)
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SpecError(f"cannot be read ({reason})", where=where, way_out=paths.way_out()) from None
    if len(raw) > MAX_FILE_BYTES:
        raise SpecError(f"is over {MAX_FILE_BYTES >> 10} KiB: too large for a file that people write", where=where)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise SpecError("is not UTF-8 text", where=where, way_out="Save it as UTF-8.") from None
    if text.startswith("\ufeff"):
        raise SpecError("begins with a byte order mark", where=where, way_out="Save it as UTF-8 without one.")
    return text


def _check_events(path: Path, events: Iterable[Event]) -> None:
    """Refuse what would grow, nest or change meaning on loading, before anything is loaded."""
    depth = 0
    for event in events:
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        line = f"line {event.start_mark.line + 1}: "
        if depth > MAX_DEPTH:
            raise SpecError(f"{line}nested more than {MAX_DEPTH} deep", where=str(path))
        if isinstance(event, NodeEvent) and event.anchor is not None:  # an alias has an anchor, too
            way_out = "Write the value out; the `cases` of a spec share every field that they do not replace."
            raise SpecError(f"{line}YAML aliases are not taken", where=str(path), way_out=way_out)
        if isinstance(event, NodeEvent) and getattr(event, "ctag", None) is not None:
            raise SpecError(f"{line}YAML tags are not taken", where=str(path), way_out="Write the plain value.")
        if isinstance(event, DocumentStartEvent) and (event.version or event.tags):
            raise SpecError(f"{line}YAML directives are not taken", where=str(path), way_out="Drop the line.")


class _Plain:
    """Turns YAML nodes into plain values, knowing the field of each."""

    def __init__(self, path: Path, yaml: YAML) -> None:
        self._path, self._constructor = path, yaml.constructor

    def value(self, node: Node, field: str) -> object:
        if isinstance(node, MappingNode):
            return self._mapping(node, field)
        if isinstance(node, SequenceNode):
            return [self.value(child, join(field, f"[{i}]")) for i, child in enumerate(node.value)]
        return self._scalar(node, field)

    def _mapping(self, node: MappingNode, field: str) -> dict[str, object]:
        values: dict[str, object] = {}
        for key, child in node.value:
            line = f"line {key.start_mark.line + 1}: "
            if key.tag == f"{_TAG}merge":
                self._refuse(field, f"{line}the merge key << is not taken", "Write the fields out.")
            if key.tag != f"{_TAG}str":
                self._refuse(field, f"{line}a field's name must be text", "Put it in quotes if it is meant as a name.")
            name = self._scalar(key, field)
            assert isinstance(name, str)
            if not _FIELD.fullmatch(name):
                self._refuse(field, f"{line}a field's name must be one short line")
            if name in values:
                self._refuse(join(field, name), f"{line}is stated twice", "Keep one.")
            values[name] = self.value(child, join(field, name))
        return values

    def _scalar(self, node: Node, field: str) -> object:
        if node.tag == f"{_TAG}timestamp":
            return node.value
        try:
            value = self._constructor.construct_object(node)
        except (ValueError, OverflowError, YAMLError):
            kind = "number" if node.tag in (f"{_TAG}int", f"{_TAG}float") else "value"
            self._refuse(field, f"is no {kind} that can be read", "Put it in quotes if it is meant as text.")
        match value:
            case str():
                if _CONTROL.search(value):
                    self._refuse(field, "holds a control character or half a character")
            case None | bool():
                pass
            case int():
                if abs(value) > LARGEST_INTEGER:
                    self._refuse(field, "is too large a number: at most 2 ** 63 - 1")
            case float():
                if not math.isfinite(value):
                    self._refuse(field, "must be a finite number")
            case _:
                self._refuse(field, "must be a number, text, true, false, a list or a mapping")
        return value

    def _refuse(self, field: str, what: str, way_out: str = "") -> NoReturn:
        raise SpecError(what, where=_where(self._path, field), way_out=way_out) from None


def _where(path: Path, field: str) -> str:
    return f"{path}: {field}" if field else str(path)


def _first_line(error: Exception) -> str:
    problem, mark = getattr(error, "problem", None), getattr(error, "problem_mark", None)
    if problem and mark:
        return f"line {mark.line + 1}: {problem.removeprefix('but ')}"
    return str(error).partition("\n")[0] if isinstance(error, YAMLError) else "it holds an escape that is no character"
