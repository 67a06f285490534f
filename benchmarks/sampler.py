"""What sampling a GPU costs: processor time of the sampler against the double of NVML, as a share of wall time.

    .envs/core/bin/python -m benchmarks.sampler --seconds 60

The start is told apart: it is paid once per trial, the rest per second.  Both are shown as a share of a trial of
``--seconds``; the goal is at most 0.5 % in all.  The double answers at once: a real driver's own time comes on top.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from suite.machine.environment import ROOT
from suite.meters.sampler import PERIOD_NS
from tests.support import nvml

GOAL = 0.005
STARTS = 5


def spent(environment: dict[str, str], period_ns: int, seconds: float) -> tuple[float, int]:
    """Processor seconds of a sampler, from its start to its end, and the samples that it took in ``seconds``.

    With 0 seconds it ends as soon as its first sample is there.
    """
    with tempfile.NamedTemporaryFile() as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "suite.meters.sampler", str(period_ns)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=file, env={**os.environ, **environment},
        )  # fmt: skip
        written = Path(file.name)
        while b"\nat " not in written.read_bytes():
            time.sleep(0.05)
        time.sleep(seconds)
        assert process.stdin
        process.stdin.close()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"the sampler ended with status {process.returncode}")
        return usage.ru_utime + usage.ru_stime, written.read_bytes().count(b"\nat ")


def main() -> int:
    """Three lines; 1 if the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="wall time of the trial")
    parser.add_argument("--period", type=float, default=PERIOD_NS / 1e9, help="seconds between samples")
    given = parser.parse_args()
    if nvml.COMPILER is None:
        sys.exit("the double of NVML needs a C compiler")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = nvml.environment(nvml.build(folder / "lib"), nvml.script(folder / "script"))
        period_ns = round(given.period * 1e9)
        start = statistics.median(spent(environment, period_ns, 0)[0] for _ in range(STARTS))
        whole, samples = spent(environment, period_ns, given.seconds)
    share = whole / given.seconds
    print(f"start: {start * 1e3:.0f} ms of processor time, median of {STARTS}")
    print(f"sampling: {max(whole - start, 0) / samples * 1e6:.0f} µs a sample, one every {given.period:g} s")
    print(f"a trial of {given.seconds:g} s: {whole * 1e3:.0f} ms, {share:.2%} of its wall time (goal: {GOAL:.1%})")
    return int(share > GOAL)


if __name__ == "__main__":
    sys.exit(main())
