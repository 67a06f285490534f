"""The pages of the studies: what belongs together, what stands on a page, and what a short run says of itself."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

import tests.support.results as make
from suite.data import datasets
from suite.report import writer
from suite.report.document import Document, build
from suite.report.evidence.merge import merge
from suite.report.evidence.studies import FEW, studies_of
from suite.results import records
from suite.results.identity import Verdict
from suite.results.records import Scores
from suite.run import plan
from suite.run.session import BENCHMARKS
from suite.spec.recipe import Assumption, EarlyStopping, Source
from suite.spec.tasks.classification import ClassificationMetrics

pytestmark = pytest.mark.usefixtures("undrawn")

ALONE = {"torch": ("compile",), "tf": ("xla",)}


def page(document: Document, name: str = "digits-mlp") -> str:
    return document.pages[f"studies/{name}.md"]


def part(document: Document, title: str, name: str = "digits-mlp") -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", page(document, name), re.DOTALL | re.MULTILINE)
    assert found, f"no part {title}"
    return found[1]


def run(of: Any, rounds: int = 5, modes: dict[str, tuple[str, ...]] = ALONE, **fields: Any) -> list[Any]:
    """Both frameworks proven, and measured over rounds."""
    found: list[Any] = [make.proof(r, m, of) for r, ms in modes.items() for m in ms]
    for n in range(1, rounds + 1):
        found += [make.measured(r, m, n, n, of, **fields) for r, ms in modes.items() for m in ms]
    return found


def taught(make_one: Any, rounds: int = 5, of: Any = None) -> list[Any]:
    """A run whose trainings hold the assessment that ``make_one`` gives of the seed and the runner."""
    found = []
    for r in run(of or make.spec(), rounds):
        if r.outcome == "measured":
            told = r.training.model_copy(update={"assessment": make_one(r.cell.seed, r.cell.runner)})
            r = r.model_copy(update={"training": told})
        found.append(r)
    return found


def doubted(runner: str, mode: str, results: list[Any]) -> list[Any]:
    """The same results, one framework's mode unproven."""
    wrong = make.proof(runner, mode, verdict=Verdict.UNPROVEN)
    return [wrong if r.outcome == "proof" and (r.cell.runner, r.cell.mode) == (runner, mode) else r for r in results]


def parented(results: list[Any], **fields: Any) -> list[Any]:
    """The same results, begun from the weights of a donor of each seed."""
    found = []
    for r in results:
        given = {"parent": make.parent(make.spec(), r.cell.seed, **fields)}
        found.append(r.model_copy(update=given) if r.outcome == "measured" else r)
    return found


def studies(*specs: Any) -> list[tuple[str, list[str]]]:
    found = studies_of(merge([make.measured(of=spec) for spec in specs], {}))
    return [(study.name, [group.spec for group in study.groups]) for study in found]


def test_specs_that_start_from_one_another_are_one_study_in_the_order_of_stages() -> None:
    last = make.spec("a-last", starts_from="m-middle/one")
    middle = make.spec("m-middle", case="one", starts_from="z-first")
    first, other = make.spec("z-first"), make.spec("other")
    assert studies(last, other, first, middle) == [
        ("other", ["other"]),
        ("z-first", ["z-first", "m-middle/one", "a-last"]),
    ]
    assert studies(last, other) == [("a-last", ["a-last"]), ("other", ["other"])]


def test_two_heads_on_one_base_are_one_study_and_imported_weights_are_no_stage() -> None:
    base = make.spec("base")
    heads = [make.spec(name, starts_from="base") for name in ("head-b", "head-a")]
    assert studies(*heads, base) == [("base", ["base", "head-a", "head-b"])]
    assert studies(make.spec("x", starts_from="weights:resnet50")) == [("x", ["x"])]


def test_stages_in_a_circle_do_no_harm() -> None:
    one, other = make.spec("one", starts_from="other"), make.spec("other", starts_from="one")
    assert [name for name, _ in studies(one, other)] == ["one"]


def test_a_study_that_is_named_as_the_index_leaves_the_index_alone() -> None:
    pages = build(run(make.spec("index")), {}).pages
    assert set(pages) == {"studies/index.md", "studies/index-study.md"}
    assert "[index](index-study.md)" in pages["studies/index.md"]


