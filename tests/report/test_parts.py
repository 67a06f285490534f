"""Where a difference comes from: a line through latencies, and arithmetic per second."""

from __future__ import annotations

import re
from typing import Any

import pytest

import tests.support.results as make
import tests.support.turns as turned
from suite.report.document import build
from suite.report.evidence.parts import Difference
from suite.report.sections.parts import sentence
from suite.report.text.units import flops
from suite.results.records import Record, Timed
from suite.stats import Centre, Ratio, TooFew, line, mean_interval

pytestmark = pytest.mark.usefixtures("undrawn")
SIZES = (1, 16, 256)


def found(torch: tuple[float, float], tf: tuple[float, float], rounds: int = 5, sizes: Any = SIZES) -> list[Any]:
    """A fixed cost per call and a cost per example of each framework, in microseconds."""
    results: list[Any] = []
    for runner, mode, (fixed, each) in (("torch", "compile", torch), ("tf", "graph", tf)):
        results.append(make.proof(runner, mode))
        for n in range(1, rounds + 1):
            slow = 1 + 0.002 * ((n * 7 + len(mode)) % 5 - 2)
            results.append(turned.timed(runner, mode, n, slow=slow, fixed=1e3 * fixed, each=1e3 * each, sizes=sizes))
    return results


def told(results: list[Any]) -> str:
    markdown = build(results, {}).markdown
    part = re.search(r"^## Where the difference comes from\n(.*?)(?=^## |\Z)", markdown, re.DOTALL | re.MULTILINE)
    return part[1] if part else ""


def test_a_line_is_found_by_relative_errors() -> None:
    assert line((1, 64), (210.0, 840.0)) == pytest.approx((200.0, 10.0))
    assert line((1, 10, 100), (110.0, 200.0, 1100.0)) == pytest.approx((100.0, 10.0))
    off = line((1, 10, 1000), (110.0, 200.0, 10_100.0 * 1.05))
    assert off[0] == pytest.approx(100.0, rel=0.05), "the largest batch's noise is not the smallest's cost"
    for sizes, costs in (((1,), (2.0,)), ((1, 1), (2.0, 2.0)), ((1, 2), (2.0, 0.0))):
        with pytest.raises(ValueError, match="positive cost"):
            line(sizes, costs)


def test_a_mean_of_any_sign_has_an_interval_over_rounds() -> None:
    centre = mean_interval([-1.0, 0.0, 1.0, 0.0, 0.0])
    assert isinstance(centre, Centre)
    assert centre.low < centre.value == 0.0 < centre.high
    assert mean_interval([1.0] * 4) == TooFew("rounds", 4, 5)


def test_who_starts_sooner_and_from_which_batch_the_other_is_ahead() -> None:
    text = told(found((100, 10), (400, 7)))
    assert "- **digits-mlp**: a query to torch starts 300 µs sooner" in text
    assert "each image costs tf 1.43 times less" in text
    assert "from a batch of about 100 on tf is ahead." in text
    assert re.search(r"\| torch +\| compile +\| +100 µs \(99\.\d µs to 100 µs\) \| +10\.0 µs \(", text)


def test_a_crossing_beyond_what_was_timed_says_so() -> None:
    assert "about 1,000 on tf is ahead, beyond the largest that was timed" in told(found((100, 10), (400, 9.7)))


def test_where_one_is_ahead_in_both_there_is_no_crossing() -> None:
    text = told(found((100, 10), (200, 20)))
    assert "starts 100 µs sooner; each image costs torch 2.00 times less." in text
    assert "on tf is ahead" not in text


def test_the_same_per_image_is_said_to_be_the_same() -> None:
    assert "per image both cost the same, within 3 %." in told(found((100, 10), (270, 10)))
    text = told(found((100, 10), (110, 9.9)))
    assert "per image both cost the same, within 3 %; from a batch of about 100 on tf is ahead" in text


def test_lines_whose_slopes_are_not_clearly_apart_do_not_cross() -> None:
    results = [r for r in found((100, 10), (400, 9)) if r.cell.runner == "torch" or r.outcome == "proof"]
    for n, each in enumerate((6.0, 13.0, 8.0, 11.0, 9.5), 1):
        results.append(turned.timed("tf", "graph", n, slow=1.0, fixed=4e5, each=1e3 * each, sizes=SIZES))
    text = told(results)
    assert "per image no difference is clear." in text
    assert "is ahead" not in text


