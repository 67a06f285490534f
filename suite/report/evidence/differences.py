"""What differs between runs that are shown together; it comes before any of their numbers.

Settings, versions and facts of the machine come from the results' environments, by the rule in ``conditions``; what was
asked comes from the plans, or else from the results; benchmarks of one name are compared field by field.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from suite.report.evidence.conditions import UNTOLD, ConditionDifference, differences
from suite.report.evidence.merge import UNRANKED, Evidence
from suite.report.text.markdown import Markdown, md, plain, table
from suite.results.records import InferenceOptions, Measured, Proof, Record, Timed
from suite.spec.resolved import PROSE, Spec

ASKED = {
    "process": "one process for each",
    "gpu_meter": "the GPU is metered",
    "rounds": "rounds",
    "looks": "rounds after which it is looked at",
    "half_width": "precision wanted",
    "laps": "laps of a round",
    "lap_milliseconds": "milliseconds of a block",
    "trainings": "trainings",
    "train_in": "modes of training",
    "seeds": "seeds",
    "epochs": "cap on epochs",
    "latency_batches": "batches of latency",
    "latency_samples": "samples of latency",
    "throughput_batches": "batches of throughput",
    "throughput_seconds": "seconds of throughput",
    "tunings": "inference options",
    "timeout_seconds": "seconds until a trial is ended",
}
"""What a profile asks for beyond what environments tell, in words."""
CONDITION = frozenset({"process"})
"""What of it decides speed: a cell that has a process of its own finds no other's memory, caches and threads there."""
LONGEST = 60
RULE = (
    "Machine, threads, settings and all other conditions under which a program ran decide speed: nothing is ranked "
    "across a difference in them. Versions and whatever else is listed are for information."
)


@dataclass(frozen=True)
class ComparedRun:
    """One of the runs: its name beside the others, its results, and its plan as far as it is there."""

    name: str
    results: Sequence[Record]
    plan: Mapping[str, Any]


def between(sides: Sequence[ComparedRun]) -> list[ConditionDifference]:
    """Everything in which the sides differ, what decides speed first."""
    ran = [[r for r in side.results if isinstance(r, Measured | Timed | Proof | InferenceOptions)] for side in sides]
    found = [*differences(ran), *asked(sides), *_cells(sides), *_specs(sides)]
    return sorted(found, key=lambda difference: not difference.decides)


def sides(evidence: Evidence) -> list[ComparedRun]:
    """The runs of a report, by the numbers that the report gives them."""
    found: dict[str, list[Record]] = {}
    for result in evidence.results:
        found.setdefault(result.run, []).append(result)
    numbered = enumerate(evidence.runs, 1)
    return [ComparedRun(f"run {number}", found[run], evidence.plans.get(run, {})) for number, run in numbered]


def _compared(name: str, values: Sequence[str | None], decides: bool) -> list[ConditionDifference]:
    """A difference, if it is one.  What one side does not tell cannot be known to differ."""
    if len(set(values)) == 1:
        return []
    known = None not in values
    return [ConditionDifference(name, tuple(UNTOLD if v is None else v for v in values), decides and known)]


def asked(sides: Sequence[ComparedRun]) -> list[ConditionDifference]:
    """How the profiles of the sides differ; for runs without a plan, how what their results show differs."""
    profiles = [side.plan.get("profile") for side in sides]
    if all(isinstance(profile, Mapping) for profile in profiles):
        found = []
        for field, words in ASKED.items():
            values = [_short(profile.get(field)) for profile in profiles]  # type: ignore[union-attr]
            found += _compared(words, values, field in CONDITION)
        return found
    shown: dict[str, Callable[[Measured], Iterable[object]]] = {
        "rounds": lambda r: (r.cell.round,),
        "seeds": lambda r: (r.cell.seed,),
        "batches of latency": lambda r: (m.batch_size for m in r.latency),
        "samples of latency": lambda r: (len(m.samples_ns) for m in r.latency),
        "batches of throughput": lambda r: (m.batch_size for m in r.throughput),
        "epochs trained": lambda r: (len(r.training.epochs),) if r.training else (),
    }
    found = []
    for words, read in shown.items():
        values = [_short(sorted({v for r in _measured(side) for v in read(r)})) for side in sides]  # type: ignore[type-var]
        found += _compared(words, values, decides=False)
    return found


def _measured(side: ComparedRun) -> list[Measured]:
    return [r for r in side.results if isinstance(r, Measured) and r.cell.runner not in UNRANKED]


def _cells(sides: Sequence[ComparedRun]) -> list[ConditionDifference]:
    """Benchmarks, frameworks with their modes, and devices that not all sides have."""
    read: dict[str, Callable[[Record], str]] = {
        "benchmarks": lambda r: r.cell.spec,
        "frameworks and modes": lambda r: f"{r.cell.runner} {r.cell.mode}",
        "devices": lambda r: r.cell.device,
        "precisions": lambda r: r.cell.precision,
    }
    found = []
    for words, of in read.items():
        held = [{of(r) for r in side.results if r.cell.runner not in UNRANKED} for side in sides]
        shared = set.intersection(*held)
        own = [", ".join(sorted(each - shared)[:12]) or "nothing more" for each in held]
        found += _compared(words, own, decides=False)
    return found


def _specs(sides: Sequence[ComparedRun]) -> list[ConditionDifference]:
    """The fields in which benchmarks of one name differ."""
    held: list[dict[str, Spec]] = [{r.spec.id: r.spec for r in side.results} for side in sides]
    found = []
    for name in sorted(set.intersection(*(set(each) for each in held))):
        specs = [each[name] for each in held]
        if len({spec.digest for spec in specs}) > 1:
            dumped = [spec.model_dump(mode="json", exclude=set(PROSE)) for spec in specs]
            for field in dict.fromkeys(key for each in dumped for key in each):
                found += _compared(f"{name}: {field}", [_short(each.get(field)) for each in dumped], decides=True)
    return found


def _short(value: object) -> str:
    """A value of JSON in a line; of a long one its beginning, and enough of its end to tell it from another."""
    if isinstance(value, list | tuple) and not any(isinstance(item, dict | list) for item in value):
        text = ", ".join(map(str, value)) or "none"
    else:
        text = "none" if value is None else json.dumps(value, sort_keys=True).replace('"', "")
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"


def told(sides: Sequence[ComparedRun], found: Sequence[ConditionDifference]) -> tuple[tuple[str, ...], ...]:
    """Header and rows as plain text, for a terminal; nothing where nothing differs."""
    if not found:
        return ()
    header = ("what differs", *(side.name for side in sides), "decides speed")
    rows = ((d.name, *d.values, "yes" if d.decides else "no") for d in found)
    return (header, *(tuple(plain(cell) for cell in row) for row in rows))


def section(sides: Sequence[ComparedRun], found: Sequence[ConditionDifference]) -> list[Markdown]:
    """Blocks for a report of several runs; nothing for one."""
    if len(sides) < 2:
        return []
    named = [md(f"{side.name} is {{}}", side.results[0].run) for side in sides]
    words = Markdown(f"{'; '.join(named)}. Nothing is ranked across runs.")
    if not found:
        return [words, Markdown("No setting, version or fact of the machine that they record differs.")]
    header, *rows = told(sides, found)
    return [words, table(header, rows), Markdown(RULE)]
