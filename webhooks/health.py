"""GET /healthz (alive: touches nothing) and GET /readyz (can do its job)."""

from flask import Blueprint, Response, current_app, jsonify

from webhooks import migrations
from webhooks.database import Unavailable
from webhooks.relay import Relay

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def alive() -> Response:
    """200 as long as the process answers at all."""
    return Response("alive\n", mimetype="text/plain")


@blueprint.get("/readyz")
def ready() -> tuple[Response, int]:
    """200 if a hook could be taken now, else 503. Redis is told of but does not count: the sweep delivers."""
    relay: Relay = current_app.extensions["relay"]
    checks = {
        "database": _database(relay),
        "shops": "ok" if relay.settings.shops else "no store has a webhook secret",
        "accounts": "ok" if relay.settings.accounts else "no destination is configured",
    }
    healthy = all(state == "ok" for state in checks.values())
    redis = "ok" if relay.wake.waiting() is not None else "does not answer; the sweep delivers meanwhile"
    return jsonify(ready=healthy, checks={**checks, "redis": redis}), 200 if healthy else 503


def _database(relay: Relay) -> str:
    try:
        current = migrations.is_current(relay.database)
    except Unavailable:
        return "does not answer"
    return "ok" if current else "needs `purchase-relay db upgrade`"
