"""Why one framework takes longer than another: what their profilers saw, joined into one page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from suite.report.text.markdown import DASH, Markdown, bullets, escape, md, table
from suite.report.text.units import digits, duration, percent
from suite.results.attribution import Attribution, Kind, Operation, Unexplained
from suite.results.questions import QuestionKind

SENTENCES = 2000
"""Characters of a line that says why."""
LONGEST = 10
"""Operations of each framework that are shown side by side."""
AROUND = 5
"""Ranges around operations, the same."""
NAME = 70
"""Characters of an operation's name in that table."""
ALIKE = 1.05
"""Times of a step that differ by less are told as about the same."""
TOLD = 0.1
"""Parts of a difference, and of a step, from which on they are told in words."""
BUSY = 1.5
"""From this load for each core on it is told that other work ran beside."""
BEHIND = 2
"""Kinds of work of which an operation is named."""
DEAR = 1.25
"""From this factor on the profiler's own cost is told at the top."""
UNITS = {QuestionKind.TRAINING: "step", QuestionKind.LATENCY: "query", QuestionKind.THROUGHPUT: "batch"}
Found = Sequence[Attribution | Unexplained]
Row = tuple[str, ...]


def page(found: Found, command: str = "") -> Markdown:
    """The whole page: why, by kind, by operation, how to read it, where it was measured.  Nobody is left out."""
    seen = _seen(found)
    missing = [md("- **{}** is not here: {}", each.who, each.reason) for each in found if isinstance(each, Unexplained)]
    parts: list[Markdown] = []
    if seen:
        first = seen[0]
        batch = (
            md(", batch {}", f"{first.batch_size:,}") if first.question is not QuestionKind.TRAINING else Markdown("")
        )
        parts.append(md("# Where a {} of {} goes", UNITS[first.question], first.spec))
        where = md("{} in {} on {}", first.question, first.precision, "a GPU" if first.on_device else "the processor")
        parts += [Markdown(f"{where}{batch}."), bullets([escape(line, SENTENCES) for line in told(seen)])]
    else:
        parts.append(Markdown("# Nothing to explain"))
    if missing:
        parts.append(Markdown("\n".join(missing)))
    if seen:
        header, *rows = kinds(found)
        parts += [Markdown("## By kind of work"), table(header, rows, "l" + "r" * len(seen))]
        header, *rows = longest(seen)
        parts += [
            Markdown("## The longest operations"),
            Markdown(f"{CELL.format(UNITS[seen[0].question])}"),
            table(header, rows),
        ]
        header, *rows = longest(seen, "around", AROUND)
        if rows:
            parts += [Markdown("## Between operations"), Markdown(BETWEEN), table(header, rows)]
        parts += [Markdown("## How to read this"), bullets(_how(seen))]
        parts += [Markdown("## Where it was measured"), table(*_where(seen))]
    if command:
        parts.append(md("Made by: {}", command))
    return Markdown("\n\n".join(parts) + "\n")


BETWEEN = (
    "The longest ranges that were open while no operation ran. What no range covers is spent outside of them: in "
    "Python, or waiting."
)
CELL = "Each with the time of a {0} that is its own, its share, and how often it runs in a {0}."


def _seen(found: Found) -> list[Attribution]:
    return [each for each in found if isinstance(each, Attribution)]


def told(seen: Sequence[Attribution]) -> list[str]:
    """Why, in sentences: what the fastest does, one line for each of the others against it, what to beware of.

    Where other work ran beside, that comes first.
    """
    if not seen:
        return []
    fastest, *others = sorted(seen, key=lambda each: each.bare)
    return [*_disturbed(seen), _spends(fastest), *(_because(each, fastest) for each in others), *_cautions(seen)]


def _spends(one: Attribution) -> str:
    """What a framework does with its time."""
    shares = {kind: one.per_step(kind) / one.profiled for kind in Kind}
    first, *others = sorted(Kind, key=lambda kind: -shares[kind])
    parts = [f"{percent(shares[k], 0)} {_in(k)}" for k in (first, *(k for k in others if shares[k] >= TOLD))]
    return f"A {UNITS[one.question]} of {one.who} takes {duration(one.bare)}: {_and(parts)}."


