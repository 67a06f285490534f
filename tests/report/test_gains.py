"""What an expert gains: a framework beside its own quickstart, one change at a time."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import tests.support.results as make
import tests.support.turns as turned
from suite.files import write_bytes
from suite.report.document import Document, build
from suite.report.sections.gains import PAGE
from suite.report.writer import write
from suite.results.identity import Verdict

pytestmark = pytest.mark.usefixtures("undrawn")
MODES = {"torch": ("compile", "eager", "quickstart"), "tf": ("graph", "quickstart")}
SLOW = {"torch/compile": 1.0, "torch/eager": 2.0, "torch/quickstart": 6.0, "tf/graph": 1.5, "tf/quickstart": 3.0}
SAID = "default optimizer, | batches <from> host memory"


def ran(rounds: int = 5, modes: dict[str, tuple[str, ...]] = MODES, peak: float | None = None) -> list[Any]:
    """Every mode in float32, and twice as fast in bfloat16."""
    found: list[Any] = []
    for precision, speed in (("float32", 1), ("bfloat16", 2)):
        mine: list[Any] = [make.proof(runner, mode) for runner, several in modes.items() for mode in several]
        for n in range(1, rounds + 1):
            mine.append(turned.nothing(n))
            for runner, several in modes.items():
                settings = {"quickstart": SAID, "layout": "NHWC"}
                for mode in several:
                    slow = SLOW[f"{runner}/{mode}"] / speed * (1 + 0.004 * ((n * 7 + len(mode)) % 5 - 2))
                    mine.append(
                        turned.timed(
                            runner, mode, n, slow=slow, fixed=64e3,
                            each=64e3,
                            peak_flops=peak, environment=make.environment(runner, settings=settings),
                        )
                    )  # fmt: skip
        found += [r.model_copy(update={"cell": r.cell.model_copy(update={"precision": precision})}) for r in mine]
    return found


def document(found: list[Any]) -> Document:
    return build(found, turned.planned(found))


@cache
def usual() -> Document:
    """The report of the usual run."""
    return document(ran())


def cells(text: str, heading: str) -> list[list[str]]:
    """The rows below a heading, head first."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.DOTALL | re.MULTILINE)
    assert found, f"there is no {heading}"
    lines = [line for line in found[1].splitlines() if line.startswith("|") and not line.startswith("|:")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_report_says_what_each_frameworks_best_mode_gains() -> None:
    rows = cells(usual().markdown, "Gains over the quickstart")
    assert rows[0] == ["benchmark", "question", "torch", "tf"]
    training = next(row for row in rows if row[1] == "training")
    assert training[0] == "digits-mlp"
    assert re.fullmatch(r"6\.0\dx \(5\.\d+ to 6\.\d+\), compile", training[2])
    assert re.fullmatch(r"2\.00x \(\d\.\d\d to 2\.\d\d\), graph", training[3])
    assert "(gains.md)" in usual().markdown
    assert cells(usual().pages[PAGE], "What an expert gains") == rows, "the page begins with the same answer"


def test_each_row_differs_in_one_change_from_another_or_says_that_it_is_several() -> None:
    rows = [row[:4] + row[5:7] for row in cells(usual().pages[PAGE], "training")]
    assert [row[:3] for row in rows[1:]] == [
        ["torch", "quickstart", "float32"], ["torch", "quickstart", "bfloat16"], ["torch", "eager", "float32"],
        ["torch", "eager", "bfloat16"], ["torch", "compile", "float32"], ["torch", "compile", "bfloat16"],
        ["tf", "quickstart", "float32"], ["tf", "quickstart", "bfloat16"], ["tf", "graph", "float32"],
        ["tf", "graph", "bfloat16"],
    ]  # fmt: skip
    by_row = {tuple(row[:3]): row[3:] for row in rows[1:]}
    assert by_row["torch", "quickstart", "float32"] == ["", "", ""]
    assert by_row["torch", "eager", "float32"][0] == "several¹"
    assert by_row["torch", "eager", "float32"][2] == "", "nothing is by itself where several things differ"
    assert by_row["tf", "graph", "float32"][0] == "several¹", "graph is made from eager, which was not timed"
    change, gained, alone = by_row["torch", "compile", "float32"]
    assert (change, gained[:3], alone[:3]) == ("compile for eager", "6.0", "2.0")
    change, gained, alone = by_row["torch", "compile", "bfloat16"]
    assert (change, gained[:2], alone[:3]) == ("bfloat16 for float32", "12", "2.0")


def test_quickstarts_stand_beside_each_other() -> None:
    rows = cells(usual().pages[PAGE], "Out of the box")
    assert rows[0][-1] == "torch over tf"
    training = next(row for row in rows if row[1] == "training")
    assert re.fullmatch(r"0\.50 \(0\.\d+ to 0\.5\d\)", training[-1])


def test_a_larger_batch_is_compared_by_the_cost_of_an_example() -> None:
    """Of latencies too, whose costs are those of queries."""
    rows = cells(usual().pages[PAGE], "Batch sizes")
    assert rows[0][3:] == ["latency, 64 over 1"]
    assert {row[3].partition(" ")[0] for row in rows[1:]} == {f"{(64 + 64) / (64 / 64 + 64):.2f}"}


def test_shares_of_the_peak_stand_where_it_was_measured() -> None:
    rows = cells(document(ran(peak=1e12)).pages[PAGE], "training")
    assert rows[0][-1] == "arithmetic, of the peak"
    assert all(re.fullmatch(r"\S+ \SFLOP/s \(\d+\.\d %\)", row[-1]) for row in rows[1:])
    told = document(ran(peak=1e12)).pages[PAGE]
    assert "in float32 1.00 TFLOP/s by torch" in told
    assert all("%" not in row[-1] for row in cells(usual().pages[PAGE], "training")[1:])


def test_what_a_framework_says_of_its_quickstart_cannot_leave_its_line() -> None:
    text = usual().pages[PAGE]
    assert r"default optimizer, \| batches \<from\> host memory" in text


def test_four_rounds_have_no_interval_and_say_so() -> None:
    told = document(ran(rounds=4))
    training = next(row for row in cells(told.markdown, "Gains over the quickstart") if row[1] == "training")
    assert training[2] == "—¹"
    assert "¹ too few rounds: 4 of 5" in told.markdown


def test_who_is_not_proven_gains_nothing() -> None:
    found = [
        make.proof("torch", "quickstart", verdict=Verdict.UNPROVEN).model_copy(update={"cell": r.cell})
        if r.outcome == "proof" and r.cell.mode == "quickstart" and r.cell.runner == "torch" else r
        for r in ran()
    ]  # fmt: skip
    told = document(found)
    training = next(row for row in cells(told.markdown, "Gains over the quickstart") if row[1] == "training")
    assert training[2].startswith("—")
    assert training[3].endswith("graph")
    rows = cells(told.pages[PAGE], "training")
    assert all(row[4].startswith("—") for row in rows if row[:2] == ["torch", "quickstart"])


def test_there_is_neither_section_nor_page_without_a_quickstart_beside_another_mode(tmp_path: Path) -> None:
    without = {runner: modes[:-1] for runner, modes in MODES.items()}
    for modes in (without, dict.fromkeys(MODES, ("quickstart",))):
        told = document(ran(modes=modes))
        assert "Gains over" not in told.markdown
        assert PAGE not in told.pages
    for number, record in enumerate(ran(modes=without)):
        write_bytes(tmp_path / f"{number}.json", record.model_dump_json().encode())
    (tmp_path / PAGE).write_text("of an earlier run")
    write(tmp_path)
    assert not (tmp_path / PAGE).exists(), "a page that is none any more goes"
