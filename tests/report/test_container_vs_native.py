"""Native runs and runs in containers: never ranked against each other, but their times set side by side."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import tests.support.results as make
from suite.report import writer
from suite.report.document import Document, build
from suite.report.evidence.merge import merge
from suite.results import records
from suite.results.environment import Gpu
from suite.spec.resolved import digest

TITLE = "In a container and natively"
RUN = make.run(modes={"torch": ("compile",), "tf": ("xla",)})
SLOW = make.inside(RUN, slow=1.1)
BOTH = build([*RUN, *SLOW], {})


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.report.charts.drawing.svg", lambda figure: b"<svg/>")


def section(document: Document, title: str = TITLE) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", document.markdown, re.DOTALL | re.MULTILINE)
    assert found, f"no section {title}"
    return found[1]


def line(document: Document, runner: str = "torch", question: str = "training") -> str:
    return next(x for x in section(document).splitlines() if f"| {runner} " in x and f"| {question} " in x)


def test_places_are_ranked_each_for_itself() -> None:
    assert [x[0] for x in BOTH.answer[1:]] == ["digits-mlp, container"] * 3 + ["digits-mlp, native"] * 3
    assert not BOTH.failed
    natively = [r for r in RUN if r.cell.runner != "tf"]
    inside = [r for r in SLOW if r.cell.runner == "tf"]
    apart = build([*natively, *inside], {})
    assert all(x[4].endswith("no result") for x in apart.answer[1:])
    assert "faster" not in section(apart, "The answer")


def test_one_place_alone_has_no_section() -> None:
    assert TITLE not in build(RUN, {}).markdown
    assert TITLE not in build(SLOW, {}).markdown


def test_the_ratio_is_that_of_times_in_the_container_over_native_ones() -> None:
    for runner, question in (("torch", "training"), ("tf", "latency, batch 8"), ("tf", "throughput, batch 256")):
        assert re.search(
            r"\| 1\.100 \(1\.(100|099) to 1\.10\d\) +\| slower in the container", line(BOTH, runner, question)
        )
    fast = build([*RUN, *make.inside(RUN, slow=0.9)], {})
    assert re.search(r"\| 0\.900 \(0\.\d+ to 0\.90\d\) +\| faster in the container", line(fast))
    same = build([*RUN, *make.inside(RUN, slow=1.01)], {})
    assert re.search(r"\| 1\.010 \(.*\) +\| equivalent within 3 %", line(same))


def test_rounds_are_paired_by_number() -> None:
    """Noise that both places share in a round leaves the ratio; shifted by a round it widens it."""
    wide = [r.model_copy(update={"cell": r.cell.model_copy(update={"round": r.cell.round % 5 + 1})}) for r in SLOW[2:]]
    shifted = line(build([*RUN, *SLOW[:2], *wide], {}))
    found = re.search(r"\(([\d.]+) to ([\d.]+)\)", shifted)
    assert found
    assert float(found[2]) - float(found[1]) > 0.05


def test_the_intervals_of_the_section_hold_together() -> None:
    text = section(BOTH)
    assert "10 intervals were computed, each at 99.5 %, so that all of this section hold together at 95 %" in text


def test_fewer_than_five_common_rounds_are_not_ranked() -> None:
    document = build([*RUN, *(r for r in SLOW if r.cell.round < 5)], {})
    assert re.search(r"\| —¹ +\| not ranked", line(document))
    assert "too few rounds: 4 of 5" in section(document)


def test_a_mode_unproven_in_one_place_is_not_ranked() -> None:
    document = build([*RUN, *(r for r in SLOW if r.outcome != "proof")], {})
    assert "not ranked" in line(document)
    assert "the proof is of another place" in section(document)


def test_machines_are_not_compared() -> None:
    document = build([*RUN, *make.inside(RUN, machine=digest("elsewhere"))], {})
    assert "nothing is compared" in section(document)
    assert "|" not in section(document)


def test_runs_of_different_plans_on_one_machine_are_compared() -> None:
    document = build([*RUN, *(r.model_copy(update={"run": "run-2"}) for r in SLOW)], {})
    assert "slower in the container" in line(document)
    assert {x[0] for x in document.answer[1:]} == {x[0] for x in BOTH.answer[1:]}


def test_two_native_runs_are_told_apart() -> None:
    again = [r.model_copy(update={"run": "run-0"}) for r in RUN]
    text = section(build([*again, *RUN, *SLOW], {}))
    assert "| digits-mlp, run 1 / digits-mlp, run 2 |" in text
    assert "| digits-mlp, run 2 " in text


def test_a_run_after_the_other_is_told_from_runs_that_took_turns() -> None:
    assert "the native one came first and the one in the container second" in section(BOTH)
    before = build([*RUN, *make.inside(RUN, minutes=-60)], {})
    assert "the one in the container came first and the native one second" in section(before)
    turns = build([*RUN, *make.inside(RUN, minutes=0.5)], {})
    assert "The two runs took turns: the place changed 9 times over 30 trials." in section(turns)


def test_runs_in_blocks_are_no_turns() -> None:
    late = [r.model_copy(update={"started": r.started + timedelta(hours=9)}) if r.cell.round > 3 else r for r in RUN]
    assert "The two runs lie in blocks: the place changed 2 times" in section(build([*late, *SLOW], {}))


def test_trials_of_both_places_at_once_are_told() -> None:
    text = section(build([*RUN, *make.inside(RUN, minutes=0.1)], {}))
    assert "**15 trials began while one in the other place ran**" in text


def test_equal_digests_and_weights_are_told() -> None:
    assert section(BOTH).count("| agree under 5 of 5 seeds | equal under 5 of 5 seeds |") == 2


def reweighted(results: list[Any], number: int) -> list[Any]:
    found = []
    for r in results:
        if r.outcome == "measured" and r.cell.runner == "torch" and r.cell.round == number:
            training = r.training.model_copy(update={"weights": digest("other")})
            r = r.model_copy(update={"training": training})
        found.append(r)
    return found


def test_other_weights_are_told_with_the_versions_that_differ() -> None:
    newer = make.inside(RUN, python="3.12.3", libraries={"torch": "2.14.0"})
    text = section(build([*RUN, *reweighted(newer, 2)], {}))
    assert "equal under 4 of 5 seeds¹" in text
    assert "Python 3.11.7 natively, 3.12.3 in the container; torch 2.13.0 natively, 2.14.0 in the container" in text
    alike = section(build([*RUN, *reweighted(SLOW, 2)], {}))
    assert "no version that both recorded differs" in alike


def test_cells_of_other_digests_are_told_and_not_compared() -> None:
    other = [
        r.model_copy(update={"digests": r.digests.model_copy(update={"order": digest("x")})})
        if r.outcome == "measured" and r.cell.round == 2
        else r
        for r in SLOW
    ]
    document = build([*RUN, *other], {})
    assert "not the same batch order" in section(document)
    assert "not ranked" in line(document)
    assert "agree under 4 of 5 seeds" in section(document)


def test_a_proof_covers_its_own_place_alone() -> None:
    inside = make.inside([make.proof()])
    evidence = merge([*inside, make.measured()], {})
    assert "another place" in str(evidence.proof_status(evidence.measured[0]))


def test_a_cell_of_two_places_is_no_double() -> None:
    evidence = merge([make.measured(), *make.inside([make.measured()])], {})
    assert len(evidence.measured) == 2
    assert evidence.doubles == ()


def test_a_failure_that_tells_no_place_is_of_its_runs_only_one() -> None:
    inside = make.inside([make.measured()])
    assert len(merge([*inside, make.failed()], {}).results) == 1
    assert len(merge([make.measured(), *inside, make.failed()], {}).results) == 3


def test_a_failure_elsewhere_is_not_why_a_framework_is_absent_here() -> None:
    failed = make.failed("tf", "xla", reason="exit status 9", environment=make.environment("tf", place="container"))
    document = build([*(r for r in RUN if r.cell.runner != "tf"), failed], {})
    assert "exit status 9" not in section(document, "The answer")


def test_the_environment_says_what_is_in_which_place() -> None:
    inside = make.inside(RUN, python="3.12.3", settings={"tf32": "off"})
    text = section(build([*RUN, *inside], {}), "Environment")
    assert re.search(r"\| place +\| container; native +\|", text)
    assert re.search(r"\| Python +\| 3\.11\.7 \(native\); 3\.12\.3 \(container\) +\|", text)
    assert re.search(rf"\| image +\| {digest('image')[7:19]} \(container\) +\|", text)
    assert re.search(r"\| built from +\| base cuda:13 \(container\) +\|", text)
    assert re.search(r"\| settings +\| tf32 off \(container\) +\|", text)
    assert "torch 2.13.0 (torch)" in text
    natively = section(build(RUN, {}), "Environment")
    assert "image" not in natively
    assert "settings" not in natively


def test_a_gpu_is_named_with_its_memory_and_driver() -> None:
    gpu = Gpu(name="NVIDIA H200", uuid="GPU-01234567-89ab-cdef", memory_bytes=141 << 30)
    environment = make.environment(gpus=(gpu,), driver="580.65")
    text = section(build([make.measured(environment=environment)], {}), "Environment")
    assert re.search(r"\| GPUs +\| NVIDIA H200, 141 GiB, GPU-01234567 +\|", text)
    assert re.search(r"\| driver +\| 580\.65 +\|", text)


def test_results_of_the_first_schema_read_as_native(tmp_path: Path) -> None:
    for i, item in enumerate(RUN):
        old = item.model_copy(update={"schema_version": 1}).model_dump(mode="json")
        if old.get("environment"):
            for field in ("place", "image", "build", "settings", "gpus", "driver"):
                old["environment"].pop(field)
        old.pop("gpu", None)
        for field in ("device_bytes", "allocator_bytes"):
            (old.get("memory") or {}).pop(field, None)
        path = tmp_path / "results" / f"{i:03}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(old))
    outcome = writer.write(tmp_path)
    assert outcome.answer == build(RUN, {}).answer
    assert "Refused" not in outcome.path.read_text()


def test_a_report_of_two_folders_is_written_to_the_first(tmp_path: Path) -> None:
    for name, results in (("native", RUN), ("container", SLOW)):
        for i, item in enumerate(results):
            records.write(tmp_path / name / "results" / f"{i:03}.json", item)
    outcome = writer.write(tmp_path / "native", tmp_path / "native", tmp_path / "container")
    assert outcome.path == tmp_path / "native" / "report.md"
    assert outcome.path.read_text() == BOTH.markdown
    assert not (tmp_path / "container" / "report.md").exists()


def test_the_same_results_of_both_places_give_the_same_bytes_in_whatever_order() -> None:
    results = [*RUN, *SLOW, make.failed()]
    assert build(results, {}) == build(results[::-1], {})
