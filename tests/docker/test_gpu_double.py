"""What a GPU's driver tells inside a container comes through to the report: NVML's double under the real binding."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from suite.results.gpu_trace import Metered
from suite.results.records import Measured
from tests.docker.stack import TOKENS, Stack
from tests.support import nvml

pytestmark = pytest.mark.docker

RISING = (
    nvml.ONE
    + """
0 0 utilization 0
0 0 throttle 0
3 0 used 3645728000
3 0 power 300000
3 0 utilization 80
3 0 throttle 64
"""
)
"""From the third second on, 3,000 MiB more, 300 W and a thermal slowdown in hardware."""


def test_memory_energy_and_throttling_come_through_to_the_report(stacks: Callable[..., Stack]) -> None:
    stack = stacks("gpu", gpu_meter=True, throughput_seconds=3)
    double = nvml.build(stack.folder / "double")
    nvml.script(double / "script", RISING)
    metered = {
        "volumes": [f"{double}:/double:ro"],
        "environment": {"LD_LIBRARY_PATH": "/double", "PARITY_NVML_SCRIPT": "/double/script"},
    }
    override = stack.folder / "gpu.yml"
    override.write_text(json.dumps({"services": dict.fromkeys(TOKENS, metered)}))
    stack.files.append(override)
    done = stack.up()
    assert done.returncode == 0, done.stdout[-4000:]
    traces = [r.gpu for r in stack.results if isinstance(r, Measured)]
    assert len(traces) == len(TOKENS)
    for trace in traces:
        assert isinstance(trace, Metered)
        assert trace.uuid == nvml.UUID
        assert set(trace.throttle) == {0, 64}
        assert {span.kind for span in trace.spans} == {"idle", "training", "latency", "throughput"}
    text = (stack.run / "report.md").read_text()
    assert "3,000 MiB" in text
    assert "300 W" in text
    assert "heat (by hardware) 100 %" in text