def test_without_five_rounds_there_is_no_sentence_and_without_two_sizes_no_line() -> None:
    assert "not compared, too few rounds: 3 of 5" in told(found((100, 10), (400, 7), rounds=3))
    assert "per call" not in told(found((100, 10), (400, 7), sizes=(1,)))


def test_what_is_within_the_noise_is_not_told_as_a_difference() -> None:
    unclear = Centre(1e3, -1e4, 1.2e4, 5, "rounds")
    of = Difference("torch", "tf", unclear, Ratio(1.1, 0.9, 1.3, 5, 0.95), None, 64)
    assert sentence(of, "image") == (
        "no difference is clear in what a query to torch or tf costs by itself; per image no difference is clear"
    )
    assert "within the noise" in sentence(Difference("torch", "tf", unclear, None, None, 64), "image")


def test_arithmetic_per_second_counts_three_passes_of_training() -> None:
    """4,736 FLOPs: three times as many in 0.2 ms of training, once in 0.05 ms of a pass."""
    text = told(found((100, 10), (400, 7)))
    assert re.search(r"torch +\| compile +\| +4,736 \| +71\.0 MFLOP/s \|[^|]+\| +94\.7 MFLOP/s", text)
    assert (flops(1.5e13), flops(2e9), flops(999.0)) == ("15.0 TFLOP/s", "2.00 GFLOP/s", "0.999 kFLOP/s")


def test_a_rate_is_a_share_of_the_best_product_that_any_framework_reached() -> None:
    results = found((100, 10), (400, 7))
    first = next(i for i, r in enumerate(results) if r.outcome == "timed" and r.cell.runner == "torch")
    second = next(i for i, r in enumerate(results) if r.outcome == "timed" and r.cell.runner == "tf")
    results[first] = results[first].model_copy(update={"peak_flops": 1e8})
    results[second] = results[second].model_copy(update={"peak_flops": 1.42e8})
    text = told(results)
    assert "71.0 MFLOP/s (50.0 %)" in text, "the better of the two is what the machine can do"
    assert "in float32 142 MFLOP/s by tf" in text
    assert "in the time of a byte" not in text, "old results tell no bandwidth"
    assert "is the limit, for" not in text


def test_nobody_reaches_more_than_the_machine_can_do() -> None:
    """A product beside which something else was at work is no peak."""
    results = found((100, 10), (400, 7))
    first = next(i for i, r in enumerate(results) if r.outcome == "timed" and r.cell.runner == "torch")
    results[first] = results[first].model_copy(update={"peak_flops": 5e7})
    text = told(results)
    shares = [float(share) for share in re.findall(r"\(([0-9.]+) %\)", text)]
    assert max(shares) == 100.0
    assert "Where a benchmark was computed faster than the product, that counts as the peak." in text


@pytest.mark.parametrize(
    ("bandwidth", "clear"),
    [
        (1e9, "training: arithmetic is the limit, for memory would let"),
        (1e5, "training: memory is the limit, for it lets"),
        (2.5e7, None),
        (2e5, None),
    ],
)
def test_which_roof_is_lower_is_told_where_it_is_clear(bandwidth: float, clear: str | None) -> None:
    """The network moves between 1 and 30 bytes for each FLOP; only roofs that lie apart for both tell anything."""
    results = found((100, 10), (400, 7))
    first = next(i for i, r in enumerate(results) if r.outcome == "timed" and r.cell.runner == "torch")
    slow = 1e-3 if bandwidth == 1e5 else 1.0
    if slow < 1:  # else who is faster than the memory had all in a cache
        results = [r if r.outcome == "proof" else slowed(r) for r in results]
    results[first] = results[first].model_copy(
        update={"peak_flops": 1.42e8, "peak_bytes": bandwidth, "peak_ns": 2 * 10**9}
    )
    text = told(results)
    assert (clear in text) if clear else ("is the limit, for" not in text)
    assert "Finding out what the machine can do took 2.00 s in all" in text
    assert "FLOPs in the time of a byte" in text


def slowed(record: Record) -> Record:
    """A thousand times slower."""
    if not isinstance(record, Timed):
        return record
    blocks = tuple(b.model_copy(update={"blocks_ns": tuple(1000 * ns for ns in b.blocks_ns)}) for b in record.blocks)
    return record.model_copy(update={"blocks": blocks})


def test_old_runs_have_no_such_section() -> None:
    assert told(make.run()) == ""
