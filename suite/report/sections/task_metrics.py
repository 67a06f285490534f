"""What the trained models are judged by beyond their loss: confusion, anomalies, word vectors, boxes.

The core judged the outputs of every framework alike, and each task says what to show; here the seeds are put together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from suite.report.charts.drawing import one_per_seed
from suite.report.evidence import diverged
from suite.report.evidence.diverged import divergence
from suite.report.evidence.merge import FrameworkMode
from suite.report.evidence.seeds import kept
from suite.report.text.markdown import DASH, Markdown, Notes, bullets, md, table
from suite.report.text.units import digits, percent
from suite.results.records import Measured
from suite.spec.tasks.found import METRICS
from suite.spec.tasks.shown import Block, Part, Points, Sentence, Spread, Strong, Table, Unit, Value
from suite.spec.tasks.task import TaskMetrics
from suite.stats import TooFew, prediction

Cells = Mapping[FrameworkMode, Sequence[Measured]]
SHOWS: Mapping[Unit, Callable[[float], str]] = {
    Unit.PERCENT: percent,
    Unit.FOUR_PLACES: lambda value: f"{value:.4f}",
    Unit.DIGITS: digits,
}


def section(cells: Cells, *, large: bool = False) -> list[Markdown]:
    """Of the frameworks' modes that speak for them; nothing where results hold no task metrics.

    Of a ``large`` study, of many benchmarks, long tables are left out.
    """
    facts = next((result.spec.data for results in cells.values() for result in results), None)
    lines = list(_told(cells))
    for kind in METRICS:
        if found := _of(cells, kind):
            lines += _drawn(kind.shown(found, facts.called if facts else str, large))
    return lines


def _name(framework_mode: FrameworkMode) -> str:
    return f"{framework_mode.runner} ({framework_mode.mode})"


def _lost(result: Measured) -> bool:
    """Whether a cell diverged so that its outputs, or word vectors, are no numbers to be judged."""
    if divergence(result) is None or result.training is None:
        return False
    return result.training.assessment is None or result.training.assessment.tells_nothing


def _told(cells: Cells) -> list[Markdown]:
    """Whose seeds diverged; where some of those networks tell nothing, the other seeds' do not speak for all."""
    lines = []
    for framework_mode, results in cells.items():
        seeds = one_per_seed(kept(results))
        if not seeds or seeds[0].spec.task.metrics_kind is None or not (words := diverged.words(seeds)):
            continue
        lost = "and the outputs are no numbers" if any(map(_lost, seeds)) else "and what their networks give counts"
        lines.append(md("{}: {}, {}.", _name(framework_mode), words, lost))
    return [bullets(lines)] if lines else []


def _of(cells: Cells, kind: type[TaskMetrics]) -> dict[str, dict[int, TaskMetrics]]:
    """Metrics of one kind by framework and seed, of the cells that were trained farthest.

    A framework is left out where one of its seeds diverged and has none.
    """
    found = {}
    for framework_mode, results in cells.items():
        seeds = one_per_seed(kept(results))
        mine = {r.cell.seed: r.training.assessment for r in seeds if r.training}
        chosen = {seed: m for seed, m in sorted(mine.items()) if isinstance(m, kind)}
        if chosen and not any(map(_lost, seeds)):
            found[_name(framework_mode)] = chosen
    return found


def _drawn(blocks: Sequence[Block]) -> list[Markdown]:
    """What a task shows, written as Markdown; the notes of a table stand below it."""
    lines: list[Markdown] = []
    for block in blocks:
        match block:
            case Sentence(title, words):
                lines.append(md("**{}**{}", title, words) if title else md("{}", words))
            case Points(found):
                lines.append(bullets([md("{}", line) for line in found]))
            case Table(heads, rows, align):
                notes = Notes()
                body = [[_value(value, notes) for value in row] for row in rows]
                lines += [table(list(heads), body, *([align] if align else [])), *notes.lines()]
    return lines


def _value(value: Value, notes: Notes) -> str:
    match value:
        case Strong(words):
            return md("**{}**", words)
        case Part(part, whole):
            return percent(part / whole, 1) if whole else DASH
        case Spread():
            return _spread(value, notes)
        case None:
            return DASH
        case str():
            return value


def _spread(found: Spread, notes: Notes) -> str:
    """Mean over seeds, and the 95 % prediction interval for a new run."""
    show = SHOWS[found.unit]
    known = [v for v in found.values if v is not None]
    if not known:
        return notes.dash("no seed has a value")
    expected = prediction(known, found.bounds)
    if isinstance(expected, TooFew):
        spread = f", {show(min(known))} to {show(max(known))}" if len(known) > 1 else ""
        return notes.mark(f"{show(fmean(known))}{spread}", f"no interval, {expected}")
    return f"{show(expected.mean)} ({show(expected.low)} to {show(expected.high)})"
