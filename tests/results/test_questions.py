"""One vocabulary of what is asked."""

import pytest

from suite.results.questions import Question, QuestionKind
from tests.support import results as make


@pytest.mark.parametrize(
    ("question", "words"),
    [
        (Question(QuestionKind.TRAINING), "training"),
        (Question(QuestionKind.LATENCY, 1), "latency, batch 1"),
        (Question(QuestionKind.THROUGHPUT, 2048), "throughput, batch 2,048"),
    ],
)
def test_a_question_says_what_it_asks(question: Question, words: str) -> None:
    assert str(question) == words


def test_what_a_rate_counts_tells_no_questions_apart() -> None:
    assert Question(QuestionKind.TRAINING, 0, "examples") == Question(QuestionKind.TRAINING)


def test_a_question_costs_what_a_cell_took_for_it_per_query_or_per_example() -> None:
    cell = make.measured()
    (latency, *_), (throughput, *_) = cell.latency, cell.throughput
    assert Question(QuestionKind.LATENCY, latency.batch_size).costs(cell) == tuple(map(float, latency.samples_ns))
    per_image = tuple(ns / throughput.images for ns in throughput.samples_ns)
    assert Question(QuestionKind.THROUGHPUT, throughput.batch_size).costs(cell) == per_image
    assert cell.training is not None
    per_image = tuple(epoch.seconds_ns / epoch.images for epoch in cell.training.epochs)
    assert Question(QuestionKind.TRAINING).costs(cell) == per_image
    assert Question(QuestionKind.LATENCY, 7_777).costs(cell) == ()
