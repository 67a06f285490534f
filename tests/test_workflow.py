"""The hosted workflow calls what is there: read, not run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.support import compose
from tests.support.frameworks import TOKENS
from tests.support.makefile import MAKEFILE, TARGETS, called, known

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def read(path: Path) -> dict[str, Any]:
    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in read(path)["jobs"].values() for step in job["steps"]]


def commands(path: Path) -> list[list[str]]:
    """Every command of every step, a line each, in words."""
    return [line.split() for step in steps(path) for line in step.get("run", "").splitlines()]


def test_targets_are_seen_as_make_sees_them() -> None:
    assert {"bench", "bench-pytest", "lint", "test", "test-%"} <= TARGETS
    assert "CORE" not in TARGETS
    assert known("faults")
    assert known("faults-torch")
    assert not known("faults-")
    assert not known("fault-torch")
    assert called(["make", "-k", "bench-pytest", "SPECS=digits-mlp"]) == ["bench-pytest"]
    assert called(["make", "docker-images", ">>", "it"]) == ["docker-images"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.name)
def test_every_target_that_a_workflow_makes_is_in_the_makefile(path: Path) -> None:
    targets = {target for words in commands(path) for target in called(words)}
    assert targets
    assert {target for target in targets if not known(target)} == set()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.name)
def test_every_script_that_a_workflow_starts_is_there_and_may_be_started(path: Path) -> None:
    for words in commands(path):
        if words[0] != "make":
            assert (ROOT / words[0]).stat().st_mode & 0o111, words


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.name)
def test_every_variable_that_a_workflow_hands_to_make_is_read_there(path: Path) -> None:
    names = {word.partition("=")[0] for words in commands(path) for word in words if "=" in word}
    assert {name for name in names if f"$({name}" not in MAKEFILE} == set()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.name)
def test_every_action_is_pinned_by_a_tag(path: Path) -> None:
    used = [step["uses"] for step in steps(path) if "uses" in step]
    assert used
    assert [action for action in used if not re.fullmatch(r"[\w-]+/[\w./-]+@v\d+(\.\d+)*", action)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.name)
def test_every_job_ends_in_time_and_may_only_read(path: Path) -> None:
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert all(job["timeout-minutes"] <= 120 for job in workflow["jobs"].values())


def test_ci_checks_measures_keeps_the_report_and_builds_every_image() -> None:
    path = ROOT / ".github" / "workflows" / "ci.yml"
    jobs = read(path)["jobs"]
    made = {name: {t for s in job["steps"] for t in called(s.get("run", "-").split())} for name, job in jobs.items()}
    assert made["check"] >= {"lint", "faults-all", "test"}
    assert made["benchmarks"] >= {"bench", "bench-pytest"}
    kept = next(step for step in jobs["benchmarks"]["steps"] if step.get("uses", "").startswith("actions/upload-"))
    assert kept["with"]["path"].startswith("reports/")
    assert "cancelled()" in kept["if"], "a benchmark that failed leaves a report as well"
    assert jobs["images"]["needs"] == "named"
    assert jobs["images"]["strategy"]["matrix"]["image"] == "${{ fromJSON(needs.named.outputs.images) }}"
    assert jobs["named"]["outputs"] == {"images": "${{ steps.named.outputs.images }}"}
    (naming,) = (step for step in jobs["named"]["steps"] if step.get("id") == "named")
    assert naming["run"] == 'make docker-images >> "$GITHUB_OUTPUT"'


def made(*words: str) -> str:
    """What make prints, or would run."""
    return subprocess.run(["make", "-s", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout


needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not here")


@needs_make
def test_the_workflow_is_told_every_image_that_there_is() -> None:
    name, _, value = made("docker-images").strip().partition("=")
    files = [*ROOT.glob("Dockerfile.*"), *(ROOT / "docker").glob("Dockerfile.*")]
    told = json.loads(value)
    assert (name, len(told)) == ("images", len(files))
    building = {service for service, stated in compose.services(ROOT).items() if "build" in stated}
    assert {*TOKENS, "prepare"} == set(told) == building, "`docker compose build` takes services"


@needs_make
@pytest.mark.parametrize("token", TOKENS)
def test_make_finds_every_framework_by_its_token(token: str) -> None:
    assert f"and not {token}" in made("-n", "test"), "the core's tests leave it out"
    for target in ("test", "faults-own", "faults-all", "bench-pytest"):
        assert re.search(rf"\.envs/{token}/bin/python -m ", made("-n", target, f"FRAMEWORKS={token}")), target
    assert f"tests/runners/{token}/test_runner.py" in by_shell(made("-n", f"test-{token}"))
    assert "tests/trial/test_instrument.py" in by_shell(made("-n", f"test-{token}")), "a test of each framework"
    assert "tests/test_cuda.py" in by_shell(made("-n", f"gpu-check-{token}"))
    assert f"tests.faults --runner {token}" in made("-n", f"faults-{token}")
    assert f"tests.faults.alarms --runner {token}" in made("-n", f"alarms-{token}")


COMPARED = {"": "quick", "torch tf": "quick", "all": "all", "torch": "all -r torch", "jax torch": "all -r jax -r torch"}


@needs_make
@pytest.mark.parametrize("asked", COMPARED)
def test_make_installs_and_compares_the_usual_two_or_those_that_are_asked_for(asked: str) -> None:
    said = made("-n", "bench", f"FRAMEWORKS={asked}")
    assert f'PARITY_FRAMEWORKS="{asked}"' in said
    assert re.search(rf"-m suite run {COMPARED[asked]} *$", said, re.MULTILINE)


@needs_make
def test_what_is_not_asked_for_is_not_tested() -> None:
    assert ".envs/tf/" not in made("-n", "test", "FRAMEWORKS=torch")
    assert all(f"tests.faults --runner {token}" in made("-n", "faults-all", "FRAMEWORKS=all") for token in TOKENS)


def by_shell(line: str) -> str:
    """A line of make's with the files that it lets the shell find."""
    (inner,) = re.findall(r"\$\((grep [^)]*)\)", line)
    return subprocess.run(inner, shell=True, cwd=ROOT, capture_output=True, text=True, check=True).stdout
