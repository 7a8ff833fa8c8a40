"""On which database a fault happens."""

from collections.abc import Generator

import pytest

from tests.conftest import do_without
from tests.faults.installation import Kind
from tests.servers import CannotStart


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Kind:
    """Each kind once."""
    return "sqlite" if request.param == "sqlite" else "postgresql"


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Generator[None, object, object]:
    """An installation starts a PostgreSQL of its own, which a machine may not have."""
    try:
        return (yield)
    except CannotStart as error:
        do_without(error)
