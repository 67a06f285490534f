"""Published numbers: which of ours stand beside them, and the verdict."""

from __future__ import annotations

import re
from typing import Any

import pytest

import tests.support.results as make
from suite.report.document import build
from suite.report.evidence.comparison import decide, drafts
from suite.report.evidence.merge import merge
from suite.report.evidence.seeds import per_seed, value
from suite.results.records import Scores
from suite.spec.recipe import EarlyStopping


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.report.charts.drawing.svg", lambda figure: b"<svg/>")


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
    wide = published(make.spec(claims=(claim("test_accuracy", 0.1, to=1.0),)), accuracy=0.975)
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


def spread(values: tuple[float, ...], of: Any, field: str = "accuracy") -> str:
    """The section on a spec whose seeds ended in these test scores."""
    known: dict[str, Any] = {"loss": 0.1, "penalty": 0.0, "accuracy": 0.97}
    taught = [{"test": Scores(**{**known, field: value})} for value in values]
    cells = [make.measured("torch", "compile", n, n, of, taught=told) for n, told in enumerate(taught, 1)]
    text = build([make.proof("torch", "compile", of), *cells], {}).markdown
    return text.split("## Published numbers\n")[1].split("\n## ")[0]


COLLAPSED = (0.1, 0.85, 0.1, 0.9, 0.1, 0.87, 0.12, 0.1, 0.11, 0.1)


def test_a_number_within_an_interval_that_holds_everything_is_too_noisy_to_tell_with_the_width() -> None:
    text = spread(COLLAPSED, make.claiming(0.999))
    assert "too noisy to tell" in line(text, "test accuracy")
    assert "reproduced" not in line(text, "test accuracy")
    interval = re.search(r"(\d+\.\d\d) % to (\d+\.\d\d) %, 10 seeds", line(text, "test accuracy"))
    assert interval is not None
    low, high = map(float, interval.groups())
    assert 0 <= low < high <= 100
    width = re.search(r"¹ a new run falls within ± (\S+) points, and a verdict needs ± 1.00 points at most", text)
    assert width is not None
    assert float(width[1]) == pytest.approx((high - low) / 2, abs=0.06)


def test_a_number_that_lies_outside_a_wide_interval_on_one_scale_alone_is_too_noisy_to_tell() -> None:
    seeds = (0.1028, 0.4583, 0.1028, 0.4667, 0.7417, 0.7472, 0.4306, 0.7389, 0.4528, 0.7833)
    text = spread(seeds, make.claiming(0.999))
    assert "% to 98.52 %, 10 seeds | too noisy to tell¹" in line(text, "test accuracy")
    assert "at most; on the plain scale the interval holds the number" in text


def test_a_number_outside_a_wide_interval_is_not_reproduced() -> None:
    text = spread((0.6, 0.65, 0.7, 0.68, 0.62), make.claiming(0.999))
    assert "not reproduced" in line(text, "test accuracy")


def test_a_claim_may_state_the_half_width_that_it_takes_and_the_report_says_so() -> None:
    noisy = (0.95, 0.96, 0.97, 0.98, 0.99)
    own = make.spec(claims=(claim("test_accuracy", 0.98, half_width=0.06),))
    text = spread(noisy, own)
    assert "**reproduced**" in line(text, "test accuracy")
    assert "¹ the claim itself allows intervals of up to ± 6.00 points" in text
    strict = make.spec(claims=(claim("test_accuracy", 0.98, half_width=0.001),))
    assert "a verdict needs ± 0.100 points at most" in spread(noisy, strict)
    assert "too noisy to tell" in line(spread(noisy, make.claiming(0.98)), "test accuracy")


@pytest.mark.parametrize(
    ("losses", "stated", "verdict"),
    [
        ((0.50, 0.51, 0.49, 0.50, 0.51), 0.5, "**reproduced**"),  # within 10 % of the value
        ((0.050, 0.054, 0.046, 0.050, 0.053), 0.05, "**reproduced**"),  # within 0.02
        ((0.50, 0.56, 0.44, 0.50, 0.55), 0.5, "too noisy to tell"),
        ((0.50, 0.56, 0.44, 0.50, 0.55), 1.5, "not reproduced"),
    ],
)
def test_a_loss_is_judged_by_a_tenth_of_its_value(losses: tuple[float, ...], stated: float, verdict: str) -> None:
    text = spread(losses, make.spec(claims=(claim("test_loss", stated),)), "loss")
    assert verdict in line(text, "test loss")
    assert ("a verdict needs ± 0.0500 at most" in text) == (verdict == "too noisy to tell")


def test_no_bound_of_a_loss_is_negative() -> None:
    text = spread((0.001, 0.0002, 0.009, 0.02, 0.0005), make.spec(claims=(claim("test_loss", 0.004),)), "loss")
    assert re.search(r"\| +0 to 0\.0\d+, 5 seeds", line(text, "test loss"))


def test_an_epoch_of_stopping_lies_within_the_schedule() -> None:
    of = stopping(claims=(claim("stopped_at_epoch", 16),))
    cells = [
        make.measured("torch", "compile", n, n, of, epochs=stop, taught={"stopped_early": True, "best_epoch": 1})
        for n, stop in enumerate((8, 30, 16, 49, 12), 1)
    ]
    text = build([make.proof("torch", "compile", of), *cells], {}).markdown
    told = line(text.split("## Published numbers")[1], "stopped at epoch")
    assert re.search(r"\| +1\.\d\d to (49|50)\.\d, 5 seeds", told)
    assert "too noisy to tell" in told
    assert re.search(r"within ± 2\d\.\d epochs, and a verdict needs ± 1\.60 epochs at most", text)


def test_a_choice_that_is_too_noisy_to_tell_contradicts_nothing_and_is_named() -> None:
    assumption = {"about": "seeds", "chosen": "ours", "alternative": "other"}
    mine, other = (
        make.spec(case=name, claims=(claim("test_accuracy", 0.97),), assumptions=(make.assumption(**assumption),))
        for name in ("own", "other")
    )
    results: list[Any] = []
    for of, values in ((mine, (0.97, 0.971, 0.969, 0.97, 0.97)), (other, (0.9, 0.94, 0.97, 0.99, 0.92))):
        results.append(make.proof("torch", "compile", of))
        results += [make.measured("torch", "compile", n, n, of, accuracy=v) for n, v in enumerate(values, 1)]
    text = build(results, {}).markdown.split("## Published numbers\n")[1].split("\n## ")[0]
    first, second = (row for row in text.splitlines() if "| test accuracy " in row)
    assert "too noisy to tell" in (first if "/other" in first else second)
    assert "**reproduced**" in (first if "/own" in first else second)
    assert "the other choice is too noisy to tell: seeds: ours" in text


def test_many_published_numbers_are_counted_by_study_in_the_report() -> None:
    claims = tuple(claim("test_accuracy", 0.975 + i / 1e4) for i in range(41))
    text = published(make.spec(claims=claims))
    assert re.search(r"\| \[digits-mlp\]\(studies/digits-mlp\.md\) +\| +41 \| \d+ too noisy to tell", text)
    assert "97.51 %" not in text


def test_a_record_without_assessment_or_parent_still_makes_claims() -> None:
    """Schemas 1 and 2 know neither."""
    evidence = merge([make.measured(schema_version=1)], {})
    assert decide(drafts(evidence), 1)[0].question.kind == "training"
    assert evidence.measured[0].parent is None