def test_the_report_leads_to_the_index_and_the_index_to_every_page() -> None:
    document = build([*run(make.spec()), *run(make.claiming(0.975))], {})
    head = document.markdown.split("## The answer")[0]
    assert "[the index of studies](studies/index.md)" in head
    assert set(document.pages) == {f"studies/{n}.md" for n in ("index", "digits-mlp", "mnist-mlp-128")}
    for name in ("digits-mlp", "mnist-mlp-128"):
        assert f"[{name}](studies/{name}.md)" in head
        assert f"[{name}]({name}.md)" in page(document, "index")
        assert "[Report](../report.md)" in page(document, name)
    assert re.search(r"mnist-mlp-128\.md\) .*5 seeds, full schedule +\| \d .*reproduced", page(document, "index"))


def test_without_numbers_there_is_no_page_and_no_link() -> None:
    document = build([make.proof()], {})
    assert document.pages == {}
    assert "studies/" not in document.markdown


SOURCE = Source(title="A blog post, 2018", year=2018, note="It gives one accuracy.")


def test_a_page_tells_the_source_the_figures_and_the_assumptions() -> None:
    spec = make.claiming(
        0.975, source=SOURCE, title="A perceptron", description="Dense layers alone.",
        assumptions=(Assumption(about="seeds", chosen="the profile's"),),
    )  # fmt: skip
    text = page(build(run(spec), {}), "mnist-mlp-128")
    assert text.startswith("# mnist-mlp-128: A perceptron\n")
    assert "Source: A blog post, 2018. It gives one accuracy." in text
    assert "Dense layers alone." in text
    assert re.search(
        r"\| test accuracy \| +97\.50 % \| torch \(compile\) \| +9\d\.\d\d % \| +9\d\.\d\d % to 9\d\.\d\d %", text
    )
    assert "- **seeds**: the profile's\n" in text
    assert "Not run" not in text


def test_a_study_that_was_not_run_far_enough_says_so_first_and_stays_short() -> None:
    short = build(run(make.claiming(0.975), rounds=1, epochs=2), {})
    text = page(short, "mnist-mlp-128")
    told = "Not run far enough for 2 of 2 verdicts: 1 seed, after 2 of 3 epochs; a verdict needs 5 seeds"
    assert told in text.split("## ")[0]
    assert len(text) < 4000
    assert "1 seed, after 2 of 3 epochs" in page(short, "index")
    silent = build(run(make.spec(), rounds=1, epochs=2), {})
    assert "**Not run to its end: 1 seed, after 2 of 3 epochs.**" in page(silent)


def test_an_unproven_framework_stands_on_no_page() -> None:
    results = doubted("tf", "xla", taught(lambda seed, runner: make.confused()))
    text = page(build(results, {}))
    assert "torch (compile)" in text
    assert "tf (xla)" not in text
    nobody = page(build([r for r in results if r.outcome != "proof"], {}))
    assert "no framework is proven" in nobody
    assert "torch (compile)" not in nobody


def test_a_disagreement_of_digests_is_told_first_on_the_page() -> None:
    other = {"digests": make.digests(make.spec(), 9)}
    cells = run(make.spec())
    results = [r.model_copy(update=other) if (r.cell.runner, r.cell.round) == ("tf", 1) else r for r in cells]
    head = page(build(results, {})).split("## ")[0]
    assert (
        "torch and tf are not comparable, in round 1 under seed 1 not the same initial weights and batch order" in head
    )


def test_who_the_donor_was_stands_on_the_page() -> None:
    stage = make.spec("digits-stage", starts_from="digits-mlp", inherits=("dense_1",), frozen=("dense_1",))
    found = parented(run(stage))
    text = part(build([*run(make.spec()), *found], {}), "Stages")
    row = next(line for line in text.splitlines() if line.startswith("| digits-stage"))
    cells = [cell.strip().replace("\\", "") for cell in row.strip("|").split("|")]
    assert cells[:7] == [
        "digits-stage",
        "dense_1; all of them frozen",
        "digits-mlp",
        "torch (compile)",
        "yes",
        "torch, tf",
        "5",
    ]
    assert make.parent(make.spec(), 1).weights[7:15] in cells[7]
    own = parented(run(stage), runner=None, mode=None, complete=None)
    assert re.search(r"\| imported +\| not known ", part(build(own, {}), "Stages", "digits-stage"))


