"""The sampler as a process of its own, and what a trial makes of its samples."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from suite.machine.environment import ROOT
from suite.meters import gpu, sampler
from suite.meters.gpu import Meter, Sampled, device_bytes, metering
from suite.results.gpu_trace import Metered, Span, Unmetered
from suite.results.questions import QuestionKind
from tests.support import nvml as double

pytestmark = pytest.mark.skipif(double.COMPILER is None, reason="the double of NVML needs a C compiler")

PERIOD_NS = 20_000_000
OTHER = "GPU-11111111-aaaa-bbbb-cccc-111111111111"
TWO = double.ONE + f"gpu 1 {OTHER} Double B\n0 1 used 900000000\n0 1 celsius 77\n"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return double.build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def play(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the processes that this one starts meet the double under a script."""
    monkeypatch.setattr(gpu, "IDLE_NS", 200_000_000)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def set_up(text: str = double.ONE, *, since_ns: int | None = None) -> None:
        for name, value in double.environment(
            library, double.script(tmp_path / "script", text), since_ns=since_ns
        ).items():
            monkeypatch.setenv(name, value)

    return set_up


def soon(condition: Callable[[], object], what: str) -> None:
    """Wait until it holds, for as long as a loaded machine may take."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def sampled(meter: Meter, more: int = 5) -> Metered:
    """The trace once it holds some samples more than the idle ones."""

    def enough() -> bool:
        trace = meter.trace()
        assert isinstance(trace, Metered), trace
        return sum(at > trace.spans[0].end_ns for at in trace.at_ns) >= more

    soon(enough, "no samples come")
    trace = meter.trace()
    assert isinstance(trace, Metered)
    return trace


def process_of(meter: Meter) -> subprocess.Popen[bytes]:
    assert isinstance(meter, Sampled)
    assert meter._process
    return meter._process


def test_a_cell_gets_the_idle_samples_and_its_own_and_its_spans(play: Callable[..., None]) -> None:
    play()
    with metering(True, PERIOD_NS) as meter:
        meter.idle()
        meter.aim(None)
        time.sleep(10 * PERIOD_NS / 1e9)  # the framework is imported
        begun = time.perf_counter_ns()
        meter.begin()
        with meter.span(QuestionKind.TRAINING, 32, 7) as mark:
            sampled(meter)
            mark.images = 1437
        with meter.span(QuestionKind.LATENCY, 1, 20):
            pass
        trace = sampled(meter)
    assert (trace.name, trace.uuid, trace.driver, trace.period_ns) == ("Double A", double.UUID, "575.51", PERIOD_NS)
    assert [(span.kind, span.batch_size, span.images) for span in trace.spans] == [
        ("idle", None, 0), ("training", 32, 1437), ("latency", 1, 20),
    ]  # fmt: skip
    idle, training, latency = trace.spans
    assert idle.end_ns <= training.begin_ns < training.end_ns <= latency.begin_ns
    assert sum(at <= idle.end_ns for at in trace.at_ns) >= 3
    assert not any(idle.end_ns < at < begun - PERIOD_NS for at in trace.at_ns)
    assert sum(training.begin_ns <= at <= training.end_ns for at in trace.at_ns) >= 3
    assert (set(trace.used_bytes), set(trace.celsius), set(trace.throttle)) == ({500_000_000}, {41}, {4})
    assert list(trace.energy_mj) == sorted(trace.energy_mj)
    assert trace.unknown == {}


def test_memory_that_rises_is_the_devices_peak_above_idle(play: Callable[..., None]) -> None:
    """The time of the script begins late, so that it rises once the cell has begun."""
    ahead = 3_000_000_000
    play(double.ONE + "0.1 0 used 3000000000\n0.3 0 used 2000000000\n", since_ns=time.monotonic_ns() + ahead)
    with metering(True, PERIOD_NS) as meter:
        meter.idle()
        meter.aim(None)
        meter.begin()
        soon(lambda: 2_000_000_000 in sampled(meter).used_bytes, "the memory never fell again")
        trace = sampled(meter)
    assert device_bytes(trace) == 2_500_000_000


def test_a_later_cell_gets_the_same_idle_samples_and_none_of_the_cell_before(play: Callable[..., None]) -> None:
    play(double.ONE + "0 0 fail nvmlDeviceGetPowerUsage 4\n")
    with metering(True, PERIOD_NS) as meter:
        meter.idle()
        meter.aim(None)
        meter.begin()
        first = sampled(meter)
        meter.begin()
        begun = time.perf_counter_ns()
        second = sampled(meter)
    idle = first.spans[0].end_ns
    assert second.spans == first.spans
    assert [at for at in second.at_ns if at <= idle] == [at for at in first.at_ns if at <= idle]
    assert all(at > begun - 2 * PERIOD_NS for at in second.at_ns if at > idle)
    assert first.unknown == second.unknown == {"power_mw": "NVML: Insufficient Permissions"}


def test_the_gpu_that_the_framework_names_is_the_one_from_the_first_sample_on(play: Callable[..., None]) -> None:
    play(TWO)
    with metering(True, PERIOD_NS) as meter:
        meter.idle()
        meter.aim(OTHER)
        meter.begin()
        trace = sampled(meter)
    assert (trace.uuid, trace.name) == (OTHER, "Double B")
    assert (set(trace.used_bytes), set(trace.celsius)) == ({900_000_000}, {77})
    assert sum(at <= trace.spans[0].end_ns for at in trace.at_ns) >= 3


def test_only_the_gpu_that_is_wanted_is_sampled_on(play: Callable[..., None]) -> None:
    play(TWO)
    with metering(True, PERIOD_NS) as meter:
        meter.idle()
        meter.aim(OTHER)
        meter.begin()
        sampled(meter)
        meter.begin()
        sampled(meter)
        assert isinstance(meter, Sampled)
        assert {said.number for said in meter._said if said.at} == {1}


def test_a_gpu_that_nvml_does_not_show_is_not_metered_and_both_are_named(play: Callable[..., None]) -> None:
    play()
    with metering(True, PERIOD_NS) as meter:
        meter.idle()
        meter.aim(OTHER)
        meter.begin()
        trace = meter.trace()
    assert trace == Unmetered(reason=f"the framework computes on {OTHER}, but NVML shows {double.UUID}")


def test_no_gpu_wanted_is_no_process_and_no_trace() -> None:
    before = psutil.Process().children()
    with metering(False) as meter:
        meter.idle()
        meter.aim("GPU-x")
        meter.begin()
        with meter.span(QuestionKind.TRAINING, 1, 1) as mark:
            mark.images += 1
        assert meter.trace() is None
        assert psutil.Process().children() == before


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (double.ONE + "0 * fail nvmlInitWithFlags 9\n", "NVML: Driver Not Loaded"),
        ("driver 1\n", "NVML shows no GPU"),
        (double.ONE + "0 * fail nvmlDeviceGetHandleByIndex_v2 4\n", "NVML shows no GPU"),
    ],
)
def test_no_driver_or_no_gpu_is_unmetered_with_the_reason(play: Callable[..., None], script: str, reason: str) -> None:
    play(script)
    with metering(True, PERIOD_NS) as meter:
        meter.idle()
        meter.aim(None)
        meter.begin()
        assert meter.trace() == Unmetered(reason=reason)


def test_a_gpu_lost_on_the_way_is_null_from_then_on_and_the_trace_says_why(play: Callable[..., None]) -> None:
    play(double.ONE + "0.1 0 fail nvmlDeviceGetPowerUsage 15\n", since_ns=time.monotonic_ns() + 3_000_000_000)
    with metering(True, PERIOD_NS) as meter:
        meter.idle()
        meter.aim(None)
        meter.begin()
        soon(lambda: None in sampled(meter).power_mw, "it was never lost")
        trace = sampled(meter)
        meter.begin()
        later = sampled(meter)
    assert trace.power_mw[0] == 90_000
    assert trace.power_mw[-1] is None
    assert trace.unknown == later.unknown == {"power_mw": "NVML: GPU is lost"}


def test_a_sampler_that_is_killed_leaves_its_cells_unmetered(play: Callable[..., None]) -> None:
    play()
    with metering(True, PERIOD_NS) as meter:
        meter.idle()
        meter.aim(None)
        meter.begin()
        process_of(meter).kill()
        process_of(meter).wait()
        with meter.span(QuestionKind.TRAINING, 1, 1):
            pass
        assert meter.trace() == Unmetered(reason="the sampler ended early, with status -9")


def test_a_sampler_that_hangs_leaves_its_cells_unmetered_and_is_ended_all_the_same(
    play: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "STALE_NS", 300_000_000)
    monkeypatch.setattr(gpu, "SETTLE_SECONDS", 0.1)
    play()
    with metering(True, PERIOD_NS) as meter:
        meter.idle()
        meter.aim(None)
        meter.begin()
        process = process_of(meter)
        process.send_signal(signal.SIGSTOP)
        soon(lambda: isinstance(meter.trace(), Unmetered), "it was not missed")
        trace = meter.trace()
        assert isinstance(trace, Unmetered)
        assert trace.reason.startswith("the sampler hangs")
    assert process.poll() == -signal.SIGKILL


def test_a_sampler_that_cannot_be_started_leaves_its_cells_unmetered(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(gpu.subprocess, "Popen", refuse)
    with metering(True) as meter:
        meter.idle()
        meter.aim(None)
        meter.begin()
        assert meter.trace() == Unmetered(reason="the sampler could not be started (Cannot allocate memory)")


def test_a_long_trace_is_thinned_evenly(play: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    play()
    with metering(True, PERIOD_NS) as meter:
        meter.idle()
        meter.aim(None)
        meter.begin()
        whole = sampled(meter, more=30)
        monkeypatch.setattr(gpu, "LONGEST", 10)
        thin = meter.trace()
    assert isinstance(thin, Metered)
    assert len(thin.at_ns) == 10
    assert thin.at_ns[0] == whole.at_ns[0]
    assert thin.at_ns[-1] >= whole.at_ns[-5]


@pytest.mark.parametrize("number", [signal.SIGTERM, None])
def test_the_sampler_ends_in_good_order_with_whole_lines(
    play: Callable[..., None], tmp_path: Path, number: int | None
) -> None:
    """When told to, and when the pipe ends; what it wrote until then is there."""
    play()
    with (tmp_path / "lines").open("wb") as lines:
        process = subprocess.Popen(
            [sys.executable, "-m", "suite.meters.sampler", str(PERIOD_NS)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=lines,
        )
    assert process.stdin
    soon(lambda: (tmp_path / "lines").read_bytes().count(b"\nat ") > 3, "no samples come")
    if number:
        process.send_signal(number)
    else:
        process.stdin.close()
    assert process.wait(20) == 0
    process.stdin.close()
    text = (tmp_path / "lines").read_text()
    assert text.endswith("\n")
    assert {line.split()[0] for line in text.splitlines()} == {"driver", "gpu", "at"}


PARENT = """
import subprocess, sys, time
from suite.meters.gpu import metering
with metering(True, 20_000_000) as meter:
    meter.idle()
    pipe = [meter._process.stdin.fileno()] if sys.argv[1] == "held" else []
    child = subprocess.Popen(["sleep", "60"], pass_fds=pipe)
    print(meter._process.pid, child.pid, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("pipe", ["free", "held"])
def test_the_sampler_ends_when_its_parent_is_killed(play: Callable[..., None], pipe: str) -> None:
    """Also where another child of the parent still holds the pipe open."""
    play()
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, pipe], cwd=ROOT, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
    )
    assert parent.stdout
    pid, child = map(int, parent.stdout.readline().split())
    sampling = psutil.Process(pid)
    try:
        assert sampling.is_running()
        parent.kill()
        parent.wait()
        soon(lambda: not sampling.is_running() or sampling.status() == psutil.STATUS_ZOMBIE, "the sampler lives on")
    finally:
        parent.stdout.close()
        os.kill(child, signal.SIGKILL)


