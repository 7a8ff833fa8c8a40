"""The samples of the stores and what is expected of each, read from the folders.

A sample is ``tests/data/stores/<slug>/<name>.json``: the body as the store sent it, byte for byte, or a
captured request (an object with exactly ``headers``, ``body`` and ``secret``). Beside it stands
``<name>.expect.json``: one `Expectation`, or several under ``cases``.
"""

import importlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from integrations.discovery import stores
from integrations.hook import Hook
from integrations.setting import Secret, Setting, Value
from integrations.store import Shop, Store

FOLDER = Path(__file__).parent.parent / "data" / "stores"
SECRET = "contract-test-secret-0123456789"  # not a credential: it signs the samples
NOW = 1_795_340_000  # 2026-11-22T09:33:20Z, when every hook of the tests arrives

_EXPECTATION = ".expect.json"
_NO_SAMPLE = "signatures.json"


class Expectation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What reading a sample must give. See `differences` for how ``event`` and ``refunds`` are compared.

    ``refunds`` are those that the hook tells of besides, in any order, when the shop wants them. ``apart``
    says why this event need not have the event_id of others with its key.
    """

    verdict: Literal["event", "not_an_event", "quarantined", "incomplete", "ping"]
    headers: dict[str, str] = {}
    options: dict[str, str | bool | int | list[str]] = {}
    reason: str = ""
    order_id: str = ""
    event: dict[str, Any] = {}
    refunds: list[dict[str, Any]] = []
    apart: str = ""
    note: str = ""


class _Cases(msgspec.Struct, forbid_unknown_fields=True):
    cases: list[Expectation]


class Case(msgspec.Struct, frozen=True):
    """One hook with its expectation. ``secret`` is the one that signed it."""

    id: str
    store: Store
    sample: str
    hook: Hook
    secret: str
    expected: Expectation

    @property
    def shop(self) -> Shop:
        return shop(self.store, self.secret, **self.expected.options)

    @property
    def refunding_shop(self) -> Shop:
        """The same shop, if it wants refunds and its store tells of them."""
        wants = {setting.name: "send" for setting in self.store.settings if setting.name == "refunds"}
        return shop(self.store, self.secret, **{**self.expected.options, **wants})


class Vector(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One signature case: exact body, secret and header value, for stores with a clock also ``now``."""

    secret: str
    raw_body: str
    header: str
    value: str
    valid: bool
    now: int = NOW
    why: str = ""


class Sender(Protocol):
    """What `webhooks/sandbox/<slug>_sender.py` offers."""

    def sign(self, body: bytes, secret: str, *, topic: str, now: int) -> dict[str, str]:
        """All headers that the store sends with this body."""


def sender(store: Store) -> Sender:
    """The module that signs like this store."""
    module: Sender = importlib.import_module(f"webhooks.sandbox.{store.slug}_sender")
    return module


def shop(store: Store, *secrets: str, **options: str | bool | int | list[str]) -> Shop:
    """A shop of this store with every option at its default, except those given."""
    declared = {setting.name: default(setting) for setting in store.settings}
    if unknown := options.keys() - declared.keys():
        raise KeyError(f"{store.slug} has no option {sorted(unknown)}")
    given = {name: tuple(v) if isinstance(v, list) else v for name, v in options.items()}
    return Shop(
        store=store.slug,
        slug="main",
        secrets=tuple(Secret(secret) for secret in secrets or (SECRET,)),
        options={**declared, **given},
    )


def default(setting: Setting) -> Value:
    """What the option is when nobody sets it."""
    match setting.kind:
        case "bool":
            return setting.default == "true"
        case "int":
            return int(setting.default or 0)
        case "list":
            return tuple(part.strip() for part in setting.default.split(",") if part.strip())
        case "time":
            return None
        case _:
            return setting.default


def cases() -> list[Case]:
    """Every case of every discovered store."""
    return [
        case
        for store in stores().values()
        for path in sample_paths(store.slug)
        for case in _read(store, path)
    ]


def sample_paths(slug: str) -> list[Path]:
    """The samples of a store, without expectations and signature vectors."""
    found = sorted((FOLDER / slug).rglob("*.json"))
    return [path for path in found if not path.name.endswith(_EXPECTATION) and path.name != _NO_SAMPLE]


def expectation_path(sample: Path) -> Path:
    """Where the expectation of this sample stands."""
    return sample.with_name(sample.stem + _EXPECTATION)


def orphans(slug: str) -> list[str]:
    """Expectations without a sample."""
    expected = {expectation_path(path) for path in sample_paths(slug)}
    return [str(path) for path in (FOLDER / slug).rglob(f"*{_EXPECTATION}") if path not in expected]


def vectors(slug: str) -> list[Vector]:
    """The signature vectors of a store."""
    return msgspec.json.decode((FOLDER / slug / _NO_SAMPLE).read_bytes(), type=list[Vector])


def _read(store: Store, path: Path) -> Iterator[Case]:
    raw = path.read_bytes()
    expectations = _expectations(expectation_path(path))
    for number, expected in enumerate(expectations):
        hook, secret = _captured(raw, expected) or _signed(store, raw, expected)
        suffix = f"-{number}" if len(expectations) > 1 else ""
        yield Case(f"{store.slug}-{path.stem}{suffix}", store, path.stem, hook, secret, expected)


def _expectations(path: Path) -> list[Expectation]:
    raw = path.read_bytes()
    try:
        if isinstance(json.loads(raw), dict) and "cases" in json.loads(raw):
            return msgspec.json.decode(raw, type=_Cases).cases
        return [msgspec.json.decode(raw, type=Expectation)]
    except (ValueError, msgspec.ValidationError) as error:
        raise ValueError(f"{path}: {error}") from error


def _captured(raw: bytes, expected: Expectation) -> tuple[Hook, str] | None:
    document = json.loads(raw)
    if not isinstance(document, dict) or document.keys() != {"headers", "body", "secret"}:
        return None
    headers = {**_lowered(document["headers"]), **expected.headers}
    return Hook(headers, document["body"].encode(), NOW), document["secret"]


def _signed(store: Store, body: bytes, expected: Expectation) -> tuple[Hook, str]:
    topic = store.topic(Hook(expected.headers, body, NOW))
    headers = sender(store).sign(body, SECRET, topic=topic, now=NOW)
    return Hook({**_lowered(headers), **expected.headers}, body, NOW), SECRET


def _lowered(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
