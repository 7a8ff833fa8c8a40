"""Orders while hostile beacons pour in: ``python -m tests.faults.beacons --rate 1000 --seconds 10``.

In the first half orders come alone, in the second the beacons come besides: about real orders and made-up
ones, without proof, from other sites, too large, broken, the same again, from ever new addresses. Prints what
became of both, and how much longer orders took; ends with 1 if a promise was broken. Beacons and orders are
made on the same machine, so that the ratios tell of the flood's cost and of making it.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from integrations.discovery import stores
from tests.faults.installation import AS_ON_A_HOST, OURS, Installation, Kind, installed
from tests.faults.judge import LATEST_SECONDS, judge
from tests.faults.load import CUT_OFF, Load
from webhooks.beacon import MAX_BYTES

ORIGIN = "https://shop.example.com"
CONNECTIONS = 32
ANSWERS = frozenset({204, 400, 403, 413, 429, 503, CUT_OFF})

SETTINGS = {
    "RELAY_PROXIES": "1",
    **{f"{slug.upper()}_ORIGINS": ORIGIN for slug in stores()},
    **{f"{slug.upper()}_CONSENT_POLICY": "opt_out" for slug in stores()},
    **{f"{slug.upper()}_BEACON_WAIT_SECONDS": "1" for slug in stores()},
}


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a run showed. Each pair is of orders alone and under the flood: milliseconds within which 50 and
    99 of a hundred were acknowledged, and delivered. ``answers`` are those to beacons."""

    database: str
    broken: list[str]
    orders: int
    beacons: int
    answers: dict[str, int]
    slowest_beacon: float
    acknowledged: dict[str, tuple[float, float]]
    delivered: dict[str, tuple[float, float]]

    def __str__(self) -> str:
        told = ", ".join(f"{status} {count}" for status, count in self.answers.items())
        lines = [
            ("orders", str(self.orders)),
            ("beacons", f"{self.beacons} ({told}), slowest {self.slowest_beacon:.0f} ms"),
            ("acknowledged", _ratios(self.acknowledged)),
            ("delivered", _ratios(self.delivered)),
            ("verdict", "kept" if not self.broken else "BROKEN"),
        ]
        body = [f"  {label:<13}{text}" for label, text in lines]
        return (
            "\n".join([f"beacons on {self.database}", *body, *(f"  - {one}" for one in self.broken)]) + "\n"
        )


def _ratios(pairs: Mapping[str, tuple[float, float]]) -> str:
    return ", ".join(
        f"{name} {alone:.0f} -> {under:.0f} ms ({under / alone:.2f} x)" if alone else f"{name} {under:.0f} ms"
        for name, (alone, under) in pairs.items()
    )


# --- the flood -------------------------------------------------------------------------------------------


class Flood:
    """``rate`` beacons per second on a few connections, each waiting for its answer. ``known`` are the ids of
    real orders by their shop."""

    def __init__(
        self, url: str, known: Callable[[], Sequence[tuple[str, str]]], rate: float, seed: int
    ) -> None:
        self._address = url.removeprefix("http://")
        self._known, self._rate = known, rate
        self._chance = random.Random(seed)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="flood")
        self._future: Future[None] | None = None
        self.answers: Counter[int] = Counter()
        self.slowest = 0.0

    def start(self, seconds: float) -> None:
        """Begins; returns at once."""
        self._future = self._thread.submit(asyncio.run, self._run(seconds))

    def join(self) -> None:
        """Waits until it is over."""
        assert self._future is not None
        try:
            self._future.result()
        finally:
            self._thread.shutdown()

    async def _run(self, seconds: float) -> None:
        async with asyncio.TaskGroup() as senders:
            for number in range(CONNECTIONS):
                senders.create_task(self._send(number, seconds))

    async def _send(self, number: int, seconds: float) -> None:
        began = time.monotonic()
        pause, due = CONNECTIONS / self._rate, began + number / self._rate
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while due < began + seconds:
            await asyncio.sleep(due - time.monotonic())
            due = max(due + pause, time.monotonic() - 1)  # who was kept waiting catches up a little, not all
            asked = time.monotonic()
            try:
                async with asyncio.timeout(10):
                    streams = streams or await asyncio.open_connection(*self._address.split(":"))
                    status, goes_on = await _exchange(*streams, self._made())
            except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
                status, goes_on = CUT_OFF, False
            self.slowest = max(self.slowest, time.monotonic() - asked)
            self.answers[status] += 1
            if not goes_on and streams is not None:
                streams[1].close()
                streams = None
        if streams is not None:
            streams[1].close()

    def _made(self) -> bytes:
        """A request. Most of them would be beacons, if only somebody believed them."""
        chance = self._chance
        known = self._known()
        shop, order = chance.choice(known) if known else ("shopify", "1")
        body = json.dumps(self._told(order)).encode()
        origin = ORIGIN if chance.random() > 0.1 else "https://evil.example"
        match chance.randrange(20):
            case 0:
                body = body[: chance.randrange(len(body))]
            case 1:
                body += b" " * MAX_BYTES
            case 2:
                body = chance.randbytes(100)
        address = ".".join(str(chance.randrange(1, 100)) for _ in range(4))
        head = (
            f"POST /collect/{shop} HTTP/1.1\r\nHost: relay\r\nOrigin: {origin}\r\n"
            f"X-Forwarded-For: {address}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def _told(self, order: str) -> dict[str, Any]:
        chance = self._chance
        names = {"order_id": chance.choice([order, order, str(chance.randrange(10**9))])}
        if chance.random() < 0.5:
            names[chance.choice(["checkout_token", "session_id", "order_key"])] = f"{chance.randrange(10**6)}"
        return {
            "v": 1,
            "order": names,
            "event_ids": {"meta": f"{chance.randrange(1000)}"},
            "fired": ["meta"],
            "attributes": {
                "_fbp": f"fb.1.1763800000000.{chance.randrange(10**9)}",
                "marketing_consent": "denied",
                "value": "0.01",
                "currency": "XXX",
            },
            "page_url": f"{ORIGIN}/",
        }


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, raw: bytes
) -> tuple[int, bool]:
    """The answer's status, and whether the connection goes on."""
    writer.write(raw)
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = next(
        (line.split(":")[1] for line in head.splitlines() if line.startswith("content-length:")), "0"
    )
    await reader.readexactly(int(length))
    return int(head.split()[1]), "connection: close" not in head