def test_metering_adds_no_thread_to_the_process_that_is_measured(play: Callable[..., None]) -> None:
    play()
    before = threading.active_count()
    with metering(True, PERIOD_NS) as meter:
        meter.idle()
        meter.aim(None)
        meter.begin()
        assert threading.active_count() == before
        assert psutil.Process().children() == [psutil.Process(process_of(meter).pid)]


def test_the_sampler_gives_way_to_what_is_measured(play: Callable[..., None]) -> None:
    play()
    with metering(True, PERIOD_NS) as meter:
        meter.idle()
        assert psutil.Process(process_of(meter).pid).nice() == min(19, psutil.Process().nice() + sampler.NICENESS)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A clock that moves when somebody waits or says so."""
    time_ = SimpleNamespace(now=0)

    def wait(*arguments: Any) -> tuple[list[int], list[int], list[int]]:
        time_.now += round(arguments[3] * 1e9)
        return [], [], []

    monkeypatch.setattr(sampler, "perf_counter_ns", lambda: time_.now)
    monkeypatch.setattr(sampler.select, "select", wait)
    return time_


def test_samples_keep_to_their_schedule_and_a_late_one_delays_no_other(
    clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []
    takes = iter([30, 30, 250, 30, 30])  # the third takes two periods and a half

    def read() -> tuple[None, ...]:
        taken.append(clock.now)
        clock.now += next(takes)
        return (0,) * len(sampler.nvml.SERIES)

    parents = iter([1, 1, 1, 1, 1, 2])
    monkeypatch.setattr(sampler.os, "getppid", lambda: next(parents))
    monkeypatch.setattr(sampler, "say", lambda *words: None)
    sampler.sample({0: SimpleNamespace(sample=read, why={})}, 100, parent=1)
    assert taken == [0, 100, 200, 500, 600]


def trace(idle: list[int | None], during: list[int | None]) -> Metered:
    used = (*idle, *during)
    nulls = (None,) * len(used)
    return Metered(
        name="x", uuid="GPU-x", driver=None, period_ns=1, at_ns=tuple(range(len(used))), used_bytes=used,
        reserved_bytes=nulls, energy_mj=nulls, power_mw=nulls, utilization_percent=nulls, celsius=nulls, sm_mhz=nulls,
        memory_mhz=nulls, throttle=nulls, spans=(Span(kind="idle", begin_ns=0, end_ns=max(len(idle) - 1, 0)),),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("idle", "during", "expected"),
    [
        ([5, 5, 9], [6, 8, 7], 3),
        ([5], [None, 8, None], 3),
        ([5], [5], 0),
        ([None], [8], None),
        ([5], [None], None),
        ([5], [], None),
        ([9], [3], None),  # somebody else gave memory back: nothing is known
    ],
)
def test_the_memory_of_a_cell_is_above_the_median_of_idle_or_unknown(
    idle: list[int | None], during: list[int | None], expected: int | None
) -> None:
    assert device_bytes(trace(idle, during)) == expected


def test_without_a_trace_no_memory_is_known() -> None:
    assert device_bytes(None) is None
    assert device_bytes(Unmetered(reason="none")) is None
