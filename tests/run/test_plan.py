from pathlib import Path

import pytest

from suite.data import datasets
from suite.errors import ResultError, SpecError
from suite.run import plan, session
from suite.run.plan import INSTRUMENT
from suite.run.session import BENCHMARKS
from suite.runners.base import Threads
from tests.support import runs


def test_a_plan_proves_first_then_trains_then_times_in_rounds(tmp_path: Path) -> None:
    made = runs.make(tmp_path, runners={"torch": ("eager", "compile"), "tf": ("xla",)}, rounds=3)
    kinds = [entry.kind for entry in made.entries]
    assert kinds == ["prove"] * 2 + ["measure"] * 4 + ["turns"] * 3
    assert {entry.round for entry in made.entries if entry.kind == "prove"} == {0}
    assert [entry.round for entry in made.entries if entry.kind == "measure"] == [1, 1, 2, 2]
    assert [(entry.round, entry.runner) for entry in made.entries if entry.kind == "turns"] == [
        (1, None),
        (2, None),
        (3, None),
    ]
    cells = {(cell.runner, cell.mode) for entry in made.entries if entry.kind == "turns" for cell in entry.cells}
    assert cells == {("torch", "eager"), ("torch", "compile"), ("tf", "xla"), ("null", "null")}


def test_a_framework_is_trained_in_one_mode_the_first_or_the_one_that_is_named(tmp_path: Path) -> None:
    """What it learns does not depend on its mode: that was proven."""
    runners = {"torch": ("eager", "compile"), "tf": ("xla",)}
    for train_in, mode in (({}, "eager"), ({"torch": "compile"}, "compile"), ({"torch": "gone"}, "eager")):
        made = runs.make(tmp_path, runners=runners, train_in=train_in)
        found = {(c.runner, c.mode) for entry in made.entries if entry.kind == "measure" for c in entry.cells}
        assert found == {("torch", mode), ("tf", "xla")}


def test_every_precision_is_proven_trained_and_timed_and_null_beside_each(tmp_path: Path) -> None:
    made = runs.make(tmp_path, runners={"torch": ("eager", "compile")}, precisions=("float32", "bfloat16"), rounds=1)
    cells = {
        kind: [c for e in made.entries if e.kind == kind for c in e.cells] for kind in ("prove", "measure", "turns")
    }
    assert {(c.mode, c.precision) for c in cells["prove"]} == {
        (mode, precision) for mode in ("eager", "compile") for precision in ("float32", "bfloat16")
    }
    assert [(c.mode, c.precision, c.seed) for c in cells["measure"]].count(("eager", "bfloat16", 0)) == 1
    assert {(c.runner, c.precision) for c in cells["turns"]} == {
        (runner, precision) for runner in ("torch", "null") for precision in ("float32", "bfloat16")
    }
    assert len({(e.id, c.slug) for e in made.entries for c in e.cells}) == sum(len(e.cells) for e in made.entries)
    assert {c.program for c in cells["turns"] if c.mode == "eager"} == {"eager", "eager bfloat16"}


def test_a_later_stage_starts_from_the_first_precision_whatever_its_own(tmp_path: Path) -> None:
    made = runs.make(tmp_path, runners={"torch": ("eager",)}, precisions=("bfloat16", "float32"), rounds=1)
    giver = made.donor("tiny", 1)
    assert giver
    assert giver[1].precision == "bfloat16"


def test_a_processor_leaves_out_tf32_and_says_so(tmp_path: Path) -> None:
    made = runs.make(tmp_path, precisions=("float32", "tf32"))
    assert made.profile.precisions == ("float32",)
    assert any("tf32" in note for note in made.notes)
    with pytest.raises(SpecError, match="tf32"):
        runs.make(tmp_path, precisions=("tf32",))
    on_a_gpu = runs.make(tmp_path, precisions=("float32", "tf32"), device="cuda")
    assert {c.precision for e in on_a_gpu.entries for c in e.cells} == {"float32", "tf32"}


