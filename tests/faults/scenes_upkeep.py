"""Scenes of what an owner does to a relay that works: new keys, a new version, a backup that is needed."""

import json
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from itertools import count, takewhile
from pathlib import Path

import psycopg
from cryptography.fernet import Fernet
from sqlalchemy import select

from tests.environments import KEY
from tests.faults.installation import OURS, ROOT, WORKERS, Installation
from tests.faults.load import CUT_OFF, at_once
from tests.faults.orders import Told
from tests.faults.processes import STOP_SECONDS
from tests.faults.scenes import HEALTHY_SECONDS, Promise, Scene, Stage
from tests.servers import address_for_psycopg
from tests.waiting import until
from webhooks.schema import accounts, sealed_tables
from webhooks.vault import Vault

# --- new keys --------------------------------------------------------------------------------------------

NEW_KEY = Fernet.generate_key().decode()


def _rotated(stage: Stage) -> None:
    """First every process learns of the new key, then it is the first one, then the old one goes. Some
    orders wait from the first step to the last, sealed under the old key."""
    relay = stage.relay
    relay.restart(RELAY_SECRET_KEYS=f"{KEY},{NEW_KEY}")
    _renew(stage, ["web"], f"{NEW_KEY},{KEY}")
    stage.last(5)
    _renew(stage, ["web"], f"{KEY},{NEW_KEY}")
    relay.fleet.stop(WORKERS)
    stage.last(5)
    for names in (["web"], ["sweeper"]):
        _renew(stage, names, f"{NEW_KEY},{KEY}")
        stage.last(5)
    told = json.loads(_command(relay, "vault", "rotate", "--json"))
    waiting = relay.open_deliveries()
    relay.restart(RELAY_SECRET_KEYS=NEW_KEY)
    stage.calm()
    stage.note(f"{told['renewed']} of {told['seen']} records were sealed anew; {waiting} deliveries waited")
    stage.expect(waiting and told["renewed"] >= waiting / 2, "nothing waited, sealed under the old key")
    stage.expect(not told["unreadable"], f"{told['unreadable']} records could not be opened")
    stage.last(10)
    left = _sealed_otherwise(relay, Vault([NEW_KEY]))
    stage.expect(not left, f"{left} records need the old key still")


def _renew(stage: Stage, names: Sequence[str], keys: str) -> None:
    """These processes alone are replaced; the others go on with what they were told."""
    stage.relay.fleet.stop(names)
    stage.relay.reconfigure(names, RELAY_SECRET_KEYS=keys)
    stage.relay.fleet.start_again(names)
    stage.relay.wait_for_hooks()


def _sealed_otherwise(relay: Installation, vault: Vault) -> int:
    with relay.database.read() as db:
        tokens = [
            token
            for table in sealed_tables()
            for token in db.execute(select(table.c.sealed).where(table.c.sealed.is_not(None))).scalars()
        ]
    return sum(not vault.is_current(token) for token in tokens)


# --- a new version ---------------------------------------------------------------------------------------

_NEWER = "tests.faults.newer"
_WEB_OF = ("-m", "gunicorn", "-c", "python:webhooks.server")


def _migrated(stage: Stage) -> None:
    """The next version's migration runs, is killed, and runs again, until one run lives to the end; this
    version goes on meanwhile. Then both versions are there, and at last the new one is taken back."""
    relay = stage.relay
    stage.last(2)
    killed = list(takewhile(lambda point: _dies(relay, point), count(1, 3)))
    stage.expect(killed, "the migration was never killed")
    stage.note(f"the migration was killed {len(killed)} times and reached {_remarked(relay)} deliveries")
    stage.last(5)
    relay.replace("web", *_WEB_OF, f"{_NEWER}:application()")
    relay.replace("worker-1", "-m", _NEWER, "worker")
    relay.wait_until_ready()
    stage.last(10)
    relay.replace("web", "-m", "webhooks", "web")
    relay.replace("worker-1", "-m", "webhooks", "worker")
    relay.wait_until_ready()
    stage.calm()
    stage.last(5)
    stage.expect(_command(relay, "db", "upgrade"), "the old version's release step fails")


