"""Which benchmarks are one study: the cases of a spec, and the specs that start from one another's weights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from suite.report.evidence.merge import ComparisonGroup, Evidence
from suite.spec.resolved import Spec

FEW = 6
"""Benchmarks of a study that each have charts and tables of their own; of more, all are told in common ones."""


@dataclass(frozen=True)
class Study:
    """A study by the name of its first spec, and its groups: stages in order, and within a stage by their names."""

    name: str
    specs: Mapping[ComparisonGroup, Spec]

    @property
    def groups(self) -> tuple[ComparisonGroup, ...]:
        """All of them, in order."""
        return tuple(self.specs)

    @property
    def large(self) -> bool:
        """Whether there are too many benchmarks to show each by itself."""
        return len(self.specs) > FEW

    @property
    def file(self) -> str:
        """Its page in the folder of pages, where the index has the name ``index.md``."""
        return f"{self.name}.md" if self.name != "index" else "index-study.md"

    @property
    def title(self) -> str:
        """That of its only benchmark, if it has one."""
        titles = {spec.title for spec in self.specs.values()}
        return next(iter(titles)) if len(titles) == 1 else ""


def studies_of(evidence: Evidence) -> tuple[Study, ...]:
    """Every study with numbers, by name."""
    parents: dict[str, set[str]] = defaultdict(set)
    for spec in evidence.specs.values():
        parents[spec.name] |= {spec.starts_from.split("/")[0]} if spec.starts_from else set()
    names = sorted(parents)
    together = {name: {name} for name in names}
    for name in names:
        for parent in sorted(parents[name] & parents.keys()):
            joined = together[name] | together[parent]
            together |= dict.fromkeys(joined, joined)
    found = []
    for members in {min(joined): joined for joined in together.values()}.values():
        depth = {name: _depth(name, parents) for name in members}
        first = min(members, key=lambda name: (depth[name], name))
        mine = [a for a in evidence.specs if evidence.specs[a].name in members]
        mine.sort(key=lambda a: (depth[evidence.specs[a].name], a))
        found.append(Study(first, {a: evidence.specs[a] for a in mine}))
    return tuple(sorted(found, key=lambda study: study.name))


def _depth(name: str, parents: Mapping[str, set[str]]) -> int:
    """How many stages come before it; in a circle, which no plan makes, as many as there are specs."""
    depth, here = 0, {name}
    while here and depth < len(parents):
        here = {parent for one in here for parent in parents[one] if parent in parents and parent != one}
        depth += bool(here)
    return depth
