"""How ``tf.profiler`` is asked where the time of a call goes: it writes planes of lines of events, an XSpace."""

from __future__ import annotations

import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from tensorflow.compiler.xla.service import hlo_pb2
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from suite.runners.base import Event, Traced
from suite.runners.tf.core import tf

CALL = "profiled call"
HOST, GPU, METADATA = "/host:CPU", "/device:GPU", "/host:metadata"
GRAPH_OP = re.compile(r"(?P<path>[^\s:]+):(?P<type>[A-Za-z_]\w*)")
"""What the executor of a graph calls an operation: its node, and its type."""
EAGER_OP, EAGER_RUN = "EagerLocalExecute: ", "KernelAndDeviceFunc::Run"
"""An eager operation, whose name tells its type, and within it the kernel itself."""
LOOP = re.compile(r"^(?:\w+/)*?while/body/_\d+/|(?<![^/])while/")
"""What the loop over the steps adds to the name of a node."""
AROUND = re.compile(
    r"__inference_.*|__forward_.*|__backward_.*|While|If|Case|(?:Stateful)?PartitionedCall|_?Xla(?:Launch|Run|Compile)\w*|"
    r"Enter|Exit|Switch|Merge|NextIteration|LoopCond"
)
"""Types of operations that hold others: their own time is that of whoever calls, not of work."""
HOLDING = frozenset({"while", "conditional", "call", "async-start", "async-done"})
"""The same of XLA's instructions."""
IDLE_CODES = frozenset(
    {"parameter", "constant", "broadcast", "iota", "bitcast", "tuple", "get-tuple-element", "reshape"}
)
"""Parts of a fused kernel that tell nothing of its work."""
HEAVY = frozenset({"dot", "convolution"})

blind = "threads inside an operation, and operations of a graph that TensorFlow deems cheap: they are not traced"


class Instruction(NamedTuple):
    """One of XLA's: what it does, and the types of TensorFlow's operations that it comes from."""

    code: str
    holds: tuple[str, ...]
    fused: bool


Modules = dict[tuple[str, str], Instruction]
"""Instructions by the names of their module and their own."""
UNKNOWN = Instruction("", (), fused=False)


class Span(NamedTuple):
    """An event of a line."""

    name: str
    start_ns: int
    duration_ns: int
    stats: dict[str, Any]


def prepared() -> AbstractContextManager[object]:
    """Nothing is to be prepared: XLA's modules tell what their kernels hold."""
    return nullcontext()


def profiled(call: Callable[[], object], trace: Path) -> Traced:
    """Call once under the profiler, and write what it saw as a Chrome trace."""
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        try:
            with tf.profiler.experimental.Trace(CALL):
                call()
        finally:
            tf.profiler.experimental.stop()
        space = xplane_pb2.XSpace()
        (written,) = Path(folder).rglob("*.xplane.pb")
        space.ParseFromString(written.read_bytes())
    found = list(_lanes(space))
    trace.write_text(json.dumps({"displayTimeUnit": "ms", "traceEvents": chrome(found)}), encoding="utf-8")
    return read(found, instructions(space))


Lanes = list[tuple[str, str, list[Span]]]


def _lanes(space: Any) -> Iterator[tuple[str, str, list[Span]]]:
    """The lines that hold events: the plane's name, the line's, and its events in order."""
    for plane in space.planes:
        if not plane.name.startswith((HOST, GPU)):
            continue
        names, keys = plane.event_metadata, plane.stat_metadata
        for line in plane.lines:
            if plane.name.startswith(GPU) and not line.name.startswith("Stream"):
                continue  # whatever else there is repeats what the streams hold
            spans = [
                Span(
                    names[event.metadata_id].name,
                    line.timestamp_ns + event.offset_ps // 1000,
                    event.duration_ps // 1000,
                    {keys[stat.metadata_id].name: _value(stat, keys) for stat in event.stats},
                )
                for event in line.events
            ]
            yield plane.name, f"{line.name} {line.id}", sorted(spans, key=lambda s: (s.start_ns, -s.duration_ns))


def _value(stat: Any, keys: Any) -> Any:
    kind = stat.WhichOneof("value")
    value = getattr(stat, kind) if kind else None
    return keys[value].name if kind == "ref_value" else value


