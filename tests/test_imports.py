"""Imports point one way.  `LAWS` says what each module of the suite may import of the suite, and of frameworks."""

import ast
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FRAMEWORKS = frozenset({"torch", "torchvision", "tensorflow", "keras", "jax", "jaxlib"})
LAYERS = ("errors", "shapes", "kinds", "layers")
WORDS = ("spelling", "vocabulary", "vocabulary.*")
READING = ("paths", "facts", "forms", "task", "schema", "problems", "reading")
SPEC = (*LAYERS, *WORDS, *READING, "recipe", "spec", "semantics", "differences")
CORE = (*SPEC, "stats", "trace", "data", "data.*", "initial", "meters", "meters.*", "runners.base")
REPORT = (*SPEC, "scales", "stats", "verdicts", "trace", "assessment", "divergence", "files", "result", "pytest_json")
MEANING = (*LAYERS, "paths", "recipe", "spec", "semantics", "differences")
RUNNER = (*MEANING, "task", "initial", "reference", "reference.*", "runners.base", "runners._*")

# The first pattern that fits a module is its law; a module without one may import whatever is no framework.
LAWS: dict[str, tuple[str, ...]] = {
    "__init__": (),
    "errors": (),
    "paths": ("errors",),
    "scales": (),
    "stats": ("errors", "scales"),
    "verdicts": ("scales", "stats"),
    "shapes": ("errors",),
    "kinds": ("errors", "shapes"),
    "layers": ("errors", "shapes", "kinds"),
    "facts": LAYERS,
    "forms": LAYERS,
    "task": LAYERS,
    "vocabulary": ("vocabulary.*",),
    "vocabulary.*": ("vocabulary.*",),
    "spelling": ("vocabulary",),
    "schema": ("vocabulary",),
    "problems": ("errors", "layers", "schema", "spelling", "vocabulary"),
    "reading": ("errors", "paths", "problems", "schema"),
    "recipe": (*LAYERS, "forms", "task"),
    "spec": (*LAYERS, "paths", "facts", "spelling", "task", "recipe"),
    "loading": (*SPEC, "lineage"),
    "choice": (*SPEC, "lineage", "loading"),
    "semantics": (*LAYERS, "recipe", "spec"),
    "differences": (*LAYERS, "recipe", "spec", "semantics"),
    "trace": ("errors", "layers"),
    "assessment": LAYERS,
    "divergence": LAYERS,
    "files": ("errors",),
    "result": (*SPEC, "stats", "trace", "assessment", "divergence", "files"),
    "pytest_json": (*SPEC, "stats", "trace", "files", "result"),
    "initial": SPEC,
    "lineage": SPEC,
    "modelfile": ("errors", "paths"),
    "shelf": (*SPEC, "data", "initial", "modelfile", "pretrained", "screen", "weights"),
    "examples": (*SPEC, "data", "data.*", "initial", "runners.base"),
    "assess": (*SPEC, "assessment", "runners.base"),
    "scores": (*SPEC, "reference.losses", "result", "runners.base"),
    "heritage": (*SPEC, "divergence", "files", "initial", "lineage", "plan", "result", "runners.base", "weights"),
    "evaluation": (*SPEC, "assess", "assessment", "examples", "result", "runners.base", "scores"),
    "weights": (*SPEC, "data", "data.*", "files", "initial", "runners.base"),
    "checkout": ("errors",),
    "duel": ("errors", "data", "initial", "measure", "meters.clock", "plan", "runners.base"),
    "data": (*SPEC, "stats", "data.*"),
    "data.*": (*SPEC, "stats", "data", "data.*"),
    "meters": (*SPEC, "stats", "meters.*"),
    "meters.*": (*SPEC, "stats", "trace", "meters", "meters.*"),
    "reference": (*SPEC, "runners.base", "reference.*"),
    "reference.*": (*SPEC, "runners.base", "reference", "reference.*"),
    "runners": (),
    "runners.base": (*SPEC, "stats"),
    "runners._*_own": MEANING,
    "runners.*": RUNNER,
    "identity": (*CORE, "result", "identity.*"),
    "identity.moves": (*CORE, "reference.optimizers", "identity.compare"),  # what a step makes of its gradient's bound
    "identity.*": (*CORE, "result", "identity", "identity.*"),
    "proofs": (*CORE, "environment", "identity", "plan", "result"),
    "report": (*REPORT, "report.*"),
    "report.*": (*REPORT, "report", "report.*"),
}
RUNNERS = {"trial": "the only one to find a runner"}
"""Who beside the runners themselves may import from `runners`, other than their protocol in `base`."""


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT / "suite").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {name_of(path): path for path in sorted((ROOT / "suite").rglob("*.py"))}


