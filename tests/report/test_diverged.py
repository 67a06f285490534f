"""What the report says of trainings that diverged, wherever a number of theirs stands, and what it does not say."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

import tests.support.results as make
from suite.compare import runs
from suite.report.charts import benchmarks
from suite.report.document import Document, build
from suite.report.evidence.merge import merge
from suite.results.divergence import Divergence, What
from suite.results.identity import Verdict
from suite.results.records import Cause, Measured
from suite.spec.recipe import Assumption, Claim, EarlyStopping
from suite.spec.tasks.embedding import EmbeddingMetrics

pytestmark = pytest.mark.usefixtures("undrawn")

MODES = {"torch": ("compile",), "tf": ("xla",)}
CLAIM = Claim(metric="test_accuracy", value=0.975)
BOTH = {"torch": 1, "tf": 1}
SAID = "2 of 5 seeds diverged (epochs 1, 1)"


def run(
    lost: dict[str, int], seeds: Collection[int] = (2, 4), of: Any = None, modes: Any = MODES, recorded: bool = True,
    rounds: int = 5, **fields: Any,
) -> list[Any]:  # fmt: skip
    """A run in which these frameworks (or framework/mode) diverged, in an epoch, under these seeds."""
    found = []
    for r in make.run(of, rounds, modes):
        if isinstance(r, Measured) and fields:
            r = make.measured(r.cell.runner, r.cell.mode, r.cell.round, r.cell.seed, of, **fields)
        epoch = lost.get(r.cell.runner) or lost.get(f"{r.cell.runner}/{r.cell.mode}")
        if isinstance(r, Measured) and epoch and r.cell.seed in seeds:
            r = make.diverged(r, epoch, recorded)
        found.append(r)
    return found


def section(document: Document, title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", document.markdown, re.DOTALL | re.MULTILINE)
    assert found, f"no section {title}"
    return found[1]


def page(document: Document, name: str = "digits-mlp") -> str:
    return document.pages[f"studies/{name}.md"]


@pytest.mark.parametrize("recorded", [True, False], ids=["recorded", "older"])
def test_every_place_where_a_number_of_such_a_cell_stands_says_so(recorded: bool) -> None:
    document = build(run(BOTH, recorded=recorded), {})
    head = document.markdown.split("## The answer")[0]
    assert "**Diverged: 4 of 10 trained cells, in digits-mlp." in head
    (warning,) = document.warnings
    assert warning.startswith("Diverged: 4 of 10 trained cells, in digits-mlp. Their speeds are not ranked, and no")
    sections = ("The answer", "Not comparable", "Accuracy", "Latency", "Throughput", "Training", "Memory")
    for title in sections:
        assert SAID in section(document, title), title
    assert "| 2 of 5 | 2: 1, 4: 1" in " ".join(section(document, "Diverged").split())
    assert f"**digits-mlp: torch (compile) and tf (xla): {SAID}.**" in page(document)
    assert "4 of 10 trainings diverged" in page(document, "index")
    for said in ("every number is proven", "No benchmark with classes was trained", "No proven cell"):
        assert said not in document.markdown


def test_its_speeds_are_shown_and_not_ranked() -> None:
    document = build(run(BOTH), {})
    for line in document.answer[1:]:
        assert line[2:4] == ("diverged", "diverged")
        assert line[4] == f"not ranked: torch: compile: {SAID}, tf: xla: {SAID}"
    table = section(document, "Not comparable")
    assert table.count("images/s") == 4
    assert table.count("\u00b5s") >= 2
    assert "No interval could be computed" in section(document, "The answer")
    assert not any(name.startswith("ratios") for name in document.charts)


def test_divergence_is_no_failure_of_the_run() -> None:
    assert not build(run(BOTH, range(1, 6)), {}).failed
    assert not build(run({"torch": 2}), {}).failed


def test_a_mode_that_did_not_diverge_is_ranked_and_the_other_is_named() -> None:
    modes = {"torch": ("compile", "eager"), "tf": ("xla",)}
    document = build(run({"torch/compile": 1}, modes=modes), {})
    line = next(line for line in document.answer[1:] if line[1] == "training")
    assert line[2].endswith("(eager)")
    assert "faster" in line[4] or "undecided" in line[4]
    assert SAID in section(document, "Not comparable")
    assert "under 2 seeds not all diverged: torch (compile) under 2, 4 only" in section(document, "Diverged")


def test_one_framework_but_not_the_other() -> None:
    document = build(run({"torch": 3}, (1,)), {})
    assert "digits-mlp**: under 1 seed not all diverged: torch (compile) under 1 only" in section(document, "Diverged")
    assert document.answer[1][4] == "not ranked: torch: compile: 1 of 5 seeds diverged (epoch 3)"
    assert "tf" not in section(document, "Not comparable")
    alike = build(run(BOTH), {})
    assert "not all diverged" not in section(alike, "Diverged")


def test_what_is_not_proven_either_says_both() -> None:
    of = make.spec(claims=(CLAIM,))
    doubtful = [r for r in run({"torch": 1}, of=of) if r.outcome != "proof" or r.cell.runner != "torch"]
    document = build([*doubtful, make.proof("torch", "compile", of, Verdict.UNPROVEN)], {})
    assert document.failed, "it is not proven"
    assert re.search(rf"unproven: .*; {re.escape(SAID)}", section(document, "Not comparable"))
    first = next(line for line in verdicts(document).splitlines() if "| test accuracy" in line)
    assert "| diverged" in first
    assert re.search(rf"{re.escape(SAID)}; torch compile: unproven", verdicts(document))


def accuracies(document: Document) -> list[list[str]]:
    lines = [line for line in section(document, "Accuracy").splitlines() if line.startswith("| digits-mlp")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_there_is_no_mean_of_survivors() -> None:
    document = build(run({"torch": 1}), {})
    torch, tf = accuracies(document)
    assert torch[3] == tf[3] == "5"
    assert [cell.rstrip("\u00b9") for cell in torch[4:7]] == ["\u2014"] * 3
    assert tf[4].endswith(" %")
    told = section(document, "Accuracy")
    assert f"{SAID}, without an accuracy, so there is no mean; the other 3: 9" in told
    assert f"not tested: torch (compile): {SAID}" in told
    assert "equivalent within" not in told
    assert "such test" not in told


def test_an_accuracy_that_such_a_network_has_counts_like_any_other() -> None:
    """Where only a loss was not finite the network's outputs are numbers, and what they predict is counted."""
    told = Divergence(epoch=2, what=What.TRAINING_LOSS)
    found = []
    for r in run({}):
        if isinstance(r, Measured) and r.training and r.cell.runner != "null" and r.cell.seed == 3:
            low = make.Scores(loss=9.0, penalty=0.0, accuracy=0.1)
            taught = {"diverged": told, "test": low}
            r = r.model_copy(update={"training": r.training.model_copy(update=taught)})
        found.append(r)
    document = build(found, {})
    for line in accuracies(document):
        assert 75 < float(line[4].split(" %")[0]) < 85
        assert line[5].startswith("10.00 % to")
    assert "equivalent within 0.5 points" in section(document, "Accuracy")
    assert "torch (compile): 1 of 5 seeds diverged (epoch 2); tf (xla): 1 of 5" in section(document, "Accuracy")


