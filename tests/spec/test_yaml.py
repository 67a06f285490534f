from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suite.errors import SpecError
from suite.spec.tensors import Frozen
from suite.spec.yaml import MAX_DEPTH, MAX_FILE_BYTES, read_model, read_yaml


def read(folder: Path, content: str | bytes):
    path = folder / "it.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_yaml(path)


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, levels)]
    return "\n".join(lines)


REFUSED = {
    "empty": ("", "must hold one mapping of fields, but it is empty"),
    "comment": ("# nothing\n", "it is empty"),
    "list": ("[1, 2]", "it holds a list"),
    "scalar": ("3", "it holds a single value"),
    "not utf-8": (b"a: \xff", "is not UTF-8 text"),
    "utf-16": ("a: 1".encode("utf-16"), "is not UTF-8 text"),
    "byte order mark": (b"\xef\xbb\xbfa: 1", "begins with a byte order mark"),
    "nul": (b"a: b\0", "#x0000"),
    "escaped nul": (r'a: {b: "\0"}', "a.b: holds a control character"),
    "terminal escape": (r'a: "\e[2J"', "a: holds a control character"),
    "half a character": (r'a: ["\ud800"]', r"a\[0\]: holds a control character"),
    "no character": (r'a: "\U00110000"', "an escape that is no character"),
    "unclosed": ("a: [1", "line 1: expected"),
    "tabs": ("a:\n\tb: 1", "line 2: "),
    "two documents": ("a: 1\n---\nb: 1", "found another document"),
    "two documents, one empty": ("a: 1\n---\n", "found another document"),
    "deep": ("a: " + "[" * 10_000, f"nested more than {MAX_DEPTH} deep"),
    "deep and closed": ("a: " + "{a: " * 40 + "1" + "}" * 40, f"nested more than {MAX_DEPTH} deep"),
    "large": ("a: " + "x" * MAX_FILE_BYTES, "is over 256 KiB"),
    "alias": ("a: &x 1\nb: *x", "line 1: YAML aliases are not taken"),
    "alias alone": ("b: *x", "line 1: YAML aliases are not taken"),
    "recursive alias": ("a: &x [*x]", "aliases are not taken"),
    "alias bomb": (bomb(12), "aliases are not taken"),
    "tag": ("a: !!python/object:os.system 1", "line 1: YAML tags are not taken"),
    "local tag": ("\na: !x {b: 1}", "line 2: YAML tags are not taken"),
    "binary": ("a: !!binary aGk=", "tags are not taken"),
    "directive": ("%YAML 1.1\n---\na: yes", "directives are not taken"),
    "merge key": ("a: 1\nb:\n  <<: {c: 1}", "b: line 3: the merge key << is not taken"),
    "number as a name": ("a: {1: 2}", "a: line 1: a field's name must be text"),
    "list as a name": ("? [a]\n: 2", "line 1: a field's name must be text"),
    "null as a name": ("~: 2", "a field's name must be text"),
    "long name": (f"? {'n' * 200}\n: 1", "one short line"),
    "two-line name": ('? "a\\nb"\n: 1', "one short line"),
    "doubled": ("a: 1\nb: {c: 1, c: 1}", "b.c: line 2: is stated twice"),
    "doubled by quotes": ("a: 1\n'a': 2", "a: line 2: is stated twice"),
    "nan": ("a: {b: .nan}", "a.b: must be a finite number"),
    "infinity": ("a: [1, -.inf]", r"a\[1\]: must be a finite number"),
    "overflow": ("a: 1e999", "a: must be a finite number"),
    "5,000 digits": ("a: {b: " + "9" * 5000 + "}", "a.b: is no number that can be read"),
    "5,000 hexadecimal digits": ("a: 0x" + "9" * 5000, "a: is too large a number"),
    "a bit too large": (f"a: {2**63}", "a: is too large a number"),
}


@pytest.mark.parametrize(("content", "says"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_plain_mapping_is_refused_with_its_place(tmp_path, content, says):
    with pytest.raises(SpecError, match=says) as caught:
        read(tmp_path, content)
    assert caught.value.where.startswith(str(tmp_path / "it.yaml"))


@pytest.mark.parametrize("name", ["absent.yaml", ".", "nul\0.yaml", "x" * 5000])
def test_what_is_no_readable_file_is_refused(tmp_path, name):
    with pytest.raises(SpecError, match="cannot be read"):
        read_yaml(tmp_path / name)


def test_plain_values_are_read_as_yaml_1_2_has_them(tmp_path):
    text = "{a: 1e-3, b: yes, c: 2024-01-31, d: 0x10, e: ~, f: [true, -2], g: 2024-13-45, h: '1', i: 1:30, j: é}"
    assert read(tmp_path, text) == {
        "a": 0.001, "b": "yes", "c": "2024-01-31", "d": 16, "e": None, "f": [True, -2], "g": "2024-13-45",
        "h": "1", "i": "1:30", "j": "é",
    }  # fmt: skip


def test_the_largest_whole_number_is_read(tmp_path):
    assert read(tmp_path, f"a: {2**63 - 1}\nb: -{2**63 - 1}") == {"a": 2**63 - 1, "b": 1 - 2**63}


class Profile(Frozen):
    rounds: int
    seeds: tuple[int, ...] = (0,)


def test_a_model_is_read_from_a_file(tmp_path):
    path = tmp_path / "quick.yaml"
    path.write_text("rounds: 3\nseeds: [1, 2]\n")
    assert read_model(path, Profile) == Profile(rounds=3, seeds=(1, 2))


def test_a_model_that_does_not_fit_is_refused_with_file_field_and_way_out(tmp_path):
    path = tmp_path / "quick.yaml"
    path.write_text("rounds: 3\nseed: [1, 2]\n")
    with pytest.raises(SpecError) as caught:
        read_model(path, Profile)
    assert str(caught.value) == (
        f"{path}: seed: there is no such field: it is called seeds here"
        "\n  It is a list: round r trains from seed r. There are: rounds, seeds."
    )
    path.write_text("rounds: 3.5\nseeds: [1, two]\n")
    with pytest.raises(SpecError) as caught:
        read_model(path, Profile)
    assert str(caught.value) == (
        f"{path}: 2 fields are wrong"
        "\n  rounds: must be a whole number, not 3.5"
        "\n  seeds[1]: must be a whole number, not the text 'two'"
    )


FLOW = st.text("{}[],:&*!|>'\"%@`?-#~<> \n\tab01.\\", max_size=60)


@settings(deadline=None, max_examples=300)
@given(content=st.one_of(st.binary(max_size=80), st.text(max_size=80).map(str.encode), FLOW.map(str.encode)))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content):
    try:
        value = read(tmp_path_factory.getbasetemp(), content)
    except SpecError:
        return
    assert isinstance(value, dict)
