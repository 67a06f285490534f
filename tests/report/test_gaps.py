"""What was asked for and has no number stands in the answer with the reason in a few words, and the head counts it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import tests.support.results as make
from suite.errors import ResultError
from suite.report import writer
from suite.report.document import Document, build
from suite.results import records
from suite.results.identity import Verdict
from suite.results.records import Cause
from suite.spec.resolved import Spec

MODES = {"torch": ("eager", "compile"), "tf": ("graph",)}
LOST = make.spec("lost")
LIKELY = [Cause.UNSUPPORTED, Cause.CRASHED, Cause.TIMED_OUT, Cause.OUT_OF_MEMORY, Cause.WORKER_DIED]


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.report.charts.drawing.svg", lambda figure: b"<svg/>")


def run(of: Spec | None = None, modes: dict[str, tuple[str, ...]] = MODES, rounds: int = 5) -> list[Any]:
    return make.run(of, rounds, modes)


def fails(
    of: Spec = LOST, cause: Cause = Cause.CRASHED, modes: dict[str, tuple[str, ...]] = MODES, **fields: Any
) -> list[Any]:
    """Every cell of a benchmark fails in every round; the null runner's is measured."""
    each = [(r, m) for r, ms in modes.items() for m in ms]
    found: list[Any] = [make.proof(r, m, of) for r, m in each]
    for number in range(1, 6):
        found += [make.failed(r, m, number, of, cause, **fields) for r, m in each]
        found.append(make.measured("null", "none", number, number, of))
    return found


def planned(*results: list[Any], kind: str = "measure", **fields: Any) -> dict[str, Any]:
    """A plan that asks for the cells of these results."""
    cells = [r.cell.model_dump() for some in results for r in some if r.cell.round]
    return {"entries": [{"id": "r01-00", "kind": kind, "cells": cells}], **fields}


def head(document: Document) -> str:
    return document.markdown.split("## The answer")[0]


