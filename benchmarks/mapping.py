"""Mapping one order: verify, read, map to Meta's request; against the floor and against Meta's own SDK.

By the processor's time. Both tell Meta the same fields of an order that has them all. Besides, ours asks if
the order counts and what its buyer allowed, keeps amounts exact, and reads phone numbers as their country's
plan has them.
"""

import hashlib
import hmac
import json
import time
from collections.abc import Callable

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
SDK = "facebook-business: HMAC, json.loads, EventRequest, json.dumps"


def run(count: int = 400, turns: int = 11) -> None:
    """Prints the table."""
    from benchmarks import by_sdk  # a second of imports, which no other measurement wants

    made = orders.bodies(count)
    hooks = [_hook(body) for body in made]
    shop, account = _configured()
    contestants: dict[str, Callable[[], object]] = {
        FLOOR: lambda: [_floor(body) for body in made],
        OURS: lambda: [_ours(hook, shop, account) for hook in hooks],
        "ours, and what the ledger adds: encode, decode, unfit": lambda: [
            _whole(hook, shop, account) for hook in hooks
        ],
        SDK: lambda: [by_sdk.request(body, SECRET) for body in made],
    }
    _check_alike(_ours(hooks[0], shop, account), by_sdk.request(made[0], SECRET))
    times = measure.rounds(contestants, turns, time.process_time)
    measure.show("Mapping one order", times, FLOOR, count, "order")
    faster, between = measure.spread(measure.ratios(times[SDK], times[OURS]))
    measure.console.print(f"facebook-business takes {faster} × as long as ours ({between})\n")


def seconds_per_order(count: int = 400, turns: int = 5) -> float:
    """What reading an order and building its request takes of the processor, at best."""
    shop, account = _configured()
    hooks = [_hook(body) for body in orders.bodies(count)]
    times = [
        measure.seconds(lambda: [_ours(hook, shop, account) for hook in hooks], time.process_time)
        for _ in range(turns)
    ]
    return min(times) / count


def _configured() -> tuple[Shop, Account]:
    configured = settings.load(
        {
            "SHOPIFY_WEBHOOK_SECRETS": SECRET,
            "META_PIXEL_ID": "1234567890",
            "META_ACCESS_TOKEN": "token",
        }
    )
    [shop], [account] = configured.shops, configured.accounts
    return shop, account


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


def _check_alike(ours: bytes, theirs: bytes) -> None:
    """That both tell Meta the same fields, or there is nothing to compare."""
    mine, other = json.loads(ours)["data"][0], json.loads(json.loads(theirs)["data"][0])
    for one, another in (
        (mine, other),
        *((mine[part], other[part]) for part in ("user_data", "custom_data")),
    ):
        if one.keys() != another.keys():
            raise ValueError(f"one tells of {one.keys() ^ another.keys()}, the other does not")
