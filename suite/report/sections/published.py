"""What sources state beside what was measured here: the verdicts, and the assumptions behind them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from suite.report.evidence.claims import ClaimRow
from suite.report.evidence.merge import ComparisonGroup
from suite.report.evidence.studies import Study
from suite.report.evidence.verdicts import ClaimVerdict
from suite.report.text.markdown import Markdown, Notes, bullets, md, table
from suite.report.text.units import digits, percent
from suite.spec.recipe import TIMES, Claim
from suite.spec.resolved import Spec
from suite.stats import Prediction, TooFew

LONGEST = 40
"""The most published numbers that the report itself lists. If there are more, it counts the verdicts by study."""
RULE = Markdown(
    "*Reproduced*: the published number lies inside the 95 % prediction interval for a new run, and that interval is "
    "narrow. This needs five seeds or more at the full schedule. Narrow means a half-width of at most 1 point of an "
    "accuracy; 10 % of the value or 0.02 of a loss, and 10 % of the value or 1 of an epoch, whichever is larger; or "
    "what the claim itself states. *Too noisy to tell*: the number lies inside a wider interval, or so close outside "
    "it that the choice of scale decides. *Not reproduced*: the number lies outside. *Depends on an assumption*: the "
    "source leaves a choice open, and the other choice turns one of these verdicts into the other. Published times "
    "come from other machines: they are shown and never judged."
)
DIVERGED = Markdown(
    "*Diverged*: in a training of that framework a loss or a weight was not finite. Nothing is judged then, because a "
    "verdict from the other seeds would rest on a selection of them."
)
PENALTY = Markdown(
    "Keras reports a loss with its L2 penalty, and so do these sources as far as one can tell. Where a benchmark has "
    "L2, the loss that is judged and shown here is therefore the data loss plus the penalty. If the data loss alone "
    "would get another verdict, the verdict depends on that assumption."
)

Labels = Mapping[ComparisonGroup, str]


def section(labels: Labels, rows: Sequence[ClaimRow], studies: Sequence[Study]) -> list[Markdown]:
    """Every claim where there are few, else the verdicts of each study."""
    if not rows:
        return [Markdown("No benchmark of this run has a published number.")]
    if len(rows) <= LONGEST:
        claimed = {row.group for row in rows}
        specs = {a: spec for study in studies for a, spec in study.specs.items() if a in claimed}
        return [*claim_table(labels, rows), *rules(rows), *assumptions(labels, specs)]
    body = []
    for study in studies:
        mine = [row for row in rows if row.group in study.specs]
        if mine:
            body.append([link(study), f"{len(mine)}", counted(mine)])
    told = Markdown("Each number is on the page of its study.")
    return [table(["study", "numbers", "verdicts"], body, "lrl"), told, *rules(rows)]


def link(study: Study, folder: str = "studies/") -> Markdown:
    """The study's name, leading to its page; names of specs are letters, digits, dots and dashes alone."""
    return Markdown(f"[{study.name}]({folder}{study.file})")


def counted(rows: Sequence[ClaimRow]) -> str:
    """How often each verdict was given, times left out."""
    counts: Counter[ClaimVerdict] = Counter(row.verdict for row in rows if row.claim.metric not in TIMES)
    return ", ".join(f"{counts[v]} {v}" for v in ClaimVerdict if counts[v]) or "none is judged"


def rules(rows: Sequence[ClaimRow]) -> list[Markdown]:
    """How to read the verdicts."""
    penalised = any(row.claim.metric.endswith("loss") and row.seeds for row in rows)
    unjudged = (ClaimVerdict.CONTEXT, ClaimVerdict.DIVERGED)
    judged = sum(row.verdict not in unjudged and row.seeds is not None for row in rows)
    often = f" Each of the {judged} verdicts holds at 95 % by itself, so chance alone fails one in twenty."
    rule = Markdown(RULE + often) if judged > 1 else RULE
    if any(row.verdict is ClaimVerdict.DIVERGED for row in rows):
        rule = Markdown(f"{rule} {DIVERGED}")
    return [rule, PENALTY] if penalised else [rule]


def claim_table(labels: Labels, rows: Sequence[ClaimRow]) -> list[Markdown]:
    """A line per published number and framework."""
    notes = Notes()
    body: list[list[str]] = []
    for row in rows:
        claim = row.claim
        verdict: str = md("**{}**", row.verdict) if row.verdict is ClaimVerdict.REPRODUCED else str(row.verdict)
        verdict = notes.mark(verdict, row.reason) if row.reason else verdict
        stated: str = notes.mark(_stated(claim), claim.note) if claim.note else _stated(claim)
        who = f"{row.framework_mode.runner} ({row.framework_mode.mode})" if row.framework_mode else "any"
        body.append([labels[row.group], claim.metric.replace("_", " "), stated, who, *_ours(row, notes), verdict])
    heads = ["benchmark", "metric", "published", "framework", "mean here", "95 % for a new run here", "verdict"]
    return [table(heads, body, "llrlrrl"), *notes.lines()]


def _stated(claim: Claim) -> str:
    upper = f" to {number(claim.metric, claim.to)}" if claim.to is not None else ""
    return f"{number(claim.metric, claim.value)}{upper}"


def number(metric: str, value: float) -> str:
    """A value of a metric as people read it."""
    if metric.endswith(("accuracy", "reduction")):
        return percent(value)
    if metric in TIMES:
        return f"{digits(value)} s"
    return digits(value, 3 if metric == "stopped_at_epoch" else 4)


def _ours(row: ClaimRow, notes: Notes) -> tuple[str, str]:
    metric, mean = row.claim.metric, row.mean
    if mean is None or row.seeds is None:
        dash = notes.dash(row.reason or "not measured")
        return dash, dash
    if metric in TIMES:
        return number(metric, mean), notes.dash("times are not judged")
    match row.ours:
        case Prediction() as p:
            return number(metric, mean), f"{number(metric, p.low)} to {number(metric, p.high)}, {p.runs} seeds"
        case TooFew() as few:
            return number(metric, mean), notes.dash(str(few))
        case None:
            return number(metric, mean), notes.dash("not measured")


def assumptions(labels: Labels, specs: Mapping[ComparisonGroup, Spec]) -> list[Markdown]:
    """What sources leave open and what was chosen, each once with the benchmarks that it is about."""
    about: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for group, spec in specs.items():
        for a in spec.assumptions:
            about[(a.about, a.chosen, a.alternative or "")].append(labels[group])
    lines = []
    for (subject, chosen, alternative), names in about.items():
        other = md("; the other choice is the case {}", alternative) if alternative else Markdown("")
        whose = Markdown("") if len(names) == len(specs) else md(" ({})", _some(names))
        lines.append(md("**{}**: {}{}{}", subject, chosen, other, whose))
    return [Markdown("What the source leaves open, and what was chosen here:"), bullets(lines)] if lines else []


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