def imports_of(tree: ast.AST, module: str, package: bool = False) -> set[str]:
    """Every module that is imported anywhere in `tree`, inside functions too, by its absolute name."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = ["suite", *module.split(".")]
                up = parts[: len(parts) - node.level + package]
                base = ".".join([*up, *filter(None, [base])])
            inner = {f"{base}.{alias.name}" for alias in node.names}
            modules = {name for name in inner if name.removeprefix("suite.") in MODULES}
            found |= modules or {base}
    return found


def suite_imports(module: str) -> set[str]:
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    names = imports_of(tree, module, MODULES[module].stem == "__init__")
    return {n.removeprefix("suite").removeprefix(".") or "__init__" for n in names if n.split(".")[0] == "suite"}


def law_of(module: str) -> tuple[str, ...] | None:
    return next((allowed for pattern, allowed in LAWS.items() if fnmatchcase(module, pattern)), None)


@pytest.mark.parametrize("module", [m for m in MODULES if law_of(m) is not None])
def test_a_module_imports_only_what_its_law_allows(module):
    allowed = law_of(module) or ()
    forbidden = {n for n in suite_imports(module) - {"__init__"} if not any(fnmatchcase(n, a) for a in allowed)}
    assert not forbidden, f"suite.{module} may import {allowed} of the suite"


@pytest.mark.parametrize("module", MODULES)
def test_a_framework_is_imported_by_its_own_runner_alone(module):
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    found = {name.split(".")[0] for name in imports_of(tree, module)} & FRAMEWORKS
    if found:
        assert fnmatchcase(module, "runners.*")
        assert module not in ("runners.base", "runners.reference", "runners.null")


@pytest.mark.parametrize("module", [m for m in MODULES if not m.startswith("runners.") and m not in RUNNERS])
def test_no_module_imports_a_runner_by_name(module):
    assert {n for n in suite_imports(module) if n.startswith("runners.")} <= {"runners.base"}


def test_no_runner_imports_another_runner():
    """A runner's own parts are named after it: `runners/_tf_network.py` is a part of `runners/tf.py`."""
    tokens = {m for m in MODULES if m.startswith("runners.")} - {"runners.base"}
    for module in tokens:
        token = module.removeprefix("runners.").removeprefix("_").split("_")[0]
        others = {m for m in tokens if not m.startswith(f"runners._{token}_")}
        assert not suite_imports(module) & others


@pytest.mark.parametrize("module", ["envs", "preflight", "bootstrap", "errors"])
def test_what_runs_before_any_environment_needs_python_alone(module):
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    roots = {name.split(".")[0] for name in imports_of(tree, module)} - {"suite"}
    assert roots <= sys.stdlib_module_names
    assert suite_imports(module) <= {"envs", "preflight", "errors"}


def test_imports_are_seen_wherever_they_stand():
    """The reader of imports itself: inside functions, relative, of a module's members and of modules."""
    code = "def f():\n    import torch.nn\nfrom ..spec import Spec\nfrom . import base\nfrom suite import layers"
    found = imports_of(ast.parse(code), "runners.tf")
    assert found == {"torch.nn", "suite.spec", "suite.runners.base", "suite.layers"}


def test_every_law_is_about_something():
    unused = [pattern for pattern in LAWS if not any(fnmatchcase(module, pattern) for module in MODULES)]
    assert unused == []


def test_the_core_and_the_reporter_load_no_framework():
    modules = [f"suite.{m}" for m in MODULES if not m.endswith("__main__") and (m != "__init__")]
    bare = (".base", ".reference", ".null", "_own")
    modules = [m for m in modules if not m.startswith("suite.runners.") or m.endswith(bare)]
    code = f"""
import importlib, sys
for name in {modules!r}:
    importlib.import_module(name)
found = sorted({set(FRAMEWORKS)!r} & set(sys.modules))
sys.exit("loaded: " + ", ".join(found) if found else 0)
"""
    child = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr
