"""A destination whose answers the test scripts, and what the ledger says of its deliveries."""

import json
from collections.abc import Callable
from typing import Any

from pytest_httpserver import HTTPServer
from sqlalchemy import select, update
from werkzeug import Request, Response

from webhooks.clock import now_ms
from webhooks.relay import Relay
from webhooks.schema import deliveries, events


class Pixel:
    """A destination that answers as the test says, and remembers every event it was sent."""

    def __init__(self, server: HTTPServer, number: str = "1234567890") -> None:
        self.calls: list[list[dict[str, Any]]] = []
        self.authorizations: list[str] = []
        self.answer: Callable[[list[dict[str, Any]]], Response] = self.accept
        server.expect_request(f"/v26.0/{number}/events").respond_with_handler(self._handle)

    def _handle(self, request: Request) -> Response:
        data = json.loads(request.get_data()).get("data", [])
        self.calls.append(data)
        self.authorizations.append(request.headers.get("Authorization", ""))
        return self.answer(data)

    @staticmethod
    def accept(data: list[dict[str, Any]]) -> Response:
        return Response(
            json.dumps({"events_received": len(data), "messages": [], "fbtrace_id": "trace-1"}),
            content_type="application/json",
        )

    @staticmethod
    def error(status: int, **error: Any) -> Response:
        return Response(json.dumps({"error": error}), status, content_type="application/json")

    @property
    def ids(self) -> list[str]:
        return [event["event_id"] for call in self.calls for event in call]


def rows(relay: Relay) -> dict[str, Any]:
    """Every delivery by its order's id."""
    with relay.database.read() as db:
        found = db.execute(
            select(deliveries, events.c.order_id).join(events, deliveries.c.event == events.c.id)
        ).mappings()
        return {row["order_id"]: row for row in found}


def due_now(relay: Relay) -> None:
    with relay.database.write() as db:
        db.execute(update(deliveries).where(deliveries.c.state == "due").values(due_at=now_ms()))
