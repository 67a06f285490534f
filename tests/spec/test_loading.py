"""From a file to Specs: paths in it are taken from its own folder, wherever the reader stands."""

import os
from pathlib import Path

import pytest

from suite.data import datasets
from suite.errors import SpecError
from suite.spec import loading
from suite.spec.resolved import Spec
from tests.support import own


def only(path: Path) -> Spec:
    (found,) = loading.load(path, datasets.describe)
    return found


def test_data_lie_beside_the_file_that_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = own.arrays(tmp_path / "a" / "data" / "own.npz")
    file = own.spec(tmp_path / "a" / "base.yaml")
    monkeypatch.chdir(tmp_path)
    own.arrays(tmp_path / "data" / "own.npz", seed=1)
    found = only(Path("a/base.yaml"))
    assert found == only(file)
    assert found.dataset == f"npz:{there}"
    assert found.data.name == "npz:own.npz"
    assert found.data.digest == datasets.load(found.dataset).facts.digest == datasets.describe(f"npz:{there}").digest


def test_the_same_data_at_two_places_are_one_spec_and_others_are_another(tmp_path: Path) -> None:
    for place in ("here", "elsewhere/deep"):
        own.arrays(tmp_path / place / "data" / "own.npz")
        own.spec(tmp_path / place / "base.yaml")
    own.arrays(tmp_path / "renamed" / "other.npz")
    own.spec(tmp_path / "renamed" / "base.yaml", dataset="npz:other.npz")
    own.arrays(tmp_path / "changed" / "data" / "own.npz", seed=1)
    own.spec(tmp_path / "changed" / "base.yaml")
    here, there, renamed, changed = (
        only(tmp_path / place / "base.yaml") for place in ("here", "elsewhere/deep", "renamed", "changed")
    )
    assert here.digest == there.digest == renamed.digest != changed.digest
    assert here.placeless == there.placeless
    assert str(tmp_path) in here.model_dump_json()
    assert str(tmp_path) not in here.placeless.model_dump_json()


@pytest.mark.parametrize("name", ["a b.npz", "a:b,c.npz", "größe 中.npz", "'quoted'.npz"])
def test_data_may_have_any_name(tmp_path: Path, name: str) -> None:
    own.arrays(tmp_path / name)
    assert only(own.spec(tmp_path / "base.yaml", dataset=f"npz:{name}")).data.train == 8


def unreadable(path: Path) -> None:
    path.touch()
    path.chmod(0)


WRONG = {
    "missing": (lambda path: None, "there is no such file"),
    "dangling": (lambda path: path.symlink_to("gone.npz"), "is a link to gone.npz, which is not there"),
    "circle": (lambda path: path.symlink_to(path.name), "cannot be read"),
    "folder": (lambda path: path.mkdir(), "cannot be read"),
    "pipe": (lambda path: os.mkfifo(path), "it is no regular file"),
    "empty": (lambda path: path.touch(), "is not a whole .npz file"),
    "text": (lambda path: path.write_text("name: x"), "is not a whole .npz file"),
    "unreadable": (unreadable, "cannot be read"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_data_that_cannot_be_had_are_refused_with_file_field_and_way_out(tmp_path: Path, kind: str) -> None:
    if kind == "unreadable" and os.getuid() == 0:
        pytest.skip("root reads everything")
    make, told = WRONG[kind]
    path = tmp_path / "own.npz"
    make(path)
    file = own.spec(tmp_path / "base.yaml", dataset="npz:own.npz")
    with pytest.raises(SpecError, match=told) as caught:
        loading.load(file, datasets.describe)
    assert caught.value.where == f"{file}: dataset"
    assert str(path) in caught.value.what
    assert caught.value.way_out


def test_a_path_that_is_too_long_or_forgets_its_prefix_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read"):
        loading.load(own.spec(tmp_path / "base.yaml", dataset=f"npz:{'x' * 5000}"), datasets.describe)
    with pytest.raises(SpecError, match="no data set is called") as caught:
        loading.load(own.spec(tmp_path / "base.yaml", dataset="data/own.npz"), datasets.describe)
    assert "npz:data/own.npz" in caught.value.way_out


def test_the_field_is_that_of_the_case_which_states_it(tmp_path: Path) -> None:
    file = own.spec(tmp_path / "base.yaml", cases={"a": {}, "b": {"dataset": "npz:none.npz"}})
    own.arrays(tmp_path / "data" / "own.npz")
    with pytest.raises(SpecError) as caught:
        loading.load(file, datasets.describe)
    assert caught.value.where == f"{file}: cases.b.dataset"


def test_a_parent_is_named_by_its_path_and_known_by_its_name(tmp_path: Path) -> None:
    own.study(tmp_path)
    (found,) = loading.stated(tmp_path / "specs" / "child.yaml", datasets.describe)
    assert found.spec.starts_from == "base"
    assert found.parent == tmp_path / "specs" / "base.yaml"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("none.yaml", "cannot be read"),
        ("two.yaml", r"is no single benchmark\n  There are: two.yaml/a, two.yaml/b"),
        ("two.yaml/c", "has no case 'c'"),
        ("base.yaml/c", "has no case 'c'"),
        ("weights:some/file.yaml", "no name for weights"),
        ("weights:../some", "no name for weights"),
    ],
)
def test_a_parent_that_is_not_there_is_refused_in_the_childs_name(tmp_path: Path, name: str, told: str) -> None:
    own.study(tmp_path)
    own.spec(tmp_path / "specs" / "two.yaml", cases={"a": {}, "b": {}})
    file = own.spec(tmp_path / "specs" / "child.yaml", dataset="npz:../data/own.npz", starts_from=name)
    with pytest.raises(SpecError, match=told) as caught:
        loading.load(file, datasets.describe)
    assert caught.value.where == f"{file}: starts_from"


def test_one_case_of_a_file_is_a_parent(tmp_path: Path) -> None:
    own.study(tmp_path)
    own.spec(tmp_path / "specs" / "two.yaml", name="two", cases={"a": {}, "b": {}})
    file = own.spec(tmp_path / "specs" / "child.yaml", dataset="npz:../data/own.npz", starts_from="two.yaml/b")
    assert only(file).starts_from == "two/b"
