"""How comparisons stand on a terminal: a report's answer, what differs between runs, two runs, two commits."""

from __future__ import annotations

from collections.abc import Sequence

from suite.cli.tables import Fitted, Layout, Row
from suite.report.sections.answers import NO_NUMBER

LEFT_TO_THE_REPORT = "Each framework's best mode and its number are in the report."


def answer(rows: Sequence[Row]) -> Fitted:
    """A line per question with its verdict; each framework's number as well where all of them fit.

    ``rows`` as of a report's answer: benchmark, question, a cell per framework, verdict; the header first.
    """
    header, *found = rows
    full = [row if row[:2] != before[:2] else (row[0], *[""] * (len(row) - 2), row[-1])
            for row, before in zip(found, [header, *found], strict=False)]  # fmt: skip
    short = [(whole[0], whole[1], _reasoned(header, row)) for row, whole in zip(found, full, strict=True)]
    return Fitted(
        (
            Layout(header, full, grouped=True),
            Layout((*header[:2], header[-1]), short, grouped=True, note=LEFT_TO_THE_REPORT),
        )
    )


def _reasoned(header: Row, row: Row) -> str:
    """A verdict that says by itself why there is no number."""
    if row[-1] != NO_NUMBER:
        return row[-1]
    return f"{NO_NUMBER}: " + ", ".join(f"{name} {why}" for name, why in zip(header[2:-1], row[2:-1], strict=True))


def differences(rows: Sequence[Row]) -> Fitted:
    """What differs between runs, side by side; one below the other where the values are long.

    ``rows``: what differs, a value per run, whether it decides speed; the header first.
    """
    header, *found = rows
    apart = [
        (f"{row[0]}, decides speed" if row[-1] == "yes" else row[0], run, value)
        for row in found
        for run, value in zip(header[1:-1], row[1:-1], strict=True)
    ]
    return Fitted((Layout(header, found), Layout((header[0], "", ""), apart, grouped=True)))


def two_runs(rows: Sequence[Row]) -> Fitted:
    """A line per cell and question, or two where little fits: both numbers, and below them their ratio and the verdict.

    ``rows``: the cell, the question, A, B, ratio, verdict; the header first.
    """
    header, *found = rows
    head, *narrow = ((*row[:4], ": ".join(filter(None, row[4:]))) for row in rows)
    return Fitted((Layout(header, found, grouped=True), Layout(head, narrow, grouped=True, below=True)))


def two_commits(rows: Sequence[Row]) -> Fitted:
    """A line per cell and question.  ``rows``: the cell, the question, ratio, verdict; the header first."""
    header, *found = rows
    return Fitted((Layout(header, found, grouped=True),))
