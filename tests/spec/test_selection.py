"""Which benchmarks are meant; whatever is wrong with one is found here, for every command alike."""

from pathlib import Path

import pytest

from suite.data import datasets
from suite.errors import SpecError
from suite.run import session
from suite.spec import loading
from suite.spec.selection import Chosen, resolve
from tests.support import own


def find(*wanted: object) -> Chosen:
    return resolve(tuple(map(str, wanted)), session.BENCHMARKS / "specs", datasets.describe)


def ids(chosen: Chosen) -> tuple[list[str], list[str]]:
    return [spec.id for spec in chosen.asked], [spec.id for spec in chosen.whole]


def test_a_stage_brings_the_file_that_it_starts_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own.study(tmp_path / "a")
    monkeypatch.chdir(tmp_path)
    found = find("a/specs/child.yaml")
    assert ids(found) == (["child"], ["child", "base"])
    assert found.notes == ("base was added, for child starts from its weights.",)


def test_a_stage_finds_its_parent_in_its_own_file_and_among_what_is_asked_for(tmp_path: Path) -> None:
    own.study(tmp_path)
    cases = {"first": {}, "second": {"starts_from": "two/first"}}
    file = own.spec(tmp_path / "specs" / "two.yaml", name="two", dataset="npz:../data/own.npz", cases=cases)
    assert ids(find(f"{file}/second")) == (["two/second"], ["two/second", "two/first"])
    named = own.spec(tmp_path / "specs" / "named.yaml", name="named", dataset="npz:../data/own.npz", starts_from="base")
    with pytest.raises(SpecError, match="no benchmark 'base'") as caught:
        find(named)
    assert caught.value.where == f"{named}: named: starts_from"
    assert "By its path it is base.yaml" in caught.value.way_out


def test_a_file_is_read_once_however_many_cases_share_its_data(tmp_path: Path) -> None:
    own.arrays(tmp_path / "data" / "own.npz")
    file = own.spec(tmp_path / "many.yaml", cases={f"c{i}": {} for i in range(9)})
    asked: list[str] = []
    resolve((str(file),), tmp_path, lambda name: (asked.append(name), datasets.describe(name))[1])
    assert len(asked) == 1


def test_two_benchmarks_of_one_name_are_refused_and_one_by_two_paths_is_one(tmp_path: Path) -> None:
    for place in ("a", "b"):
        own.arrays(tmp_path / place / "data" / "own.npz")
    one, same = (own.spec(tmp_path / place / "base.yaml") for place in ("a", "b"))
    (tmp_path / "link.yaml").symlink_to(one)
    assert ids(find(one, same, tmp_path / "link.yaml")) == (["base"], ["base"])
    own.spec(same, epochs=2)
    with pytest.raises(SpecError, match="base is the name of two benchmarks") as caught:
        find(one, same)
    assert caught.value.where == f"{same}: name"
    assert str(one) in caught.value.way_out


def test_a_circle_of_files_ends_and_is_refused_in_the_name_of_one(tmp_path: Path) -> None:
    own.arrays(tmp_path / "data" / "own.npz")
    one = own.spec(tmp_path / "one.yaml", name="one", starts_from="two.yaml")
    own.spec(tmp_path / "two.yaml", name="two", starts_from="one.yaml")
    with pytest.raises(SpecError, match="leads in a circle") as caught:
        find(one)
    assert caught.value.where == f"{one}: one: starts_from"


def test_a_stage_that_does_not_fit_its_parent_is_refused(tmp_path: Path) -> None:
    own.study(tmp_path)
    wide = [{"layer": "flatten"}, {"layer": "dense", "units": 3}, {"layer": "dense", "units": 2}]
    child = own.spec(
        tmp_path / "specs" / "child.yaml",
        name="child",
        model=wide,
        dataset="npz:../data/own.npz",
        starts_from="base.yaml",
    )
    with pytest.raises(SpecError, match="dense_1/"):
        find(child)


@pytest.mark.parametrize("item", ["z" * 300, "z" * 5000 + ".yaml", "../specs/digits-mlp", "mnist-mlp-128/" + "z" * 300])
def test_a_name_of_whatever_length_is_refused_in_a_sentence(item: str) -> None:
    with pytest.raises(SpecError) as caught:
        find(item)
    assert len(caught.value.what) < 200


def test_the_path_of_a_file_is_found_for_one_who_gave_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own.study(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError) as caught:
        find("specs/base")
    assert "By its path it is specs/base.yaml" in caught.value.way_out


def test_the_catalogue_is_whole() -> None:
    assert len(find(*session.catalogue()).whole) == len(find(*session.catalogue()).asked)
    assert loading.load(session.BENCHMARKS / "specs" / "digits-mlp.yaml", datasets.describe) == find("digits-mlp").asked
