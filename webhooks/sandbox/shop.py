"""A shop with its store's own API: it keeps its orders and sends signed hooks to whoever registered.

    python -m webhooks.sandbox shopify_shop --port 8901

There is one module per store, ``<store>_shop``, whose `Shop` knows that store's rules: what its API answers,
how often it tries a hook, and what it does to a subscription that fails. Like a stand-in it follows a script,
so that everything that goes wrong at a destination can go wrong here.

Time is the shop's own. With a clock that stands still (`freeze`), `move` lets hours pass at once, and what
falls due meanwhile is sent, in its order.
"""

import heapq
import threading
from abc import abstractmethod
from collections.abc import Mapping
from datetime import UTC, tzinfo
from typing import Any, ClassVar, Literal

import msgspec

from integrations.destination import Request
from webhooks.sandbox.standin import Counted, Hit, Refusal, Reply, StandIn
from webhooks.transport import Transport

Refuses = Literal["", "credentials", "rights"]


class Registered(msgspec.Struct, kw_only=True):
    """A subscription as the shop has it. ``failures`` in a row; ``more`` is what else the store keeps."""

    id: str
    topic: str
    url: str
    active: bool = True
    failures: int = 0
    more: dict[str, Any] = {}


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """One try of a hook. ``status`` 0: no answer. ``number`` counts the tries from 1. ``taken``: to the store
    it was a success."""

    at: float
    subscription: str
    topic: str
    order_id: str
    url: str
    number: int
    status: int
    taken: bool


class _Due(msgspec.Struct, order=True):
    """A hook that waits for its next try; the earliest first, of one moment in the order of events."""

    at: float
    turn: int
    number: int
    subscription: str
    topic: str
    order_id: str
    body: bytes


class Shop(StandIn):
    """What every shop of the sandbox is. ``accounts`` are the credentials that it knows, as options of the
    store's settings.

    ``down_until``: its API answers 503 before that time. ``lose_hooks``: so many hooks are never sent, as
    stores promise nothing. ``refuses``: the API takes no credentials, or says that a right is missing.
    ``throttles``: it counts what is asked of it, as the store does. ``zone`` is where the shop is.
    """

    pauses: ClassVar[tuple[float, ...]] = ()
    """Seconds before each further try of a hook."""
    answer_seconds: ClassVar[float] = 5.0
    """How long the store waits for the answer to a hook."""
    gives_up_after: ClassVar[int] = 0
    """Failures in a row after which a subscription ends; 0: never."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.orders: dict[str, dict[str, Any]] = {}
        self.subscriptions: list[Registered] = []
        self.delivered: list[Sent] = []
        self.down_until = 0.0
        self.lose_hooks = 0
        self.refuses: Refuses = ""
        self.throttles = True
        self.zone: tzinfo = UTC
        self._due: list[_Due] = []
        self._turns = 0
        self._transport = Transport(connections=2, total_seconds=self.answer_seconds)
        self._sending = threading.Lock()

    # --- what each store says for itself --------------------------------------------------------------------

    @abstractmethod
    def answer(self, hit: Hit) -> Reply:
        """The API's answer. May raise `Refusal`."""

    @abstractmethod
    def settings(self, address: str) -> dict[str, str]:
        """The options of the store's settings that open this shop's API, which stands at that address."""

    @abstractmethod
    def order(self, number: int, at: float) -> dict[str, Any]:
        """A paid order of that number, placed and last changed at that time, as a hook would tell of it."""

    @abstractmethod
    def place(self, order: dict[str, Any]) -> None:
        """Keeps a new order and tells of it."""

    @abstractmethod
    def touch(self, order_id: str) -> None:
        """Something of the order changes now that does not matter to us; the store tells of it."""

    @abstractmethod
    def disable(self, registered: Registered) -> None:
        """What the store does to a subscription that failed too often, or whose owner switched it off."""

    @abstractmethod
    def signed(self, registered: Registered, topic: str, body: bytes, number: int) -> Mapping[str, str]:
        """All headers of a hook in its so-and-so-manieth try."""

    def takes(self, status: int) -> bool:
        """Whether the store takes this answer to a hook for a success."""
        return 200 <= status < 300

    def gives_up(self, registered: Registered, number: int) -> bool:  # noqa: ARG002
        """Whether the subscription ends, now that a hook failed in its so-and-so-manieth try."""
        return 0 < self.gives_up_after <= registered.failures

    def end_tokens(self) -> None:
        """Ends every token that was handed out. Where none are, the shop has nothing to end."""

    # --- its API --------------------------------------------------------------------------------------------

    def judge(self, hit: Hit) -> tuple[Reply, list[Counted]]:
        """The API's answer; nothing is counted here."""
        if self.now() < self.down_until:
            raise Refusal(Reply(503, b"<html><h1>503</h1></html>", {"Content-Type": "text/html"}))
        return self.answer(hit), []

    # --- its hooks ------------------------------------------------------------------------------------------

    def keep(self, order_id: str, order: dict[str, Any]) -> None:
        """Puts the order into the shop's list, without telling anybody."""
        with self._lock:
            self.orders[order_id] = order

    def tell(self, topic: str, order_id: str, body: bytes) -> None:
        """Sends a hook to every active subscription of the topic, now and again by the store's rules."""
        with self._lock:
            for registered in self.subscriptions:
                if registered.active and registered.topic == topic:
                    self._schedule(registered.id, topic, order_id, body)
        self.deliver()

    def move(self, seconds: float) -> None:
        """Lets so much time pass. From then on the shop's clock stands still until it is moved again."""
        end = self.now() + seconds
        with self._sending:
            while due := self._next(end):
                self.freeze(max(due.at, self.now()))
                self._send(due)
        self.freeze(end)

    def deliver(self) -> None:
        """Sends what is due by now."""
        with self._sending:
            while due := self._next(self.now()):
                self._send(due)

    def registered(self, identity: str) -> Registered | None:
        """The subscription of that id, if it is still there."""
        return next((one for one in self.subscriptions if one.id == identity), None)

    def close(self) -> None:
        """Gives its connections back."""
        self._transport.close()

    def _schedule(self, subscription: str, topic: str, order_id: str, body: bytes) -> None:
        if self.lose_hooks:
            self.lose_hooks -= 1
            return
        self._turns += 1
        heapq.heappush(self._due, _Due(self.now(), self._turns, 1, subscription, topic, order_id, body))

    def _next(self, until: float) -> _Due | None:
        with self._lock:
            return heapq.heappop(self._due) if self._due and self._due[0].at <= until else None

    def _send(self, due: _Due) -> None:
        registered = self.registered(due.subscription)
        if registered is None or not registered.active:
            return  # it ended while the hook waited
        headers = self.signed(registered, due.topic, due.body, due.number)
        response = self._transport.send(Request(registered.url, due.body, headers))
        sent = Sent(
            at=self.now(),
            subscription=due.subscription,
            topic=due.topic,
            order_id=due.order_id,
            url=registered.url,
            number=due.number,
            status=response.status,
            taken=self.takes(response.status),
        )
        with self._lock:
            self.delivered.append(sent)
            self._judge_try(registered, due, taken=sent.taken)

    def _judge_try(self, registered: Registered, due: _Due, *, taken: bool) -> None:
        registered.failures = 0 if taken else registered.failures + 1
        if taken:
            return
        if due.number <= len(self.pauses):
            again = self.now() + self.pauses[due.number - 1]
            heapq.heappush(self._due, msgspec.structs.replace(due, at=again, number=due.number + 1))
        if self.gives_up(registered, due.number):
            self.disable(registered)
