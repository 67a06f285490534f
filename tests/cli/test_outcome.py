"""What a report and two runs look like on a terminal, and with which status they end."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import tests.support.results as make
from suite.cli import display, outcome
from suite.errors import ResultError
from suite.results import records
from suite.results.records import Cause

MODES = {"torch": ("eager",), "tf": ("graph",)}
Shown = Callable[[], str]


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.report.charts.drawing.svg", lambda figure: b"<svg/>")


@pytest.fixture(params=[80, 120])
def shown(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Shown:
    """What stands on a terminal of so many columns, colours left out."""
    file = io.StringIO()
    console = Console(
        file=file, force_terminal=True, width=request.param, highlight=False, emoji=False, color_system=None
    )
    monkeypatch.setattr(outcome, "out", console)
    monkeypatch.setattr(display, "out", console)
    return file.getvalue


def save(folder: Path, results: list[Any]) -> Path:
    for i, item in enumerate(results):
        records.write(folder / "results" / f"{i:03}.json", item)
    return folder


def lost(reason: str, cause: Cause = Cause.CRASHED) -> list[Any]:
    of = make.spec("lost")
    return [make.failed(r, m, n, of, cause, reason) for r, (m,) in MODES.items() for n in (1, 2)]


def test_a_run_where_all_went_well_ends_with_0(tmp_path: Path, shown: Shown) -> None:
    assert outcome.report_of(save(tmp_path, make.run(modes=MODES))) == 0
    assert "no number" not in shown()


@pytest.mark.parametrize("cause", [Cause.CRASHED, Cause.UNSUPPORTED, Cause.WORKER_DIED])
def test_a_benchmark_without_a_number_ends_with_1_and_is_told_below_the_table(
    tmp_path: Path, shown: Shown, cause: Cause
) -> None:
    status = outcome.report_of(save(tmp_path, [*make.run(modes=MODES), *lost("the roof fell in", cause)]))
    text = shown()
    assert status == 1
    table, told = text.split("1 of 2 benchmarks has no valid number: ")
    below = table.splitlines()[[line.rstrip() for line in table.splitlines()].index("lost") + 1]
    assert below.startswith("  everything ")
    assert "no number" in below
    assert f"lost: torch eager, tf graph {cause}: the roof fell in" in told


def test_hostile_text_neither_colours_nor_moves_nor_fills_the_terminal(tmp_path: Path, shown: Shown) -> None:
    reason = "\x1b[31mred\x1b[2J [bold red]loud[/] :bomb: \r\n\n \u202eback " + "y" * 19_000
    outcome.report_of(save(tmp_path, lost(reason)))
    text = shown()
    assert not any(c in text for c in "\x1b\r\u202e")
    assert "[bold red]loud[/] :bomb:" in text
    assert len(text) < 2000


def test_what_differs_stands_before_the_numbers(tmp_path: Path, shown: Shown) -> None:
    one = save(tmp_path / "one", make.run(modes=MODES))
    slow = make.environment("torch", threads_intra=1)
    other = save(
        tmp_path / "two",
        [r.model_copy(update={"environment": slow, "run": "run-2"}) for r in make.run(modes={"torch": ("eager",)})],
    )
    assert outcome.two_runs([one, other]) == 0
    text = " ".join(shown().split())
    assert text.index("threads in an operation 2 1 yes") < text.index("images/s")
    assert "B slower" not in text
    assert "B faster" not in text
    outcome.report_of(tmp_path / "both", one, other)
    text = " ".join(shown().split())
    assert "threads in an operation (torch) 2 1 yes" in text or "threads in an operation 2 1 yes" in text


def test_two_runs_without_anything_in_common_end_with_1(tmp_path: Path, shown: Shown) -> None:
    one = save(tmp_path / "one", make.run(modes={"torch": ("eager",)}))
    other = save(tmp_path / "two", make.run(modes={"tf": ("graph",)}))
    assert outcome.two_runs([one, other]) == 1
    assert "no measured cell in common" in shown()


def spoil(folder: Path) -> None:
    for path in (folder / "results").glob("*.json"):
        path.write_text("{")


def test_a_folder_without_one_readable_result_is_an_error_with_the_reasons(tmp_path: Path) -> None:
    good, bad, none = save(tmp_path / "good", make.run(rounds=1, modes=MODES)), tmp_path / "bad", tmp_path / "none"
    shutil.copytree(good, bad)
    spoil(bad)
    (none / "results").mkdir(parents=True)
    for call in (
        lambda: outcome.report_of(bad),
        lambda: outcome.report_of(good, good, bad),
        lambda: outcome.two_runs([good, bad]),
        lambda: outcome.two_runs([bad, good]),
    ):
        with pytest.raises(
            ResultError, match=r"bad: holds no result that can be read\n  Refused: 000.json: is not whole"
        ):
            call()
    assert not (bad / "report.md").exists()
    assert not (good / "report.md").exists()
    for call in (lambda: outcome.report_of(none), lambda: outcome.two_runs([good, none])):
        with pytest.raises(ResultError, match="none: holds no results"):
            call()


def test_files_that_cannot_be_read_are_named_beside_those_that_can(tmp_path: Path, shown: Shown) -> None:
    folder = save(tmp_path / "a", make.run(modes=MODES))
    for i in range(7):
        (folder / "results" / f"bad{i}.json").write_text("{")
    assert outcome.report_of(folder) == 0, "no planned cell is missing"
    assert "bad4.json: is not whole" in shown()
    assert "refused: 2 more files" in shown()
    outcome.two_runs([folder, folder])
    text = shown()
    assert text.rindex("bad0.json") < text.rindex("benchmark, framework")
