"""A relay in the town, with real settings, and the pages of a shop that has its snippets."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from werkzeug.wrappers import Response

from tests.environments import META
from tests.storefront.town import Town
from webhooks import app, migrations, settings
from webhooks.database import Database
from webhooks.relay import Relay

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def environment(town: Town, home: Path, **more: str) -> dict[str, str]:
    """One shop of each store, all with the same secret, and Meta; variables given here come on top."""
    secrets = {f"{store}_WEBHOOK_SECRETS": SECRET for store in ("SHOPIFY", "WOOCOMMERCE", "STRIPE")}
    return {
        "DATABASE_URL": f"sqlite:///{home / 'ledger.db'}",
        "REDIS_URL": f"unix://{home / 'nobody-listens.sock'}",
        "RELAY_DATA_DIR": str(home),
        "RELAY_PUBLIC_URL": f"http://localhost:{town.port}",
        **secrets,
        **META,
        **more,
    }


SECRET = "storefront-secret-for-tests"


def settle(town: Town, environment: dict[str, str]) -> Relay:
    """The web application moves in at localhost, on an empty and migrated ledger."""
    database = Database(environment["DATABASE_URL"])
    migrations.upgrade(database)
    database.close()
    made = app.create_app(settings.load(environment))
    town.sites["localhost"] = made
    relay: Relay = made.extensions["relay"]
    return relay


def script(town: Town, shop: str, name: str = "capture.js") -> str:
    """The tag that a page is given."""
    return f'<script src="http://localhost:{town.port}/storefront/{shop}/current/{name}"></script>'


class Pages:
    """A site on which every page is the same: ``before`` runs first, then the tags of ``head``."""

    def __init__(self, head: str) -> None:
        self.head, self.before = head, ""

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        head = f"<script>{self.before}</script>{self.head}"
        page = Response(f"<!doctype html><head>{head}</head><body>Shop</body>", mimetype="text/html")
        return page(environ, start_response)
