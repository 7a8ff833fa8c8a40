"""What one would write first: the designs that ours is measured against. Each is in use somewhere.

gunicorn makes the applications: ``gunicorn 'benchmarks.naive:sqlite("/path", "unix:///redis", "secret")'``.
"""

import base64
import hashlib
import hmac
import json
import sqlite3
import threading
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Any

import psycopg
import rq
from flask import Flask, abort, request
from redis import Redis

from benchmarks.naive_job import QUEUE, deliver

Start = Callable[[str, list[tuple[str, str]]], object]


def bare(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    """Reads the body and says ok: what the server alone costs."""
    environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "3")])
    return [b"ok\n"]


def flask() -> Flask:
    """The same in Flask."""
    return _app(lambda _number, _body: None, None)


def sqlite(path: str, redis_url: str, secret: str, address: str = "") -> Flask:
    """Verifies, writes the order down, enqueues it: SQLite, synchronous FULL, one commit each. Wants
    `make_sqlite` first."""
    local = threading.local()

    def connection() -> sqlite3.Connection:
        if not hasattr(local, "db"):
            local.db = sqlite3.connect(path, isolation_level=None, timeout=30)
            local.db.execute("PRAGMA synchronous=FULL")
        made: sqlite3.Connection = local.db
        return made

    def keep(number: int, body: bytes) -> None:
        connection().execute("INSERT INTO orders VALUES (?, ?) ON CONFLICT DO NOTHING", (number, body))

    return _app(keep, redis_url, secret, address)


def make_sqlite(path: str) -> None:
    """The file, before several processes open it: switching to WAL wants it for oneself."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, body BLOB)")


def make_postgresql(conninfo: str) -> None:
    """The table."""
    with psycopg.connect(conninfo, autocommit=True) as db:
        db.execute("CREATE TABLE naive_orders (id bigint PRIMARY KEY, body bytea)")


def postgresql(conninfo: str, redis_url: str, secret: str) -> Flask:
    """The same on PostgreSQL, a connection for each thread. Wants `make_postgresql` first."""
    local = threading.local()

    def keep(number: int, body: bytes) -> None:
        if not hasattr(local, "db"):
            local.db = psycopg.connect(conninfo, autocommit=True)
        local.db.execute("INSERT INTO naive_orders VALUES (%s, %s) ON CONFLICT DO NOTHING", (number, body))

    return _app(keep, redis_url, secret)


def _app(
    keep: Callable[[int, bytes], None], redis_url: str | None, secret: str = "", address: str = ""
) -> Flask:
    app = Flask("naive")
    queue = rq.Queue(QUEUE, connection=Redis.from_url(redis_url)) if redis_url else None

    @app.post("/webhooks/shopify")
    def receive() -> str:
        body = request.get_data()
        if queue is not None:
            mac = hmac.digest(secret.encode(), body, hashlib.sha256)
            if not hmac.compare_digest(
                base64.b64encode(mac).decode(), request.headers["X-Shopify-Hmac-Sha256"]
            ):
                abort(401)
            order = json.loads(body)
            keep(order["id"], body)
            queue.enqueue(deliver, order, address)
        return "ok\n"

    return app
