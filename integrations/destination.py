"""The promise of a destination: build a request from deliveries, then read the answer.

Both are pure. The socket between them is `webhooks/transport.py`, which turns every network error into
a `Response` too, so that an adapter judges all of them in one place.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import ClassVar, Literal

import msgspec

from integrations.event import Buyer, Event
from integrations.setting import Secret, Setting, Value

State = Literal["delivered", "retry", "held", "refused", "expired", "suppressed", "broken"]
"""delivered; retry (try again later); held (credentials: the account waits for its owner); refused (for
good); expired (too old for the destination); suppressed (consent or policy); broken (our own bug)."""


Restriction = Literal["", "limited_use", "measurement"]
"""For what a destination may use an event. ``limited_use``: the buyer lives in a US state whose law wants
it so, and has not said otherwise. ``measurement``: they have not agreed to personalised advertising, so
the sale may be counted and no more."""


class Request(msgspec.Struct, frozen=True):
    """What goes over the wire. Secrets stand in headers or body, never in the address, save where a
    destination has no other place for them (`Destination.secret_in_url`)."""

    url: str
    body: bytes = b""
    headers: Mapping[str, str] = {}
    method: str = "POST"


class Response(msgspec.Struct, frozen=True):
    """What came back. ``status`` 0 means no answer; then ``fault`` says how far the request got.

    ``not_sent``: the destination cannot have seen it (no connection). ``maybe_sent``: it may have counted
    (the connection broke or the deadline passed afterwards). Header names are in lower case.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}
    fault: Literal["", "not_sent", "maybe_sent"] = ""
    detail: str = ""


class Outcome(msgspec.Struct, frozen=True):
    """The verdict on one delivery.

    ``reason`` is a short stable text (``too_old``, ``100/2804009``), ``detail`` a sentence for the owner.
    ``whole``: the destination refused the request without naming the delivery, so a batch is to be
    split until the culprit stands alone. ``spent``: whether the try counts against the retry budget.
    ``ambiguous``: the destination may have counted the event all the same. ``trace`` is the
    destination's own id of the call. ``retry_after`` is in seconds.
    """

    state: State
    reason: str = ""
    detail: str = ""
    whole: bool = False
    spent: bool = True
    ambiguous: bool = False
    trace: str = ""
    retry_after: int | None = None


class Account(msgspec.Struct, frozen=True):
    """One configured account of a destination (one pixel). ``options``: one value per declared setting."""

    destination: str
    slug: str
    api_base: str
    options: Mapping[str, Value]

    def text(self, name: str) -> str:
        """The option as text, ``""`` when it is not set."""
        value = self.options.get(name)
        return value if isinstance(value, str) else ""

    def time(self, name: str) -> int | None:
        """The option as Unix seconds, None when it is not set."""
        value = self.options.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else None


class Token(msgspec.Struct, frozen=True):
    """A short-lived access token and for how many seconds it is good."""

    value: Secret
    seconds: int


