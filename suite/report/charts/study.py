"""The charts of a study's page: curves of many benchmarks at once, errors of anomalies, styles of running a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from suite.report.charts import drawing
from suite.report.charts.benchmarks import crosses, curves, held_out, losses, proven, scores, share_of, speakers
from suite.report.charts.drawing import clean
from suite.report.evidence.comparison import AnswerRow, by_round, questions
from suite.report.evidence.diverged import divergence
from suite.report.evidence.merge import ComparisonGroup, Evidence, FrameworkMode
from suite.report.evidence.seeds import kept
from suite.report.evidence.studies import Study
from suite.report.text.units import duration
from suite.results.questions import Question, headline
from suite.results.records import Measured, Numbers
from suite.spec.tasks.task import Histogram

ACROSS = 4
MOST_PANELS = 40
NORMAL = "#999999"
DYNAMIC = frozenset({"eager"})
"""Modes that run each operation as Python calls it; the others run a graph that was made before."""


def charts(
    evidence: Evidence, rows: Sequence[AnswerRow], labels: Mapping[ComparisonGroup, str], studies: Sequence[Study]
) -> dict[str, bytes]:
    """Every chart by file name."""
    found: dict[str, bytes] = {}
    with mpl.rc_context(drawing.RC):
        for study in studies:
            if study.large and (made := _multiples(evidence, rows, labels, study)):
                found[f"curves-{drawing.slug(study.name)}.svg"] = drawing.svg(made)
            for number, group in enumerate(study.groups, 1):
                name = f"{drawing.slug(study.name)}-{number}.svg"
                if made := _errors(clean(labels[group]), speakers(evidence, rows, group)):
                    found[f"errors-{name}"] = drawing.svg(made)
                if not study.large and (made := _styles(clean(labels[group]), proven(evidence, group))):
                    found[f"styles-{name}"] = drawing.svg(made)
    return found


def _multiples(
    evidence: Evidence, rows: Sequence[AnswerRow], labels: Mapping[ComparisonGroup, str], study: Study
) -> Figure | None:
    """A panel per benchmark: loss of training and, dashed, of validation."""
    cells = {group: _trained(speakers(evidence, rows, group)) for group in study.groups}
    cells = {group: mine for group, mine in cells.items() if mine}
    everyone = [r for mine in cells.values() for rs in mine.values() for r in rs]
    if not any(losses(r) or divergence(r) for r in everyone):
        return None
    judged = held_out(everyone)
    shown = list(cells)[:MOST_PANELS]
    down = -(-len(shown) // ACROSS)
    figure = drawing.figure(0.9 + 1.45 * down, f"{clean(study.name)}: loss by epoch; {judged} dashed")
    runners = sorted({c.runner for mine in cells.values() for c in mine})
    for i, group in enumerate(shown, 1):
        axes = figure.add_subplot(down, ACROSS, i)
        colours = {c: drawing.colour(c.runner, runners) for c in cells[group]}
        curves(axes, cells[group], losses, colours, thickest=3.0)
        curves(axes, cells[group], lambda r: scores(r, judged, "loss"), colours, "--", thickest=3.0)
        axes.set_title(clean(labels[group].removeprefix(f"{study.name}/")), fontsize=8, loc="left")
        axes.tick_params(labelsize=7)
        axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(3))
        axes.set_ylim(bottom=0)
        crosses(axes, cells[group], colours, size=6)
    names = {c.runner: drawing.colour(c.runner, runners) for mine in cells.values() for c in mine}
    handles = [mpl.lines.Line2D([], [], color=colour, linewidth=2) for colour in names.values()]
    figure.legend(handles, [clean(name) for name in names], loc="outside lower center", ncols=3)
    return figure


def _trained(cells: Mapping[FrameworkMode, Sequence[Measured]]) -> dict[FrameworkMode, list[Measured]]:
    found = {c: drawing.one_per_seed([r for r in results if r.training]) for c, results in cells.items()}
    return {c: results for c, results in found.items() if results}


def _errors(label: str, cells: Mapping[FrameworkMode, Sequence[Measured]]) -> Figure | None:
    """The two distributions of a task's histogram, a panel per framework, under its first seed that has them."""
    found: dict[FrameworkMode, tuple[int, Histogram]] = {}
    for framework_mode, results in cells.items():
        for result in drawing.one_per_seed(kept(results)):
            told = result.training.assessment if result.training else None
            if told is not None and (shown := told.histogram()):
                found.setdefault(framework_mode, (result.cell.seed, shown))
    if not found:
        return None
    title = next(shown.title for _, shown in found.values())
    figure = drawing.figure(3.3, f"{label}: {title}, one seed")
    share = None
    for i, (framework_mode, (seed, histogram)) in enumerate(found.items(), 1):
        share = axes = figure.add_subplot(1, len(found), i, sharey=share, sharex=share)
        colours = NORMAL, drawing.colour(framework_mode.runner, [c.runner for c in found])
        for (name, counts), colour in zip(histogram.counts.items(), colours, strict=True):
            heights = 100 * np.array(counts, float) / sum(counts)
            edges = np.array(histogram.edges)
            axes.stairs(heights, edges, fill=True, alpha=0.45, color=colour, label=f"{name}, {sum(counts):,} images")
            axes.stairs(heights, edges, color=colour, linewidth=1.2)
        if histogram.mark is not None:
            name, value = histogram.mark
            axes.axvline(value, color="black", linewidth=1.2, linestyle="--", label=name)
        who = f"{clean(framework_mode.runner)} {clean(framework_mode.mode)}, seed {seed}"
        axes.set_title(f"{who}{share_of(cells[framework_mode])}", fontsize=10, loc="left")
        axes.set_xlabel(histogram.axis)
        axes.set_ylabel("% of its kind" if i == 1 else "")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.legend(fontsize=8)
    return figure


