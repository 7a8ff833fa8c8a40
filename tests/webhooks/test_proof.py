"""Why each order was told of or not: in words, counted, and row by row; also when the person is forgotten."""

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result
from werkzeug.test import TestResponse

from tests.webhooks.conftest import Environment
from tests.webhooks.pixel import Pixel
from webhooks import cli, proof, storytelling
from webhooks.clock import DAY, now_ms
from webhooks.delivery import Drain
from webhooks.proof import Wanted
from webhooks.questions import Questions
from webhooks.relay import Relay
from webhooks.schema import deliveries, events

Body = dict[str, Any]

YES = "ad_storage=granted;ad_user_data=granted;ad_personalization=granted;source=shopify;at=1763800000000"
HALF = "ad_storage=granted;ad_user_data=granted;ad_personalization=denied;source=tcf;at=1763800000000"
NO = "ad_storage=denied;ad_user_data=denied;ad_personalization=denied;source=cookiebot;at=1763800000000"

BUYERS = {
    "asked in Berlin": ("DE", "", YES),
    "never asked in Berlin": ("DE", "", ""),
    "declined in Berlin": ("DE", "", NO),
    "nothing personal in Zurich": ("CH", "", HALF),
    "in Los Angeles": ("US", "CA", ""),
    "in Tulsa": ("US", "OK", ""),
    "in Ottawa": ("CA", "ON", ""),
    "nowhere": ("", "", ""),
}


