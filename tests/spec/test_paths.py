"""Where a path leads: from the file that states it, or from the current folder; absolute ever after."""

import os
from pathlib import Path

import pytest

from suite.errors import SpecError
from suite.spec import paths


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder that has nothing to do with the files."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    "text", ["data/x.npz", "./data/x.npz", "../files/data/x.npz", "{files}/data/x.npz", "~/data/x.npz"]
)
def test_every_way_to_write_a_path_means_one_file(
    tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    monkeypatch.setenv("HOME", str(files))
    assert paths.absolute(text.format(files=files), files) == files / "data" / "x.npz"


def test_without_a_file_a_path_is_taken_from_the_current_folder(elsewhere: Path) -> None:
    assert paths.absolute("x.yaml") == elsewhere / "x.yaml"
    assert paths.benchmark("x.yaml") == f"{elsewhere}/x.yaml"
    assert paths.benchmark("x.yaml/case") == f"{elsewhere}/x.yaml/case"
    assert paths.benchmark("digits-mlp") == "digits-mlp"
    assert paths.dataset("npz:x.npz") == f"npz:{elsewhere}/x.npz"
    assert paths.dataset("digits") == "digits"


def test_what_a_file_states_does_not_depend_on_the_link_that_leads_to_it(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "links").mkdir()
    file, link = tmp_path / "real" / "it.yaml", tmp_path / "links" / "it.yaml"
    file.touch()
    link.symlink_to(file)
    assert paths.folder_of(link) == paths.folder_of(file) == tmp_path / "real"


def test_a_file_keeps_its_own_name_where_it_is_a_link_and_dots_lead_where_the_system_goes(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "way").symlink_to(tmp_path / "deep" / "er")
    (tmp_path / "deep" / "now.npz").symlink_to(tmp_path / "v1.npz")
    assert paths.absolute("way/../now.npz", tmp_path) == tmp_path / "deep" / "now.npz"


@pytest.mark.parametrize("name", ["a b.yaml", "a:b,c.yaml", "größe 中.yml", "[red]x.YAML", "-x.yaml"])
def test_a_name_of_whatever_characters_is_a_name(tmp_path: Path, name: str) -> None:
    assert paths.split(name) == (name, "")
    assert paths.split(f"{name}/small") == (name, "small")
    assert paths.absolute(name, tmp_path) == tmp_path / name


@pytest.mark.parametrize("name", ["digits-mlp", "mnist-mlp-128/pytorch-recipe", "yaml", "", "/", "weights:some"])
def test_what_ends_in_no_yaml_is_no_path(name: str) -> None:
    assert paths.split(name) is None


def test_a_label_is_the_same_on_every_machine() -> None:
    assert paths.label("npz:/home/me/a b/x.npz") == "npz:x.npz"
    assert paths.label("mnist") == "mnist"
    assert paths.file_of("npz:/home/me/x.npz") == Path("/home/me/x.npz")
    assert paths.file_of("mnist") is None


def test_a_path_that_json_cannot_hold_is_refused_and_shown_as_far_as_it_can_be(tmp_path: Path) -> None:
    for text, folder in ((os.fsdecode(b"caf\xe9.npz"), tmp_path), ("x.npz", tmp_path / os.fsdecode(b"caf\xe9"))):
        with pytest.raises(SpecError, match="not UTF-8") as caught:
            paths.absolute(text, folder)
        str(caught.value).encode()


def test_a_current_folder_that_is_gone_is_a_sentence(elsewhere: Path) -> None:
    elsewhere.rmdir()
    with pytest.raises(SpecError, match="no longer there"):
        paths.absolute("x.yaml")
    assert paths.absolute("/x.yaml") == Path("/x.yaml")


def test_a_pipe_is_no_file_to_wait_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "none"):
        with pytest.raises(OSError, match=r"regular|folder|No such file"):
            paths.check_regular(path)
    (tmp_path / "file").touch()
    paths.check_regular(tmp_path / "file")


def test_in_a_container_the_way_out_says_what_is_mounted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PARITY_PLACE", raising=False)
    assert "PARITY_FILES" not in paths.way_out()
    monkeypatch.setenv("PARITY_PLACE", "container")
    assert "PARITY_FILES" in paths.way_out()
