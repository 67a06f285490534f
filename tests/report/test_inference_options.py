"""Inference options: each against the baseline, framework by framework."""

from __future__ import annotations

import re
from typing import Any

import pytest

import tests.support.results as make
from suite.report.document import Document, build
from suite.report.evidence.merge import merge
from suite.report.sections.inference_options import lines
from suite.results.identity import Verdict
from suite.results.records import Cause
from suite.stats import Centre, TooFew


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.report.charts.drawing.svg", lambda figure: b"<svg/>")


def part(document: Document, name: str = "digits-mlp") -> str:
    return document.pages[f"studies/{name}.md"].split("## Inference options\n")[1]


def rounds(count: int, runner: str = "torch", mode: str = "compile", **fields: Any) -> list[Any]:
    return [make.tuned(runner, mode, n, n, **fields) for n in range(1, count + 1)]


def test_from_five_rounds_on_a_change_is_that_of_the_rounds_medians() -> None:
    found = {line.way[0]: line for line in lines(rounds(5))}
    assert list(found) == ["none", "again", "batch:8", "bfloat16"]
    assert isinstance(found["none"].interval, Centre)
    assert (found["none"].interval.what, found["none"].interval.count) == ("rounds", 5)
    assert found["none"].ratio is None
    for tuning, share in (("batch:8", 0.4), ("bfloat16", 0.5)):
        ratio = found[tuning].ratio
        assert isinstance(ratio, Centre)
        assert ratio.value == pytest.approx(share, rel=0.02)
        assert ratio.low < share < ratio.high or ratio.value == pytest.approx(share, rel=0.01)
        assert found[tuning].latency == pytest.approx(share * found["none"].latency, rel=0.02)


def test_in_one_round_a_change_is_that_of_the_turns() -> None:
    found = {line.way[0]: line for line in lines(rounds(1))}
    ratio = found["bfloat16"].ratio
    assert isinstance(ratio, Centre)
    assert (ratio.what, ratio.count) == ("samples", 60)
    assert ratio.low < 0.5 < ratio.high
    few = {line.way[0]: line for line in lines(rounds(1, samples=5))}
    assert few["bfloat16"].ratio == TooFew("samples", 5, 6)


def test_what_the_machine_did_to_both_ways_in_a_turn_leaves_their_ratio() -> None:
    record = make.tuned()
    slow = [1 + (i % 7) for i in range(60)]
    ways = []
    for way in record.tunings:
        samples = tuple(s * f for s, f in zip(way.samples_ns, slow, strict=False))
        ways.append(way.model_copy(update={"samples_ns": samples}))
    ratio = {line.way[0]: line for line in lines([record.model_copy(update={"tunings": tuple(ways)})])}[
        "bfloat16"
    ].ratio
    assert isinstance(ratio, Centre)
    assert ratio.high / ratio.low < 1.1


def test_a_page_tells_each_way_its_change_and_what_it_does_to_the_answers() -> None:
    text = part(build([make.proof(), make.measured(), *rounds(5)], {}))
    row = next(line for line in text.splitlines() if line.startswith("| bfloat16"))
    assert re.search(r"\| +20\d µs \(20\d µs to 20\d µs\) \| +-50\.\d % \(-50\.\d to -49\.\d\)|-49\.\d %", row)
    assert re.search(r"\| +96\.20 % \| +-0\.80 \| +3\.0e-02 \|", row)
    assert "**torch**, baseline compile, 5 rounds, accuracy over 360 test examples." in text
    assert "- int8\\_static: no backend for it" in text
    assert "nothing here ranks frameworks" in text


def test_frameworks_stand_one_after_the_other_and_are_never_ranked() -> None:
    both = [make.proof(), make.proof("tf", "xla"), *rounds(5), *rounds(5, "tf", "xla", faster=1.3)]
    text = part(build(both, {}))
    assert text.index("**torch**") < text.index("**tf**")
    assert "faster" not in text
    assert re.search(r"\| bfloat16 +\| xla .* \+(29|30)\.\d % \(", text)


def test_the_published_reduction_stands_beside_the_tunings() -> None:
    claim = make.Claim(
        metric="latency_per_image_reduction", value=0.082, note="after tuning", untestable="it names no tuning"
    )
    spec = make.spec(claims=(claim,))
    text = part(build([make.proof(of=spec), make.measured(of=spec), *rounds(5, of=spec)], {}))
    assert "reduced by 8.20 % (after tuning). It is not testable: it names no tuning." in text


def test_a_mode_that_is_unproven_is_told_beside_its_tunings() -> None:
    assert "**not proven**: the gate has not run" in part(build(rounds(1), {}))
    wrong = [make.proof(verdict=Verdict.UNPROVEN), *rounds(1)]
    assert "**not proven**: unproven: gradients float64" in part(build(wrong, {}))
    assert "not proven" not in part(build([make.proof(), *rounds(1)], {}))


def test_tuned_inference_alone_makes_a_page_and_the_report_leads_to_it() -> None:
    document = build([make.proof(), *rounds(1)], {})
    assert "[digits-mlp](studies/digits-mlp.md)" in document.markdown.split("## Latency")[1].split("## ")[0]
    assert "tunings" not in build([make.proof(), make.measured()], {}).pages["studies/digits-mlp.md"]


def test_a_cell_that_was_measured_and_tuned_is_no_double() -> None:
    evidence = merge([make.measured(), make.tuned()], {})
    assert (len(evidence.measured), len(evidence.tuned), evidence.doubles) == (1, 1, ())


def test_a_tuning_that_failed_is_told_though_its_cell_was_measured() -> None:
    entry = {"id": "tune-it", "kind": "tune", "cells": [make.cell().model_dump()]}
    failed = make.failed(entry="tune-it", cause=Cause.TIMED_OUT, reason="after 900 s")
    document = build([make.measured(), failed], {"entries": [entry]})
    assert "after 900 s" in document.markdown
    assert document.failed


def test_a_planned_tuning_that_left_nothing_is_missing_though_its_cell_was_measured() -> None:
    cells = [make.cell().model_dump()]
    entries = [{"id": "a", "kind": "measure", "cells": cells}, {"id": "b", "kind": "tune", "cells": cells}]
    assert "1 of 2 planned cells have no result yet" in build([make.measured()], {"entries": entries}).markdown
    assert "no result yet" not in build([make.measured(), make.tuned()], {"entries": entries}).markdown


def test_samples_of_no_time_make_no_ratio() -> None:
    record = make.tuned()
    ways = tuple(way.model_copy(update={"samples_ns": (0,) * 60}) for way in record.tunings)
    assert lines([record.model_copy(update={"tunings": ways})]) == []
    nothing = build([make.proof(), record.model_copy(update={"tunings": ways})], {})
    assert "baseline compile" in part(nothing)
