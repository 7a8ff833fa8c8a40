"""Nothing that is sent breaks the intake: signed it is kept, unsigned it is refused, and both soon."""

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import pytest

from integrations.discovery import stores
from integrations.hook import Hook
from integrations.store import Incomplete, Malformed, NotAnEvent, Store
from tests import hostile
from tests.contract.samples import Case, cases
from tests.documents import Place, leaves, name, places, sparse, written
from tests.hostile import Forms
from tests.intake import Intake, broken_promises, intake, signed, topic_of

ROLES: Mapping[str, tuple[str, Forms]] = {
    "amount": (r".*(amount|total|price|subtotal|discount|tax|tip|fee).*", hostile.AMOUNTS),
    "id": (r"(.*_)?id|number|name|payment_intent|invoice", hostile.IDS),
    "time": (r"created|.*_at|date_.*", hostile.TIMES),
    "currency": (r".*currency.*", hostile.CURRENCIES),
    "quantity": (r".*quantity.*", hostile.QUANTITIES),
    "long": (r".*(name|title|sku|city|e?mail|address1|address_1|line1)", hostile.LONG_TEXTS),
    "text": (r"(?!object$|type$|.*status$).*", hostile.TEXTS),
}
"""Which values a form takes the place of: those whose names look like this."""

Put = Callable[["Base", str, bytes], Iterator[bytes]]

ROOM = 1_500_000
"""Bytes. A body below it is not refused for its size."""


class Base(NamedTuple):
    """A real hook, whole, and with nothing but what it needs to be understood."""

    case: Case
    whole: Any
    sparse: Any
    needed: frozenset[Place]


@pytest.fixture(scope="module")
def desk() -> Iterator[Intake]:
    """One for all: what was sent before makes no difference."""
    with intake() as made:
        yield made
        sys.stdout.write(f"\nhostile: {made.sent} requests with {made.bodies} different bodies\n")


def kept(desk: Intake, store: Store, body: bytes, topic: str = "") -> list[str]:
    """The promises that a signed body breaks."""
    heard = desk.send(store, body, signed(store, body, topic=topic))
    return [f"{store.slug}: {sentence}" for sentence in broken_promises(heard, is_signed=True)]


def refused(desk: Intake, store: Store, body: bytes, topic: str = "") -> list[str]:
    """The promises that the same body breaks when somebody else signs it."""
    headers = signed(store, b"another body", topic=topic)
    heard = desk.send(store, body, headers)
    return [f"{store.slug}, unsigned: {sentence}" for sentence in broken_promises(heard, is_signed=False)]


# --- real hooks with something odd in them ----------------------------------------------------------------


@cache
def bases() -> list[Base]:
    """Of every store the longest hook of a sale and of a refund."""
    return [
        _base(max(found, key=lambda case: len(case.hook.body)))
        for store in stores()
        for tells in (_is_sale, _is_refund)
        if (found := [case for case in cases() if case.store.slug == store and tells(case)])
    ]


def _is_sale(case: Case) -> bool:
    return case.expected.verdict == "event" and not case.expected.options


def _is_refund(case: Case) -> bool:
    return bool(case.expected.refunds) and case.expected.options.keys() <= {"refunds"}


def _base(case: Case) -> Base:
    whole = json.loads(case.hook.body)
    less = sparse(whole, lambda document: _tells(case, document))
    return Base(case, whole, less, frozenset(place for place, _ in places(less)))


def _tells(case: Case, document: Any) -> bool:
    """Whether it still tells of what the sample tells of."""
    hook = Hook(case.hook.headers, json.dumps(document).encode(), case.hook.received_at)
    try:
        if _is_refund(case):
            return bool(case.store.read_refunds(hook, case.refunding_shop))
        return bool(case.store.read(hook, case.shop))
    except (Incomplete, Malformed, NotAnEvent):
        return False


def in_need(base: Base, role: str, form: bytes) -> Iterator[bytes]:
    """The sparse hook with the form in one place after the other."""
    return (written(base.sparse, [place], form) for place in _playing(base.sparse, role))


def beside(base: Base, role: str, form: bytes) -> Iterator[bytes]:
    """The whole hook with the form in every place that it does not need, as far as there is room."""
    chosen = [place for place in _playing(base.whole, role) if place not in base.needed]
    return _in_groups(base.whole, chosen, form)


