"""Images once, a project per test."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.docker.stack import ROOT, Stack, engine, write_profile


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    """All images are built; what the build said."""
    assert engine(), "no Docker engine answers: docker/engine.sh starts one"
    stack = Stack(tmp_path_factory.mktemp("build"), f"parity-test-{os.getpid()}-build")
    done = stack.compose("build", seconds=1800)
    assert done.returncode == 0, done.stdout[-8000:]
    return done.stdout


@pytest.fixture(scope="module")
def stacks(images: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Stack]]:
    """Makes projects with a profile of their own, and takes them down at the end."""
    made: list[Stack] = []

    def make(name: str, **profile: object) -> Stack:
        stack = Stack(tmp_path_factory.mktemp(name), f"parity-test-{os.getpid()}-{name}")
        write_profile(stack.reports / "profile.yaml", **profile)
        stack.variables["PARITY_PROFILE"] = "/reports/profile.yaml"
        made.append(stack)
        return stack

    yield make
    for stack in made:
        stack.down()


@pytest.fixture
def dockerfiles() -> list[Path]:
    """Every Dockerfile."""
    return [*ROOT.glob("Dockerfile.*"), *ROOT.glob("docker/Dockerfile.*")]


def containers() -> set[str]:
    """Containers of these tests that still exist."""
    listed = subprocess.run(
        ["docker", "ps", "--all", "--format", "{{.Names}}", "--filter", f"name=parity-test-{os.getpid()}-"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return set(listed.stdout.split())
