"""The stand-ins' common part: script, memory, real resets, and control over HTTP."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import msgspec
import pytest

from integrations.destination import Request, Response
from webhooks.sandbox.standin import (
    Counted,
    Hit,
    Refusal,
    Reply,
    StandIn,
    Step,
    UnknownScene,
    json_reply,
    strict_json,
)
from webhooks.sandbox.wire import NoStandIn, serving, stand_in
from webhooks.transport import Transport

HOUR = 3600


class Post(StandIn):
    """A destination that takes every event with an id."""

    slug = "post"
    demo: ClassVar[dict[str, str]] = {"account": "1"}
    scenes: ClassVar[dict[str, Step]] = {"tired": Step(status=503, body={"error": "tired"}, times=2)}

    def judge(self, hit: Hit) -> tuple[Reply, list[Counted]]:
        body = strict_json(hit.body)
        if not isinstance(body, dict) or "id" not in body:
            raise Refusal(json_reply(400, {"error": "no id"}))
        return json_reply(200, {"taken": 1}), [Counted("1", "Purchase", body["id"], body)]


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1_795_000_000.0

    def __call__(self) -> float:
        return self.now


def _hit(number: str = "a") -> Hit:
    return Hit("POST", "/events", body=json.dumps({"id": number}).encode())


def _statuses(kind: StandIn, times: int) -> list[int]:
    return [kind.receive(_hit()).status for _ in range(times)]


# --- script ----------------------------------------------------------------------------------------------


def test_script_is_followed_and_then_over() -> None:
    kind = Post()
    kind.script([Step(status=500), Step(scene="tired"), Step(), Step(status=429, times=2)])
    assert _statuses(kind, 7) == [500, 503, 503, 200, 429, 429, 200]
    assert [one.event_id for one in kind.record] == ["a", "a"]


def test_scene_can_last_for_other_than_its_own_time() -> None:
    kind = Post()
    kind.script([Step(scene="tired", times=None)])
    assert _statuses(kind, 5) == [503] * 5
    kind.script([])
    assert _statuses(kind, 1) == [200]


def test_counted_step_lies_about_what_it_took() -> None:
    kind = Post()
    kind.script([Step(status=500, counted=True)])
    assert _statuses(kind, 1) == [500]
    assert len(kind.record) == 1


def test_scripted_lie_does_not_make_a_bad_event_count() -> None:
    kind = Post()
    kind.script([Step(status=200, counted=True), Step(reset="after")])
    assert [kind.receive(Hit("POST", "/", body=b"{}")).reset for _ in range(2)] == ["", "after"]
    assert kind.record == []


def test_unknown_scene_is_named() -> None:
    with pytest.raises(UnknownScene, match=r"teatime.*tired"):
        Post().script([Step(scene="teatime")])


# --- memory ----------------------------------------------------------------------------------------------


def test_first_of_browser_and_server_is_kept() -> None:
    kind = Post()
    assert kind.browser("1", "Purchase", "a").kept
    kind.receive(_hit())
    kind.receive(_hit("b"))
    assert [(one.source, one.event_id, one.kept) for one in kind.record] == [
        ("browser", "a", True),
        ("server", "a", False),
        ("server", "b", True),
    ]


@pytest.mark.parametrize(("hours", "kept"), [(47, False), (48, True)])
def test_deduplication_ends(hours: int, kept: bool) -> None:
    clock = Clock()
    kind = Post(clock=clock)
    kind.receive(_hit())
    clock.now += hours * HOUR
    kind.receive(_hit())
    assert kind.record[-1].kept is kept


def test_dropped_copy_does_not_prolong_the_window() -> None:
    clock = Clock()
    kind = Post(clock=clock)
    for _ in range(3):
        kind.receive(_hit())
        clock.now += 30 * HOUR
    assert [one.kept for one in kind.record] == [True, False, True]


def test_journal_has_every_event_before_the_answer(tmp_path: Path) -> None:
    journal = tmp_path / "events.jsonl"
    kind = Post(journal=journal)
    kind.receive(_hit())
    kind.browser("1", "Purchase", "a")
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [(line["number"], line["source"], line["kept"]) for line in lines] == [
        (1, "server", True),
        (2, "browser", False),
    ]


def test_requests_are_shown_without_their_secrets() -> None:
    kind = Post()
    headers = {"authorization": "Bearer secret", "access-token": "secret", "content-type": "application/json"}
    kind.receive(msgspec.structs.replace(_hit(), headers=headers, query={"api_secret": "secret"}))
    assert "secret" not in json.dumps(kind.requests).replace("api_secret", "")


# --- the wire --------------------------------------------------------------------------------------------


@pytest.fixture
def transport() -> Iterator[Transport]:
    sender = Transport(total_seconds=5)
    yield sender
    sender.close()


def _send(transport: Transport, address: str, number: str = "a") -> Response:
    return transport.send(Request(f"{address}/events", _hit(number).body))


@pytest.mark.parametrize(("reset", "counted"), [("before", 0), ("during", 1), ("after", 1)])
def test_reset_is_real(transport: Transport, reset: Any, counted: int) -> None:
    kind = Post()
    with serving(kind) as address:
        assert _send(transport, address, "warm").status == 200
        kind.script([Step(reset=reset)])
        response = _send(transport, address)
        assert (response.status, response.fault) == (0, "maybe_sent")
        assert len(kind.record) == 1 + counted
        assert _send(transport, address).status == 200


def test_reset_is_no_orderly_end() -> None:
    kind = Post()
    kind.script([Step(reset="after")])
    with (
        serving(kind) as address,
        socket.create_connection(("127.0.0.1", urlsplit(address).port or 0)) as raw,
    ):
        raw.sendall(b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n" + b'{"id":"a"}')
        with pytest.raises(ConnectionResetError):
            raw.recv(1)
    assert len(kind.record) == 1


def test_down_is_down_until_told_otherwise(transport: Transport) -> None:
    kind = Post()
    with serving(kind) as address:
        kind.script([Step(scene="down")])
        assert [_send(transport, address).status for _ in range(3)] == [0, 0, 0]
        kind.script([])
        assert _send(transport, address).status == 200
    assert len(kind.record) == 1


def test_slow_answer_has_counted(transport: Transport) -> None:
    kind = Post()
    kind.script([Step(delay=0.3)])
    with serving(kind) as address:
        before = time.monotonic()
        assert _send(transport, address).status == 200
        assert time.monotonic() - before >= 0.3


def test_deadline_ends_a_slow_answer() -> None:
    kind = Post()
    kind.script([Step(delay=1)])
    impatient = Transport(total_seconds=0.3)
    with serving(kind) as address:
        assert _send(impatient, address).fault == "maybe_sent"
    impatient.close()
    assert len(kind.record) == 1


@pytest.mark.parametrize("length", ["-1", "x", "9" * 30, "²"])
def test_odd_length_is_answered(transport: Transport, length: str) -> None:
    with serving(Post()) as address:
        request = Request(f"{address}/events", b"", {"Content-Length": length})
        assert transport.send(request).status in {400, 413}


# --- other processes -------------------------------------------------------------------------------------


def _control(transport: Transport, address: str, action: str, document: Any = None) -> Any:
    method = "GET" if document is None else "POST"
    body = b"" if document is None else json.dumps(document).encode()
    response = transport.send(Request(f"{address}/_control/{action}", body, method=method))
    return response.status, json.loads(response.body)


def test_control(transport: Transport) -> None:
    with serving(Post()) as address:
        assert _control(transport, address, "script", {"steps": [{"status": 500}]}) == (200, {"steps": 1})
        assert _control(transport, address, "clock", {"now": 5}) == (200, {"now": 5})
        told = {"account": "1", "event_name": "Purchase", "event_id": "a"}
        assert _control(transport, address, "browser", told)[1]["kept"] is True
        assert [_send(transport, address).status for _ in range(2)] == [500, 200]
        status, record = _control(transport, address, "record")
        assert (status, record["kept"]) == (200, 1)
        assert [(one["source"], one["kept"], one["at"]) for one in record["events"]] == [
            ("browser", True, 5),
            ("server", False, 5),
        ]
        assert [one["status"] for one in record["requests"]] == [500, 200]


def test_a_poisoned_event_spoils_every_request_that_tells_of_it(transport: Transport) -> None:
    with serving(Post()) as address:
        told = {"event_id": "a", "step": {"scene": "tired"}}
        assert _control(transport, address, "poison", told) == (200, {"event_id": "a"})
        assert [_send(transport, address).status for _ in range(3)] == [503] * 3
        assert _send(transport, address, "b").status == 200
        assert _control(transport, address, "record")[1]["kept"] == 1


def test_accounts_can_be_changed(transport: Transport) -> None:
    """A token that was right expires: from then on the new one is known, the old one refused as such."""
    with serving(stand_in("meta")()) as address:
        accounts = [{"pixel_id": "12345", "access_token": "new", "expired_token": "old"}]
        assert _control(transport, address, "accounts", {"accounts": accounts}) == (200, {"accounts": 1})
        url = f"{address}/v26.0/12345/events"
        answers = [
            json.loads(transport.send(Request(url, b"{}", {"Authorization": f"Bearer {token}"})).body)
            for token in ("old", "new")
        ]
        assert [(one["error"]["code"], one["error"].get("error_subcode")) for one in answers] == [
            (190, 463),
            (100, 9_900_003),
        ]


@pytest.mark.parametrize(
    ("action", "document", "status"),
    [
        ("script", {"steps": [{"scene": "teatime"}]}, 400),
        ("script", {"steps": [{"statsu": 500}]}, 400),
        ("script", [], 400),
        ("browser", {}, 400),
        ("poison", {"event_id": "a", "step": {"scene": "teatime"}}, 400),
        ("accounts", {"accounts": [1]}, 400),
        ("teatime", {}, 404),
    ],
    ids=range(7),
)
def test_control_says_what_is_wrong(transport: Transport, action: str, document: Any, status: int) -> None:
    with serving(Post()) as address:
        answered, said = _control(transport, address, action, document)
        assert answered == status
        assert said["error"]


def test_stand_in_is_a_process_of_its_own(transport: Transport, tmp_path: Path) -> None:
    journal = tmp_path / "events.jsonl"
    account = "pixel_id=55555,access_token=own-token"
    command = [sys.executable, "-m", "webhooks.sandbox", "meta"]
    with subprocess.Popen(
        [*command, "--account", account, "--journal", journal], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split()[-1]
            told = {"account": "55555", "event_name": "Purchase", "event_id": "1"}
            assert _control(transport, address, "browser", told)[1]["kept"] is True
            url = f"{address}/v26.0/55555/events"
            refused = transport.send(Request(url, b"{}", {"Authorization": "Bearer other"}))
            assert refused.status == 401
            known = transport.send(Request(url, b"{}", {"Authorization": "Bearer own-token"}))
            assert known.status == 400
        finally:
            process.send_signal(signal.SIGTERM)
    assert json.loads(journal.read_text())["event_id"] == "1"


@pytest.mark.parametrize("slug", ["nobody", "wire", "shopify_sender"])
def test_only_stand_ins_stand_in(slug: str) -> None:
    with pytest.raises(NoStandIn, match=slug):
        stand_in(slug)
