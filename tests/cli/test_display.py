"""What the command line shows, and that nothing from a file can dress it up."""

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from suite.cli import display
from suite.results.identity import Check, Identity, Verdict
from suite.results.records import Cause
from suite.run.plan import Plan
from suite.run.session import Progress
from suite.spec.resolved import Spec
from tests.support import results, runs

MakeSpec = Callable[..., Spec]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is written to a screen that is no terminal."""
    return use(monkeypatch, terminal=False)


def use(monkeypatch: pytest.MonkeyPatch, *, terminal: bool) -> io.StringIO:
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=200, highlight=False, color_system=None)
    monkeypatch.setattr(display, "out", console)
    return file


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "under a minute"),
        (29, "under a minute"),
        (62, "about a minute"),
        (600, "about 10 minutes"),
        (7300, "about 2 hours"),
    ],
)
def test_durations_are_spoken_roughly(seconds: float, words: str) -> None:
    assert display.spoken(seconds) == words


def progress(made: Plan) -> list[Progress]:
    """Two looks at the first trial, one at the second, and the end."""
    first, second, *_ = made.entries
    total = len(made.entries)
    running = [(first, 0), (first, 0), (second, 1), (None, total)]
    return [Progress(entry, done, total, 60.0 * (total - done)) for entry, done in running]


def test_a_log_gets_a_line_for_each_trial(tmp_path: Path, shown: io.StringIO) -> None:
    made = runs.make(tmp_path)
    display.follow(made, progress(made))
    lines = shown.getvalue().splitlines()
    assert lines[0] == "[  0/5] proving: reference, 1 cell; about 5 minutes left"
    assert lines[1].startswith(f"[  1/5] round 1 of 2: {made.entries[1].runner}, 1 cell; about 4 minutes")
    assert len(lines) == 2


def test_a_terminal_gets_one_line_that_renews_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = use(monkeypatch, terminal=True)
    monkeypatch.setenv("COLUMNS", "31")
    made = runs.make(tmp_path)
    display.follow(made, progress(made))
    written = file.getvalue()
    assert written.count("\n") == 1
    assert written.endswith("\n")
    lines = written.rstrip("\n").split("\r")
    assert lines[0] == ""
    assert len(lines) == 4
    assert {len(line) for line in lines[1:]} == {30}, "no longer than the terminal is wide, and over what stood there"


def test_news_of_a_run_stands_on_lines_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what comes after the last trial."""
    made = runs.make(tmp_path)
    first, second, _, last = progress(made)
    told = [first, replace(second, news=("[red]a[/] diverged",)), replace(last, news=("b diverged", "c diverged"))]
    for terminal in (True, False):
        file = use(monkeypatch, terminal=terminal)
        display.follow(made, told)
        lines = re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue()).replace("\r", "\n").splitlines()
        assert [line for line in lines if line.startswith("note ")] == [
            "note [red]a[/] diverged",
            "note b diverged",
            "note c diverged",
        ]


def test_the_line_is_ended_when_the_run_is_broken_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = use(monkeypatch, terminal=True)
    made = runs.make(tmp_path)

    def interrupted() -> object:
        yield progress(made)[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        display.follow(made, interrupted())  # type: ignore[arg-type]
    assert file.getvalue().endswith("\n")


def test_markup_in_a_files_text_stays_text(make_spec: MakeSpec, shown: io.StringIO) -> None:
    spec = make_spec(title="[bold]loud[/] [link=http://e.org]x[/link]", validation_fraction=0.1)
    display.say("[red]said[/]")
    display.out.print(display.catalogue([spec]), display.facts(spec))
    text = shown.getvalue()
    assert "[red]said[/]" in text
    assert "[bold]loud[/] [link=http://e.org]x[/link]" in text


def test_a_benchmark_is_shown_with_all_that_follows_from_it(make_spec: MakeSpec, shown: io.StringIO) -> None:
    spec = make_spec(validation_fraction=0.1)
    display.out.print(display.layers(spec), display.facts(spec))
    text = " ".join(shown.getvalue().split())
    assert "dense_1 10 650 1,280 units 10, use_bias true, kernel_init glorot_uniform" in text
    assert "total 650 1,280" in text
    assert "examples 1,293 train, 144 validation, 360 test" in text
    assert "beta_1: 0.9" in text
    assert spec.digest in text


def test_words_that_mean_something_else_elsewhere_are_told(make_spec: MakeSpec, shown: io.StringIO) -> None:
    start, norm = {"kernel_init": "he_normal"}, {"layer": "batch_norm", "momentum": 0.1}
    dense = {"layer": "dense", "units": 10, **start}
    spec = make_spec(model=[{"layer": "flatten"}, dense, norm, dense])
    display.out.print(display.facts(spec))
    assert display.same_words(spec) == (
        (
            "he_normal is a whole normal distribution, as PyTorch's; Keras' and JAX's of that name are cut off at two "
            "standard deviations, at the same variance."
        ),
        (
            "momentum 0.1 of batch_norm_1 is the share of the old value that is kept, as in Keras; in PyTorch that is "
            "0.9, the share of the new one."
        ),
    )
    assert "same word" in shown.getvalue()
    usual = [{"layer": "flatten"}, {"layer": "batch_norm"}, {"layer": "dense", "units": 10}]
    assert display.same_words(make_spec(model=usual)) == ()


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0"), (768, "768"), (4_740, "4.74 k"), (999_999, "1000 k"), (24_600_000, "24.6 M"), (2_600_000_000, "2.60 G")],
)
def test_large_numbers_are_told_in_three_digits(count: int, words: str) -> None:
    assert display.short(count) == words


