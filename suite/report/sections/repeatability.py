"""Whether a training repeats to the bit when it starts from the same seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from suite.report.evidence.diverged import marked
from suite.report.evidence.merge import (
    UNRANKED,
    ComparisonGroup,
    Evidence,
)
from suite.report.text.markdown import Markdown, Notes, table

Labels = Mapping[ComparisonGroup, str]


def section(evidence: Evidence, labels: Labels) -> list[Markdown]:
    """Whether trainings with one seed end in the same weights, to the bit."""
    notes = Notes()
    rows: list[list[str]] = []
    for group, cells in evidence.learnt.items():
        for framework_mode, results in cells.items():
            if framework_mode.runner in UNRANKED:
                continue
            alike: dict[tuple[object, ...], list[str]] = defaultdict(list)
            for r in results:
                if r.training:
                    key = (r.cell.seed, len(r.training.epochs), r.digests, r.environment.source, r.environment.lock)
                    alike[key].append(r.training.weights)
            repeated = [weights for weights in alike.values() if len(weights) > 1]
            equal = sum(len(set(weights)) == 1 for weights in repeated)
            if repeated:
                trainings = sum(map(len, repeated))
                said = (
                    "bit-identical"
                    if equal == len(repeated)
                    else f"differ under {len(repeated) - equal} of {len(repeated)} seeds"
                )
                who = marked(framework_mode.runner, results, notes)
                rows.append([labels[group], who, framework_mode.mode, f"{len(repeated)}", f"{trainings}", said])
    if not rows:
        return [Markdown("No cell was trained twice from the same seed, so bit-identical repetition was not tested.")]
    heads = ["benchmark", "framework", "mode", "seeds repeated", "trainings", "final weights"]
    return [table(heads, rows, "lllrrl"), *notes.lines()]
