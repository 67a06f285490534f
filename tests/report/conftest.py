"""What several tests of reports start from: charts that are not drawn."""

import pytest


@pytest.fixture
def drawn() -> None:
    """For tests that look at charts; drawing takes most of a report's time."""


@pytest.fixture
def undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts are empty, but for a test that asks for ``drawn``."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr("suite.report.charts.drawing.svg", lambda figure: b"<svg/>")
