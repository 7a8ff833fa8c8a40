"""The short-lived token of an app that was made in the Dev Dashboard (shopify.dev, client credentials grant).

Client id and secret are traded for a token of 24 hours. Apps made in the shop's admin before 2026 have a
lasting token instead (``shpat_…``), and nothing to trade.
"""

from urllib.parse import urlencode

from integrations.access import Away, NoAccess
from integrations.destination import Request, Response, Token
from integrations.setting import Secret
from integrations.store import Shop
from integrations.stores.shopify.client import refuse_status
from integrations.untrusted import NotJson, integer, load_json, record, text

_PATH = "/admin/oauth/access_token"


def credentials(shop: Shop) -> tuple[str, str]:
    """Client id and secret; both empty unless both are set."""
    identity, secret = (str(shop.options.get(name) or "") for name in ("client_id", "client_secret"))
    return (identity, secret) if identity and secret else ("", "")


def address(shop: Shop) -> str:
    """Where the shop's API is: Shopify's own address of the shop, save for a stand-in."""
    return str(shop.options.get("api_base") or f"https://{shop.options['domain']}")


def request(shop: Shop) -> Request | None:
    """The request for a token, or None if there is nothing to trade, or no shop to ask."""
    identity, secret = credentials(shop)
    if not identity or not shop.options["domain"]:
        return None
    form = {"grant_type": "client_credentials", "client_id": identity, "client_secret": secret}
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    return Request(address(shop) + _PATH, urlencode(form).encode(), headers)


def token(response: Response) -> Token:
    """The token in the answer. Raises `NoAccess` or `Away`."""
    if response.status == 0:
        raise Away(f"no answer from Shopify ({response.detail or 'no connection'})")
    if response.status == 400:  # wrong id, wrong secret, or not installed in this shop
        refuse_status(401)
    refuse_status(response.status, response.headers.get("retry-after", ""))
    try:
        body = record(load_json(response.body))
    except NotJson:
        raise Away("Shopify's answer is not JSON") from None
    value, seconds = text(body.get("access_token")), integer(body.get("expires_in"))
    if not value or seconds <= 0:
        raise Away("Shopify's answer has no token")
    if "read_orders" not in text(body.get("scope")).replace("write_", "read_").split(","):
        refuse_status(403)
    return Token(Secret(value), seconds)


def lasting(shop: Shop, given: Secret) -> Secret:
    """The token to open the API with: the one that was ``given``, or the shop's own. Raises `NoAccess` if the
    settings lack what it takes."""
    if not shop.options["domain"]:
        raise NoAccess("no_domain", "set SHOPIFY_DOMAIN to the shop's own name.myshopify.com")
    own = Secret(str(shop.options.get("access_token") or ""))
    found = given or own
    if not found:
        raise NoAccess(
            "no_credentials",
            "set SHOPIFY_CLIENT_ID and SHOPIFY_CLIENT_SECRET (Dev Dashboard > Apps > your app > Settings) or "
            "SHOPIFY_ACCESS_TOKEN of an app that was made in the Shopify admin before 2026",
        )
    return found
