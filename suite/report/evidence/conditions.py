"""Settings, versions and facts of the machine: which of them decide speed, and which only inform.

The rule, in one place.  A comparison asks about *programs*: frameworks, packages and the suite itself at their
versions.  The *conditions* under which a program ran decide its speed just as well, and are not what is asked: nothing
is ranked across conditions that differ.  Conditions are ``CONDITIONS``, every setting that a runner states, every
switch among its libraries ("on" or "off"), what it computes on, the variables that libraries read, and whether cells
shared a process.  Everything else informs: it is named wherever two runs stand beside each other, and ranks go on.

What one side alone tells is named as well.  It counts as a difference where every schema has had the fact; of a
setting, a switch or a variable that older results do not hold nobody knows whether it differs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from suite.report.evidence.merge import UNRANKED
from suite.results.environment import Environment, Gpu
from suite.results.records import InferenceOptions, Numbers, Proof

CONDITIONS = {
    "machine": "machine, by its fingerprint",
    "cpu": "processor",
    "cpu_features": "the processor's instructions",
    "cores": "cores",
    "memory_bytes": "memory",
    "gpus": "GPUs",
    "driver": "driver of the GPU",
    "governor": "governor",
    "turbo": "turbo",
    "place": "place",
    "threads_intra": "threads in an operation",
    "threads_inter": "operations at once",
    "denormals": "denormals",
}
"""Fields of an environment that decide speed, in words."""
PROGRAM = {
    "system": "system",
    "kernel": "kernel",
    "python": "Python",
    "suite": "suite",
    "source": "the suite's source",
    "commit": "commit",
    "lock": "lock",
    "image": "image",
}
"""Fields that inform: the program, and what it stood on."""
OWN = frozenset({"compile", "layout", "quickstart", "session"})
"""Settings that are a framework's own way.  Frameworks may differ in them; one framework in two runs may not."""
SHARED = ("threads_intra", "threads_inter", "denormals", "governor", "turbo", "driver")
"""Conditions that two frameworks of one run must have alike, beside its machine, its place and every other setting."""
LATER = frozenset({"cpu_features"})
"""Fields that older schemas did not have."""
SWITCH = frozenset({"on", "off"})
UNTOLD = "not told"
Ran = Numbers | Proof | InferenceOptions


@dataclass(frozen=True, order=True)
class Fact:
    """What is recorded of a program or of its conditions; those that decide come first."""

    informs: bool
    name: str
    known_to_all: bool = True

    @property
    def decides(self) -> bool:
        """Whether nothing may be ranked across it."""
        return not self.informs


@dataclass(frozen=True)
class ConditionDifference:
    """A fact that differs: its value on each side, in words, and whether it decides speed."""

    name: str
    values: tuple[str, ...]
    decides: bool


def facts(env: Environment, device: str) -> dict[Fact, str]:
    """Every fact of an environment in words, "" where it is unknown.  Clocks, heat and load change by the minute."""
    found = {Fact(False, words, name not in LATER): _told(env, name) for name, words in CONDITIONS.items()}
    found |= {Fact(True, words): _told(env, name) for name, words in PROGRAM.items()}
    found |= {Fact(False, f"setting {name}", False): value for name, value in env.settings.items()}
    for name, value in env.libraries.items():
        found[Fact(value not in SWITCH, f"library {name}", value not in SWITCH)] = value
    found |= {Fact(True, f"package {name}"): value for name, value in env.packages.items()}
    found |= {Fact(True, f"image built from, {name}"): value for name, value in env.build.items()}
    for name, value in env.devices.items():
        found[Fact(name != device, f"what {name} is", name != device)] = value
    if env.variables is not None:
        found |= {Fact(False, f"variable {name}", False): value for name, value in env.variables.items()}
        found[Fact(True, "variables")] = "recorded"
    return found


def _told(env: Environment, name: str) -> str:
    value: Any = getattr(env, name)
    match value:
        case None | ():
            return "none" if name == "gpus" else ""
        case bool():
            return "on" if value else "off"
        case tuple():
            return "; ".join(_gpu(gpu) for gpu in value)
        case int() if name == "memory_bytes":
            return f"{value / 2**30:,.0f} GiB"
        case str() if value.startswith("sha256:"):
            return value[7:19]
    return str(value)


def _gpu(gpu: Gpu) -> str:
    size = "" if gpu.memory_bytes is None else f", {gpu.memory_bytes / 2**30:,.0f} GiB"
    return f"{gpu.name}{size}, {gpu.uuid[:12]}"


def differences(sides: Sequence[Iterable[Ran]]) -> list[ConditionDifference]:
    """Every fact in which the sides differ, those that decide speed first; a framework is named where it alone differs.

    Frameworks that all sides have are compared, each with itself; without any, all that there are.
    """
    told = [_by_runner(side) for side in sides]
    if not all(told):
        return []
    common = set.intersection(*(set(each) for each in told))
    if not common:
        told = [{"": _merged(each.values())} for each in told]
        common = {""}
    rows: dict[tuple[Fact, tuple[str, ...]], list[str]] = defaultdict(list)
    for runner in sorted(common):
        mine = [each[runner] for each in told]
        unset = ["unset" if Fact(True, "variables") in each else UNTOLD for each in mine]
        for fact in sorted(set().union(*mine)):
            silent = unset if fact.name.startswith("variable ") else [UNTOLD] * len(mine)
            values = tuple(
                " and ".join(sorted(each.get(fact, ()))) or none for each, none in zip(mine, silent, strict=True)
            )
            if len(set(values)) > 1:
                rows[fact, values].append(runner)
    found = []
    for (fact, values), runners in sorted(rows.items()):
        name = fact.name if set(runners) == common else f"{fact.name} ({', '.join(runners)})"
        unknown = UNTOLD in values and not fact.known_to_all
        found.append(ConditionDifference(name, values, fact.decides and not unknown))
    return sorted(found, key=lambda d: not d.decides)


def _by_runner(side: Iterable[Ran]) -> dict[str, dict[Fact, set[str]]]:
    """The values of every fact on one side, by framework; the null runner's count only if there are no others."""
    found: dict[str, dict[Fact, set[str]]] = defaultdict(lambda: defaultdict(set))
    for result in side:
        for fact, value in facts(result.environment, result.cell.device).items():
            found[result.cell.runner][fact] |= {value} if value else set()
    ranked = {runner: held for runner, held in found.items() if runner not in UNRANKED}
    return ranked or found


def _merged(several: Iterable[Mapping[Fact, set[str]]]) -> dict[Fact, set[str]]:
    found: dict[Fact, set[str]] = defaultdict(set)
    for each in several:
        for fact, values in each.items():
            found[fact] |= values
    return found


def deciding(*sides: Iterable[Ran]) -> list[str]:
    """The names of the conditions in which the sides differ."""
    return [difference.name for difference in differences(sides) if difference.decides]


def shared(env: Environment) -> dict[str, str]:
    """What two frameworks of one run must have alike, in words; a setting that one does not have is none of it."""
    fields = {CONDITIONS[name]: _told(env, name) or UNTOLD for name in SHARED}
    return fields | {f"setting {name}": value for name, value in env.settings.items() if name not in OWN}


def apart(several: Iterable[Environment]) -> str:
    """In what the environments of different frameworks differ though they may not, in words; or nothing."""
    values: dict[str, dict[str, None]] = defaultdict(dict)
    for env in several:
        for name, value in shared(env).items():
            values[name][value] = None
    return " and ".join(f"{name} ({' and '.join(sorted(found))})" for name, found in values.items() if len(found) > 1)