def test_precisions_that_are_none_or_named_twice_are_refused() -> None:
    with pytest.raises(ValueError, match="float32"):
        runs.profile(precisions=("float16",))
    with pytest.raises(ValueError, match="at least 1"):
        runs.profile(precisions=())
    with pytest.raises(ValueError, match="once each"):
        runs.profile(precisions=("bfloat16", "bfloat16"))


def test_there_is_a_training_from_each_seed_or_as_many_as_are_asked_for(tmp_path: Path) -> None:
    def seeds(**changes: object) -> list[tuple[int, int]]:
        made = runs.make(tmp_path, seeds=(7, 8), **changes)
        return [(entry.round, cell.seed) for entry in made.entries if entry.kind == "measure" for cell in entry.cells]

    assert seeds() == [(1, 7), (2, 8)]
    assert seeds(trainings=3) == [(1, 7), (2, 8), (3, 7)]
    assert seeds(trainings=0) == seeds(rounds=0) == []


def test_the_first_training_has_a_process_for_each_cell_and_later_ones_share_one(tmp_path: Path) -> None:
    """The memory of a process is told of one cell alone."""
    spec = runs.SPEC + "cases: {one: {}, two: {batch_size: 32}, three: {batch_size: 16}}\n"
    made = runs.make(tmp_path, spec=spec, runners={"torch": ("eager",), "tf": ("xla",)}, trainings=3)
    sizes = {n: [len(e.cells) for e in made.entries if e.kind == "measure" and e.round == n] for n in (1, 2, 3)}
    assert sizes == {1: [1] * 6, 2: [3, 3], 3: [3, 3]}


@pytest.mark.parametrize("looks", [(3, 2, 5), (2, 2, 5), (2, 4), (6,)])
def test_looks_rise_and_the_last_is_the_last_round(looks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="looks rise from round to round"):
        runs.profile(rounds=5, looks=looks)


def test_looks_are_rounds_or_none(tmp_path: Path) -> None:
    for looks in ((), (5,), (2, 3, 5)):
        assert runs.profile(rounds=5, looks=looks).looks == looks


TWINS = (
    runs.SPEC.replace("model: {mlp: {hidden: [8]}}\n", "").replace("epochs: 2\n", "")
    + """
cases:
  short: {model: {mlp: {hidden: [8]}}, epochs: 1}
  other: {model: {mlp: {hidden: [9]}}, epochs: 1}
  long: {model: {mlp: {hidden: [8]}}, epochs: 9}
"""
)


def test_specs_that_compute_the_same_are_proven_once_and_measured_each(tmp_path: Path) -> None:
    made = runs.make(
        tmp_path, spec=TWINS, runners={"torch": ("eager", "compile"), "tf": ("xla",)}, rounds=1, trainings=1
    )
    proven = sorted((c.spec, c.runner, c.mode) for e in made.entries if e.kind == "prove" for c in e.cells)
    ways = [("tf", "xla"), ("torch", "compile"), ("torch", "eager")]
    assert proven == [(f"tiny/{case}", *way) for case in ("other", "short") for way in ways]
    measured = [c.spec for e in made.entries if e.kind == "measure" for c in e.cells if c.runner == "tf"]
    assert sorted(measured) == ["tiny/long", "tiny/other", "tiny/short"]
    timed = [c.spec for e in made.entries if e.kind == "turns" for c in e.cells if c.runner == "tf"]
    assert sorted(timed) == sorted(measured)


def test_a_process_proves_so_many_cells_and_no_more(tmp_path: Path) -> None:
    cases = "".join(f"  c{i}: {{model: {{mlp: {{hidden: [{i + 1}]}}}}}}\n" for i in range(13))
    spec = runs.SPEC.replace("model: {mlp: {hidden: [8]}}\n", "") + "cases:\n" + cases
    made = runs.make(tmp_path, spec=spec, runners={"torch": ("eager", "compile"), "tf": ("xla",)}, rounds=0)
    sizes = [(e.runner, len(e.cells)) for e in made.entries]
    assert sorted(sizes) == [("tf", 1), ("tf", 12), ("torch", 2), ("torch", 12), ("torch", 12)]
    cells = [cell for e in made.entries for cell in e.cells]
    assert len(set(cells)) == len(cells) == 39


