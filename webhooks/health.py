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
    """200 if a hook could be taken now, else 503. Redis and accounts are told of but do not count: the sweep
    delivers, and to an account that comes later as well."""
    relay: Relay = current_app.extensions["relay"]
    checks = {
        "database": _database(relay),
        "shops": "ok" if relay.settings.shops else "no store has a webhook secret",
    }
    healthy = all(state == "ok" for state in checks.values())
    accounts = "ok" if relay.settings.accounts else "no destination is configured"
    redis = "ok" if relay.wake.waiting() is not None else "does not answer; the sweep delivers meanwhile"
    told = {**checks, "accounts": accounts, "redis": redis}
    return jsonify(ready=healthy, checks=told), 200 if healthy else 503


def _database(relay: Relay) -> str:
    try:
        current = migrations.is_current(relay.database)
    except Unavailable:
        return "does not answer"
    return "ok" if current else "needs `purchase-relay db upgrade`"