# --- the run ---------------------------------------------------------------------------------------------


def run(database: Kind, *, seconds: float, rate: float, orders: float, seed: int = 1) -> Verdict:
    """Half of ``seconds`` without the flood, half with it."""
    with installed(database, seed=seed, changes=AS_ON_A_HOST, **SETTINGS) as relay:
        load = Load(
            relay.web_url, relay.home / "acknowledged.jsonl", rate=orders, seconds=seconds, echoes=0.0
        )
        flood = Flood(relay.web_url, lambda: _known(load), rate, seed)
        load.start()
        time.sleep(seconds / 2)
        middle, clock = time.monotonic(), time.time()
        flood.start(seconds / 2)
        flood.join()
        load.join()
        settled = relay.settle(LATEST_SECONDS)
        relay.fleet.stop(OURS)
        verdict = judge(relay, load, name="beacons", seed=seed, settled=settled, faults=Counter(), kills=0)
        return Verdict(
            database=database,
            broken=[*verdict.broken, *_broken(relay, load, flood)],
            orders=len(load.placed),
            beacons=flood.answers.total(),
            answers={str(status or "none"): count for status, count in sorted(flood.answers.items())},
            slowest_beacon=flood.slowest * 1_000,
            acknowledged={
                f"p{share:.0%}"[:-1]: (
                    load.slowest(share, until=middle) * 1_000,
                    load.slowest(share, since=middle) * 1_000,
                )
                for share in (0.5, 0.99)
            },
            delivered=_delivered(relay, clock),
        )


def _known(load: Load) -> list[tuple[str, str]]:
    recent = list(load.placed.values())[-50:]
    return [(told.store, told.order_id) for told in recent]


def _broken(relay: Installation, load: Load, flood: Flood) -> list[str]:
    """What the judge of orders does not ask: nothing but what was placed, as it was placed, and sent."""
    found = [f"a beacon was answered {status}" for status in flood.answers if status not in ANSWERS]
    rows = relay.ledger()
    if strangers := {row["order_id"] for row in rows} - load.placed.keys():
        found.append(f"{len(strangers)} purchases that no store told of")
    changed = [
        row["order_id"]
        for row in rows
        if (told := load.placed.get(row["order_id"])) and told.value is not None
        if Decimal(row["value"]) != told.value
    ]
    if changed:
        found.append(f"{len(changed)} purchases with another value")
    late = [row for row in rows if row["state"] == "suppressed"]
    return [*found, f"{len(late)} purchases were suppressed by a forged no"] if late else found


def _delivered(relay: Installation, middle: float) -> dict[str, tuple[float, float]]:
    """Milliseconds from the hook to the delivery, of the orders before and after that time."""
    halves: tuple[list[float], list[float]] = ([], [])
    for row in relay.ledger():
        if row["delivered_at"]:
            began = datetime.fromisoformat(row["received_at"]).timestamp()
            took = datetime.fromisoformat(row["delivered_at"]).timestamp() - began
            halves[began >= middle].append(took * 1_000)
    return {
        f"p{share:.0%}"[:-1]: (_within(halves[0], share), _within(halves[1], share)) for share in (0.5, 0.99)
    }


def _within(times: list[float], share: float) -> float:
    ordered = sorted(times)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0: every promise was kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.beacons", description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--rate", type=float, default=1_000, help="beacons per second (1000)")
    parser.add_argument("--orders", type=float, default=50, help="orders per second (50)")
    parser.add_argument("--seconds", type=float, default=20, help="in all; half of it under the flood (20)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    verdict = run(
        options.database, seconds=options.seconds, rate=options.rate, orders=options.orders, seed=options.seed
    )
    sys.stdout.write(str(verdict))
    return int(bool(verdict.broken))


if __name__ == "__main__":
    sys.exit(main())
