"""What the report says of pytest-benchmark's numbers: shown, told apart, and never ranked."""

from __future__ import annotations

import json
import random
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import tests.support.results as make
from suite.report import writer
from suite.report.document import Document, build
from suite.results import records
from suite.results.identity import Verdict
from suite.spec.resolved import digest
from tests.support import timings
from tests.support.timings import timing

RUN = [r for r in make.run() if f"{r.cell.runner}/{r.cell.mode}" not in ("torch/eager", "tf/eager", "tf/graph")]


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of a report's time."""
    monkeypatch.setattr("suite.report.charts.drawing.svg", lambda figure: b"<svg/>")


def section(document: Document) -> str:
    return document.markdown.split("## pytest-benchmark\n")[1].split("\n## ")[0]


def rows(document: Document) -> list[list[str]]:
    """Cells of the first table, without its head."""
    table = next(block for block in section(document).split("\n\n") if block.startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_a_report_without_such_files_has_no_such_section() -> None:
    assert "## pytest-benchmark" not in build(RUN, {}).markdown


def test_the_answer_is_the_same_with_and_without_them() -> None:
    beside = build(RUN, {}, (), [timing(), timing("tf", "xla", seconds=1e-9)])
    alone = build(RUN, {})
    assert (beside.answer, beside.failed, beside.charts) == (alone.answer, alone.failed, alone.charts)
    assert "shown and never ranked" in section(beside)
    assert "faster" not in section(beside)


def test_a_query_is_shown_by_its_time_and_the_others_by_their_rate() -> None:
    found = rows(
        build(RUN, {}, (), [
            timing(seconds=1e-4),
            timing(question="throughput", batch_size=256, images=1000, seconds=1e-2),
            timing(question="training", batch_size=32, images=1000, seconds=1.0),
        ])
    )  # fmt: skip
    assert [row[3:7] for row in found] == [
        ["latency, batch 1", "100 µs", "90.0 µs to 110 µs", "200"],
        ["throughput, batch 256", "100,000 images/s", "90,900 images/s to 111,000 images/s", "200"],
        ["training", "1,000 images/s", "909 images/s to 1,110 images/s", "200"],
    ]


def test_rounds_of_several_calls_say_so() -> None:
    assert rows(build(RUN, {}, (), [timing(iterations=5)]))[0][6] == "200 of 5 calls"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (timing(), "yes"),
        (timing(mode="eager"), "the gate has not run"),
        (timing(environment=make.environment(source=digest("other"))), "the proof is of another version of the suite"),
        (timing(environment=make.environment(lock=digest("other"))), "the proof is of another set of packages"),
        (timing(environment=make.environment(machine=digest("other"))), "the proof is of another machine"),
        (timing(of=make.spec(batch_size=64)), "the proof is of another spec"),
        (timing("null", "none"), "the instrument computes nothing that could be proven"),
    ],
)
def test_whether_a_proof_of_the_same_report_covers_a_number_is_told(number: Any, words: str) -> None:
    document = build(RUN, {}, (), [number])
    proven = rows(document)[0][7]
    assert words in section(document)
    assert (proven == "yes") == (words == "yes")


def test_a_variant_is_named_and_what_is_unproven_is_not_called_proven() -> None:
    found = {}
    for verdict in (Verdict.VARIANT, Verdict.UNPROVEN):
        document = build([make.proof(verdict=verdict)], {}, (), [timing()])
        found[verdict] = rows(document)[0][7], section(document)
    assert found[Verdict.VARIANT][0] == r"up to adam\_epsilon\_before\_correction"
    assert found[Verdict.UNPROVEN][0] == "no¹"
    assert "¹ unproven: gradients float64" in found[Verdict.UNPROVEN][1]


def test_a_proof_that_misstates_its_spec_covers_nothing() -> None:
    forged = make.proof(of=make.spec(batch_size=64)).model_copy(update={"digests": make.digests(make.spec(), 1)})
    assert rows(build([forged], {}, (), [timing()]))[0][7] == "no¹"


def test_machines_and_commits_are_told_apart() -> None:
    elsewhere = make.environment(machine=digest("elsewhere"), cpu="another")
    later = make.environment(commit="fedcba9876543210")
    document = build(RUN, {}, (), [timing(), timing(environment=elsewhere), timing(environment=later)])
    assert [row[8] for row in rows(document)] == ["1", "2", "3"]
    assert "**2 machines and 2 commits**" in section(document)
    assert "| another " in section(document)
    assert "commits**" not in section(build(RUN, {}, (), [timing(), timing("tf", "xla")]))


