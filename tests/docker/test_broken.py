"""What can go wrong in a container leaves a readable state, and a second `up` goes on from it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from suite.results.records import Cause, Failed, Measured, Timed
from tests.docker.stack import PARENTS, TOKENS, USER, Stack

pytestmark = pytest.mark.docker

AGENT = """
import os, signal, sys, time
from pathlib import Path

def state(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]

def agent():
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        if any(word.endswith(b"suite/trial/agent.py") for word in path.read_bytes().split(b"\\0")):
            return int(path.parent.name)

end = time.monotonic() + 60
while (pid := agent()) is None and time.monotonic() < end:
    time.sleep(0.1)
if sys.argv[1] == "kill":
    os.kill(pid, signal.SIGKILL)
    sys.exit()
while time.monotonic() < end:
    while state(pid) == "T":  # it is not asked
        time.sleep(0.001)
    os.kill(pid, signal.SIGSTOP)
    time.sleep(3)
    if state(pid) == "T" and [state(pid) for _ in range(20) if not time.sleep(0.1)] == ["T"] * 20:
        sys.exit()
sys.exit("it is asked still")
"""


def turns_of(stack: Stack, round_: int, token: str, seconds: float = 300) -> None:
    """Wait until the agent of a framework in a round has begun."""
    deadline = time.monotonic() + seconds
    while not (stack.reports / ".compose" / "logs" / f"r{round_:02}-{token}.log").exists():
        assert time.monotonic() < deadline, (stack.folder / "up.log").read_text()[-4000:]
        time.sleep(0.2)


def strike(stack: Stack, token: str, how: str) -> None:
    process = stack.execute(token, AGENT, how)
    process.communicate()
    assert process.returncode == 0


def kill_agent(stack: Stack, token: str) -> None:
    strike(stack, token, "kill")


def freeze_agent(stack: Stack, token: str) -> None:
    strike(stack, token, "freeze")


def kill_container(stack: Stack, service: str) -> None:
    subprocess.run(["docker", "kill", "--signal", "KILL", stack.container(service)], check=True, capture_output=True)


def stop_container(stack: Stack, service: str) -> None:
    subprocess.run(["docker", "stop", "--time", "30", stack.container(service)], check=True, capture_output=True)


def pause_container(stack: Stack, token: str) -> None:
    """Until it has been given up: what is frozen never ends by itself."""
    container = stack.container(token)
    subprocess.run(["docker", "pause", container], check=True, capture_output=True)
    try:
        stack.told("round 2 of 2; ")
        deadline = time.monotonic() + 240
        while not list((stack.run / "results").glob(f"r02-*--{token}-*")):
            assert time.monotonic() < deadline, (stack.folder / "up.log").read_text()[-4000:]
            time.sleep(0.5)
    finally:
        subprocess.run(["docker", "unpause", container], check=True, capture_output=True)


WAYS = {
    "agent killed": (kill_agent, Cause.OUT_OF_MEMORY),
    "agent frozen": (freeze_agent, Cause.TIMED_OUT),
    "container killed": (kill_container, Cause.WORKER_DIED),
    "container stopped": (stop_container, Cause.WORKER_DIED),
    "container paused": (pause_container, Cause.TIMED_OUT),
}


def logs(stack: Stack) -> list[Path]:
    return sorted(stack.run.glob("logs/r02-*"))


def kept(stack: Stack) -> dict[str, bytes]:
    """What is done once: proofs, the trainings, the first round."""
    return {p.name: p.read_bytes() for p in (stack.run / "results").iterdir() if not p.name.startswith("r02-")}


def test_what_is_broken_off_in_any_way_is_readable_and_completed_by_a_later_up(stacks: Callable[..., Stack]) -> None:
    """One run, whose second round is broken in five ways, one after another; its first is never done again."""
    stack = stacks("broken", rounds=2, laps=10, lap_milliseconds=30, timeout_seconds=60, benchmarks=["digits-mlp"])
    first: dict[str, bytes] = {}
    others = {*PARENTS} - {"torch"}
    for way, (break_, cause) in WAYS.items():
        process = stack.start()
        turns_of(stack, 2, "torch")
        break_(stack, "torch")
        assert process.wait(600) != 0, way
        failed = [r for r in stack.results if isinstance(r, Failed)]
        assert {(r.cell.runner, r.cell.round, r.cause) for r in failed} == {("torch", 2, cause)}, way
        timed = {r.cell.runner for r in stack.results if isinstance(r, Timed) and r.cell.round == 2}
        assert timed == others, f"{way}: the others go on"
        assert {service: stack.state(service) for service in others} == dict.fromkeys(others, ("exited", 0)), way
        assert "torch" in (stack.run / "report.md").read_text().partition("## Failed and unsupported")[2]
        assert kept(stack) == (first or kept(stack)), f"{way}: a finished round was done again"
        first = kept(stack)
        for path in logs(stack):
            path.unlink()  # what the next round waits for
    done = stack.up()
    assert done.returncode == 0, done.stdout[-4000:]
    assert not [r for r in stack.results if isinstance(r, Failed)]
    assert kept(stack) == first
    assert len(stack.results) == sum(len(entry.cells) for entry in stack.plan.entries)


def test_a_conductor_that_is_gone_leaves_nothing_running_and_the_next_up_goes_on(stacks: Callable[..., Stack]) -> None:
    stack = stacks("conductor", rounds=2, laps=10, lap_milliseconds=30)
    first: dict[str, bytes] = {}
    for way in (kill_container, stop_container):
        process = stack.start()
        turns_of(stack, 2, TOKENS[-1])
        way(stack, "conductor")
        assert process.wait(60) != 0
        assert {service: stack.state(service)[0] for service in PARENTS} == dict.fromkeys(PARENTS, "exited")
        assert not [r for r in stack.results if isinstance(r, Failed)]
        assert kept(stack) == (first or kept(stack)), "a finished round was done again"
        first = kept(stack)
        for path in logs(stack):
            path.unlink()
    done = stack.up()
    assert done.returncode == 0, done.stdout[-4000:]
    assert kept(stack) == first
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
    assert {r.cell.runner for r in stack.results if isinstance(r, Timed)} == {*PARENTS} - {failing}
    assert {r.cell.runner for r in stack.results if isinstance(r, Measured)} == {*TOKENS} - {failing}
    assert {r.cell.runner for r in stack.results if isinstance(r, Failed)} == {failing}
    text = (stack.reports / "latest" / "report.md").read_text()
    assert f"the parent of {failing}'s processes is gone" in text.partition("## Failed and unsupported")[2]


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
        + "".join(f'  "{service}": *small\n' for service in (*PARENTS, "conductor", "verdict"))
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
