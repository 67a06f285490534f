"""Precisions in a report: each is ranked by itself, and one framework's are set beside each other."""

from __future__ import annotations

import re
from typing import Any

import pytest

import tests.support.turns as turned
from suite.report.document import Document, build
from suite.results.records import Measured

pytestmark = pytest.mark.usefixtures("undrawn")


def low(records: list[Any], **fields: Any) -> list[Any]:
    """The same cells in bfloat16."""
    return [
        r.model_copy(update={"cell": r.cell.model_copy(update={"precision": "bfloat16"}), **fields}) for r in records
    ]


def halved(runner: str, mode: str, number: int) -> float:
    return turned.slowness(runner, mode, number) / 2


def both() -> list[Any]:
    return [*turned.run(), *low(turned.run(draw=halved))]


def document(found: list[Any]) -> Document:
    return build(found, turned.planned(found))


def section(of: Document) -> list[list[str]]:
    """The cells of the tables of the section."""
    found = re.search(r"^## Precisions\n(.*?)(?=^## |\Z)", of.markdown, re.DOTALL | re.MULTILINE)
    assert found, "there is no such section"
    lines = [line for line in found[1].splitlines() if line.startswith("|") and not line.startswith("|:")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_each_precision_is_ranked_by_itself() -> None:
    told = document(both())
    assert not told.failed
    names = [row[0] for row in told.answer[1:]]
    assert names == ["digits-mlp, bfloat16"] * 3 + ["digits-mlp, float32"] * 3
    assert {row[-1] for row in told.answer[1:]} == {"torch 1.30x faster (1.28 to 1.33)"}


def test_a_framework_stands_beside_itself_with_an_interval() -> None:
    rows = section(document(both()))
    speeds = [row for row in rows if row[1] == "torch" and row[2] == "training"]
    assert [row[3] for row in speeds] == ["float32", "bfloat16"], "the most exact first"
    assert speeds[0][5] == "—"
    assert re.fullmatch(r"2\.00 \(\S+ to \S+\)", speeds[1][5])
    assert {row[0] for row in speeds} == {"digits-mlp"}


def test_accuracies_are_tested_over_paired_seeds() -> None:
    rows = [row for row in section(document(both())) if len(row) == 6 and row[2] == "bfloat16"]
    assert {row[4] for row in rows} == {"yes, within 0.5 points"}
    worse = [
        r.model_copy(update={"training": r.training.model_copy(update={"test": r.training.test.model_copy(
            update={"accuracy": r.training.test.accuracy - 0.05})})}) if isinstance(r, Measured) and r.training else r
        for r in low(turned.run(draw=halved))
    ]  # fmt: skip
    rows = [row for row in section(document([*turned.run(), *worse])) if len(row) == 6 and row[2] == "bfloat16"]
    assert {row[4] for row in rows} == {"not shown"}
    assert all(row[3].startswith("-5.00") for row in rows)


def test_one_precision_needs_no_such_section() -> None:
    assert "## Precisions" not in document(turned.run()).markdown


def test_what_is_not_proven_in_its_precision_is_not_ranked_in_it() -> None:
    """A proof in float32 says nothing of bfloat16."""
    unproven = [r for r in low(turned.run(draw=halved)) if r.outcome != "proof"]
    told = document([*turned.run(), *unproven])
    assert told.failed
    verdicts = {row[0]: row[-1] for row in told.answer[1:]}
    assert "faster" in verdicts["digits-mlp, float32"]
    assert "faster" not in verdicts.get("digits-mlp, bfloat16", "")
    rows = [row for row in section(told) if len(row) == 6 and row[2].startswith("bfloat16")]
    assert rows
    assert all(row[3] == "—" and row[4].startswith("—") for row in rows), "nor are its accuracies tested"
