"""Reports of runs that take speed in turns, and what is learnt apart from it."""

from __future__ import annotations

import re
from typing import Any

import pytest

import tests.support.results as make
import tests.support.turns as turned
from suite.compare import runs
from suite.report.document import Document, build
from suite.report.evidence.comparison import NotRanked, decide, drafts, judged
from suite.report.evidence.gaps import gaps, lacking
from suite.report.evidence.merge import Evidence, FrameworkMode, merge
from suite.results.identity import Verdict
from suite.results.records import Timed
from suite.stats import Ratio, TooFew

pytestmark = pytest.mark.usefixtures("undrawn")
LOOKS = {"looks": [5, 8, 12], "half_width": 1.05}


def evidence(found: list[Any], rounds: int = 12, **profile: Any) -> Evidence:
    return merge(found, turned.planned(found, rounds, **{**LOOKS, **profile}))


def rows(of: Evidence) -> Any:
    asked = drafts(of)
    return decide(asked, judged(asked))


def outcomes(of: Evidence) -> dict[str, Any]:
    return {str(row.question): row.pairings[0].outcome for row in rows(of)}


def document(found: list[Any], rounds: int = 12, **profile: Any) -> Document:
    return build(found, turned.planned(found, rounds, **{**LOOKS, **profile}))


