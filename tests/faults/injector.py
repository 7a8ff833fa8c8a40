"""What goes wrong, and when: drawn from a seed."""

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import accumulate

from redis import Redis
from redis.exceptions import RedisError

from tests.faults.installation import WORKERS, Installation

DECK = {"web child": 3, "worker": 3, "sweeper": 1, "valkey": 1, "flush": 1, "freeze": 1}
"""How often each happens in one round; beside SQLite, PostgreSQL is killed once as well."""

KILLS = frozenset({"web child", "worker", "sweeper", "valkey", "postgresql"})

FROZEN_SECONDS = (0.3, 1.5)

_COMES_BACK_SECONDS = 5.0


class Injector:
    """Draws faults and inflicts them on an installation. ``done`` counts those that hit."""

    def __init__(self, relay: Installation, chance: random.Random) -> None:
        self.relay, self.chance = relay, chance
        self.done: Counter[str] = Counter()
        self._faults: Mapping[str, Callable[[], bool]] = {
            "web child": self._web_child,
            "worker": self._worker,
            "sweeper": self._sweeper,
            "valkey": self._valkey,
            "postgresql": self._postgresql,
            "flush": self.flush,
            "freeze": self.freeze,
        }

    @property
    def kills(self) -> int:
        """How many processes were killed."""
        return sum(count for name, count in self.done.items() if name in KILLS)

    def run(self, seconds: float, kills: int) -> None:
        """Spreads so many kills, and what else is in the deck, over the time."""
        deck = self._drawn(kills)
        began = time.monotonic()
        for number, name in enumerate(deck):
            at = began + seconds * (number + self.chance.random()) / len(deck)
            time.sleep(max(0.0, at - time.monotonic()))
            self.inflict(name)

    def inflict(self, name: str) -> bool:
        """One fault; waits for its victim if that is about to come back. False if it never did."""
        deadline = time.monotonic() + _COMES_BACK_SECONDS
        while not (hit := self._faults[name]()) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.done[name] += hit
        return hit

    def _drawn(self, kills: int) -> list[str]:
        """Whole rounds, as far as the last one that kills."""
        round_ = dict(DECK)
        if self.relay.database_kind == "postgresql":
            round_["postgresql"] = 1
        deck: list[str] = []
        while (left := kills - sum(name in KILLS for name in deck)) > 0:
            cards = [name for name, count in round_.items() for _ in range(count)]
            self.chance.shuffle(cards)
            deadly = accumulate(name in KILLS for name in cards)
            deck += [name for name, so_far in zip(cards, deadly, strict=True) if so_far <= left]
        return deck

    # --- the faults ----------------------------------------------------------------------------------------

    def _web_child(self) -> bool:
        return self.relay.fleet.kill_child("web", self.chance)

    def _worker(self) -> bool:
        return self.relay.fleet.kill(self.chance.choice(WORKERS))

    def _sweeper(self) -> bool:
        return self.relay.fleet.kill("sweeper")

    def _valkey(self) -> bool:
        return self.relay.fleet.kill("valkey")

    def _postgresql(self) -> bool:
        return self.relay.fleet.kill("postgresql")

    def flush(self) -> bool:
        """FLUSHALL; False if Valkey does not answer."""
        try:
            with Redis.from_url(self.relay.redis_url, socket_timeout=1) as client:
                return bool(client.flushall())
        except RedisError:
            return False

    def freeze(self) -> bool:
        """Valkey accepts connections and answers nobody, for a while."""
        if not self.relay.fleet.signal("valkey", signal.SIGSTOP):
            return False
        thaw = threading.Timer(
            self.chance.uniform(*FROZEN_SECONDS), self.relay.fleet.signal, ("valkey", signal.SIGCONT)
        )
        thaw.daemon = True
        thaw.start()
        return True
