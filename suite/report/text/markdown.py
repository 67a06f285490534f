"""Markdown out of hostile text: escaping, tables, footnotes.

A plain ``str`` is never trusted; what is already Markdown has the type ``Markdown``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from tabulate import tabulate

LONGEST_CELL = 300
LONGEST_TABLE = 200
LONGEST_LIST = 40
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~$&#]|^[-+=](?=[-+= ]|$))")
_NUMBERED = re.compile(r"^(\d{1,9})([.)])(?= |$)")
_LINK = re.compile(r"(@(?=\S)|www(?=\.)|:(?=//)|(?<=mailto):|(?<=xmpp):)", re.IGNORECASE)
JOINER = "\N{WORD JOINER}"
_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
DASH = "—"


class Markdown(str):
    """Text that is Markdown already and is put in as it is."""

    __slots__ = ()


def plain(text: str, longest: int = LONGEST_CELL) -> str:
    """One printable line: controls, line ends, invisible and direction-changing characters become spaces."""
    head = text[: 4 * longest]
    line = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in head)
    line = " ".join(line.split())
    return line if len(line) <= longest and len(head) == len(text) else line[: longest - 1] + "…"


def escape(text: str, longest: int = LONGEST_CELL) -> Markdown:
    """``text`` on one line, meaning itself: no markup, HTML, link, list or table border comes of it.

    Parentheses stay: a link needs the brackets before them, and those are escaped.

    Hosting sites link addresses after backslashes are taken away, so a word joiner, which is not seen, breaks those.
    """
    line = _LINK.sub(rf"\1{JOINER}", plain(text, longest))
    return Markdown(_NUMBERED.sub(r"\1\\\2", _SPECIAL.sub(r"\\\1", line)))


def md(template: str, *values: object) -> Markdown:
    """``template`` is ours; each value that is not Markdown is escaped."""
    return Markdown(template.format(*(v if isinstance(v, Markdown) else escape(str(v)) for v in values)))


class Notes:
    """Numbered reasons below a table; the same reason has one number."""

    def __init__(self) -> None:
        self._reasons: dict[str, int] = {}

    def mark(self, text: str, reason: str) -> Markdown:
        """``text`` with the number of its reason."""
        number = self._reasons.setdefault(plain(reason), len(self._reasons) + 1)
        return Markdown(md("{}", text) + str(number).translate(_SUPERSCRIPT))

    def dash(self, reason: str) -> Markdown:
        """A dash with its reason, for what is unknown."""
        return self.mark(DASH, reason)

    def lines(self) -> list[Markdown]:
        """The reasons in order, as one paragraph with a line for each."""
        notes = [md(f"{str(n).translate(_SUPERSCRIPT)} {{}}", reason) for reason, n in self._reasons.items()]
        return [Markdown("  \n".join(notes))] if notes else []


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], align: str = "") -> Markdown:
    """A pipe table; ``align`` holds l or r per column (left where it ends).  Long tables are cut and say so."""
    columns = ["right" if a == "r" else "left" for a in align.ljust(len(headers), "l")]
    shown = [[cell if isinstance(cell, Markdown) else escape(cell) for cell in row] for row in rows[:LONGEST_TABLE]]
    heads = [h if isinstance(h, Markdown) else escape(h) for h in headers]
    text = tabulate(shown, heads, tablefmt="pipe", colalign=columns, disable_numparse=True)
    if len(rows) > LONGEST_TABLE:
        text += f"\n\n{len(rows) - LONGEST_TABLE:,} more rows are in the results."
    return Markdown(text)


def bullets(lines: Sequence[Markdown]) -> Markdown:
    """A list, cut after ``LONGEST_LIST`` lines."""
    shown = [f"- {line}" for line in lines[:LONGEST_LIST]]
    more = [f"- and {len(lines) - LONGEST_LIST:,} more"] if len(lines) > LONGEST_LIST else []
    return Markdown("\n".join(shown + more))
