"""Every table of the command line at 80 and at 120 columns: no line is wider, and what matters most does not wrap."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import tests.support.results as make
from suite.cli import assets, commands, comparisons, display, outcome, show
from suite.cli.tables import Fitted, Layout
from suite.compare import commits
from suite.compare.commits import ComparedCell, ComparedRow, Refused
from suite.results import records
from suite.results.identity import Check, Identity, Verdict
from suite.results.questions import Question, QuestionKind
from suite.results.records import Cause
from suite.run import session
from suite.spec.resolved import Spec
from suite.stats import Slowdown, TooFew
from tests.support import runs

MODES = {"torch": ("compile",), "tf": ("graph",)}
LONG = make.spec("mnist-mlp-128", "tensorflow-recipe")
QUESTIONS = 3
"""Of each benchmark: training, latency, throughput."""
Shown = Callable[[], list[str]]


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.report.charts.drawing.svg", lambda figure: b"<svg/>")


@pytest.fixture(params=[80, 120])
def width(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def shown(width: int, monkeypatch: pytest.MonkeyPatch) -> Shown:
    """The lines on a terminal of so many columns, of which none may be wider; colours are left out."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=width, highlight=False, emoji=False, color_system=None)
    for module in (assets, commands, display, outcome, show):
        monkeypatch.setattr(module, "out", console)

    def lines() -> list[str]:
        found = [line.rstrip() for line in file.getvalue().splitlines()]
        assert [line for line in found if len(line) > width and not line.startswith(("report: ", "A: ", "B: "))] == []
        return found

    return lines


def save(folder: Path, results: list[Any], plan: dict[str, Any] | None = None) -> Path:
    for i, item in enumerate(results):
        records.write(folder / "results" / f"{i:03}.json", item)
    return folder


def stretched(results: list[Any], factor: float, runner: str) -> list[Any]:
    """The same with every time of one framework multiplied."""
    slower = iter(make.inside(results, 0, factor, place="native", image=None, build={}))
    return [
        s if r.outcome == "measured" and r.cell.runner == runner else r for r, s in zip(results, slower, strict=True)
    ]


def answer(lines: list[str], benchmark: str, note: str = comparisons.LEFT_TO_THE_REPORT) -> list[str]:
    """The lines below a benchmark's name, up to the next one."""
    rest = lines[lines.index(benchmark) + 1 :]
    return rest[: next(i for i, line in enumerate(rest) if not line.startswith("  "))]


@pytest.mark.parametrize("factor", [1.0, 6.0], ids=["undecided or near", "clear"])
def test_the_answer_has_one_line_for_each_question_with_ratio_and_interval(
    tmp_path: Path, shown: Shown, factor: float
) -> None:
    results = stretched(make.run(LONG, modes=MODES), factor, "tf")
    assert outcome.report_of(save(tmp_path, results)) == 0
    lines = shown()
    mine = answer(lines, "mnist-mlp-128/tensorflow-recipe")
    assert len(mine) == QUESTIONS
    for line, question in zip(mine, ("training", "latency, batch 1", "throughput, batch 256"), strict=True):
        assert line.split("  ")[1] == question
        assert line.endswith(")")
        assert " to " in line
    if factor > 2:
        assert all("  torch " in line and "x faster (" in line for line in mine)
    assert lines[-1] == f"report: {tmp_path / 'report.md'}"


def test_the_widest_verdicts_do_not_wrap_at_either_width(shown: Shown, width: int) -> None:
    """Nor at 80 columns, where the frameworks' own numbers are left to the report."""
    numbers = "53,600 examples/s (compile)", "126,000 examples/s (session)"
    verdicts = (
        "torch 8.67x faster (5.17 to 14.5)",
        "undecided: torch / tf 1.03 (0.86 to 1.22)",
        "equivalent within 3 %: torch / tf 1.00 (0.99 to 1.01)",
        "not ranked: too few rounds: 4 of 5",
        "not ranked: torch crashed, tf timed out",
    )
    rows = [
        ("mnist-mlp-128/tensorflow-recipe", f"throughput, batch {256 + i}", *numbers, said)
        for i, said in enumerate(verdicts)
    ]
    display.out.print(comparisons.answer([("benchmark", "question", "torch", "tf", "verdict"), *rows]))
    lines = shown()
    mine = answer(lines, "mnist-mlp-128/tensorflow-recipe")
    assert len(mine) == len(verdicts)
    assert all(line.endswith(said) for line, said in zip(mine, verdicts, strict=True))
    assert comparisons.LEFT_TO_THE_REPORT in lines


