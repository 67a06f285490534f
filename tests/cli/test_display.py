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
from suite.run.conductor import Progress
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


def progress() -> list[Progress]:
    """Two looks at the proofs, one at a round, and the end."""
    told = [("proving, reference: tiny", 0), ("proving, reference: tiny", 0), ("round 1 of 2: tiny, 3 laps", 1)]
    return [Progress(doing, done, 5, 60.0 * (5 - done)) for doing, done in (*told, ("finished", 5))]


def test_a_log_gets_a_line_for_whatever_begins(shown: io.StringIO) -> None:
    display.follow(progress())
    assert shown.getvalue().splitlines() == [
        "[  0/5] proving, reference: tiny; about 5 minutes left",
        "[  1/5] round 1 of 2: tiny, 3 laps; about 4 minutes left",
        "[  5/5] finished; under a minute left",
    ]


SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def test_a_terminal_gets_the_answers_so_far_and_one_line_that_renews_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    file = use(monkeypatch, terminal=True)
    told = progress()
    told[2] = replace(told[2], ended=1)
    answers = iter([display.two_columns("benchmark", "verdict", [("tiny", "torch 2x faster")])])
    display.follow(told, lambda: next(answers))
    written = file.getvalue()
    plain = SEQUENCE.sub("", written).replace("\r", "")
    assert plain.index("proving") < plain.index("torch 2x faster") < plain.index("finished")
    assert plain.count("proving, reference: tiny") == 2
    assert "\x1b[2K" in written, "what stood there is wiped"
    assert "\x1b[?25h" in written, "the cursor is shown again"


def test_a_line_is_no_longer_than_the_terminal_is_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    file = use(monkeypatch, terminal=True)
    monkeypatch.setattr(display.out, "width", 31)
    display.follow(progress())
    lines = [line for line in re.split(r"[\r\n]", SEQUENCE.sub("", file.getvalue())) if line.strip()]
    assert lines
    assert max(len(line.rstrip()) for line in lines) <= 31


def test_what_a_benchmarks_name_hides_moves_no_cursor(monkeypatch: pytest.MonkeyPatch, shown: io.StringIO) -> None:
    told = [Progress("round 1 of 1: ti\x1b[2Jny", 0, 1, 1.0)]
    display.follow(told)
    assert "\x1b" not in shown.getvalue()
    file = use(monkeypatch, terminal=True)
    display.follow(told)
    assert "\x1b[2J" not in file.getvalue()


def test_news_of_a_run_stands_on_lines_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what comes after the last trial."""
    first, second, _, last = progress()
    told = [first, replace(second, news=("[red]a[/] diverged",)), replace(last, news=("b diverged", "c diverged"))]
    for terminal in (True, False):
        file = use(monkeypatch, terminal=terminal)
        display.follow(told)
        lines = SEQUENCE.sub("", file.getvalue()).replace("\r", "\n").splitlines()
        assert [line for line in lines if line.startswith("note ")] == [
            "note [red]a[/] diverged",
            "note b diverged",
            "note c diverged",
        ]


def test_the_cursor_is_shown_again_when_the_run_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    file = use(monkeypatch, terminal=True)

    def interrupted() -> object:
        yield progress()[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        display.follow(interrupted())  # type: ignore[arg-type]
    assert "\x1b[?25h" in file.getvalue()


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
    told = [line.split() for line in lines[1:]]
    assert [(words[0][:3], words[1]) for words in told] == [
        ("r00", "proof"), ("t01", "training"), ("t02", "training"), ("r01", "round"), ("r02", "round")
    ]  # fmt: skip
    assert lines[1].rstrip().endswith("tiny (numpy)")
    assert lines[4].rstrip().endswith("tiny (numpy, null)")


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