def cases(count: int, **fields: Any) -> list[Any]:
    """A grid: the published test accuracy of case i lies i points above what was measured."""
    found = []
    for i in range(count):
        claims = tuple(
            make.Claim(metric=metric, value=round(0.9 + at, 4))
            for metric, at in (("test_accuracy", i / 100), ("train_accuracy", 0.01), ("test_loss", 0.0))
        )
        stops = (make.Claim(metric="stopped_at_epoch", value=3), make.Claim(metric="train_seconds", value=9.5))
        spec = make.spec(
            "grid", case=f"case-{i}", title=f"Recipe {i}", claims=claims + stops, l2=0.001 * (i + 1), epochs=50,
            early_stopping=EarlyStopping(patience=2), validation_fraction=0.1, **fields,
        )  # fmt: skip
        ended = {"stopped_early": True, "best_epoch": 1, "test": Scores(loss=0.5, penalty=0.4, accuracy=0.9)}
        found += run(spec, taught=ended, validated=True)
    return found


def test_a_grid_is_one_table_with_the_worst_disagreement_first() -> None:
    text = part(build(cases(FEW + 1), {}), "Published numbers", "grid")
    accuracies, losses = text.split("Losses, published")
    order = re.findall(r"^\| (case-\d) ", accuracies, re.MULTILINE)
    assert order == [f"case-{i}" for i in reversed(range(FEW + 1))]
    worst = next(line for line in accuracies.splitlines() if line.startswith("| case-6"))
    assert re.search(r"Recipe 6 +\| +96\.00 / 90\.00 \(90\.00 to 90\.00\) / 90\.00 \(90\.00 to 90\.00\) +\|", worst)
    assert re.search(r"\| +6\.00 \| not reproduced: test; not reproduced|\| +6\.00 \| .*not reproduced", worst)
    best = next(line for line in accuracies.splitlines() if line.startswith("| case-0"))
    assert re.search(r"\| +0\.00 \| reproduced: test", best)
    # The loss that stands there holds the penalty: 0.5 and 0.4.
    assert re.search(r"\| case-\d \| Recipe \d \| +0\.9000 / 0\.9000 \(0\.9000 to 0\.9000\) / 0\.9000 \(", losses)
    stops = r"3 / 3\.0 \(3\.0 to 3\.0\) / 3\.0 \(3\.0 to 3\.0\)"
    assert re.search(rf"\| case-\d \| +50 \| +{stops} \| reproduced +\| +9\.50 s / 0\.\d+ s / ", losses)


def test_each_number_of_a_grid_that_is_too_noisy_to_tell_has_its_own_width_below() -> None:
    results: list[Any] = []
    for i in range(3):
        claims = tuple(make.Claim(metric=metric, value=0.97) for metric in ("test_accuracy", "train_accuracy"))
        spec = make.spec("grid", case=f"case-{i}", claims=claims)
        results.append(make.proof("torch", "compile", spec))
        for seed, value in enumerate((0.99, 0.95, 0.97, 0.98, 0.96), 1):
            near = 0.97 + (value - 0.97) / 2
            told = {
                "test": Scores(loss=0.5, penalty=0.0, accuracy=value),
                "train": Scores(loss=0.5, penalty=0.0, accuracy=near),
            }
            results.append(make.measured("torch", "compile", seed, seed, spec, taught=told))
    text = part(build(results, {}), "Published numbers", "grid")
    row = next(line for line in text.splitlines() if line.startswith("| case-0"))
    assert re.search(r"97\.00 / 97\.00 \(9\d\.\d\d to (100\.00|99\.\d\d)\)", row)
    assert "too noisy to tell" in row
    widths = re.search(r"test, torch: a new run falls within ± (\S+) points.*train, torch: .* ± (\S+) points,", text)
    assert widths is not None
    assert float(widths[1]) > 1.8 * float(widths[2]) > 1.8