def section(of: Document, title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", of.markdown, re.DOTALL | re.MULTILINE)
    assert found, f"no section {title}"
    return found[1]


def head(of: Document) -> str:
    return of.markdown.split("## The answer")[0]


def replaced(found: list[Any], where: Any, **fields: Any) -> list[Any]:
    return [r.model_copy(update=fields) if isinstance(r, Timed) and where(r) else r for r in found]


def test_a_whole_run_is_ranked_and_nothing_is_missing() -> None:
    found = turned.run()
    told = document(found)
    assert not told.failed
    assert [row[-1] for row in told.answer[1:]] == ["torch 1.30x faster (1.27 to 1.33)"] * 3
    assert section(told, "Failed and unsupported").strip() == "None."
    assert "None: every number is proven." in section(told, "Not comparable")


def test_ratios_are_those_of_the_least_disturbed_laps() -> None:
    """The machine is slow in two of three laps, from which tf suffers more: the medians alone say 1.8."""
    found = [make.proof("torch", "compile"), make.proof("tf", "graph")]
    for number in range(1, 6):
        found.append(turned.timed("torch", "compile", number, slow=1.0, lapse=(1.0, 1.4, 1.3)))
        found.append(turned.timed("tf", "graph", number, slow=1.2, lapse=(2.0, 1.0, 1.9)))
    ratio = outcomes(merge(found, {}))["training"]
    assert isinstance(ratio, Ratio)
    assert ratio.value == pytest.approx(1.2, rel=1e-6)
    pieces = replaced(found, lambda r: True, spans=True)
    assert outcomes(merge(pieces, {}))["training"].value == pytest.approx(1.2, rel=1e-6), "they need be no neighbours"
    assert "did not fit side by side" in head(build(pieces, {}))
    assert "did not fit side by side" not in head(build(found, {}))


def test_timed_and_measured_cells_are_no_doubles_of_each_other() -> None:
    both = [turned.timed("torch", "compile", 1), turned.beside("torch", "compile", 1)]
    assert both[0].cell == both[1].cell
    found = merge([*both, turned.timed("torch", "compile", 1, control=True)], {})
    assert (len(found.timed), len(found.measured), len(found.controls), found.doubles) == (1, 1, 1, ())
    again = merge([both[0], both[0].model_copy(update={"seconds": 1.0})], {})
    assert len(again.timed) == len(again.doubles) == 1


def test_times_of_trainings_are_no_speed() -> None:
    found = turned.run()
    mine = evidence(found)
    group = next(iter(mine.groups))
    assert mine.learnt[group].keys() == {FrameworkMode("torch", "compile"), FrameworkMode("tf", "graph")}
    alone = [r for r in found if r.outcome in ("measured", "proof")]
    assert rows(merge(alone, {})) == (), "they would be 50 times as slow"
    assert "287 ms" in section(document(found), "Training"), "1,437 images of 0.2 ms"


def test_a_control_is_never_ranked_and_its_ratio_is_printed() -> None:
    found = turned.run()
    control = [turned.timed("torch", "compile", n, slow=0.5, control=True) for n in range(1, 6)]
    assert outcomes(evidence([*found, *control])) == outcomes(evidence(found))
    told = document([*found, *control])
    assert "| digits-mlp  | torch (compile) | training" in section(told, "The instrument")
    assert "0.500 (0.49" in section(told, "The instrument")
    assert "**The control fails" in section(told, "The instrument")
    assert "**The control fails" in head(told)


def test_a_control_that_holds_one_warns_of_nothing_and_few_rounds_have_no_interval() -> None:
    found = turned.run()
    near = [turned.timed("torch", "compile", n, slow=turned.slowness("torch", "compile", n), control=True)
            for n in range(1, 6)]  # fmt: skip
    told = document([*found, *near])
    assert "1.000 (1.000 to 1.000)" in section(told, "The instrument")
    assert "The control fails" not in told.markdown
    few = section(document([*found, *near[:3]]), "The instrument")
    assert "too few rounds: 3 of 5" in few
    assert "no control" in section(document(found), "The instrument")


def test_looks_widen_intervals() -> None:
    one, three = (outcomes(evidence(turned.run(), **more))["training"] for more in ({"looks": []}, {}))
    assert (one.confidence, three.confidence) == (pytest.approx(1 - 0.05 / 3), pytest.approx(1 - 0.05 / 9))
    assert one.value == three.value
    assert three.low < one.low < one.high < three.high
    assert "may be decided at 3 looks" in section(document(turned.run()), "The answer")


def test_rounds_after_a_look_wait_for_the_next_one() -> None:
    for rounds, counted in ((5, 5), (7, 5), (8, 8), (11, 8), (12, 12)):
        assert {o.rounds for o in outcomes(evidence(turned.run(rounds=rounds))).values()} == {counted}
    late = evidence(turned.run(rounds=7), looks=[9, 12])
    assert {o.rounds for o in outcomes(late).values()} == {7}, "before the first look all rounds count"
    few = outcomes(evidence(turned.run(rounds=4)))
    assert set(few.values()) == {TooFew("rounds", 4, 5)}


def test_a_benchmark_that_was_decided_is_not_missing_in_later_rounds() -> None:
    assert not lacking(evidence(turned.run(rounds=5)))
    assert not gaps(evidence(turned.run(rounds=8))).found
    assert {p.cell.round for p in lacking(evidence(turned.run(rounds=4)))} == {5}
    assert {p.cell.round for p in lacking(evidence(turned.run(rounds=6)))} == {7, 8}, "it went on"
    assert {p.cell.round for p in lacking(evidence(turned.run(rounds=5), looks=[]))} == set(range(6, 13))


def test_a_cell_that_is_missing_before_a_look_is_missed() -> None:
    found = turned.run()
    gone = [r for r in found if not (isinstance(r, Timed) and r.cell.mode == "xla" and r.cell.round == 3)]
    plan = turned.planned(found, 12, **LOOKS)
    mine = merge(gone, plan)
    assert [(p.cell.mode, p.cell.round) for p in lacking(mine)] == [("xla", 3)]
    answer = build(gone, plan).answer[1]
    assert "(graph)" in answer[3], "a mode that lacks a round is not the best one"
    assert build(gone, plan).failed


def test_a_failure_in_turns_is_none_of_the_training() -> None:
    found = turned.run()
    kept = [r for r in found if not (isinstance(r, Timed) and r.cell.runner == "tf")]
    lost = [
        make.failed("tf", mode, n, entry=turned.entry(n, make.spec())) for n in range(1, 6) for mode in ("graph", "xla")
    ]
    mine = merge([*kept, *lost], turned.planned(found, 12, **LOOKS))
    assert len(mine.failed) == 10, "the trainings of the same cells did not take their place"
    assert len(mine.measured) == 10
    told = build([*kept, *lost], turned.planned(found, 12, **LOOKS))
    assert told.answer[1][2:] == ("5,000 images/s (compile)", "crashed", "not ranked: tf crashed")
    assert "| tf" in section(told, "Accuracy")


def test_a_training_that_failed_is_missing_in_no_speed() -> None:
    found = turned.run()
    lost = next(r for r in found if r.outcome == "measured" and r.cell.runner == "tf" and r.cell.round == 5)
    plan = turned.planned(found, 12, **LOOKS)
    failed = make.failed("tf", "graph", 5, entry=lost.entry).model_copy(update={"cell": lost.cell})
    told = build([*(r for r in found if r is not lost), failed], plan)
    assert all("torch 1.30x faster" in row[-1] for row in told.answer[1:])
    assert "crashed, training" in section(told, "Failed and unsupported")
    assert told.failed


def test_wrong_timed_outputs_are_not_ranked_and_said_first() -> None:
    found = replaced(turned.run(), lambda r: r.cell.mode == "compile" and r.cell.round == 2,
                     audits=turned.timed(right=False).audits)  # fmt: skip
    told = document(found)
    assert "**Timed outputs are wrong: torch (compile) in digits-mlp." in head(told)
    assert all("(eager)" in row[2] for row in told.answer[1:]), "another mode of the framework is right"
    assert "torch: 9 of 10 right" in section(told, "The instrument")
    assert "its timed outputs are wrong" in section(told, "Not comparable")
    everyone = replaced(found, lambda r: r.cell.runner == "torch", audits=turned.timed(right=False).audits)
    assert {type(o) for o in outcomes(evidence(everyone)).values()} == {NotRanked}
    assert document(everyone).failed
    assert "torch: 10 of 10 right" in section(document(turned.run()), "The instrument")


def test_the_cost_of_a_call_is_told_and_bold_above_one_percent() -> None:
    """A call of training takes 256 ms here: 1,280 examples of 0.2 ms."""
    cheap = section(document(turned.run(own=1_000_000)), "The instrument")
    assert "0.39 % (torch)" in cheap
    assert "**" not in cheap.split("What a call of training costs")[1]
    assert re.search(r"\*\*2\.0 % \(torch\)\*\*", section(document(turned.run(own=5_000_000)), "The instrument"))


def test_an_unproven_cell_in_turns_is_not_ranked() -> None:
    found = [r for r in turned.run() if r.outcome != "proof"]
    assert {type(o) for o in outcomes(evidence(found)).values()} == {NotRanked}
    proofs = [make.proof(r, m, verdict=Verdict.UNPROVEN) for r, ms in turned.MODES.items() for m in ms]
    assert "unproven" in outcomes(evidence([*found, *proofs]))["training"].word


def test_a_training_that_diverged_leaves_the_speed_of_training_unranked_and_that_alone() -> None:
    found = [make.diverged(r) if r.outcome == "measured" and r.cell.runner == "tf" else r for r in turned.run()]
    told = outcomes(evidence(found))
    assert isinstance(told["training"], NotRanked)
    assert isinstance(told["latency, batch 1"], Ratio)


def test_the_time_to_a_target_is_epochs_learnt_at_the_pace_of_turns() -> None:
    of = make.spec(target_accuracy=0.6)
    told = section(document(turned.run(of)), "Training")
    line, eager = (next(line for line in told.splitlines() if mode in line) for mode in ("compile", "eager"))
    assert "60.00 %: 287 ms" in line, "one epoch, of 1,437 images"
    assert "60.00 %: 489 ms" in eager, "the mode that was not trained learns the same, at its own pace"


def test_a_first_step_that_had_company_counts_only_where_none_was_alone() -> None:
    crowded = replaced(turned.run(), lambda r: r.cell.round > 1, built_alone=False, first_step_ns=90_000_000_000)
    assert "7.00 s" in section(document(crowded), "Training")
    assert "90.0 s" not in section(document(crowded), "Training")
    never = replaced(crowded, lambda r: True, built_alone=False, first_step_ns=90_000_000_000)
    assert "90.0 s" in section(document(never), "Training")


def test_percentiles_are_those_of_single_queries() -> None:
    blocks = document(turned.run(rounds=12))
    assert "blocks of queries were timed, not single ones" in section(blocks, "Latency"), "72 blocks are no queries"
    queries = tuple(range(200_000, 200_100))
    asked = [b.model_copy(update={"queries_ns": queries if b.kind == "latency" else ()}) for b in turned.timed().blocks]
    single = section(
        document(replaced(turned.run(), lambda r: r.cell.runner != "null", blocks=tuple(asked))), "Latency"
    )
    assert "(≤ 200 µs)" in single


def test_published_times_are_taken_from_turns() -> None:
    of = make.spec(claims=({"metric": "seconds_per_epoch", "value": 3.0},))
    told = section(document(turned.run(of)), "Published numbers")
    assert "0.287" in told, told


def test_two_runs_of_one_kind_are_compared_and_two_of_different_kinds_are_not() -> None:
    first = merge(turned.run(), {})
    slower = merge(turned.run(draw=lambda r, m, n: 2 * turned.slowness(r, m, n)), {})
    assert {round(p.outcome.value, 2) for p in runs.pairs(first, slower) if isinstance(p.outcome, Ratio)} == {2.0}
    alone = merge(make.run(modes=turned.MODES), {})
    assert {type(p.outcome) for p in runs.pairs(first, alone)} == {NotRanked}


def test_the_same_results_give_the_same_bytes_in_whatever_order() -> None:
    found = [*turned.run(), *(turned.timed("torch", "compile", n, control=True) for n in range(1, 6))]
    plan = turned.planned(found, 12, **LOOKS)
    assert build(found, plan).markdown == build(list(reversed(found)), plan).markdown


def test_energy_is_that_of_the_trainings() -> None:
    """Nothing is metered in turns; the times of the trainings are no samples, and their joules are."""
    modes = (("torch", "compile"), ("tf", "graph"))
    found: list[Any] = [make.proof(*mode, device="cuda") for mode in modes]
    for number in range(1, 6):
        for (runner, mode), watts in zip(modes, (300.0, 400.0), strict=True):
            trace = make.metered(watts * (1 + 0.001 * number), base=500 << 20)
            found.append(turned.timed(runner, mode, number, device="cuda"))
            found.append(turned.beside(runner, mode, number, gpu=trace, device="cuda"))
    told = section(build(found, {}), "Energy")
    assert "torch 1.33x more examples per joule" in told
    assert len(re.findall(r"^\| digits-mlp +\| (?:torch|tf) +\| \w+ +\| training ", told, re.MULTILINE)) == 2
    unproven = section(build([r for r in found if r.outcome != "proof"], {}), "Energy")
    assert not re.search(r"\| training +\| [\d.]+ .J", unproven)


def test_before_there_is_an_interval_the_answer_says_how_the_rounds_stand() -> None:
    """As a terminal shows it while a run goes on: it is no ranking."""
    told = document(turned.run(rounds=3))
    assert {row[-1] for row in told.answer[1:]} == {"not ranked yet, 3 of 5 rounds: torch / tf 1.30"}
    slow = [r.model_copy(update={"spans": True}) if isinstance(r, Timed) else r for r in turned.run(rounds=1)]
    assert {row[-1] for row in document(slow).answer[1:]} == {"not ranked yet, 1 of 5 rounds: torch / tf 1.29"}


def test_the_accuracy_of_speed_alone_is_a_dash_with_the_reason() -> None:
    text = build(turned.run(make.spec(speed_alone=True), trainings=0), {}).markdown
    part = text[text.index("## Accuracy") :]
    for runner in ("torch", "tf"):
        assert re.search(rf"digits-mlp +\| {runner}(?: +\| +—¹){{6}} +\|\n", part), part[:1500]
    assert "the benchmark asks for its speed alone: its data hold nothing to learn" in part
