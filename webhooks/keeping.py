"""Short-lived tokens: got once for everybody who waits for one, and kept while they are good.

In memory alone, one set per process; nothing is lost with them. Whose they are, and how they are got, say
`tokens.py` (a destination's accounts) and `shops.py` (shops).
"""

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import msgspec

from integrations.destination import Token
from integrations.setting import Secret

EARLY_SECONDS = 60
"""A token is renewed this long before it ends: it must not end on the wire."""

Failure = TypeVar("Failure")


class Kept(msgspec.Struct, frozen=True):
    """A token, and when it was got and must be renewed (monotonic seconds)."""

    value: Secret
    since: float
    until: float


def kept(token: Token, since: float) -> Kept:
    """The token that was asked for at ``since``."""
    return Kept(token.value, since, since + max(token.seconds - EARLY_SECONDS, 0))


class Keep(Generic[Failure]):
    """Tokens by whom they are for, for all threads. ``Failure`` is what comes instead of one."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, Kept] = {}
        self._failures: dict[Hashable, tuple[float, Failure]] = {}
        self._locks: dict[Hashable, threading.Lock] = {}

    def get(self, key: Hashable, exchange: Callable[[], Kept | Failure | None]) -> Kept | Failure | None:
        """The kept token, or what an exchange gives; None where there is no such step.

        One exchange at a time; who waited for it shares what came of it.
        """
        asked = time.monotonic()
        with self._lock(key):
            known, failure = self._kept.get(key), self._failures.get(key)
            if known is not None and known.until > time.monotonic():
                return known
            if failure is not None and failure[0] >= asked:
                return failure[1]
            got = exchange()
            if isinstance(got, Kept):
                self._kept[key] = got
            elif got is not None:
                self._failures[key] = time.monotonic(), got
            return got

    def drop(self, key: Hashable, token: Kept) -> None:
        """Forgets a token that was refused, unless another has taken its place already."""
        with self._lock(key):
            if self._kept.get(key) is token:
                del self._kept[key]

    def _lock(self, key: Hashable) -> threading.Lock:
        return self._locks.setdefault(key, threading.Lock())
