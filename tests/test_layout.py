"""A reader finds their way by file names alone."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "suite").rglob("*.py"))
SPECS = sorted((ROOT / "benchmarks" / "specs").glob("*.yaml"))
PURE = frozenset({"__init__", "__main__", "base", "reference", "null"})
TOKENS = sorted(p.stem for p in (ROOT / "suite" / "runners").glob("[!_]*.py") if p.stem not in PURE)
LONGEST, LONGEST_RUNNER = 400, 480
LARGEST = 1 << 20

ELSEWHERE = {
    "suite/assessment.py": "the records that assess.py makes: test_assess.py",
    "suite/facts.py": "part of a spec: test_spec.py",
    "suite/files.py": "how results are written and read: test_result.py",
    "suite/kinds.py": "the single layers: test_layers.py",
    "suite/schema.py": "where an error stands: test_problems.py",
    "suite/shapes.py": "what layers are made of: test_layers.py",
    "suite/trace.py": "part of the record: test_result.py",
    "suite/errors.py": "nothing to call: every test of an error raises one",
    "suite/__main__.py": "one line, which test_cli.py starts as a process",
    "suite/bootstrap.py": "makes what preflight.py has checked: test_preflight.py",
    "suite/duel.py": "one side of a comparison: test_compare.py",
    "suite/envs.py": "what preflight.py and bootstrap.py share: test_preflight.py",
    "suite/runners/base.py": "a protocol: the test of every runner",
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
    assert (ROOT / "suite" / "runners" / f"_{token}_own.py").is_file()


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_module_has_a_test_file(path):
    """`suite/runners/tf.py`, say, by `test_tf.py`, `test_runners_tf.py`, `test_runner_tf.py` or `test_runners.py`."""
    name = path.relative_to(ROOT).as_posix()
    if name in ELSEWHERE or path.stem == "__init__":
        return
    if path.parent.name == "runners" and path.stem.startswith("_"):
        path = path.with_stem(path.stem.removeprefix("_").partition("_")[0])  # a part of its runner
    package = "" if path.parent.name == "suite" else path.parent.name
    prefixes = "test", f"test_{package}", f"test_{package.removesuffix('s')}"
    wanted = {f"{prefix}_{path.stem}" for prefix in prefixes} | {f"test_{package}"}
    assert wanted & {test.stem for test in (ROOT / "tests").rglob("test_*.py")}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_stay_small(path):
    """A framework is one file, whatever it takes: that file alone may be longer."""
    runner = path.parent.name == "runners" and path.stem in TOKENS
    assert len(path.read_text(encoding="utf-8").splitlines()) <= (LONGEST_RUNNER if runner else LONGEST)


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
