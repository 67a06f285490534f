"""What went wrong: cells without numbers, files that are no results, planned cells without a result."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from suite.errors import ResultError
from suite.report.evidence.gaps import Gaps, aside, lacking
from suite.report.evidence.merge import Evidence
from suite.report.text.markdown import Markdown, bullets, md, table


def section(lost: Gaps) -> list[Markdown]:
    """Cells without numbers, alike ones in one row; unsupported ones last."""
    groups: dict[tuple[bool, str, str, str, str], list[str]] = defaultdict(list)
    for gap in lost.cells:
        where = aside(lost, gap)
        part = f", {'in ' if gap.kind == 'prove' else ''}{where}" if where else ""
        key = not gap.supported, gap.word + part, gap.runner or "all", gap.mode or "all", gap.reason
        groups[key].append(gap.benchmark.spec)
    if not groups:
        return [Markdown("None.")]
    rows = []
    for (_, what, runner, mode, reason), cells in sorted(groups.items()):
        specs = sorted(set(cells))
        names = ", ".join(specs[:4]) + (f" and {len(specs) - 4} more" if len(specs) > 4 else "")
        rows.append([runner, mode, what, f"{len(cells)}", names, reason])
    return [table(["framework", "mode", "what", "cells", "benchmarks", "reason"], rows, "lllrll")]


def refused(errors: Sequence[ResultError], doubles: Sequence[str]) -> list[Markdown]:
    """Files that are no results, and cells with more than one result."""
    blocks = []
    if errors:
        # The path's last part names the file; where the folder lies would make the same results give other bytes.
        lines = [md("{}: {}", e.where.replace("\\", "/").rsplit("/", 1)[-1], e.what) for e in errors]
        blocks.append(bullets(lines))
    if doubles:
        blocks.append(Markdown("Cells with more than one result, of which one is used:"))
        blocks.append(bullets([md("{}", d) for d in doubles]))
    return blocks


def missing(evidence: Evidence) -> list[str]:
    """Cells of the plan that left no result, in words."""
    lost = [planned.cell for planned in lacking(evidence)]
    if not lost:
        return []
    names = ", ".join(sorted({f"{c.spec} ({c.runner})" for c in lost})[:6])
    return [f"{len(lost):,} of {len(evidence.planned):,} planned cells have no result yet: {names}."]