STAGES = (
    runs.SPEC.replace("epochs: 2\n", "epochs: 1\n")
    + """
cases:
  third: {starts_from: tiny/second}
  second: {starts_from: tiny/first, inherits: [dense_1]}
  first: {}
  alone: {}
"""
)


def test_a_stage_comes_after_all_that_it_may_start_from(tmp_path: Path) -> None:
    """In each training, and in turns after all of them."""
    made = runs.make(tmp_path, spec=STAGES, runners={"torch": ("eager",), "tf": ("xla", "graph")}, trainings=8)
    trained = [entry for entry in made.entries if entry.kind == "measure"]
    for number in range(1, 9):
        order = [cell.spec for e in trained if e.round == number for cell in e.cells]
        assert len(order) == 8
        assert [set(order[:4]), set(order[4:6]), set(order[6:])] == [
            {"tiny/first", "tiny/alone"}, {"tiny/second"}, {"tiny/third"}
        ]  # fmt: skip
    orders = [[e.runner for e in trained if e.round == number] for number in range(1, 9)]
    assert len({tuple(order) for order in orders}) > 1
    kinds = [entry.kind for entry in made.entries]
    assert kinds.index("turns") > max(i for i, kind in enumerate(kinds) if kind == "measure")


def test_the_first_runner_gives_its_weights_to_the_stages_after_it(tmp_path: Path) -> None:
    """Whichever framework comes first in a training."""
    runners = {"torch": ("eager", "compile"), "tf": ("xla",)}
    made = runs.make(tmp_path, spec=STAGES, runners=runners, trainings=6)
    giving = [(e.round, c.spec, c.runner, c.mode) for e in made.entries for c in e.cells if made.gives(e, c)]
    assert sorted(giving) == [
        (number, f"tiny/{case}", "torch", "eager") for number in range(1, 7) for case in ("first", "second")
    ]
    entry, cell = made.donor("tiny/first", 2) or pytest.fail("no donor")
    assert (entry.round, cell.round, cell.spec, cell.runner, cell.mode) == (2, 2, "tiny/first", "torch", "eager")


def test_where_nothing_is_measured_no_stage_needs_another(tmp_path: Path) -> None:
    alone = STAGES.replace("tiny/first", "elsewhere")
    with pytest.raises(SpecError, match="elsewhere"):
        runs.make(tmp_path / "measured", spec=alone)
    made = runs.make(tmp_path / "proven", spec=alone, rounds=0)
    assert {e.kind for e in made.entries} == {"prove"}


def test_tuned_inference_ends_the_run_in_the_first_mode_of_every_runner(tmp_path: Path) -> None:
    made = runs.make(
        tmp_path, spec=STAGES, runners={"torch": ("eager", "compile"), "tf": ("xla",)}, rounds=2, tunings=("batch:8",)
    )
    kinds = [entry.kind for entry in made.entries]
    assert kinds[kinds.index("tune") :] == ["tune"] * 16
    for number in (1, 2):
        cells = [e.cells for e in made.entries if e.round == number and e.kind == "tune"]
        assert {len(each) for each in cells} == {1}
        assert {(c.spec[5:], c.runner, c.mode) for (c,) in cells} == {
            (case, *way)
            for case in ("first", "second", "third", "alone")
            for way in (("torch", "eager"), ("tf", "xla"))
        }
    assert all(made.gives(*made.donor(spec.id, 1)) for spec in made.specs), "tuned over trained weights"


def test_seeds_come_round_again_when_there_are_more_rounds(tmp_path: Path) -> None:
    made = runs.make(tmp_path, rounds=3, seeds=(7, 8))
    turns = {e.round: {cell.seed for cell in e.cells} for e in made.entries if e.kind in ("prove", "turns")}
    assert turns == {0: {7}, 1: {7}, 2: {8}, 3: {7}}


