from pathlib import Path

import pytest

from suite import data, plan
from suite.errors import DataError, ResultError, SpecError
from suite.plan import INSTRUMENT
from suite.run import BENCHMARKS
from tests import runs


def test_a_plan_proves_first_and_then_measures_every_runner_once_a_round(tmp_path: Path) -> None:
    made = runs.make(tmp_path, runners={"torch": ("eager", "compile"), "tf": ("xla",)}, rounds=3)
    assert [e.round for e in made.entries] == sorted(e.round for e in made.entries)
    assert {e.kind for e in made.entries if e.round == 0} == {"prove"}
    for number in (1, 2, 3):
        assert sorted(e.runner for e in made.entries if e.round == number) == ["null", "tf", "torch"]
    torch = next(e for e in made.entries if e.round == 1 and e.runner == "torch")
    assert sorted(cell.mode for cell in torch.cells) == ["compile", "eager"]


def test_one_process_per_cell_where_the_profile_says_so(tmp_path: Path) -> None:
    made = runs.make(tmp_path, runners={"torch": ("eager", "compile")}, process="cell", rounds=1)
    assert all(len(e.cells) == 1 for e in made.entries if e.round)
    assert len([e for e in made.entries if e.round == 1 and e.runner == "torch"]) == 2


def test_seeds_come_round_again_when_there_are_more_rounds(tmp_path: Path) -> None:
    made = runs.make(tmp_path, rounds=3, seeds=(7, 8))
    seeds = {e.round: {cell.seed for cell in e.cells} for e in made.entries}
    assert seeds == {0: {7}, 1: {7}, 2: {8}, 3: {7}}


def test_the_order_of_a_round_is_shuffled_and_always_the_same(tmp_path: Path) -> None:
    orders = []
    for name in "ab":
        made = runs.make(tmp_path / name, runners={"torch": ("eager",), "tf": ("xla",)}, rounds=12)
        orders.append([[e.runner for e in made.entries if e.round == n] for n in range(1, 13)])
    assert orders[0] == orders[1]
    assert len({tuple(order) for order in orders[0]}) > 1


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
        plan.choose(("nothing",), BENCHMARKS / "specs", data.describe)
    with pytest.raises(SpecError, match="tensorflow-recipe"):
        plan.choose(("mnist-mlp-128/nothing",), BENCHMARKS / "specs", data.describe)


def test_a_name_takes_every_case_and_a_path_takes_ones_own(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(runs.SPEC)
    chosen = plan.choose(
        ("mnist-mlp-128", "mnist-mlp-128/tensorflow-recipe", str(tmp_path / "own.yaml")),
        BENCHMARKS / "specs",
        data.describe,
    )
    assert [spec.id for spec in chosen] == ["mnist-mlp-128/tensorflow-recipe", "mnist-mlp-128/pytorch-recipe", "tiny"]


def test_benchmarks_whose_data_cannot_be_had_are_left_out_with_a_note() -> None:
    specs = plan.choose(("digits-mlp", "mnist-cnn"), BENCHMARKS / "specs", data.describe)

    def fetch(name: str) -> None:
        if name == "mnist":
            raise DataError("no mirror answers")

    kept, notes = plan.without_missing_data(specs, fetch)
    assert [spec.id for spec in kept] == ["digits-mlp"]
    assert "mnist" in notes[0]
    assert "mnist-cnn" in notes[0]
    assert "no mirror answers" in notes[0]


@pytest.mark.parametrize("content", ["", "{", '{"entries": []}', "[]"])
def test_a_plan_that_is_none_is_refused_by_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "plan.json").write_text(content)
    with pytest.raises(ResultError, match=r"plan\.json"):
        plan.read(tmp_path)


def test_the_instrument_is_measured_in_every_run() -> None:
    assert "null" in INSTRUMENT
