"""Runs beside each other: what differs is named before any number, and nothing is ranked across conditions."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import tests.support.results as make
from suite.compare import runs as stored
from suite.report import writer
from suite.report.document import build
from suite.report.evidence import differences
from suite.report.evidence.comparison import NotRanked
from suite.report.evidence.merge import Evidence, merge
from suite.results import records
from suite.results.environment import Gpu
from suite.spec.resolved import digest
from suite.stats import Ratio

MODES = {"torch": ("eager",), "tf": ("graph",)}
SETTINGS = {
    "torch": {"tf32": "off", "deterministic": "off", "compile": "default mode", "layout": "channels_last"},
    "tf": {"tf32": "off", "deterministic": "off", "layout": "NHWC", "session": "2 + 1 threads"},
    "null": {},
}
LIBRARIES = {"torch": {"torch": "2.13.0"}, "tf": {"tensorflow": "2.21.0", "onednn": "off"}, "null": {}}
KNOWN: dict[str, Any] = {"variables": {}, "cpu_features": digest("avx2")}


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.report.charts.drawing.svg", lambda figure: b"<svg/>")


def run(who: str = "", of: Any = None, name: str = "run-1", rounds: int = 5, **changed: Any) -> list[Any]:
    """A run; ``changed`` fields of the environments of one runner, or of all.  Mappings are added to."""
    found = []
    for r in make.run(of, rounds, MODES):
        runner = r.cell.runner
        fields = {**KNOWN, "settings": SETTINGS[runner], "libraries": LIBRARIES[runner], "packages": {"numpy": "2.4.6"}}
        for field, value in changed.items() if who in ("", runner) else ():
            fields[field] = {**fields.get(field, {}), **value} if isinstance(value, dict) else value
        found.append(r.model_copy(update={"environment": make.environment(runner, **fields), "run": name}))
    return found


def evidence(results: list[Any], plan: dict[str, Any] | None = None) -> Evidence:
    return merge(results, plan or {})


def told(first: list[Any], second: list[Any]) -> dict[str, tuple[str, ...]]:
    """What differs, by name: A, B, and whether it decides speed."""
    rows = stored.differing(evidence(first), evidence(second))
    assert not rows or rows[0] == ("what differs", "A", "B", "decides speed")
    return {row[0]: row[1:] for row in rows[1:]}


DECIDING: list[tuple[dict[str, Any], str, str, str]] = [
    ({"threads_intra": 1}, "threads in an operation", "2", "1"),
    ({"threads_intra": None}, "threads in an operation", "2", "not told"),
    ({"threads_inter": 2}, "operations at once", "1", "2"),
    ({"denormals": "kept"}, "denormals", "flushed", "kept"),
    ({"governor": "powersave"}, "governor", "not told", "powersave"),
    ({"turbo": False}, "turbo", "not told", "off"),
    ({"cores": 4}, "cores", "2", "4"),
    ({"memory_bytes": 16 << 30}, "memory", "8 GiB", "16 GiB"),
    ({"cpu": "another"}, "processor", "Intel(R) Xeon(R) CPU @ 2.20GHz", "another"),
    ({"cpu_features": digest("avx512")}, "the processor's instructions", digest("avx2")[7:19], digest("avx512")[7:19]),
    ({"gpus": (Gpu(name="H200", uuid="GPU-1"),)}, "GPUs", "none", "H200, GPU-1"),
    ({"driver": "580"}, "driver of the GPU", "not told", "580"),
    ({"place": "container"}, "place", "native", "container"),
    ({"settings": {"tf32": "on"}}, "setting tf32", "off", "on"),
    ({"settings": {"deterministic": "on"}}, "setting deterministic", "off", "on"),
    ({"variables": {"OMP_PROC_BIND": "true"}}, "variable OMP_PROC_BIND", "unset", "true"),
    ({"devices": {"cpu": "AVX512"}}, "what cpu is", "2 cores", "AVX512"),
]  # fmt: skip


@pytest.mark.parametrize(("changed", "name", "one", "other"), DECIDING, ids=lambda x: x if isinstance(x, str) else "")
def test_a_condition_that_differs_is_named_and_ranks_nothing(
    changed: dict[str, Any], name: str, one: str, other: str
) -> None:
    first, second = run(), run(**changed)
    assert told(first, second)[name] == (one, other, "yes")
    pairs = stored.pairs(evidence(first), evidence(second))
    assert len(pairs) == 10
    for pair in pairs:
        assert isinstance(pair.outcome, NotRanked)
        assert name in pair.outcome.reason
    assert any("nothing is ranked across a difference in them" in line for line in stored.caveats(pairs))


INFORMING: list[tuple[dict[str, Any], str, str, str]] = [
    ({"packages": {"numpy": "2.5.0"}}, "package numpy", "2.4.6", "2.5.0"),
    ({"packages": {"scipy": "1.0"}}, "package scipy", "not told", "1.0"),
    ({"lock": digest("other")}, "lock", "", digest("other")[7:19]),
    ({"python": "3.12.1"}, "Python", "3.11.7", "3.12.1"),
    ({"kernel": "6.9"}, "kernel", "6.8.0", "6.9"),
    ({"system": "Other"}, "system", "Linux x86-64", "Other"),
    ({"suite": "0.2.0"}, "suite", "0.1.0", "0.2.0"),
    ({"commit": "fedcba"}, "commit", "0123456789abcdef", "fedcba"),
    ({"image": "sha256:" + "1" * 64}, "image", "not told", "1" * 12),
    ({"build": {"base": "cuda:13"}}, "image built from, base", "not told", "cuda:13"),
    ({"devices": {"cpu": "2 cores", "cuda": "H200"}}, "what cuda is", "no GPU", "H200"),
]


@pytest.mark.parametrize(("changed", "name", "one", "other"), INFORMING, ids=lambda x: x if isinstance(x, str) else "")
def test_a_version_that_differs_is_named_and_ranking_goes_on(
    changed: dict[str, Any], name: str, one: str, other: str
) -> None:
    first, second = run(), run(**changed)
    found = told(first, second)
    rows = [values for title, values in found.items() if title.split(" (")[0] == name]
    assert {(values[1], values[2]) for values in rows} == {(other, "no")}
    assert one in "".join(values[0] for values in rows)
    assert all(isinstance(pair.outcome, Ratio) for pair in stored.pairs(evidence(first), evidence(second)))


def test_of_what_alone_one_framework_has_that_framework_is_named_and_the_other_is_ranked() -> None:
    first, second = run(), run("tf", libraries={"onednn": "on", "tensorflow": "2.22.0"}, settings={"layout": "NCHW"})
    found = told(first, second)
    assert found["library onednn (tf)"] == ("off", "on", "yes")
    assert found["setting layout (tf)"] == ("NHWC", "NCHW", "yes")
    assert found["library tensorflow (tf)"] == ("2.21.0", "2.22.0", "no")
    assert list(found)[-1] == "library tensorflow (tf)", "what decides comes first"
    ranked = {
        p.framework_mode.runner: isinstance(p.outcome, Ratio) for p in stored.pairs(evidence(first), evidence(second))
    }
    assert ranked == {"torch": True, "tf": False}


def test_nothing_differs_between_a_run_and_itself() -> None:
    assert stored.differing(evidence(run()), evidence(run())) == ()


def test_what_older_results_do_not_hold_is_named_and_does_not_stop_ranking() -> None:
    first, second = run(variables=None, cpu_features=None), run(variables={"KMP_AFFINITY": "none"})
    older = [r.model_copy(update={"environment": r.environment.model_copy(update={"settings": {}})}) for r in first]
    found = told(older, second)
    assert found["setting layout (torch)"] == ("not told", "channels_last", "no")
    assert found["the processor's instructions"][2] == "no"
    assert found["variable KMP_AFFINITY"] == ("not told", "none", "no")
    assert all(isinstance(p.outcome, Ratio) for p in stored.pairs(evidence(older), evidence(second)))


def plan(**profile: Any) -> dict[str, Any]:
    return {"profile": {"name": "mine", "process": "runner", "epochs": None, "latency_samples": 64, **profile}}


def test_what_the_profiles_ask_for_is_compared_and_one_process_for_all_is_a_condition() -> None:
    sets = evidence(run(), plan()), evidence(run(), plan(process="cell", epochs=3, latency_samples=200, seeds=[0, 1]))
    rows = {row[0]: row[1:] for row in stored.differing(*sets)}
    assert rows["one process for each"] == ("runner", "cell", "yes")
    assert rows["cap on epochs"] == ("none", "3", "no")
    assert rows["samples of latency"] == ("64", "200", "no")
    assert rows["seeds"] == ("none", "0, 1", "no")
    assert {p.outcome.reason for p in stored.pairs(*sets) if isinstance(p.outcome, NotRanked)} == {
        "not ranked: other one process for each"
    }


def test_without_a_plan_the_results_show_what_was_asked() -> None:
    found = told(run(), run(rounds=3))
    assert found["rounds"] == ("1, 2, 3, 4, 5", "1, 2, 3", "no")


def test_benchmarks_of_one_name_are_compared_field_by_field() -> None:
    found = told(run(), run(of=make.spec(batch_size=64, l2=0.1)))
    assert found["digits-mlp: batch_size"] == ("32", "64", "yes")
    assert found["digits-mlp: l2"][2] == "yes"
    assert not any("epochs" in name for name in found)


def test_frameworks_and_benchmarks_that_one_side_alone_has_are_named() -> None:
    found = told([*run(), *run(of=make.spec("more"))], [r for r in run() if r.cell.runner != "tf"])
    assert found["benchmarks"] == ("more", "nothing more", "no")
    assert found["frameworks and modes"] == ("tf graph", "nothing more", "no")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"threads_intra": 1}, "threads in an operation (1 and 2)"),
        ({"threads_inter": 2}, "operations at once (1 and 2)"),
        ({"settings": {"tf32": "on"}}, "setting tf32 (off and on)"),
        ({"settings": {"deterministic": "on"}}, "setting deterministic (off and on)"),
        ({"denormals": "kept"}, "denormals (flushed and kept)"),
        ({"governor": "powersave"}, "governor (not told and powersave)"),
    ],
)
def test_frameworks_of_one_run_under_other_conditions_are_not_ranked(changed: dict[str, Any], words: str) -> None:
    results = run("tf", **changed)
    proofs = [r for r in run() if r.outcome == "proof"]
    document = build([*proofs, *(r for r in results if r.outcome != "proof")], {})
    if words.startswith("setting deterministic"):
        assert document.answer[1][4] == "not ranked: tf not proven"  # the proofs are of the other setting
        document = build(results, {})
    assert document.answer[1][4] == f"not ranked: in round 1 not under the same {words}"
    assert document.failed


def test_ways_of_a_frameworks_own_do_not_stop_ranking() -> None:
    document = build(run(), {})
    assert "faster" in document.answer[1][4]
    assert not document.failed


def section(text: str) -> str:
    found = re.search(r"^## What differs between the runs\n(.*?)^## ", text, re.DOTALL | re.MULTILINE)
    assert found
    return found[1]


def test_a_report_of_several_runs_says_what_differs_before_any_number() -> None:
    document = build([*run(), *run(name="run-2", threads_intra=1, packages={"numpy": "1"})], {})
    text = document.markdown
    assert text.index("## What differs between the runs") < text.index("## The answer")
    assert re.search(r"\| threads in an operation +\| 2 +\| 1 +\| yes", section(text))
    assert re.search(r"\| package numpy +\| 2\.4\.6 +\| 1 +\| no", section(text))
    assert "run 1 is run\\-1" in section(text).replace("run-", "run\\-")
    assert document.differences[0] == ("what differs", "run 1", "run 2", "decides speed")
    alone = build(run(), {})
    assert alone.differences == ()
    assert "What differs" not in alone.markdown
    same = build([*run(), *run(name="run-2")], {})
    assert "No setting, version or fact of the machine" in same.markdown


def test_three_runs_have_a_column_each() -> None:
    runs = [r for i in (1, 2, 3) for r in run(name=f"run-{i}", threads_intra=i)]
    assert build(runs, {}).differences[1] == ("threads in an operation", "1", "2", "3", "yes")


def test_a_container_is_not_compared_with_what_ran_natively_under_other_threads() -> None:
    inside = make.inside(run(name="run-2", threads_intra=1))
    document = build([*run(), *inside], {})
    text = document.markdown.split("## In a container and natively")[1].split("## Repeat")[0]
    assert "other threads in an operation" in text
    assert "slower in the container" not in text


def test_hostile_values_stay_text_in_both(tmp_path: Path) -> None:
    word = "x | y\n\n# z <b>a</b> [red]b[/] \x1b[31m"
    document = build([*run(), *run(name="run-2", kernel=word, settings={word: word}, variables={word: word})], {})
    assert "\x1b" not in document.markdown
    assert "<b>" not in document.markdown
    assert "\n# z" not in document.markdown
    for row in document.differences:
        assert all(cell.isprintable() for cell in row)


def test_two_folders_of_one_machine_are_told_apart_by_their_plans(tmp_path: Path) -> None:
    for name, results in (("a", run(rounds=1)), ("b", run(name="run-2", rounds=1))):
        for i, each in enumerate(results):
            records.write(tmp_path / name / "results" / f"{i}.json", each)
        (tmp_path / name / "plan.json").write_text(json.dumps(plan(process={"a": "runner", "b": "cell"}[name])))
    made = writer.write(tmp_path / "out", tmp_path / "a", tmp_path / "b")
    assert ("one process for each", "runner", "cell", "yes") in made.differences
    assert differences.RULE in (tmp_path / "out" / "report.md").read_text()
