"""The acts of the demo. Each tells what it does while it does it, and adds what it promises."""

import json
import os
import signal
import time
from decimal import Decimal
from typing import Any

from sqlalchemy import func, select

from webhooks.sandbox.cast import LABELS, Order, Telling, load
from webhooks.sandbox.play import Play
from webhooks.sandbox.stage import LEAD, Actor, until
from webhooks.sandbox.verdict import fates
from webhooks.schema import accounts, deliveries, events

_SHOPIFY, _WOOCOMMERCE, _STRIPE = "orders/paid", "order.created", "checkout.session.completed"
_ARRIVED = "checkout.session.async_payment_succeeded"


# --- 1 ---------------------------------------------------------------------------------------------------


def three_shops_sell(play: Play) -> None:
    """Good orders, told of more than once, out of order, by several hooks, and by browsers."""
    play.tell.chapter("Three shops sell, and say so more than once")
    first = play.order("shopify", "paid", "four times at once")
    play.browser([first])
    play.tell.line(play.lead.label, f"{first.name:10} the pixel in the buyer's browser was first to tell")
    play.send(first, "the same hook, four times at once", *[first.told(_SHOPIFY, "paid")] * 4, at_once=True)
    yen = play.order("shopify", "yen", "out of order")
    topics = ("orders/updated", "orders/paid", "orders/create")
    play.send(yen, "updated, then paid, then created", *(yen.told(topic, "yen") for topic in topics))
    euro = play.order("shopify", "two_currencies", "euros in a dollar shop")
    play.send(euro, "paid in euros in a dollar shop", euro.told(_SHOPIFY, "two_currencies"))
    _greeting(play)
    twins = [yen, euro, *_same_second(play), _three_hooks(play)]
    small = play.order("stripe", "yen", "no decimals")
    play.send(small, "a currency without decimals", small.told(_STRIPE, "yen"))
    play.settle(play.orders)
    play.browser(twins)
    kept = sum(line["kept"] for line in play.lead.record())
    words = f"browsers told of {len(twins) + 1} of them as well, before or after us"
    play.tell.line(play.lead.label, words, f"{kept} sales")