def test_no_interval_of_a_share_leaves_0_to_100_percent_wherever_it_is_printed() -> None:
    spec = make.spec(claims=(make.Claim(metric="test_accuracy", value=0.999),))
    ends = (0.1, 1.0, 0.1, 0.98, 0.02, 1.0)
    results: list[Any] = [make.proof("torch", "compile", spec), make.proof("tf", "xla", spec)]
    for runner, mode in (("torch", "compile"), ("tf", "xla")):
        for seed, share in enumerate(ends if runner == "torch" else ends[::-1], 1):
            worth = {"auroc": share, "average_precision": share, "precision": share, "recall": 1 - share}
            told = {
                "test": Scores(loss=1e-3 * share, penalty=0.0, accuracy=share),
                "assessment": make.sorted_out(seed, threshold=0.03 * share**4, **worth),
            }
            results.append(make.measured(runner, mode, seed, seed, spec, taught=told))
    document = build(results, {})
    told = "\n".join((document.markdown, *document.pages.values()))
    lines = [
        line for line in told.splitlines() if re.search(r"accuracy|ROC|precision|recall|threshold|digits-mlp", line)
    ]
    shares = [float(found) for line in lines for found in re.findall(r"(-?\d+\.\d\d) %", line)]
    assert len(shares) > 20
    assert 0 <= min(shares) <= max(shares) <= 100
    intervals = [pair for line in lines for pair in re.findall(r"\((-?[\d.]+)(?: %)? to (-?[\d.]+)(?: %)?\)", line)]
    assert len(intervals) >= 10
    assert all(float(low) >= 0 for low, _ in intervals)
    fractions = [line for line in lines if "ROC" in line or "average precision" in line]
    assert fractions
    assert all(0 <= float(found) <= 1 for line in fractions for found in re.findall(r"-?\d\.\d{4}", line))
    points = re.search(r"torch \(compile\) minus .* points \((\S+) to (\S+)\)", document.markdown)
    assert points is not None
    assert -100 <= float(points[1]) < float(points[2]) <= 100


def test_a_small_study_lists_its_numbers_and_has_no_grid() -> None:
    text = part(build(cases(2), {}), "Published numbers", "grid")
    assert "Accuracies in percent" not in text
    assert text.count("| test accuracy ") == 4


def test_some_cases_of_a_grid_are_a_grid_with_curves_of_their_own() -> None:
    document = build([r for r in cases(3) if r.cell.round < 3], {})
    text = part(document, "Published numbers", "grid")
    assert re.findall(r"^\| (case-\d) ", text.split("Losses, published")[0], re.MULTILINE) == [
        "case-2",
        "case-1",
        "case-0",
    ]
    assert part(document, "Curves", "grid").count("../charts/training-") == 3


def test_a_large_study_tells_no_confusions_but_what_its_anomalies_are() -> None:
    both = {"torch": make.confused(), "tf": make.sorted_out()}
    results = []
    for r in cases(FEW + 1):
        if r.outcome == "measured" and r.cell.round < 3:
            told = r.training.model_copy(update={"assessment": both[r.cell.runner]})
            results.append(r.model_copy(update={"training": told}))
        elif r.outcome == "proof":
            results.append(r)
    text = part(build(results, {}), "Task metrics", "grid")
    assert "Confusion" not in text
    assert text.count("area under the ROC curve") == FEW + 1


def test_a_grid_that_was_not_run_far_has_no_intervals() -> None:
    few = [r for r in cases(FEW + 1) if r.cell.round < 3]
    text = part(build(few, {}), "Published numbers", "grid")
    assert not re.search(r"\d \(\d", text)
    assert "not run far enough" in text


def test_a_confusion_matrix_is_the_sum_over_seeds_with_precision_and_recall() -> None:
    told = ClassificationMetrics(confusion=((8, 2, 0), (0, 5, 0), (0, 0, 0)))
    text = part(build(taught(lambda seed, runner: told), {}), "Task metrics")
    lines = [re.sub(r"[ *]", "", line) for line in text.splitlines() if re.match(r"\| +[012] ", line)]
    assert lines == ["|0|40|10|0|100.0%|80.0%|", "|1|0|25|0|71.4%|100.0%|", "|2|0|0|0|—|—|"]
    assert "torch (compile) and tf (xla), the same for both, all test images of 5 seeds" in text


def test_confusions_that_differ_are_told_for_each_framework() -> None:
    right = {"torch": 3, "tf": 4}
    made = taught(lambda seed, runner: make.confused(2, right[runner], 1))
    text = part(build(made, {}), "Task metrics")
    assert re.search(r"by torch \(compile\), all .*\n\n.*\n.*\n\| +0 \| \*\*15\*\* \| +5 \|", text)
    assert re.search(r"by tf \(xla\), all .*\n\n.*\n.*\n\| +0 \| \*\*20\*\* \| +5 \|", text)


