"""What ``suite show`` prints beside a spec's fields: where each framework's own API differs."""

import pytest

from suite.cli import show
from suite.gate import shift
from suite.runners import base
from suite.spec.differences import DifferenceKind
from tests.support.frameworks import TOKENS


@pytest.fixture
def spec(make_spec):
    return make_spec(optimizer={"name": "rmsprop", "learning_rate": 0.01, "epsilon": 1e-3})


def test_each_framework_has_its_own_differences_with_their_figures(spec):
    found = show.differences(spec, shift.QUICK)
    assert set(found) == {token for token in TOKENS if base.differences(token, spec)} >= {"tf", "torch"}
    (inside,) = (each for each in found["tf"] if each.kind is DifferenceKind.SEMANTICS)
    assert inside.shift.way < 1
    assert all(each.shift is None for each in found["torch"])


def test_they_stand_below_the_fields_in_plain_words(spec, capsys):
    show.benchmark(spec)
    told = " ".join(capsys.readouterr().out.split())
    assert "Where the framework's own API differs" in told.partition("data digest")[2]
    assert "tf, optimizer: computes something else" in told
    assert "tf.raw_ops.ResourceApplyRMSProp and tf.keras.optimizers.RMSprop divide by sqrt(s + epsilon)" in told
    assert "Ten steps of 32 images: the weights move 0." in told
    assert "torch.optim.RMSprop has by default rho 0.99 (here 0.9)" in told


def test_of_many_cases_only_small_ones_are_trained(spec, capsys):
    show.benchmark(spec, among=10**6)
    assert shift.DEAR in " ".join(capsys.readouterr().out.split())
