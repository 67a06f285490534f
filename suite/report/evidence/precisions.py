"""The same benchmark in several precisions: groups that differ in nothing else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from suite.report.evidence.merge import ComparisonGroup, Evidence
from suite.spec.precision import TIMEABLE


@dataclass(frozen=True)
class Setting:
    """A group whatever its precision; ``groups`` are those of each precision, from the most exact on."""

    groups: Mapping[str, ComparisonGroup]

    @property
    def usual(self) -> str:
        """The precision that the others are compared with."""
        return next(iter(self.groups))


def settings(evidence: Evidence) -> Iterator[Setting]:
    """Every group with numbers, those of one benchmark, run, machine and device together."""
    found: dict[ComparisonGroup, dict[str, ComparisonGroup]] = defaultdict(dict)
    for group in evidence.groups:
        found[replace(group, precision="")][group.precision] = group
    order: dict[str, int] = {precision: place for place, precision in enumerate(TIMEABLE)}
    for groups in found.values():
        yield Setting({name: groups[name] for name in sorted(groups, key=lambda name: order.get(name, len(order)))})
