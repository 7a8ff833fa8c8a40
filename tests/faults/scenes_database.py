"""Scenes of a database in trouble."""

import signal
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress

import psycopg

from tests.faults.installation import Changes
from tests.faults.scenes import Scene, Stage
from tests.servers import address_for_psycopg
from tests.waiting import until


def _stopped(stage: Stage) -> None:
    stage.relay.fleet.stop(["postgresql"])
    stage.last(10)
    stage.relay.fleet.start_again(["postgresql"])
    _wait_for(stage)
    stage.calm()


def _restarted(stage: Stage) -> None:
    for _ in stage.times(8):
        stage.injector.inflict("postgresql")
        stage.last(2)
    _wait_for(stage)
    stage.calm()


def _frozen(stage: Stage) -> None:
    """Its kernel goes on to take connections and to confirm what is sent."""
    for seconds in (10, 3):
        stage.trouble()
        stage.expect(stage.relay.fleet.signal_tree("postgresql", signal.SIGSTOP), "nothing was frozen")
        stage.last(seconds)
        stage.relay.fleet.signal_tree("postgresql", signal.SIGCONT)
        stage.calm()
        stage.last(6)


def _crowded(stage: Stage) -> None:
    """Somebody else takes every connection that there is, and our processes have lost theirs."""
    with ExitStack() as stack:
        others = [stack.enter_context(_connection(stage)) for _ in range(3)]
        others[0].execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'purchase-relay'"
        )
        for _ in range(_MOST_CONNECTIONS * 4):
            with suppress(psycopg.OperationalError):
                others.append(stack.enter_context(_connection(stage)))
        stage.expect(len(others) > _MOST_CONNECTIONS / 2, "there was room left")
        stage.last(8)
    stage.calm()


def _locked(stage: Stage) -> None:
    with sqlite3.connect(stage.relay.ledger_file, isolation_level=None, timeout=10) as other:
        other.execute("BEGIN IMMEDIATE")
        stage.last(30)
        other.execute("ROLLBACK")
    stage.calm()


def _full(stage: Stage) -> None:
    """Not a byte is free on the ledger's disk."""
    ballast = stage.relay.ledger_file.parent / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 4_096)
    stage.last(10)
    stage.expect(stage.load.statuses[503], "nobody noticed that the disk was full")
    ballast.unlink()
    stage.calm()


_MOST_CONNECTIONS = 24
_FEW = Changes(postgresql=("-c", f"max_connections={_MOST_CONNECTIONS}"))

SCENES: Mapping[str, Scene] = {
    "database stopped": Scene(_stopped, databases=("postgresql",)),
    "database restarted": Scene(_restarted, databases=("postgresql",)),
    "database frozen": Scene(_frozen, databases=("postgresql",)),
    "database crowded": Scene(_crowded, databases=("postgresql",), changes=_FEW),
    "database locked": Scene(_locked, databases=("sqlite",)),
    "disk full": Scene(_full, databases=("sqlite",), changes=Changes(disk_megabytes=64)),
}


@contextmanager
def _connection(stage: Stage) -> Iterator[psycopg.Connection]:
    with psycopg.connect(address_for_psycopg(stage.relay.database_url), autocommit=True) as connection:
        yield connection


def _wait_for(stage: Stage) -> None:
    def answers() -> bool:
        with suppress(psycopg.OperationalError), _connection(stage):
            return True
        return False

    until(answers, 30)