def test_what_is_frozen_and_started_from_is_shown(make_spec: MakeSpec, shown: io.StringIO) -> None:
    layers = [{"layer": "flatten"}, {"layer": "dense", "units": 2}, {"layer": "dense", "units": 10}]
    spec = make_spec(model=layers, frozen=["dense_1"], starts_from="other")
    display.out.print(display.layers(spec), display.facts(spec))
    text = " ".join(shown.getvalue().split())
    assert "dense_1 2 130 256 units 2, use_bias true, kernel_init glorot_uniform, bias_init zeros, frozen" in text
    assert text.count(", frozen") == 1
    assert "trained 30 of 160 parameters" in text
    assert "starts_from other" in text
    assert spec.computation in text


def test_proofs_say_what_they_cover_and_what_they_took(tmp_path: Path) -> None:
    twins = runs.SPEC.replace("epochs: 2\n", "") + "cases: {a: {epochs: 1}, b: {epochs: 2}, c: {epochs: 1, l2: 0.1}}\n"
    made = runs.make(tmp_path, spec=twins, rounds=0)
    found = [results.proof(seconds=1000.0), results.failed(seconds=234.4)]
    assert display.coverage(made, found) == (
        "tiny/a: covers tiny/a, tiny/b",
        "tiny/c: covers itself",
        "2 proofs of 2 computations, for 3 benchmarks: 1,234 s in all",
    )


def test_a_plan_is_shown_trial_by_trial(tmp_path: Path, shown: io.StringIO) -> None:
    made = runs.make(tmp_path)
    display.out.print(display.trials(made))
    lines = shown.getvalue().splitlines()
    assert len(lines) == 1 + len(made.entries)
    assert lines[1].split()[:2] == ["r00-00-reference", "proof"]
    assert lines[1].rstrip().endswith("tiny (numpy)")


def test_verdicts_stand_beside_what_came_closest_and_what_failed(shown: io.StringIO) -> None:
    """A bound of 0 allows nothing, and divides nothing."""
    exact = Check(section="float64 step 1, count", tensor="step", error=0.0, bound=0.0)
    near = Check(section="outputs", tensor="evaluation", error=5e-10, bound=1e-9)
    wrong = Check(section="gradients", tensor="dense_1/kernel", error=None, bound=1e-9)
    key = f"sha256:{'0' * 64}"
    good = Identity(verdict=Verdict.IDENTICAL, compared=2, checks=(exact, near), divergence=None, drift=None, key=key)
    bad = Identity(verdict=Verdict.UNPROVEN, compared=2, checks=(near, wrong), divergence=wrong, drift=None, key=key)
    proofs = [results.proof("torch", "eager").model_copy(update={"identity": found}) for found in (good, bad)]
    failed = results.failed("tf", "xla", cause=Cause.UNSUPPORTED, reason="no compiler\nand more")
    display.out.print(display.identities([*proofs, failed]))
    lines = [" ".join(line.split()) for line in shown.getvalue().splitlines()]
    assert lines[2:] == [
        "digits-mlp",
        "tf, xla unsupported no compiler",
        "torch, eager identical 2 outputs evaluation: 5.0e-10 of 1.0e-09",
        "torch, eager unproven 2 diverges: gradients: dense_1/kernel",
    ]
