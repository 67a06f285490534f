"""Memory is a cell's own, or a dash: what earlier cells of the same process left there is nobody's figure."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import tests.support.results as make
from suite.report.document import build
from suite.report.evidence.merge import merge
from suite.report.evidence.processes import SHARED, UNTOLD, Processes
from suite.report.evidence.sources import read_source
from suite.results import records
from tests.support import runs

MODES = {"torch": ("compile", "eager"), "tf": ("graph",)}
RUN = make.run(modes=MODES, rounds=2)
"""In each round torch's process measures compile first and then eager; tf's has one cell."""


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.report.charts.drawing.svg", lambda figure: b"<svg/>")


def table(found: list[Any], plan: dict[str, Any], title: str = "Memory") -> dict[str, list[str]]:
    """The figures of each mode, and below "" the notes and rules."""
    text = build(found, plan).markdown.partition(f"## {title}\n")[2].partition("\n## ")[0]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    figures = {line[2]: line[3:] for line in lines[2:]}
    return {**figures, "": [line for line in text.splitlines() if line and line[0] != "|"]}


def test_behind_other_cells_of_its_process_a_cell_has_a_dash_with_the_reason() -> None:
    found = table(RUN, make.laid_out(RUN))
    assert found["compile"] == ["300 MiB", "350 MiB", "420 MiB"], "it came first in its process"
    assert found["graph"] == ["300 MiB", "350 MiB", "420 MiB"], "it came alone in its process"
    assert found["eager"] == ["300 MiB", "—¹", "—¹"], "importing comes before all cells"
    assert found[""][0] == f"¹ {SHARED}"


def test_a_process_for_each_cell_shows_each_cells_memory() -> None:
    apart = make.each_alone(RUN)
    for plan in (make.laid_out(apart, "cell"), {"profile": {"process": "cell"}}):
        found = table(apart, plan)
        assert {tuple(found[mode]) for mode in ("compile", "eager", "graph")} == {("300 MiB", "350 MiB", "420 MiB")}
        assert "—" not in " ".join(found[""])


@pytest.mark.parametrize("plan", [{}, {"profile": 5, "entries": "x"}, {"profile": {"process": "runner"}}])
def test_without_a_plan_that_tells_the_order_nothing_is_known(plan: dict[str, Any]) -> None:
    """Neither of a cell that seems to be alone: those before it may be lost."""
    found = table(RUN, plan)
    assert found["graph"] == ["300 MiB", "—²", "—²"]
    assert found["eager"] == ["300 MiB", "—¹", "—¹"]
    assert found[""][:2] == [f"¹ {SHARED}  ", f"² {UNTOLD}"]


def test_what_a_plan_says_counts_for_its_own_run_alone() -> None:
    other = [r.model_copy(update={"run": "run-2"}) for r in RUN]
    processes = Processes(merge([*RUN, *other], {}, plans={"run-1": make.laid_out(RUN)}))
    first = [next(r for r in found if r.outcome == "measured" and r.cell.mode == "graph") for found in (RUN, other)]
    assert [processes.shared(r) for r in first] == ["", UNTOLD]


def test_a_profile_of_one_process_for_each_cell_is_not_believed_against_the_results() -> None:
    found = table(RUN, {"profile": {"process": "cell"}})
    assert found["eager"] == found["compile"] == ["300 MiB", "—¹", "—¹"]
    assert found["graph"] == ["300 MiB", "350 MiB", "420 MiB"]


def test_what_nobody_told_keeps_its_own_reason() -> None:
    silent = [
        r.model_copy(update={"memory": r.memory.model_copy(update={"steady_bytes": None})})
        if r.outcome == "measured"
        else r
        for r in RUN
    ]
    found = table(silent, make.laid_out(silent))
    assert found["compile"] == ["300 MiB", "350 MiB", "—¹"]
    assert found["eager"] == ["300 MiB", "—²", "—¹"]
    assert found[""][:2] == ["¹ the system does not report it  ", f"² {SHARED}"]


def test_the_gpus_memory_is_a_dash_as_well_and_its_idle_baseline_stands() -> None:
    modes = {"torch": ("compile", "eager")}
    gpu = make.gpu_run(rounds=2, modes=modes)
    memory = make.measured().memory.model_copy(update={"device_bytes": 3 << 30, "allocator_bytes": 1 << 30})
    gpu = [r.model_copy(update={"memory": memory}) if r.outcome == "measured" else r for r in gpu]
    plan = make.laid_out(gpu)
    found = table(gpu, plan, "GPU memory")
    assert found["compile"] == ["502 MiB", "2,048 MiB", "2,048 MiB", "1,024 MiB"]
    assert found["eager"] == ["502 MiB", "—¹", "—¹", "—¹"]
    assert found[""][0] == f"¹ {SHARED}"
    assert table(gpu, plan)["eager"] == ["300 MiB", *["—¹"] * 4]


def test_energy_is_not_concerned() -> None:
    gpu = make.gpu_run(modes={"torch": ("compile", "eager"), "tf": ("graph",)})
    text = build(gpu, make.laid_out(gpu)).markdown.partition("## Energy\n")[2].partition("\n## ")[0]
    assert len(re.findall(r"\| eager +\| training +\| +[\d.]+ mJ", text)) == 1
    assert SHARED not in text


def test_a_real_run_and_its_plan_are_understood(tmp_path: Path) -> None:
    """Of two cells in one process the first shows its memory, and the second does not; the raw values stay.

    So it is with all trainings but the first, which have a process for each cell.
    """
    made = runs.make(tmp_path, spec=runs.SPEC + "cases: {a: {batch_size: 64}, b: {batch_size: 32}}\n", rounds=1)
    (entry,) = (e for e in made.entries if e.kind == "measure" and e.round == 2)
    for place, cell in enumerate(entry.cells):
        result = make.measured("reference", "numpy", 1, cell.seed, made.spec(cell.spec))
        result = result.model_copy(update={"cell": cell, "entry": entry.id, "run": made.id})
        records.write(tmp_path / "results" / f"{place}.json", result)
    source = read_source(tmp_path)
    processes = Processes(merge(source.results, source.plan))
    assert [processes.shared(r) for r in source.results if r.outcome == "measured"] == ["", SHARED]
    assert {r.memory.steady_bytes for r in source.results if r.outcome == "measured"} == {420 << 20}
