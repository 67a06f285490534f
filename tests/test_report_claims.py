"""Published numbers: which of ours stand beside them, and the verdict."""

from __future__ import annotations

import re
from typing import Any

import pytest

import tests.results as make
from suite.report import build
from suite.report.claims import per_seed, value
from suite.report.compare import decide, drafts
from suite.report.merge import merge
from suite.result import Scores
from suite.spec import EarlyStopping


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.report.drawing.svg", lambda figure: b"<svg/>")


def claim(metric: str, number: float, **fields: Any) -> make.Claim:
    return make.Claim.model_validate({"metric": metric, "value": number, **fields})


def published(of: Any, taught: dict[str, Any] | None = None, rounds: int = 5, **fields: Any) -> str:
    """The report's section on a spec that torch ran to its end."""
    cells = [make.measured("torch", "compile", n, n, of, taught=taught, **fields) for n in range(1, rounds + 1)]
    text = build([make.proof("torch", "compile", of), *cells], {}).markdown
    return text.split("## Published numbers\n")[1].split("\n## ")[0]


def line(text: str, metric: str) -> str:
    return next(row for row in text.splitlines() if f"| {metric} " in row)


def scored(loss: float, penalty: float | None) -> Scores:
    return Scores(loss=loss, penalty=penalty, accuracy=0.97)


def test_a_loss_is_judged_with_its_penalty_where_the_spec_has_l2_and_without_where_not() -> None:
    both = scored(0.08, 0.03)
    for l2, found in ((0.001, 0.11), (0.0, 0.08)):
        cell = make.measured(of=make.spec(l2=l2), taught={"test": both})
        assert value(cell, "test_loss") == pytest.approx(found)
    unknown = make.measured(of=make.spec(l2=0.001), taught={"test": scored(0.08, None)})
    assert value(unknown, "test_loss") is None
    assert value(unknown, "test_loss", penalised=False) == value(cell, "test_loss") == 0.08
    spec = make.spec(l2=0.001, claims=(claim("test_loss", 0.11),))
    text = published(spec, {"test": both})
    assert "0.1100 to 0.1100, 5 seeds" in line(text, "test loss")
    assert text.count("Keras reports a loss with its L2 penalty") == 1
    assert "Keras" not in published(make.claiming())


@pytest.mark.parametrize(
    ("stated", "penalty", "verdict"),
    [
        (0.11, 0.03, "depends on an assumption"),
        (0.08, 0.03, "depends on an assumption"),
        (0.5, 0.03, "not reproduced"),
        (0.08, 0.0, "**reproduced**"),
    ],
)
def test_a_verdict_on_a_loss_that_hangs_on_the_penalty_says_so(stated: float, penalty: float, verdict: str) -> None:
    spec = make.spec(l2=0.001, claims=(claim("test_loss", stated),))
    text = published(spec, {"test": scored(0.08, penalty)})
    assert verdict in line(text, "test loss")
    hangs = "under losses: with the L2 penalty, as Keras reports them; not so under the alternative" in text
    assert hangs == (verdict == "depends on an assumption")


def test_the_seconds_of_training_are_the_sum_of_its_epochs_and_never_judged() -> None:
    cell = make.measured()
    assert cell.training is not None
    seconds = sum(e.seconds_ns for e in cell.training.epochs) / 1e9
    assert value(cell, "train_seconds") == pytest.approx(seconds)
    text = line(published(make.spec(claims=(claim("train_seconds", 0.0001),))), "train seconds")
    assert "shown, never judged" in text
    assert re.search(r"\| +0\.000100 s +\| torch \(compile\) +\| +0\.9\d+ s \|", text)


def stopping(**fields: Any) -> Any:
    rule = EarlyStopping(patience=5)
    return make.spec(early_stopping=rule, validation_fraction=0.1, epochs=50, **fields)


def test_the_epoch_of_an_early_stop_is_judged() -> None:
    claims = (claim("stopped_at_epoch", 3),)
    ended = {"stopped_early": True, "best_epoch": 1}
    assert "**reproduced**" in line(published(stopping(claims=claims), ended), "stopped at epoch")
    late = (claim("stopped_at_epoch", 10),)
    assert "not reproduced" in line(published(stopping(claims=late), ended), "stopped at epoch")
    assert "not run far enough" in line(published(stopping(claims=claims)), "stopped at epoch")


def test_an_epoch_of_stopping_is_not_testable_where_nothing_stops() -> None:
    text = published(make.spec(claims=(claim("stopped_at_epoch", 3),)))
    assert "not testable" in line(text, "stopped at epoch")
    assert "the benchmark does not stop early" in text


@pytest.mark.parametrize("metric", ["latency_per_image_reduction", "test_accuracy"])
def test_an_untestable_claim_is_never_judged_and_says_why(metric: str) -> None:
    spec = make.spec(claims=(claim(metric, 0.975, untestable="it names no tuning"),))
    text = published(spec)
    words = metric.replace("_", " ")
    assert "not testable" in line(text, words)
    assert "97.50 %" in line(text, words)
    assert "it names no tuning" in text
    assert text.count(f"| {words} ") == 1


def test_a_published_range_is_met_anywhere_in_it() -> None:
    narrow = published(make.spec(claims=(claim("test_accuracy", 0.1, to=0.5),)))
    assert "not reproduced" in line(narrow, "test accuracy")
    wide = published(make.spec(claims=(claim("test_accuracy", 0.1, to=1.0),)))
    assert "**reproduced**" in line(wide, "test accuracy")
    assert "10.00 % to 100.00 %" in wide


def test_few_seeds_show_their_mean_without_a_verdict() -> None:
    text = line(published(make.claiming(0.975), rounds=2), "test accuracy")
    assert "not run far enough" in text
    assert re.search(r"\| +9\d\.\d\d % \| +—", text)


def test_a_stage_whose_start_was_cut_short_is_not_run_far_enough() -> None:
    spec = make.spec("digits-stage", starts_from="digits-mlp", claims=(claim("test_accuracy", 0.975),))
    for complete, words in ((True, "**reproduced**"), (None, "**reproduced**"), (False, "not run far enough")):
        text = published(spec, parent=make.parent(make.spec(), complete=complete))
        assert words in line(text, "test accuracy")
        assert ("from weights that were not trained to the end" in text) == (complete is False)


def test_cells_from_a_whole_start_are_taken_before_those_from_a_short_one() -> None:
    spec = make.spec("digits-stage", starts_from="digits-mlp")
    good = make.measured(of=spec, accuracy=0.9, parent=make.parent(make.spec()))
    bad = make.measured(of=spec, number=2, seed=2, accuracy=0.1, parent=make.parent(make.spec(), complete=False))
    seeds = per_seed([bad, good], "test_accuracy")
    assert seeds is not None
    assert (dict(seeds.values), seeds.complete) == ({1: 0.9}, True)


def test_many_published_numbers_are_counted_by_study_in_the_report() -> None:
    claims = tuple(claim("test_accuracy", 0.975 + i / 1e4) for i in range(41))
    text = published(make.spec(claims=claims))
    assert re.search(r"\| \[digits-mlp\]\(studies/digits-mlp\.md\) +\| +41 \| \d+ reproduced", text)
    assert "97.51 %" not in text


def test_a_record_without_assessment_or_parent_still_makes_claims() -> None:
    """Schemas 1 and 2 know neither."""
    evidence = merge([make.measured(schema_version=1)], {})
    assert decide(drafts(evidence), 1)[0].question.kind == "training"
    assert evidence.measured[0].parent is None
