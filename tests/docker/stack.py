"""A compose project of its own for tests: the repository's compose file, with the overrides that this machine needs."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from suite.results import records
from suite.results.records import Record
from suite.run import plan
from suite.run.plan import Plan
from suite.runners import base
from tests.support import compose, frameworks

ROOT = Path(__file__).parents[2]
PROFILES = frozenset(filter(None, os.environ.get("COMPOSE_PROFILES", "").split(",")))
TOKENS = tuple(t for t in frameworks.TOKENS if {*compose.services()[t].get("profiles", ())} <= PROFILES)
"""The frameworks that take part: those that need no profile of Compose's, and those whose COMPOSE_PROFILES names."""
USER = 4321
"""Neither root nor the compose file's default."""
LOCAL_BASE = os.environ.get("PARITY_LOCAL_BASE", "local/debian-base:trixie")
"""Where docker/engine.sh has made it, no container registry is asked for another."""
PARENTS = (*TOKENS, "null")
"""Services that wait for the conductor."""
MODES = {token: "graph" if "graph" in base.modes(token) else base.modes(token)[0] for token in TOKENS}
"""One mode of each framework that is soon ready; a graph is, where there is one."""
UP_SECONDS = 900


@dataclass
class Stack:
    """A project with reports in ``folder``/reports; ``variables`` and further compose files change it."""

    folder: Path
    name: str
    variables: dict[str, str] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reports.mkdir(parents=True, exist_ok=True)
        if os.getuid() == 0:
            os.chown(self.reports, USER, USER)
        hasty = {"environment": {"PARITY_ARRIVAL_SECONDS": "45"}}  # seconds to wait for a parent that never comes
        override = self.folder / "hasty.yml"
        override.write_text(json.dumps({"services": dict.fromkeys((*PARENTS, "conductor"), hasty)}))
        self.files.append(override)

    @property
    def reports(self) -> Path:
        """What is mounted as /reports: a longer path than a socket may have."""
        return self.folder / ("long-" * 20) / "reports"

    @property
    def run(self) -> Path:
        """The folder of the run that was prepared last."""
        return (self.reports / ".compose").resolve()

    def compose(self, *words: str, seconds: float = UP_SECONDS) -> subprocess.CompletedProcess[str]:
        """Run a compose command to its end; its output is one text."""
        return subprocess.run(
            self.command(*words), cwd=ROOT, env=self._environment(), timeout=seconds, check=False, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def up(self) -> subprocess.CompletedProcess[str]:
        """`docker compose up` until all have ended."""
        return self.compose("up", "--no-build", "--no-color")

    def start(self) -> subprocess.Popen[str]:
        """The same in the background, saying what it says into a file."""
        with (self.folder / "up.log").open("w") as log:
            return subprocess.Popen(
                self.command("up", "--no-build", "--no-color"), cwd=ROOT, env=self._environment(), text=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def down(self) -> None:
        """Remove the containers and volumes."""
        self.compose("down", "--volumes", "--timeout", "5", seconds=120)

    def command(self, *words: str) -> list[str]:
        """A compose command of this project, by the script that knows the overrides."""
        files = [part for name in self.files for part in ("-f", str(name))]
        return ["docker/compose.sh", "-p", self.name, *files, *words]

    def _environment(self) -> dict[str, str]:
        # A user who is not root owns what is written, as it would be on a workstation.
        owner = str(USER if os.getuid() == 0 else os.getuid())
        return {
            **os.environ,
            "PARITY_UID": owner,
            "PARITY_GID": owner if os.getuid() == 0 else str(os.getgid()),
            "PARITY_REPORTS": str(self.reports),
            "PARITY_DEVICE": "cpu",
            "LOCAL": "1" if local() else "",
            **self.variables,
        }

    def state(self, service: str) -> tuple[str, int]:
        """Whether a service's container runs, and the status that it ended with."""
        found = self.inspect(service)["State"]
        return found["Status"], found["ExitCode"]

    def told(self, words: str, seconds: float = 300) -> None:
        """Wait until the `up` that was started last has said ``words``."""
        deadline = time.monotonic() + seconds
        while words not in (said := (self.folder / "up.log").read_text()):
            assert time.monotonic() < deadline, said[-4000:]
            time.sleep(0.1)

    def execute(self, service: str, code: str, *arguments: str) -> subprocess.Popen[str]:
        """A piece of Python in the container of a service that runs."""
        return subprocess.Popen(
            ["docker", "exec", self.container(service), "python", "-c", code, *arguments],
            text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        )  # fmt: skip

    def container(self, service: str) -> str:
        """The id of a service's container, running or not."""
        return self.compose("ps", "--all", "--quiet", "--no-trunc", service).stdout.strip()

    def inspect(self, service: str) -> dict[str, Any]:
        """What the engine says of a service's container."""
        found = subprocess.run(["docker", "inspect", self.container(service)], check=True, capture_output=True)
        return dict(json.loads(found.stdout)[0])

    def python(self, service: str, code: str) -> subprocess.CompletedProcess[str]:
        """Run a piece of Python in a fresh container of a service, as restricted as the service is."""
        return self.compose("run", "--rm", "--no-deps", "-T", service, "python", "-c", code, seconds=120)

    @property
    def plan(self) -> Plan:
        """The plan of the run."""
        return plan.read(self.run)

    @property
    def results(self) -> tuple[Record, ...]:
        """All results; each must be readable."""

        def refuse(error: Exception) -> None:
            raise AssertionError(error)

        return records.read_all(self.run / "results", refuse)


def write_profile(path: Path, **changes: object) -> Path:
    """The profile quick, cut down to what shows how containers behave; JSON is YAML."""
    cut = {
        "name": "engine",
        "benchmarks": ["digits-cnn"],
        "runners": {token: [mode] for token, mode in MODES.items()},
        "rounds": 1,
        "seeds": [0],
        "laps": 3,
        "control": False,
        "threads": 1,  # whatever else this machine does, threads that wait for each other suffer most
        "epochs": 3,
        "latency_batches": [1],
        "latency_samples": 200,
        "throughput_batches": [256],
        "throughput_seconds": 0.1,
        "timeout_seconds": 120,
    }
    path.write_text(json.dumps(cut | changes))
    path.chmod(0o644)
    return path


def native(profile: Path, reports: Path) -> Path:
    """The same run without containers; returns its folder."""
    command = [sys.executable, "-m", "suite", "run", str(profile), "--reports", str(reports)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=UP_SECONDS, check=False,
        env={**os.environ, "PARITY_CUDA": "0"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return (reports / "latest").resolve()


@functools.cache
def local() -> bool:
    """Whether images are built from the base that needs no registry."""
    found = subprocess.run(["docker", "image", "inspect", LOCAL_BASE], capture_output=True, check=False)
    return found.returncode == 0


def engine() -> bool:
    """Whether a Docker engine answers."""
    return (
        shutil.which("docker") is not None
        and not subprocess.run(["docker", "info"], capture_output=True, check=False).returncode
    )
