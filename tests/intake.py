"""The web application before an empty SQLite ledger, and what must hold whatever is sent to it."""

import gc
import hashlib
import logging
import re
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import msgspec
from sqlalchemy import select, text
from werkzeug.test import Client

from integrations import event as events
from integrations.destination import Account, Delivery
from integrations.discovery import destinations, stores
from integrations.event import Event
from integrations.store import Incomplete, Malformed, NotAnEvent, Store, Verdict
from tests import memory
from tests.contract import deliveries
from tests.contract.samples import SECRET, Case, sender
from tests.environments import META
from webhooks import app, migrations, schema, settings
from webhooks.clock import now_ms
from webhooks.database import Database
from webhooks.relay import Relay

REFUSALS = frozenset({400, 401, 413, 415})
"""What a request may be answered that nobody signed, or that is no hook at all."""

SECONDS = 1.0
"""Of the processor's time: how busy the machine is besides is not the request's fault."""

_TALLY = (
    "CREATE TABLE tally (kept INTEGER, latest INTEGER)",
    "INSERT INTO tally VALUES (0, 0)",
    *(
        f"CREATE TRIGGER tally_{name} AFTER {what} ON hooks"
        " BEGIN UPDATE tally SET kept = kept + 1, latest = new.id; END"
        for name, what in (("new", "INSERT"), ("known", "UPDATE OF repeats"))
    ),
)
"""The ledger itself counts what is written to it, also what came again and has no row of its own."""

_VALUE = re.compile(r"[0-9]{1,18}(\.[0-9]{1,20})?", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)

_ACCOUNTS: list[Account] = [deliveries.account(destination) for destination in destinations().values()]


class Heard(msgspec.Struct, frozen=True):
    """What became of one request: its answer, what it took, and how many hooks stand in the ledger because of
    it. ``megabytes`` are what it had to ask the system for; see `memory.forget_peak`."""

    status: int
    seconds: float
    kept: int
    verdict: str = ""
    broken: tuple[str, ...] = ()
    megabytes: float = 0.0


class Intake:
    """Takes hooks of every store, with refunds. ``alerts`` are the kinds of those that were raised, ``sent``
    and ``bodies`` how many requests there were and how many different bodies."""

    def __init__(self, home: Path) -> None:
        environment = {
            "DATABASE_URL": f"sqlite:///{home / 'ledger.db'}",
            "REDIS_URL": f"unix://{home / 'nobody-listens.sock'}",
            "RELAY_DATA_DIR": str(home),
            **{f"{slug.upper()}_WEBHOOK_SECRETS": secret(store) for slug, store in stores().items()},
            **{f"{slug.upper()}_REFUNDS": "send" for slug in stores()},
            **META,
        }
        database = Database(environment["DATABASE_URL"])
        migrations.upgrade(database)
        with database.write() as db:
            for sentence in _TALLY:
                db.execute(text(sentence))
        database.close()
        self.alerts: list[str] = []
        self.sent, self._bodies = 0, set[bytes]()
        made = app.create_app(settings.load(environment))
        self.relay: Relay = made.extensions["relay"]
        self._reader = sqlite3.connect(home / "ledger.db", isolation_level=None)
        self.client = Client(made)

    def send(self, store: Store, body: bytes, headers: Mapping[str, str]) -> Heard:
        """One request to the store's address."""
        (before, _), self.alerts[:] = self._tally(), []
        self.sent += 1
        self._bodies.add(hashlib.sha256(body).digest())
        gc.disable()  # the rubbish of a whole test run is not the request's
        held = memory.forget_peak()
        began = time.thread_time()
        answer = self.client.post(f"/webhooks/{store.slug}", data=body, headers=dict(headers))
        seconds = time.thread_time() - began
        needed = memory.peak() - held
        gc.enable()
        after, latest = self._tally()
        verdict, broken = self._look_at(latest) if after > before else ("", [])
        broken += [f"alert {kind}" for kind in self.alerts if kind == "broken"]
        return Heard(answer.status_code, seconds, after - before, verdict, tuple(broken), needed)

    @property
    def bodies(self) -> int:
        return len(self._bodies)

    def close(self) -> None:
        """Gives the ledger back."""
        self._reader.close()
        self.relay.close()

    def _tally(self) -> tuple[int, int]:
        """How many hooks were ever kept, and which was the last."""
        kept, latest = self._reader.execute("SELECT kept, latest FROM tally").fetchone()
        return kept, latest

    def _look_at(self, hook: int) -> tuple[str, list[str]]:
        with self.relay.database.read() as db:
            row = db.execute(select(schema.hooks).where(schema.hooks.c.id == hook)).mappings().one()
        broken = [] if row["verdict"] in get_args(Verdict) else [f"verdict {row['verdict']}"]
        if row["reason"].startswith("our mapping failed"):
            broken.append(row["reason"])
        told = () if row["verdict"] == "quarantined" else self._told(row)
        return row["verdict"], broken + [one for event in told for one in _wrong(event)]

    def _told(self, row: Mapping[Any, Any]) -> Iterator[Event]:
        """What the kept hook tells of, whether it was known before or not."""
        hook = self.relay.vault.open_hook(row["sealed"])
        shop = self.relay.settings.shop(row["store"], row["shop"])
        assert shop is not None
        store = stores()[row["store"]]
        with suppress(Incomplete, Malformed, NotAnEvent):
            yield store.read(hook, shop)
        with suppress(Malformed):
            yield from store.read_refunds(hook, shop)


