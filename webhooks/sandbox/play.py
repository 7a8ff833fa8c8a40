"""What the acts of the demo share: the stage, the orders so far, and how a hook is sent and told of."""

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from itertools import count

from integrations.event import ConsentState
from webhooks.sandbox.cast import LABELS, Ending, Order, Telling
from webhooks.sandbox.narration import Narrator
from webhooks.sandbox.stage import LEAD, Stage, until
from webhooks.sandbox.verdict import FINAL, Claim, Fate, fates

_VALUES = {
    ("shopify", "paid"): "56.44 USD",
    ("shopify", "yen"): "5149 JPY",
    ("shopify", "two_currencies"): "51.92 EUR",
    ("shopify", "pending"): "56.44 USD",
    ("shopify", "free"): "0.00 USD",
    ("shopify", "nameless"): "78.50 USD",
    ("woocommerce", "waiting"): "54.69 EUR",
    ("woocommerce", "paid"): "54.69 EUR",
    ("woocommerce", "coupon"): "43.06 EUR",
    ("woocommerce", "yen"): "1785.00 JPY",
    ("stripe", "session"): "54.00 USD",
    ("stripe", "unpaid"): "54.00 USD",
    ("stripe", "yen"): "5400 JPY",
}


class Play:
    """``taken`` counts hooks that were acknowledged, ``forged`` holds the order ids of false ones."""

    def __init__(self, stage: Stage, narrator: Narrator) -> None:
        self.stage, self.tell = stage, narrator
        self.lead, *self.others = stage.actors
        self.orders: list[Order] = []
        self.hooks: Counter[str] = Counter()
        self.taken = 0
        self.forged: list[str] = []
        self.claims: list[Claim] = []
        self._numbers = {"shopify": count(1042), "woocommerce": count(2301), "stripe": count(100_045)}

    def promise(self, sentence: str, holds: bool, but: object = "") -> None:
        """Adds a claim; ``but`` is what is wrong if it does not hold."""
        self.claims.append(Claim(sentence, holds, str(but)))

    def order(
        self,
        store: str,
        sample: str,
        about: str,
        ending: Ending = "counted",
        consent: ConsentState = "granted",
    ) -> Order:
        """A new order, worth what the sample says; ``about`` stands in the table at the end."""
        amount, currency = _VALUES[store, sample].split()
        order = Order(store, next(self._numbers[store]), Decimal(amount), currency, about, ending, consent)
        self.orders.append(order)
        return order

    def send(self, order: Order, words: str, *tellings: Telling, at_once: bool = False) -> None:
        """Sends hooks about an order, one after the other or all at once.

        ``{ms}`` in the words becomes the longest time that the store waited for an answer.
        """
        with ThreadPoolExecutor(len(tellings) if at_once else 1) as pool:
            answers = list(pool.map(self.stage.post, tellings))
        statuses = [status for status, _ in answers]
        self.hooks[order.id] += len(tellings)
        self.taken += statuses.count(200)
        shown = " ".join(map(str, statuses))
        longest = f"{1_000 * max(seconds for _, seconds in answers):.0f} ms"
        words = f"{order.name:10} {order.money:>11}  {words.format(ms=longest)}"
        good = set(statuses) == {200}
        self.tell.line(LABELS[order.store], words, shown, "green" if good else "red")
        if not good:
            self.promise(f"The hooks of {order.name} are acknowledged", False, shown)

    def browser(self, orders: Iterable[Order]) -> None:
        """The lead's pixel in the buyers' browsers tells of these orders, too."""
        for order in orders:
            told = {"account": self.lead.account["pixel_id"], "event_name": "Purchase", "event_id": order.id}
            self.lead.control("browser", told)

    def fate(self, order: Order) -> Fate:
        """What became of the order at the lead, so far."""
        return fates(self.stage.database)[order.id, LEAD]

    def settle(self, orders: Sequence[Order], slugs: Sequence[str] = (LEAD,)) -> None:
        """Waits until these destinations have come to an end with each of the orders."""
        keys = [(order.id, slug) for order in orders for slug in slugs]

        def ended() -> bool:
            known = fates(self.stage.database)
            return all(key in known and known[key].state in FINAL for key in keys)

        until(ended, f"{', '.join(order.name for order in orders)} did not come to an end", 20)