def _because(slow: Attribution, fast: Attribution) -> str:
    """Why one takes longer: which kinds of work the difference lies in, and what has most of it."""
    unit, ratio = UNITS[slow.question], slow.bare / fast.bare
    times = f"{digits(ratio)} times as long as" if ratio >= ALIKE else "about as long as"
    said = f"A {unit} of {slow.who} takes {duration(slow.bare)}, {times} one of {fast.who}."
    apart = slow.profiled - fast.profiled
    if ratio < ALIKE:
        return said
    if apart < (slow.bare - fast.bare) / 2:
        return f"{said} Under the profiler most of that difference is gone, so the table does not say why."
    more = {kind: slow.per_step(kind) - fast.per_step(kind) for kind in Kind}
    order = sorted(Kind, key=lambda kind: -more[kind])
    parts = [f"{duration(more[k])} ({percent(more[k] / apart, 0)}) {_in(k)}" for k in order if more[k] >= TOLD * apart]
    less = [f"{duration(-more[k])} {_in(k)}" for k in reversed(order) if -more[k] >= TOLD * apart]
    saved = f"; it saves {_and(less)}" if less else ""
    where = f"Of the {duration(apart)} between them under the profiler it spends {_and(parts)}{saved}."
    most = [_most(slow, fast, kind) for kind in order[:BEHIND] if more[kind] >= TOLD * apart]
    return " ".join((said, where, *filter(None, most)))


def _most(slow: Attribution, fast: Attribution, kind: Kind) -> str:
    """What is behind a part: how many operations there are, or the longest of a kind on either side."""
    unit = UNITS[slow.question]
    if kind is Kind.IDLE:
        counts = [digits(each.started / each.steps) for each in (slow, fast)]
        return (
            f"The profiler saw {counts[0]} operations a {unit} in {slow.who}, {counts[1]} in {fast.who}. {_open(slow)}"
        )
    longest_, other = (next((o for o in each.operations if o.kind is kind), None) for each in (slow, fast))
    if longest_ is None:
        return ""
    first = f"The longest operation of {kind} in {slow.who} is {longest_.name} ({duration(longest_.ns / slow.steps)})"
    return f"{first}, in {fast.who} {other.name} ({duration(other.ns / fast.steps)})." if other else f"{first}."


def _open(one: Attribution) -> str:
    """What was open in a framework while none of its operations ran, or that no range of it tells."""
    idle, covered = one.kinds[Kind.IDLE], sum(each.ns for each in one.around)
    if covered < idle / 2:
        share = percent(1 - covered / idle, 0)
        return f"Of what is between them in {one.who}, {share} lies outside of its own ranges: Python, or waiting."
    first = one.around[0]
    return f"Between them {one.who} is longest in {first.name} ({duration(first.ns / one.steps)})."


def _disturbed(seen: Sequence[Attribution]) -> list[str]:
    """Whether other work ran beside: more than the framework that was profiled before has left."""
    loads = [(each.environment.before.load_1min or 0.0, each.environment.cores, each.who) for each in seen]
    load, cores, who = max(loads)
    if load <= BUSY * cores:
        return []
    said = (
        f"Beware: other work ran on this machine: its load was {digits(load, 2)} on {cores} cores before {who} began."
    )
    several = any((each.environment.threads_intra or 1) > 1 for each in seen)
    why = " Threads that wait for each other wait for it, too: work on several threads looks far dearer than it is."
    return [f"{said}{why if several else ''} Repeat this when it is quiet{', or with --threads 1' if several else ''}."]


def _cautions(seen: Sequence[Attribution]) -> list[str]:
    """Where the profiler itself decides much of what is seen, and what could not be named."""
    found = []
    for each in seen:
        factor, unknown = each.profiled / each.bare, each.per_step(Kind.OTHER) / each.profiled
        if factor >= DEAR:
            found.append(
                f"The profiler made {each.who} {digits(factor)} times slower. Its cost is paid at each operation, so "
                "small operations and what is between them look dearer than they are."
            )
        if unknown >= TOLD:
            found.append(f"{percent(unknown, 0)} of {each.who} lies in operations whose names do not tell their kind.")
    return found


def _in(kind: Kind) -> str:
    return {Kind.IDLE: str(kind), Kind.OPTIMIZER: "in the optimizer"}.get(kind, f"in {kind}")


def _and(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))


