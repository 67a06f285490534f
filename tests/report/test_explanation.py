"""The page that says why: every sentence and number follows from what the profilers saw, and names are escaped."""

import pytest
from pydantic import ValidationError

from suite.report import explanation
from suite.results.attribution import Kind, Operation, Unexplained
from suite.results.questions import QuestionKind
from tests.support.attributions import MS, attribution

FAST = attribution(product=0.6, convolution=0.2, idle=0.2)
SLOW = attribution("tf:graph", product=0.6, convolution=0.5, idle=0.9, started=500)


def test_it_says_where_the_difference_lies():
    first, second, *rest = explanation.told([SLOW, FAST])
    assert first == (
        "A step of torch:compile takes 1.00 ms: 60 % in matrix products, 20 % in convolutions and 20 % between "
        "operations."
    )
    assert second == (
        "A step of tf:graph takes 2.00 ms, 2.00 times as long as one of torch:compile. Of the 1.00 ms between them "
        "under the profiler it spends 700 µs (70 %) between operations and 300 µs (30 %) in convolutions. The profiler "
        "saw 50.0 operations a step in tf:graph, 30.0 in torch:compile. Of what is between them in tf:graph, "
        "100 % lies outside of its own ranges: Python, or waiting. The longest operation of convolutions in "
        "tf:graph is CONVOLUTION op (500 µs), in torch:compile CONVOLUTION op (200 µs)."
    )
    assert rest == []


def test_it_names_the_operation_behind_the_largest_part_and_what_is_saved():
    slow = attribution("tf:graph", product=0.1, normalisation=1.9, convolution=0.2, idle=0.2)
    (_, said) = explanation.told([slow, FAST])
    assert "1.90 ms (136 %) in normalisation; it saves 500 µs in matrix products." in said
    assert said.endswith("The longest operation of normalisation in tf:graph is NORMALISATION op (1.90 ms).")


def test_who_takes_about_the_same_is_told_so_and_no_reason_is_made_up():
    (_, said) = explanation.told([FAST, attribution("tf:xla", product=0.62, convolution=0.2, idle=0.2)])
    assert said == "A step of tf:xla takes 1.02 ms, about as long as one of torch:compile."


def test_where_the_profiler_hides_the_difference_the_page_says_so():
    (_, said, _) = explanation.told([attribution(bare=0.5, product=0.8, idle=0.2), attribution("tf:xla", product=1.0)])
    assert "most of that difference is gone" in said
    assert "%" not in said


def test_what_the_profiler_costs_what_has_no_name_and_other_work_are_told():
    said = " ".join(explanation.told([attribution(bare=0.5, product=0.8, other=0.2, load=9.0)]))
    assert "The profiler made torch:compile 2.00 times slower." in said
    assert "20 % of torch:compile lies in operations whose names do not tell their kind." in said
    assert said.startswith("Beware: other work ran on this machine: its load was 9.0 on 2 cores before torch:compile")
    assert "or with --threads 1" in said
    quiet = " ".join(explanation.told([FAST]))
    assert "slower" not in quiet
    assert "Beware" not in quiet


def test_the_rows_of_the_table_are_all_kinds_that_anyone_has_and_the_whole():
    header, *rows = explanation.kinds([FAST, SLOW])
    assert header == ("time of a step", "torch:compile", "tf:graph")
    assert rows == [
        ("convolutions", "200 µs (20 %)", "500 µs (25 %)"),
        ("matrix products", "600 µs (60 %)", "600 µs (30 %)"),
        ("idle: between operations (Python, dispatch, waiting)", "200 µs (20 %)", "900 µs (45 %)"),
        ("all of it, under the profiler", "1.00 ms (100 %)", "2.00 ms (100 %)"),
        ("without the profiler", "1.00 ms", "2.00 ms"),
        ("operations a step", "30.0", "50.0"),
    ]


