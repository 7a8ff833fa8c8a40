"""create_app(): binds the stations of the web process together."""

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from flask import Flask, Response
from werkzeug.exceptions import HTTPException, InternalServerError

from webhooks import collect, health, reporting, settings
from webhooks.answers import HARDENING
from webhooks.intake import Intake
from webhooks.relay import Relay
from webhooks.storefront import serving

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

log = reporting.logger(__name__)

PATIENCE = 1.5
"""Seconds. Shopify hangs up after five; a 503 has to be on its way well before."""

CONNECTIONS = 4
"""To the database, per process: small plans allow twenty in all, and a transaction takes milliseconds."""


class Web(Flask):
    """Flask, with the hooks' own door in front: nothing that is wrapped around Flask (Sentry is) costs a hook
    anything."""

    intake: Intake

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """A hook, or a page."""
        return self.intake(environ, start_response)


def create_app(configured: settings.Settings | None = None) -> Flask:
    """The WSGI application. Raises `settings.BadSettings` when it cannot start."""
    if configured is None:
        configured = settings.load()
        reporting.configure_logs()
        reporting.init_sentry(configured, "web")
    app = Web("webhooks", static_folder=None)
    relay = app.extensions["relay"] = Relay(configured, patience=PATIENCE, connections=CONNECTIONS)
    app.intake = Intake(relay, partial(Flask.__call__, app))
    app.extensions["beacon_limits"] = collect.Limits()
    app.register_blueprint(collect.blueprint)
    app.register_blueprint(health.blueprint)
    app.register_blueprint(serving.blueprint)
    app.register_error_handler(HTTPException, _plain)
    app.register_error_handler(Exception, _our_fault)
    app.after_request(_harden)
    return app


def _plain(error: HTTPException) -> Response:
    """An error page that echoes nothing of the request."""
    response = Response(f"{error.name.lower()}\n", error.code, mimetype="text/plain")
    if error.code == 405 and (allowed := getattr(error, "valid_methods", None)):
        response.headers["Allow"] = ", ".join(sorted(allowed))
    return response


def _our_fault(error: Exception) -> Response:
    reporting.alert("broken", "A request failed by our own mistake", error=error)
    return _plain(InternalServerError())


def _harden(response: Response) -> Response:
    for name, value in HARDENING.items():
        response.headers.setdefault(name, value)
    return response
