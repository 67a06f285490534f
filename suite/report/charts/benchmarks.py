"""The charts of the answer and of each benchmark: the same results give the same bytes, 700 pixels wide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, median

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from suite.report.charts import drawing
from suite.report.charts.drawing import GREY, clean, plain_log, tick
from suite.report.evidence import diverged
from suite.report.evidence.claims import favourites
from suite.report.evidence.comparison import AnswerRow, questions
from suite.report.evidence.diverged import divergence
from suite.report.evidence.merge import UNRANKED, ComparisonGroup, Evidence, FrameworkMode, NotProven, in_order
from suite.report.evidence.studies import Study
from suite.report.text.units import digits
from suite.results.questions import Question, QuestionKind
from suite.results.records import Measured, Numbers
from suite.stats import SAME_SPEED, Decision, Ratio

MOST_RATIOS = 60
"""The most comparisons in the first chart. If there are more, it shows those of training alone."""
Points = Sequence[tuple[int, float]]


def charts(
    evidence: Evidence, rows: Sequence[AnswerRow], labels: Mapping[ComparisonGroup, str], studies: Sequence[Study]
) -> dict[str, bytes]:
    """Every chart by file name; the benchmarks of a large study have none of their own."""
    crowded = {group for study in studies if study.large for group in study.groups}
    with mpl.rc_context(drawing.RC):
        found: dict[str, bytes] = {}
        if ratios := _ratios(rows, labels):
            found["ratios.svg"] = drawing.svg(ratios)
        for number, group in enumerate(evidence.groups, 1):
            if group in crowded:
                continue
            name = f"{number:02}-{drawing.slug(group.spec)}.svg"
            if latency := _latency(clean(labels[group]), proven(evidence, group)):
                found[f"latency-{name}"] = drawing.svg(latency)
            if made := _curves(clean(labels[group]), speakers(evidence, rows, group)):
                found[f"training-{name}"] = drawing.svg(made)
        return found


def proven(evidence: Evidence, group: ComparisonGroup) -> dict[FrameworkMode, tuple[Numbers, ...]]:
    """The frameworks' modes all of whose cells are proven."""
    return {
        c: rs
        for c, rs in evidence.groups.get(group, {}).items()
        if c.runner not in UNRANKED and not any(isinstance(evidence.proof_status(r), NotProven) for r in rs)
    }


def speakers(
    evidence: Evidence, rows: Sequence[AnswerRow], group: ComparisonGroup
) -> dict[FrameworkMode, tuple[Measured, ...]]:
    """The trainings of the mode that represents each framework, if it is proven."""
    cells, trained = proven(evidence, group), evidence.learnt.get(group, {})
    return {c: trained[c] for c in favourites(evidence, rows, group).values() if c in cells}


def _ratios(rows: Sequence[AnswerRow], labels: Mapping[ComparisonGroup, str]) -> Figure | None:
    """A forest plot: a line per comparison, its interval, and the band that counts as equal."""
    crowded = sum(isinstance(pair.outcome, Ratio) for row in rows for pair in row.pairings) > MOST_RATIOS
    lines = [
        (f"{clean(labels[row.group])}\n{row.question}", pair.first, pair.second, pair.outcome)
        for row in rows
        for pair in row.pairings
        if isinstance(pair.outcome, Ratio) and (row.question.kind is QuestionKind.TRAINING or not crowded)
    ][:MOST_RATIOS]
    if not lines:
        return None
    runners = in_order(name for _, first, second, _ in lines for name in (first, second))
    figure = drawing.figure(1.3 + 0.52 * len(lines), "Ratio of speeds (log scale); all intervals hold together at 95 %")
    axes = figure.add_subplot()
    axes.axvspan(1 / SAME_SPEED, SAME_SPEED, color="#eeeeee", zorder=0)
    axes.axvline(1, color=GREY, linewidth=1)
    for y, (_, first, second, ratio) in enumerate(lines):
        faster = {Decision.FASTER: first, Decision.SLOWER: second}.get(ratio.decision)
        colour = drawing.colour(faster, runners) if faster else GREY
        axes.plot([ratio.low, ratio.high], [y, y], color=colour, linewidth=2, solid_capstyle="butt")
        axes.plot([ratio.value], [y], marker="o", color=colour, markersize=6)
        axes.annotate(
            f"{digits(max(ratio.value, 1 / ratio.value))}x",
            (ratio.value, y),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=8.5,
        )
    pairs = {(first, second) for _, first, second, _ in lines}
    several = len(pairs) > 1
    axes.set_yticks(range(len(lines)))
    axes.set_yticklabels([f"{t}{f', {f} / {s}' if several else ''}" for t, f, s, _ in lines], fontsize=9)
    axes.set_ylim(len(lines) - 0.5, -0.7)
    axes.grid(visible=False, axis="y")
    low = min([1 / 1.1, *(r.low for *_, r in lines)])
    high = max([1.1, *(r.high for *_, r in lines)])
    axes.set_xscale("log")
    axes.set_xlim(low * 0.93, high * 1.07)
    plain_log(axes, "x", low, high)
    first, second = lines[0][1:3] if not several else ("first", "second")
    figure.supxlabel(f"speed of {first} / speed of {second}   ← {second} faster   |   {first} faster →", fontsize=10)
    return figure