class MatchKey(msgspec.Struct, frozen=True):
    """One identifier by which a destination may recognise a person, and what became of it in a request.

    ``sent``; ``missing`` (the order does not carry it, or not in a usable form); ``withheld`` (by rule:
    ``why`` says which).
    """

    name: str
    state: Literal["sent", "missing", "withheld"]
    why: str = ""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A destination in a few words each, for the tables in the guides. Generated, so that they cannot lag."""

    dedup_key: str
    window: str
    refunds: str
    test_mode: str
    consent: str


class Delivery(msgspec.Struct, frozen=True):
    """One event on its way to one account, under the ``event_id`` that was made for it at intake.

    What is ``restricted`` must be marked so in the request, in the destination's own way.
    """

    event: Event
    event_id: str
    restricted: Restriction = ""


def invented(now: int) -> Delivery:
    """An order that nobody placed, for a check: it tells as little as any destination takes. ``now`` is Unix
    seconds."""
    event = Event(
        store="check",
        shop="check",
        key="check",
        order_id="check",
        event_time=now,
        value=Decimal(1),
        currency="USD",
        origin="api",
        attributes={"ga_client_id": "1.1000000000"},
        buyer=Buyer(email="nobody@example.com"),
    )
    return Delivery(event, "purchase-relay-check")


class Destination(ABC):
    """What every destination's file holds. Stateless: one instance serves all accounts."""

    slug: ClassVar[str]
    label: ClassVar[str]
    settings: ClassVar[tuple[Setting, ...]]
    api_base: ClassVar[str]
    batch_limit: ClassVar[int]
    event_names: ClassVar[frozenset[str]] = frozenset({"Purchase"})
    """Which events this destination takes; others get no delivery."""
    dedup_seconds: ClassVar[int] = 48 * 3_600
    """For how long after the first send the destination recognises a repetition by its event_id."""
    restricts: ClassVar[Literal["", "us_states", "anywhere"]] = ""
    """Where the destination documents a mark by which an event is used in a restricted way alone: nowhere,
    for people in the US states that have a law on it, or for anybody. What cannot be marked is not sent."""
    clicks: ClassVar[tuple[str, ...]] = ()
    """The query parameters of a landing page that name a click on an ad; each is among `captures`."""
    public: ClassVar[tuple[str, ...]] = ()
    """The settings that the pixel in the browser needs (`pixel.js` in the adapter's folder). Whoever visits
    the shop can read them."""
    summary: ClassVar[Summary]
    guide: ClassVar[str] = ""
    """One line: where to find the account's id and token."""
    secret_in_url: ClassVar[str] = ""
    """Why this destination's requests carry a secret in their address; empty for all that need not."""

    @abstractmethod
    def window(self, event: Event) -> int:
        """How old, in seconds, the event may be when it is sent."""

    @abstractmethod
    def unfit(self, event: Event, account: Account, now: int) -> Outcome | None:
        """Why this event must not be sent to this account (refused or suppressed), else None.

        Asked for each event before batching, so that one of them cannot spoil a batch. ``now`` is Unix
        seconds.
        """

    @abstractmethod
    def build(self, deliveries: Sequence[Delivery], account: Account, now: int) -> Request:
        """One request for 1..batch_limit deliveries that `unfit` has passed. ``now`` is Unix seconds."""

    @abstractmethod
    def read(self, count: int, response: Response) -> list[Outcome]:
        """One outcome per delivery of the request, in its order. Never raises for what a network can send."""

    # --- optional: what not every destination has ----------------------------------------------------------

    def captures(self, account: Account) -> tuple[str, ...]:  # noqa: ARG002
        """The names under which the storefront may hand on what this destination looks up by
        `Event.captured`."""
        return ()

    def browser_event(self, account: Account) -> str:  # noqa: ARG002
        """What the destination's own pixel calls a Purchase."""
        return "Purchase"

    def exchange(self, account: Account, now: int) -> Request | Outcome | None:  # noqa: ARG002
        """The request that trades the account's lasting credentials for a short-lived token, if there is
        such a step; a `held` outcome if they are incomplete, with a ``detail`` that says what to set.
        `webhooks/tokens.py` sends it, keeps the token while it is good, and adds ``Authorization: Bearer``
        to the account's requests."""
        return None

    def read_exchange(self, response: Response) -> Token | Outcome:
        """The token, or the outcome (held, retry) that the failure to get one means for every delivery."""
        raise NotImplementedError(f"{self.slug} exchanges nothing")

    def check(self, account: Account, now: int) -> Request | None:  # noqa: ARG002
        """A request that proves token, account and permission without recording an event; None if the
        destination has no such thing."""
        return None

    def rehearse(self, delivery: Delivery, account: Account, now: int) -> Request | None:  # noqa: ARG002
        """The request that sends this delivery where the destination judges it and counts nothing; None if it
        has no such place. The answer is for `read_check`. ``now`` is Unix seconds."""
        return None

    def read_check(self, response: Response) -> Outcome:
        """`delivered` if all is well, else why not, with a ``detail`` that says what to do."""
        raise NotImplementedError(f"{self.slug} has no check")

    def confirm(self, trace: str, account: Account) -> Request | None:  # noqa: ARG002
        """The request that asks what became of an accepted call (by its trace), where acceptance is not
        yet the end. `webhooks/confirming.py` sends it minutes to days later."""
        return None

    def read_confirm(self, response: Response) -> Outcome:
        """`delivered` (processed), `retry` (ask again later), or `refused` with why the call, or a part of
        it, was not processed."""
        raise NotImplementedError(f"{self.slug} confirms nothing")

    @abstractmethod
    def match_keys(self, event: Event, account: Account) -> list[MatchKey]:
        """Every identifier this destination knows, in its own names, and what the event has of it."""
