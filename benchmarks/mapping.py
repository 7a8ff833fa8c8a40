"""Mapping one order: verify, read, map to Meta's request; against the floor and against Meta's own SDK.

By the processor's time. The SDK is told of buyer and total; ours of lines, clicks and consent too.
"""

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

from benchmarks import measure, orders
from integrations import discovery, event
from integrations.destination import Account, Delivery
from integrations.hook import Hook
from integrations.setting import Secret
from integrations.store import Shop
from webhooks import settings
from webhooks.sandbox import shopify_sender

SECRET = "a-secret-for-the-benchmark"


FLOOR = "floor: HMAC, json.loads, nine SHA-256"
OURS = "ours: verify, read, build"
SDK = "facebook-business: HMAC, json.loads, Event.normalize, json.dumps"


def run(count: int = 400, turns: int = 11) -> None:
    """Prints the table."""
    made = orders.bodies(count)
    hooks = [_hook(body) for body in made]
    configured = settings.load(
        {
            "SHOPIFY_WEBHOOK_SECRETS": SECRET,
            "META_PIXEL_ID": "1234567890",
            "META_ACCESS_TOKEN": "token",
        }
    )
    [shop], [account] = configured.shops, configured.accounts
    contestants: dict[str, Callable[[], object]] = {
        FLOOR: lambda: [_floor(body) for body in made],
        OURS: lambda: [_ours(hook, shop, account) for hook in hooks],
        "ours, and what the ledger adds: encode, decode, unfit": lambda: [
            _whole(hook, shop, account) for hook in hooks
        ],
        SDK: lambda: [_sdk(body) for body in made],
    }
    times = measure.rounds(contestants, turns, time.process_time)
    measure.show("Mapping one order", times, FLOOR, count, "order")
    faster, between = measure.spread(measure.ratios(times[SDK], times[OURS]))
    measure.console.print(f"facebook-business takes {faster} × as long as ours ({between})\n")


def _hook(body: bytes) -> Hook:
    now = int(time.time())
    headers = shopify_sender.sign(body, SECRET, topic="orders/paid", now=now)
    return Hook({name.lower(): value for name, value in headers.items()}, body, now)


def _floor(body: bytes) -> object:
    hmac.digest(SECRET.encode(), body, hashlib.sha256)
    order = json.loads(body)
    return [hashlib.sha256(f"{order['email']}{field}".encode()).hexdigest() for field in range(9)]


def _ours(hook: Hook, shop: Shop, account: Account) -> bytes:
    store = discovery.stores()["shopify"]
    store.verify(hook, [Secret(SECRET)])
    told = store.read(hook, shop)
    delivery = Delivery(told, event.event_id(told))
    return discovery.destinations()["meta"].build([delivery], account, hook.received_at).body


def _whole(hook: Hook, shop: Shop, account: Account) -> bytes:
    store, destination = discovery.stores()["shopify"], discovery.destinations()["meta"]
    store.verify(hook, [Secret(SECRET)])
    told = event.decode(event.encode(store.read(hook, shop)))
    assert destination.unfit(told, account, hook.received_at) is None
    return destination.build([Delivery(told, event.event_id(told))], account, hook.received_at).body


def _sdk(body: bytes) -> str:
    from facebook_business.adobjects.serverside.custom_data import CustomData
    from facebook_business.adobjects.serverside.event import Event
    from facebook_business.adobjects.serverside.user_data import UserData

    hmac.digest(SECRET.encode(), body, hashlib.sha256)
    order: dict[str, Any] = json.loads(body)
    place = order["billing_address"]
    user = UserData(
        emails=[order["email"]],
        phones=[place["phone"]],
        first_names=[place["first_name"]],
        last_names=[place["last_name"]],
        cities=[place["city"]],
        zip_codes=[place["zip"]],
        country_codes=[place["country_code"]],
        external_ids=[str(order["customer"]["id"])],
        client_ip_address=order["browser_ip"],
        client_user_agent=order["client_details"]["user_agent"],
    )
    custom = CustomData(
        value=float(order["total_price"]), currency=order["currency"], order_id=str(order["id"])
    )
    purchase = Event(
        event_name="Purchase",
        event_time=int(time.time()),
        event_id=str(order["id"]),
        user_data=user,
        custom_data=custom,
    )
    return json.dumps(purchase.normalize())
