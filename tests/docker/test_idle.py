"""Whoever is not asked takes no time from whoever is, across containers: agents are stopped, and parents wait."""

from __future__ import annotations

import json
from bisect import bisect
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import pytest

from tests.docker.stack import PARENTS, TOKENS, Stack

pytestmark = pytest.mark.docker
SECONDS = 6.0
PROVING_SECONDS = 1.5
TICK_SECONDS = 0.01
"""What /proc counts a process's time in."""
LAPS = 60

SAMPLE = """
import json, sys, time
from pathlib import Path

WANTED = {b"suite/trial/agent.py": "agent", b"suite.run.parent": "parent"}

def kind(folder):
    words = (folder / "cmdline").read_bytes().split(b"\\0")
    found = [name for word in words for end, name in WANTED.items() if word.endswith(end)]
    return found[0] if found and b"python" in words[0] else None

mine = {folder.name: name for folder in Path("/proc").glob("[0-9]*") if (name := kind(folder))}
end = time.monotonic() + float(sys.argv[1])
samples = []
while time.monotonic() < end:
    for pid, name in mine.items():
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        waits = int(status["voluntary_ctxt_switches"])
        samples.append([name, time.monotonic(), stat[0], int(stat[11]) + int(stat[12]), waits])
    time.sleep(0.005)
print(json.dumps(samples))
"""


@pytest.fixture(scope="module")
def running(stacks: Callable[..., Stack]) -> Iterator[Stack]:
    """A run of one round with many long laps; taken down as soon as it was looked at."""
    stack = stacks("idle", laps=LAPS, lap_milliseconds=100, benchmarks=["digits-cnn", "digits-mlp"])
    process = stack.start()
    yield stack
    stack.down()
    process.wait(120)


def sampled(stack: Stack, seconds: float, *services: str) -> Mapping[str, list[list[Any]]]:
    """What the processes of services do, seen at the same time by the one clock that all containers have."""
    processes = {service: stack.execute(service, SAMPLE, str(seconds)) for service in services}
    found = {service: process.communicate(timeout=60)[0] for service, process in processes.items()}
    return {service: json.loads(said) for service, said in found.items()}


def test_a_parent_that_is_not_asked_does_not_poll(running: Stack) -> None:
    """While the frameworks prove, nobody asks the null runner's: it takes no time, and wakes for nothing."""
    running.told("proving, ")
    seen = [sample for sample in sampled(running, PROVING_SECONDS, "null")["null"] if sample[0] == "parent"]
    assert "proving" in (running.folder / "up.log").read_text().strip().splitlines()[-1], "seen too late"
    assert seen[-1][1] - seen[0][1] > 1
    assert seen[-1][3] - seen[0][3] <= 1, "ticks of 10 ms"
    assert seen[-1][4] - seen[0][4] <= 1, "how often it woke and waited again"


def test_an_agent_that_is_not_asked_is_stopped_while_another_is(running: Stack) -> None:
    running.told(f"{LAPS} laps")
    seen = {s: [x for x in found if x[0] == "agent"] for s, found in sampled(running, SECONDS, *PARENTS).items()}
    stopped = {service: [sample[2] == "T" for sample in samples] for service, samples in seen.items()}
    for service in TOKENS:
        assert {True, False} <= {*stopped[service]}, f"{service} was asked, and was not"
    both = close = 0
    one, other = (seen[token] for token in TOKENS[:2])
    times = [sample[1] for sample in other]
    for _, when, state, _, _ in one:
        near = bisect(times, when)
        around = [sample for sample in other[max(0, near - 1) : near + 1] if abs(sample[1] - when) < 0.02]
        close += bool(around)
        both += state != "T" and bool(around) and all(sample[2] != "T" for sample in around)
    assert close > 100
    assert both <= 0.05 * close, "two agents ran at once"
    for service, samples in seen.items():
        pairs = [(a, b) for a, b in pairwise(samples) if a[2] == b[2] == "T" and b[1] - a[1] < 0.05]
        idle = sum(b[1] - a[1] for a, b in pairs)
        spent = sum(b[3] - a[3] for a, b in pairs) * TICK_SECONDS
        assert idle > 1, service
        assert spent <= 0.03 * idle, f"{service}: {spent} s of {idle} s in which nobody asked it"
