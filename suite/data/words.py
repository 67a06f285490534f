"""Text as a data set: a word is the class, and the words around it are what it is told from.

A passage (a verse, a line) becomes words: it is lowered, and a word is a run of the letters a to z, in which single
apostrophes and hyphens may stand between letters (``brother's``, ``beth-el``; of ``sons'`` and ``sin--`` the letters
alone).  All else separates words, brackets and paragraph signs too, so that words within brackets count like others.

The 10th, the 20th and every further tenth passage is a test, the others train.  The vocabulary is ``OTHER``, which
stands for all words without a place of their own, and then the most frequent words of the training passages, the
equally frequent by spelling.  An example is any place in a passage that has ``WIDEST_WINDOW`` words on either side
within the passage, unless its own word is ``OTHER``; examples stand in the order of the text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from suite.data.content import LABELS, NAMES, TEXT, TOKENS, WORDS, Decoded
from suite.errors import DataError
from suite.spec.tasks.embedding import WIDEST_WINDOW

OTHER = "<other>"
LARGEST = 4096  # words of a vocabulary, OTHER among them
TEST_EVERY = 10

_WORD = re.compile(r"[a-z]+(?:['-][a-z]+)*")


def split(passage: str) -> list[str]:
    """The words of a passage, in order."""
    return _WORD.findall(passage.lower())


def vocabulary(passages: Iterable[Sequence[str]], largest: int = LARGEST) -> tuple[str, ...]:
    """``OTHER``, then the most frequent words: at most ``largest`` in all."""
    counts = Counter(word for passage in passages for word in passage)
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    return OTHER, *ranked[: largest - 1]


def examples(passages: Iterable[Sequence[str]], index: dict[str, int]) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    """Contexts (n, 2 * WIDEST_WINDOW) from the leftmost word to the rightmost, and the words between them (n,)."""
    width = 2 * WIDEST_WINDOW + 1
    encoded = (np.array([index.get(word, 0) for word in words], TOKENS) for words in passages if len(words) >= width)
    windows = [np.empty((0, width), TOKENS), *(sliding_window_view(words, width) for words in encoded)]
    together = np.concatenate(windows)
    together = together[together[:, WIDEST_WINDOW] != 0]
    contexts = np.delete(together, WIDEST_WINDOW, axis=1)
    return np.ascontiguousarray(contexts, TOKENS), np.ascontiguousarray(together[:, WIDEST_WINDOW], LABELS)


def decoded(passages: Iterable[str], where: str) -> Decoded:
    """The arrays of a text, its vocabulary among them.  Raises DataError for a text too short to make examples of."""
    found = [split(passage) for passage in passages]
    test = found[TEST_EVERY - 1 :: TEST_EVERY]
    train = [passage for number, passage in enumerate(found, 1) if number % TEST_EVERY]
    known = vocabulary(train)
    index = {word: number for number, word in enumerate(known)}
    four = (*examples(train, index), *examples(test, index))
    if not all(len(array) for array in four):
        least = f"at least {TEST_EVERY} passages, some longer than {2 * WIDEST_WINDOW} words"
        raise DataError(f"is too short a text: it takes {least}", where=where)
    return {**dict(zip(NAMES, four, strict=True)), WORDS: packed(known)}


def packed(known: Sequence[str]) -> NDArray[np.uint8]:
    """A vocabulary as one array (bytes,): a word to a line, in UTF-8."""
    return np.frombuffer("\n".join(known).encode(), TEXT)


def unpacked(array: NDArray[np.uint8]) -> tuple[str, ...]:
    """The vocabulary out of such an array."""
    return tuple(array.tobytes().decode().split("\n"))
