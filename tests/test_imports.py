"""The law of imports: a folder of the suite imports only folders that stand before it, and there are no exceptions."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER = (
    "install", "spec", "data", "runners", "inputs", "results", "meters", "machine", "metrics", "gate", "run", "trial",
    "report", "compare", "cli",
)  # fmt: skip
GROUND = ("errors", "files", "scales", "stats")
"""Modules that stand in no folder: everyone may import them, and they import each other alone."""
ALONE = {"install": frozenset({"install", "errors"}), "report": frozenset({"report", "spec", "results", *GROUND})}
"""Folders that may import less than their place allows."""
KNOWN = frozenset({"torch", "torchvision", "tensorflow", "keras", "jax", "jaxlib"})
"""Frameworks and what belongs to them; whatever else a runner imports that the core has not is one, too."""


def modules_of(root: Path) -> dict[str, Path]:
    """Every module of the suite by its dotted name below ``suite``; the package itself is the empty name."""
    found = {}
    for path in sorted((root / "suite").rglob("*.py")):
        parts = path.relative_to(root / "suite").with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(code: str, modules: dict[str, Path]) -> set[str]:
    """What ``code`` imports, inside functions too: ``suite.`` and a module of the suite, or another package's name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            base = node.module or ""
            inner = {f"{base}.{alias.name}" for alias in node.names}
            parts = {name for name in inner if name.removeprefix("suite.") in modules}
            found |= parts | ({base} if inner - parts else set())
    return found


def frameworks(modules: dict[str, Path]) -> frozenset[str]:
    """The packages that only a runner may import."""
    codes = [path.read_text(encoding="utf-8") for name, path in modules.items() if name.startswith("runners.")]
    found = {folder_of(name) for code in codes for name in imported(code, modules)} - {"suite"}
    return KNOWN | {name for name in found if importlib.util.find_spec(name) is None}


def folder_of(name: str) -> str:
    return name.partition(".")[0]


def violations(root: Path) -> list[str]:
    """What breaks the law in the tree at ``root``, a sentence each."""
    modules = modules_of(root)
    told = [f"suite/{folder} has no place in the order" for folder in strangers(root)]
    arrows: dict[str, set[str]] = {}
    foreign = frameworks(modules)
    for name, path in modules.items():
        found = imported(path.read_text(encoding="utf-8"), modules)
        inside = {n.removeprefix("suite").removeprefix(".") for n in found if folder_of(n) == "suite"} - {""}
        arrows[name] = inside & set(modules)
        told += [f"{name} imports {other}" for other in sorted(inside) if not allowed(name, other)]
        theirs = {folder_of(n) for n in found} & foreign
        if theirs and name.split(".")[0] != "runners":
            told.append(f"{name} imports {', '.join(sorted(theirs))}")
        if folder_of(name) == "install":
            outside = {folder_of(n) for n in found} - {"suite"} - sys.stdlib_module_names
            told += [f"{name} imports {other}" for other in sorted(outside)]
    return told + circles(arrows)


def strangers(root: Path) -> list[str]:
    """Folders and modules that the law does not know."""
    there = {p.name for p in (root / "suite").iterdir() if p.is_dir() and p.name != "__pycache__"}
    there |= {p.stem for p in (root / "suite").glob("[!_]*.py")}
    return sorted(there - set(ORDER) - set(GROUND))


def allowed(name: str, other: str) -> bool:
    mine, theirs = folder_of(name), folder_of(other)
    if name.startswith("runners.") and theirs == "runners":
        return other == "runners.base" or other.split(".")[:2] == name.split(".")[:2]
    if mine == "__main__":
        return theirs == "cli"
    if mine in ALONE:
        return theirs in ALONE[mine]
    if mine not in ORDER:
        return theirs in GROUND
    return theirs in GROUND or (theirs in ORDER and ORDER.index(theirs) <= ORDER.index(mine))


def circles(arrows: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle, each circle once."""
    found: list[str] = []
    done: set[str] = set()

    def walk(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            found.append(" imports ".join((*way[way.index(name) :], name)))
        elif name not in done:
            for other in sorted(arrows[name]):
                walk(other, (*way, name))
            done.add(name)

    for name in sorted(arrows):
        walk(name, ())
    return found


def test_a_folder_imports_only_what_stands_before_it():
    assert violations(ROOT) == []


@pytest.mark.parametrize(
    ("path", "line", "said"),
    [
        ("spec/tensors.py", "from suite.data import npz", "spec.tensors imports data.npz"),
        ("errors.py", "from suite.spec.tensors import Frozen", "errors imports spec.tensors"),
        ("runners/tf/runner.py", "from suite.runners.torch import own", "runners.tf.runner imports runners.torch.own"),
        ("report/pages.py", "from suite.gate import gate", "report.pages imports gate.gate"),
        ("install/preflight.py", "import numpy", "install.preflight imports numpy"),
        ("install/preflight.py", "from suite.files import read_json", "install.preflight imports files"),
        ("metrics/loss.py", "def f():\n    import torch", "metrics.loss imports torch"),
        ("spec/tensors.py", "from suite.spec import layers", "spec.layers imports spec.tensors"),
        ("attic/things.py", "", "suite/attic has no place in the order"),
    ],
)
def test_the_law_sees_what_breaks_it(tmp_path, path, line, said):
    for module in modules_of(ROOT).values():
        copy = tmp_path / module.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(module.read_bytes())
    assert violations(tmp_path) == []
    broken = tmp_path / "suite" / path
    broken.parent.mkdir(exist_ok=True)
    broken.write_text(f"{broken.read_text() if broken.exists() else ''}\n{line}\n")
    assert any(said in told for told in violations(tmp_path))


def test_what_a_runner_alone_has_is_a_framework_and_nobody_else_may_import_it(tmp_path):
    for path, line in (("runners/new/runner.py", "import burning"), ("metrics/loss.py", "import burning.bright")):
        module = tmp_path / "suite" / path
        module.parent.mkdir(parents=True)
        module.write_text(f"import numpy\n{line}\n")
    assert violations(tmp_path) == ["metrics.loss imports burning"]


def test_only_whoever_runs_a_framework_names_it():
    """A runner is found by its token: no module of the suite imports one by name, but the reference's mathematics."""
    modules = modules_of(ROOT)
    pure = ("runners.base", "runners.reference")
    for name, path in modules.items():
        if not name.startswith("runners."):
            found = {n.removeprefix("suite.") for n in imported(path.read_text(encoding="utf-8"), modules)}
            assert all(n.startswith(pure) for n in found if n.startswith("runners.")), name


def test_the_order_is_the_one_that_the_documents_tell():
    told = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert " | ".join(f"`{folder}`" for folder in ORDER) in " ".join(told.split())


def test_the_core_and_the_reporter_load_no_framework():
    bare = ("base", "own")
    pure = ("runners.base", "runners.reference", "runners.null")
    names = [
        name
        for name in modules_of(ROOT)
        if name and not name.endswith("__main__")
        and (not name.startswith("runners.") or name.startswith(pure) or name.endswith(bare))
    ]  # fmt: skip
    code = f"""
import importlib, sys
for name in {names!r}:
    importlib.import_module("suite." + name)
found = sorted({set(frameworks(modules_of(ROOT)))!r} & set(sys.modules))
sys.exit("loaded: " + ", ".join(found) if found else 0)
"""
    child = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr
