"""Files that are whole or not there, and JSON from anywhere: size, depth, duplicate keys and NaN are refused."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from suite.errors import ResultError, RunError

MAX_FILE_BYTES = 32 << 20
MAX_DEPTH = 48
T = TypeVar("T")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.  Raises RunError if it cannot be written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise RunError(
            f"cannot be written ({error.strerror})",
            where=str(path),
            way_out="Free some space or rights and run again: what is finished is kept.",
        ) from None


def validate(path: Path, raw: dict[str, Any], adapter: TypeAdapter[T]) -> T:
    """``raw``, read from ``path``, as what ``adapter`` describes.  Raises ResultError with the place of the fault."""
    try:
        return adapter.validate_json(json.dumps(raw))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ResultError(f"{place[:200]}: {first['msg'][:200]}", where=str(path)) from None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object, refusing what the standard reader lets through: duplicate keys, NaN, depth and size."""
    where = str(path)
    raw = _read_bytes(path)

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON number")

    def pairs(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in items:
            if key in found:
                raise ValueError(f"the key {key[:80]!r} stands twice")
            found[key] = value
        return found

    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=refuse, object_pairs_hook=pairs)
    except UnicodeDecodeError:
        raise ResultError("is not UTF-8 text", where=where) from None
    except (ValueError, RecursionError) as error:
        raise ResultError(f"is not whole, valid JSON ({str(error)[:200]})", where=where) from None
    if not isinstance(value, dict):
        raise ResultError("holds no JSON object", where=where)
    return value


def _read_bytes(path: Path) -> bytes:
    where = str(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ResultError(f"cannot be read ({error.strerror})", where=where) from None
    if len(raw) > MAX_FILE_BYTES:
        raise ResultError(f"is over {MAX_FILE_BYTES >> 20} MiB", where=where)
    if _depth(raw) > MAX_DEPTH:
        raise ResultError(f"is nested over {MAX_DEPTH} deep", where=where)
    return raw


_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def _depth(raw: bytes) -> int:
    """Deepest nesting of brackets outside strings, counted without recursion."""
    brackets = _STRING.sub(b"", raw).translate(None, _NO_BRACKETS)
    return max(accumulate((1 if bracket in b"[{" else -1 for bracket in brackets), initial=0))
