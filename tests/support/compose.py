"""What the compose files come to under given variables, as Compose reads them; no engine and no Compose is needed."""

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
VARIABLE = re.compile(r"\$\{(\w+)(?::([-+])([^}]*))?\}")


def read(path: Path) -> dict[str, Any]:
    """A file as it stands, its variables unread."""
    return dict(YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8")))


def services(root: Path = ROOT, **variables: str) -> dict[str, dict[str, Any]]:
    """Every service with what it extends, under ``variables`` alone."""
    return _of(root / "docker-compose.yml", variables)


def _of(path: Path, variables: dict[str, str]) -> dict[str, dict[str, Any]]:
    stated = _interpolated(read(path)["services"], variables)

    def whole(name: str) -> dict[str, Any]:
        own = dict(stated[name])
        extended = own.pop("extends", None)
        if extended is None:
            return own
        base = whole if "file" not in extended else _of(path.parent / extended["file"], variables).__getitem__
        return _merged(base(extended["service"]), own)

    return {name: whole(name) for name in stated}


def _interpolated(value: Any, variables: dict[str, str]) -> Any:
    match value:
        case dict():
            return {key: _interpolated(inner, variables) for key, inner in value.items()}
        case list():
            return [_interpolated(inner, variables) for inner in value]
        case str():
            return VARIABLE.sub(lambda found: _value(found, variables), value)
        case _:
            return value


def _value(found: re.Match[str], variables: dict[str, str]) -> str:
    """``${NAME}``, ``${NAME:-else}`` and ``${NAME:+if it is set}``; what is empty is not set."""
    name, rule, word = found.groups()
    held = variables.get(name, "")
    return word if (rule == "-" and not held) or (rule == "+" and held) else "" if rule == "+" else held


def _merged(base: Any, own: Any) -> Any:
    """Mappings by key, lists one behind the other; of anything else the extending service's own."""
    if isinstance(base, dict) and isinstance(own, dict):
        return base | {key: _merged(base[key], inner) if key in base else inner for key, inner in own.items()}
    return [*base, *own] if isinstance(base, list) and isinstance(own, list) else own