def test_the_order_of_benchmarks_in_a_round_is_shuffled_and_always_the_same(tmp_path: Path) -> None:
    orders = []
    for name in "ab":
        made = runs.make(tmp_path / name, spec=STAGES, rounds=12)
        turns = [entry for entry in made.entries if entry.kind == "turns"]
        orders.append([[e.cells[0].spec for e in turns if e.round == n] for n in range(1, 13)])
    assert orders[0] == orders[1]
    assert len({tuple(order) for order in orders[0]}) > 1
    assert {frozenset(order) for order in orders[0]} == {frozenset(orders[0][0])}


def test_the_run_is_named_by_what_decides_it(tmp_path: Path) -> None:
    same = runs.make(tmp_path / "a"), runs.make(tmp_path / "b")
    assert same[0].id == same[1].id
    assert same[0].model_copy(update={"notes": ("other",), "command": "other"}).id == same[0].id
    others = {same[0].model_copy(update={field: "x"}).id for field in ("machine", "source")}
    others |= {
        runs.make(tmp_path / "c", epochs=2).id,
        runs.make(tmp_path / "d", spec=runs.SPEC.replace("0.1", "0.2")).id,
    }
    assert len(others | {same[0].id}) == 5


def test_file_names_of_all_cells_differ(tmp_path: Path) -> None:
    made = runs.make(tmp_path, runners={"torch": ("eager", "compile"), "tf": ("xla",)}, rounds=4)
    names = [entry.file(cell) for entry in made.entries for cell in entry.cells]
    assert len(set(names)) == len(names)


def test_an_unknown_benchmark_or_case_is_refused_with_those_there_are() -> None:
    with pytest.raises(SpecError, match="digits-mlp"):
        plan.choose(("nothing",), BENCHMARKS / "specs", datasets.describe)
    with pytest.raises(SpecError, match="tensorflow-recipe"):
        plan.choose(("mnist-mlp-128/nothing",), BENCHMARKS / "specs", datasets.describe)


def test_a_name_takes_every_case_and_a_path_takes_ones_own(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(runs.SPEC)
    chosen = plan.choose(
        ("mnist-mlp-128", "mnist-mlp-128/tensorflow-recipe", str(tmp_path / "own.yaml")),
        BENCHMARKS / "specs",
        datasets.describe,
    )
    assert [spec.id for spec in chosen] == ["mnist-mlp-128/tensorflow-recipe", "mnist-mlp-128/pytorch-recipe", "tiny"]


@pytest.mark.parametrize("content", ["", "{", '{"entries": []}', "[]"])
def test_a_plan_that_is_none_is_refused_by_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "plan.json").write_text(content)
    with pytest.raises(ResultError, match=r"plan\.json"):
        plan.read(tmp_path)


def test_the_instrument_is_measured_in_every_run() -> None:
    assert "null" in INSTRUMENT


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("3", Threads(intra=3, inter=1)),
        ("{intra: 3}", Threads(intra=3, inter=1)),
        ("{intra: 2, inter: 3}", Threads(intra=2, inter=3)),
        ("null", None),
    ],
)
def test_threads_are_a_number_or_both_numbers(tmp_path: Path, written: str, read: Threads | None) -> None:
    path = tmp_path / "own.yaml"
    path.write_text((BENCHMARKS / "profiles" / "quick.yaml").read_text() + f"threads: {written}\n")
    assert session.profile(str(path)).threads == read


@pytest.mark.parametrize("written", ["0", "-1", "{intra: 0}", "{inter: 1}", "true", "'2'", "1.5", "[2]"])
def test_threads_that_are_none_are_refused(tmp_path: Path, written: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text((BENCHMARKS / "profiles" / "quick.yaml").read_text() + f"threads: {written}\n")
    with pytest.raises(SpecError, match="threads"):
        session.profile(str(path))


@pytest.mark.parametrize("asked", [Threads(intra=2), Threads(intra=1, inter=2)])
def test_more_threads_than_cores_are_refused_with_how_many_there_are(tmp_path: Path, asked: Threads) -> None:
    """The tests' plans are made for a machine of one core."""
    assert runs.make(tmp_path, threads=Threads(intra=1)).threads == runs.make(tmp_path).threads == Threads(intra=1)
    with pytest.raises(SpecError, match=r"are more than the 1 core that(.|\n)*--threads 1"):
        runs.make(tmp_path, threads=asked)