def test_cases_of_one_name_and_another_spec_are_told_apart() -> None:
    other = make.spec(batch_size=64)
    names = [row[0] for row in rows(build(RUN, {}, (), [timing(), timing(of=other)]))]
    digests = sorted(s.digest.removeprefix("sha256:")[:6] for s in (make.spec(), other))
    assert names == [f"digits-mlp, {d}" for d in digests]


def test_the_same_files_give_the_same_bytes_in_whatever_order_and_however_often() -> None:
    numbers = [
        timing(runner, mode, written=timings.WRITTEN + timedelta(minutes=minutes), seconds=1e-4 * (1 + minutes))
        for minutes in range(2)
        for runner, mode in (("torch", "compile"), ("torch", "eager"), ("tf", "xla"), ("null", "none"))
    ]
    documents = []
    for seed in range(4):
        shuffled = numbers + numbers[:seed]
        random.Random(seed).shuffle(shuffled)
        documents.append(build(RUN, {}, (), shuffled))
    assert all(document == documents[0] for document in documents)


def test_hostile_words_stay_words() -> None:
    word = "x | y\n# z <b>a</b> [l](http://e.org) `c`"
    here = make.environment(cpu=word, commit=word, libraries={word: word})
    number = timing(environment=here)
    cell = number.cell.model_copy(update={"spec": word, "runner": word, "mode": word, "device": word})
    number = number.model_copy(update={"told": number.told.model_copy(update={"cell": cell})})
    text = section(build([], {}, (), [number]))
    assert not re.search(r"(?<!\\)<b>|(?<!\\)\[l|http://|^# z", text, re.MULTILINE)


def save(folder: Path, *results: Any) -> None:
    for i, item in enumerate(results):
        records.write(folder / "results" / f"{i:03}.json", item)


def test_files_and_folders_of_them_are_merged_into_a_runs_report(tmp_path: Path) -> None:
    save(tmp_path / "run", *RUN)
    (tmp_path / "files").mkdir()
    torch, tf = tmp_path / "torch.json", tmp_path / "files" / "tf.json"
    torch.write_text(json.dumps(timings.file(timing())))
    tf.write_text(json.dumps(timings.file(timing("tf", "xla"))))
    outcome = writer.write(tmp_path / "run", tmp_path / "run", torch, tmp_path / "files")
    text = outcome.path.read_text().split("## pytest-benchmark\n")[1].split("\n## ")[0]
    assert text in writer.write(tmp_path / "run", torch, tf, tmp_path / "run", tmp_path / "run").path.read_text()
    assert "came more than once" not in outcome.path.read_text()
    assert re.search(r"\| torch +\| compile +\| latency, batch 1 .*\| yes ", text)
    assert re.search(r"\| tf +\| xla +\| latency, batch 1 .*\| yes ", text)
    assert outcome.answer == build(RUN, {}).answer


def test_a_file_that_is_refused_is_named_and_the_others_are_taken(tmp_path: Path) -> None:
    save(tmp_path, *RUN)
    bad = timings.file(timing())
    bad["benchmarks"][0]["stats"]["median"] = -1
    for name, file in (("bad", bad), ("good", timings.file(timing())), ("foreign", {"a": 1})):
        (tmp_path / f"{name}.json").write_text(json.dumps(file))
    outcome = writer.write(tmp_path, tmp_path, *(tmp_path / f"{n}.json" for n in ("bad", "good", "foreign")))
    text = outcome.path.read_text()
    assert "bad.json: benchmarks.0.stats.median" in text
    assert "foreign.json: has schema version" in text
    assert text.count("latency, batch 1 ") > 0
    assert "## pytest-benchmark" in text


def test_a_folder_of_such_files_alone_makes_a_report_that_did_not_fail(tmp_path: Path) -> None:
    (tmp_path / "torch.json").write_text(json.dumps(timings.file(timing())))
    outcome = writer.write(tmp_path)
    assert not outcome.failed
    assert "the gate has not run" in outcome.path.read_text().split("## pytest-benchmark")[1]
