"""Whose memory a process held: that of one cell alone, or also what earlier cells left there.

A process that has held another benchmark keeps some of its memory.  So a figure is a cell's own only where nothing was
measured in its process before it: the profile says ``process: cell``, or the plan lists the cell first in its trial.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from suite.report.evidence.merge import Evidence
from suite.results.records import Cell, Measured

SHARED = (
    "one process measured several cells, one after another, so this would include what the earlier ones left in memory"
)
UNTOLD = "no plan among the results says whether other cells were measured in the same process before"
RULE = "Otherwise a figure stands only where nothing was measured in the same process before."
Trial = tuple[str, str]
"""Run and id of a trial: each has a process of its own."""


class Processes:
    """Which cells had a process to themselves, or were the first in theirs."""

    def __init__(self, evidence: Evidence) -> None:
        self._alone: dict[str, bool] = {}
        self._first: dict[Trial, object] = {}
        for run, plan in evidence.plans.items():
            profile, entries = plan.get("profile"), plan.get("entries")
            self._alone[run] = isinstance(profile, Mapping) and profile.get("process") == "cell"
            for entry in entries if isinstance(entries, list | tuple) else ():
                cells = entry.get("cells") if isinstance(entry, Mapping) else None
                if isinstance(cells, list | tuple) and cells and entry.get("kind", "measure") == "measure":
                    self._first[run, str(entry.get("id"))] = cells[0]
        self._held: dict[tuple[str, str, str], set[Cell]] = defaultdict(set)
        for result in evidence.measured:
            self._held[result.run, result.entry, result.environment.place].add(result.cell)

    def shared(self, result: Measured) -> str:
        """Why the memory of a measured cell may not be its own, or nothing."""
        run = result.run if result.run in self._alone else ""
        first = self._first.get((run, result.entry))
        if first is not None:
            return "" if first == result.cell.model_dump(mode="json") else SHARED
        if len(self._held[result.run, result.entry, result.environment.place]) > 1:
            return SHARED  # and nothing tells which came first
        return "" if self._alone.get(run) else UNTOLD
