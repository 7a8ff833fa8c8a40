"""What is particular to Reddit: its documented hashes, culprits by name, the test id, who is told less."""

import hashlib
import json
from typing import Any

import msgspec
import pytest

from integrations.destination import Outcome
from integrations.discovery import destinations
from integrations.event import Buyer, Event, Line
from tests.contract.deliveries import EVENTS, NOW, account, answer, delivery, standing_in
from webhooks.transport import Transport

REDDIT = destinations()["reddit"]
FULL = EVENTS["web_full"]
HOUR = 3_600


def _data(event: Event, **options: Any) -> dict[str, Any]:
    request = REDDIT.build([delivery(event)], account(REDDIT, **options), NOW)
    data: dict[str, Any] = json.loads(request.body)["data"]
    return data


def _event(event: Event, **options: Any) -> dict[str, Any]:
    built: dict[str, Any] = _data(event, **options)["events"][0]
    return built


# --- "Match keys" ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written", ["alice@example.com", "Al.ice+Apple@Example.Com", " a.l.i.c.e@example.com "]
)
def test_email_has_the_hash_that_the_documents_print(written: str) -> None:
    told = _event(msgspec.structs.replace(FULL, buyer=Buyer(email=written)))["user"]["email"]
    assert told == "ff8d9819fc0e12bf0d24892e45987e249a28dce836a85cad60e28eaaa8c6d976"


@pytest.mark.parametrize("written", ["+15554441234", "+1 (555) 444-1234", "+1 555 444 1234 ext. 7"])
def test_phone_has_the_hash_that_the_documents_print(written: str) -> None:
    told = _event(msgspec.structs.replace(FULL, buyer=Buyer(phone=written)))["user"]["phone_number"]
    assert told == "e5b124c58580eb16bd959b8d0cac12b12c952e2ceae0203d416cff94f10b994a"


def test_external_id_keeps_its_case_and_the_address_is_hashed() -> None:
    buyer = Buyer(customer_id=" Cus_Ab ", ip="::ffff:203.0.113.7")
    assert _event(msgspec.structs.replace(FULL, buyer=buyer))["user"] == {
        "external_id": hashlib.sha256(b"Cus_Ab").hexdigest(),
        "ip_address": hashlib.sha256(b"203.0.113.7").hexdigest(),
    }


UUID = "1677712978045.b8f7eb7d-b357-437b-8bd3-e1c8166c7132"


@pytest.mark.parametrize(
    ("attributes", "key", "expected"),
    [
        ({"_rdt_uuid": UUID}, "uuid", UUID),
        ({"rdt_uuid": "1700000000.abcd-uuid"}, "uuid", None),
        ({"rdt_uuid": UUID.upper()}, "uuid", None),
        ({"rdt_uuid": UUID.partition(".")[2]}, "uuid", None),
        ({"rdt_cid": "5184093321AbC"}, "click_id", "5184093321AbC"),
        ({"_rdt_cid": "5184093321"}, "click_id", "5184093321"),
        ({"rdt_cid": "51 84"}, "click_id", None),
        ({"rdt_cid": "x" * 201}, "click_id", None),
    ],
    ids=range(8),
)
def test_cookies_are_kept_as_they_are_or_left_out(
    attributes: dict[str, str], key: str, expected: str | None
) -> None:
    built = _event(msgspec.structs.replace(FULL, attributes=attributes))
    assert (built if key == "click_id" else built["user"]).get(key) == expected


@pytest.mark.parametrize(
    ("origin", "source"),
    [
        ("web", "WEBSITE"),
        ("pos", "PHYSICAL_STORE"),
        ("staff", "OTHER"),
        ("api", "OTHER"),
        ("renewal", "OTHER"),
    ],
)
def test_only_a_web_event_knows_a_browser(origin: Any, source: str) -> None:
    event = msgspec.structs.replace(FULL, origin=origin, attributes={"_rdt_uuid": UUID, "rdt_cid": "5184"})
    built = _event(event)
    assert built["action_source"] == source
    of_a_browser = {"click_id", "event_source_url"} & built.keys() | (
        {"uuid", "ip_address", "user_agent"} & built["user"].keys()
    )
    assert len(of_a_browser) == (5 if source == "WEBSITE" else 0)


@pytest.mark.parametrize(
    ("buyer", "attributes", "reason"),
    [
        (Buyer(country="US", city="Boston", postcode="02108"), {}, "no_identifier"),
        (Buyer(email="nobody", phone="n/a", customer_id="0", ip="10.0.0.1"), {}, "no_identifier"),
        (Buyer(), {"rdt_cid": "5184"}, None),
        (Buyer(customer_id="7"), {}, None),
    ],
    ids=range(4),
)
def test_who_is_known_well_enough(buyer: Buyer, attributes: dict[str, str], reason: str | None) -> None:
    event = msgspec.structs.replace(FULL, buyer=buyer, attributes=attributes)
    unfit = REDDIT.unfit(event, account(REDDIT), NOW)
    assert (unfit.reason if unfit else None) == reason


def test_a_click_alone_has_no_user() -> None:
    event = msgspec.structs.replace(FULL, buyer=Buyer(), attributes={"rdt_cid": "5184"})
    assert "user" not in _event(event)


# --- options ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("until", "expected"), [(None, None), (0, None), (NOW, None), (NOW - 1, None), (NOW + 1, "t2_test")]
)
def test_test_id_is_never_left_on(until: int | None, expected: str | None) -> None:
    assert _data(FULL, test_id="t2_test", test_id_until=until).get("test_id") == expected