def _dies(relay: Installation, point: int) -> bool:
    """Whether the migration was killed at that statement; if not, it has ended."""
    command = [sys.executable, "-m", _NEWER, "--die-at", str(point), "db", "upgrade"]
    done = subprocess.run(command, cwd=ROOT, env=dict(relay.environ), capture_output=True, check=False)
    if done.returncode > 0:
        raise RuntimeError(done.stderr.decode(errors="replace"))
    return done.returncode < 0


def _remarked(relay: Installation) -> int:
    with relay.database.read() as db:
        counted = db.exec_driver_sql("SELECT count(*) FROM deliveries WHERE remark = 'seen'")
        return int(counted.scalar_one())


# --- a backup --------------------------------------------------------------------------------------------


def _restored(stage: Stage) -> None:
    """A backup is made under load; later the machine is gone with all that came since, and another one goes
    on from the backup. What is younger the stores tell again: by themselves, or when they are asked."""
    relay, load = stage.relay, stage.load
    stage.last(10)
    before = set(load.acknowledged)
    copy = _backup(relay)
    stage.last(10)
    relay.fleet.stop([*OURS, "valkey"], number=signal.SIGKILL)
    relay.move(copy)
    known = {row["event_id"]: row["state"] for row in relay.ledger()}
    delivered = {order for order, state in known.items() if state == "delivered"}
    stage.expect(before, "nothing was acknowledged before the backup")
    stage.expect(before <= known.keys(), f"{len(before - known.keys())} acknowledged orders are not in it")
    stage.excused |= load.placed.keys() - delivered
    younger = [load.placed[order] for order in sorted(load.acknowledged.keys() - known.keys())]
    relay.fleet.start_again([*OURS, "valkey"])
    relay.wait_until_ready()
    stage.calm()
    _tell_again(stage, younger)
    stage.last(10)
    stage.note(
        f"the backup has {len(known)} orders, {len(delivered)} of them delivered, and {len(younger)} that "
        f"were acknowledged later had to be told again"
    )


def _tell_again(stage: Stage, told: Sequence[Told]) -> None:
    for first in range(0, len(told), _TOGETHER):
        answers = at_once(stage.relay.web_url, told[first : first + _TOGETHER])
        refused = [answer.status for answer in answers if answer.status != 200]
        stage.expect(not refused, f"told again, and refused with {refused}")


_TOGETHER = 20


def _backup(relay: Installation) -> str:
    """Makes a copy as the guide says (docs/backup.md), restores it elsewhere, and returns its address."""
    if relay.database_kind == "sqlite":
        copy = relay.home / "elsewhere.db"
        with closing(sqlite3.connect(relay.ledger_file, timeout=10)) as file:
            file.execute("VACUUM INTO ?", [str(copy)])
        return f"sqlite:///{copy}"
    dump, copy_url = relay.home / "backup.dump", relay.database_url.replace("/postgres?", "/elsewhere?")
    here, there = (address_for_psycopg(url) for url in (relay.database_url, copy_url))
    _run(relay.postgresql_program("pg_dump"), "--format=custom", f"--file={dump}", here)
    with psycopg.connect(here, autocommit=True) as connection:
        connection.execute("CREATE DATABASE elsewhere")
    _run(
        relay.postgresql_program("pg_restore"),
        "--exit-on-error",
        "--no-owner",
        f"--dbname={there}",
        str(dump),
    )
    return copy_url


# --- Sentry is away --------------------------------------------------------------------------------------


