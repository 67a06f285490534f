"""What the report makes of a GPU's raw series, and what it refuses to make of them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tests.support.results as make
from suite.report.document import Document, build
from suite.report.evidence.gpu import (
    FAR_ABOVE,
    IDLE,
    SLOWED,
    THROTTLES,
    Baseline,
    Energy,
    Unknown,
    baseline,
    energy,
    peak,
    shares,
    slowed,
    state,
    values,
    working,
)
from suite.report.sections.energy import Joules
from suite.results.gpu_trace import SERIES, Metered, Span, Unmetered
from suite.results.questions import Question, QuestionKind
from tests.support.results import SECOND, STEP, metered, series

WORK = make.SPANS[1]
COUNT = len(metered().at_ns)


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.report.charts.drawing.svg", lambda figure: b"<svg/>")


def section(document: Document, title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", document.markdown, re.DOTALL | re.MULTILINE)
    assert found, f"no section {title}"
    return found[1]


def reason(outcome: object) -> str:
    assert isinstance(outcome, Unknown)
    return outcome.reason


def test_the_baseline_is_the_median_before_the_framework() -> None:
    used = (500, 500, 900, 500, 500, 500, *(10**9,) * (COUNT - 6))
    busy = (0, 0, 7, 0, 0, 0, *(99,) * (COUNT - 6))
    assert baseline(metered(used_bytes=used, utilization_percent=busy)) == Baseline(500, 7, 60.0)


def test_a_trace_without_idle_span_or_samples_has_no_baseline() -> None:
    assert reason(baseline(metered(spans=make.SPANS[1:]))) == "the trace has no idle span"
    none = metered(used_bytes=(None,) * COUNT, unknown={"used_bytes": "not supported"})
    assert reason(baseline(none)) == "not supported"
    assert reason(peak(metered(spans=make.SPANS[1:]))) == "the trace has no idle span"
    assert reason(peak(none)) == "not supported"


def test_the_peak_counts_what_building_took_between_two_spans() -> None:
    used = tuple(900 if i == 8 else 300 if i == 2 else 500 for i in range(COUNT))
    assert not any(s.begin_ns <= 8 * STEP <= s.end_ns for s in make.SPANS)
    assert peak(metered(used_bytes=used)) == 400


def test_what_is_reserved_is_taken_out_of_peak_and_baseline() -> None:
    reserved = series(100)
    trace = metered(used_bytes=series(1000), reserved_bytes=reserved)
    assert (peak(trace), peak(trace, less_reserved=True)) == (1000, 900)
    silent = metered(reserved_bytes=(None,) * COUNT, unknown={"reserved_bytes": "an older driver"})
    assert reason(peak(silent, less_reserved=True)) == "an older driver"
    assert peak(silent) == 2 << 30


def test_memory_that_fell_is_no_negative_peak() -> None:
    assert peak(metered(used_bytes=tuple(900 - i for i in range(COUNT)))) == 0


def test_energy_is_the_counters_slope_over_the_whole_span() -> None:
    off_beat = WORK.model_copy(update={"begin_ns": WORK.begin_ns - STEP // 4, "end_ns": WORK.end_ns + STEP // 4})
    for span, seconds in ((WORK, 4.0), (off_beat, 4.1)):
        found = energy(metered(300.0), span)
        assert isinstance(found, Energy)
        assert found.watts == pytest.approx(300)
        assert found.joules == pytest.approx(300 * seconds)
        assert found.per_image == pytest.approx(300 * seconds / span.images)
        assert found.sampled_watts == pytest.approx(300)


def test_a_counter_that_stands_still_a_while_counts_by_its_ends() -> None:
    stepped = tuple(10**9 + 1000 * 60 * (i // 5) for i in range(COUNT))
    found = energy(metered(energy_mj=stepped), WORK)
    assert isinstance(found, Energy)
    assert found.watts == pytest.approx(60, rel=0.1)


LATE = Span(kind=QuestionKind.TRAINING, begin_ns=20 * SECOND, end_ns=30 * SECOND)


def changed(at: int, value: int | None) -> Metered:
    trace = metered()
    counter = list(trace.energy_mj)
    counter[at] = value
    return metered(energy_mj=tuple(counter), unknown={"energy_mj": "lost mid-way"})


@pytest.mark.parametrize(
    ("trace", "span", "words"),
    [
        (
            metered(),
            Span(kind=QuestionKind.TRAINING, begin_ns=0, end_ns=2 * SECOND - 1),
            "energy needs 2 s of uninterrupted work",
        ),
        (changed(20, None), WORK, "lost mid-way"),
        (changed(20, 5), WORK, "stepped back"),
        (metered(energy_mj=(7,) * COUNT), WORK, "did not move"),
        (
            metered(),
            Span(kind=QuestionKind.TRAINING, begin_ns=20 * SECOND, end_ns=30 * SECOND),
            "energy needs 3 samples",
        ),
        (metered(at_ns=(5 * SECOND,) * COUNT), WORK, "energy needs 3 samples"),
    ],
)
def test_energy_that_the_counter_does_not_tell_is_unknown(trace: Metered, span: Span, words: str) -> None:
    assert words in reason(energy(trace, span))


def test_two_samples_are_no_energy_and_three_are() -> None:
    for step, enough in ((2 * SECOND, True), (3 * SECOND, False)):
        at = tuple(i * step + SECOND for i in range(COUNT))
        span = Span(kind=QuestionKind.TRAINING, begin_ns=SECOND, end_ns=6 * SECOND)
        assert isinstance(energy(metered(at_ns=at), span), Energy) is enough


def test_an_energy_without_images_has_none_per_image() -> None:
    found = energy(metered(), WORK.model_copy(update={"images": 0}))
    assert isinstance(found, Energy)
    assert found.per_image is None


@given(
    st.lists(st.tuples(st.integers(1, 10**9), st.integers(0, 10**7)), min_size=3, max_size=40),
    st.integers(1, 10**6),
    st.integers(0, 10**12),
)
def test_energy_is_between_the_least_and_the_largest_power(
    steps: list[tuple[int, int]], images: int, start: int
) -> None:
    at, counter = [0], [start]
    for nanoseconds, millijoules in steps:
        at.append(at[-1] + nanoseconds)
        counter.append(counter[-1] + millijoules)
    span = Span(kind=QuestionKind.TRAINING, images=images, begin_ns=0, end_ns=max(at[-1], 2 * SECOND))
    nulls = {name: (None,) * len(at) for name in SERIES}
    trace = metered(**{**nulls, "at_ns": tuple(at), "energy_mj": tuple(counter), "spans": (span,)})
    found = energy(trace, span)
    if counter[-1] == start:
        assert reason(found) == "the energy counter did not move"
        return
    assert isinstance(found, Energy)
    rates = [1e6 * e / t for t, e in steps]
    assert min(rates) * (1 - 1e-9) <= found.watts <= max(rates) * (1 + 1e-9)
    assert found.joules == pytest.approx(found.watts * (span.end_ns - span.begin_ns) / 1e9)
    assert found.per_image == pytest.approx(found.joules / images)
    assert found.sampled_watts is None


@given(st.integers(0, 3 * SECOND), st.integers(0, 20 * SECOND))
def test_a_stretch_holds_the_samples_within_its_ends(begin: int, length: int) -> None:
    trace = metered()
    inside = [t for t in trace.at_ns if begin <= t <= begin + length]
    assert len(values(trace, "used_bytes", begin, begin + length)) == len(inside)


def test_the_state_is_that_of_measured_work_alone() -> None:
    heat = tuple(99 if i in (0, 8) else 50 for i in range(COUNT))
    found = state([metered(celsius=heat), metered(celsius=heat, sm_mhz=series(1200))])
    assert found.celsius == 50
    assert found.utilization == 90
    assert found.least_sm_mhz == 1200
    assert found.throttle == {}


def test_a_state_that_no_sample_tells_is_unknown() -> None:
    none = metered(sm_mhz=(None,) * COUNT, unknown={"sm_mhz": "no permission"})
    assert state([none]).sm_mhz == Unknown("no permission")
    assert state([none, metered()]).least_sm_mhz == 1965
    assert state([]).throttle == Unknown("no GPU was metered")
    assert state([metered(spans=make.SPANS[:1])]).celsius == Unknown("no sample fell into it")


def test_shares_name_every_reason_but_idling() -> None:
    assert shares([0x1, 0x4, 0x5, 0x400]) == {"power cap": 0.5, "reason 0x400": 0.25}


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=20))
def test_a_share_is_a_share_whatever_the_bits(bits: list[int]) -> None:
    found = shares(bits)
    assert all(0 < share <= 1 for share in found.values())
    assert len(found) == sum(any(b >> i & 1 for b in bits) for i in range(1, 63))


def test_reasons_are_those_of_the_drivers_header() -> None:
    pynvml = pytest.importorskip("pynvml")
    names = {
        "GpuIdle": 0x1, "ApplicationsClocksSetting": 0x2, "SwPowerCap": 0x4, "HwSlowdown": 0x8, "SyncBoost": 0x10,
        "SwThermalSlowdown": 0x20, "HwThermalSlowdown": 0x40, "HwPowerBrakeSlowdown": 0x80,
        "DisplayClockSetting": 0x100,
    }  # fmt: skip
    assert {name: getattr(pynvml, f"nvmlClocksEventReason{name}") for name in names} == names
    assert set(THROTTLES) == set(names.values())
    assert not IDLE & SLOWED


@pytest.mark.parametrize(("bits", "names"), [(0x4, ["power cap"]), (0x48, ["hardware slowdown", "heat (by hardware)"])])
def test_power_and_heat_hold_a_gpu_back(bits: int, names: list[str]) -> None:
    trace = metered(throttle=series(bits))
    assert slowed(trace, working(trace)) == names


@pytest.mark.parametrize("bits", [0x0, 0x1, 0x2, 0x10, 0x100])
def test_being_idle_and_settings_do_not(bits: int) -> None:
    trace = metered(throttle=series(bits))
    assert slowed(trace, working(trace)) == []


GPU = make.gpu_run()
WHOLE = build(GPU, make.laid_out(GPU))


def but(number: int, results: list[Any] | None = None, runner: str = "torch", **changed: Any) -> list[Any]:
    """The run with one measured cell changed."""
    return [
        r.model_copy(update=changed) if (r.outcome, r.cell.runner, r.cell.round) == ("measured", runner, number) else r
        for r in results or GPU
    ]


def test_without_a_trace_there_is_no_section_of_the_gpu() -> None:
    text = build(make.run(modes={"torch": ("compile",)}), {}).markdown
    assert not re.search("^## (GPU|Energy)", text, re.MULTILINE)


def test_memory_energy_and_state_stand_in_their_sections() -> None:
    memory = section(WHOLE, "GPU memory")
    assert re.search(r"\| torch +\| compile +\| +505 MiB \| +2,048 MiB \| +2,048 MiB \|", memory)
    assert "501 MiB before the first trial, 505 MiB before the last; 501 MiB to 505 MiB over 10 trials" in memory
    assert re.search(r"\| training +\| +\d\d\.\d mJ \|.*\| +60\.0 W \|", section(WHOLE, "Energy"))
    assert "energy needs 2 s of uninterrupted work" in section(WHOLE, "Energy")
    assert re.search(r"\| 5 of 5 +\| +90 % \| +57 °C \| 1,965 MHz, 1,965 MHz +\| never", section(WHOLE, "GPU state"))


def test_the_drift_is_told_in_the_order_of_time() -> None:
    early = build([*but(1, gpu=metered(base=900 << 20), started=make.START.replace(year=2025))], {})
    assert "900 MiB before the first trial, 505 MiB before the last" in section(early, "GPU memory")


def test_energy_is_ranked_as_speed_is_and_its_comparisons_are_counted() -> None:
    text = section(WHOLE, "Energy")
    lines = [line for line in text.splitlines() if "more examples per joule" in line]
    assert len(lines) == 3
    assert all(re.search(r"torch 1\.3\dx more examples per joule \(1\.[23]\d to 1\.3\d\)", line) for line in lines)
    assert "6 comparisons, 3 of them of energy, were made, so each interval is taken at 99.17 %" in WHOLE.markdown
    assert not WHOLE.failed


def test_energy_without_five_rounds_is_not_ranked() -> None:
    text = section(build(but(3, gpu=Unmetered(reason="no driver")), {}), "Energy")
    assert text.count("not ranked: too few rounds: 4 of 5") == 3
    assert "not known of 1 of 5 stretches: no driver" in text


def test_energy_without_a_proof_is_not_ranked() -> None:
    document = build([r for r in GPU if not (r.outcome == "proof" and r.cell.runner == "torch")], {})
    assert "examples per joule" not in section(document, "Energy").split("Ranked by the same rule as speed")[0]
    assert "| gate not run¹" in section(document, "Energy")
    assert "¹ compile: the gate has not run" in section(document, "Energy")


def test_energy_that_only_one_framework_told_is_not_ranked_and_the_reason_stands_there() -> None:
    silent = [
        r.model_copy(update={"gpu": Unmetered(reason="no permission")})
        if r.outcome == "measured" and r.cell.runner == "tf"
        else r
        for r in GPU
    ]
    document = build(silent, {})
    assert "¹ no permission" in section(document, "Energy")
    assert not document.failed


def test_a_gpu_beside_a_processors_cell_is_called_so_and_never_ranked() -> None:
    document = build(make.gpu_run(device="cpu"), {})
    for title in ("GPU memory", "Energy", "GPU state"):
        assert "compile, beside¹" in section(document, title)
        assert "computed nothing for them" in section(document, title)
    assert "examples per joule" not in document.markdown
    hot = but(2, make.gpu_run(device="cpu"), gpu=metered(throttle=series(0x4), utilization_percent=(30,) * COUNT))
    head, rest = build(hot, {}).markdown.split("## The answer")
    assert "GPU" not in head
    assert "Throttled" not in head
    assert "**Not idle** before trial 2-torch" in rest


def test_a_gpu_that_could_not_be_metered_is_a_dash_with_its_reason() -> None:
    nowhere = [
        r.model_copy(update={"gpu": Unmetered(reason="libnvidia-ml.so.1 is not there")})
        if r.outcome == "measured"
        else r
        for r in GPU
    ]
    document = build(nowhere, {})
    for title in ("GPU memory", "Energy", "GPU state"):
        assert re.search(r"\| compile +\|.*—¹", section(document, title))
        assert "libnvidia-ml.so.1 is not there" in section(document, title)


def test_a_throttled_cell_is_named_at_the_top_and_marked_where_its_speed_stands() -> None:
    late = Span(kind=QuestionKind.TRAINING, images=9, begin_ns=3 * SECOND, end_ns=7 * SECOND)
    bits = tuple(0x4 if late.begin_ns <= i * STEP < late.end_ns else 0 for i in range(COUNT))
    document = build(but(2, gpu=metered(throttle=bits)), {})
    head = document.markdown.split("## The answer")[0]
    assert "Throttled by power or heat: digits-mlp torch (compile), power cap in 1 of 5 cells." in head
    assert "throttled: power cap in 1 of 5 cells" in section(document, "Training")
    assert "throttled" not in section(document, "Throughput")
    assert "Throttled" not in WHOLE.markdown


@pytest.mark.parametrize(
    ("gpu", "words"),
    [
        (metered(utilization_percent=(30,) * COUNT), "30 % busy"),
        (metered(base=(502 << 20) + FAR_ABOVE), "65 MiB more in use than before another trial"),
    ],
)
def test_a_gpu_that_was_not_idle_before_a_trial_is_told(gpu: Metered, words: str) -> None:
    document = build(but(3, gpu=gpu), {})
    assert "The GPU was not idle before 1 of 10 trials." in document.markdown.split("## The answer")[0]
    assert f"**Not idle** before trial 3-torch: {words}." in section(document, "GPU memory")
    assert "not idle" not in WHOLE.markdown


def test_a_little_more_in_use_before_a_trial_is_no_one_elses() -> None:
    assert "not idle" not in build(but(3, gpu=metered(base=(501 << 20) + FAR_ABOVE)), {}).markdown


def test_the_instrument_is_judged_by_its_time_not_by_the_energy_of_an_idle_gpu() -> None:
    idle_null = [
        r.model_copy(update={"gpu": metered(60.0)}) if r.cell.runner == "null" and r.outcome == "measured" else r
        for r in GPU
    ]
    assert section(build(idle_null, {}), "Energy") == section(WHOLE, "Energy")


def test_a_question_of_energy_takes_the_spans_of_its_own_work() -> None:
    cell = make.measured(device="cuda", gpu=metered(300.0))
    for question, expected in (
        (Joules(QuestionKind.TRAINING), 1200 / 12_000),
        (Joules(QuestionKind.LATENCY, 1), 900 / 3000),
        (Joules(QuestionKind.THROUGHPUT, 256), 900 / 90_000),
    ):
        assert question.costs(cell) == pytest.approx((expected,))
        assert question.missing(cell) == ""
    assert Joules(QuestionKind.LATENCY, 8).costs(cell) == ()
    assert "2 s" in Joules(QuestionKind.LATENCY, 8).missing(cell)
    assert Joules(QuestionKind.LATENCY, 1) != Question(QuestionKind.LATENCY, 1)


def test_peaks_of_the_gpu_stand_beside_resident_memory() -> None:
    memory = make.measured().memory.model_copy(update={"device_bytes": 3 << 30, "allocator_bytes": 1 << 30})
    text = section(build(but(1, memory=memory), {}), "Memory")
    assert re.search(r"\| +device \| +allocator \|", text)
    assert re.search(r"\| tf +\|.*\| +—¹ \| +—² \|", text)
    assert "device" not in section(WHOLE, "Memory")


def test_hostile_names_of_gpus_stay_text() -> None:
    word = "<b>x</b> | [l](http://e.org)\n# y"
    gpu = metered(name=word, uuid=word, unknown={"sm_mhz": word}, sm_mhz=(None,) * COUNT)
    document = build([*but(3, gpu=gpu), make.measured("torch", "eager", device="cuda", gpu=Unmetered(reason=word))], {})
    assert "<b>" not in document.markdown.replace(r"\<b\>", "")
    assert not re.search(r"https?://", document.markdown)
