"""NVML through the real nvidia-ml-py and a double of the driver's library: values, or why there are none."""

import ctypes.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from suite.errors import MachineError
from suite.machine.environment import ROOT
from suite.meters import nvml
from suite.meters.nvml import ListedGpu, choose
from suite.results import gpu_trace
from tests.support import nvml as double

pytestmark = pytest.mark.skipif(double.COMPILER is None, reason="the double of NVML needs a C compiler")

# Time in the script begins with this process; it samples until it has seen ``argv[1]`` seconds of it.
CHILD = """
import json, os, sys, time
os.environ["PARITY_NVML_SINCE"] = str(time.monotonic_ns())
from suite.errors import MachineError
from suite.meters import nvml
found = {"gpus": nvml.gpus(), "driver": nvml.driver(), "heavy": sorted({"numpy", "pydantic"} & set(sys.modules))}
try:
    with nvml.opened() as opened:
        devices = nvml.devices(opened)
        found["samples"], found["why"] = [[] for _ in devices], [{} for _ in devices]
        while True:
            for device, samples, why in zip(devices, found["samples"], found["why"]):
                samples.append([time.monotonic_ns(), dict(zip(nvml.SERIES, device.sample())), time.monotonic_ns()])
                why |= device.why
            if time.monotonic_ns() - int(os.environ["PARITY_NVML_SINCE"]) > float(sys.argv[1]) * 1e9:
                break
            time.sleep(0.01)
except MachineError as error:
    found["absent"] = error.what
print(json.dumps(found))
"""
EVERYTHING = {
    "energy_mj": 1_000_000,
    "power_mw": 90_000,
    "used_bytes": 500_000_000,
    "reserved_bytes": 400_000_000,
    "utilization_percent": 35,
    "celsius": 41,
    "sm_mhz": 1980,
    "memory_mhz": 2619,
    "throttle": 4,
}
"""What `double.ONE` plays, at the time 0."""
FUNCTIONS = {
    "nvmlDeviceGetTotalEnergyConsumption": {"energy_mj"},
    "nvmlDeviceGetPowerUsage": {"power_mw"},
    "nvmlDeviceGetMemoryInfo_v2": {"used_bytes", "reserved_bytes"},
    "nvmlDeviceGetUtilizationRates": {"utilization_percent"},
    "nvmlDeviceGetTemperatureV": {"celsius"},
    "nvmlDeviceGetClockInfo": {"sm_mhz", "memory_mhz"},
    "nvmlDeviceGetCurrentClocksEventReasons": {"throttle"},
}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return double.build(tmp_path_factory.mktemp("nvml"))


def ask(
    folder: Path, library: Path | None, script: str = double.ONE, *, seconds: float = 0, encoding: str = "utf-8"
) -> dict[str, Any]:
    """What a process learns from NVML under a script."""
    played = double.environment(library, double.script(folder / "script", script, encoding=encoding))
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(seconds)], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, **played},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def steady(values: dict[str, int | None]) -> dict[str, int | None]:
    """A sample without the counter, which goes on."""
    return {name: value for name, value in values.items() if name != "energy_mj"}


def test_every_quantity_is_told_as_the_driver_tells_it(tmp_path: Path, library: Path) -> None:
    found = ask(tmp_path, library)
    assert found["gpus"] == [["Double A", double.UUID, 80_000_000_000]]
    assert found["driver"] == "575.51"
    ((_, values, _),) = found["samples"][0]
    assert steady(values) == steady(EVERYTHING)
    assert values["energy_mj"] >= EVERYTHING["energy_mj"]
    assert found["why"] == [{}]


def test_the_series_are_those_of_the_record() -> None:
    assert set(nvml.SERIES) == set(gpu_trace.SERIES)


def test_nothing_heavy_is_loaded_to_ask(tmp_path: Path, library: Path) -> None:
    assert ask(tmp_path, library)["heavy"] == []