def test_numbers_of_the_frameworks_stand_there_where_they_fit(shown: Shown, width: int) -> None:
    row = ("digits-mlp", "latency, batch 1", "84.2 µs (eager)", "2.87 ms (graph)", "torch 34.1x faster (30.0 to 38.8)")
    display.out.print(comparisons.answer([("benchmark", "question", "torch", "tf", "verdict"), row]))
    text = "\n".join(shown())
    assert ("84.2 µs (eager)" in text, comparisons.LEFT_TO_THE_REPORT in text) == (width == 120, width == 80)


def test_several_pairs_of_frameworks_have_a_line_each(tmp_path: Path, shown: Shown) -> None:
    of = make.spec("mnist-mlp-128", "tensorflow-recipe")
    outcome.report_of(save(tmp_path, make.run(of, modes={**MODES, "jax": ("jit",)})))
    mine = answer(shown(), "mnist-mlp-128/tensorflow-recipe")
    assert len(mine) == 3 * QUESTIONS
    assert [line[2:10].strip() for line in mine] == ["training", "", "", "latency,", "", "", "throughp", "", ""]
    assert "torch / tf: " in mine[0]
    assert "torch / jax: " in mine[1]


def test_what_has_no_number_says_why_on_its_line(tmp_path: Path, shown: Shown, width: int) -> None:
    lost = make.spec("mnist-mlp-grid", "mlp-512-512-08-keras")
    failures = [
        make.failed(r, m, n, lost, cause)
        for (r, (m,)), cause in zip(MODES.items(), (Cause.OUT_OF_MEMORY, Cause.TIMED_OUT), strict=True)
        for n in (1, 2)
    ]
    assert outcome.report_of(save(tmp_path, [*make.run(LONG, modes=MODES), *failures])) == 1
    (mine,) = answer(shown(), "mnist-mlp-grid/mlp-512-512-08-keras")
    if width == 80:
        assert mine.endswith("no number: torch out of memory, tf timed out")
    else:
        assert mine.endswith("  no number")
        assert "  out of memory  " in mine
        assert "  timed out  " in mine


def test_what_diverged_is_told_with_seeds_and_epochs(tmp_path: Path, shown: Shown, width: int) -> None:
    results = [
        make.diverged(r, 1 + r.cell.seed % 2) if r.outcome == "measured" and r.cell.runner == "torch" else r
        for r in make.run(LONG, modes=MODES)
    ]
    outcome.report_of(save(tmp_path, results))
    lines = shown()
    mine = answer(lines, "mnist-mlp-128/tensorflow-recipe")
    assert "not ranked: torch: compile: 5 of 5 seeds diverged (epochs" in " ".join(" ".join(mine).split())
    assert len(mine) == QUESTIONS if width == 120 else len(mine) <= 2 * QUESTIONS
    assert any(line.startswith("note ") for line in lines)


def test_what_differs_stands_side_by_side_or_one_below_the_other(shown: Shown, width: int) -> None:
    rows = [
        ("what differs", "run 1", "run 2", "decides speed"),
        ("processor", "Intel(R) Xeon(R) Platinum 8581C CPU @ 2.30GHz", "AMD EPYC 9B45 128-Core Processor", "yes"),
        ("library oneDNN (tf)", "off", "on", "no"),
    ]
    display.out.print(comparisons.differences(rows))
    lines = shown()
    assert (len(lines) == 3) == (width == 120)
    if width == 80:
        assert lines[1:] == [
            "processor, decides speed",
            "  run 1  Intel(R) Xeon(R) Platinum 8581C CPU @ 2.30GHz",
            "  run 2  AMD EPYC 9B45 128-Core Processor",
            "library oneDNN (tf)",
            "  run 1  off",
            "  run 2  on",
        ]


def test_two_runs_have_a_line_for_each_question_or_two_where_little_fits(
    tmp_path: Path, shown: Shown, width: int
) -> None:
    results = make.run(LONG, modes=MODES)
    one = save(tmp_path / "one", results)
    other = save(tmp_path / "two", stretched(results, 1.2, "tf"))
    outcome.two_runs([one, other])
    lines = shown()
    mine = answer(lines, "mnist-mlp-128/tensorflow-recipe, tf, graph")
    each = 1 if width == 120 else 2
    assert len(mine) == 5 * each, "training, latency at three batch sizes, throughput"
    assert all(re.search(r" (µs|ms|images/s)( |$)", line) for line in mine[::each])
    assert all(line.endswith(("B slower", "undecided", "equivalent within 3 %")) for line in mine[each - 1 :: each])