def instructions(space: Any) -> Modules:
    """XLA's instructions, as the compiled modules in the metadata tell them."""
    found: Modules = {}
    for plane in space.planes:
        for module in plane.event_metadata.values() if plane.name == METADATA else ():
            for stat in module.stats:
                proto = hlo_pb2.HloProto()
                proto.ParseFromString(stat.bytes_value)
                found |= _module(proto.hlo_module)
    return found


def _module(module: Any) -> Modules:
    inner = {computation.id: computation.instructions for computation in module.computations}
    found = {}
    for computation in module.computations:
        for each in computation.instructions:
            called = each.called_computation_ids if each.opcode == "fusion" else ()
            parts = [part for key in called for part in inner[key] if part.opcode not in IDLE_CODES]
            types = [part.metadata.op_type for part in (each, *parts)]
            codes = [part.opcode for part in (each, *parts) if part.opcode in HEAVY]
            holds = tuple(dict.fromkeys(filter(None, types + codes)))
            found[module.name, each.name] = Instruction(each.opcode, holds, fused=len(parts) > 1)
    return found


def read(lanes: Lanes, compiled: Modules) -> Traced:
    """The operations among the events, and when the profiled call was."""
    found: list[Event] = []
    whole = None
    for plane, lane, spans in lanes:
        eager: Span | None = None
        for span in spans:
            if span.name == CALL:
                whole = span
            if span.name.startswith(EAGER_OP):
                eager = span
            elif span.name == EAGER_RUN and eager is not None:
                kind = eager.name.removeprefix(EAGER_OP)
                eager = None
                found.append(Event(kind, span.start_ns, span.duration_ns, lane, around=bool(AROUND.fullmatch(kind))))
            elif event := _operation(span, compiled, lane, plane.startswith(GPU)):
                found.append(event)
            elif span.duration_ns and span.name != CALL and not plane.startswith(GPU):
                found.append(Event(span.name, span.start_ns, span.duration_ns, lane, around=True))
    assert whole is not None, "the profiler has seen no call"
    return Traced(found, whole.start_ns, whole.start_ns + whole.duration_ns)


def _operation(span: Span, compiled: Modules, lane: str, on_device: bool) -> Event | None:
    """An operation of a graph, of XLA or of a GPU; None for whatever else is in a trace."""
    event = Event(span.name, span.start_ns, span.duration_ns, lane, on_device=on_device)
    if (name := span.stats.get("hlo_op")) is not None:
        known = compiled.get((str(span.stats.get("hlo_module")), str(name)), UNKNOWN)
        if known.code in HOLDING or (span.name != name and not on_device):  # `end: NAME` is the runtime's
            return None
        types = [each for each in known.holds if each not in HEAVY]
        told = f"{name} ({', '.join(types[:3])})" if types else str(name)
        return event._replace(name=told, holds=known.holds or tuple(filter(None, [known.code])), fused=known.fused)
    if on_device:
        return event._replace(holds=tuple(filter(None, [str(span.stats.get("tf_op") or "").rpartition(":")[2]])))
    matched = GRAPH_OP.fullmatch(span.name)
    if not matched or AROUND.fullmatch(matched["type"]):
        return None
    node, kind = LOOP.sub("", matched["path"]), matched["type"]
    return event._replace(
        name=node if re.fullmatch(rf"(.*/)?{kind}(_\d+)?", node) else f"{node} ({kind})", holds=(kind,)
    )


def chrome(lanes: Lanes) -> list[dict[str, Any]]:
    """Events of a Chrome trace: a process for each plane, a thread for each line."""
    found: list[dict[str, Any]] = []
    # Viewers read floats of microseconds, in which no nanoseconds of a date have room.
    base = min((span.start_ns for _, _, spans in lanes for span in spans), default=0)
    processes: dict[str, int] = defaultdict(lambda: len(processes) + 1)
    for number, (plane, lane, spans) in enumerate(lanes, 1):
        process = processes[plane]
        found.append({"ph": "M", "name": "process_name", "pid": process, "tid": 0, "args": {"name": plane}})
        found.append({"ph": "M", "name": "thread_name", "pid": process, "tid": number, "args": {"name": lane}})
        for span in spans:
            if span.duration_ns:
                told = {key: str(value) for key, value in span.stats.items() if not key.startswith("_")}
                found.append(
                    {
                        "ph": "X", "name": span.name, "pid": process, "tid": number, "args": told,
                        "ts": (span.start_ns - base) / 1000, "dur": span.duration_ns / 1000,
                    }
                )  # fmt: skip
    return found
