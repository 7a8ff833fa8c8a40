"""What is particular to Pinterest: its own models as oracle, a status for each event, options and amounts."""

import hashlib
import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from openapi_generated.pinterest_client.configuration import Configuration
from openapi_generated.pinterest_client.exceptions import OpenApiException
from openapi_generated.pinterest_client.model.conversion_events import ConversionEvents
from openapi_generated.pinterest_client.model_utils import validate_and_convert_types

from integrations import money
from integrations.destination import Outcome, Request
from integrations.discovery import destinations
from integrations.event import Buyer, Event
from tests.contract.deliveries import (
    EVENTS,
    NOW,
    Mutation,
    account,
    answer,
    delivery,
    fit,
    mutated,
    mutations,
    standing_in,
)
from webhooks.transport import Transport

PINTEREST = destinations()["pinterest"]
FULL = EVENTS["web_full"]
FIT = [name for name in EVENTS if fit(PINTEREST, name)]


def _request(*events: Event, **options: Any) -> Request:
    return PINTEREST.build([delivery(event) for event in events], account(PINTEREST, **options), NOW)


def _event(event: Event, **options: Any) -> dict[str, Any]:
    built: dict[str, Any] = json.loads(_request(event, **options).body)["data"][0]
    return built


# --- Pinterest's own models ------------------------------------------------------------------------------


def _validated(body: Any) -> None:
    validate_and_convert_types(body, (ConversionEvents,), ["body"], False, True, Configuration())


@pytest.mark.parametrize("name", FIT)
def test_requests_fit_pinterests_own_models(name: str) -> None:
    _validated(json.loads(_request(EVENTS[name]).body))


def test_a_whole_batch_fits_them() -> None:
    _validated(json.loads(_request(*(EVENTS[name] for name in FIT)).body))


def test_the_check_fits_them() -> None:
    check = PINTEREST.check(account(PINTEREST), NOW)
    assert check is not None
    _validated(json.loads(check.body))


# The models take properties that they do not know, as the document's prose does not.
_UNKNOWN_TO_THEM = {"another key beside data", "misspelt key of the event", "misspelt key of user data"}


def _of_the_shape() -> list[Any]:
    return [
        pytest.param(mutation, id=mutation.name)
        for mutation in mutations(PINTEREST)
        if mutation.path[0] == "body" and mutation.expect_reason == "4196"
        if mutation.name not in _UNKNOWN_TO_THEM
    ]


@pytest.mark.parametrize("mutation", _of_the_shape())
def test_what_the_stand_in_refuses_for_its_shape_the_models_refuse_too(mutation: Mutation) -> None:
    body = json.loads(mutated(_request(EVENTS[mutation.event]), mutation).body)
    with pytest.raises((OpenApiException, TypeError, ValueError)):
        _validated(body)


@pytest.mark.parametrize("user", [{}, {"ph": ["a" * 64]}, {"client_ip_address": "203.0.113.7"}], ids=str)
def test_the_models_demand_the_same_identifiers(user: dict[str, Any]) -> None:
    body = json.loads(_request(FULL).body)
    body["data"][0]["user_data"] = user
    with pytest.raises(OpenApiException):
        _validated(body)


# --- answers ---------------------------------------------------------------------------------------------


def _status(status: Any, error: str = "", warning: str = "") -> dict[str, Any]:
    return {"status": status, "error_message": error, "warning_message": warning}


MIXED = [_status("processed"), _status("failed", "no em"), _status("processed", warning="no click_id")]


@pytest.mark.parametrize(
    ("status", "document"),
    [
        (200, {"num_events_received": 3, "num_events_processed": 2, "events": MIXED}),
        (422, {"code": 4198, "message": "Not all", "details": {"events": MIXED}}),
        (422, {"code": 4196, "message": "Not all", "details": {"events": MIXED}}),
    ],
    ids=["200", "422", "422 with a code of another answer"],
)
def test_each_event_has_its_own_status(status: int, document: Any) -> None:
    first, second, third = PINTEREST.read(3, answer(status, document))
    assert first == Outcome("delivered")
    assert second == Outcome("refused", "failed", "no em")
    assert third == Outcome("delivered", detail="no click_id")


@pytest.mark.parametrize("events", [[], MIXED[:2], [*MIXED, MIXED[0]], {"0": MIXED[0]}, None], ids=range(5))
@pytest.mark.parametrize("where", ["top", "details"])
def test_statuses_that_do_not_add_up_are_no_receipt(events: Any, where: str) -> None:
    document = {"events": events} if where == "top" else {"details": {"events": events}}
    outcomes = PINTEREST.read(3, answer(200, document))
    assert [(one.state, one.ambiguous) for one in outcomes] == [("retry", True)] * 3


@pytest.mark.parametrize("status", ["PROCESSED", "pending", "", None, 1, ["processed"]], ids=str)
def test_unknown_status_may_have_counted(status: Any) -> None:
    [outcome] = PINTEREST.read(1, answer(200, {"events": [_status(status)]}))
    assert (outcome.state, outcome.reason, outcome.ambiguous) == ("retry", "unknown_status", True)