def _greeting(play: Play) -> None:
    """WooCommerce saves a webhook only if its unsigned ping is answered with exactly 200."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    status, _ = play.stage.post_raw("woocommerce", b"webhook_id=27", headers)
    play.tell.line("WooCommerce", "a new webhook greets, unsigned as it always does", str(status))
    play.promise("WooCommerce's greeting is answered", status == 200, f"with {status}")


def _same_second(play: Play) -> list[Order]:
    """X-WC-Webhook-Delivery-ID is a hash of webhook and second: whoever drops repeated ones loses orders."""
    about = "shared a Delivery-ID"
    orders = {play.order("woocommerce", sample, about): sample for sample in ("paid", "coupon", "yen")}
    for order, sample in orders.items():
        tellings = [order.told(topic, sample) for topic in ("order.updated", "order.created")]
        play.send(order, "updated and created, one Delivery-ID", *tellings, at_once=True)
    return list(orders)


def _three_hooks(play: Play) -> Order:
    order = play.order("stripe", "session", "three hooks, one sale")
    tellings = (
        order.told("payment_intent.succeeded", "payment_intent"),
        order.told("charge.succeeded", "charge"),
        order.told(_STRIPE, "session"),
    )
    play.send(order, "payment, charge and session: one sale", *tellings, at_once=True)
    return order


# --- 2 ---------------------------------------------------------------------------------------------------


def not_every_hook_is_a_sale(play: Play) -> None:
    """Forged, test and broken hooks; orders that are not paid yet, free, nameless or told not to tell."""
    play.tell.chapter("Not every hook is a sale")
    _forged(play)
    _no_orders(play)
    unpaid = {
        play.order("shopify", "pending", "paid after a while"): ("orders/create", "pending"),
        play.order("woocommerce", "waiting", "paid after a while"): (_WOOCOMMERCE, "waiting"),
        play.order("stripe", "unpaid", "paid after a while"): (_STRIPE, "unpaid"),
    }
    for order, (topic, sample) in unpaid.items():
        play.send(order, "not paid yet: nothing is sent", order.told(topic, sample))
    declined = play.order("shopify", "paid", "declined advertising", "suppressed", "denied")
    play.send(declined, "its buyer declined advertising", declined.told(_SHOPIFY, "paid"))
    unasked = play.order("woocommerce", "paid", "in Berlin, never asked", "suppressed", "")
    play.send(unasked, "nobody asked its buyer, who lives in Germany", unasked.told("order.updated", "paid"))
    late = play.order("woocommerce", "coupon", "in Berlin, said yes later", consent="")
    play.send(late, "nobody asked this one either", late.told(_WOOCOMMERCE, "coupon"))
    free = play.order("shopify", "free", "a coupon paid it all")
    play.send(free, "a coupon paid for everything", free.told(_SHOPIFY, "free"))
    nameless = play.order("shopify", "nameless", "buyer unknown")
    play.send(nameless, "the app may not see its buyer", nameless.told("orders/create", "nameless"))
    early = [order.name for order in unpaid if (order.id, LEAD) in fates(play.stage.database)]
    play.promise("Nothing is sent before it is paid", not early, ", ".join(early))
    cash, transfer, debit = unpaid
    play.send(cash, "the cash arrives", cash.told(_SHOPIFY, "pending", financial_status="paid"))
    play.send(transfer, "the transfer arrives", transfer.told("order.updated", "paid"))
    play.send(debit, "the debit arrives", debit.told(_ARRIVED, "paid_later"))
    play.settle([declined, unasked, late, free, nameless, *unpaid])
    play.tell.line("the relay", "sends neither of those two, and keeps why", play.fate(late).state, "yellow")
    yes = late._replace(consent="granted").told("order.updated", "coupon")
    play.send(late, "its buyer agrees after all", yes)
    until(lambda: play.fate(late).state == "delivered", f"{late.name} was not released")
    whys = [play.fate(order).reason for order in (declined, unasked)]
    play.promise("Without consent nothing is sent", whys == ["consent_denied", "no_consent"], whys)


def _forged(play: Play) -> None:
    """A stranger's signature, and a true one under an amount that was changed on the way."""
    strange = Order("shopify", 666, Decimal(1), "USD", "").told(_SHOPIFY, "paid")
    headers = strange.signed("not the secret", int(time.time()))
    first, _ = play.stage.post_raw("shopify", strange.body, headers)
    play.tell.line("a stranger", "sends an order, signed with a secret of their own", str(first))
    honest = Order("woocommerce", 667, Decimal(1), "EUR", "").told(_WOOCOMMERCE, "paid")
    changed = honest.body.replace(b'"54.69"', b'"9954.69"')
    second, _ = play.stage.post_raw("woocommerce", changed, play.stage.signed(honest))
    play.tell.line("a thief", "changes the amount of an order that its store has signed", str(second))
    play.forged += [Order("shopify", 666, Decimal(1), "USD", "").id, "667"]
    play.promise("Forged hooks are refused", (first, second) == (401, 401), f"{first}, {second}")


def _no_orders(play: Play) -> None:
    """Signed and acknowledged, since a store that is refused gives up; but no sale."""
    test, error = load("shopify", "test_notification"), load("woocommerce", "no_order")
    for telling, words in (
        (_plain("shopify", "orders/create", test), "a test notification: nothing is sent"),
        (
            _plain("woocommerce", "order.updated", error),
            "an error in place of an order: its owner is told",
        ),
    ):
        status, _ = play.stage.post(telling)
        play.taken += status == 200
        play.tell.line(LABELS[telling.store], words, str(status))


def _plain(store: str, topic: str, body: object) -> Telling:
    return Telling(store, topic, json.dumps(body).encode())


# --- 3 ---------------------------------------------------------------------------------------------------