def _in_groups(document: Any, chosen: Sequence[Place], form: bytes) -> Iterator[bytes]:
    at_once = max(1, ROOM // len(form))
    for first in range(0, len(chosen), at_once):
        yield written(document, chosen[first : first + at_once], form)


def _playing(document: Any, role: str) -> list[Place]:
    looks = re.compile(ROLES[role][0])
    return [place for place, _ in leaves(document) if looks.fullmatch(name(place))]


@pytest.mark.parametrize(
    ("role", "form", "put"),
    [
        pytest.param(role, form, put, id=f"{role}-{called}-{put.__name__}")
        for role, (_, forms) in ROLES.items()
        for called, form in forms.items()
        for put in ((beside,) if role in {"long", "text"} else (in_need, beside))
    ],
)
def test_an_odd_value(desk: Intake, role: str, form: bytes, put: Put) -> None:
    broken = []
    for base in bases():
        store, topic, body = base.case.store, topic_of(base.case), b"{}"
        for body in put(base, role, form):
            broken += kept(desk, store, body, topic)
        if put is beside:
            broken += refused(desk, store, body, topic)
    assert not broken


@pytest.mark.parametrize("form", [pytest.param(form, id=called) for called, form in hostile.KINDS.items()])
def test_another_kind_of_value(desk: Intake, form: bytes) -> None:
    """At each place that the hook needs, and at all others of one level of the tree at once."""
    broken = []
    for base in bases():
        store, topic = base.case.store, topic_of(base.case)
        for place in base.needed:
            broken += kept(desk, store, written(base.sparse, [place], form), topic)
        for level in range(1, 5):
            there = [
                place for place, _ in places(base.whole) if len(place) == level and place not in base.needed
            ]
            broken += kept(desk, store, written(base.whole, there, form), topic)
    assert not broken


@pytest.mark.parametrize("items", [pytest.param(items, id=called) for called, items in hostile.LISTS.items()])
def test_too_many_items(desk: Intake, items: list[Any]) -> None:
    """In the place of each list: lines, pairs, refunds, and those that nobody reads."""
    broken = []
    form = json.dumps(items).encode()
    for base in bases():
        lists = [place for place, value in places(base.whole) if isinstance(value, list)]
        lists = [place for place in lists if all(isinstance(step, str) for step in place)]  # none in another
        for body in _in_groups(base.whole, lists, form):
            broken += kept(desk, base.case.store, body, topic_of(base.case))
    assert not broken


# --- bodies that are nothing of the kind ------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(body, id=f"{kind}-{called}")
        for kind, bodies in hostile.BODIES.items()
        for called, body in bodies.items()
    ],
)
def test_an_odd_body(desk: Intake, body: bytes) -> None:
    broken = []
    for store in stores().values():
        for topic in {topic_of(base.case) for base in bases() if base.case.store is store}:
            broken += kept(desk, store, body, topic) + refused(desk, store, body, topic)
    assert not broken


@pytest.mark.parametrize("cut", range(0, 100, 4))
def test_a_real_body_is_cut_off(desk: Intake, cut: int) -> None:
    """After so many hundredths."""
    broken = []
    for base in bases():
        body = json.dumps(base.whole, ensure_ascii=False).encode()
        broken += kept(desk, base.case.store, body[: len(body) * cut // 100], topic_of(base.case))
    assert not broken


# --- headers ----------------------------------------------------------------------------------------------


def changed(headers: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """The headers with others in their place, or without them."""
    both = {**headers, **changes}
    return {header: value for header, value in both.items() if value is not None}


@pytest.mark.parametrize("changes", [pytest.param(one, id=called) for called, one in hostile.HEADERS.items()])
def test_odd_headers(desk: Intake, changes: Mapping[str, str | None]) -> None:
    """They are not signed; only an encoding that is not ours is a reason to refuse."""
    broken = []
    encoded = (changes.get("Content-Encoding") or "identity").lower() != "identity"
    for base in bases():
        store, body = base.case.store, json.dumps(base.sparse).encode()
        heard = desk.send(store, body, changed(signed(store, body, topic=topic_of(base.case)), changes))
        broken += broken_promises(heard, is_signed=not encoded)
    assert not broken


@pytest.mark.parametrize("value", [pytest.param(one, id=called) for called, one in hostile.VALUES.items()])
def test_an_odd_value_of_each_header(desk: Intake, value: str | None) -> None:
    """Of all that the store sends: only without its signature a hook is refused."""
    broken = []
    for base in bases():
        store, body = base.case.store, json.dumps(base.sparse).encode()
        headers = signed(store, body, topic=topic_of(base.case))
        for header in headers:
            vouches = re.search("signature|hmac", header, re.IGNORECASE)
            heard = desk.send(store, body, changed(headers, {header: value}))
            sentences = broken_promises(heard, is_signed=not vouches)
            broken += [f"{store.slug}, {header}: {sentence}" for sentence in sentences]
    assert not broken
