"""The servers of the tests are real and empty."""

import socket

import pytest
import redis
from sqlalchemy import create_engine, inspect, text

from tests.conftest import OutsideWorld


def test_the_database_is_empty_and_works(empty_database_url: str) -> None:
    """On both kinds."""
    engine = create_engine(empty_database_url)
    with engine.begin() as connection:
        assert inspect(connection).get_table_names() == []
        connection.execute(text("CREATE TABLE spoor (id INTEGER)"))
        connection.execute(text("INSERT INTO spoor VALUES (1)"))
    engine.dispose()


@pytest.mark.parametrize("run", ["first", "second"])
def test_redis_is_empty(redis_url: str, run: str) -> None:
    """However the test before left it."""
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("spoor", run)


def test_the_outside_world_is_out_of_reach() -> None:
    """A forgotten sandbox address must fail loudly, not order a real purchase."""
    with socket.socket() as outgoing, pytest.raises(OutsideWorld):
        outgoing.connect(("192.0.2.1", 443))