def test_a_purchase_always_has_products() -> None:
    for lines in ((), (Line(title="Engraving", quantity=1),), (Line(sku="A", quantity=0),)):
        metadata = _event(msgspec.structs.replace(FULL, lines=lines))["metadata"]
        assert metadata["products"] == [{"id": "1001", "quantity": 1, "item_price": 142.52}]
        assert metadata["item_count"] == 1


@pytest.mark.parametrize(("ahead", "reason"), [(300, None), (301, "time_ahead")])
def test_time_ahead(ahead: int, reason: str | None) -> None:
    unfit = REDDIT.unfit(msgspec.structs.replace(FULL, event_time=NOW + ahead), account(REDDIT), NOW)
    assert (unfit.reason if unfit else None) == reason


def test_window_keeps_a_margin() -> None:
    assert REDDIT.window(FULL) == 167 * HOUR


# --- answers ---------------------------------------------------------------------------------------------


def _invalid(said: int, *fields: tuple[str, str]) -> dict[str, Any]:
    return {
        "error": {
            "code": 400,
            "message": f"There were {said} invalid conversion events. None were processed.",
            "fields": [{"field": field, "message": message} for field, message in fields],
        }
    }


def test_recorded_answer() -> None:
    sentence = "user.UUID: ... invalid UUID: UUID must be RFC-4122 compliant"
    innocent, culprit = REDDIT.read(2, answer(400, _invalid(1, ("$.data.events[1].user.UUID", sentence))))
    assert (culprit.state, culprit.reason, culprit.whole) == ("refused", "invalid/user.uuid", False)
    assert "RFC-4122" in culprit.detail
    assert (innocent.state, innocent.reason, innocent.whole) == ("refused", "http_400", True)


def test_too_old_is_expired() -> None:
    old = ("$.data.events[0].event_at", "event_at timestamp must be less than 168h0m0s old")
    [outcome] = REDDIT.read(1, answer(400, _invalid(1, old)))
    assert (outcome.state, outcome.reason) == ("expired", "invalid/event_at")


@pytest.mark.parametrize(
    "document",
    [
        _invalid(1),
        _invalid(2, ("$.data.events[0].user.email", "bad")),
        _invalid(1, ("$.data.events[0].user", "bad"), ("$.data.events[1].user", "bad")),
        _invalid(1, ("$.data.events[3].user", "bad")),
        _invalid(2, ("$.data.events[0].user", "bad"), ("$.data.events[3].user", "bad")),
        _invalid(1, ("$.data", "bad")),
        _invalid(1, ("events[0]", "bad")),
        {"error": {"code": 400, "message": "Bad Request", "fields": [{"field": "$.data.events[0].user"}]}},
        {"error": {"code": 400, "message": "Bad Request", "fields": {"field": "$.data.events[0].user"}}},
    ],
    ids=range(9),
)
def test_names_that_do_not_add_up_accuse_nobody(document: Any) -> None:
    outcomes = REDDIT.read(3, answer(400, document))
    assert [(one.state, one.whole) for one in outcomes] == [("refused", True)] * 3


@pytest.mark.parametrize("message", ["Successfully processed 2 conversion events.", "We processed 2 events"])
def test_receipt(message: str) -> None:
    assert REDDIT.read(2, answer(200, {"data": {"message": message}})) == [Outcome("delivered")] * 2


@pytest.mark.parametrize(
    "document",
    [
        {"data": {"message": "Successfully processed 1 conversion events."}},
        {"data": {"message": "Successfully processed 22 conversion events."}},
        {"data": {"message": "Success"}},
        {"data": None},
        {"data": {"message": 2}},
        {"message": "Successfully processed 2 conversion events."},
        {"data": {"message": "Successfully processed 2 conversion events."}, "error": {"code": 400}},
    ],
    ids=range(7),
)
def test_wrong_receipt_is_ambiguous(document: Any) -> None:
    outcomes = REDDIT.read(2, answer(200, document))
    assert [(one.state, one.ambiguous) for one in outcomes] == [("retry", True)] * 2


@pytest.mark.parametrize(
    ("status", "state"), [(401, "held"), (403, "held"), (404, "held"), (429, "retry"), (500, "retry")]
)
def test_errors_by_their_status(status: int, state: str) -> None:
    [outcome] = REDDIT.read(1, answer(status, {"error": {"code": status, "message": "UNAUTHORIZED"}}))
    assert (outcome.state, outcome.reason) == (state, f"http_{status}")
    assert outcome.spent is (state != "held")
    assert outcome.detail.endswith("(UNAUTHORIZED)")


# --- the wire --------------------------------------------------------------------------------------------


def test_culprit_is_named_in_a_batch() -> None:
    bad = msgspec.structs.replace(FULL, order_id="1009", event_time=NOW - 169 * HOUR)
    with standing_in(REDDIT) as (kind, known):
        transport = Transport(total_seconds=5)
        request = REDDIT.build([delivery(EVENTS["pos"]), delivery(bad), delivery(FULL)], known, NOW)
        outcomes = REDDIT.read(3, transport.send(request))
        transport.close()
    assert [(one.state, one.whole) for one in outcomes] == [
        ("refused", True),
        ("expired", False),
        ("refused", True),
    ]
    assert kind.record == []