def test_commits_have_a_line_for_each_question(shown: Shown, width: int) -> None:
    cell = ComparedCell(LONG.id, "torch", "compile", LONG.id)
    outcomes = (
        Slowdown(1.15, 1.10, 1.20, 7, 0.975), TooFew("rounds", 1, 5),
        Refused("not the same initial weights and batch order in both", failure=False),
    )  # fmt: skip
    asked = Question(QuestionKind.THROUGHPUT, 256)
    display.out.print(comparisons.two_commits(commits.told([ComparedRow(cell, asked, each) for each in outcomes])))
    mine = answer([*shown(), "end"], "mnist-mlp-128/tensorflow-recipe, torch, compile")
    assert mine[0].endswith("1.150 (1.100 to 1.200)  slower")
    assert mine[1].endswith("too few rounds: 1 of 5")
    assert len(mine) == 3 or width == 80


def test_proofs_stand_below_their_benchmarks(shown: Shown, width: int) -> None:
    near = Check(section="float32 predict 256", tensor="residual_3/body/batch_norm_1/gamma", error=5e-10, bound=1e-9)
    wrong = Check(section="float64 gradients", tensor="residual_3/shortcut/conv2d_1/kernel", error=0.5, bound=1e-9)
    key = f"sha256:{'0' * 64}"
    good = Identity(verdict=Verdict.IDENTICAL, compared=1204, checks=(near,), divergence=None, drift=None, key=key)
    bad = Identity(verdict=Verdict.UNPROVEN, compared=1204, checks=(wrong,), divergence=wrong, drift=None, key=key)
    found: list[Any] = [
        make.proof("tf", "session", LONG).model_copy(update={"identity": good}),
        make.proof("torch", "compile", LONG).model_copy(update={"identity": bad}),
        make.failed("torch", "eager", 0, LONG, Cause.UNSUPPORTED, "torch.compile needs a C++ compiler"),
    ]
    display.out.print(display.identities(found))
    mine = answer([*shown(), "end"], LONG.id)
    starts = [line.split("  ")[1] for line in mine if line[2] != " "]
    assert starts == ["tf, session", "torch, compile", "torch, eager"]
    assert len(mine) == 3 or width == 80
    assert ("1,204" in mine[0]) == (width == 120)
    assert "diverges: float64 gradients: residual_3/shortcut/conv2d_1/kernel" in " ".join(" ".join(mine).split())


def test_every_benchmark_of_the_catalogue_is_whole(shown: Shown) -> None:
    """Names, titles and sources are cut nowhere."""
    specs = session.find(session.catalogue()).asked
    display.out.print(display.catalogue(specs))
    lines = shown()
    text = " ".join(" ".join(lines).split())
    for spec in specs:
        assert any(line.startswith(f"  {spec.id} ") for line in lines)
        assert spec.title in text
        assert spec.source is None or spec.source.title in text


@pytest.mark.parametrize("name", ["cifar-resnet-small", "mnist-mlp-128/tensorflow-recipe"])
def test_a_benchmarks_layers_and_fields_keep_within_the_terminal(shown: Shown, name: str) -> None:
    (found,) = session.find((name,)).asked
    display.out.print(display.layers(found), display.facts(found))
    assert any(line.startswith("dense_1 ") for line in shown())


def test_the_other_tables_keep_within_the_terminal(shown: Shown, tmp_path: Path) -> None:
    assets.data_list()
    made = runs.make(tmp_path, spec=runs.SPEC + f"cases: {{{', '.join(f'case-{i}: {{}}' for i in range(9))}}}\n")
    display.out.print(display.trials(made))
    found = "tensorflow 2.21.0 computes on the processor (x86_64); cuda: TensorFlow finds no GPU; modes eager, graph"
    display.out.print(display.two_columns("what", "found", [("tf on cpu", found)]))
    lines = shown()
    assert any(line.startswith("fashion-mnist ") for line in lines)
    assert any(line.startswith("r00-00-reference ") for line in lines)


def test_whatever_a_cell_holds_no_line_is_wider_and_nothing_is_markup(shown: Shown) -> None:
    """Long words break, wide characters count twice, and nothing colours or moves the cursor."""
    hostile = "\x1b[31m[bold]" + "x" * 300 + "\r\n寬" * 40
    rows = [tuple(f"{hostile}{i}" for i in range(5))]
    for grouped in (True, False):
        for below in (True, False):
            display.out.print(Fitted((Layout(("a", "b", "c", "d", "e"), rows, grouped=grouped, below=below),)))
    lines = shown()
    assert any("[bold]" in line for line in lines)
    assert not any("\x1b" in line for line in lines)


def test_more_columns_than_a_terminal_has_room_for_keep_within_it(shown: Shown, make_spec: Callable[..., Spec]) -> None:
    rows = [tuple(f"word {i} and more" for i in range(30))]
    display.out.print(Fitted((Layout(tuple(map(str, range(30))), rows),)))
    assert len(shown()) > 2
