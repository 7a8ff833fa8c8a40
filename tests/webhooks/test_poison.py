"""One bad event in a batch of a hundred, at every destination: through the real engine, over the wire, and
judged by the destination's own stand-in in its own words."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from integrations import discovery
from integrations.destination import Destination, Outcome, Response
from integrations.event import Event, decode
from tests.contract.deliveries import DATA
from tests.environments import SHOPIFY
from webhooks import migrations, recording, settings
from webhooks.clock import now_ms
from webhooks.database import Database
from webhooks.delivery import Drain, open_drain
from webhooks.entries import Arrival
from webhooks.recording import Judged
from webhooks.relay import Relay
from webhooks.sandbox.standin import StandIn
from webhooks.sandbox.wire import serving, stand_in
from webhooks.schema import deliveries

BATCH = 100
IN_HALVES = 15  # 2 · log2(100) + 2, where nobody is named
NAMED = 2

BATCHING = [one for one in discovery.destinations().values() if one.batch_limit >= BATCH]


class Bench:
    """A relay with one account at a stand-in, and a hundred orders of which one cannot be taken."""

    def __init__(self, relay: Relay, drain: Drain, kind: StandIn) -> None:
        self.relay, self.drain, self.kind = relay, drain, kind

    def record(self, event: Event) -> None:
        """As intake does it, for an order that a shop has told of."""
        arrival = Arrival(
            store=event.store,
            shop=event.shop,
            digest=event.key.encode(),
            topic="orders/paid",
            received_at=now_ms(),
            sealed=b"",
            verdict="event",
            order_id=event.order_id,
        )
        shop = self.relay.settings.shop(event.store, event.shop)
        assert shop is not None
        recording.record(self.relay, shop, Judged(arrival, event))

    def states(self) -> dict[str, str]:
        with self.relay.database.read() as db:
            rows = db.execute(select(deliveries.c.event_id, deliveries.c.state)).all()
        return {row.event_id: row.state for row in rows}

    def calls(self) -> int:
        """Requests with events in them; what gets a token is none."""
        return sum(b'"1001' in one["body"].encode() for one in self.kind.requests)


@pytest.fixture(params=BATCHING, ids=lambda one: one.slug)
def destination(request: pytest.FixtureRequest) -> Destination:
    one: Destination = request.param
    return one


@pytest.fixture
def bench(destination: Destination, tmp_path: Path, redis_url: str) -> Iterator[Bench]:
    file: dict[str, Any] = json.loads((DATA / "destinations" / destination.slug / "account.json").read_text())
    kind = stand_in(destination.slug)([{**file["options"], **file.get("stand_in", {})}])
    with serving(kind) as address:
        options = file["options"].items()
        environ = {f"{destination.slug}_{name}".upper(): str(value) for name, value in options}
        environ |= {f"{destination.slug.upper()}_API_BASE": address, "RELAY_DATA_DIR": str(tmp_path)}
        configured = settings.load({**SHOPIFY, **environ, "REDIS_URL": redis_url})
        database = Database(configured.database_url)
        migrations.upgrade(database)
        database.close()
        relay = Relay(configured)
        drain = open_drain(relay, threading.Event())
        yield Bench(relay, drain, kind)
        drain.close()
        relay.close()


def test_one_bad_event_in_a_hundred(
    destination: Destination, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = decode((DATA / "events" / "web_full.json").read_bytes())
    unfit = type(destination).unfit
    poison = "100150"

    def blind(self: Destination, event: Event, *rest: Any) -> Any:
        return None if event.order_id == poison else unfit(self, event, *rest)

    monkeypatch.setattr("webhooks.pace.FIRST", BATCH)  # all in one request
    heard: list[list[Outcome]] = []
    read = type(destination).read

    def listening(self: Destination, count: int, response: Response) -> list[Outcome]:
        heard.append(read(self, count, response))
        return heard[-1]

    monkeypatch.setattr(type(destination), "unfit", blind)  # else it would never reach the wire
    monkeypatch.setattr(type(destination), "read", listening)
    for number in range(BATCH):
        key = str(100_100 + number)
        event = msgspec.structs.replace(
            web,
            store="shopify",
            shop="shopify",
            key=key,
            order_id=key,
            event_time=int(time.time()) - 60,
            value=-web.value if key == poison else web.value,
        )
        bench.record(event)
    bench.drain.run(20)

    states = bench.states()
    assert states.pop(poison) == "refused"
    assert set(states.values()) == {"delivered"}
    assert {one.event_id for one in bench.kind.record if one.kept} == set(states)
    is_named = any(not outcome.whole for outcome in heard[0])
    assert bench.calls() <= (NAMED if is_named else IN_HALVES)
