"""Hostile text stays text: checked by an independent Markdown parser."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from suite.report.text import units
from suite.report.text.markdown import (
    DASH,
    JOINER,
    LONGEST_LIST,
    LONGEST_TABLE,
    Markdown,
    Notes,
    bullets,
    escape,
    md,
    plain,
    table,
)
from suite.stats import Ratio

parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
nasty = st.one_of(
    st.text(max_size=60),
    st.text("|`*_[]()<>!#&~$\\-+=:/@.1 \n\t\rhtpw\x00\x1b\u202e\u2028", max_size=60),
    st.lists(
        st.sampled_from(
            ["|", "\n", "<b>", "[x](http://e.org)", "http://e.org", "www.e.org", "a@e.org", "<!--", "```", "&lt;",
             "1. ", "- ", "# ", "---", "![i](u)", "<http://e.org>", "[x]: /u", "\\", "$x$", "~~", "mailto:a@e.org", " "]
        ),
        max_size=8,
    ).map("".join),
)  # fmt: skip


def shown(source: str) -> str:
    """What a reader sees of Markdown that should hold no markup: the HTML must be one bare paragraph."""
    rendered = parser.render(source).strip()
    found = re.fullmatch(r"<p>(.*)</p>", rendered, re.DOTALL)
    assert found, rendered
    assert "<" not in found[1], rendered
    return html.unescape(found[1]).replace(JOINER, "")


@given(nasty)
def test_escaped_text_means_itself(text: str) -> None:
    if escape(text):
        assert shown(escape(text)) == plain(text).replace(JOINER, "")


@given(nasty)
def test_escaped_text_holds_no_bare_pipe_line_end_tag_or_address(text: str) -> None:
    found = escape(text)
    assert not re.search(r"(?<!\\)(\\\\)*[|<>`\[\]*_]", re.sub(r"\\.", "", found))
    assert not re.search(r"[\n\r\x00-\x1f\x7f\u2028\u2029\u202a-\u202e]", found)
    assert not re.search(r"://|www\.|@\w", found, re.IGNORECASE)


@given(st.lists(st.tuples(nasty, nasty, nasty), min_size=1, max_size=5))
def test_a_table_of_hostile_text_keeps_its_shape(rows: list[tuple[str, str, str]]) -> None:
    rendered = parser.render(table(["a", "b|", "<c>"], rows))
    assert rendered.count("<tr>") == 1 + len(rows)
    assert rendered.count("<td") == 3 * len(rows)
    assert not set(re.findall(r"</?([a-z0-9]+)", rendered)) - {"table", "thead", "tbody", "tr", "th", "td"}


@given(nasty)
def test_a_note_of_hostile_text_stays_one_line(text: str) -> None:
    notes = Notes()
    assert notes.dash(text) == f"{DASH}¹"
    assert "\n" not in notes.lines()[0]


@given(st.text(max_size=50))
def test_a_template_trusts_itself_and_nothing_else(text: str) -> None:
    assert md("**{}**", text) == f"**{escape(text)}**"
    assert md("{}", Markdown("**x**")) == "**x**"


def test_the_same_reason_has_one_number() -> None:
    notes = Notes()
    marks = [notes.dash("one"), notes.dash("two"), notes.mark("5 ms", "one")]
    assert marks == ["—¹", "—²", "5 ms¹"]
    assert notes.lines() == ["¹ one  \n² two"]


@pytest.mark.parametrize("number", ["1.10", "007", "1e5", "1_000", "nan"])
def test_numbers_in_cells_stay_as_they_are_written(number: str) -> None:
    assert table(["v"], [[number]]).splitlines()[-1].strip("| ") == escape(number)


def test_long_text_tables_and_lists_are_cut_and_say_so() -> None:
    assert len(plain("x" * 10**6)) == 300
    assert plain("x" * 10**6).endswith("…")
    assert f"{10**5 - LONGEST_TABLE:,} more rows" in table(["a"], [["x"]] * 10**5)
    assert bullets([Markdown("x")] * 100).endswith(f"- and {100 - LONGEST_LIST} more")


@pytest.mark.parametrize(
    ("nanoseconds", "words"),
    [(0, "0 ns"), (3, "3.00 ns"), (999.6, "1.00 µs"), (12_345, "12.3 µs"), (999_990, "1.00 ms"), (1.5e9, "1.50 s"),
     (119e9, "119 s"), (180e9, "3.00 min"), (36_000e9, "600 min")],
)  # fmt: skip
def test_a_time_has_three_digits_and_its_unit(nanoseconds: float, words: str) -> None:
    assert units.duration(nanoseconds) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0"), (0.01234, "0.0123"), (99.96, "100"), (999.6, "1,000"), (12_345, "12,300"), (1e-6, "1.00e-06")],
)
def test_a_number_has_three_digits(value: float, words: str) -> None:
    assert units.digits(value) == words


def test_a_ratio_is_told_from_the_faster_side() -> None:
    assert units.speed("torch", "tf", Ratio(1.42, 1.36, 1.49, 5, 0.95)) == "torch 1.42x faster (1.36 to 1.49)"
    assert units.speed("torch", "tf", Ratio(1 / 1.42, 1 / 1.49, 1 / 1.36, 5, 0.95)) == "tf 1.42x faster (1.36 to 1.49)"
    assert units.speed("torch", "tf", Ratio(1.05, 0.9, 1.2, 5, 0.95)) == "undecided: torch / tf 1.05 (0.90 to 1.20)"
    assert units.speed("torch", "tf", Ratio(0.995, 0.98, 1.01, 5, 0.95)).startswith("equivalent within 3 %: tf / torch")
    assert units.speed("torch", "tf", Ratio(1000.4, 99.9, 10_000, 5, 0.95)) == "torch 1,000x faster (99.9 to 10,000)"


@given(st.floats(1e-3, 1e15))
def test_a_rounded_time_is_near_the_time(nanoseconds: float) -> None:
    number, unit = units.duration(nanoseconds).split()
    scale = {"ns": 1, "µs": 1e3, "ms": 1e6, "s": 1e9, "min": 60e9}[unit]
    assert float(number.replace(",", "")) * scale == pytest.approx(nanoseconds, rel=6e-3)
