"""A gap of hours: the server is down, hooks are lost, and the store gives up or is told to.

    python -m tests.faults.gap --orders 500

A shop of the sandbox with its own API, a stand-in of a destination, and our web process, over real HTTP.
Hours pass by moving the shop's clock, and ours with it. Afterwards the ledger is held against the shop's own
list, and against what the destination counted.
"""

import argparse
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec
import time_machine
from sqlalchemy import select
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from integrations.discovery import stores
from integrations.store import Shop as Account
from tests import ports
from webhooks import app, connecting, migrations, settings
from webhooks.database import Database
from webhooks.delivery import open_drain
from webhooks.relay import Relay
from webhooks.rounds import Round
from webhooks.sandbox.shop import Shop
from webhooks.sandbox.wire import serving, stand_in
from webhooks.schema import alerts, events
from webhooks.settings_variables import variables
from webhooks.shops import Shops
from webhooks.sweep import Sweep
from webhooks.transport import Transport

Fault = Literal["down", "deleted", "disabled", "lost"]
"""What happens besides the server's being down: nothing, the owner deletes or disables the subscriptions, or
the server is up all the time and the store sends nothing."""

HOURS = 6
BEFORE, AFTER = 3, 22
"""Orders whose hooks arrive, before the gap and after it."""

DESTINATION = "meta"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a gap. ``causes`` are those of the alerts that were raised, ``open`` those not cleared."""

    store: str
    fault: Fault
    sold: int
    pulled: int
    missing: tuple[str, ...]
    strange: tuple[str, ...]
    counted: Counter[str]
    sent: int
    silent: tuple[str, ...]
    causes: tuple[str, ...]
    open: tuple[str, ...]
    seconds: float

    @property
    def broken(self) -> list[str]:
        """The promises that were not kept."""
        twice = [order for order, times in self.counted.items() if times != 1]
        return [
            *(f"{order} is not in the ledger" for order in self.missing),
            *(f"{order} is in the ledger and not in the shop's list" for order in self.strange),
            *(f"{order} was counted {self.counted[order]} times" for order in twice),
            *(f"{topic} is not sent" for topic in self.silent),
            *([] if self.sent == self.sold else [f"{self.sent} events were sent of {self.sold} sales"]),
            *([] if len(self.causes) == 1 else [f"alerts: {', '.join(self.causes) or 'none'}"]),
            *(f"{cause} is not over" for cause in self.open),
        ]

    def __str__(self) -> str:
        head = f"gap of {HOURS} h at {self.store} ({self.fault}): {self.sold} sold, {self.pulled} pulled"
        told = f"alert {', '.join(self.causes)}, {'not over' if self.open else 'and over'}"
        lines = [f"{head}, {self.sent} sent, {told}, {self.seconds:.1f} s", *self.broken]
        return "\n  ".join(lines)


class _Silent(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - the base names it so
        """The verdict says more."""


class Gap:
    """One shop, one relay, one destination."""

    def __init__(self, slug: str, shop: Shop, environment: dict[str, str], clock: Any) -> None:
        self.slug, self.shop, self.environment, self.clock = slug, shop, environment, clock
        self.port = ports.free()
        environment["RELAY_PUBLIC_URL"] = f"http://127.0.0.1:{self.port}"
        self.transport = Transport(total_seconds=10)
        self._numbers = iter(range(1, 10**6))
        self._web: BaseWSGIServer | None = None
        self.relay = Relay(settings.load(environment))
        self.round = self._new_round()

    # --- our side ------------------------------------------------------------------------------------------

    @property
    def account(self) -> Account:
        """The shop as the settings have it."""
        (found,) = self.relay.settings.shops
        return found

    def start(self) -> None:
        """Our processes, with what they remember: nothing."""
        self.relay.close()
        self.relay = Relay(settings.load(self.environment))
        self.round = self._new_round()
        made = app.create_app(self.relay.settings)
        self._web = make_server("127.0.0.1", self.port, made, threaded=True, request_handler=_Silent)
        threading.Thread(target=self._web.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """From now on nobody listens."""
        if self._web is not None:
            self._web.shutdown()
            self._web.server_close()
            self._web = None

    def connect(self) -> None:
        """As the owner does, who also puts a secret into the settings that the store has made up."""
        done = connecting.connect(self.relay, Shops(self.transport), self.account)
        if done.unknown_secret:
            self.environment[f"{self.slug}_webhook_secrets".upper()] = str(done.unknown_secret)
            self.stop()
            self.start()

    def go_round(self) -> None:
        """What the sweep's process does, once."""
        self.round.watch()
        self.round.compare()

    def deliver(self) -> None:
        """What the worker does, until nothing is left to do, and what is too old is ended."""
        drain = open_drain(self.relay, threading.Event())
        try:
            while drain.run(5):
                pass
        finally:
            drain.close()
        sweep = Sweep(self.relay)
        sweep.once()
        sweep.transport.close()

    def close(self) -> None:
        """Ends everything."""
        self.stop()
        self.relay.close()
        self.transport.close()

    def _new_round(self) -> Round:
        return Round(self.relay, Shops(self.transport), self.account, threading.Event())

    # --- the shop's side -----------------------------------------------------------------------------------

    def sell(self, count: int, seconds: float) -> None:
        """So many orders within that time."""
        for _ in range(count):
            self.shop.place(self.shop.order(next(self._numbers), self.shop.now()))
            self.move(seconds / count)

    def move(self, seconds: float) -> None:
        """Lets time pass, there and here."""
        self.clock.shift(seconds)
        self.shop.move(seconds)

    def break_it(self, fault: Fault) -> None:
        """What happens at the beginning of the gap."""
        if fault == "deleted":
            self.shop.subscriptions.clear()
        elif fault == "disabled":
            for registered in list(self.shop.subscriptions):
                self.shop.disable(registered)
        if fault == "lost":
            self.shop.lose_hooks = 10**9
        else:
            self.stop()


