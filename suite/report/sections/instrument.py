"""The instrument itself: what it costs, its control, and whether the timed calls did their work."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from suite.report.evidence.comparison import null_share, questions
from suite.report.evidence.merge import (
    UNRANKED,
    ComparisonGroup,
    Evidence,
    FrameworkMode,
    comparison_group,
    framework_mode,
    in_order,
)
from suite.report.sections.answers import asked
from suite.report.text.markdown import DASH, Markdown, Notes, md, table
from suite.report.text.units import digits, duration
from suite.results import turns
from suite.results.questions import Question, QuestionKind, headline
from suite.results.records import Audit, Timed
from suite.stats import NULL_LIMIT, SAME_SPEED, Ratio, TooFew, ratio_interval

OWN_LIMIT = 0.01
"""Share of a call of training that the call may cost by itself."""
MOST_NAMES = 4
Labels = Mapping[ComparisonGroup, str]


def section(evidence: Evidence, labels: Labels) -> list[Markdown]:
    """Its cost, its control, the audits and the cost of a call; without turns the first alone."""
    return [*null(evidence, labels), *control(evidence, labels), *audits(evidence), *calls(evidence)]


def null(evidence: Evidence, labels: Labels) -> list[Markdown]:
    """The cost of a call that computes nothing, compared with the shortest sample of all."""
    rows = []
    for group, cells in evidence.groups.items():
        nothing = [r for c, results in cells.items() if c.runner == "null" for r in results]
        real = {c: results for c, results in cells.items() if c.runner not in UNRANKED}
        for question in questions(nothing):
            shortest = {
                c: min(costs) for c, rs in real.items() if (costs := [x for r in rs for x in question.costs(r)])
            }
            if not shortest:
                continue
            fastest = min(shortest, key=lambda c: (shortest[c], c))
            share = null_share(evidence, group, real[fastest], question)
            assert share is not None
            middle = median(cost for r in nothing for cost in question.costs(r))
            rows.append(
                [
                    labels[group],
                    asked(question),
                    duration(middle),
                    f"{duration(shortest[fastest])}, {fastest.runner} ({fastest.mode})",
                    f"{digits(100 * share, 2)} %",
                    "yes" if share <= NULL_LIMIT else Markdown("**no**"),
                ]
            )
    if not rows:
        return [Markdown("The null runner was not measured, so the cost of the instrument itself is unknown.")]
    return [
        table(
            ["benchmark", "question", "null, median", "shortest sample of all", "share", "under 1 %"], rows, "llrlrl"
        ),
        Markdown(
            "Latency is per query, the others are per example. A number is not ranked if the null runner's call takes "
            "more than 1 % of its shortest sample."
        ),
    ]


@dataclass(frozen=True)
class ControlRow:
    """A cell against its second process: speed of the first over the second, by round."""

    group: ComparisonGroup
    framework_mode: FrameworkMode
    question: Question
    ratios: Mapping[int, float]

    @property
    def outcome(self) -> Ratio | TooFew:
        """Its interval at 95 %, by itself."""
        return ratio_interval(list(self.ratios.values()))

    @property
    def off(self) -> bool:
        """Whether the interval excludes 1 by more than 3 %, where there is one."""
        found = self.outcome
        return isinstance(found, Ratio) and (found.low > SAME_SPEED or found.high < 1 / SAME_SPEED)


def controlled(evidence: Evidence) -> list[ControlRow]:
    """Every cell that stood twice in its laps, under each question of the answer."""
    seconds: dict[tuple[ComparisonGroup, FrameworkMode], list[Timed]] = defaultdict(list)
    for record in evidence.controls:
        seconds[comparison_group(record), framework_mode(record)].append(record)
    found = []
    for (group, mode), records in sorted(seconds.items()):
        firsts = {r.cell.round: r for r in evidence.groups.get(group, {}).get(mode, ()) if isinstance(r, Timed)}
        for question in headline(questions(records)):
            ratios: dict[int, float] = {}
            for second in records:
                first = firsts.get(second.cell.round)
                ours, theirs = (turns.cost(r, question) if r else None for r in (first, second))
                ratios |= {second.cell.round: theirs / ours} if ours and theirs else {}
            if ratios:
                found.append(ControlRow(group, mode, question, dict(sorted(ratios.items()))))
    return found


def control(evidence: Evidence, labels: Labels) -> list[Markdown]:
    """The same program against itself; nothing where nothing was timed in turns."""
    if not evidence.timed:
        return []
    rows = controlled(evidence)
    if not rows:
        return [Markdown("No cell stood twice in its laps, so there is no control.")]
    notes, body = Notes(), []
    for row in rows:
        outcome = row.outcome
        if isinstance(outcome, Ratio):
            said: str = f"{outcome.value:.3f} ({outcome.low:.3f} to {outcome.high:.3f})"
        else:
            middle = median(row.ratios.values())
            said = notes.mark(f"{middle:.3f}", f"{outcome}: the median of the rounds, without an interval")
        holds = Markdown("**no**") if row.off else "yes" if isinstance(outcome, Ratio) else DASH
        name = f"{row.framework_mode.runner} ({row.framework_mode.mode})"
        body.append([labels[row.group], name, asked(row.question), said, f"{len(row.ratios)}", holds])
    heads = ["benchmark", "cell", "question", "first / second process", "rounds", "1 within 3 %"]
    warning = warnings(evidence, labels)
    return [
        *[md("**{}**", line) for line in warning],
        table(heads, body, "lllrrl"),
        *notes.lines(),
        Markdown(
            "The control: one cell stands twice in its laps, as two processes of the same program. Their ratio must "
            "hold 1. The brackets hold Student's interval over rounds, each at 95 % by itself; *no* means that all of "
            "it lies more than 3 % from 1. The control is ranked nowhere."
        ),
    ]


def warnings(evidence: Evidence, labels: Labels) -> list[str]:
    """What the control says against the run, if it does."""
    off = [row for row in controlled(evidence) if row.off]
    names = "; ".join(f"{labels[row.group]}, {asked(row.question)}" for row in off[:MOST_NAMES])
    words = "The control fails: two processes of the same program differ by more than 3 %"
    return [f"{words} ({names}). Differences of that size between frameworks may be none."] if off else []


def _audited(evidence: Evidence) -> Iterator[tuple[Timed, Audit]]:
    for record in (*evidence.timed, *evidence.controls):
        for audit in record.audits if record.cell.runner not in UNRANKED else ():
            yield record, audit


def audits(evidence: Evidence) -> list[Markdown]:
    """How many outputs of timed calls were compared with the reference's, and how many were right."""
    if not evidence.timed:
        return []
    counts: dict[str, list[bool]] = defaultdict(list)
    for record, audit in _audited(evidence):
        counts[record.cell.runner].append(audit.right)
    if not counts:
        return [Markdown("No outputs of timed calls were kept, so none were compared with the reference's.")]
    told = []
    for runner in in_order(counts):
        right, all_of = sum(counts[runner]), len(counts[runner])
        told.append(
            md(
                "{}: {} of {} right" if right == all_of else "**{}: {} of {} right**",
                runner,
                f"{right:,}",
                f"{all_of:,}",
            )
        )
    words = "Outputs of timed calls, drawn at random and compared with the reference's"
    return [Markdown(f"{words}: {'; '.join(told)}. A cache, or a call that was skipped, would show.")]


