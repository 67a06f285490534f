"""How ``torch.profiler`` is asked where the time of a call goes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import torch
from torch._inductor import config as inductor

from suite.runners.base import Event, Traced

CALL = "profiled call"
OPTIMIZER = "Optimizer.step#"
"""How the range begins that PyTorch itself puts around an optimizer's step."""
DEVICE = frozenset({"kernel", "gpu_memcpy", "gpu_memset"})
GENERATED = re.compile(r"(?:graph_\d+_)?(?:cpp|triton_[a-z]+)_fused_(?P<holds>.*?)_*(?P<number>\d+)")
"""Inductor names a kernel after the operations that it holds, and counts them."""
AROUND = re.compile(
    r"autograd::engine::.*|torch::autograd::.*|\w+Backward\d*|detach_?|TorchDynamo .*|Torch-Compiled Region.*|"
    r"CompiledFunction\w*|Pregraph .*|AOTDispatcher .*|## Call CompiledFxGraph .*|Inductor.*|ProfilerStep.*"
)
"""Ranges around operations, of autograd and of compiled code: their own time is that of whoever calls, not of work."""

blind = "threads inside an operation; of compiled code, what is between its kernels"


def prepared() -> AbstractContextManager[object]:
    """In it Inductor compiles kernels for a processor that tell the profiler their names; those of a GPU always do."""
    return cast(AbstractContextManager[object], inductor.patch({"cpp.enable_kernel_profile": True}))


def profiled(call: Callable[[], object], trace: Path) -> Traced:
    """Call once under the profiler, and write what it saw as a Chrome trace."""
    kinds = torch.profiler.ProfilerActivity
    activities = [kinds.CPU, kinds.CUDA] if torch.cuda.is_initialized() else [kinds.CPU]
    with torch.profiler.profile(activities=activities) as profiler, torch.profiler.record_function(CALL):
        call()
    profiler.export_chrome_trace(str(trace))
    return read(json.loads(trace.read_text(encoding="utf-8"))["traceEvents"])


def read(events: Iterable[dict[str, Any]]) -> Traced:
    """The operations of a trace, and when the profiled call was."""
    spans = [event for event in events if event.get("ph") == "X"]
    whole = next(event for event in spans if event["name"] == CALL and event["cat"] == "user_annotation")
    steps = [e for e in spans if e["name"].startswith(OPTIMIZER) and e["cat"] == "user_annotation"]
    found = []
    for event in spans:
        name, kind = str(event["name"]), event.get("cat")
        start, lasting = _ns(event["ts"]), _ns(event["dur"])
        if kind in DEVICE:
            name, holds = _told(name)
            found.append(Event(name, start, lasting, f"stream {event['tid']}", holds, True, bool(holds)))
        elif kind == "cpu_op" and AROUND.fullmatch(name):
            found.append(Event(name, start, lasting, f"thread {event['tid']}", around=True))
        elif kind == "cpu_op":
            name, holds = _told(name)
            fused = bool(holds)
            if any(step["tid"] == event["tid"] and _within(event, step) for step in steps):
                holds = ("optimizer",)
            found.append(Event(name, start, lasting, f"thread {event['tid']}", holds, fused=fused))
    return Traced(found, _ns(whole["ts"]), _ns(whole["ts"]) + _ns(whole["dur"]))


def _told(name: str) -> tuple[str, tuple[str, ...]]:
    """A kernel's name, the number first where Inductor made it, and what it holds."""
    made = GENERATED.fullmatch(name)
    return (f"fused kernel {made['number']}: {made['holds'].strip('_')}", (made["holds"],)) if made else (name, ())


def _within(event: dict[str, Any], around: dict[str, Any]) -> bool:
    return bool(around["ts"] <= event["ts"] and event["ts"] + event["dur"] <= around["ts"] + around["dur"])


def _ns(microseconds: float) -> int:
    return round(float(microseconds) * 1000)
