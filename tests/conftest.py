"""What several tests start from: a spec that is valid, small and made without any file."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from suite.runners import base
from suite.spec.dataset import DatasetFacts
from suite.spec.recipe import Recipe
from suite.spec.resolved import Spec
from tests.support.kinds import BASE

FACTS = DatasetFacts(
    name="digits",
    image_shape=(8, 8, 1),
    classes=10,
    train=1437,
    test=360,
    max_value=16,
    digest="sha256:0",
    train_counts=(144, 144, 144, 144, 144, 144, 144, 143, 143, 143),
)


def pytest_configure(config: pytest.Config) -> None:
    """A mark for each framework, by its token."""
    for token in base.tokens():
        config.addinivalue_line("markers", f"{token}: needs the {token} environment (make test-{token})")


@pytest.fixture
def make_spec() -> Callable[..., Spec]:
    """Make a Spec from fields as they stand in a file, with facts of the data as ``data``."""

    def make(data: DatasetFacts = FACTS, **fields: Any) -> Spec:
        recipe = Recipe.model_validate_json(json.dumps({**BASE, **fields}))
        return Spec.model_validate({**dict(recipe), "data": data})

    return make