@contextmanager
def built(slug: str, home: Path) -> Iterator[tuple[Gap, Any]]:
    """A gap that is about to be, and the destination's stand-in."""
    with ExitStack() as stack:
        clock = stack.enter_context(time_machine.travel(time.time() - 86_400, tick=True))
        shop = stand_in(f"{slug}_shop")(clock=time.time)
        assert isinstance(shop, Shop)
        shop.freeze(float(int(time.time())))
        shop.throttles = False
        destination = stand_in(DESTINATION)()
        stack.callback(shop.close)
        address = stack.enter_context(serving(shop))
        environment = _environment(slug, shop, address, home)
        environment[f"{DESTINATION}_api_base".upper()] = stack.enter_context(serving(destination))
        database = Database(environment["DATABASE_URL"])
        migrations.upgrade(database)
        database.close()
        gap = Gap(slug, shop, environment, clock)
        stack.callback(gap.close)
        yield gap, destination


def _environment(slug: str, shop: Shop, address: str, home: Path) -> dict[str, str]:
    of_api = {f"{slug}_{name}".upper(): value for name, value in shop.settings(address).items()}
    wanted = {
        "DATABASE_URL": f"sqlite:///{home / 'ledger.db'}",
        "REDIS_URL": f"unix://{home / 'nobody-listens.sock'}",
        "RELAY_DATA_DIR": str(home),
        "RELAY_RECONCILE_DELAY": "0",
        f"{slug}_consent_policy".upper(): "opt_out",  # the samples' buyers were not asked
        **of_api,
        **{f"{DESTINATION}_{name}".upper(): value for name, value in stand_in(DESTINATION).demo.items()},
    }
    known = {variable.name for variable in variables()}
    if not stores()[slug].makes_secret:
        # An app's hooks are signed with its secret, others with one that we choose.
        wanted[f"{slug}_webhook_secrets".upper()] = of_api.get(
            f"{slug}_client_secret".upper(), "chosen-by-us"
        )
    return {name: value for name, value in wanted.items() if name in known}


def run(slug: str, fault: Fault, orders: int, home: Path) -> Verdict:
    """The whole story."""
    began = time.perf_counter()
    with built(slug, home) as (gap, destination):
        gap.start()
        gap.connect()
        gap.sell(BEFORE, 600)
        gap.go_round()
        gap.break_it(fault)
        gap.sell(orders, HOURS * 3_600)
        gap.shop.lose_hooks = 0
        gap.stop()
        gap.start()
        gap.go_round()
        gap.deliver()
        gap.move(600)
        gap.go_round()
        if gap.relay.alerts.open("subscription"):  # only its owner can help
            gap.connect()
        gap.sell(AFTER, 600)
        gap.move(5 * 3_600)  # what the store sends late
        gap.go_round()
        gap.deliver()
        return _judge(gap, destination, fault, time.perf_counter() - began)


def _judge(gap: Gap, destination: Any, fault: Fault, seconds: float) -> Verdict:
    with gap.relay.database.read() as db:
        known = {row.order_id: row.source for row in db.execute(select(events))}
        told = db.execute(select(alerts).order_by(alerts.c.id)).all()
    lines = [line for line in destination.record if line.source == "server"]
    with Shops(gap.transport).open(gap.account) as api:
        needs = connecting.view(gap.relay.settings, gap.account, api.subscriptions()).needs
    return Verdict(
        store=gap.slug,
        fault=fault,
        sold=len(gap.shop.orders),
        pulled=list(known.values()).count("pulled"),
        missing=tuple(sorted(gap.shop.orders.keys() - known.keys())),
        strange=tuple(sorted(known.keys() - gap.shop.orders.keys())),
        counted=Counter(dict.fromkeys(known, 0)) | Counter(line.event_id for line in lines if line.kept),
        sent=len(lines),
        silent=tuple(need.topic for need in needs if need.state != "active"),
        causes=tuple(row.cause for row in told),
        open=tuple(row.cause for row in told if row.cleared_at is None),
        seconds=seconds,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Every store and fault; exit code 0 if every promise was kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.gap")
    parser.add_argument("--orders", type=int, default=500)
    parser.add_argument("--store", choices=sorted(stores()))
    options = parser.parse_args(arguments)
    verdicts = []
    for slug in [options.store] if options.store else sorted(stores()):
        for fault in ("down", "deleted", "disabled", "lost"):
            home = Path(tempfile.mkdtemp(prefix="relay-gap-"))
            try:
                verdicts.append(run(slug, fault, options.orders, home))
            finally:
                shutil.rmtree(home, ignore_errors=True)
            sys.stdout.write(f"{verdicts[-1]}\n")
            sys.stdout.flush()
    return int(any(verdict.broken for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
