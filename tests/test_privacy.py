"""What in a hook tells who somebody is, and that the same person is spelled the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations import privacy
from integrations.event import Buyer
from integrations.privacy import Identity, Kind, Wish


@pytest.mark.parametrize(
    ("kind", "written", "spelled"),
    [
        ("email", " Jane@Example.COM ", "jane@example.com"),
        ("email", "jane", None),
        ("email", "@", None),
        ("phone", "+49 151 55501234", "155501234"),
        ("phone", "0151/555-01234", "155501234"),
        ("phone", "12345", None),
        ("phone", "0000000000", None),
        ("customer", "0", None),
        ("customer", "cus_1", "cus_1"),
        ("customer", "", None),
    ],
)
def test_one_person_has_one_spelling(kind: Kind, written: str, spelled: str | None) -> None:
    found = privacy.identity(kind, written)
    assert found == (None if spelled is None else (kind, spelled))


@pytest.mark.parametrize(
    ("body", "people"),
    [
        (b'{"email": "Jane@Example.com"}', {("email", "jane@example.com")}),
        (b'{"contact_email":"a\\u0040b.test","phone":null}', {("email", "a@b.test")}),
        (b'{"customer":{"id":7,"email":"x"}}', {("customer", "7")}),
        (b'{"customer":"cus_1","receipt_email":"a@b.test"}', {("customer", "cus_1"), ("email", "a@b.test")}),
        (b'{"customer_id":0,"billing":{"phone":"030 1234567"}}', {("phone", "301234567")}),
        (b'{"customer_id":1.5}', set()),
        (b'broken "email" : "a@b.test" and no JSON', {("email", "a@b.test")}),
        (b'{"email": "a@b.test\\', set()),
        (b"", set()),
    ],
)
def test_a_body_names_people(body: bytes, people: set[Identity]) -> None:
    assert privacy.in_body(body) == people


def test_a_body_that_names_everybody_is_bounded() -> None:
    body = b",".join(b'"email":"%d@b.test"' % number for number in range(1_000))
    assert len(privacy.in_body(body)) == privacy.MAX_IDENTITIES


@given(st.binary(max_size=300))
def test_no_body_breaks_it(body: bytes) -> None:
    for padded in (body, b'"email":' + body, b'"customer": {"id":' + body, b'"phone":"' + body + b'"'):
        privacy.in_body(padded)


def test_a_buyer_and_a_wish_are_spelled_alike() -> None:
    buyer = Buyer(email="A@B.test", phone="+1 613 555 0123", customer_id="7")
    wish = Wish(action="erase", email="a@b.test", phone="6135550123", customer_id="7")
    assert privacy.of_buyer(buyer) == wish.identities()


def test_a_wish_shows_nobodys_name() -> None:
    assert "jane" not in repr(Wish(action="erase", email="jane@example.com", customer_id="jane"))
    assert not Wish(action="erase", email="nobody")
