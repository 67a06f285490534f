"""Whether another commit's suite has what the agent uses: told from its files alone, before anything is built.

The agent (``suite/trial/agent.py``) is this checkout's file and runs inside the other commit's package, so the modules
that it imports, and the names that it takes from them, must exist there as well.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

from suite.compare import worktree
from suite.errors import SpecError
from suite.machine.environment import ROOT
from suite.run.agents import AGENT

PACKAGE = "suite"


def refuse_another_layout(root: Path, commit: str, ref: str) -> None:
    """Raises SpecError where the suite at ``commit`` of the checkout at ``root`` lacks what the agent uses."""
    there = worktree.files(root, commit, PACKAGE)

    def read(path: str) -> str | None:
        return worktree.text(root, commit, path) if path in there else None

    if lack := missing(used(AGENT.read_text(encoding="utf-8"), ROOT), read):
        raise SpecError(
            f"the suite at {ref[:200]!r} has another layout than the suite here, so the two cannot be run "
            f"side by side: it has no {lack}",
            way_out="Run a profile under each commit, and compare the two runs: `suite compare RUN RUN`.",
        )


def used(code: str, root: Path) -> dict[str, frozenset[str]]:
    """The suite's modules that ``code`` imports, by dotted name, and the names of each that it uses."""
    found: dict[str, set[str]] = defaultdict(set)
    called: dict[str, str] = {}
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or (node.module or "").partition(".")[0] != PACKAGE:
            continue
        assert node.module
        for alias in node.names:
            name = f"{node.module}.{alias.name}"
            if _file(name, lambda path: (root / path).is_file()):
                found[name] |= set()
                called[alias.asname or alias.name] = name
            else:
                found[node.module].add(alias.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in called:
            found[called[node.value.id]].add(node.attr)
    return {module: frozenset(names) for module, names in found.items()}


def missing(wanted: Mapping[str, frozenset[str]], read: Callable[[str], str | None]) -> str:
    """The first module, or name in a module, that is not there; or nothing.  ``read`` gives a file's text, or null."""
    for module, names in sorted(wanted.items()):
        path = _file(module, lambda path: read(path) is not None)
        if path is None:
            return module
        defined = _defined(read(path) or "")
        for name in sorted(names - defined):
            return f"{module}.{name}"
    return ""


def _file(module: str, there: Callable[[str], bool]) -> str | None:
    """The path of a module below the root, or null."""
    path = module.replace(".", "/")
    return next((each for each in (f"{path}.py", f"{path}/__init__.py") if there(each)), None)


def _defined(code: str) -> set[str]:
    """The names at the top of a module; none where this Python cannot read it."""
    found: set[str] = set()
    try:
        body = ast.parse(code).body
    except SyntaxError:
        return found
    for node in body:
        match node:
            case ast.FunctionDef() | ast.ClassDef():
                found.add(node.name)
            case ast.Import() | ast.ImportFrom():
                found |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
            case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found