@pytest.mark.parametrize(
    ("code", "state"), [(2, "held"), (29, "held"), (8, "retry"), (4197, "retry"), (4196, "refused")]
)
@pytest.mark.parametrize("status", [400, 401, 403, 429, 503])
def test_code_comes_before_the_status(code: int, state: str, status: int) -> None:
    [outcome] = PINTEREST.read(1, answer(status, {"code": code, "message": "x"}))
    assert (outcome.state, outcome.reason) == (state, str(code))
    assert outcome.whole is (state == "refused")
    assert outcome.spent is (state != "held")


@pytest.mark.parametrize(
    ("status", "state"), [(400, "refused"), (401, "held"), (403, "held"), (404, "held"), (500, "retry")]
)
def test_unknown_code_is_judged_by_its_status(status: int, state: str) -> None:
    [outcome] = PINTEREST.read(1, answer(status, {"code": 4242, "message": "x"}))
    assert outcome.state == state


# --- the wire --------------------------------------------------------------------------------------------


def test_one_bad_event_spoils_no_batch() -> None:
    """And what was processed is not sent again: its outcome is its own."""
    bad = msgspec.structs.replace(FULL, order_id="1009", currency="$$$")
    with standing_in(PINTEREST) as (kind, known):
        sent = [delivery(EVENTS["pos"]), delivery(bad), delivery(FULL)]
        transport = Transport(total_seconds=5)
        outcomes = PINTEREST.read(3, transport.send(PINTEREST.build(sent, known, NOW)))
        transport.close()
    assert [(one.state, one.whole) for one in outcomes] == [
        ("delivered", False),
        ("refused", False),
        ("delivered", False),
    ]
    assert [one.event_id for one in kind.record] == ["1003", "1001"]


@pytest.mark.parametrize(("count", "state"), [(20, "delivered"), (21, "refused")])
def test_a_test_takes_twenty_events_and_records_none(count: int, state: str) -> None:
    with standing_in(PINTEREST) as (kind, known):
        request = PINTEREST.build([delivery(FULL)] * count, known, NOW)
        transport = Transport(total_seconds=5)
        response = transport.send(msgspec.structs.replace(request, url=f"{request.url}?test=true"))
        transport.close()
    assert {one.state for one in PINTEREST.read(count, response)} == {state}
    assert kind.record == []


# --- options ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["web", "pos", "staff", "api", "renewal"])
def test_only_a_browser_makes_a_web_event(origin: Any) -> None:
    built = _event(msgspec.structs.replace(FULL, origin=origin))
    assert built["action_source"] == ("web" if origin == "web" else "offline")
    assert ("event_source_url" in built) is (origin == "web")


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"_epik": "dj0yJnU9Ab-c_D"}, "dj0yJnU9Ab-c_D"),
        ({"epik": "dj0yJnU9Ab+/c=="}, "dj0yJnU9Ab+/c=="),
        ({"_epik": "with space"}, None),
        ({"_epik": "<script>"}, None),
        ({"_epik": "x" * 501}, None),
        ({}, None),
    ],
    ids=range(6),
)
def test_click_id_is_kept_as_it_is_or_left_out(attributes: dict[str, str], expected: str | None) -> None:
    event = msgspec.structs.replace(FULL, attributes=attributes)
    assert _event(event)["user_data"].get("click_id") == expected


@pytest.mark.parametrize(("written", "letter"), [("female", "f"), ("M", "m"), ("non-binary", "n")])
def test_gender_has_three_letters(written: str, letter: str) -> None:
    event = msgspec.structs.replace(FULL, buyer=Buyer(email="jane@example.com", gender=written))
    assert _event(event)["user_data"]["ge"] == [hashlib.sha256(letter.encode()).hexdigest()]


@pytest.mark.parametrize(
    ("buyer", "reason"),
    [
        (Buyer(phone="+16505551212", ip="203.0.113.7"), "no_identifier"),
        (Buyer(email="nobody", user_agent="Mozilla"), "no_identifier"),
        (Buyer(ip="10.0.0.1", user_agent="Mozilla"), "no_identifier"),
        (Buyer(ip="203.0.113.7", user_agent="Mozilla"), None),
        (Buyer(email="jane@example.com"), None),
    ],
    ids=range(5),
)
def test_who_is_known_well_enough(buyer: Buyer, reason: str | None) -> None:
    event = msgspec.structs.replace(FULL, buyer=buyer)
    unfit = PINTEREST.unfit(event, account(PINTEREST), NOW)
    assert (unfit.reason if unfit else None) == reason


# --- amounts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("142.52", "142.52"),
        ("100.00", "100"),
        ("0.00", "0"),
        ("-0.0", "0"),
        ("1E+3", "1000"),
        ("1.230", "1.23"),
        ("33.33333333333333333333", "33.333333"),
        ("123456789012345.67", "123456789012345.67"),
    ],
)
def test_value_is_exact_text(value: str, written: str) -> None:
    event = msgspec.structs.replace(FULL, value=Decimal(value))
    assert _event(event)["custom_data"]["value"] == written == money.exact(Decimal(value))