def section(document: Document, title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", document.markdown, re.DOTALL | re.MULTILINE)
    assert found, f"no section {title}"
    return found[1]


def line(document: Document, benchmark: str) -> tuple[str, ...]:
    found = [each for each in document.answer if each[0] == benchmark]
    assert len(found) == 1, document.answer
    return found[0]


@pytest.mark.parametrize("cause", LIKELY)
def test_a_benchmark_whose_every_cell_failed_has_a_line_and_the_head_counts_it(cause: Cause) -> None:
    document = build([*run(), *fails(cause=cause, reason="the roof fell in")], {})
    assert line(document, "lost") == ("lost", "everything", str(cause), str(cause), "no number")
    assert f"1 of 2 benchmarks has no valid number: lost (torch {cause}, tf {cause})." in head(document)
    assert re.search(rf"\| lost +\| everything +\| {cause}¹ ", section(document, "The answer"))
    assert "the roof fell in" in section(document, "The answer")
    assert f"- **lost**: no number, torch {cause}, tf {cause}." in section(document, "The answer")
    assert f"lost: torch compile and eager, tf graph {cause}: the roof fell in" in document.notes
    assert "None" not in section(document, "Not comparable")
    assert "In 1 benchmark 3 modes have no number" in section(document, "Not comparable")
    assert document.failed, "a benchmark could not be compared"


def test_where_nothing_failed_nothing_is_said() -> None:
    document = build(run(), {})
    assert "None: every number is proven." in section(document, "Not comparable")
    assert document.notes == ()
    assert "no number" not in document.markdown.split("## Training")[0]
    assert not document.failed


def test_a_benchmark_of_the_plan_that_has_not_run_yet_is_named() -> None:
    document = build(run(), planned(run(), run(LOST)))
    assert line(document, "lost")[1:] == ("everything", "not run yet", "not run yet", "no number")
    assert "1 of 2 benchmarks has no valid number: lost (torch not run yet, tf not run yet)." in head(document)
    assert "20 of 40 planned cells have no result yet" in head(document)
    assert "not run yet" in section(document, "Failed and unsupported")
    assert document.failed


def test_a_benchmark_that_was_left_out_is_named_with_the_reason() -> None:
    document = build(run(), planned(run(), left_out={"lost": "its data could not be had"}))
    assert line(document, "lost") == ("lost", "everything", "left out", "left out", "left out")
    assert "1 of 2 benchmarks has no valid number: lost (left out)." in head(document)
    assert "its data could not be had" in section(document, "The answer")
    assert document.failed


def test_what_is_unproven_is_counted_and_says_so_where_its_number_would_stand() -> None:
    lost = make.spec("lost", l2=0.1)
    proofs = [make.proof(r, m, lost, Verdict.UNPROVEN) for r, ms in MODES.items() for m in ms]
    document = build([*run(), *(r for r in run(lost) if r.outcome != "proof"), *proofs], {})
    assert {each[2:] for each in document.answer if each[0] == "lost"} == {
        ("unproven", "unproven", "not ranked: torch unproven, tf unproven")
    }
    assert "1 of 2 benchmarks has no valid number: lost (torch unproven, tf unproven)." in head(document)
    assert document.failed


def test_one_framework_that_failed_stands_beside_the_number_of_the_other() -> None:
    mine = [r for r in run(LOST) if r.cell.runner != "tf" or r.outcome == "proof"]
    failures = [r for r in fails(cause=Cause.TIMED_OUT) if r.outcome == "failed" and r.cell.runner == "tf"]
    document = build([*run(), *mine, *failures], {})
    rows = [each for each in document.answer if each[0] == "lost"]
    assert [each[1] for each in rows] == ["training", "latency, batch 1", "throughput, batch 256"]
    assert all(each[3:] == ("timed out", "not ranked: tf timed out") for each in rows)
    assert all("/s (" in each[2] or "µs (" in each[2] for each in rows)
    assert "1 of 2 benchmarks lacks some numbers: lost (tf timed out)." in head(document)
    assert document.failed


def test_one_mode_of_several_that_failed_is_a_note_at_the_number_of_the_others() -> None:
    results = [r for r in run() if (r.cell.mode, r.outcome) != ("compile", "measured")]
    crashed = [make.failed("torch", "compile", n, cause=Cause.CRASHED, reason="no such kernel") for n in range(1, 6)]
    document = build([*results, *crashed], {})
    assert "(eager)" in document.answer[1][2]
    assert re.search(r"\(eager\)¹ ", section(document, "The answer"))
    assert "¹ compile crashed" in section(document, "The answer")
    assert "1 of 1 benchmark lacks some numbers: digits-mlp (torch compile crashed)." in head(document)
    assert "digits-mlp: torch compile crashed: no such kernel" in document.notes


def test_rounds_that_failed_are_counted() -> None:
    results = [r for r in run() if (r.cell.runner, r.cell.round) not in {("tf", 2), ("tf", 4)}]
    document = build([*results, *(make.failed("tf", "graph", n, cause=Cause.TIMED_OUT) for n in (2, 4))], {})
    words = "graph timed out in 2 of 5 rounds"
    assert document.answer[1][4] == "not ranked: too few rounds: 3 of 5"
    assert f"digits-mlp (tf {words})" in head(document)
    assert words in section(document, "The answer")


def test_a_stage_whose_parent_failed_says_so() -> None:
    stage = make.spec("stage", starts_from="digits-mlp")
    document = build([*run(), *fails(stage, Cause.OUT_OF_MEMORY, inherited="digits-mlp")], {})
    assert line(document, "stage")[2:] == (*["parent failed: out of memory"] * 2, "no number")
    diverged = build([*run(), *fails(stage, Cause.DIVERGED, inherited="digits-mlp")], {})
    assert line(diverged, "stage")[2:] == (*["parent diverged"] * 2, "no number")


def test_modes_that_failed_for_different_reasons_are_named() -> None:
    several = [make.failed("torch", "eager", n, LOST, Cause.TIMED_OUT) for n in range(1, 6)]
    several += [make.failed("torch", "compile", n, LOST, Cause.UNSUPPORTED) for n in range(1, 6)]
    document = build([*run(), *several], {})
    assert line(document, "lost")[2:4] == ("compile unsupported, eager timed out", "no result")


def test_tuned_inference_that_failed_has_a_line_of_its_own() -> None:
    tuned = [make.tuned("torch", "compile", n, n) for n in (1, 2)]
    lost = [make.failed("tf", "graph", n, cause=Cause.CRASHED, reason="lite", entry=f"{n}-tune-tf") for n in (1, 2)]
    entries = [{"id": r.entry, "kind": "tune", "cells": [r.cell.model_dump()]} for r in (*tuned, *lost)]
    document = build([*run(), *tuned, *lost], {"entries": entries})
    rows = [each for each in document.answer if each[1] == "inference options"]
    assert rows == [("digits-mlp", "inference options", "measured", "crashed", "no number")]
    assert "1 of 1 benchmark lacks some numbers: digits-mlp (tf crashed in inference options)." in head(document)
    assert "faster" in document.answer[1][4], "what was measured apart from it is compared"
    assert "digits-mlp: tf graph crashed in inference options: lite" in document.notes
    later = build([*run(), *tuned], {"entries": entries})
    assert next(each for each in later.answer if each[1] == "inference options")[3] == "not run yet"


def test_a_question_that_no_cell_could_be_asked_has_a_line() -> None:
    results = [r.model_copy(update={"latency": ()}) if r.outcome == "measured" else r for r in run()]
    document = build(results, {"profile": {"name": "mine", "latency_batches": [512, 1024]}})
    assert document.answer[-1] == (
        "digits-mlp", "latency, batch 512", "test split of 360", "test split of 360", "no number"
    )  # fmt: skip
    assert not document.failed, "nothing of it could be asked"


def test_a_run_in_which_only_the_instrument_has_numbers() -> None:
    document = build(fails(), {})
    assert document.answer[1:] == (("lost", "everything", "crashed", "crashed", "no number"),)
    assert "1 of 1 benchmark has no valid number" in head(document)


def test_a_run_that_only_proves_says_how_its_proofs_came_out() -> None:
    proofs = [make.proof("torch", "eager"), make.proof("tf", "graph", verdict=Verdict.UNPROVEN)]
    document = build([*proofs, make.failed("torch", "compile", 0, reason="died")], {})
    assert "nothing was measured. Of the proofs 1 identical, 1 unproven, 1 crashed." in section(document, "The answer")
    assert section(document, "Not comparable").startswith("\nIn 1 benchmark 1 mode has no number or no proof")
    assert "digits-mlp: torch compile crashed in the gate: died" in document.notes
    assert document.failed


def test_three_of_two_hundred_benchmarks_are_seen_at_once() -> None:
    """The table of a report is cut at two hundred lines: what has no number is none of those that are cut."""
    modes = {"torch": ("eager",), "tf": ("graph",)}
    good = [make.spec(f"a{i:03}", batch_size=i + 1) for i in range(197)]
    bad = [make.spec(f"z{i}") for i in range(3)]
    found: list[Any] = []
    for of in good:
        found += [make.proof("torch", "eager", of), make.proof("tf", "graph", of)]
        found += [make.measured(r, m, 1, 1, of, samples=2, epochs=1) for r, (m,) in modes.items()]
    for of in bad:
        found += [make.failed(r, m, 1, of, reason="y" * 20_000) for r, (m,) in modes.items()]
    document = build(found, {})
    names = "; ".join(f"z{i} (torch crashed, tf crashed)" for i in range(3))
    assert f"3 of 200 benchmarks have no valid number: {names}." in head(document)
    shown = [each.split("|")[1].strip() for each in section(document, "The answer").splitlines() if "|" in each]
    assert shown[2:5] == ["z0", "z1", "z2"]
    assert len(document.answer) == 1 + 3 * 197 + 3
    assert [each[0] for each in document.answer[-3:]] == ["z0", "z1", "z2"]
    assert max(map(len, document.notes)) < 700
    assert len(document.notes) == 2
    assert max(len(each) for each in head(document).splitlines() if each.startswith("- ")) < 200


def test_a_result_that_cannot_be_read_is_no_result_that_is_yet_to_come() -> None:
    cells = [r for r in run() if r.cell.round]
    entries = [{"id": f"r{i:02}", "kind": "measure", "cells": [r.cell.model_dump()]} for i, r in enumerate(cells)]
    at = next(i for i, r in enumerate(cells) if r.cell.runner == "tf")
    spoilt = ResultError("is not whole", where=f"/x/r{at:02}--{cells[at].cell.slug}.json")
    left = [r for r in run() if r.cell != cells[at].cell]
    document = build(left, {"entries": entries}, [spoilt])
    assert "digits-mlp (tf graph unreadable in 1 of 5 rounds)" in head(document)
    assert "Files refused, and listed below: 1." in head(document)
    assert document.failed


def test_a_cell_that_one_run_lacks_is_not_had_from_another() -> None:
    """The plans of both are read, each for its own run."""
    other = [r.model_copy(update={"run": "run-2"}) for r in run() if r.cell.runner != "tf" or r.cell.round == 0]
    plans = {"run-1": planned(run()), "run-2": planned(run())}
    document = build([*run(), *other], plans["run-1"], plans=plans)
    second = [each for each in document.answer if each[0] == "digits-mlp, run 2"]
    assert {each[3:] for each in second} == {("not run yet", "not ranked: tf not run yet")}
    assert "5 of 40 planned cells have no result yet" in head(document)


def save(folder: Path, results: list[Any]) -> Path:
    for i, item in enumerate(results):
        records.write(folder / "results" / f"{i:03}.json", item)
    return folder


def test_every_plan_among_the_sources_is_read(tmp_path: Path) -> None:
    one = save(tmp_path / "one", run())
    two = save(tmp_path / "two", [r.model_copy(update={"run": "run-2"}) for r in run(rounds=1)])
    (one / "plan.json").write_text("{}")
    (two / "plan.json").write_text(
        '{"profile": {"name": "x"}, "left_out": {"lost": "its data could not be had"}, "entries": 7}'
    )
    made = writer.write(tmp_path / "both", one, two)
    assert ("lost, run 2", "everything", "left out", "left out", "left out") in made.answer


@pytest.mark.parametrize(
    "plan",
    [
        {"left_out": 7},
        {"left_out": {"x": {"y": 1}}},
        {"left_out": ["a"]},
        {"profile": {"latency_batches": "many"}},
        {"profile": {"latency_batches": [None, "x"], "throughput_batches": {"a": 1}}},
        {"entries": [{"kind": 7, "id": [1], "cells": [{}]}]},
    ],
)
def test_a_plan_of_any_shape_makes_a_report(plan: dict[str, Any]) -> None:
    assert build(run(rounds=1), plan).markdown


HOSTILE = (
    "| x\n\n# z <b>a</b> [l](http://e.org) `c` \x1b[31mred\x1b[0m [bold red]loud[/] :bomb: \u202eback " + "y" * 20_000
)


def test_a_hostile_reason_stays_text_and_short() -> None:
    document = build([*run(), *fails(reason=HOSTILE[:20_000])], {})
    told = [*document.notes, *(cell for each in document.answer for cell in each)]
    assert all(c.isprintable() for text in told for c in text)
    assert max(map(len, told)) < 600
    assert "\x1b" not in document.markdown
    assert "<b>" not in document.markdown
    assert len(section(document, "The answer")) < 4000