def test_kinds_that_do_not_add_up_are_no_attribution():
    with pytest.raises(ValidationError, match="do not add up"):
        attribution(product=1.0, wall_ns=99)


def test_the_longest_operations_stand_side_by_side_ten_at_most():
    many = [Operation(name=f"op {i}", kind=Kind.OTHER, calls=10, ns=10) for i in range(30)]
    header, *rows = explanation.longest([attribution(product=1.0, operations=tuple(many)), FAST])
    assert header == ("", "torch:compile", "torch:compile")
    assert len(rows) == 10
    assert rows[0][1:] == ("op 0: 1.00 ns, 0 %, 1 a step", "PRODUCT op: 600 µs, 60 %, 2 a step")
    assert rows[5][2] == ""


def test_the_page_holds_all_of_it_and_says_who_is_missing():
    page = explanation.page(
        [FAST, SLOW, Unexplained(who="jax:jit", reason="no profiler is known for jax")], "suite explain it"
    )
    assert page.startswith(
        "# Where a step of digits-cnn goes\n\ntraining in float32 on the processor.\n\n- A step of torch"
    )
    assert "- **jax:jit** is not here: no profiler is known for jax" in page
    for heading in ("By kind of work", "The longest operations", "How to read this", "Where it was measured"):
        assert f"\n## {heading}\n" in page
    assert "tensorflow 2.21.0" in page
    assert "Made by: suite explain it" in page
    assert "in the order of the rows. Here is none." in page
    assert "Such kernels take 50 % of torch:compile: what" in explanation.page(
        [attribution(product=1, fused_ns=5 * MS)]
    )


def test_where_nobody_could_be_profiled_the_page_says_why():
    page = explanation.page([Unexplained(who="tf:xla", reason="ended by SIGSEGV")])
    assert "tf:xla" in page
    assert "ended by SIGSEGV" in page
    assert "By kind" not in page


def test_names_are_hostile():
    evil = "<script>|`x`[a](b)"
    page = explanation.page(
        [attribution(product=1.0, operations=(Operation(name=evil, kind=Kind.PRODUCT, calls=1, ns=1),), blind=evil),
         attribution("tf:graph", product=3.0, operations=(Operation(name=evil, kind=Kind.PRODUCT, calls=1, ns=1),)),
         Unexplained(who=evil, reason=evil)]
    )  # fmt: skip
    assert "<script>" not in page
    assert "[a](b)" not in page


def test_a_long_sentence_is_not_cut():
    slow = attribution(
        "tf:graph", product=9.0, operations=(Operation(name="n" * 390, kind=Kind.PRODUCT, calls=1, ns=MS),)
    )
    assert "n" * 390 in explanation.page([FAST, slow])


@pytest.mark.parametrize(("question", "unit"), [("latency", "query"), ("throughput", "batch")])
def test_other_questions_have_other_units(question, unit):
    page = explanation.page([attribution(product=1.0, question=QuestionKind(question), batch_size=64)])
    assert page.startswith(f"# Where a {unit} of digits-cnn goes")
    assert "batch 64" in page


def test_what_is_open_between_operations_is_named():
    ranges = tuple(Operation(name=f"range {i}", kind=Kind.IDLE, calls=10, ns=(9 - i) * MS) for i in range(8))
    slow = attribution("tf:graph", idle=3.0, around=ranges)
    said = explanation.told([FAST, slow])[1]
    assert said.endswith("30.0 in torch:compile. Between them tf:graph is longest in range 0 (900 µs).")
    few = explanation.told([FAST, attribution("tf:graph", idle=3.0, around=ranges[4:])])[1]
    assert few.endswith("in tf:graph, 53 % lies outside of its own ranges: Python, or waiting.")
    page = explanation.page([FAST, slow])
    assert "## Between operations" in page
    assert "range 4: 500 µs" in page
    assert "range 5" not in page
    assert "## Between operations" not in explanation.page([FAST])
