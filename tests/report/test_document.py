"""What the report says of results, and that it says nothing it cannot know."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from markdown_it import MarkdownIt

import tests.support.results as make
from suite.errors import RunError
from suite.report import writer
from suite.report.charts import drawing
from suite.report.charts.drawing import COLOURS, OTHERS, colour
from suite.report.document import Document, build
from suite.report.evidence.merge import in_order
from suite.results import records
from suite.results.identity import Check, Verdict
from suite.results.records import Cause
from suite.spec.recipe import Assumption
from suite.spec.resolved import digest

pytestmark = pytest.mark.usefixtures("undrawn")


def section(document: Document, title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", document.markdown, re.DOTALL | re.MULTILINE)
    assert found, f"no section {title}"
    return found[1]


def row(document: Document, question: str = "training") -> tuple[str, ...]:
    return next(line for line in document.answer[1:] if line[1].startswith(question))


def few(results: Iterable[Any]) -> list[Any]:
    """Without the modes that a test is not about."""
    return [r for r in results if f"{r.cell.runner}/{r.cell.mode}" not in ("torch/eager", "tf/eager", "tf/graph")]


RUN = few(make.run())
WHOLE = build(RUN, {})


def but(**changed: Any) -> list[Any]:
    """The run with one cell of torch in round 1 changed."""
    return [
        r.model_copy(update=changed) if r.cell.runner == "torch" and r.cell.round == 1 else r for r in RUN
    ]  # fmt: skip


def test_the_answer_comes_first_and_names_best_modes_with_an_interval() -> None:
    assert WHOLE.answer[0] == ("benchmark", "question", "torch", "tf", "verdict")
    assert [line[1] for line in WHOLE.answer[1:]] == ["training", "latency, batch 1", "throughput, batch 256"]
    assert re.fullmatch(r"[\d,]+ images/s \(compile\)", row(WHOLE)[2])
    assert re.fullmatch(r"torch 1\.\d\dx faster \(1\.\d\d to 1\.\d\d\)", row(WHOLE)[4])
    assert WHOLE.markdown.index("## The answer") < WHOLE.markdown.index("## Identity")
    assert "3 comparisons were made" in section(WHOLE, "The answer")
    assert not WHOLE.failed


def test_the_same_results_give_the_same_bytes_in_whatever_order(drawn: None) -> None:
    results = [*make.run(), *RUN[:3], make.failed(number=9), make.failed("tf", "xla", 9)]
    documents = []
    for seed in range(3):
        random.Random(seed).shuffle(results)
        documents.append(build(results, {"notes": ["a note"]}))
    assert documents[0] == documents[1] == documents[2]
    assert documents[0].charts


def test_a_frameworks_colour_is_its_own_in_every_chart() -> None:
    """Whatever it is compared with; two in one chart never share one."""
    assert {colour(token, others) for token in ("torch",) for others in ((), ("torch", "tf"), ("toy", "torch"))} == {
        COLOURS["torch"]
    }
    assert colour("toy", ("toy",)) == colour("toy", ("torch", "toy")) == colour("toy", ("tf", "torch", "toy", "null"))
    assert colour("toy", ("toy",)) not in COLOURS.values()
    several = [f"framework{i}" for i in range(len(OTHERS))]
    assert len({colour(token, several) for token in several}) == len(several)
    assert colour("one more", [*several, "one more"]) in OTHERS


def test_frameworks_come_in_one_order_everywhere() -> None:
    assert in_order(("null", "toy", "jax", "tf", "reference", "torch")) == [
        "torch",
        "tf",
        "jax",
        "toy",
        "null",
        "reference",
    ]


def test_charts_are_svg_without_date_in_the_colours_of_the_frameworks() -> None:
    assert set(WHOLE.charts) == {"ratios.svg", "training-01-digits-mlp.svg", "latency-01-digits-mlp.svg"}
    for name, svg in WHOLE.charts.items():
        text = svg.decode()
        assert ET.fromstring(text).tag.endswith("svg")
        assert "<dc:date>" not in text
        assert f"charts/{name}" in WHOLE.markdown
        assert COLOURS["torch"].lower() in text.lower()
    assert COLOURS["tf"].lower() in WHOLE.charts["latency-01-digits-mlp.svg"].decode().lower()


def test_the_title_of_a_chart_stays_within_it(drawn: None) -> None:
    made = drawing.figure(3, "W" * 48 + "/case: styles of execution, dynamic first; shorter is faster")
    axes = made.add_subplot()
    drawing.svg(made)
    title = next(text for text in made.texts if text.get_text() == made.get_suptitle()).get_window_extent()
    assert title.x1 <= made.bbox.x1
    assert axes.get_window_extent().y1 < title.y0


def test_four_rounds_are_not_ranked_and_are_no_failure() -> None:
    document = build([r for r in RUN if r.cell.round < 5], {})
    assert row(document)[4] == "not ranked: too few rounds: 4 of 5"
    assert "ratios.svg" not in document.charts
    assert not document.failed


def assert_not_ranked(document: Document, reason: str) -> None:
    assert row(document)[4].startswith("not ranked: torch ")
    assert len(row(document)[4]) < 60, "a few words"
    assert any(": torch " in note and reason in note for note in document.notes)
    assert reason in section(document, "The answer").replace("\\", "")
    counted = r"1 of 1 benchmark (lacks some numbers|has no valid number): .*\(torch "
    assert re.search(counted, document.markdown.split("## The answer")[0])
    assert "faster" not in section(document, "The answer").split("How to read it")[0]
    assert document.failed


def test_an_unproven_number_is_printed_apart_with_its_first_divergence_and_never_ranked(drawn: None) -> None:
    results = [
        make.proof(verdict=Verdict.UNPROVEN) if r.outcome == "proof" and r.cell.runner == "torch" else r for r in RUN
    ]
    document = build(results, {})
    assert_not_ranked(document, "unproven: gradients float64: dense_1/kernel is off by 5.0e-01")
    assert re.search(r"torch +\| compile +\| training +\| +[\d,]+ images/s \|", section(document, "Not comparable"))
    assert "**unproven**" in section(document, "Identity")
    assert COLOURS["torch"].lower() not in document.charts["latency-01-digits-mlp.svg"].decode().lower()


def test_without_a_proof_nothing_is_ranked() -> None:
    assert_not_ranked(build([r for r in RUN if r.outcome != "proof"], {}), "the gate has not run")


def test_a_gate_that_failed_is_named() -> None:
    results = [r for r in RUN if not (r.outcome == "proof" and r.cell.runner == "torch")]
    document = build([*results, make.failed(number=0, reason="exit status 7")], {})
    assert_not_ranked(document, "the gate crashed: exit status 7")


def test_a_cell_measured_on_other_data_than_its_spec_names_is_not_proven() -> None:
    digests = make.digests(make.spec(), 1).model_copy(update={"dataset": digest("other")})
    assert_not_ranked(build(but(digests=digests), {}), "a data set other than its spec names")


def test_frameworks_that_drew_other_examples_are_not_compared() -> None:
    mine = make.measured().training
    assert mine is not None
    document = build(but(training=mine.model_copy(update={"examples": digest("other pixels")})), {})
    assert row(document)[4] == "not ranked: in round 1 under seed 1 not the same drawn examples"


@pytest.mark.parametrize(
    ("field", "words"), [("weights", "initial weights"), ("order", "batch order"), ("spec", "spec")]
)
def test_frameworks_whose_digests_disagree_are_not_compared(field: str, words: str) -> None:
    digests = make.digests(make.spec(), 1).model_copy(update={field: digest("other")})
    document = build(but(digests=digests), {})
    reason = f"in round 1 under seed 1 not the same {words}"
    assert row(document)[4] == f"not ranked: {reason}"
    assert re.search(rf"\| torch with tf +\|.*{reason}", section(document, "Not comparable"))
    assert f"torch (compile) and tf (xla) not tested: {reason}" in section(document, "Accuracy")
    assert document.failed


def renamed(results: list[Any], **fields: Any) -> list[Any]:
    """Measured cells under another spec than that of the proofs, with its digests."""
    other = make.spec("other-name", **fields)
    found = []
    for r in results:
        cell = r.cell.model_copy(update={"spec": other.id})
        digests = make.digests(other, r.cell.seed)
        changed = r.model_copy(update={"spec": other, "cell": cell, "digests": digests})
        found.append(r if r.outcome == "proof" else changed)
    return found


def test_a_proof_covers_every_spec_that_computes_the_same() -> None:
    alike = build(renamed(RUN, epochs=7), {})
    assert "faster" in row(alike)[4]
    lines = [line for line in section(alike, "Identity").splitlines() if "| identical" in line]
    assert len(lines) == 2
    assert all(line.startswith("| digits-mlp, other-name") for line in lines)
    unlike = build(renamed(RUN, l2=0.1), {})
    assert row(unlike)[2:] == ("gate not run", "gate not run", "not ranked: torch gate not run, tf gate not run")
    assert "other-name" not in section(unlike, "Identity")


def test_what_a_cell_computes_is_taken_from_its_spec_and_not_from_the_digest_that_it_states() -> None:
    forged = []
    for r in renamed(RUN, l2=0.1):
        digests = r.digests.model_copy(update={"spec": make.spec().digest})
        forged.append(r.model_copy(update={"digests": digests}))
    assert row(build(forged, {}))[2] == "gate not run"


def test_an_unproven_computation_is_unproven_under_every_name() -> None:
    results = [
        make.proof(verdict=Verdict.UNPROVEN) if r.outcome == "proof" and r.cell.runner == "torch" else r
        for r in renamed(RUN, epochs=7)
    ]
    assert_not_ranked(build(results, {}), "unproven: gradients float64")


def test_a_proof_of_deterministic_algorithms_covers_no_others() -> None:
    settled = make.environment("torch", settings={"deterministic": "on"})
    assert_not_ranked(build(but(environment=settled), {}), "another setting of deterministic algorithms")


def test_the_gates_failure_is_told_of_every_spec_that_it_would_have_covered() -> None:
    results = [r for r in renamed(RUN, epochs=7) if not (r.outcome == "proof" and r.cell.runner == "torch")]
    document = build([*results, make.failed(number=0, reason="exit status 7")], {})
    assert_not_ranked(document, "the gate crashed: exit status 7")


def test_frameworks_that_started_from_different_parents_are_not_compared() -> None:
    stage = make.spec("digits-stage", starts_from="digits-mlp")
    results = [
        r.model_copy(update={"parent": make.parent(make.spec(), r.cell.seed)}) if r.outcome == "measured" else r
        for r in few(make.run(stage))
    ]
    assert "faster" in row(build(results, {}))[4]
    own = make.parent(make.spec(), 2, runner="tf", mode="xla")
    apart = [
        r.model_copy(update={"parent": own}) if (r.cell.runner, r.cell.round) == ("tf", 2) else r for r in results
    ]  # fmt: skip
    assert row(build(apart, {}))[4] == "not ranked: in round 2 under seed 2 not the same parent"


@pytest.mark.parametrize(("field", "words"), [("source", "version of the suite"), ("lock", "set of packages")])
def test_a_proof_of_another_program_proves_nothing(field: str, words: str) -> None:
    environment = make.environment("torch", **{field: digest("other")})
    assert_not_ranked(build(but(environment=environment), {}), words)


def test_cells_that_began_from_other_weights_are_not_compared() -> None:
    other = make.digests(make.spec(), 2).model_copy(update={"weights": digest("other")})
    results = [
        r.model_copy(update={"digests": other}) if r.cell.runner == "torch" and r.cell.round == 2 else r for r in RUN
    ]  # fmt: skip
    document = build(results, {})
    assert row(document)[4] == "not ranked: in round 2 under seed 2 not the same initial weights"
    assert document.failed


def test_machines_are_never_ranked_against_each_other() -> None:
    elsewhere = make.environment("tf", machine=digest("elsewhere"), cpu="another")
    results = [r.model_copy(update={"environment": elsewhere}) if r.cell.runner == "tf" else r for r in RUN]
    document = build(results, {})
    assert len(document.answer) == 7
    assert all(line[4].startswith("not ranked: ") for line in document.answer[1:])
    assert {line[4] for line in document.answer[1:]} == {f"not ranked: {name} no result" for name in ("torch", "tf")}
    assert "no result of tf in this run, on this machine" in section(document, "The answer")
    assert "**2 machines**" in section(document, "Environment")
    assert document.failed


def test_runs_are_ranked_each_for_itself() -> None:
    again = [r.model_copy(update={"run": "run-2"}) for r in RUN]
    document = build([*RUN, *again], {})
    assert [line[0] for line in document.answer[1:]] == ["digits-mlp, run 1"] * 3 + ["digits-mlp, run 2"] * 3
    assert "6 comparisons were made" in document.markdown


def test_a_variant_is_named_where_its_number_stands() -> None:
    results = [
        make.proof(verdict=Verdict.VARIANT) if r.outcome == "proof" and r.cell.runner == "torch" else r for r in RUN
    ]
    document = build(results, {})
    assert "faster" in row(document)[4]
    assert r"identical to the reference up to adam\_epsilon\_before\_correction" in section(document, "The answer")


def test_a_cell_that_the_instrument_drowns_gets_a_dash() -> None:
    loud = [make.measured("null", "none", n, n, slow=0.05) for n in range(1, 6)]
    document = build([*(r for r in RUN if r.cell.runner != "null"), *loud], {})
    assert row(document)[2] == "—"
    assert "the instrument costs" in row(document)[4]
    assert "**no**" in section(document, "The instrument")
    assert not document.failed


def test_one_lucky_round_makes_no_mode_the_best() -> None:
    results = [r for r in make.run() if r.cell.runner != "torch" or r.outcome == "proof"]
    for number in range(1, 6):
        # compile wins by its luck in round 3 alone; in the median eager is better.
        results.append(make.measured("torch", "compile", number, number, slow=0.2 if number == 3 else 1.2))
        results.append(make.measured("torch", "eager", number, number, slow=1.0))
    document = build(results, {})
    assert "(eager)" in row(document)[2]
    assert re.search(r"torch 1\.[23]\dx faster", row(document)[4])


def test_a_third_framework_is_compared_with_each() -> None:
    modes = {"torch": ("compile",), "tf": ("xla",), "jax": ("jit",)}
    document = build(make.run(modes=modes), {})
    assert document.answer[0] == ("benchmark", "question", "torch", "tf", "jax", "verdict")
    mine = [line[5] for line in document.answer if line[1] == "training"]
    assert [each.split(": ")[0] for each in mine] == ["torch / tf", "torch / jax", "tf / jax"]
    assert mine[0].startswith("torch / tf: torch 1.")
    assert "9 comparisons were made" in document.markdown


def test_one_framework_alone_has_nothing_to_be_compared_with() -> None:
    document = build([r for r in RUN if r.cell.runner != "tf"], {})
    assert row(document)[3] == "nothing to compare with"
    assert not document.failed


def test_a_crash_is_a_failure_and_unsupported_is_not() -> None:
    crash = build([*RUN, make.failed("torch", "eager", 1)], {})
    unsupported = build([*RUN, make.failed("torch", "eager", 1, cause=Cause.UNSUPPORTED, reason="no compiler")], {})
    assert crash.failed
    assert not unsupported.failed
    assert "no compiler" in section(unsupported, "Failed and unsupported")


def test_a_cell_that_comes_twice_is_taken_once_and_told() -> None:
    later = RUN[2].model_copy(update={"started": make.START.replace(year=2027)})
    for doubles, words in (([RUN[2]], "2 files, identical"), ([later], "2 files, different")):
        document = build([*RUN, *doubles], {})
        assert words in section(document, "Refused files")
        assert document.answer == WHOLE.answer


def test_numbers_win_over_a_failure_of_the_same_cell() -> None:
    assert build([*RUN, make.failed(number=1)], {}).answer == WHOLE.answer


def test_what_the_plan_still_owes_is_told_first() -> None:
    cells = [make.cell(number=n, seed=n).model_dump() for n in (1, 9)]
    plan = {"entries": [{"cells": cells}, "junk", {"cells": [{"x": 1}]}], "notes": ["MNIST could not be had", 7]}
    document = build(RUN, plan)
    head = document.markdown.split("## The answer")[0]
    assert "MNIST could not be had" in head
    assert "1 of 2 planned cells have no result yet" in head
    assert document.failed


@pytest.mark.parametrize(
    "plan", [{"notes": 5, "entries": 7, "profile": [], "command": 9}, {"entries": {"a": 1}, "notes": "x"}]
)
def test_a_plan_of_any_shape_does_no_harm(plan: dict[str, Any]) -> None:
    assert build(RUN, plan).answer == WHOLE.answer


def claim_table(results: list[Any]) -> str:
    return section(build(results, {}), "Published numbers")


def of(spec: Any, accuracy: float, epochs: int = 3, rounds: int = 5) -> list[Any]:
    values = [accuracy + 0.001 * (i - 2) for i in range(rounds)]
    measured = [make.measured("torch", "compile", i + 1, i + 1, spec, v, epochs) for i, v in enumerate(values)]
    return [make.proof("torch", "compile", spec), *measured]


@pytest.mark.parametrize(
    ("results", "words"),
    [
        (of(make.claiming(0.975), 0.975), "**reproduced**"),
        (of(make.claiming(0.995), 0.975), "not reproduced"),
        (of(make.claiming(0.975), 0.975, rounds=4), "not run far enough"),
        (of(make.claiming(0.975), 0.975, epochs=2), "not run far enough"),
        (of(make.claiming(0.975), 0.975)[1:], "not testable"),
    ],
)
def test_a_claim_has_a_verdict_by_rule(results: list[Any], words: str) -> None:
    assert words in claim_table(results).split("*Reproduced*")[0]


def test_a_claim_that_another_choice_flips_depends_on_an_assumption() -> None:
    open_question = (Assumption(about="batch size", chosen="32", alternative="other"),)
    one = make.claiming(0.975, case="this", assumptions=open_question)
    for accuracy, words in ((0.9, "depends on an assumption"), (0.976, "**reproduced**")):
        other = make.claiming(0.975, case="other", batch_size=64)
        text = claim_table([*of(one, 0.975), *of(other, accuracy)])
        line = next(line for line in text.splitlines() if line.startswith("| mnist-mlp-128/this"))
        assert words in line
        assert ("under batch size: 32; not so under the alternative" in text) == (accuracy == 0.9)
        assert "**batch size**: 32; the other choice is the case other" in text


def test_a_verdict_says_where_the_other_choice_was_not_tried() -> None:
    open_question = (Assumption(about="batch size", chosen="32", alternative="other"),)
    one = make.claiming(0.975, case="this", assumptions=open_question)
    for there in ([], of(make.claiming(0.975, case="other", batch_size=64), 0.9, rounds=4)):
        text = claim_table([*of(one, 0.975), *there])
        assert "**reproduced**" in text
        assert "the other choice was not run far enough: other" in text


def test_published_times_are_never_judged() -> None:
    spec = make.spec(claims=(make.Claim(metric="seconds_per_epoch", value=7.0),))
    assert "shown, never judged" in claim_table(of(spec, 0.97))


def test_accuracies_are_compared_over_paired_seeds() -> None:
    assert "5 seeds, full schedule" in section(WHOLE, "Accuracy")
    assert re.search(
        r"within 0\.5 points: torch \(compile\) minus tf \(xla\) is [+-]0\.\d\d points", section(WHOLE, "Accuracy")
    )
    few_seeds = build([r for r in RUN if r.cell.round < 4], {})
    assert "not tested: too few seeds: 3 of 5" in section(few_seeds, "Accuracy")


def test_whether_one_seed_gives_the_same_weights_is_told() -> None:
    again = make.measured("torch", "compile", 6, 1)
    same = build([*RUN, again], {})
    assert "bit-identical" in section(same, "Repeatability")
    assert again.training is not None
    other = again.training.model_copy(update={"weights": digest("other")})
    differ = build([*RUN, again.model_copy(update={"training": other})], {})
    assert "differ under 1 of 1 seeds" in section(differ, "Repeatability")
    assert "No cell was trained twice" in section(WHOLE, "Repeatability")


def test_percentiles_are_printed_from_enough_samples_on() -> None:
    line = next(x for x in section(WHOLE, "Latency").splitlines() if "| torch" in x)
    assert line.count("≤") == 1
    assert "p99 needs 662 samples" in section(WHOLE, "Latency")


def test_an_import_is_counted_once_per_process() -> None:
    other = make.spec("digits-cnn", batch_size=16)
    text = section(build([make.measured(), make.measured(of=other)], {}), "Time breakdown")
    assert re.search(r"\| torch +\| +— \| +5\.0 s \|", text)


def test_environments_say_who_has_what() -> None:
    text = section(WHOLE, "Environment")
    assert "torch 2.13.0 (torch)" in text
    assert "Intel(R) Xeon(R)" in text
    assert re.search(r"\| driver +\| —¹ +\|", text)


HOSTILE = "x | y\n\n# z <script>a</script> [l](http://e.org) ![i](http://e.org/i) `c` http://e.org \x1b[31m a@e.org $q$"


def test_hostile_text_of_results_stays_text(drawn: None) -> None:
    word = HOSTILE[:300]
    environment = make.environment(
        "torch",
        cpu=word,
        packages={word: word},
        libraries={word: word},
        devices={word: word},
        governor=word,
        image=word,
    )
    spec = make.claiming(0.9, assumptions=(Assumption(about=word, chosen=word),))
    spec = spec.model_copy(update={"claims": (make.Claim(metric="test_accuracy", value=0.9, note=word),)})
    cell = make.cell(of=spec).model_copy(update={"runner": word, "mode": word, "spec": word, "device": word})
    found = make.measured(of=spec).model_copy(
        update={"cell": cell, "environment": environment, "run": word, "entry": word}
    )
    proof = make.proof(of=spec, verdict=Verdict.UNPROVEN)
    check = Check(section=word, tensor=word, error=1.0, bound=0.1)
    identity = proof.identity.model_copy(update={"checks": (check,), "divergence": check, "variants": (word,)})
    results = [
        found,
        proof.model_copy(update={"cell": cell, "identity": identity, "run": word}),
        make.failed(reason=word),
    ]
    document = build(
        [*RUN, *results], {"notes": [word], "command": f"{word}\n```\n<b>", "profile": {"name": word}},
        [records.ResultError(word, where=f"/a/{word}")],
    )  # fmt: skip
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    rendered = parser.render(document.markdown)
    tags = {
        tag.lower()
        for tag in re.findall(r"</?([a-zA-Z0-9]+)", re.sub(r"<code.*?</code>", "", rendered, flags=re.DOTALL))
    }
    assert tags <= {
        "h1",
        "h2",
        "p",
        "ul",
        "li",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "strong",
        "em",
        "img",
        "br",
        "pre",
        "a",
    }
    assert rendered.count("<h1") == 1
    assert all(src.startswith("charts/") for src in re.findall(r'src="([^"]*)"', rendered))
    assert all(re.fullmatch(r"studies/[a-z0-9.-]+\.md", href) for href in re.findall(r'href="([^"]*)"', rendered))
    assert not re.search(r"https?://|www\.|@e", document.markdown.split("## Reproduce")[0])
    assert "\x1b" not in document.markdown
    assert all("\x1b" not in cell and "\n" not in cell for line in document.answer for cell in line)
    assert all(re.fullmatch(r"[a-z0-9.-]+\.svg", name) for name in document.charts)


def test_a_thousand_different_failures_stay_readable() -> None:
    failures = [make.failed(number=n, reason=f"reason {n} " + "x" * 5000) for n in range(6, 1006)]
    text = section(build([*RUN, *failures], {}), "Failed and unsupported")
    assert len(text) < 150_000
    assert "800 more rows" in text


def test_a_run_that_only_proves_is_judged_by_its_proofs() -> None:
    proofs = [r for r in RUN if r.outcome == "proof"]
    assert not build(proofs, {}).failed
    assert build([*proofs, make.proof("torch", "eager", verdict=Verdict.UNPROVEN)], {}).failed


def test_no_results_make_a_report_that_says_so() -> None:
    document = build([], {})
    assert "There is no number to compare." in document.markdown
    assert document.failed
    assert document.charts == {}


def save(folder: Path, results: list[Any]) -> None:
    for i, item in enumerate(results):
        records.write(folder / "results" / f"{i:03}.json", item)


def test_writing_leaves_report_and_charts_and_takes_stale_charts_away(tmp_path: Path, drawn: None) -> None:
    save(tmp_path, RUN)
    (tmp_path / "results" / "bad.json").write_text('{"a": NaN, "b<i>|": 1}')
    (tmp_path / "charts").mkdir()
    (tmp_path / "charts" / "old.svg").write_text("<svg/>")
    (tmp_path / "plan.json").write_text('{"notes": ["from the plan"], "command": "suite run quick"}')
    outcome = writer.write(tmp_path)
    assert (outcome.path, outcome.answer, outcome.failed) == (tmp_path / "report.md", WHOLE.answer, False)
    text = outcome.path.read_text()
    assert "from the plan" in text
    assert "suite run quick" in text
    assert "bad.json: is not whole, valid JSON (NaN is no JSON number)" in text
    assert {p.name for p in (tmp_path / "charts").iterdir()} == set(WHOLE.charts)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*.*") if p.is_file()}
    writer.write(tmp_path)
    assert before == {p: p.read_bytes() for p in tmp_path.rglob("*.*") if p.is_file()}


def test_folders_and_files_from_several_places_make_one_report(tmp_path: Path) -> None:
    save(tmp_path / "one", [r for r in RUN if r.cell.runner == "torch"])
    save(tmp_path / "two", [r for r in RUN if r.cell.runner == "tf"])
    null = [r for r in RUN if r.cell.runner == "null"]
    save(tmp_path / "three", null)
    files = [tmp_path / "three" / "results" / f"{i:03}.json" for i in range(len(null))]
    outcome = writer.write(tmp_path / "all", tmp_path / "one", tmp_path / "two" / "results", *files)
    assert outcome.answer == WHOLE.answer


def test_a_plan_that_is_none_is_refused_and_loses_nothing(tmp_path: Path) -> None:
    save(tmp_path, RUN)
    (tmp_path / "plan.json").write_text("{")
    outcome = writer.write(tmp_path)
    assert outcome.answer == WHOLE.answer
    assert "plan.json: is not whole, valid JSON" in outcome.path.read_text()


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="does not exist"):
        writer.write(tmp_path / "absent")


def test_a_short_training_is_left_out_where_whole_ones_are_there() -> None:
    spec = make.claiming(0.975)
    short = make.measured("torch", "compile", 6, 6, spec, 0.5, epochs=1)
    whole = of(spec, 0.975)
    assert claim_table([*whole, short]) == claim_table(whole)


def test_the_time_to_a_target_is_training_time_until_it_was_first_reached() -> None:
    reached, never = (
        section(build(few(make.run(make.spec(target_accuracy=target))), {}), "Training") for target in (0.9, 0.999)
    )
    assert re.search(r"\| 90\.00 %: \d+ ms", reached)
    assert "99.90 %: reached in 0 of 5 rounds" in never
    assert "the benchmark states no target accuracy" in section(WHOLE, "Training")
    epochs = make.measured().training.epochs
    assert [epoch.test.accuracy >= 0.9 for epoch in epochs] == [False, True, True]
