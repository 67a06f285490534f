"""What can go wrong in a container leaves a readable state, and a second `up` goes on from it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from suite.results.records import Cause, Failed, Measured
from tests.docker.stack import USER, WORKERS, Stack
from tests.support.frameworks import TOKENS

pytestmark = pytest.mark.docker

KILL_TRIAL = """
import os, signal, sys, time
from pathlib import Path
for _ in range(100):
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        if b"suite.trial" in path.read_bytes().split(b"\\0"):
            os.kill(int(path.parent.name), signal.SIGKILL)
            sys.exit()
    time.sleep(0.1)
sys.exit("no trial runs")
"""


def trial_of(stack: Stack, round_: int, token: str, seconds: float = 300) -> None:
    """Wait until the measuring trial of a framework in a round has begun."""
    deadline = time.monotonic() + seconds
    while not list(stack.reports.glob(f".compose/logs/r{round_:02}-*-{token}.log")):
        assert time.monotonic() < deadline, (stack.folder / "up.log").read_text()[-4000:]
        time.sleep(0.2)


def kill_trial(stack: Stack, token: str) -> None:
    subprocess.run(["docker", "exec", stack.container(token), "python", "-c", KILL_TRIAL], check=True)


def kill_container(stack: Stack, token: str) -> None:
    subprocess.run(["docker", "kill", "--signal", "KILL", stack.container(token)], check=True, capture_output=True)


def stop_container(stack: Stack, token: str) -> None:
    subprocess.run(["docker", "stop", "--time", "30", stack.container(token)], check=True, capture_output=True)


WAYS = {
    "trial killed": (kill_trial, Cause.OUT_OF_MEMORY),
    "container killed": (kill_container, Cause.WORKER_DIED),
    "container stopped": (stop_container, Cause.WORKER_DIED),
}


def logs(stack: Stack) -> list[Path]:
    return sorted(stack.run.glob("logs/r02-*"))


def test_what_is_broken_off_in_any_way_is_readable_and_completed_by_a_later_up(stacks: Callable[..., Stack]) -> None:
    """One run, whose second round is broken in three ways, one after another; its first is never done again."""
    stack = stacks("broken", rounds=2)
    first: dict[str, bytes] = {}
    for way, (break_, cause) in WAYS.items():
        process = stack.start()
        trial_of(stack, 2, "torch")
        break_(stack, "torch")
        assert process.wait(600) != 0, way
        failed = [r for r in stack.results if isinstance(r, Failed)]
        assert {(r.cell.runner, r.cell.round, r.cause) for r in failed} == {("torch", 2, cause)}, way
        assert "torch" in (stack.run / "report.md").read_text().partition("## Failed and unsupported")[2]
        finished = {p.name: p.read_bytes() for p in (stack.run / "results").glob("r0[01]-*")}
        assert finished == (first or finished), f"{way}: a finished round was done again"
        first = finished
        for path in logs(stack):
            path.unlink()  # what the next round waits for
    done = stack.up()
    assert done.returncode == 0, done.stdout[-4000:]
    assert not [r for r in stack.results if isinstance(r, Failed)]
    assert {p.name: p.read_bytes() for p in (stack.run / "results").glob("r0[01]-*")} == first
    assert len(stack.results) == sum(len(entry.cells) for entry in stack.plan.entries)


def test_a_framework_whose_image_fails_leaves_the_others_results_and_a_report_that_says_so(
    stacks: Callable[..., Stack],
) -> None:
    stack = stacks("failing")
    override = stack.folder / "failing.yml"
    failing = TOKENS[0]
    override.write_text(f'services: {{{failing}: {{command: [python, -c, "raise SystemExit(1)"]}}}}\n')
    stack.files.append(override)
    done = stack.up()
    assert done.returncode != 0
    assert {r.cell.runner for r in stack.results if isinstance(r, Measured)} == {*WORKERS} - {failing}
    assert {r.cell.runner for r in stack.results if isinstance(r, Failed)} == {failing}
    text = (stack.reports / "latest" / "report.md").read_text()
    assert f"the worker for {failing}" in text.partition("## Failed and unsupported")[2]


def test_a_full_volume_of_results_is_said_in_a_sentence(stacks: Callable[..., Stack]) -> None:
    stack = stacks("full")
    volume = f"{stack.name}-small"
    options = [f"--opt={o}" for o in ("type=tmpfs", "device=tmpfs", f"o=size=128k,uid={USER},gid={USER},mode=777")]
    holder = [
        "docker",
        "run",
        "--detach",
        "--rm",
        "--network=none",
        f"--volume={volume}:/held",
        "parity-report:cpu",
        "sleep",
        "600",
    ]
    override = stack.folder / "full.yml"
    override.write_text(
        "x-small: &small\n  volumes: [small:/reports]\nservices:\n"
        f"  prepare:\n    volumes: [small:/reports, {stack.reports}/profile.yaml:/profile.yaml:ro]\n"
        + "".join(f'  "{service}": *small\n' for service in (*WORKERS, "report", "verdict"))
        + f"volumes: {{small: {{external: true, name: {volume}}}}}\n"
    )
    stack.files.append(override)
    stack.variables["PARITY_PROFILE"] = "/profile.yaml"
    subprocess.run(["docker", "volume", "create", *options, volume], check=True, capture_output=True)
    held = subprocess.run(holder, check=True, capture_output=True, text=True).stdout.strip()
    try:
        done = stack.up()
    finally:
        subprocess.run(["docker", "kill", held], check=True, capture_output=True)
        stack.down()
        subprocess.run(["docker", "volume", "rm", volume], check=True, capture_output=True)
    assert done.returncode != 0
    assert "cannot be written (No space left on device)" in done.stdout
    assert "Traceback" not in done.stdout


def test_reports_that_are_another_users_are_refused_with_the_way_out(stacks: Callable[..., Stack]) -> None:
    stack = stacks("foreign")
    stack.variables |= {"PARITY_UID": str(USER + 1), "PARITY_GID": str(USER + 1)}
    done = stack.up()
    assert done.returncode != 0
    assert f"user {USER + 1}, group {USER + 1}, cannot write here" in " ".join(done.stdout.split())
    assert "PARITY_UID=$(id -u) PARITY_GID=$(id -g) docker compose up" in done.stdout
    assert not list(stack.reports.glob("engine-*"))
