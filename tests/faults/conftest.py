"""On which database a fault happens."""

import pytest

from tests.faults.installation import Kind


@pytest.fixture
def postgresql(postgres_url: str) -> Kind:
    """The shared PostgreSQL is not used, but its fixture knows whether one starts on this machine."""
    return "postgresql"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Kind:
    """Each kind once."""
    if request.param == "postgresql":
        request.getfixturevalue("postgresql")
        return "postgresql"
    return "sqlite"