def the_destination_is_down(play: Play) -> None:
    """An outage: hooks are acknowledged all the same, and other destinations do not notice."""
    lead = play.lead
    play.tell.chapter(f"{lead.label} is down")
    lead.script({"scene": "down"})
    play.tell.line(lead.label, "takes no connections any more", "down", "red")
    orders = {
        play.order("shopify", "paid", "bought in the outage"): (_SHOPIFY, "paid"),
        play.order("woocommerce", "coupon", "bought in the outage"): (_WOOCOMMERCE, "coupon"),
        play.order("shopify", "yen", "bought in the outage"): (_SHOPIFY, "yen"),
        play.order("stripe", "session", "bought in the outage"): (_STRIPE, "session"),
    }
    for order, (topic, sample) in orders.items():
        play.send(order, "acknowledged in {ms}", order.told(topic, sample))
    if play.others:
        play.settle(list(orders), [actor.slug for actor in play.others])
        play.tell.line("the others", "have these orders already: each destination is on its own", "sent")
    until(lambda: _is_resting(play), f"{lead.label}'s account does not rest", 15)
    words = f"has tried again and again, and leaves {lead.label} in peace for a moment"
    play.tell.line("the relay", words, "rests", "yellow")
    poison = _spoil(play)
    lead.script()
    play.tell.line(lead.label, "is back", "up")
    play.settle([*orders, poison])
    batch = play.fate(poison).batch
    words = f"sends {batch} in one request; for one bad event {lead.label} refuses all"
    play.tell.line("the relay", words, "split", "yellow")
    play.tell.line(lead.label, "gets them once more, without the bad one", f"{len(orders)} sales")
    play.browser(orders)
    play.promise("One bad event does not stop the others in its batch", batch > 1, "it was alone")


def _spoil(play: Play) -> Order:
    """An event that the lead will not take, behind those that wait: what is tried first must be good."""
    until(lambda: _all_due(play), "what waits does not become due")
    order = play.order("woocommerce", "paid", "spoiled its batch", "refused")
    play.lead.control("poison", {"event_id": order.id, "step": {"scene": "bad_field"}})
    play.send(order, "acknowledged in {ms}", order.told(_WOOCOMMERCE, "paid"))
    return order


def _is_resting(play: Play) -> bool:
    with play.stage.database.read() as db:
        return LEAD in db.execute(select(accounts.c.account).where(accounts.c.state == "resting")).scalars()


def _all_due(play: Play) -> bool:
    waiting = select(func.max(deliveries.c.due_at)).where(
        deliveries.c.account == LEAD, deliveries.c.state.in_(("due", "held"))
    )
    with play.stage.database.read() as db:
        return int(db.execute(waiting).scalar() or 0) < time.time() * 1_000


# --- 4 ---------------------------------------------------------------------------------------------------


def too_many_calls(play: Play) -> None:
    """One call is throttled."""
    play.tell.chapter(f"{play.lead.label} asks for fewer calls")
    play.lead.script({"scene": "throttled"})
    order = play.order("shopify", "two_currencies", "throttled once")
    play.send(order, "acknowledged in {ms}", order.told(_SHOPIFY, "two_currencies"))
    play.settle([order])
    play.browser([order])
    tries = play.fate(order).tries
    play.tell.line(play.lead.label, "asked for a pause, got it, and took the order then", f"{tries} tries")
    play.promise("A throttled call is made again", tries == 2, f"{tries} tries")


# --- 5 ---------------------------------------------------------------------------------------------------


def the_worker_is_killed(play: Play) -> None:
    """At the worst moment: the destination has counted the event and is about to say so."""
    lead = play.lead
    play.tell.chapter("The worker is killed in the middle of a call")
    lead.script({"delay": 5.0})
    order = play.order("woocommerce", "coupon", "its worker was killed")
    play.send(order, "acknowledged in {ms}", order.told(_WOOCOMMERCE, "coupon"))
    until(lambda: _lines(lead, order), f"{lead.label} did not hear of {order.name}")
    play.tell.line(lead.label, f"{order.name:10} counts it; the answer is on its way")
    pid = play.stage.worker_pid()
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
    play.tell.line("kill -9", f"the worker, process {pid}", "killed", "red")
    until(lambda: play.stage.worker_pid() not in {None, pid}, "no new worker was started")
    play.tell.line("the relay", f"has a new worker, process {play.stage.worker_pid()}", "started")
    play.settle([order])
    lines, fate = _lines(lead, order), play.fate(order)
    kept = sum(line["kept"] for line in lines)
    play.tell.line("the relay", "cannot know what came of it, and sends the same event again", "sent twice")
    play.tell.line(lead.label, "recognises it by its event_id", f"kept {kept} of {len(lines)}")
    crashed = (fate.interrupted, len(lines), kept) == (1, 2, 1)
    play.promise("A killed worker loses nothing, and nothing is counted twice", crashed, str(fate))