def test_all_seeds_diverged() -> None:
    document = build(run(BOTH, range(1, 6)), {})
    for line in accuracies(document):
        assert (line[3], line[4].rstrip("\u00b9"), line[7]) == ("5", "\u2014", "until it diverged")
    assert "5 of 5 seeds diverged (epochs 1, 1, 1, 1, 1)" in section(document, "The answer")


def verdicts(document: Document) -> str:
    return section(document, "Published numbers")


def test_a_claim_is_not_judged_from_them() -> None:
    document = build(run({"torch": 1}, (1,), of=make.spec(claims=(CLAIM,))), {})
    line = next(line for line in verdicts(document).splitlines() if "| test accuracy" in line)
    assert line.rstrip("| \u00b9\u00b2").endswith("| diverged")
    assert "1 of 5 seeds diverged (epoch 1)" in verdicts(document)
    assert "*Diverged*: " in verdicts(document)
    assert "*Diverged*: " not in verdicts(build(run({}, of=make.spec(claims=(CLAIM,))), {}))


def test_divergence_goes_before_a_schedule_that_was_cut_short() -> None:
    document = build(run({"torch": 1}, (1,), of=make.spec(claims=(CLAIM,)), epochs=2), {})
    lines = [line for line in verdicts(document).splitlines() if "| test accuracy" in line]
    assert "diverged" in lines[0]
    assert "not run far enough" in lines[1]


