"""What all charts share: colours and styles, plain axes, text that the font surely has, and SVG without a date."""

from __future__ import annotations

import io
import math
import re
import zlib
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from suite.report.evidence.diverged import divergence
from suite.report.evidence.merge import FrameworkMode, in_order
from suite.report.text.markdown import plain
from suite.results.records import Measured

COLOURS = {"torch": "#D55E00", "tf": "#0072B2"}
"""Vermilion and blue of Okabe and Ito's palette, which colour-blind readers tell apart."""
OTHERS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#666666"
DASHES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v", "P")
WIDTH = 7.3
"""Inches; 700 pixels at 96 to the inch."""
TITLE: dict[str, Any] = {"x": 0.01, "ha": "left", "fontsize": 11, "fontweight": "bold", "wrap": True}
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


def figure(height: float, title: str) -> Figure:
    """An empty figure of so many inches of height."""
    made = Figure(figsize=(WIDTH, height), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08))
    made.suptitle(title, **TITLE)
    return made


def svg(figure: Figure) -> bytes:
    """A figure's bytes."""
    FigureCanvasSVG(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, facecolor="white")
    return buffer.getvalue()


def slug(text: str) -> str:
    """Part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60]


def clean(text: str) -> str:
    """The characters that the font has; all others become question marks."""
    return "".join(c if " " <= c <= "~" or c in "µ·—" else "?" for c in plain(text, 48).replace("…", "~"))


def colour(runner: str, runners: Sequence[str]) -> str:
    """A framework's colour, which its token decides; where two in a chart share it, the later takes the next."""
    taken = {r: COLOURS[r] for r in (*runners, runner) if r in COLOURS}
    for each in in_order((*runners, runner)):
        place = zlib.crc32(each.encode()) % len(OTHERS)
        turned = (*OTHERS[place:], *OTHERS[:place])
        taken.setdefault(each, next((free for free in turned if free not in taken.values()), turned[0]))
    return taken[runner]


def styles(framework_modes: Sequence[FrameworkMode]) -> dict[FrameworkMode, tuple[str, str, str]]:
    """Colour by framework, dash and marker by mode."""
    runners = in_order(c.runner for c in framework_modes)
    found = {}
    for c in framework_modes:
        place = [other.mode for other in framework_modes if other.runner == c.runner].index(c.mode)
        found[c] = (colour(c.runner, runners), DASHES[place % len(DASHES)], MARKERS[place % len(MARKERS)])
    return found


def plain_log(axes: Axes, which: str, low: float, high: float) -> None:
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


def one_per_seed(results: Sequence[Measured]) -> list[Measured]:
    """The first cell of each seed; one that diverged before any other."""
    seeds: dict[int, Measured] = {}
    for result in sorted(results, key=lambda r: divergence(r) is None):
        seeds.setdefault(result.cell.seed, result)
    return [r for r in results if any(r is one for one in seeds.values())]


def tick(milliseconds: float) -> str:
    """A time on an axis."""
    if milliseconds < 1:
        return f"{1000 * milliseconds:g} µs"
    return f"{milliseconds:g} ms" if milliseconds < 1000 else f"{milliseconds / 1000:g} s"