class _Hanging:
    """A Sentry that takes connections and whatever is sent, and never answers."""

    def __init__(self) -> None:
        self.clients: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.dsn = f"http://public@127.0.0.1:{self._server.getsockname()[1]}/1"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):  # it was closed
            while True:
                self.clients.append(self._server.accept()[0])

    def close(self) -> None:
        """From now on connections are refused, and those that there are end."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for client in self.clients:
            client.close()


def _sentry_hangs(stage: Stage) -> None:
    """It has much to hear of, hangs, is deployed under, and then is not there at all."""
    relay, sentry = stage.relay, _Hanging()
    relay.restart(SENTRY_DSN=sentry.dsn)
    stage.calm()
    time.sleep(HEALTHY_SECONDS)
    _alarm(stage)
    _feel(stage, "Sentry hung", 20)
    stage.note(f"{len(sentry.clients)} connections to Sentry hung")
    stage.expect(len(sentry.clients) > 1, "Sentry was not told of anything")
    stage.trouble()
    took = relay.restart()
    stage.calm()
    stage.note(f"told to stop while Sentry hung, all had gone after {max(took.values()):.1f} s")
    stage.expect(max(took.values()) < STOP_SECONDS, "somebody waited for Sentry, and had to be killed")
    sentry.close()
    time.sleep(HEALTHY_SECONDS)
    _alarm(stage)
    _feel(stage, "Sentry refused connections", 20)


def _feel(stage: Stage, what: str, seconds: float) -> None:
    """Lets time go by, and judges what the stores felt of it; the restarts before have their own costs."""
    began, waiting = time.monotonic(), stage.relay.open_deliveries()
    stage.last(seconds)
    usual, slow = (stage.load.slowest(share, began) * 1_000 for share in (0.5, 0.99))
    stage.note(f"while {what}: answers within {usual:.0f} ms at the median, {slow:.0f} for 99 in a hundred")
    stage.expect(slow <= SLOWEST_MS, f"one acknowledgement in a hundred takes {slow:.0f} ms while {what}")
    left = stage.relay.open_deliveries()
    stage.expect(left <= max(waiting, _USUAL), f"{left} deliveries wait while {what}")


SLOWEST_MS = 500.0
_USUAL = 50
"""Fewer deliveries than this are on their way at any time."""


def _alarm(stage: Stage) -> None:
    """What every process has to tell an owner: too large a hook (web), a token that is refused (worker)."""
    relay = stage.relay
    relay.control("script", {"steps": [{"scene": "token_expired"}]})
    large = b"{" + b" " * 3_000_000
    for _ in range(20):
        request = urllib.request.Request(f"{relay.web_url}/webhooks/shopify", large)
        with suppress(urllib.error.URLError):  # it is refused, perhaps before all of it was sent
            urllib.request.urlopen(request, timeout=10).close()
    until(lambda: _is_held(relay), 20)
    relay.delay_answers(stage.chance)
    _command(relay, "release", "meta")


def _is_held(relay: Installation) -> bool:
    with relay.database.read() as db:
        return db.execute(select(accounts.c.state)).scalar() == "held"


# --- commands --------------------------------------------------------------------------------------------


def _command(relay: Installation, *arguments: str) -> str:
    """What `purchase-relay` says, with these settings; raises if it fails."""
    return _run(Path(sys.executable), "-m", "webhooks", *arguments, environ=relay.environ)


def _run(program: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> str:
    command, told = [str(program), *arguments], None if environ is None else dict(environ)
    done = subprocess.run(command, cwd=ROOT, env=told, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{program.name} {' '.join(arguments[:3])}: {done.stderr.strip()}")
    return done.stdout or done.stderr


# While nothing listens, there is no answer.
_STOPPED = frozenset({200, 503, CUT_OFF})
_UNHURRIED = {"RELAY_LEASE_SECONDS": "30"}

SCENES: Mapping[str, Scene] = {
    "keys rotated": Scene(_rotated, Promise(_STOPPED, unhurt=True), settings=_UNHURRIED),
    "migrated": Scene(_migrated, Promise(_STOPPED, unhurt=True), settings=_UNHURRIED),
    "restored": Scene(_restored, Promise(_STOPPED)),
    "sentry hanging": Scene(_sentry_hangs, Promise(_STOPPED, unhurt=True), settings=_UNHURRIED),
}