def test_the_epoch_of_an_early_stop_is_not_judged_and_the_report_says_what_ended_it() -> None:
    spec = make.spec(
        early_stopping=EarlyStopping(patience=2), validation_fraction=0.1,
        claims=(Claim(metric="stopped_at_epoch", value=2),),
    )  # fmt: skip
    told = Divergence(epoch=1, what=What.VALIDATION_LOSS, ended="early stopping")
    taught = {"diverged": told, "stopped_early": True}
    cells = [make.measured(number=n, seed=n, of=spec, epochs=2, taught=taught) for n in range(1, 6)]
    document = build([make.proof(of=spec), *cells], {})
    assert "by early stopping, because the value that it watches was not finite" in section(document, "Diverged")
    assert "early stopping ended 5 of them, because the value that it watches was not finite" in page(document)
    assert "| diverged" in next(line for line in verdicts(document).splitlines() if "stopped at epoch" in line)


def test_another_choice_that_diverged_flips_no_verdict_and_is_named() -> None:
    one = make.spec(case="this", claims=(CLAIM,), assumptions=(Assumption(about="x", chosen="y", alternative="other"),))
    other = make.spec(case="other", claims=(CLAIM,), batch_size=64)
    sound = run({}, of=one, accuracy=0.975)
    document = build([*sound, *run(BOTH, of=other)], {})
    assert "the other choice was not run far enough: other, which diverged" in verdicts(document)


def test_a_grid_of_published_numbers_has_a_dash_for_it() -> None:
    specs = [make.spec("grid", case=f"c{i}", claims=(CLAIM,), batch_size=16 + i) for i in range(4)]
    found = [r for i, spec in enumerate(specs) for r in run(BOTH if i == 1 else {}, of=spec)]
    text = page(build(found, {}), "grid").split("## Published numbers")[1]
    line = next(line for line in text.splitlines() if line.startswith("| c1"))
    assert "97.50 / \u2014 / \u2014" in line
    assert "| diverged" in line
    assert SAID in text


def test_published_times_stand_beside_ours_with_the_note() -> None:
    times = (CLAIM, Claim(metric="train_seconds", value=9.0))
    specs = [make.spec("grid", case=f"c{i}", claims=times, batch_size=16 + i) for i in range(4)]
    found = [r for i, spec in enumerate(specs) for r in run(BOTH if i == 1 else {}, of=spec)]
    text = page(build(found, {}), "grid").split("Epochs and times")[1]
    assert re.search(r"\| c1 .*9\.00 s / [\d.]+ s\u00b9 / [\d.]+ s\u00b9 \|", text)
    assert f"\u00b9 {SAID}" in text
    few = build(run(BOTH, of=make.spec(claims=(times[1],))), {})
    assert f"another machine, {SAID}" in verdicts(few)


def embedded(rank: int) -> EmbeddingMetrics:
    return make.embedded(rank)


def _recovered(lost: Measured, sound: Measured) -> Measured:
    """A cell that diverged, and whose network gives numbers all the same."""
    assert lost.training
    assert sound.training
    taught = {"assessment": sound.training.assessment, "test": sound.training.test}
    return lost.model_copy(update={"training": lost.training.model_copy(update=taught)})


@pytest.mark.parametrize(
    ("assessments", "lost", "words"),
    [
        (make.confused, None, "**Confusion**"),
        (make.sorted_out, make.sorted_out(auroc=None, average_precision=None, edges=(), normal=(), anomalous=()),
         "**Anomalies**"),
        (embedded, EmbeddingMetrics(neighbours=(), analogies=()), "**Analogies**"),
        (make.located, make.DetectionMetrics(accuracy=None, mean_iou=None, ap50=None), "**Boxes and classes**"),
    ],
    ids=["classes", "anomalies", "words", "boxes"],
)  # fmt: skip
def test_what_the_other_seeds_models_are_worth_is_not_put_together(assessments: Any, lost: Any, words: str) -> None:
    found: list[Any] = [make.proof("torch", "compile")]
    for n in range(1, 6):
        told = assessments() if assessments is make.confused else assessments(n)
        cell = make.measured(number=n, seed=n, taught={"assessment": told})
        found.append(make.diverged(cell, 1, assessment=lost) if n == 2 else cell)
    text = page(build(found, {}))
    assert words not in text
    assert "torch (compile): 1 of 5 seeds diverged (epoch 1), and the outputs are no numbers." in text
    counted = [r if r.outcome == "proof" or r.cell.seed != 2 else _recovered(r, found[1]) for r in found]
    text = page(build(counted, {}))
    assert words in text
    assert "1 of 5 seeds diverged (epoch 1), and what their networks give counts." in text
    whole = [r if r.outcome == "proof" or r.cell.seed != 2 else found[1] for r in found]
    assert words in page(build(whole, {}))


