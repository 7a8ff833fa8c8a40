"""The public URL: stores reach this relay there, and nothing on the way answers in its place."""

import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import msgspec

from integrations.destination import Request, Response
from webhooks.clock import SECOND, now_ms
from webhooks.doctor.findings import Finding, fault, said, warning
from webhooks.doctor.ground import Ground
from webhooks.telling import span

LINK, HOOKS, CLOCK = "public url", "hook addresses", "clock"

ODD_SECONDS, WRONG_SECONDS = 10, 120
"""A clock that is off by more. Stripe's signatures hold for five minutes, Google's assertions for one."""

_REFUSED = b"the signature does not match"
_UNKNOWN = b"there is no such"
_NO_SECRET = b"no webhook secret"
"""How this relay answers an unsigned hook: `intake.py`."""

_SILENCE: Mapping[str, tuple[str, str]] = {
    "NameResolutionError": ("its name is not found", "make a DNS record for it, or correct RELAY_PUBLIC_URL"),
    "NewConnectionError": (
        "nobody answers there: the connection is refused",
        "start the web process, open its port, or correct RELAY_PUBLIC_URL",
    ),
    "SSLError": (
        "its TLS certificate is not valid: stores hang up",
        "renew the certificate, with its whole chain and for this very name",
    ),
}
"""Why there was no answer, by the transport's word for it."""

_SLOW = (
    "it does not answer in time",
    "see whether the web process runs and a proxy or firewall lets it be reached",
)


def examine(ground: Ground) -> Iterator[Finding]:
    """Whether the relay answers at its public URL, itself and at once."""
    base = ground.settings.public_url
    if not base:
        yield warning(
            LINK,
            "RELAY_PUBLIC_URL is not set, so it cannot be seen whether stores reach the relay",
            "set it to the address under which the web process is reached from outside",
            ends=True,
        )
        return
    response = ground.transport.send(Request(f"{base}/readyz", method="GET"))
    ground.answer = response
    if response.status == 0:
        what, remedy = _SILENCE.get(response.detail, _SLOW)
        yield fault(LINK, f"{base}: {what}", remedy, ends=True)
        return
    yield from _judge(ground, base, response)


def _judge(ground: Ground, base: str, response: Response) -> Iterator[Finding]:
    if response.status // 100 == 3:
        yield fault(LINK, f"{base} redirects{_whither(response)}", _NO_REDIRECT, ends=True)
        return
    ready, checks = _readiness(response)
    if ready is None:
        yield fault(
            LINK,
            f"{base} is answered by something else than this relay (HTTP {response.status})",
            "have the name, the proxy and RELAY_PUBLIC_URL lead to the web process",
            ends=True,
        )
    elif not ready and "database" not in ground.broken:
        told = ", ".join(f"{name}: {said(state)}" for name, state in checks.items() if state != "ok")
        yield fault(
            LINK,
            f"the relay that answers there cannot take orders ({told})",
            "restart the web process with the same settings as here, and see its log",
            ends=True,
        )


_NO_REDIRECT = (
    "set RELAY_PUBLIC_URL and the webhooks to the final address: stores do not follow, and WooCommerce even "
    "counts the order as told"
)


def _whither(response: Response) -> str:
    """The host alone: what follows may be anything."""
    try:
        host = urlsplit(response.headers.get("location", "")).hostname
    except ValueError:
        host = None
    return f" to {said(host)}" if host else ""


class _Readiness(msgspec.Struct):
    ready: bool
    checks: dict[str, str]


def _readiness(response: Response) -> tuple[bool | None, dict[str, str]]:
    """What `/readyz` says; None if the answer is not a relay's."""
    try:
        told = msgspec.json.decode(response.body, type=_Readiness)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None, {}
    # Those that do not count are examined here, too.
    return told.ready, {name: told.checks.get(name, "") for name in ("database", "shops")}


# --- where the hooks arrive --------------------------------------------------------------------------------


def examine_hooks(ground: Ground) -> Iterator[Finding]:
    """An unsigned hook to each shop's address: refused with our own words, or it does not reach us."""
    for shop in ground.shops:
        address = ground.settings.hook_address(shop)
        request = Request(address, b"{}", {"Content-Type": "application/json"})
        yield from _refusal(shop.slug, ground.transport.send(request))


def _refusal(shop: str, response: Response) -> Iterator[Finding]:
    status, body = response.status, response.body
    if status == 401 and _REFUSED in body:
        return
    if status // 100 == 3:
        yield fault(HOOKS, f"the address of shop {shop} redirects{_whither(response)}", _NO_REDIRECT)
    elif status in {404, 503} and (_UNKNOWN in body or _NO_SECRET in body):
        yield fault(
            HOOKS,
            f"the relay that answers there does not know shop {shop}",
            "restart the web process with the same settings as here",
        )
    elif status == 0:
        yield fault(HOOKS, f"a hook to shop {shop} gets no answer", _SLOW[1])
    else:
        yield fault(
            HOOKS,
            f"something before the relay answers hooks to shop {shop} (HTTP {status})",
            "have the proxy or firewall let POST /webhooks/ pass, without a password and without a challenge",
        )


# --- the clock -------------------------------------------------------------------------------------------


def examine_clock(ground: Ground) -> Iterator[Finding]:
    """This machine's time against the database's, and against the web's."""
    apart = {"the database's": _from_database(ground), "the one of RELAY_PUBLIC_URL": _from_web(ground)}
    for whose, seconds in apart.items():
        if seconds is None or abs(seconds) <= ODD_SECONDS:
            continue
        make = fault if abs(seconds) > WRONG_SECONDS else warning
        side = "ahead of" if seconds > 0 else "behind"
        yield make(
            CLOCK,
            f"this machine's clock is {span(int(abs(seconds)) * SECOND)} {side} {whose}",
            "have both kept by NTP: with a wrong time, signatures and tokens are refused",
        )


def _from_database(ground: Ground) -> float | None:
    """By how many seconds we are ahead. SQLite has no clock of its own."""
    database = ground.relay.database
    if database.is_sqlite or "database" in ground.broken:
        return None
    database.tell_time()  # from here on the ledger's time is the database's
    return time.time() - now_ms() / SECOND


def _from_web(ground: Ground) -> float | None:
    written = ground.answer.headers.get("date", "") if ground.answer else ""
    try:
        return time.time() - parsedate_to_datetime(written).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
