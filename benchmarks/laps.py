"""Which statistic of its laps should stand for a cell's round?  Half-widths of stored runs under several.

    .envs/core/bin/python -m benchmarks.laps reports/quick-*

For each comparison of each run: the half-width of its interval, as a factor, if the cost of a round were the median of
the laps' ratios, the quotient of medians, of cheapest laps, or of the cheapest thirds (``suite.results.turns``).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np

from suite.report.evidence import comparison
from suite.report.evidence.comparison import Best, NotRanked
from suite.report.evidence.merge import Evidence, merge
from suite.report.evidence.sources import read_source
from suite.results.questions import Question
from suite.results.records import Timed
from suite.results.turns import undisturbed
from suite.stats import Ratio, ratio_interval

Laps = Sequence[float]
Statistic = Callable[[Laps, Laps], float]
STATISTICS: Mapping[str, Statistic] = {
    "median of ratios": lambda ours, theirs: median(theirs[i] / ours[i] for i in range(min(len(ours), len(theirs)))),
    "medians": lambda ours, theirs: median(theirs) / median(ours),
    "cheapest laps": lambda ours, theirs: min(theirs) / min(ours),
    "cheapest thirds": lambda ours, theirs: undisturbed(theirs) / undisturbed(ours),
}
"""Speed of the first over that of the second in a round."""


def rows(folder: Path) -> list[tuple[str, list[float]]]:
    """Each comparison of a run, and its half-width under each statistic."""
    source = read_source(folder)
    evidence = merge(source.results, source.plan or {})
    drafts = comparison.drafts(evidence)
    count = comparison.judged(drafts)
    found = []
    for draft in drafts:
        for one, other, ratios in draft.pairs:
            if isinstance(ratios, NotRanked):
                continue
            both = [_laps(evidence, draft, framework) for framework in (one, other)]
            rounds = sorted(ratios)
            widths = [
                _half_width(ratio_interval([how(both[0][n], both[1][n]) for n in rounds], count * draft.looks))
                for how in STATISTICS.values()
            ]
            found.append((f"{draft.group.spec}, {draft.question}", widths))
    return found


def _laps(evidence: Evidence, draft: comparison.Draft, framework: str) -> dict[int, Laps]:
    """The laps of a framework's best mode, by round."""
    best = draft.bests[framework]
    assert isinstance(best, Best)
    question: Question = draft.question
    cells = evidence.groups[draft.group][best.framework_mode]
    return {r.cell.round: r.laps(question) for r in cells if isinstance(r, Timed)}


def _half_width(outcome: object) -> float:
    return math.sqrt(outcome.high / outcome.low) if isinstance(outcome, Ratio) else math.nan


def main() -> int:
    """A table of all comparisons, and what it comes to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs in turns")
    every = [row for folder in parser.parse_args().runs for row in rows(folder)]
    lines = [("comparison", *STATISTICS), ("---", *["--:"] * len(STATISTICS))]
    lines += [(name, *(f"x{width:.3f}" for width in widths)) for name, widths in every]
    all_widths = np.array([widths for _, widths in every])
    for words, share in (("median", 0.5), ("nine of ten", 0.9), ("widest", 1.0)):
        lines.append((f"**{words}**", *(f"x{width:.3f}" for width in np.nanquantile(all_widths, share, axis=0))))
    print("\n".join(f"| {' | '.join(line)} |" for line in lines))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
