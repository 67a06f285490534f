"""Charts as SVG: the same results give the same bytes, and they are made for 700 pixels of width."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from suite.report.claims import favourites
from suite.report.compare import Kind, Question, Row
from suite.report.markdown import plain
from suite.report.merge import UNRANKED, Arena, Contender, Evidence, NotProven, in_order
from suite.report.units import digits
from suite.result import Measured
from suite.stats import SAME_SPEED, Decision, Ratio

COLOURS = {"torch": "#D55E00", "tf": "#0072B2"}
"""Vermilion and blue of Okabe and Ito's palette, which colour-blind readers tell apart."""
OTHERS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#666666"
DASHES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v", "P")
WIDTH = 7.3
"""Inches; 700 pixels at 96 to the inch."""
TITLE: dict[str, Any] = {"x": 0.01, "ha": "left", "fontsize": 11, "fontweight": "bold"}
RC = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.hashsalt": "parity-suite",
    "svg.fonttype": "path",
    "text.parse_math": False,
    "axes.formatter.use_mathtext": False,
}


def charts(evidence: Evidence, rows: Sequence[Row], labels: Mapping[Arena, str]) -> dict[str, bytes]:
    """Every chart by file name."""
    with mpl.rc_context(RC):
        found: dict[str, bytes] = {}
        if ratios := _ratios(rows, labels):
            found["ratios.svg"] = _svg(ratios)
        for number, (arena, cells) in enumerate(evidence.arenas.items(), 1):
            proven = {
                c: rs
                for c, rs in cells.items()
                if c.runner not in UNRANKED and not any(isinstance(evidence.standing(r), NotProven) for r in rs)
            }
            speakers = {c: proven[c] for c in favourites(evidence, rows, arena).values() if c in proven}
            name = f"{number:02}-{_slug(arena.spec)}.svg"
            if latency := _latency(_clean(labels[arena]), proven):
                found[f"latency-{name}"] = _svg(latency)
            if curves := _curves(_clean(labels[arena]), speakers):
                found[f"training-{name}"] = _svg(curves)
        return found


def _svg(figure: Figure) -> bytes:
    FigureCanvasSVG(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, facecolor="white")
    return buffer.getvalue()


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60]


def _clean(text: str) -> str:
    """What the font surely has; the rest of hostile text becomes question marks."""
    return "".join(c if " " <= c <= "~" or c in "µ·—" else "?" for c in plain(text, 48).replace("…", "~"))


def _colour(runner: str, runners: Sequence[str]) -> str:
    others = [r for r in runners if r not in COLOURS]
    return COLOURS.get(runner) or OTHERS[others.index(runner) % len(OTHERS)]


def _styles(contenders: Sequence[Contender]) -> dict[Contender, tuple[str, str, str]]:
    """Colour by framework, dash and marker by mode."""
    runners = in_order(c.runner for c in contenders)
    found = {}
    for c in contenders:
        place = [other.mode for other in contenders if other.runner == c.runner].index(c.mode)
        found[c] = (_colour(c.runner, runners), DASHES[place % len(DASHES)], MARKERS[place % len(MARKERS)])
    return found


def _ratios(rows: Sequence[Row], labels: Mapping[Arena, str]) -> Figure | None:
    """A forest plot: one line per comparison, its interval, and the band that counts as equal."""
    lines = [
        (f"{_clean(labels[row.arena])}\n{row.question}", pair.first, pair.second, pair.outcome)
        for row in rows
        for pair in row.pairings
        if isinstance(pair.outcome, Ratio)
    ][:60]
    if not lines:
        return None
    runners = in_order(name for _, first, second, _ in lines for name in (first, second))
    figure = Figure(figsize=(WIDTH, 1.3 + 0.52 * len(lines)), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08))
    axes = figure.add_subplot()
    axes.axvspan(1 / SAME_SPEED, SAME_SPEED, color="#eeeeee", zorder=0)
    axes.axvline(1, color=GREY, linewidth=1)
    for y, (_, first, second, ratio) in enumerate(lines):
        faster = {Decision.FASTER: first, Decision.SLOWER: second}.get(ratio.decision)
        colour = _colour(faster, runners) if faster else GREY
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
    _plain_log(axes, "x", low, high)
    first, second = lines[0][1:3] if not several else ("first", "second")
    figure.supxlabel(f"speed of {first} / speed of {second}   ← {second} faster   |   {first} faster →", fontsize=10)
    figure.suptitle("Ratio of speeds (log scale); all intervals hold together at 95 %", **TITLE)
    return figure


