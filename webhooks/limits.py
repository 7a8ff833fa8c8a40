"""How often somebody may come, counted in this process's memory: buckets that fill up again with time."""

import hashlib
import secrets
import threading
import time
from collections import OrderedDict
from ipaddress import IPv6Address, ip_address

_SALT = secrets.token_bytes(16)  # an address is told apart from others in this process, and nowhere else


class Buckets:
    """One bucket per key, of ``burst`` and filled by ``rate`` per second. At most ``most`` are remembered:
    the one that was asked for longest ago is forgotten first, and starts full again."""

    def __init__(self, rate: float, burst: float, most: int = 10_000) -> None:
        self.rate, self.burst, self.most = rate, burst, most
        self._kept: OrderedDict[bytes, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: bytes) -> bool:
        """Whether there was one left for this key; it is taken."""
        now = time.monotonic()
        with self._lock:
            left, then = self._kept.pop(key, (self.burst, now))
            left = min(self.burst, left + (now - then) * self.rate)
            self._kept[key] = (left - 1 if left >= 1 else left), now
            if len(self._kept) > self.most:
                self._kept.popitem(last=False)
        return left >= 1


def disguised(address: str) -> bytes:
    """A client's address as a key: a salted hash, so that no address is kept. Of IPv6 the first half, since
    the other belongs to one customer as a whole."""
    try:
        known = ip_address(address)
    except ValueError:
        known = None
    whole = known.packed[:8] if isinstance(known, IPv6Address) else address.encode("utf-8", "replace")
    return hashlib.blake2b(whole, key=_SALT, digest_size=12).digest()