def _lines(actor: Actor, order: Order) -> list[dict[str, Any]]:
    return [line for line in actor.record() if line["event_id"] == order.id]


# --- 6 ---------------------------------------------------------------------------------------------------


def the_token_expires(play: Play) -> None:
    """Held, not lost: no attempt is spent on a token that is dead, and a new one releases everything."""
    lead = play.lead
    play.tell.chapter("The access token expires")
    old, new = lead.account["access_token"], f"{lead.account['access_token']}-renewed"
    lead.control("accounts", {"accounts": [lead.account | {"access_token": new, "expired_token": old}]})
    play.tell.line(lead.label, "does not take the token any more", "expired", "red")
    orders = {
        play.order("shopify", "paid", "waited for a token"): (_SHOPIFY, "paid"),
        play.order("woocommerce", "paid", "waited for a token"): (_WOOCOMMERCE, "paid"),
        play.order("stripe", "session", "waited for a token"): (_STRIPE, "session"),
    }
    for order, (topic, sample) in orders.items():
        play.send(order, "acknowledged in {ms}", order.told(topic, sample))
    until(lambda: all(play.fate(order).state == "held" for order in orders), "the orders are not held")
    calls = sum(play.fate(order).tries for order in orders)
    play.tell.line("the relay", "holds them, and alarms its owner once", f"{len(orders)} held", "yellow")
    play.stage.stop("worker")
    spent = sum(play.fate(order).spent for order in orders)
    again = sum(play.fate(order).tries for order in orders) - calls
    lead.account["access_token"] = new
    play.stage.start_worker()
    play.tell.line("the owner", "sets a new token and starts the worker again", "renewed")
    play.settle(list(orders))
    play.browser(orders)
    play.tell.line("the relay", "released what it held; the dead token cost nothing", f"{len(orders)} sent")
    idle = spent == again == 0
    play.promise("A dead token costs no attempt", idle, f"{spent} spent, {again} calls more")


# --- 7 ---------------------------------------------------------------------------------------------------


def hooks_are_lost(play: Play) -> None:
    """Hooks are no promise. A shop's own list of orders is complete, and is compared all the time."""
    shop, relay = play.stage.shop, "the relay"
    play.tell.chapter(f"{shop.label} loses its hooks, and nobody is told")
    play.stage.command("shops", "connect", shop.store)
    play.tell.line("the owner", "`shops connect`: the shop sends its hooks here", "connected")
    shop.control("lose", {})
    play.tell.line(shop.label, "drops its webhooks", "gone", "red")
    orders = {play.order(shop.store, sample, "no hook told of it"): sample for sample in ("paid", "coupon")}
    for order, sample in orders.items():
        body = json.loads(order.told("order.updated", sample).body)
        shop.control("keep", {"order_id": order.id, "order": body})
        play.tell.line(shop.label, f"{order.name:10} {order.money:>11}  is sold", "no hook", "red")
    play.settle(list(orders))
    play.tell.line(relay, "finds them in the shop's own list of orders", f"{len(orders)} found", "yellow")
    here = f"/webhooks/{shop.store}/{shop.store}"
    until(lambda: _leads_here(shop.control("hooks")["addresses"], here), "the shop's hooks are not mended")
    play.tell.line(relay, "has the shop send its hooks again", "mended")
    late, sample = next(iter(orders.items()))
    play.send(late, "a hook comes late after all: nothing new", late.told("order.updated", sample))
    told = _sources(play)
    found = all(told[order.id] == "pulled" for order in orders)
    play.promise("What no hook told is found in the shop's own list", found, str(told))


def _leads_here(addresses: list[str], path: str) -> bool:
    return len([one for one in addresses if one.endswith(path)]) == 2  # a topic each


def _sources(play: Play) -> dict[str, str]:
    with play.stage.database.read() as db:
        return {row.order_id: row.source for row in db.execute(select(events.c.order_id, events.c.source))}


ACTS = (
    three_shops_sell,
    not_every_hook_is_a_sale,
    the_destination_is_down,
    too_many_calls,
    the_worker_is_killed,
    the_token_expires,
    hooks_are_lost,
)