def _plain_log(axes: Axes, which: str, low: float, high: float) -> None:
    """A logarithmic axis with plain numbers, not powers."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    decades = math.log10(high / low) if low > 0 else 1
    if decades < 1:
        steps = (0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4, 5, 6, 8)
        near = [s for s in steps if low * 0.93 <= s <= high * 1.07]
        ticks: list[float] = []
        for s in sorted(near, key=lambda s: abs(math.log(s))):
            if all(abs(math.log10(s / t)) > decades / 9 for t in ticks):
                ticks.append(s)
        if len(ticks) > 2:
            axis.set_ticks(sorted(ticks))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2.5 else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _curves(label: str, cells: Mapping[Contender, Sequence[Measured]]) -> Figure | None:
    """Training loss and test accuracy by epoch: a thin line per seed, a thick one for the mean of all.

    Curves that agree lie upon each other, so each framework's is narrower than the one below it.
    """
    curves = {c: _one_per_seed([r for r in results if r.training]) for c, results in cells.items()}
    curves = {c: results for c, results in curves.items() if results}
    panels = [("training loss", _losses), ("test accuracy, %", _accuracies)]
    panels = [(title, take) for title, take in panels if any(take(r) for results in curves.values() for r in results)]
    if not panels:
        return None
    figure = Figure(figsize=(WIDTH, 3.4), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08))
    figure.suptitle(
        f"{label}: training, best mode of each framework", x=0.01, ha="left", fontsize=11, fontweight="bold"
    )
    styles = _styles(list(curves))
    for i, (title, take) in enumerate(panels, 1):
        axes = figure.add_subplot(1, len(panels), i)
        for depth, (contender, results) in enumerate(curves.items()):
            lines = [dict(line) for r in results if (line := take(r))]
            if lines:
                _curve(axes, contender, lines, styles[contender][0], 4.5 / 2.2**depth)
        axes.set_xlabel("epoch")
        axes.set_ylabel(title)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3)
    return figure


def _curve(axes: Axes, contender: Contender, lines: Sequence[Mapping[int, float]], colour: str, width: float) -> None:
    for line in lines[:20]:
        axes.plot(list(line), list(line.values()), color=colour, linewidth=0.6, alpha=0.4)
    shared = sorted(set.intersection(*(set(line) for line in lines)))
    mean = [fmean(line[epoch] for line in lines) for epoch in shared]
    seeds = f"{len(lines)} seed{'s' if len(lines) > 1 else ''}"
    name = f"{_clean(contender.runner)} {_clean(contender.mode)}, {seeds}"
    marker = "o" if len(shared) < 3 else ""
    axes.plot(shared, mean, color=colour, linewidth=width, marker=marker, markersize=3 + width, label=name)


def _one_per_seed(results: Sequence[Measured]) -> list[Measured]:
    seeds: dict[int, Measured] = {}
    for result in results:
        seeds.setdefault(result.cell.seed, result)
    return list(seeds.values())


def _losses(result: Measured) -> list[tuple[int, float]]:
    epochs = result.training.epochs if result.training else ()
    return [(i, e.train_loss) for i, e in enumerate(epochs, 1) if e.train_loss is not None]


def _accuracies(result: Measured) -> list[tuple[int, float]]:
    epochs = result.training.epochs if result.training else ()
    return [
        (i, 100 * e.test.accuracy)
        for i, e in enumerate(epochs, 1)
        if e.test is not None and e.test.accuracy is not None
    ]


def _latency(label: str, cells: Mapping[Contender, Sequence[Measured]]) -> Figure | None:
    """Median latency by batch size, and the spread of the rounds' medians."""
    sizes = sorted({m.batch_size for rs in cells.values() for r in rs for m in r.latency if m.samples_ns})
    if len(sizes) < 2 or sizes[0] < 1:
        return None
    figure = Figure(figsize=(WIDTH, 3.7), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08))
    axes = figure.add_subplot()
    styles = _styles(list(cells))
    values: list[float] = []
    for contender, results in cells.items():
        colour, dash, marker = styles[contender]
        points = []
        for size in sizes:
            rounds = [median(c) / 1e6 for r in results if (c := Question(Kind.LATENCY, size).costs(r)) and min(c) > 0]
            if rounds:
                points.append((size, median(rounds), min(rounds), max(rounds)))
        if not points:
            continue
        x, y, low, high = (list(column) for column in zip(*points, strict=True))
        values += [*low, *high]
        axes.fill_between(x, low, high, color=colour, alpha=0.13, linewidth=0)
        name = f"{_clean(contender.runner)} {_clean(contender.mode)}"
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
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("batch size, images (log scale)")
    axes.set_ylabel("median latency (log scale)")
    figure.suptitle(f"{label}: latency by batch size; band: range over rounds", **TITLE)
    figure.legend(loc="outside lower center", ncols=4)
    return figure


def _tick(milliseconds: float) -> str:
    if milliseconds < 1:
        return f"{1000 * milliseconds:g} µs"
    return f"{milliseconds:g} ms" if milliseconds < 1000 else f"{milliseconds / 1000:g} s"