def test_classes_keep_the_names_that_the_data_gave_them() -> None:
    facts = make.spec().data.model_copy(update={"class_names": ("ape", "<b>", "7", *"defghij"), "labels_are": "texts"})
    of = make.spec(data=facts, labels="map")
    matrix = part(build(taught(lambda seed, runner: make.confused(), of=of), {}), "Task metrics")
    assert re.search(r"\| +\| +ape \| +.*b.* \| +7 \| +d \|", matrix)
    assert re.search(r"\n\| +ape \| \*\*170\*\* \| +10 \|", matrix)
    assert "<b>" not in matrix
    few = part(build(taught(lambda seed, runner: make.confused(30, 10, 3), of=of), {}), "Task metrics")
    assert re.search(r"\| +d \| +e \| +15 of 65 \|", few)


def test_of_many_classes_only_what_is_confused_most_is_told() -> None:
    text = part(build(taught(lambda seed, runner: make.confused(30, 10, 3)), {}), "Task metrics")
    assert "30 classes" in text
    assert re.search(r"\| +0 \| +1 \| +15 of 65 \|", text)
    assert text.count("|") < 700


def test_anomalies_have_intervals_over_seeds_and_a_chart(drawn: None) -> None:
    document = build(taught(lambda seed, runner: make.sorted_out(seed)), {})
    text = part(document, "Task metrics")
    # AUROC 0.951 to 0.955: mean 0.953, half 2.776445 * sqrt(2.5e-6) * sqrt(1.2), a little more below on its scale
    assert re.search(r"area under the ROC curve +\| +0\.9530 \(0\.9481 to 0\.9577\) \|", text)
    assert re.search(r"recall at the threshold +\| +75\.00 %", text)
    assert "../charts/errors-digits-mlp-1.svg" in text
    assert b"<svg" in document.charts["errors-digits-mlp-1.svg"]
    few = part(build(taught(lambda seed, runner: make.sorted_out(seed), 2), {}), "Task metrics")
    assert re.search(r"0\.9515, 0\.9510 to 0\.9520¹", few)
    assert "no interval, too few seeds: 2 of 5" in few


def test_an_anomaly_score_that_no_seed_has_is_a_dash() -> None:
    none = make.sorted_out(precision=None, recall=None, auroc=None, average_precision=None, threshold=None)
    text = part(build(taught(lambda seed, runner: none), {}), "Task metrics")
    assert re.search(r"precision at the threshold +\| +—¹ \| +—¹ \|", text)


def test_neighbours_of_the_frameworks_stand_side_by_side_with_the_ranks_of_analogies() -> None:
    def vectors(seed: int, runner: str) -> Any:
        return make.embedded(rank=seed if runner == "torch" else 1, near="queen" if runner == "torch" else "kaiser")

    text = part(build(taught(vectors), {}), "Task metrics")
    assert re.search(r"\| king +\| queen 0\.90, lord 0\.80, throne 0\.70 \| kaiser 0\.90, lord 0\.80", text)
    assert re.search(r"\| zyzzyva +\| not in the vocabulary", text)
    assert re.search(r"\| man : king = woman : queen +\| 3 \(1 to 5\); queen +\| 1; kaiser +\|", text)
    assert "- torch (compile): the right word comes first in 1 of 5 answers" in text
    assert "- tf (xla): the right word comes first in 5 of 5 answers" in text


def test_boxes_are_told_by_their_overlap_and_precision() -> None:
    text = part(build(taught(lambda seed, runner: make.located(seed)), {}), "Task metrics")
    assert re.search(r"mean intersection over union +\| +0\.8030 \(0\.7982 to 0\.8078\)", text)
    assert re.search(r"average precision at IoU 0\.5 +\| +0\.9000 ", text)
    assert re.search(r"right class +\| +97\.00 %", text)


def test_results_without_an_assessment_have_no_such_part() -> None:
    assert "Task metrics" not in page(build(run(make.spec()), {}))


def test_six_styles_stand_side_by_side_with_a_chart(drawn: None) -> None:
    document = build(run(make.spec(), modes=make.STYLES), {})
    text = part(document, "Styles of execution")
    for runner, modes in make.STYLES.items():
        for mode in modes:
            assert re.search(rf"\| {runner} +\| {mode} +\| +[\d,]+ images/s \| +[\d.]+ [µm]s \| +[\d,]+ images/s", text)
    assert "../charts/styles-digits-mlp-1.svg" in text
    assert "styles-digits-mlp-1.svg" in document.charts
    two = build(run(make.spec()), {})
    assert "Styles of execution" not in page(two)