def test_energy_counts_what_the_power_is_over_time(tmp_path: Path, library: Path) -> None:
    samples = ask(tmp_path, library, seconds=0.5)["samples"][0]
    (before, first, after), (begin, last, end) = samples[0], samples[-1]
    watts = 90
    counted = (last["energy_mj"] - first["energy_mj"]) / 1000
    assert watts * (begin - after) / 1e9 - 0.001 <= counted <= watts * (end - before) / 1e9 + 0.001


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (3, "Not Supported"),
        (4, "Insufficient Permissions"),
        (15, "GPU is lost"),
        (999, "Unknown Error"),
        (77, "code 77"),
    ],
)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_what_one_function_refuses_is_null_with_its_reason_and_the_rest_is_told(
    tmp_path: Path, library: Path, function: str, code: int, reason: str
) -> None:
    found = ask(tmp_path, library, double.ONE + f"0 0 fail {function} {code}\n")
    ((_, values, _),) = found["samples"][0]
    expected = {name: None if name in FUNCTIONS[function] else value for name, value in EVERYTHING.items()}
    assert steady(values) == steady(expected)
    assert (values["energy_mj"] is None) == ("energy_mj" in FUNCTIONS[function])
    assert set(found["why"][0]) == FUNCTIONS[function]
    assert all(why.startswith("NVML: ") and reason in why for why in found["why"][0].values())


@pytest.mark.parametrize(
    ("function", "unknown"),
    [
        ("nvmlDeviceGetTotalEnergyConsumption", {"energy_mj": "NVML: Function Not Found"}),
        ("nvmlDeviceGetMemoryInfo_v2", {"reserved_bytes": "this driver does not tell it apart"}),
        ("nvmlDeviceGetTemperatureV", {}),
        ("nvmlDeviceGetCurrentClocksEventReasons", {}),
    ],
)
def test_an_older_driver_is_asked_by_the_older_name_if_there_is_one(
    tmp_path: Path, function: str, unknown: dict[str, str]
) -> None:
    found = ask(tmp_path, double.build(tmp_path / "older", function), seconds=0.05)
    for _, values, _ in found["samples"][0]:
        assert steady(values) == steady({k: None if k in unknown else v for k, v in EVERYTHING.items()})
        assert (values["energy_mj"] is None) == ("energy_mj" in unknown)
    assert {name: found["why"][0][name] for name in unknown} == unknown


def test_a_gpu_that_is_lost_on_the_way_is_null_from_then_on(tmp_path: Path, library: Path) -> None:
    lost = "".join(f"0.5 0 fail {function} 15\n" for function in FUNCTIONS)
    found = ask(tmp_path, library, double.ONE + lost, seconds=0.8)
    first, last = found["samples"][0][0][1], found["samples"][0][-1][1]
    assert None not in first.values()
    assert set(last.values()) == {None}
    assert set(found["why"][0].values()) == {"NVML: GPU is lost"}


def test_what_fails_for_a_while_comes_back(tmp_path: Path, library: Path) -> None:
    script = double.ONE + "0 0 fail nvmlDeviceGetPowerUsage 999\n0.5 0 fail nvmlDeviceGetPowerUsage 0\n"
    samples = ask(tmp_path, library, script, seconds=0.8)["samples"][0]
    assert (samples[0][1]["power_mw"], samples[-1][1]["power_mw"]) == (None, 90_000)


def test_what_is_not_supported_is_not_asked_again(tmp_path: Path, library: Path) -> None:
    script = double.ONE + "0 0 fail nvmlDeviceGetPowerUsage 3\n0.5 0 fail nvmlDeviceGetPowerUsage 0\n"
    samples = ask(tmp_path, library, script, seconds=0.8)["samples"][0]
    assert {values["power_mw"] for _, values, _ in samples} == {None}


def test_a_counter_that_steps_back_is_null_once_and_counts_on(tmp_path: Path, library: Path) -> None:
    found = ask(tmp_path, library, double.ONE + "0.5 0 energy 5\n", seconds=0.8)
    energy = [values["energy_mj"] for _, values, _ in found["samples"][0]]
    assert energy.count(None) == 1
    gap = energy.index(None)
    assert energy[gap - 1] >= 1_000_000
    assert energy[gap + 1] < 1_000_000
    assert energy[gap + 1 :] == sorted(energy[gap + 1 :])
    assert found["why"][0]["energy_mj"].startswith("the counter stepped back from 1")


def test_all_ones_are_no_value(tmp_path: Path, library: Path) -> None:
    found = ask(tmp_path, library, double.ONE + f"0 0 power {2**32 - 1}\n0 0 used {2**63}\n")
    ((_, values, _),) = found["samples"][0]
    assert (values["power_mw"], values["used_bytes"]) == (None, None)
    assert found["why"][0]["power_mw"] == "NVML gave 4294967295, which is no value"


