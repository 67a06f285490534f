"""The Makefile's targets and variables, as whoever names them must know them."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path

MAKEFILE = (Path(__file__).parents[2] / "Makefile").read_text(encoding="utf-8")
RULES = re.findall(r"^([a-z%-]+(?: [a-z%-]+)*):(?!=)", MAKEFILE, re.MULTILINE)
TARGETS = {target for rule in RULES for target in rule.split()}
VARIABLES = set(re.findall(r"\$\((\w+)[:)]", MAKEFILE)) | set(re.findall(r"^(\w+) *[?:]?=", MAKEFILE, re.MULTILINE))


def called(words: list[str]) -> list[str]:
    """The targets that a command gives to make; where its output goes is none."""
    words = words[: next((at for at, word in enumerate(words) if word.startswith(">")), len(words))]
    return [word for word in words[1:] if "=" not in word and not word.startswith("-")] if words[0] == "make" else []


def known(target: str) -> bool:
    """Whether the Makefile has a rule for it, by name or by pattern."""
    return any(fnmatchcase(target, rule.replace("%", "?*")) for rule in TARGETS)