@pytest.fixture
def run(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return lambda *words: CliRunner().invoke(cli.main, words)


@pytest.fixture
def sold(post: Callable[..., TestResponse], order: Body, drain: Drain, pixel: Pixel) -> dict[str, str]:
    """An order of each buyer, delivered as far as it may be; the ids by the buyer."""
    ids = {}
    for number, (buyer, (country, state, answer)) in enumerate(BUYERS.items(), 7_000_001):
        address = order["billing_address"] | {"country_code": country, "province_code": state, "province": ""}
        customer = order["customer"] | {"default_address": address}
        notes = [{"name": "_consent_state", "value": answer}] if answer else []
        places = {"billing_address": address, "shipping_address": address, "customer": customer}
        body = order | places | {"id": number, "name": f"#{number}", "note_attributes": notes}
        assert post(body).status_code == 200
        ids[buyer] = str(number)
    drain.run(5)
    return ids


def words(relay: Relay, order: str) -> list[str]:
    """All sentences of the order's story."""
    story = Questions(relay.database).story("shopify", order)
    return [line.strip() for part in storytelling.tell(story, {}, now_ms()) for line, _ in part.lines]


SAID = "2025-11-22T08:26:40.000Z"


@pytest.mark.parametrize(
    ("buyer", "sentences"),
    [
        pytest.param(
            "asked in Berlin",
            [
                f"its buyer (DE, in the EEA): yes to advertising, said shopify at {SAID}",
                "allowed: the buyer agreed",
            ],
            id="asked",
        ),
        pytest.param(
            "never asked in Berlin",
            [
                "its buyer (DE, in the EEA): nobody asked, or nobody handed the answer on",
                (
                    "meta: suppressed: no_consent, the buyer was not heard to agree, and must be asked "
                    "(DE, in the EEA)"
                ),
            ],
            id="never_asked",
        ),
        pytest.param(
            "declined in Berlin",
            [
                f"its buyer (DE, in the EEA): no to advertising, said cookiebot at {SAID}",
                "meta: suppressed: consent_denied, the buyer declined advertising",
            ],
            id="declined",
        ),
        pytest.param(
            "nothing personal in Zurich",
            [
                (
                    "its buyer (Switzerland): storage for ads yes, their data for ads yes, personalised ads "
                    f"no, said tcf at {SAID}"
                ),
                "allowed: the buyer agreed; marked as not for personalised advertising",
            ],
            id="nothing_personal",
        ),
        pytest.param(
            "in Los Angeles",
            [
                (
                    "its buyer (US-CA, where a law on privacy is in force): nobody asked, or nobody handed "
                    "the answer on"
                ),
                (
                    "allowed: the buyer did not object, and need not have been asked; marked for limited "
                    "data use, as the law of their state wants it"
                ),
            ],
            id="us_law",
        ),
        pytest.param(
            "nowhere",
            [
                "its buyer (the order names no country): nobody asked, or nobody handed the answer on",
                (
                    "meta: suppressed: no_consent, the buyer was not heard to agree, and must be asked "
                    "(the order names no country)"
                ),
            ],
            id="no_country",
        ),
    ],
)
def test_an_orders_story_says_why(
    relay: Relay, sold: dict[str, str], buyer: str, sentences: list[str]
) -> None:
    told = words(relay, sold[buyer])
    assert [one for one in sentences if one not in told] == [], told


def test_a_story_tells_every_answer(
    relay: Relay, sold: dict[str, str], post: Callable[..., TestResponse], order: Body
) -> None:
    address = order["billing_address"] | {"country_code": "DE", "province_code": "", "province": ""}
    places = {"billing_address": address, "shipping_address": address}
    later = order | places | {"id": int(sold["never asked in Berlin"])}
    post(later | {"note_attributes": [{"name": "_consent_state", "value": YES}]}, "orders/updated")
    told = words(relay, sold["never asked in Berlin"])
    answers = [one.partition(", by ")[2] for one in told if one.startswith("from ")]
    assert answers == [
        "webhook: nobody asked, or nobody handed the answer on",
        f"webhook: yes to advertising, said shopify at {SAID}",
    ]


# --- the report ------------------------------------------------------------------------------------------


def test_a_report_counts_every_delivery_once(relay: Relay, sold: dict[str, str]) -> None:
    counted = proof.counts(relay.database, Wanted())
    assert sum(row["count"] for row in counted) == len(sold)
    verdicts = {(row["region"], row["ad_user_data"]): (row["verdict"], row["why"]) for row in counted}
    assert verdicts == {
        ("DE", "granted"): ("allowed", "granted"),
        ("DE", "unknown"): ("suppressed", "no_consent"),
        ("DE", "denied"): ("suppressed", "consent_denied"),
        ("CH", "granted"): ("allowed: measurement", "granted"),
        ("US-CA", "unknown"): ("allowed: limited_use", "not_asked"),
        ("US-OK", "unknown"): ("allowed", "not_asked"),
        ("CA", "unknown"): ("allowed", "not_asked"),
        ("", "unknown"): ("suppressed", "no_consent"),
    }
    zones = {row["region"]: row["zone"] for row in counted}
    assert zones == {
        "DE": "EEA",
        "CH": "CH",
        "US-CA": "US law",
        "US-OK": "US",
        "CA": "elsewhere",
        "": "unknown",
    }


def test_rows_and_counts_agree(relay: Relay, sold: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "CHUNK", 3)
    chunks = list(proof.rows(relay.database, Wanted()))
    assert [len(chunk) for chunk in chunks] == [3, 3, 2]
    rows = [row for chunk in chunks for row in chunk]
    assert [row["order_id"] for row in rows] == list(sold.values())
    by_verdict: dict[tuple[str, ...], int] = {}
    for row in rows:
        key = tuple(row[name] for name in proof.COUNTED[:-1])
        by_verdict[key] = by_verdict.get(key, 0) + 1
    counted = proof.counts(relay.database, Wanted())
    assert by_verdict == {tuple(row[name] for name in proof.COUNTED[:-1]): row["count"] for row in counted}
    sent = {row["order_id"]: row["delivered_at"] for row in rows}
    assert {order for order, at in sent.items() if at} == {
        row["order_id"] for row in rows if row["verdict"] != "suppressed"
    }


def test_what_waits_is_not_judged_yet(relay: Relay, post: Callable[..., TestResponse], order: Body) -> None:
    post(order)
    [row] = proof.counts(relay.database, Wanted())
    assert (row["verdict"], row["why"]) == ("not judged yet", "")


def test_a_report_may_be_narrowed(relay: Relay, sold: dict[str, str]) -> None:
    def count(**wanted: Any) -> int:
        return sum(row["count"] for row in proof.counts(relay.database, Wanted(**wanted)))

    assert count(shop="shopify", destination="meta", since=now_ms() - DAY) == len(sold)
    assert count(shop="other") == count(destination="google") == count(since=now_ms() + DAY) == 0


def test_the_proof_outlives_the_person(relay: Relay, sold: dict[str, str]) -> None:
    before = list(proof.rows(relay.database, Wanted()))
    with relay.database.write() as db:
        db.execute(events.update().values(sealed=None))
    assert list(proof.rows(relay.database, Wanted())) == before
    assert "its buyer (DE, in the EEA): no to advertising" in " ".join(
        words(relay, sold["declined in Berlin"])
    )


def test_the_command_prints_tables_and_lines(sold: dict[str, str], run: Callable[..., Result]) -> None:
    table = run("consent", "report")
    assert (table.exit_code, "no_consent" in table.output) == (0, True), table.output
    lines = [json.loads(line) for line in run("consent", "report", "--json").output.splitlines()]
    assert sum(line["count"] for line in lines) == len(sold)
    rows = [json.loads(line) for line in run("consent", "report", "--rows", "--json").output.splitlines()]
    assert {row["order_id"] for row in rows} == set(sold.values())
    assert rows[0]["consent_at"] == SAID


def test_the_command_writes_csv(relay: Relay, sold: dict[str, str], run: Callable[..., Result]) -> None:
    with relay.database.write() as db:
        db.execute(deliveries.update().values(event_id="=1+1"))
    written = run("consent", "report", "--rows", "--csv").output
    rows = list(csv.DictReader(io.StringIO(written)))
    assert [row["order_id"] for row in rows] == list(sold.values())
    assert {row["event_id"] for row in rows} == {"'=1+1"}, "no formula"
    counts = list(csv.DictReader(io.StringIO(run("consent", "report", "--csv").output)))
    assert sum(int(row["count"]) for row in counts) == len(sold)


def test_nothing_to_report_is_said(relay: Relay, run: Callable[..., Result]) -> None:
    result = run("consent", "report")
    assert (result.exit_code, "no delivery is like that" in result.output) == (1, True)
