"""What a profiler saw, divided: every nanosecond of the call is given to one kind of work, and counted once.

On a lane, a thread or a stream, a moment belongs to the innermost operation that runs there.  Where several lanes are
at work in the same moment they share it equally, so that all shares add up to the wall time of the call.  A moment in
which no operation runs on any lane is *between operations*.  Where the call ran on a GPU, its streams alone count.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from suite.results.attribution import Kind, Operation
from suite.runners.base import Event, Traced

VIEWS = re.compile(
    r"aten::(empty\w*|new_empty\w*|as_strided_?|view\w*|_?unsafe_view|reshape|_reshape_alias|t|transpose|permute|expand\w*|"
    r"select|slice|narrow|detach_?|resize_?|unsqueeze_?|squeeze_?|split\w*|unbind|alias|resolve_\w+|lift_fresh|flatten|"
    r"item|_local_scalar_dense|is_nonzero|movedim)"
    r"|reshape|identity(n|v2)?|const|readvariableop|varhandleop|shapen?|size|rank|expanddims|squeeze|noop|stopgradient|"
    r"broadcastgradientargs|bitcast(-convert)?|get-tuple-element|tuple|parameter|constant"
)
"""Names, in lower case and as a whole, of what computes and moves nothing."""
WORDS: Mapping[Kind, re.Pattern[str]] = {
    Kind.CONVOLUTION: re.compile(r"_(conv|convolution|convolve|fprop|dgrad|wgrad|winograd)_"),
    Kind.PRODUCT: re.compile(
        r"_(mat_mul|matmul|mm|bmm|addmm|addbmm|baddbmm|mv|addmv|addr|linear|dot|einsum|vdot|cutlass|nvjet)_|gem[mv]"
    ),
    Kind.OPTIMIZER: re.compile(r"_(optimizer|adam|foreach|fused_sgd|apply_(momentum|gradient_descent|rmsprop))_"),
    Kind.NORMALISATION: re.compile(r"_(batch|layer|group|instance|rms)_?norm|_bn_"),
    Kind.POOLING: re.compile(r"pool"),
    Kind.RANDOM: re.compile(r"_(random|bernoulli|dropout|rand|randn|randint|randperm|rng|philox|threefry|uniform)_"),
    Kind.ELEMENTWISE: re.compile(
        r"_(elementwise|reduce|reduction|softmax|entropy|loss|relu|sigmoid|tanh|gelu|silu|elu|threshold|clamp|clip|add|"
        r"addn|addv|addcmul|addcdiv|bias|sub|rsub|subtract|mul|multiply|div|divide|neg|negate|abs|exp|exponential|expm|"
        r"log|logp|sqrt|rsqrt|pow|power|square|squared|reciprocal|mean|sum|max|min|maximum|minimum|amax|amin|prod|norm|"
        r"argmax|argmin|cumsum|compare|equal|greater|less|where|arange|range|iota|eq|ne|lt|le|gt|ge|and|or|not|xor|"
        r"logical|floor|ceil|round|sign|erf|sin|cos|lerp|any|all)_|(?<!_index)_select_"
    ),
    Kind.COPY: re.compile(
        r"_(copy|copies|memcpy|memset|clone|contiguous|to|gather|scatter|index|embedding|stack|unstack|concat|concatenate|"
        r"cat|pad|fill|zero|zeros|ones|full|transpose|nchw|nhwc|slice|tile|pack|unpack|cast|convert|reverse|assign|"
        r"broadcast|repeat|iterator|dataset)_"
    ),
}  # fmt: skip
"""Words of each kind, the heaviest work first: what several operations were fused into counts as the first it holds."""
FUSED = re.compile(r"fused|fusion|triton")
"""Of a kernel's name that tells nothing else: element-wise work is what compilers fuse."""


def classified(name: str, holds: Sequence[str] = ()) -> Kind:
    """The kind of work of an operation: by what it holds where that is known, else by its name.

    ``OTHER`` where nothing in it is known, so that it is seen.
    """
    found = {_named(word) for word in holds or (name,)}
    ordered = (*WORDS, Kind.OTHER, Kind.VIEW)
    return min(found, key=ordered.index)


@lru_cache(maxsize=10_000)
def _named(name: str) -> Kind:
    if VIEWS.fullmatch(name.lower()):
        return Kind.VIEW
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    words = "".join(f"_{word}_" for word in re.findall(r"[a-z]+", apart)).replace("__", "_")
    found = next((kind for kind, pattern in WORDS.items() if pattern.search(words)), Kind.OTHER)
    return Kind.ELEMENTWISE if found is Kind.OTHER and FUSED.search(words) else found


