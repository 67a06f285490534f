"""Where the frameworks' own APIs differ from what the benchmarks ask, as the proofs record it."""

from __future__ import annotations

from collections import defaultdict

from suite.report.evidence.merge import Evidence, position
from suite.report.sections.verification import distinct, several
from suite.report.text.markdown import Markdown, Notes, md, table
from suite.spec.differences import Difference, DifferenceKind

MOST = 60
"""The most rows of the table. If there are more, it shows only those that change numbers."""


def section(evidence: Evidence) -> list[Markdown]:
    """A table of the differences, each once for all modes; nothing where no proof tells of any."""
    covered: dict[tuple[str, Difference], set[str]] = defaultdict(set)
    for proof, benchmarks in distinct(evidence):
        for difference in proof.identity.own or ():
            covered[proof.cell.runner, difference].update(benchmarks)
    if not covered:
        return []
    order = list(DifferenceKind)
    ranked = sorted(covered, key=lambda at: (order.index(at[1].kind), sorted(covered[at]), position(at[0]), at[1].api))
    shown = ranked if len(ranked) <= MOST else [at for at in ranked if at[1].kind is DifferenceKind.SEMANTICS]
    notes = Notes()
    rows = []
    for runner, each in shown:
        effect = (
            md("{}", each.effect) if each.effect else notes.dash("the numbers are the same, or the script chooses them")
        )
        where = md("{}: {}", several(sorted(covered[runner, each])), each.where)
        rows.append([where, runner, str(each.kind), each.api, each.does, each.here, effect])
    heads = ["where", "framework", "difference", "its own API", "what that does", "the runner here", "effect"]
    left = len(ranked) - len(shown)
    return [
        Markdown("### Where the framework's own API differs"),
        Markdown(
            "A script that uses these APIs with their defaults computes something other than the benchmark, or the "
            "same in another way. The runners adapt them to the benchmark, and that is what is proven and timed. The "
            "effect is computed by the reference in float64 from the gate's initial weights: ten steps as the "
            "benchmark asks, and ten as the API does it. *Apart* is the largest difference, relative to the largest "
            "value of the tensor."
        ),
        table(heads, rows, "lllllll"),
        *notes.lines(),
        *([Markdown(f"{left} more are conventions and ways to compose: `suite show` lists them.")] if left else []),
    ]
