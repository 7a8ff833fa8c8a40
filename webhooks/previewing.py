"""What a destination would be told of an order, and by what it may recognise the buyer: sends nothing."""

import msgspec
from sqlalchemy import select

from integrations import event as events
from integrations.destination import Account, Delivery, MatchKey, Outcome, Request
from integrations.event import Event
from integrations.setting import Secret
from webhooks import judging
from webhooks.clock import now_ms
from webhooks.questions import of_order
from webhooks.relay import Relay
from webhooks.schema import deliveries
from webhooks.schema import events as recorded


class Preview(msgspec.Struct, frozen=True):
    """``request`` is None when the event must not be sent; ``stops`` then says why."""

    event_id: str
    request: Request | None
    match_keys: list[MatchKey]
    stops: Outcome | None


class Forgotten(Exception):
    """The order's personal data was erased; nothing can be built from what is left."""


def preview(relay: Relay, shop: str, order: str, account: Account) -> Preview | None:
    """The request as it would go out now, None if the shop has no such order. Raises `Forgotten`."""
    found = _find(relay, shop, order, account)
    if found is None:
        return None
    event, event_id = found
    adapter = relay.destination(account)
    now = now_ms() // 1_000
    decision, stops = judging.decide(relay, account, event, now * 1_000)
    if stops is None and now > event.event_time + adapter.window(event):
        stops = Outcome("expired", "too_old", "older than the destination accepts")
    delivery = Delivery(event, event_id, decision.restricted)
    request = None if stops else masked(adapter.build([delivery], account, now), account)
    return Preview(event_id, request, adapter.match_keys(event, account), stops)


def masked(request: Request, account: Account) -> Request:
    """The request with every secret of the account replaced by three stars."""
    values = (one if isinstance(one, tuple) else (one,) for one in account.options.values())
    secrets = [one for several in values for one in several if isinstance(one, Secret) and one]

    def hide(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, "***")
        return text

    return Request(
        url=hide(request.url),
        body=hide(request.body.decode("utf-8", "replace")).encode(),
        headers={
            name: "***" if name.lower() in {"authorization", "access-token"} else hide(value)
            for name, value in request.headers.items()
        },
        method=request.method,
    )


def _find(relay: Relay, shop: str, order: str, account: Account) -> tuple[Event, str] | None:
    named = of_order([recorded.c.id], shop, order).order_by(None)
    query = (
        select(recorded.c.sealed, deliveries.c.event_id)
        .join_from(
            recorded,
            deliveries,
            (deliveries.c.event == recorded.c.id) & (deliveries.c.account == account.slug),
            isouter=True,
        )
        .where(recorded.c.id.in_(named), recorded.c.event_name == "Purchase")
        .order_by(recorded.c.id)
        .limit(1)
    )
    with relay.database.read() as db:
        row = db.execute(query).first()
    if row is None:
        return None
    if row.sealed is None:
        raise Forgotten("the order's personal data was erased, so nothing can be built from it")
    event = events.decode(relay.vault.open(row.sealed))
    configured = relay.settings.shop(event.store, shop)
    template = (configured.event_ids if configured else {}).get(account.slug, events.DEFAULT_EVENT_ID)
    return event, row.event_id or events.event_id(event, template)