def wrong(evidence: Evidence, labels: Labels) -> list[str]:
    """For the top of the report: whose timed outputs are wrong."""
    found: dict[str, int] = defaultdict(int)
    for record, audit in _audited(evidence):
        if not audit.right:
            name = f"{record.cell.runner} ({record.cell.mode}) in {labels[comparison_group(record)]}"
            found[name] += 1
    if not found:
        return []
    names = list(found)
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    shown = ", ".join(names[:MOST_NAMES])
    return [f"Timed outputs are wrong: {shown}{more}. What computes something else in its timed calls is not ranked."]


def apart(evidence: Evidence, labels: Labels) -> list[str]:
    """For the top of the report: benchmarks whose programs did not fit side by side."""
    names = list(dict.fromkeys(labels[comparison_group(r)] for r in evidence.timed if r.spans))
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    words = "Programs did not fit side by side, so each cell's laps came in one piece, and not all met the same drift"
    return [f"{words}: {', '.join(names[:MOST_NAMES])}{more}."] if names else []


def calls(evidence: Evidence) -> list[Markdown]:
    """What a call of training costs by itself, over the call's time: the largest share of each framework."""
    shares: dict[str, list[float]] = defaultdict(list)
    for record in evidence.timed:
        for block in record.blocks if record.cell.runner not in UNRANKED else ():
            call = median(block.blocks_ns) / block.calls
            if block.kind is QuestionKind.TRAINING and block.own_ns is not None and call > 0:
                shares[record.cell.runner].append(block.own_ns / call)
    if not shares:
        return []
    told = [_share(runner, shares[runner]) for runner in in_order(shares)]
    words = "What a call of training costs by itself, however few its steps: at most"
    return [Markdown(f"{words} {'; '.join(told)} of the call's time, by two lengths of call.")]


def _share(runner: str, shares: Sequence[float]) -> Markdown:
    most = max(shares)
    return md("**{} % ({})**" if most > OWN_LIMIT else "{} % ({})", digits(100 * most, 2), runner)
