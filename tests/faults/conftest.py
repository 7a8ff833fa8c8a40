"""On which database a fault happens."""

import pytest

from tests.faults.installation import Kind


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Kind:
    """Each kind once. The shared PostgreSQL is not used, but knows whether one starts on this machine."""
    if request.param == "postgresql":
        request.getfixturevalue("postgres_url")
        return "postgresql"
    return "sqlite"