def _curves(label: str, cells: Mapping[FrameworkMode, Sequence[Measured]]) -> Figure | None:
    """Training loss, validation loss and accuracy by epoch, all frameworks in one chart."""
    trained = {c: drawing.one_per_seed([r for r in results if r.training]) for c, results in cells.items()}
    trained = {c: results for c, results in trained.items() if results}
    judged = held_out([r for results in trained.values() for r in results])
    panels: list[tuple[str, list[tuple[str, Callable[[Measured], Points]]]]] = [
        (f"loss: training, {judged} dashed", [("-", losses), ("--", lambda r: scores(r, judged, "loss"))]),
        (f"{judged} accuracy, %", [("-", lambda r: scores(r, judged, "accuracy"))]),
    ]
    everyone = [r for results in trained.values() for r in results]
    lost = diverged.of(everyone)
    panels = [
        (title, lines)
        for i, (title, lines) in enumerate(panels)
        if any(take(r) for _, take in lines for r in everyone) or (lost and not i)
    ]
    if not panels:
        return None
    figure = drawing.figure(3.4, f"{label}: training, best mode of each framework")
    colours = {c: style[0] for c, style in drawing.styles(list(trained)).items()}
    for i, (title, lines) in enumerate(panels, 1):
        axes = figure.add_subplot(1, len(panels), i)
        for dash, take in lines:
            curves(axes, trained, take, colours, dash)
        crosses(axes, trained, colours)
        axes.set_xlabel("epoch")
        axes.set_ylabel(title)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3)
    return figure


def curves(
    axes: Axes,
    cells: Mapping[FrameworkMode, Sequence[Measured]],
    take: Callable[[Measured], Points],
    colours: Mapping[FrameworkMode, str],
    dash: str = "-",
    thickest: float = 4.5,
) -> None:
    """A thin line per seed, a thick one for the mean of all; dashed curves are named by the plain ones.

    Curves that agree overlap, so each framework's line is narrower than the one below it.  Where a seed diverged
    there is no mean from that epoch on.
    """
    for depth, (framework_mode, results) in enumerate(cells.items()):
        lost = diverged.of(results)
        lines = [dict(line) for r in results if (line := take(r)) or divergence(r)]
        if not lines:
            continue
        colour, width = colours[framework_mode], thickest / 2.2**depth
        for by_epoch in lines[:20]:
            marker = "." if lost and len(by_epoch) == 1 else ""
            axes.plot(
                list(by_epoch), list(by_epoch.values()), dash, color=colour, linewidth=0.6, alpha=0.4, marker=marker
            )
        shared = sorted(set.intersection(*(set(line) for line in lines)))
        mean = [fmean(line[epoch] for line in lines) for epoch in shared]
        seeds = f"{len(lines)} seed{'s' if len(lines) > 1 else ''}"
        seeds += f", {len(lost.seeds)} diverged" if lost else ""
        name = f"{clean(framework_mode.runner)} {clean(framework_mode.mode)}, {seeds}" if dash == "-" else None
        marker = "o" if len(shared) < 3 else ""
        axes.plot(
            shared, mean, dash, color=colour, linewidth=width, marker=marker, markersize=3 + width,
            label=name, alpha=0.9 if dash == "-" else 0.75,
        )  # fmt: skip