def _styles(label: str, cells: Mapping[FrameworkMode, Sequence[Numbers]]) -> Figure | None:
    """Every mode of every framework side by side: a bar for each question that the answer is about."""
    asked = headline(questions([r for results in cells.values() for r in results]))
    if len(cells) < 3 or not asked:
        return None
    order = sorted(cells, key=lambda c: (c.mode not in DYNAMIC, list(cells).index(c)))
    figure = drawing.figure(1.25 + 0.32 * len(cells), f"{label}: styles of execution, dynamic first; shorter is faster")
    runners = list(dict.fromkeys(c.runner for c in cells))
    for i, question in enumerate(asked, 1):
        axes = figure.add_subplot(1, len(asked), i)
        costs = {c: median(found.values()) for c in order if (found := by_round(cells[c], question))}
        for y, framework_mode in enumerate(order):
            if framework_mode in costs:
                axes.barh(y, costs[framework_mode], color=drawing.colour(framework_mode.runner, runners), height=0.66)
                axes.annotate(
                    duration(costs[framework_mode]), (costs[framework_mode], y),
                    xytext=(3, 0), textcoords="offset points",
                    va="center", fontsize=8,
                )  # fmt: skip
        axes.set_yticks(range(len(order)))
        names = [f"{clean(c.runner)} {clean(c.mode)}{share_of(cells[c])}" for c in order]
        axes.set_yticklabels(names if i == 1 else [], fontsize=9)
        axes.set_ylim(len(order) - 0.4, -0.6)
        axes.set_xlim(0, 1.38 * max(costs.values(), default=1.0))
        axes.set_xticks([])
        axes.grid(visible=False)
        axes.spines["bottom"].set_visible(False)
        axes.set_title(_asked(question), fontsize=9, loc="left")
    return figure


def _asked(question: Question) -> str:
    one = "query" if question.kind == "latency" else question.counted.removesuffix("s")
    return f"{question}\ntime per {one}"
