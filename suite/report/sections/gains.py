"""What an expert gains over a framework's own quickstart: a table in the report, and a page of one change at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from statistics import median

from suite.report.evidence.comparison import AnswerRow, Best, NotRanked, headline_of, questions, unlike
from suite.report.evidence.gains import QUICKSTART, Outcome, Step, frameworks, of_cell, over, steps
from suite.report.evidence.merge import ComparisonGroup, Evidence, FrameworkMode
from suite.report.evidence.precisions import Setting, settings
from suite.report.evidence.roofline import Machine
from suite.report.sections import arithmetic
from suite.report.sections.answers import asked, cost
from suite.report.text.markdown import DASH, Markdown, Notes, bullets, md, table
from suite.report.text.units import multiple
from suite.results.questions import Question, QuestionKind
from suite.stats import Ratio, TooFew

PAGE = "gains.md"
SETTING = "quickstart"
"""The setting in which a runner says what its quickstart is."""
SEVERAL = "the mode is another program than the quickstart, and several things differ at once"
RULE = (
    "Ratios are of speeds in the same laps, taken round by round, each with Student's interval over rounds at 95 % by "
    "itself. *Over the quickstart* is the ratio to the framework's own quickstart in the most exact precision. "
    "*By this change alone* is the ratio to the row in which nothing else differs. All rows compute the same from the "
    "same weights on the same batches, as the section on identity proves."
)
COUNTED = "The last column counts the arithmetic of dense and convolution layers alone, so it is a lower bound."
BATCHES = (
    "How many times faster an example is at a batch size than at the smallest one that was timed. Training is in the "
    "benchmark's own batches."
)
Labels = Mapping[ComparisonGroup, str]


def section(evidence: Evidence, labels: Labels, rows: Sequence[AnswerRow]) -> list[Markdown]:
    """How much faster each framework's best mode is than its quickstart; nothing where none was timed beside another.

    ``labels`` are the groups' names without their precision.
    """
    words = (
        "How many times faster each framework's best mode is than its own quickstart, which is a mode that does what "
        "its documentation's first tutorial does. Ratios are taken round by round, with intervals over rounds, each at "
        f"95 % by itself. [One change at a time]({PAGE}) shows where it comes from."
    )
    found = _found(evidence)
    return [*_summary(evidence, found, labels, rows), Markdown(words)] if found else []


def _summary(evidence: Evidence, found: Sequence[Setting], labels: Labels, rows: Sequence[AnswerRow]) -> list[Markdown]:
    """A line for each question of each benchmark, in its most exact precision."""
    who = _everyone(evidence, found)
    bests = {(row.group, row.question): row.bests for row in rows}
    notes, body = Notes(), []
    for setting in found:
        group = setting.groups[setting.usual]
        for question in headline_of(evidence, group):
            mine = bests.get((group, question), {})
            cells = [_best(evidence, group, question, f, mine.get(f), notes) for f in who]
            body.append([labels[group], asked(question), *cells])
    return [table(["benchmark", "question", *who], body, "ll" + "l" * len(who)), *notes.lines()]


def _everyone(evidence: Evidence, found: Sequence[Setting]) -> list[str]:
    """The frameworks that stand beside their quickstart in some benchmark."""
    return [f for f in evidence.frameworks if any(f in frameworks(evidence, setting) for setting in found)]


def _found(evidence: Evidence) -> list[Setting]:
    return [setting for setting in settings(evidence) if frameworks(evidence, setting)]


def _best(
    evidence: Evidence,
    group: ComparisonGroup,
    question: Question,
    framework: str,
    best: Best | NotRanked | None,
    notes: Notes,
) -> str:
    if not isinstance(best, Best):
        return notes.dash(best.reason if best else f"{framework} has no number")
    if best.framework_mode.mode == QUICKSTART:
        return "1, the quickstart is the fastest"
    start = of_cell(evidence, group, FrameworkMode(framework, QUICKSTART), question)
    said = _ratio(over(start, best.by_round), notes, "x")
    return f"{said}, {best.framework_mode.mode}" if not said.startswith(DASH) else said


def _ratio(outcome: Outcome | None, notes: Notes, sign: str = "") -> str:
    match outcome:
        case Ratio():
            return multiple(outcome, sign)
        case TooFew():
            return notes.dash(str(outcome))
        case NotRanked():
            return notes.dash(outcome.reason)
        case None:
            return ""


def page(evidence: Evidence, labels: Labels, rows: Sequence[AnswerRow], tuned: Sequence[Markdown]) -> list[Markdown]:
    """The page; nothing where no quickstart was timed beside another mode.  ``tuned`` links to inference options."""
    found = _found(evidence)
    if not found:
        return []
    here, counted = arithmetic.machines(evidence), any(spec.flops for spec in evidence.specs.values())
    blocks = [Markdown("# What an expert gains"), Markdown("[Report](report.md)")]
    blocks += [
        Markdown(
            "The mode *quickstart* of a framework does what the first tutorial in its own documentation does. The "
            "other modes are what an expert makes of it. This page changes one thing at a time, where one can be "
            "changed by itself."
        ),
        Markdown("How many times faster each framework's best mode is than its own quickstart:"),
        *_summary(evidence, found, labels, rows),
        Markdown("## Out of the box"),
        bullets([md("*{}*: {}", name, said) for name, said in _said(evidence).items()]),
        *_out_of_the_box(evidence, found, labels),
        Markdown("## How to read the tables"),
        Markdown(" ".join([RULE, *([COUNTED, *arithmetic.said(evidence, here)] if counted else [])])),
    ]
    for setting in found:
        blocks.append(md("## {}", labels[setting.groups[setting.usual]]))
        blocks += _ladders(evidence, setting, here)
        blocks += _batches(evidence, setting)
    blocks += [Markdown("## What is no step here"), *_layout(tuned)]
    return blocks


def _said(evidence: Evidence) -> dict[str, str]:
    """What each framework says of its quickstart."""
    found = {}
    for result in evidence.numbers:
        if result.cell.mode == QUICKSTART and (said := result.environment.settings.get(SETTING)):
            found[result.cell.runner] = said
    return {name: found[name] for name in evidence.frameworks if name in found}


def _layout(tuned: Sequence[Markdown]) -> list[Markdown]:
    words = (
        "From a quickstart to another mode several things change at once: the optimizer's implementation, where "
        "the data lie, how images lie in memory, and whether Python or the framework holds the loop. No row tells one "
        "of them from another. The layout of images alone is an inference option."
    )
    return [Markdown(words), *(tuned or [Markdown("`suite run tuning` measures `channels_first` by itself.")])]


def _out_of_the_box(evidence: Evidence, found: Sequence[Setting], labels: Labels) -> list[Markdown]:
    """The quickstarts of several frameworks beside each other."""
    notes, body = Notes(), []
    everyone = _everyone(evidence, found)
    pairs = list(combinations(everyone, 2))
    for setting in found if pairs else ():
        group = setting.groups[setting.usual]
        for question in headline_of(evidence, group):
            costs = {f: of_cell(evidence, group, FrameworkMode(f, QUICKSTART), question) for f in everyone}
            ratios = []
            for one, other in pairs:
                differs = unlike(evidence, group, one, other)
                ratios.append(_ratio(NotRanked(differs) if differs else over(costs[other], costs[one]), notes))
            speeds = [_speed(question, costs[f], notes) for f in everyone]
            body.append([labels[group], asked(question), *speeds, *ratios])
    if not body:
        return []
    heads = ["benchmark", "question", *everyone, *(f"{one} over {other}" for one, other in pairs)]
    aligned = "ll" + "r" * len(everyone) + "l" * len(pairs)
    return [table(heads, body, aligned), *notes.lines()]


def _speed(question: Question, costs: Mapping[int, float] | NotRanked, notes: Notes) -> str:
    return notes.dash(costs.reason) if isinstance(costs, NotRanked) else cost(question, median(costs.values()))


def _ladders(evidence: Evidence, setting: Setting, machines: Mapping[ComparisonGroup, Machine]) -> Iterator[Markdown]:
    """A table for each question of the headline."""
    counted = evidence.specs[setting.groups[setting.usual]].flops
    for question in headline_of(evidence, setting.groups[setting.usual]):
        notes, body = Notes(), []
        for framework in frameworks(evidence, setting):
            for step in steps(evidence, setting, framework, question):
                line = [framework, step.framework_mode.mode, step.precision, _change(step, notes)]
                line += [_speed(question, step.costs, notes)]
                line += [_ratio(step.gained, notes), _ratio(step.alone, notes)]
                body.append([*line, _share(evidence, step, question, machines[step.group])] if counted else line)
        heads = ["framework", "mode", "precision", "change", "speed", "over the quickstart", "by this change alone"]
        yield md("### {}", asked(question))
        yield table([*heads, "arithmetic, of the peak"] if counted else heads, body, "llllrllr")
        yield from notes.lines()


def _change(step: Step, notes: Notes) -> str:
    if step.gained is None:
        return ""
    return step.change or notes.mark("several", SEVERAL)


def _share(evidence: Evidence, step: Step, question: Question, machine: Machine) -> str:
    if isinstance(step.costs, NotRanked):
        return ""
    reached = arithmetic.per_second(evidence, step.group, question, median(step.costs.values()))
    return arithmetic.shown(reached, machine)


def _batches(evidence: Evidence, setting: Setting) -> Iterator[Markdown]:
    """What an example costs at each batch size against the smallest, of each cell."""
    cells = [r for group in setting.groups.values() for rs in evidence.groups[group].values() for r in rs]
    found = questions(cells)
    kinds = {k: [q for q in found if q.kind is k] for k in (QuestionKind.LATENCY, QuestionKind.THROUGHPUT)}
    larger = [(several[0], q) for several in kinds.values() for q in several[1:]]
    if not larger:
        return
    notes, body = Notes(), []
    for framework in frameworks(evidence, setting):
        for step in steps(evidence, setting, framework, larger[0][0]):
            who = step.framework_mode
            ratios = [_by_batch(evidence, step.group, who, one, other, notes) for one, other in larger]
            body.append([framework, who.mode, step.precision, *ratios])
    heads = [f"{q.kind}, {q.batch_size:,} over {first.batch_size:,}" for first, q in larger]
    yield Markdown("### Batch sizes")
    yield table(["framework", "mode", "precision", *heads], body, "lll" + "l" * len(heads))
    yield from notes.lines()
    yield Markdown(BATCHES)


def _by_batch(
    evidence: Evidence, group: ComparisonGroup, who: FrameworkMode, small: Question, large: Question, notes: Notes
) -> str:
    """Speed per example; the costs of latency are those of queries."""
    first, second = (of_cell(evidence, group, who, question) for question in (small, large))
    if small.kind is QuestionKind.LATENCY and not isinstance(first, NotRanked):
        first = {n: taken * large.batch_size / small.batch_size for n, taken in first.items()}
    return _ratio(over(first, second), notes)