class Segment(NamedTuple):
    """A piece of a lane's time that belongs to one event."""

    start: int
    end: int
    event: Event


@dataclass(frozen=True)
class Divided:
    """A call's wall time by kind, and its operations, longest first."""

    wall_ns: int
    kinds: dict[Kind, float]
    started: int
    operations: tuple[Operation, ...]
    around: tuple[Operation, ...]
    """The ranges that were open while no operation ran."""
    on_device: bool
    fused_ns: float


def divided(traced: Traced) -> Divided:
    """Divide the wall time of a call among the operations that a profiler saw in it."""
    began, ended = traced.began_ns, traced.ended_ns
    on_device = any(event.on_device for event in traced.events)
    counted = [e for e in traced.events if e.on_device is on_device and e.start_ns < ended and _end(e) > began]
    lanes: dict[tuple[str, bool], list[Event]] = defaultdict(list)
    for event in counted:
        lanes[event.lane, event.around].append(event)
    pieces = [piece for events in lanes.values() for piece in segments(events, began, ended)]
    own, idle = shared(pieces, began, ended)
    work = [(event, ns) for event, ns in own if not event.around]
    kinds: dict[Kind, float] = defaultdict(float, {Kind.IDLE: idle})
    for event, ns in work:
        kinds[classified(event.name, event.holds)] += ns
    around = _together((event.name, Kind.IDLE, ns) for event, ns in own if event.around)
    found = _together((event.name, classified(event.name, event.holds), ns) for event, ns in work)
    fused = sum(ns for event, ns in work if event.fused)
    return Divided(traced.lasted_ns, dict(kinds), len(work), found, around, on_device, fused)


def _together(each: Iterable[tuple[str, Kind, float]]) -> tuple[Operation, ...]:
    """Events of one name and kind as one operation, longest first."""
    spent: dict[tuple[str, Kind], list[float]] = defaultdict(list)
    for name, kind, ns in each:
        spent[name[:400], kind].append(ns)
    found = [Operation(name=name, kind=kind, calls=len(ns), ns=sum(ns)) for (name, kind), ns in spent.items()]
    return tuple(sorted(found, key=lambda operation: (-operation.ns, operation.name)))


def _end(event: Event) -> int:
    return event.start_ns + event.duration_ns


def segments(events: Iterable[Event], began: int, ended: int) -> list[Segment]:
    """The time of one lane between two moments, each piece given to the innermost event that ran in it.

    Views and allocations inside another operation are a part of it.
    """
    found: list[Segment] = []
    open_: list[Event] = []
    at = began

    def up_to(moment: int) -> None:
        nonlocal at
        moment = min(moment, ended)
        if open_ and moment > at:
            found.append(Segment(at, moment, _answering(open_)))
        at = max(at, moment)

    def close(moment: int) -> None:
        while open_ and _end(open_[-1]) <= moment:
            up_to(_end(open_[-1]))
            open_.pop()

    for event in sorted(events, key=lambda e: (e.start_ns, -e.duration_ns)):
        close(event.start_ns)
        up_to(event.start_ns)
        open_.append(event)
    close(ended)
    while open_:  # those that end later than the call
        up_to(ended)
        open_.pop()
    return found


def _answering(open_: Sequence[Event]) -> Event:
    """The innermost event that does more than make views and room."""
    inner = reversed(open_)
    return next((e for e in inner if classified(e.name, e.holds) is not Kind.VIEW), open_[-1])


def shared(pieces: Iterable[Segment], began: int, ended: int) -> tuple[list[tuple[Event, float]], float]:
    """What each event has of the wall time, where lanes at work in one moment share it, and what no operation has.

    Ranges around operations have that, where they were open then.
    """
    bounds: dict[int, tuple[list[Segment], list[Segment]]] = defaultdict(lambda: ([], []))
    for piece in pieces:
        bounds[piece.start][0].append(piece)
        bounds[piece.end][1].append(piece)
    for moment in (began, ended):
        bounds[moment]  # is there from now on
    own: dict[int, float] = defaultdict(float)
    known: dict[int, Event] = {}
    running: dict[int, Segment] = {}
    idle = 0.0
    for moment, following in pairwise(sorted(bounds)):
        for piece in bounds[moment][1]:
            running.pop(id(piece), None)
        for piece in bounds[moment][0]:
            running[id(piece)] = piece
        span = following - moment
        busy = [piece.event for piece in running.values() if not piece.event.around]
        idle += 0 if busy else span
        answering = busy or [piece.event for piece in running.values()]
        for event in answering:
            known[id(event)] = event
            own[id(event)] += span / len(answering)
    return [(known[key], ns) for key, ns in own.items()], idle
