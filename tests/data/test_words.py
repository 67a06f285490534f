"""Text as a data set: what a word is, which words have a place of their own, and what an example is."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suite.data import datasets, decode, registry, words
from suite.data.content import NAMES
from suite.errors import DataError

quick = settings(max_examples=100, deadline=None)
WIDE = "abcdefghij"
"""Ten words of one letter: as a passage it has two examples."""


@pytest.mark.parametrize(
    ("passage", "expected"),
    [
        ("# And God said, Let [there] be light:", "and god said let there be light"),
        ("his brother's sons' wives", "his brother's sons wives"),
        ("at Beer-lahai-roi; their sin--; and", "at beer-lahai-roi their sin and"),
        ("''tis 'so'--or (not)?", "tis so or not"),
        ("40 days\tand\n40 nights", "days and nights"),
        ("", ""),
    ],
)
def test_a_word_is_letters_with_single_marks_between_them(passage: str, expected: str) -> None:
    assert words.split(passage) == expected.split()


def test_the_most_frequent_words_come_first_and_equals_by_spelling() -> None:
    passages = [["b", "c", "a"], ["c", "d", "b", "c"], ["a"]]
    assert words.vocabulary(passages) == ("<other>", "c", "a", "b", "d")
    assert words.vocabulary(passages, largest=3) == ("<other>", "c", "a")


def test_a_context_is_four_words_to_either_side_within_the_passage() -> None:
    index = {letter: number for number, letter in enumerate(WIDE, 1)}
    contexts, middles = words.examples([list(WIDE), list(WIDE[:8]), list(WIDE[1:])], index)
    assert contexts.tolist() == [[1, 2, 3, 4, 6, 7, 8, 9], [2, 3, 4, 5, 7, 8, 9, 10], [2, 3, 4, 5, 7, 8, 9, 10]]
    assert middles.tolist() == [5, 6, 6]
    assert (contexts.dtype, middles.dtype) == (np.uint16, np.int64)
    assert contexts.flags.c_contiguous


def test_a_word_without_a_place_is_index_0_in_a_context_and_never_a_class() -> None:
    contexts, middles = words.examples([list(WIDE)], {"f": 1, "a": 2})
    assert (contexts.tolist(), middles.tolist()) == ([[0] * 8], [1])
    contexts, middles = words.examples([list(WIDE)], {"e": 1, "a": 2})
    assert (contexts.tolist(), middles.tolist()) == ([[2, 0, 0, 0, 0, 0, 0, 0]], [1])


def test_every_tenth_passage_is_a_test_and_gives_the_vocabulary_nothing() -> None:
    passages = [" ".join(WIDE)] * 29 + ["k " + " ".join(WIDE)]
    arrays = decode_text(passages)
    assert [len(arrays[name]) for name in NAMES] == [54, 54, 7, 7]
    assert words.unpacked(arrays["words"]) == ("<other>", *WIDE)
    assert arrays["test_images"][4].tolist() == [0, 1, 2, 3, 5, 6, 7, 8]


def decode_text(passages: list[str]) -> dict[str, np.ndarray]:
    blob = json.dumps({f"Book {number}": passage for number, passage in enumerate(passages)}).encode()
    return words.decoded(decode.verses(blob, "verses.json"), "verses.json")


@quick
@given(st.lists(st.lists(st.sampled_from("abcdefg"), max_size=14), min_size=10, max_size=25))
def test_arrays_are_those_of_a_reading_word_by_word(passages: list[list[str]]) -> None:
    train = [passage for number, passage in enumerate(passages) if number % 10 != 9]
    counts = Counter(word for passage in train for word in passage)
    known = ["<other>", *sorted(counts, key=lambda word: (-counts[word], word))]
    expected: dict[str, list[tuple[list[str], str]]] = {"train": [], "test": []}
    for number, passage in enumerate(passages):
        said = [word if word in known else "<other>" for word in passage]
        for place in range(4, len(said) - 4):
            if said[place] != "<other>":
                around = said[place - 4 : place] + said[place + 1 : place + 5]
                expected["test" if number % 10 == 9 else "train"].append((around, said[place]))
    texts = [" ".join(passage) for passage in passages]
    if not all(expected.values()):
        with pytest.raises(DataError, match="too short a text"):
            decode_text(texts)
        return
    arrays = decode_text(texts)
    assert words.unpacked(arrays["words"]) == tuple(known)
    for part, examples in expected.items():
        found = zip(arrays[f"{part}_images"].tolist(), arrays[f"{part}_labels"].tolist(), strict=True)
        assert [([known[i] for i in around], known[middle]) for around, middle in found] == examples


@pytest.mark.parametrize("blob", [b"", b"[]", b'{"a": 1}', b'{"a": null}', b"[" * 100_000, b"\xff"])
def test_verses_that_are_no_object_of_texts_are_refused(blob: bytes) -> None:
    with pytest.raises(DataError, match=r"verses\.json: is not"):
        decode.verses(blob, "verses.json")


def test_empty_lines_part_tales_and_are_no_passages(tmp_path: Path) -> None:
    line = " ".join(WIDE)
    (tmp_path / "a.txt").write_text("\n".join([line] * 10))
    (tmp_path / "b.txt").write_text("\r\n".join([line, "", " \t"] * 10) + "\n\n")
    a, b = (decode.lines(tmp_path / name) for name in ("a.txt", "b.txt"))
    for name, array in a.items():
        np.testing.assert_array_equal(array, b[name])


def test_a_text_of_ours_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "odd.txt").write_bytes(b"\xff\xfe")
    for name in ("odd.txt", "none.txt"):
        with pytest.raises(DataError, match=f"{name}: cannot be read"):
            decode.lines(tmp_path / name)


@pytest.fixture
def tales(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> datasets.Arrays:
    monkeypatch.setenv("PARITY_DATA", str(tmp_path))
    datasets.fetch("tales")
    return datasets.load("tales")


def test_the_tales_load_with_their_words(tales: datasets.Arrays) -> None:
    facts = datasets.describe("tales")
    assert tales.facts == facts
    assert (facts.tokens, facts.image_shape, facts.train_counts) == (True, (8,), None)
    assert len(tales.words) == len(set(tales.words)) == facts.classes == facts.max_value + 1
    assert tales.words[:2] == ("<other>", "the")
    assert {"king", "queen", "man", "woman", "boy", "girl", "dog", "cat", "sea"} <= set(tales.words)
    for contexts, middles in ((tales.train_images, tales.train_labels), (tales.test_images, tales.test_labels)):
        assert (contexts.shape, contexts.dtype) == ((len(middles), 8), np.uint16)
        assert contexts.max() <= facts.max_value
        assert 0 < middles.min() <= middles.max() <= facts.max_value
    said = " ".join(tales.words[i] for i in np.insert(tales.train_images[0], 4, tales.train_labels[0]))
    assert said in (Path(registry.__file__).parent / "tales.txt").read_text().lower()


def test_the_tales_are_sentences_of_9_to_16_words_in_a_small_file() -> None:
    text = (Path(registry.__file__).parent / "tales.txt").read_text()
    lengths = {len(words.split(line)) for line in text.splitlines() if line}
    assert (min(lengths) >= 9, max(lengths) <= 16) == (True, True)
    assert len(text.encode()) <= 20_000
    assert 1200 <= len(words.split(text)) <= 2000


def test_a_vocabulary_that_is_damaged_or_missing_is_named(tales: datasets.Arrays, tmp_path: Path) -> None:
    path = tmp_path / "tales" / "words.npy"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"king", b"kind"))
    with pytest.raises(DataError, match=r"words\.npy: is damaged: its values hash to"):
        datasets.load("tales")
    path.unlink()
    with pytest.raises(DataError, match=r"words\.npy: tales is not in the cache"):
        datasets.load("tales")
    assert {line.name: line.cached for line in datasets.available()}["tales"] is False
    datasets.fetch("tales")
    assert path.read_bytes() == whole
