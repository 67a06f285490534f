"""The parts of a low precision by themselves: which a benchmark has, and that what is right passes with room."""

import pytest

from suite.gate import parts
from suite.runners.base import Threads
from suite.runners.reference.runner import Runner
from tests.faults.specs import SPECS

NAMES = {
    "mlp": {"dense", "softmax_cross_entropy"},
    "cnn": {"dense", "conv2d", "batch_norm", "softmax_cross_entropy"},
    "sampled": {"sigmoid_cross_entropy"},
    "shares": {"dense", "softmax"},
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_a_benchmark_has_the_parts_that_its_layers_and_loss_are(name, precision):
    assert {part.name for part in parts.parts(SPECS[name], precision)} == NAMES[name]


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_what_the_reference_holds_in_full_is_far_within_its_bound(precision):
    """Few bits would be off by more than the bound by far, and so the bound may be wide."""
    runner = Runner("cpu", Threads(intra=1), 0)
    for name in NAMES:
        for part in parts.parts(SPECS[name], precision):
            for check in parts.checks(part, runner, runner, "numpy", precision):
                assert check.equal, check
                if check.section.rpartition(", ")[2] in part.full:
                    assert check.error < check.bound / 8, check
