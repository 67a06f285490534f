"""The report's table of where frameworks' own APIs differ, from the records of proofs."""

from __future__ import annotations

from typing import Any

import tests.support.results as make
from suite.report.document import build
from suite.report.evidence.merge import merge
from suite.report.sections.own_api import MOST, section
from suite.spec.differences import Difference, DifferenceKind, Shift

SHIFT = Shift(weights=0.3, first=0.2, way=0.4, statistics=None, outputs=0.8, images=32, steps=10)
INSIDE = Difference(
    kind=DifferenceKind.SEMANTICS,
    at=("optimizer",),
    api="tf.raw_ops.ResourceApplyRMSProp",
    does="divides by sqrt(s + epsilon)",
    here="composed",
    composed=True,
    variant="rmsprop_epsilon_inside_root",
    shift=SHIFT,
)
LAYOUT = Difference(
    kind=DifferenceKind.CONVENTION, at=tuple(f"conv2d_{i}" for i in range(1, 5)), api="torch.nn.Conv2d", does="is NCHW"
)


def proof(own: tuple[Difference, ...] | None, **fields: Any) -> Any:
    """A proof whose record tells of ``own``."""
    made = make.proof(**fields)
    return made.model_copy(update={"identity": made.identity.model_copy(update={"own": own})})


def told(*proofs: Any) -> str:
    return "\n\n".join(section(merge(proofs, {})))


def test_each_difference_stands_once_for_all_modes_with_what_it_comes_to() -> None:
    text = told(*(proof((INSIDE,), runner="tf", mode=mode) for mode in ("graph", "xla")))
    assert text.count("tf.raw\\_ops.ResourceApplyRMSProp") == 1
    assert "digits-mlp: optimizer" in text
    assert "computes something else" in text
    assert "the weights move 0.2 times as far in the first step and 0.4 times as far in all" in text


def test_what_changes_numbers_comes_first_and_layers_are_counted() -> None:
    text = told(proof((LAYOUT,), runner="torch", mode="eager"), proof((INSIDE,), runner="tf", mode="graph"))
    assert text.index("ResourceApplyRMSProp") < text.index("torch.nn.Conv2d")
    assert "conv2d\\_1, conv2d\\_2 and 2 more" in text
    assert "the numbers are the same, or the script chooses them" in text


def test_older_records_and_frameworks_without_differences_say_nothing() -> None:
    assert told(proof(None), proof((), mode="compile")) == told() == ""


def test_of_too_many_those_that_change_numbers_are_shown_and_the_others_counted() -> None:
    many = tuple(LAYOUT.model_copy(update={"does": f"number {i}"}) for i in range(MOST))
    text = told(proof((*many, INSIDE), runner="tf", mode="graph"))
    assert "ResourceApplyRMSProp" in text
    assert "number 3" not in text
    assert f"{MOST} more are conventions and ways to compose" in text


def test_hostile_text_is_escaped() -> None:
    text = told(proof((LAYOUT.model_copy(update={"api": "<b>|[x](y)"}),)))
    assert "\\<b\\>\\|\\[x\\](y)" in text


def test_it_stands_within_the_section_on_identity() -> None:
    text = build([proof((INSIDE,), runner="tf", mode="graph")], {}).markdown
    assert (
        text.index("## Identity") < text.index("### Where the framework's own API differs") < text.index("## Not comp")
    )