def _wrong(event: Event) -> Iterator[str]:
    """What an event must not be, whatever it was made of."""
    if not _VALUE.fullmatch(f"{event.value:f}"):
        yield "the value is no plain amount"
    if not _CURRENCY.fullmatch(event.currency):
        yield "the currency is no code"
    if not event.key or not event.order_id:
        yield "the event has no identity"
    if not 946_684_800 <= event.event_time < 4_102_444_800:
        yield "the time is out of this century"
    for account in _ACCOUNTS:
        try:
            _build(events.decode(events.encode(event)), account)
        except Exception as error:  # noqa: BLE001 - whatever it is, the delivery would be broken
            yield f"{account.destination}: {type(error).__name__}"


def _build(event: Event, account: Account) -> None:
    adapter = destinations()[account.destination]
    now = now_ms() // 1_000
    if event.event_name in adapter.event_names and adapter.unfit(event, account, now) is None:
        adapter.build([Delivery(event, events.event_id(event))], account, now)


class _Alerts(logging.Handler):
    def __init__(self, kinds: list[str]) -> None:
        super().__init__()
        self._kinds = kinds

    def emit(self, record: logging.LogRecord) -> None:
        self._kinds.append(str(getattr(record, "facts", {}).get("kind")))


@contextmanager
def intake() -> Iterator[Intake]:
    """An intake with an empty ledger, in memory where there is a folder for it: no disk is tried here."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(prefix="relay-", dir=memory if memory.is_dir() else None) as home:
        made = Intake(Path(home))
        ear, alerts = _Alerts(made.alerts), logging.getLogger("webhooks.alert")
        alerts.addHandler(ear)
        try:
            yield made
        finally:
            alerts.removeHandler(ear)
            made.close()


def secret(store: Store) -> str:
    """That of the store's shop: every shop has its own."""
    return f"{SECRET}-{store.slug}"


def signed(store: Store, body: bytes, *, topic: str = "", now: int | None = None) -> dict[str, str]:
    """The headers with which the store would send the body now."""
    moment = int(time.time()) if now is None else now
    return sender(store).sign(body, secret(store), topic=topic, now=moment)


def topic_of(case: Case) -> str:
    """What the sample's own hook was about."""
    return case.store.topic(case.hook)


def broken_promises(heard: Heard, *, is_signed: bool) -> list[str]:
    """Sentences; none is what is hoped for."""
    found = list(heard.broken)
    if heard.seconds > SECONDS:
        found.append(f"it took {heard.seconds:.1f} s")
    if heard.status == 200:
        found += [] if heard.kept == 1 else [f"acknowledged, and the ledger has {heard.kept} more hooks"]
        found += [] if is_signed else ["acknowledged, though nobody signed it"]
    elif heard.kept:
        found.append(f"answered {heard.status}, and kept")
    elif is_signed or heard.status not in REFUSALS:
        found.append(f"answered {heard.status}")
    return found
