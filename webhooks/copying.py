"""A copy of what is kept about somebody: a file of JSON for the shop's owner, readable by nobody else."""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
from sqlalchemy import select

from integrations.event import decode
from integrations.untrusted import NotJson, load_json
from webhooks.clock import now_ms, rfc3339
from webhooks.erasure import Found
from webhooks.relay import Relay
from webhooks.schema import deliveries, events, hooks
from webhooks.vault import Sealed

_DRAFT_SECONDS = 600

_NAME = "request-{number}-{version}.json"


def folder(relay: Relay) -> Path:
    """Where the copies wait."""
    return relay.settings.data_dir / "privacy"


def path(relay: Relay, number: int, version: int) -> Path:
    """The file of a wish. One that is made anew has another name, so that nobody keeps the old one."""
    return folder(relay) / _NAME.format(number=number, version=version)


def write(relay: Relay, number: int, version: int, shop: str, found: Found) -> Path:
    """Writes the file of a wish."""
    folder(relay).mkdir(parents=True, exist_ok=True, mode=0o700)
    return write_to(path(relay, number, version), document(relay, shop, found))


def write_to(target: Path, content: bytes) -> Path:
    """Writes a file that only its owner can read, whole or not at all."""
    draft = target.with_name(f".{uuid4().hex}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    return draft.rename(target)


def remove_others(relay: Relay, wanted: Iterable[tuple[int, int]]) -> None:
    """Removes every file but those of these wishes, and drafts that were cut off."""
    kept = {_NAME.format(number=number, version=version) for number, version in wanted}
    for file in folder(relay).iterdir() if folder(relay).is_dir() else ():
        is_fresh = file.name.startswith(".") and time.time() - file.stat().st_mtime < _DRAFT_SECONDS
        if file.name not in kept and not is_fresh:
            file.unlink(missing_ok=True)


def document(relay: Relay, shop: str, found: Found) -> bytes:
    """Everything that was found, as JSON: what stands in the ledger, and to whom it was told."""
    with relay.database.read() as db:
        told = [dict(row) for row in db.execute(_EVENTS.where(events.c.id.in_(found.events))).mappings()]
        heard = [dict(row) for row in db.execute(_HOOKS.where(hooks.c.id.in_(found.hooks))).mappings()]
        sent = [dict(row) for row in db.execute(_SENT.where(deliveries.c.event.in_(found.events))).mappings()]
    for row in told:
        row["content"] = _opened(relay, row.pop("sealed"))
        number = row.pop("id")
        row["told_to"] = [_timed(one) for one in sent if one["event"] == number]
    for row in heard:
        row["content"] = _hook(relay, row.pop("sealed"))
    answer: dict[str, Any] = {"shop": shop, "made_at": rfc3339(now_ms()), "orders": sorted(found.orders)}
    answer |= {"events": [_timed(row) for row in told], "hooks": [_timed(row) for row in heard]}
    return msgspec.json.format(msgspec.json.encode(answer, enc_hook=str), indent=2)  # amounts are texts


_EVENTS = select(
    *(events.c[name] for name in ("id", "event_name", "order_id", "order_name", "event_time", "value")),
    *(events.c[name] for name in ("currency", "origin", "source", "received_at", "sealed")),
).order_by(events.c.id)
_HOOKS = select(
    *(hooks.c[name] for name in ("topic", "order_id", "received_at", "verdict", "reason", "sealed"))
).order_by(hooks.c.id)
_SENT = select(
    *(deliveries.c[name] for name in ("event", "destination", "account", "event_id", "state", "reason")),
    *(deliveries.c[name] for name in ("first_sent_at", "delivered_at")),
).order_by(deliveries.c.id)


def _opened(relay: Relay, sealed: bytes | None) -> Any:
    if sealed is None:
        return "forgotten"
    try:
        return msgspec.to_builtins(decode(relay.vault.open(sealed)))
    except Sealed as error:
        return str(error)


def _hook(relay: Relay, sealed: bytes | None) -> Any:
    if sealed is None:
        return "forgotten"
    try:
        body = relay.vault.open_hook(sealed).body
    except Sealed as error:
        return str(error)
    try:
        return load_json(body)
    except NotJson:
        return body.decode("utf-8", "replace")


def _timed(row: dict[str, Any]) -> dict[str, Any]:
    """Times as people write them; the ledger's own numbers are nobody's data."""
    row.pop("event", None)
    return {name: rfc3339(value) if name.endswith(("_at", "_time")) else value for name, value in row.items()}
