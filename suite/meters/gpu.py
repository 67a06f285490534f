"""The GPU of a trial: starts the sampler, notes what was done when, and gives each cell its trace.

Nothing here runs inside a timed region: a span notes the clock before the first timed call and after the last.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns
from typing import IO

from suite.meters import nvml
from suite.meters.sampler import PERIOD_NS
from suite.results.gpu_trace import LONGEST, Metered, Span, Unmetered
from suite.results.questions import QuestionKind

IDLE_NS = 1_000_000_000
"""How long the idle GPU is sampled before the framework is imported."""
PATIENCE_NS = 20_000_000_000
"""How long to wait for the first sample: a driver that nobody uses takes seconds to start."""
STALE_NS = 5_000_000_000
"""A sampler that has said nothing for so long hangs."""
SETTLE_SECONDS = 2.0


@dataclass
class Mark:
    """A span that goes on; ``images`` may be counted until it ends."""

    images: int = 0


class Meter:
    """No GPU is to be metered: whatever happens is noted nowhere."""

    def idle(self) -> None:
        """Sample the GPU before the framework is there."""

    def aim(self, uuid: str | None) -> None:
        """Sample the GPU that the framework computes on, if it tells; else the first that CUDA would take."""

    def begin(self) -> None:
        """A cell begins."""

    @contextmanager
    def span(
        self,
        kind: QuestionKind,  # noqa: ARG002 - for those who meter
        batch_size: int | None = None,  # noqa: ARG002
        images: int = 0,
    ) -> Iterator[Mark]:
        """Stands around work of one kind."""
        yield Mark(images)

    def trace(self) -> Metered | Unmetered | None:
        """What the GPU did since the cell began, its idle samples before."""
        return None


OFF = Meter()


@contextmanager
def metering(wanted: bool, period_ns: int = PERIOD_NS) -> Iterator[Meter]:
    """A meter, and the sampler for as long as it is needed if a GPU is ``wanted``."""
    if not wanted:
        yield OFF
        return
    with contextlib.ExitStack() as stack:
        try:
            lines = stack.enter_context(tempfile.TemporaryFile())
            process = subprocess.Popen(
                [sys.executable, "-m", "suite.meters.sampler", str(period_ns)],
                cwd=Path(__file__).parents[2], stdin=subprocess.PIPE, stdout=lines,
            )  # fmt: skip
        except OSError as error:
            meter = Sampled(None, None, period_ns, f"the sampler could not be started ({error.strerror})")
        else:
            stack.callback(_end, process)
            meter = Sampled(process, lines, period_ns)
        yield meter


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let the sampler end by itself, then not."""
    assert process.stdin
    process.stdin.close()
    try:
        process.wait(SETTLE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # stuck in the driver: it ends when the driver lets it
            process.wait(SETTLE_SECONDS)


class Sampled(Meter):
    """What the sampler says, read as it grows, and the spans of the cell."""

    def __init__(
        self, process: subprocess.Popen[bytes] | None, lines: IO[bytes] | None, period_ns: int, reason: str = ""
    ) -> None:
        self._process, self._lines, self._period_ns, self._reason = process, lines, period_ns, reason
        self._pipe = process.stdin.fileno() if process and process.stdin else -1
        self._read, self._rest, self._last_ns = 0, b"", 0
        self._driver: str | None = None
        self._shown: dict[int, nvml.ListedGpu] = {}
        self._number: int | None = None
        self._said: list[Said] = []
        self._idle: tuple[Span, ...] = ()
        self._idle_said: list[Said] = []
        self._spans: list[Span] = []

    def idle(self) -> None:
        """Sample the GPU before the framework is there; returns after a second of samples, or if there are none."""
        until = perf_counter_ns() + PATIENCE_NS
        first = None
        while not self._reason and perf_counter_ns() < until:
            self._listen()
            ats = [said.at for said in self._said if said.at]
            if first is None and ats:
                first, until = ats[0], ats[0] + IDLE_NS
            if self._ended():
                break
            time.sleep(0.02)
        if first is None:
            self._reason = self._reason or "the sampler gave no sample"
            return
        self._idle = (Span(kind="idle", begin_ns=first, end_ns=max(first, perf_counter_ns())),)

    def aim(self, uuid: str | None) -> None:
        """Sample this GPU alone; the idle samples are those of it."""
        if self._reason or not self._process:
            return
        self._listen()
        place = nvml.choose(tuple(self._shown.values()), uuid, os.environ.get("CUDA_VISIBLE_DEVICES"))
        if isinstance(place, str):
            self._reason = place
            return
        self._number = tuple(self._shown)[place]
        with contextlib.suppress(OSError):  # it has ended: the trace will say so
            os.write(self._pipe, f"{self._number}\n".encode())

    def begin(self) -> None:
        """A cell begins; of what was before only the idle samples stay, and why values are null."""
        self._listen()
        until = self._idle[0].end_ns if self._idle else 0
        mine = [said for said in self._said if said.number == self._number]
        if not self._idle_said:
            self._idle_said = [said for said in mine if said.at <= until]
        reasons = {said.series: said for said in mine if said.series}
        self._said = list(reasons.values())
        self._spans = []

    @contextmanager
    def span(self, kind: QuestionKind, batch_size: int | None = None, images: int = 0) -> Iterator[Mark]:
        """Notes when the work began and ended, and nothing while it goes on."""
        mark = Mark(images)
        begin = perf_counter_ns()
        yield mark
        end = perf_counter_ns()
        self._spans.append(Span(kind=kind, batch_size=batch_size, images=mark.images, begin_ns=begin, end_ns=end))

    def trace(self) -> Metered | Unmetered:
        """The idle samples and those since the cell began; or why there are none."""
        self._listen()
        if reason := self._reason or self._ended() or self._hung():
            return Unmetered(reason=reason[:400])
        if self._number is None:
            return Unmetered(reason="no GPU was chosen")
        samples, unknown = _collect([said for said in self._idle_said + self._said if said.number == self._number])
        samples = [samples[i * len(samples) // LONGEST] for i in range(LONGEST)] if len(samples) > LONGEST else samples
        columns = zip(*(sample.values for sample in samples), strict=True) if samples else [()] * len(nvml.SERIES)
        gpu = self._shown[self._number]
        series = dict(zip(nvml.SERIES, columns, strict=True))
        fields = {
            "name": gpu.name[:400],
            "uuid": gpu.uuid[:400],
            "driver": self._driver,
            "period_ns": self._period_ns,
            "at_ns": tuple(sample.at for sample in samples),
            "unknown": unknown,
            "spans": (*self._idle, *self._spans),
        }
        return Metered.model_validate(fields | series)

    def _listen(self) -> None:
        """Take what the sampler has written since; a line that is not whole yet waits."""
        while self._lines and (chunk := os.pread(self._lines.fileno(), 1 << 20, self._read)):
            self._read += len(chunk)
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            for line in lines:
                self._take(line.decode("utf-8", "replace"))

    def _take(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        match word:
            case "at":
                number, at, *values = rest.split()
                sample = tuple(None if value == "-" else int(value) for value in values)
                self._last_ns = int(at)
                self._said.append(Said(int(number), at=self._last_ns, values=sample))
            case "why":
                number, series, reason = rest.split(" ", 2)
                self._said.append(Said(int(number), series=series, reason=reason))
            case "gpu":
                number, memory, uuid, name = [*rest.split(" ", 3), ""][:4]
                self._shown[int(number)] = nvml.ListedGpu(name, uuid, None if memory == "-" else int(memory))
            case "driver":
                self._driver = None if rest == "-" else rest[:400]
            case "none":
                self._reason = rest

    def _ended(self) -> str:
        """Why there will be no more samples, if the sampler has ended."""
        status = self._process.poll() if self._process else None
        return "" if status is None else f"the sampler ended early, with status {status}"

    def _hung(self) -> str:
        silent = perf_counter_ns() - self._last_ns
        return f"the sampler hangs: no sample for {silent / 1e9:.0f} s" if silent > STALE_NS else ""


@dataclass(frozen=True)
class Said:
    """A line of the sampler's: a sample ``at`` a time, or the ``reason`` why nulls of a ``series`` are null now."""

    number: int
    at: int = 0
    values: nvml.Values = ()
    series: str = ""
    reason: str = ""


def _collect(said: list[Said]) -> tuple[list[Said], dict[str, str]]:
    """The samples, and for every series with a null among them all reasons why."""
    why: dict[str, str] = {}
    reasons: dict[str, dict[str, None]] = {}
    samples = []
    for each in said:
        if each.series:
            why[each.series] = each.reason
            continue
        samples.append(each)
        for name, value in zip(nvml.SERIES, each.values, strict=True):
            if value is None:
                reasons.setdefault(name, {})[why.get(name, "not known")] = None
    return samples, {name: "; ".join(found)[:400] for name, found in reasons.items()}


def device_bytes(trace: Metered | Unmetered | None) -> int | None:
    """Peak of the memory used while the cell ran, above the median of the idle samples; null if either is unknown."""
    if not isinstance(trace, Metered):
        return None
    idle = max((span.end_ns for span in trace.spans if span.kind == "idle"), default=0)
    known = [(at, used) for at, used in zip(trace.at_ns, trace.used_bytes, strict=True) if used is not None]
    before = [used for at, used in known if at <= idle]
    during = [used for at, used in known if at > idle]
    if not before or not during:
        return None
    rise = max(during) - round(statistics.median(before))
    return rise if rise >= 0 else None
