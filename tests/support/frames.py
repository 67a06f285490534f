"""Which of the suite's own frames run inside a timed region, as the interpreter's profiling hook sees them."""

import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter_ns
from types import FrameType
from typing import Any

from suite.machine.environment import ROOT
from suite.meters.clock import timed
from suite.trial.agent import Seat

SUITE = f"{ROOT / 'suite'}/"


CALLS = {"training": "train", "throughput": "predict"}
"""What a block of a question calls."""
CLOCKS = {
    timed.__code__: lambda frame: frame.f_locals["call"].__name__,
    Seat.block.__code__: lambda frame: CALLS[frame.f_locals["question"]],
    Seat._latency.__code__: lambda frame: "infer",
}
"""Functions that read the clock before and after what they time, and the name of that."""


@contextmanager
def watched() -> Iterator[dict[str, set[str]]]:
    """Files of suite/ with a frame between two readings of the clock in ``CLOCKS``, by the name of what is timed.

    A call without any such frame is there with an empty set.
    """
    seen: dict[str, set[str]] = defaultdict(set)
    readings, inside = 0, ""

    def hook(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal readings, inside
        if inside and event == "call" and frame.f_code.co_filename.startswith(SUITE):
            seen[inside].add(frame.f_code.co_filename.removeprefix(SUITE))
        if frame.f_code not in CLOCKS:
            return
        if event in ("call", "return"):
            readings, inside = 0, ""
        elif event == "c_call" and argument is perf_counter_ns:
            readings, inside = readings + 1, ""
        elif event == "c_return" and argument is perf_counter_ns and readings % 2:
            inside = CLOCKS[frame.f_code](frame)
            seen[inside] |= set()

    threading.setprofile(hook)
    sys.setprofile(hook)
    try:
        yield seen
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]  # what the documentation says, if not the stubs


STATED = {
    "build": {
        *("spec/resolved.py", "spec/dataset.py", "spec/graph.py", "spec/layers.py", "spec/tensors.py"),
        *("spec/tasks/task.py", "errors.py"),
    },
    "train": {"spec/resolved.py"},
}
"""What a runner may ask of a spec: all while it builds, which is no sample; before its steps, their learning rates."""


def strangers(seen: dict[str, set[str]], *own: str) -> dict[str, set[str]]:
    """Of what was ``watched`` during a measurement, the files that are not the runner's ``own``, by what was timed.

    Raises AssertionError if the watch saw no measurement at all.
    """
    assert {"train", "predict", "infer"} <= seen.keys()
    allowed = {call: STATED.get(call, set()) for call in seen}
    found = {call: {f for f in files if not f.startswith(own)} - allowed[call] for call, files in seen.items()}
    return {call: files for call, files in found.items() if files}