def kinds(found: Found) -> list[Row]:
    """Time per step of each kind of work and its share, a column for each framework; the header first, plain text."""
    seen = _seen(found)
    if not seen:
        return []
    unit = UNITS[seen[0].question]
    rows: list[Row] = [(f"time of a {unit}", *(each.who for each in seen))]
    rows += [
        (LABELS.get(kind, str(kind)), *(_time(each, each.per_step(kind)) for each in seen))
        for kind in Kind
        if any(each.kinds.get(kind) for each in seen)
    ]
    rows.append(("all of it, under the profiler", *(_time(each, each.profiled) for each in seen)))
    rows.append(("without the profiler", *(duration(each.bare) for each in seen)))
    rows.append((f"operations a {unit}", *(digits(each.started / each.steps) for each in seen)))
    return rows


LABELS = {Kind.IDLE: "idle: between operations (Python, dispatch, waiting)"}


def _time(one: Attribution, ns: float) -> str:
    return f"{duration(ns)} ({percent(ns / one.profiled, 0)})" if ns else DASH


def longest(
    seen: Sequence[Attribution], of: Literal["operations", "around"] = "operations", most: int = LONGEST
) -> list[Row]:
    """The longest operations of each framework, or ranges around them, side by side, the header first."""
    rows: list[Row] = [("", *(each.who for each in seen))]
    for i in range(most):
        lists = [(each, each.operations if of == "operations" else each.around) for each in seen]
        cells = [_operation(each, found[i]) if i < len(found) else "" for each, found in lists]
        if any(cells):
            rows.append((str(i + 1), *cells))
    return rows


def _operation(one: Attribution, of: Operation) -> str:
    name = of.name if len(of.name) <= NAME else f"{of.name[: NAME - 1]}…"
    share = percent(of.ns / one.wall_ns, 0)
    return f"{name}: {duration(of.ns / one.steps)}, {share}, {of.calls / one.steps:.3g} a {UNITS[one.question]}"


def _how(seen: Sequence[Attribution]) -> list[Markdown]:
    unit = UNITS[seen[0].question]
    busy, many = ("kernel that runs on the GPU", "streams") if seen[0].on_device else ("innermost operation", "threads")
    where = f"A moment belongs to the {busy}; where several {many} are at work in it they share it."
    steps = ", ".join(f"{each.who} {each.steps}" for each in seen)
    return [
        md("{} So the rows add up to the time of a {}, and nothing is counted twice.", where, unit),
        md("Between operations nothing runs that the profiler sees: Python, dispatch, waiting, a call's own cost."),
        md("A fused kernel counts as the heaviest work that it holds, in the order of the rows. {}", _fused(seen)),
        md("An operation of which the name tells nothing is under *other operations*."),
        Markdown(
            "The shares are those of one profiled call; they are no measurement to rank by. `suite run` makes those."
        ),
        md(
            "Calls of so many {}: {}.",
            "steps" if unit == "step" else "queries" if unit == "query" else "batches",
            steps,
        ),
        *(md("The profiler of {} does not see {}.", runner, blind) for runner, blind in _blind(seen).items()),
        Markdown("The `.trace.json` files beside this page open in Perfetto or in `chrome://tracing`."),
    ]


def _fused(seen: Sequence[Attribution]) -> str:
    """How much of each framework's time lies in kernels that hold more than what they count as."""
    parts = [f"{percent(each.fused_ns / each.wall_ns, 0)} of {each.who}" for each in seen if each.fused_ns]
    return (
        f"Such kernels take {_and(parts)}: what is lighter in them is not seen by itself." if parts else "Here is none."
    )


def _blind(seen: Sequence[Attribution]) -> dict[str, str]:
    return {each.runner: each.blind for each in seen if each.blind}


def _where(seen: Sequence[Attribution]) -> tuple[Row, list[Row]]:
    rows: list[Row] = []
    for each in seen:
        here = each.environment
        versions = ", ".join(f"{name} {version}" for name, version in here.libraries.items())
        threads = DASH if here.threads_intra is None else f"{here.threads_intra} of {here.cores} cores"
        load = DASH if here.before.load_1min is None else digits(here.before.load_1min, 2)
        rows.append((each.who, versions, here.gpus[0].name if here.gpus else here.cpu, threads, load))
    return ("", "versions", "machine", "threads", "load before"), rows
