"""GET /storefront/<shop>/<version>/<script>: the scripts of a shop, for the browsers of its shoppers.

A script under its own version never changes and is kept for a year. Under any other one (``current``, or
what a page was given before the settings changed) it is the script of today, asked for again after five
minutes: a shop's page never goes without.
"""

from flask import Blueprint, Response, current_app, request

from webhooks.relay import Relay
from webhooks.storefront import scripts

blueprint = Blueprint("storefront", __name__)

CURRENT = "current"
_FOR_GOOD = "public, max-age=31536000, immutable"
_FOR_NOW = "public, max-age=300, stale-while-revalidate=86400"


@blueprint.get("/storefront/<shop>/<version>/<name>")
def serve(shop: str, version: str, name: str) -> Response:
    """The script; 404 for a shop or a script that does not exist."""
    script = _scripts(shop).get(name)
    if script is None:
        return Response("there is no such script\n", 404, mimetype="text/plain")
    response = Response(script.body, mimetype="text/javascript")
    response.headers["Cache-Control"] = _FOR_GOOD if version == script.version else _FOR_NOW
    # Any page may load it: it holds nothing but what the shop shows to everybody.
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    response.set_etag(script.version)
    response.make_conditional(request)
    return response


def _scripts(slug: str) -> dict[str, scripts.Script]:
    """Made once for each shop and process: settings do not change while it runs."""
    relay: Relay = current_app.extensions["relay"]
    made: dict[str, dict[str, scripts.Script]] = current_app.extensions.setdefault("storefront", {})
    if slug not in made:
        shop = next((shop for shop in relay.settings.shops if shop.slug == slug), None)
        if shop is None:
            return {}
        made[slug] = scripts.of_shop(relay.settings, shop)
    return made[slug]
