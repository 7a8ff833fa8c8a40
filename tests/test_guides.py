"""The guides' tables come from the adapters; `pytest tests/test_guides.py --update-guides` renews them."""

from pathlib import Path

import pytest

from integrations import discovery, tables

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("guide", ["README.md", "integrations/README.md"])
def test_the_tables_are_current(guide: str, request: pytest.FixtureRequest) -> None:
    path = ROOT / guide
    written = path.read_text()
    current = tables.filled_in(written)
    if request.config.getoption("--update-guides"):
        path.write_text(current)
    assert current == path.read_text()
    for slug in (*discovery.destinations(), *discovery.stores()):
        assert f"`{slug}`" in written