def test_an_unproven_style_has_a_dash_with_its_reason() -> None:
    results = doubted("tf", "session", run(make.spec(), modes=make.STYLES))
    text = part(build(results, {}), "Styles of execution")
    assert re.search(r"\| tf +\| session +\| +—¹ \| +—¹ \| +—¹ \|", text)
    assert "unproven: gradients float64" in text


def test_curves_show_validation_where_there_is_one(drawn: None) -> None:
    document = build(run(make.spec(validation_fraction=0.1), rounds=2, validated=True), {})
    assert "![Loss and accuracy by epoch](../charts/training-01-digits-mlp.svg)" in part(document, "Curves")
    plain = build(run(make.spec(validation_fraction=0.1), rounds=2), {})
    assert document.charts["training-01-digits-mlp.svg"] != plain.charts["training-01-digits-mlp.svg"]


def test_a_grid_has_one_chart_of_all_its_curves(drawn: None) -> None:
    document = build([r for r in cases(FEW + 1) if r.cell.round < 3], {})
    assert set(document.charts) == {"curves-grid.svg"}
    assert "../charts/curves-grid.svg" in part(document, "Curves", "grid")


HOSTILE = "x | y\n\n# z <script>a</script> [l](http://e.org) ![i](http://e.org/i) `c` www.e.org \x1b[31m a@e.org"


def test_hostile_text_stays_text_on_every_page() -> None:
    word = HOSTILE[:300]
    told = make.embedded().model_copy(
        update={"neighbours": (make.Neighbours(word=HOSTILE[:40], near=(make.Near(word=HOSTILE[:40], cosine=0.1),)),)}
    )
    spec = make.spec(
        title=word, description=word, source=Source(title=word, note=word),
        assumptions=(Assumption(about=word, chosen=word),),
    )  # fmt: skip
    claims = (make.Claim(metric="latency_per_image_reduction", value=0.1, note=word, untestable=word),)
    spec = spec.model_copy(update={"claims": claims})
    results = parented(taught(lambda seed, runner: told, of=spec), spec=word, runner=word, mode=word)
    tuned = make.tuned(of=spec)
    ways = (*tuned.tunings, tuned.tunings[-1].model_copy(update={"tuning": word, "mode": word, "reason": word}))
    document = build([*results, tuned.model_copy(update={"tunings": ways})], {})
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    for text in document.pages.values():
        rendered = parser.render(text)
        assert rendered.count("<h1") == 1
        assert "<script" not in rendered
        assert all(re.fullmatch(r"[a-z0-9./-]+\.md", href) for href in re.findall(r'href="([^"]*)"', rendered))
        assert all(src.startswith("../charts/") for src in re.findall(r'src="([^"]*)"', rendered))
        assert not re.search(r"https?://|www\.|@e", text)
        assert "\x1b" not in text


def test_the_same_results_give_the_same_pages_in_whatever_order(drawn: None) -> None:
    stage = make.spec("digits-stage", starts_from="digits-mlp")
    results = [*taught(lambda seed, runner: make.sorted_out(seed), 2), *parented(run(stage, 2))]
    results += [make.tuned(), make.tuned("tf", "xla")]
    documents = []
    for seed in range(3):
        random.Random(seed).shuffle(results)
        documents.append(build(results, {}))
    assert documents[0] == documents[1] == documents[2]
    assert len(documents[0].pages) == 2


def test_writing_leaves_every_page_and_takes_stale_pages_away(tmp_path: Path) -> None:
    for i, item in enumerate(run(make.spec(), rounds=1)):
        records.write(tmp_path / "results" / f"{i:03}.json", item)
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "old.md").write_text("stale")
    outcome = writer.write(tmp_path)
    assert {p.name for p in (tmp_path / "studies").iterdir()} == {"index.md", "digits-mlp.md"}
    for link in re.findall(r"\]\((studies/[^)]*)\)", outcome.path.read_text()):
        assert (tmp_path / link).is_file()
    for item in (tmp_path / "studies").iterdir():
        for link in re.findall(r"\]\(([^)]*)\)", item.read_text()):
            assert (item.parent / link).is_file()


def test_what_is_no_image_is_not_counted_as_one() -> None:
    (words,) = plan.choose(("cbow/tales",), BENCHMARKS / "specs", datasets.describe)
    for of, counted, other in ((words, "examples", "images"), (make.spec(), "images", "examples")):
        text = build(run(of), {}).markdown
        assert re.search(rf"\| training +\| [\d,]+ {counted}/s", text)
        assert f"{other}/s" not in text