def test_an_instance_of_a_gpu_tells_its_memory_and_says_what_it_does_not(tmp_path: Path, library: Path) -> None:
    script = double.ONE + "gpu 1 MIG-11111111-0000 Double MIG 1g.10gb of 0\n0 1 total 10000000000\n0 1 used 7\n"
    found = ask(tmp_path, library, script)
    assert [(name, uuid[:4], memory) for name, uuid, memory in found["gpus"]] == [
        ("Double A", "GPU-", 80_000_000_000),
        ("Double MIG 1g.10gb", "MIG-", 10_000_000_000),
    ]
    ((_, values, _),) = found["samples"][1]
    assert {name: value for name, value in values.items() if value is not None} == {
        "used_bytes": 7,
        "reserved_bytes": 0,
    }
    assert found["why"][1] == dict.fromkeys(set(EVERYTHING) - {"used_bytes", "reserved_bytes"}, "NVML: Not Supported")


@pytest.mark.parametrize(
    ("failure", "gpus", "driver"),
    [
        ("nvmlDeviceGetCount_v2 4", 0, "575.51"),
        ("nvmlDeviceGetHandleByIndex_v2 4", 0, "575.51"),
        ("nvmlDeviceGetUUID 4", 0, "575.51"),
        ("nvmlSystemGetDriverVersion 999", 1, None),
        ("nvmlShutdown 999", 1, "575.51"),
    ],
)
def test_what_cannot_be_listed_is_left_out(
    tmp_path: Path, library: Path, failure: str, gpus: int, driver: str | None
) -> None:
    found = ask(tmp_path, library, double.ONE + f"0 * fail {failure}\n")
    assert (len(found["gpus"]), found["driver"]) == (gpus, driver)


def test_a_gpu_without_a_name_or_known_memory_is_still_one(tmp_path: Path, library: Path) -> None:
    failures = "0 0 fail nvmlDeviceGetName 999\n0 0 fail nvmlDeviceGetMemoryInfo 4\n"
    assert ask(tmp_path, library, double.ONE + failures)["gpus"] == [["unnamed", double.UUID, None]]


@pytest.mark.parametrize(
    ("code", "reason"), [(9, "Driver Not Loaded"), (4, "Insufficient Permissions"), (18, "NVML/RM")]
)
def test_nvml_that_does_not_start_is_absent_with_its_reason(
    tmp_path: Path, library: Path, code: int, reason: str
) -> None:
    found = ask(tmp_path, library, double.ONE + f"0 * fail nvmlInitWithFlags {code}\n")
    assert (found["gpus"], found["driver"]) == ([], None)
    assert reason in found["absent"]


@pytest.mark.skipif(ctypes.util.find_library("nvidia-ml") is not None, reason="this machine has NVML")
def test_a_missing_library_is_absent_with_its_reason(tmp_path: Path) -> None:
    found = ask(tmp_path, None)
    assert (found["gpus"], found["driver"], found["absent"]) == ([], None, "NVML: NVML Shared Library Not Found")


def test_a_missing_package_is_absent_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert nvml.gpus() == ()
    with pytest.raises(MachineError, match="nvidia-ml-py is not installed"), nvml.opened():
        pass


A, B, PART = (ListedGpu("x", uuid, None) for uuid in ("GPU-aa11", "GPU-bb22", "MIG-cc33"))


@pytest.mark.parametrize(
    ("uuid", "visible", "place"),
    [
        (None, None, 0),
        ("GPU-bb22", None, 2),
        ("GPU-bb22", "0", 2),  # what the framework says is so, whatever was asked for
        ("GPU-CC33", None, 1),  # a framework may take an instance for a GPU
        (None, "1", 2),  # an instance has no place among GPUs
        (None, "1,0", 2),
        (None, "GPU-bb", 2),
        (None, "MIG-cc33", 1),
        ("GPU-dd", None, "the framework computes on GPU-dd, but NVML shows GPU-aa11, MIG-cc33, GPU-bb22"),
        (None, "2", "CUDA_VISIBLE_DEVICES=2 names none that NVML shows"),
        (None, "", "CUDA_VISIBLE_DEVICES= names none that NVML shows"),
        (None, "-1", "CUDA_VISIBLE_DEVICES=-1 names none that NVML shows"),
    ],
)
def test_a_gpu_is_found_by_the_frameworks_uuid_or_as_cuda_finds_it(
    uuid: str | None, visible: str | None, place: int | str
) -> None:
    assert choose((A, PART, B), uuid, visible) == place


def test_where_there_is_no_gpu_none_is_found() -> None:
    assert choose((), None, None) == "NVML shows no GPU"