def test_a_stage_that_starts_from_such_weights_says_whose_they_are() -> None:
    spec = make.spec("later", starts_from="digits-mlp")
    told = Divergence(epoch=2, what=What.TRAINING_LOSS, ended="weights")
    given = make.parent(make.spec(), complete=False, diverged=told)
    cells = [make.measured(of=spec, number=1, seed=1, parent=given)]
    document = build([make.proof(of=spec), *cells], {})
    assert "no: it diverged in epoch 2: training loss not finite" in document.pages["studies/later.md"]


def test_inference_that_could_not_be_tuned_for_it_is_told_and_no_accuracy_of_the_other_rounds() -> None:
    entries = [
        {"id": f"{n}-tune-{runner}", "kind": "tune", "cells": [make.cell(runner, mode, n, n).model_dump(mode="json")]}
        for n in range(1, 6)
        for runner, mode in (("torch", "compile"), ("tf", "xla"))
    ]
    plan = {"entries": entries}
    found: list[Any] = [*run({"torch": 1}, (2,))]
    found += [make.tuned("torch", "compile", n, n) for n in (1, 3, 4, 5)]
    for runner, mode in (("torch", "compile"), ("tf", "xla")):
        for n in range(1, 6):
            if runner == "tf" or n == 2:
                cell = make.failed(runner, mode, n, cause=Cause.DIVERGED, reason="diverged in epoch 1")
                at = cell.cell.model_copy(update={"seed": n})
                found.append(cell.model_copy(update={"cell": at, "entry": f"{n}-tune-{runner}"}))
    document = build(found, plan)
    text = page(document).split("## Inference options")[1]
    assert "4 rounds of 5; in the others the weights had diverged" in text
    assert "in 1 of 5 rounds the weights had diverged, so there is no mean" in text
    assert "**tf**, baseline xla: not measured, because the weights had diverged in every round." in text
    assert "97.00 %" not in text
    assert "Inference options" not in section(document, "The answer")


@pytest.mark.parametrize("epoch", [1, 2])
def test_charts_end_a_curve_with_a_cross_and_a_count_and_draw_no_mean_of_survivors(
    drawn: None, monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    figures: list[Any] = []
    real = benchmarks._curves
    monkeypatch.setattr(benchmarks, "_curves", lambda *a: figures.append(real(*a)) or figures[-1])
    build(run({"torch": epoch}, (2, 4)), {})
    (figure,) = figures
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["torch compile, 5 seeds, 2 diverged", "tf xla, 5 seeds"]
    left = figure.axes[0]
    assert [text.get_text() for text in left.texts] == ["2 diverged"]
    crosses = [line for line in left.lines if line.get_marker() == "x"]
    assert [list(line.get_xdata()) for line in crosses] == [[epoch]]
    assert max(left.get_ylim()) > 0.6 * 1.15, "above the curves"
    thick = {line.get_label(): list(line.get_xdata()) for line in left.lines if line.get_label() in names}
    assert thick == {names[0]: [1, 2, 3][: epoch - 1], names[1]: [1, 2, 3]}


def test_where_nothing_was_finite_the_chart_says_that(drawn: None, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Any] = []
    real = benchmarks._curves
    monkeypatch.setattr(benchmarks, "_curves", lambda *a: figures.append(real(*a)) or figures[-1])
    document = build(run(BOTH, range(1, 6)), {})
    assert "training-01-digits-mlp.svg" in document.charts
    assert [[text.get_text() for text in axes.texts] for axes in figures[0].axes] == [["5 diverged"] * 2]


def test_two_runs_side_by_side_do_not_rank_it() -> None:
    first, second = merge(run({}), {}), merge(run({"torch": 1}), {})
    outcomes = {pair.framework_mode.runner: str(pair.outcome) for pair in runs.pairs(first, second)}
    assert f"B: {SAID}" in outcomes["torch"]
    assert "Ratio" in outcomes["tf"]


def test_energy_is_told_with_the_note_and_not_ranked() -> None:
    found = [make.diverged(r, 1) if isinstance(r, Measured) and r.cell.seed == 2 else r for r in make.gpu_run()]
    document = build(found, {})
    for title in ("Energy", "GPU memory", "GPU state"):
        assert "diverged (epoch 1)" in section(document, title), title
    assert "more examples per joule" not in section(document, "Energy")


def test_the_same_results_give_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    found = run({"torch": 1, "tf": 2})
    one, other = build(found, {}), build(list(reversed(found)), {})
    assert one.markdown == other.markdown
    assert one.pages == other.pages
