"""One shop: its API takes our credentials, its store sends every hook here, and what it sold is known."""

from collections.abc import Iterator

from sqlalchemy import func, select

from integrations import discovery
from integrations.access import Away, NoAccess, Subscription
from integrations.store import Shop
from webhooks import connecting, results
from webhooks.clock import DAY, HOUR, SECOND, milliseconds, now_ms
from webhooks.connecting import Need
from webhooks.cursors import Cursors
from webhooks.doctor.findings import Finding, fault, note, said, skipped, warning, word
from webhooks.doctor.ground import Ground
from webhooks.schema import hooks
from webhooks.settings_accounts import WEBHOOK_SECRETS, variable
from webhooks.shops import NotSetUp
from webhooks.telling import counted, span
from webhooks.watching import Watching

RECENT = 7 * DAY
SOON = 60 * DAY
"""An API version that ends within that time is to be replaced."""

STALE_ROUNDS, STALE = 4, HOUR
"""A comparison is overdue when it has missed so many rounds and that time has passed, too."""


def link(shop: Shop) -> str:
    """The link's name."""
    return f"shop {shop.slug}"


def examine(ground: Ground, shop: Shop) -> Iterator[Finding]:
    """All of it."""
    yield from _of_hooks(ground, shop)
    if ground.is_quick:
        yield skipped(link(shop), "its store was not asked")
    else:
        yield from _of_api(ground, shop)


# --- its own API -----------------------------------------------------------------------------------------


def _of_api(ground: Ground, shop: Shop) -> Iterator[Finding]:
    """The shop's credentials, and whether its store sends every hook here."""
    name = link(shop)
    try:
        with ground.apis.open(shop) as api:
            api.probe()
            for hint in api.hints:
                yield note(name, said(hint))
            subscriptions = api.subscriptions() if ground.settings.public_url else None
    except NotSetUp as no:
        yield note(
            name,
            "its own API is not set up: nobody sees a lost webhook, or a sale that no webhook told of",
            no.remedy,
        )
    except NoAccess as no:
        yield fault(name, f"its API refuses us ({word(no.reason)})", no.remedy)
    except Away as away:
        yield warning(
            name,
            f"its API does not answer as it should ({said(str(away))})",
            "try again later, and look at the shop",
        )
    else:
        if subscriptions is not None:
            yield from _sending(ground, shop, subscriptions)
        yield from _compared(ground, shop)


def _sending(ground: Ground, shop: Shop, subscriptions: list[Subscription]) -> Iterator[Finding]:
    seen = connecting.view(ground.settings, shop, subscriptions)
    silent = [need for need in seen.needs if need.state != "active"]
    if silent and not _is_by_hand(ground, shop):
        told = "; ".join(_told(need) for need in silent)
        yield fault(
            link(shop),
            f"its store does not send every hook here ({told})",
            f"run `purchase-relay shops connect {shop.slug}`",
        )
    elif silent:
        yield note(
            link(shop),
            "its hooks come through webhooks that were made by hand, which nobody looks after",
            f"`purchase-relay shops connect {shop.slug}` makes some that are",
        )
    for version in sorted({need.api_version for need in seen.needs if need.state == "active"}):
        yield from _of_version(shop, version)


def _told(need: Need) -> str:
    detail = f", {said(need.detail)}" if need.detail else ""
    return f"{need.topic}: {need.state}{detail}"


def _is_by_hand(ground: Ground, shop: Shop) -> bool:
    """Whether its hooks come although we did not connect it. Such webhooks may not be visible to us."""
    database = ground.relay.database
    if connecting.connected_at(database, shop.slug) is not None:
        return False
    lately = select(hooks.c.id).where(hooks.c.shop == shop.slug, hooks.c.received_at > now_ms() - RECENT)
    with database.read() as db:
        return db.execute(lately.limit(1)).first() is not None


def _of_version(shop: Shop, version: str) -> Iterator[Finding]:
    store = discovery.stores()[shop.store]
    until = store.supported_until(version) if version else None
    if until is None or until * SECOND > now_ms() + SOON:
        return
    left = until * SECOND - now_ms()
    make, what = (
        (fault, "is no longer supported") if left <= 0 else (warning, f"is supported for {span(left)} yet")
    )
    yield make(
        link(shop),
        f"version {said(version)} of its webhooks {what}",
        f"choose a newer one at {store.label}, where the webhooks or their app are set up",
    )


def _compared(ground: Ground, shop: Shop) -> Iterator[Finding]:
    """With its own list of orders. Not before it was ever begun: the sweep does so by itself."""
    database, now = ground.relay.database, now_ms()
    cursor = Cursors(database).read(shop.slug, now)
    patience = max(STALE_ROUNDS * milliseconds(ground.settings.reconcile_seconds), STALE)
    last = None if cursor is None else cursor.compared_at or cursor.compared_from
    if last is None or now - last > patience:
        since = "never" if last is None else f"not for {span(now - last)}"
        yield warning(
            link(shop),
            f"its own list of orders was {since} compared with the ledger: sales may be missing",
            "keep a sweep running, or run `purchase-relay reconcile --since 3d`",
        )
    lost = results.losses(database, shop.slug, cursor.compared_from if cursor else 0, now)
    if lost.exceed(ground.settings.reconcile_alert):
        yield fault(
            link(shop),
            f"of its last {counted(lost.sold, 'sale')} no hook told of {lost.lost}",
            "see what the store's own page of webhooks says of their deliveries, and run "
            f"`purchase-relay shops connect {shop.slug}`",
        )


# --- its hooks -------------------------------------------------------------------------------------------


def _of_hooks(ground: Ground, shop: Shop) -> Iterator[Finding]:
    """Its secrets, and the signed hooks that could not be used."""
    if not shop.secrets:
        name = variable(shop.store, WEBHOOK_SECRETS.name)
        yield fault(link(shop), "it has no webhook secret, so its hooks are refused", f"set {name}")
    if Watching(ground.relay, ground.apis, shop).is_alarmed():
        yield fault(
            link(shop),
            "its hooks are signed, but hold no orders: its store withholds them",
            f"`purchase-relay quarantine list --shop {shop.slug}` tells why; if they lost their owner, "
            f"run `purchase-relay shops connect {shop.slug} --renew` with an administrator's credentials",
        )
    elif count := _quarantined(ground, shop):
        yield warning(
            link(shop),
            f"{counted(count, 'signed hook')} of the last week could not be used",
            f"see `purchase-relay quarantine list --shop {shop.slug}`; after an update, `quarantine retry`",
        )


def _quarantined(ground: Ground, shop: Shop) -> int:
    of_shop = (hooks.c.shop == shop.slug, hooks.c.verdict == "quarantined")
    recent = (
        select(func.count()).select_from(hooks).where(*of_shop, hooks.c.last_received_at > now_ms() - RECENT)
    )
    with ground.relay.database.read() as db:
        return int(db.execute(recent).scalar_one())
