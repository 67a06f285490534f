"""Tables that fit the terminal: of several layouts of the same rows the first that fits, and no line wider than it.

What a layout leaves out stands elsewhere, and the layout's note says where.  Cells are plain text of one line: nothing
in them is markup, moves the cursor or colours.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

GAP, INDENT = 2, 2
LEAST = 16
"""Columns that a cell keeps, however little room there is."""
Row = tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """A header and rows.

    ``grouped``: the first cell stands above its rows, once for all neighbours that share it.  ``below``: the last cell
    stands on lines of its own below its row.  ``right``: the columns of numbers, by their place.
    """

    header: Row
    rows: Sequence[Row]
    grouped: bool = False
    below: bool = False
    right: frozenset[int] = frozenset()
    note: str = ""

    @property
    def columns(self) -> range:
        """The places of the cells that stand side by side."""
        return range(int(self.grouped), len(self.header) - int(self.below))

    @property
    def widths(self) -> list[int]:
        """What each of them takes to stand on one line."""
        return [max(cell_len(_line(row[i])) for row in (self.header, *self.rows)) for i in self.columns]

    @property
    def width(self) -> int:
        """What a line takes with all of them side by side."""
        return self._margin + sum(self.widths) + GAP * (len(self.columns) - 1)

    @property
    def _margin(self) -> int:
        return INDENT if self.grouped else 0

    def render(self, width: int) -> Iterator[RenderableType]:
        """Within so many columns; cells wrap where they must, the last one first."""
        widths = self._within(width - self._margin - GAP * (len(self.columns) - 1))
        if self.grouped:
            yield Text(_line(self.header[0]), style="bold")
        if any(self.header[int(self.grouped) :]):
            yield from self._body([self.header], widths, style="bold")
        if not self.grouped:
            yield from self._body(self.rows, widths)
            return
        for name, rows in groupby(self.rows, key=lambda row: row[0]):
            yield Text(_line(name), style="bold")
            yield from self._body(list(rows), widths)

    def _body(self, rows: Sequence[Row], widths: Sequence[int], style: str = "") -> Iterator[RenderableType]:
        if not self.below:
            yield self._lines(rows, widths, style)
            return
        for row in rows:
            yield self._lines([row], widths, style)
            if row[-1]:
                yield Padding(Text(_line(row[-1]), style=style), (0, 0, 0, self._margin + 2 * INDENT), expand=False)

    def _lines(self, rows: Sequence[Row], widths: Sequence[int], style: str) -> RenderableType:
        made = Table(box=None, show_header=False, padding=(0, GAP, 0, 0), pad_edge=False)
        for i, size in zip(self.columns, widths, strict=True):
            made.add_column(width=size, overflow="fold", justify="right" if i in self.right else "left")
        for row in rows:
            made.add_row(*(Text(_line(row[i]), style=style) for i in self.columns))
        return Padding(made, (0, 0, 0, self._margin), expand=False)

    def _within(self, room: int) -> list[int]:
        """The widths of the columns in so much room: the last one gives way first, and then the widest."""
        widths = self.widths
        order = [len(widths) - 1, *sorted(range(len(widths) - 1), key=lambda i: -widths[i])]
        for i in order:
            if sum(widths) > room:
                widths[i] = max(min(widths[i], LEAST), widths[i] - (sum(widths) - room))
        for i in order:
            if sum(widths) > room:
                widths[i] = max(1, widths[i] - (sum(widths) - room))
        return widths


def _line(text: str) -> str:
    """``text`` on one line, without characters that are not seen."""
    return "".join(" " if unicodedata.category(c)[0] == "C" else c for c in text)


@dataclass(frozen=True)
class Fitted:
    """Layouts of the same rows, the fullest first; the last one is taken where none fits."""

    layouts: tuple[Layout, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        width = options.max_width
        chosen = next((layout for layout in self.layouts if layout.width <= width), self.layouts[-1])
        yield from chosen.render(width)
        if chosen.note:
            yield Text(chosen.note)