def crosses(
    axes: Axes, cells: Mapping[FrameworkMode, Sequence[Measured]], colours: Mapping[FrameworkMode, str], size: float = 8
) -> None:
    """Above the curves, a row for each framework: a cross at each epoch in which seeds diverged, and how many did."""
    found = {framework_mode: lost for framework_mode, results in cells.items() if (lost := diverged.of(results))}
    if not found:
        return
    if not any(np.asarray(line.get_xdata()).size for line in axes.lines):
        axes.set_yticks([])
    low, high = axes.get_ylim()
    step = 0.15 * (high - low)
    axes.set_ylim(low, high + step * len(found))
    planned = max(r.spec.epochs for results in cells.values() for r in results)
    beside = max(0.05 * planned, 0.2)
    axes.set_xlim(1 - beside, planned + beside)
    for row, (framework_mode, lost) in enumerate(found.items()):
        height = high + step * (len(found) - row - 0.5)
        for epoch, count in sorted(Counter(each.epoch for each in lost.seeds.values()).items()):
            axes.plot([epoch], [height], "x", color=colours[framework_mode], markersize=0.7 * size, markeredgewidth=1.8)
            axes.annotate(
                f"{count} diverged", (epoch, height), xytext=(size, 0), textcoords="offset points", va="center",
                fontsize=size, color=colours[framework_mode],
            )  # fmt: skip


def held_out(results: Sequence[Measured]) -> str:
    """The split that curves are judged by: validation where there is one, else test."""
    return "validation" if any(e.validation for r in results if r.training for e in r.training.epochs) else "test"


def losses(result: Measured) -> Points:
    """The loss seen while training, by epoch."""
    epochs = result.training.epochs if result.training else ()
    return [(i, e.train_loss) for i, e in enumerate(epochs, 1) if e.train_loss is not None]


def scores(result: Measured, split: str, quantity: str) -> Points:
    """Loss, or accuracy in percent, of a split after each epoch."""
    epochs = result.training.epochs if result.training else ()
    times = 100 if quantity == "accuracy" else 1
    found = ((i, getattr(getattr(e, split), quantity, None)) for i, e in enumerate(epochs, 1))
    return [(i, times * value) for i, value in found if value is not None]


def share_of(results: Sequence[Numbers]) -> str:
    """How many seeds diverged, for a legend."""
    lost = diverged.of(results)
    return f", {len(lost.seeds)} of {lost.ran} diverged" if lost else ""


def _latency(label: str, cells: Mapping[FrameworkMode, Sequence[Numbers]]) -> Figure | None:
    """Median latency by batch size, and the spread of the rounds' medians."""
    kind = QuestionKind.LATENCY
    sizes = sorted({q.batch_size for rs in cells.values() for q in questions(rs) if q.kind is kind})
    if len(sizes) < 2 or sizes[0] < 1:
        return None
    figure = drawing.figure(3.7, f"{label}: latency by batch size; band: range over rounds")
    axes = figure.add_subplot()
    styles = drawing.styles(list(cells))
    values: list[float] = []
    for framework_mode, results in cells.items():
        colour, dash, marker = styles[framework_mode]
        points = []
        for size in sizes:
            rounds = [
                median(c) / 1e6 for r in results if (c := Question(QuestionKind.LATENCY, size).costs(r)) and min(c) > 0
            ]
            if rounds:
                points.append((size, median(rounds), min(rounds), max(rounds)))
        if not points:
            continue
        x, y, low, high = (list(column) for column in zip(*points, strict=True))
        values += [*low, *high]
        axes.fill_between(x, low, high, color=colour, alpha=0.13, linewidth=0)
        name = f"{clean(framework_mode.runner)} {clean(framework_mode.mode)}{share_of(results)}"
        axes.plot(x, y, color=colour, linestyle=dash, marker=marker, markersize=5, linewidth=1.7, label=name)
    if not values:
        return None
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(sizes)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(min(values) * 0.85, max(values) * 1.18)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("batch size (log scale)")
    axes.set_ylabel("median latency (log scale)")
    figure.legend(loc="outside lower center", ncols=4)
    return figure
