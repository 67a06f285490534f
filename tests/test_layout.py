"""A reader finds their way by file names alone."""

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "suite").rglob("*.py"))
SPECS = sorted((ROOT / "benchmarks" / "specs").glob("*.yaml"))
RUNNERS = ROOT / "suite" / "runners"
PURE = frozenset({"reference", "null"})
TOKENS = sorted(path.parent.name for path in RUNNERS.glob("*/runner.py") if path.parent.name not in PURE)
LONGEST = 400
LARGEST = 1 << 20

WHOLE = {
    "data": "data/test_datasets.py",
    "gate": "gate/test_gate.py",
    "report": "report/test_document.py",
    "spec/tasks": "spec/test_task_metrics.py",
    "spec/vocabulary": "spec/test_vocabulary.py",
    "runners/reference": "runners/reference/test_runner.py",
    "runners/null": "runners/test_null.py",
    **{f"runners/{token}": f"runners/{token}/test_runner.py" for token in TOKENS},
}
"""Folders that are tested as a whole; parts of theirs may have a test file of their own beside it."""
ELSEWHERE = {
    "__main__.py": "cli/test_commands.py",
    "errors.py": "cli/test_commands.py",
    "files.py": "results/test_records.py",
    "cli/about.py": "cli/test_commands.py",
    "cli/comparisons.py": "cli/test_tables.py",
    "compare/interpreters.py": "compare/test_commits.py",
    "compare/runs.py": "compare/test_commits.py",
    "compare/sides.py": "compare/test_commits.py",
    "install/bootstrap.py": "install/test_preflight.py",
    "install/environments.py": "install/test_preflight.py",
    "meters/clock.py": "meters/test_clock_and_memory.py",
    "meters/gpu.py": "meters/test_sampler.py",
    "meters/memory.py": "meters/test_clock_and_memory.py",
    "results/attribution.py": "report/test_explanation.py",
    "results/gpu_trace.py": "results/test_records.py",
    "results/environment.py": "machine/test_environment.py",
    "results/identity.py": "gate/test_gate.py",
    "results/values.py": "results/test_records.py",
    "run/parent.py": "run/test_conductor.py",
    "run/parents.py": "run/test_conductor.py",
    "run/rounds.py": "run/test_conductor.py",
    "spec/dataset.py": "spec/test_resolved.py",
    "spec/layers.py": "spec/test_graph.py",
    "spec/schema.py": "spec/test_validation.py",
    "spec/targets.py": "spec/test_recipe.py",
    "spec/tensors.py": "spec/test_graph.py",
    "trial/__main__.py": "trial/test_trial.py",
    "trial/here.py": "trial/test_trial.py",
    "trial/planned.py": "trial/test_inherit.py",
}
"""Modules without a test file of their own, and where they are tested instead."""

# Put together here, so that this file does not name them either.
REGISTRIES = tuple(
    ".".join(parts).encode()
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("registry", "npmjs", "org"),
        ("deb", "debian", "org"),
        ("download", "pytorch", "org"),
    )
)


def committed() -> list[Path]:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    listed = subprocess.run([git, "-C", str(ROOT), "ls-files", "-z"], capture_output=True, check=True).stdout
    return [path for name in listed.decode().split("\0") if name and (path := ROOT / name).is_file()]


@pytest.mark.parametrize("token", TOKENS)
def test_one_token_names_a_framework_everywhere(token):
    for kind in ("in", "txt"):
        assert (ROOT / "docker" / "locks" / f"{token}.{kind}").is_file()
    assert (ROOT / f"Dockerfile.{token}").is_file()
    assert re.search(rf"^  {token}:$", (ROOT / "docker-compose.yml").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("token", TOKENS)
def test_every_framework_states_where_its_own_api_differs(token):
    assert (RUNNERS / token / "own.py").is_file()


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_module_has_a_test_file_where_one_looks_for_it(path):
    """`suite/spec/yaml.py`, say, by `tests/spec/test_yaml.py`."""
    if path.stem == "__init__":
        return
    name = path.relative_to(ROOT / "suite").as_posix()
    tests = ROOT / "tests"
    wanted = [tests / folder / f"test_{path.stem}.py" for folder in (Path(name).parent, *Path(name).parents[:-1][-1:])]
    wanted += [tests / test for folder, test in WHOLE.items() if name.startswith(f"{folder}/")]
    wanted += [tests / test for module, test in ELSEWHERE.items() if module == name]
    assert any(test.is_file() for test in wanted)


def test_what_is_tested_elsewhere_is_there():
    suite, tests = ROOT / "suite", ROOT / "tests"
    assert [name for name in (*WHOLE, *ELSEWHERE) if not (suite / name).exists()] == []
    assert [name for name in (*WHOLE.values(), *ELSEWHERE.values()) if not (tests / name).is_file()] == []


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_stay_small(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST


FOLDERS = sorted({path.parent for path in MODULES})


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_folder_says_what_it_is_for(folder):
    """In a few lines, and nothing else: whatever is needed is imported from where it is defined."""
    tree = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
    said = ast.get_docstring(tree)
    assert said
    assert len(said.splitlines()) <= 5
    assert all(isinstance(node, ast.Expr) or folder.name == "suite" for node in tree.body)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_module_hands_on_what_another_defines(path):
    """What a module of the suite imports is what it uses: nobody looks for a name in a file that does not hold it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    taken = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "suite"
        for alias in node.names
    }
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert taken - used - {"__version__"} == set()


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_a_spec_is_named_as_its_file(path):
    assert YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))["name"] == path.stem


def test_nothing_committed_is_large():
    large = [str(path) for path in committed() if path.stat().st_size > LARGEST]
    assert large == []


def test_nothing_committed_names_the_host_of_a_package_registry():
    naming = [str(path) for path in committed() if any(host in path.read_bytes() for host in REGISTRIES)]
    assert naming == []


def test_no_lock_of_another_format_is_committed():
    assert {path.name for path in committed()}.isdisjoint({"uv.lock", "pylock.toml"})
