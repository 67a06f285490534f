"""How often prediction intervals hold one further run: the noises of benchmarks/coverage.py, with fewer runs."""

from __future__ import annotations

import pytest

from benchmarks.coverage import EPOCHS, IMAGES, Clipped, Log, Logit, Noise, counted, held, losses, main, shares, stops
from suite.scales import POSITIVE, SHARE, Bounds

RUNS = 1200
"""The standard error of a coverage of 95 % is 0.6 %."""
WHOLE = [noise for noise in shares() if not noise.broken]


@pytest.mark.parametrize("images", IMAGES)
@pytest.mark.parametrize("noise", WHOLE, ids=lambda noise: noise.words)
@pytest.mark.parametrize("seeds", [5, 20])
def test_an_interval_of_accuracies_holds_one_further_run_in_95_of_100(noise: Noise, images: int, seeds: int) -> None:
    found = held(counted(noise, images), seeds, RUNS, SHARE)
    assert 0.915 <= found.share <= 0.99
    assert found.width < 2.2


def test_over_all_noises_the_coverage_is_what_the_interval_states() -> None:
    found = [held(counted(noise, images), 5, RUNS, SHARE).share for noise in WHOLE for images in IMAGES]
    assert 0.94 <= sum(found) / len(found) <= 0.96


@pytest.mark.parametrize("noise", [n for n in losses() if not n.broken], ids=lambda noise: noise.words)
@pytest.mark.parametrize("seeds", [5, 20])
def test_an_interval_of_losses_holds_one_further_run_in_95_of_100(noise: Noise, seeds: int) -> None:
    found = held(noise, seeds, RUNS, POSITIVE)
    assert 0.925 <= found.share <= 0.975
    assert found.width < 2.2


@pytest.mark.parametrize("noise", list(stops()), ids=lambda noise: noise.words)
def test_an_interval_of_epochs_holds_one_further_run_in_95_of_100(noise: Noise) -> None:
    assert 0.925 <= held(noise, 5, RUNS, EPOCHS).share <= 0.975


@pytest.mark.parametrize(
    ("noise", "bounds"),
    [(n, SHARE) for n in shares() if n.broken] + [(n, POSITIVE) for n in losses() if n.broken],
    ids=lambda given: getattr(given, "words", ""),
)
def test_seeds_that_collapse_are_foretold_in_most_cases(noise: Noise, bounds: Bounds) -> None:
    """Five seeds of which none collapsed tell of none that may: no scale mends that."""
    assert held(noise, 5, RUNS, bounds).share > 0.89


def test_the_scales_that_were_not_taken_do_worse() -> None:
    """Plain ones miss more where runs are skewed; logits and logarithms are wide beyond use near their ends."""
    words = {noise.words: noise for noise in (*shares(), *losses())}
    skewed = counted(words["97.0 %, normal in the logit, s = 1"], 10_000)
    assert held(skewed, 5, RUNS, Clipped(0.0, 1.0)).share < held(skewed, 5, RUNS, SHARE).share - 0.015
    near_one = counted(words["99.0 %, normal in the share, s = 1.0 %"], 10_000)
    assert held(near_one, 5, RUNS, Logit(images=10_000)).width > 5 * held(near_one, 5, RUNS, SHARE).width
    near_zero = words["exponential"]
    assert held(near_zero, 5, RUNS, Log()).width > 5 * held(near_zero, 5, RUNS, POSITIVE).width


def test_the_command_prints_a_table_for_each_kind_and_the_same_one_each_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["coverage", "--runs", "20"])
    assert main() == 0
    first = capsys.readouterr().out
    assert main() == 0
    assert capsys.readouterr().out == first
    assert first.count("| --- |") == 6
