"""The id under which browser and server tell of one sale: its templates, and what spoils them."""

import msgspec
import pytest

from integrations.event import BadTemplate, check_event_id, event_id
from tests.contract.deliveries import EVENTS

FULL = EVENTS["web_full"]
NAMES = {
    "order_number": "1001",
    "checkout_token": "8f3c0d5e2b",
    "session_id": "cs_1",
    "payment_intent": "pi_1",
}
ORDER = msgspec.structs.replace(FULL, names=NAMES, attributes={"my_id": "A-7", "_meta_event_id": "6f1c0a52"})


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{order_id}", "1001"),
        ("checkout_{order_id}", "checkout_1001"),
        ("{order_name}", "#1001"),
        ("{shop}-{order_number}", "main-1001"),
        ("{checkout_token}", "8f3c0d5e2b"),
        ("{session_id}", "cs_1"),
        ("{payment_intent}", "pi_1"),
        ("{meta:my_id}", "A-7"),
        ("{meta:_meta_event_id|order_id}", "6f1c0a52"),
        ("{meta:other|meta:third|checkout_token}", "8f3c0d5e2b"),
        ("p:{meta:other}", "p:1001"),
    ],
)
def test_template(template: str, expected: str) -> None:
    assert event_id(ORDER, check_event_id(template)) == expected


@pytest.mark.parametrize(
    "template",
    [
        "",
        "order_id",
        "purchase",
        "{shop}",
        "{shop}-purchase",
        "{attempt}",
        "{event_time}",
        "{}",
        "{order_id|x}",
    ],
)
def test_a_template_that_gives_no_order_its_own_id(template: str) -> None:
    with pytest.raises(BadTemplate):
        check_event_id(template)


@pytest.mark.parametrize("noted", ["undefined", "NULL", "NaN", "None", "true", "[object Object]", "x" * 256])
def test_what_is_no_id_joins_no_orders(noted: str) -> None:
    """A snippet that found none writes such a word into every order of the shop."""
    order = msgspec.structs.replace(ORDER, attributes={"my_id": noted})
    assert event_id(order, "{meta:my_id}") == "1001"
    assert event_id(order, "{meta:my_id|checkout_token}") == "8f3c0d5e2b"


def test_an_order_without_the_name_has_its_order_id_in_that_place() -> None:
    draft = msgspec.structs.replace(ORDER, names={}, attributes={})
    assert event_id(draft, "{checkout_token}") == "1001"
    assert event_id(draft, "acme-{meta:my_id}") == "acme-1001"
