"""Stores that send hooks: in an open loop, so that a slow relay is not spared, each with its own patience."""

import asyncio
import math
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import msgspec

from tests.faults import orders
from tests.faults.orders import Told


class Manners(NamedTuple):
    """How a store sends: how long it waits for an answer, and the pauses before it sends again (seconds)."""

    patience: float
    pauses: tuple[float, ...]


MANNERS: Mapping[str, Manners] = {
    # Eight tries more within four hours, here within half a minute.
    "shopify": Manners(5.0, (0.25, 0.5, 1, 2, 4, 6, 8, 10)),
    "stripe": Manners(5.0, (0.25, 0.5, 1, 2, 4, 8, 16)),
    # Its 60 seconds, and no second try.
    "woocommerce": Manners(60.0, ()),
}

CUT_OFF = 0
"""The status of a hook that got no answer: refused, reset, or none in time."""


class Answer(NamedTuple):
    """What a store heard, when it began to speak (`time.monotonic`), and how many seconds it waited."""

    status: int
    at: float
    seconds: float
    store: str


class Load:
    """``rate`` orders per second for so many seconds; ``echoes`` is the share of orders told of twice.

    Every acknowledged order is written to the file at once, before anything else is done about it.
    """

    def __init__(self, url: str, file: Path, *, rate: float, seconds: float, echoes: float = 0.2) -> None:
        self._url, self._file = url, file
        self._rate, self._seconds, self._echoes = rate, seconds, echoes
        self._chance = random.Random(0)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._future: Future[None] | None = None
        self._over = threading.Event()
        self.placed: dict[str, Told] = {}
        self.acknowledged: dict[str, float] = {}
        """When, as `time.time` says it."""
        self.answers: list[Answer] = []

    @property
    def statuses(self) -> Counter[int]:
        """How often each was answered."""
        return Counter(answer.status for answer in self.answers)

    def start(self) -> None:
        """Begins; returns at once."""
        self._future = self._thread.submit(asyncio.run, self._run())

    def stop(self) -> None:
        """Places no more orders."""
        self._over.set()

    def join(self) -> None:
        """Waits until every store has its answer or has given up."""
        assert self._future is not None
        try:
            self._future.result()
        finally:
            self._thread.shutdown()

    def slowest(self, share: float, since: float = 0.0, until: float = math.inf) -> float:
        """Seconds within which that share of the acknowledgements came, of hooks sent between these times."""
        told = (answer for answer in self.answers if since <= answer.at < until)
        times = sorted(answer.seconds for answer in told if answer.status == 200)
        return times[min(int(share * len(times)), len(times) - 1)] if times else 0.0

    async def _run(self) -> None:
        began = time.monotonic()
        async with asyncio.TaskGroup() as stores:
            for number in range(int(self._rate * self._seconds)):
                await asyncio.sleep(began + number / self._rate - time.monotonic())
                if self._over.is_set():
                    break
                for told in orders.place(number, hooks=1 + (self._chance.random() < self._echoes)):
                    self.placed[told.order_id] = told
                    stores.create_task(self._tell(told))

    async def _tell(self, told: Told) -> None:
        """Sends until it is acknowledged or the store gives up."""
        for pause in (0.0, *MANNERS[told.store].pauses):
            await asyncio.sleep(pause)
            answer = await post(self._url, told)
            self.answers.append(answer)
            if answer.status == 200:
                self._note(told)
                return

    def _note(self, told: Told) -> None:
        if told.order_id not in self.acknowledged:
            now = self.acknowledged[told.order_id] = time.time()
            line = msgspec.json.encode({"store": told.store, "order_id": told.order_id, "at": now})
            with self._file.open("ab") as file:
                file.write(line + b"\n")


async def post(url: str, told: Told) -> Answer:
    """One try on a connection of its own, as the stores make them. Never raises for what a network can do."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(MANNERS[told.store].patience):
            status = await _exchange(url, told)
    except (OSError, TimeoutError, asyncio.IncompleteReadError, IndexError, ValueError):
        status = CUT_OFF
    return Answer(status, began, time.monotonic() - began, told.store)


async def _exchange(url: str, told: Told) -> int:
    address = url.removeprefix("http://")
    host, _, port = address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        headers = {"Host": address, "Content-Length": str(len(told.body)), "Connection": "close"}
        lines = [f"{name}: {value}\r\n" for name, value in {**headers, **told.headers()}.items()]
        writer.write(f"POST {told.path} HTTP/1.1\r\n{''.join(lines)}\r\n".encode() + told.body)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.read()
        return int(head.split()[1])
    finally:
        writer.close()


def at_once(url: str, told: Sequence[Told]) -> list[Answer]:
    """All of these hooks at the same time, each tried once."""

    async def race() -> list[Answer]:
        return await asyncio.gather(*(post(url, one) for one in told))

    return asyncio.run(race())
