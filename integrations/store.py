"""The promise of a store: verify a hook, then read it.

    Exception
    ├── Unverified      nobody we know signed this: 401, nothing is stored
    ├── Malformed       signed, but not what the topic promises: 200, quarantined, an operator looks
    ├── NotAnEvent      signed and understood, but no sale: 200, kept with its reason
    └── Incomplete      signed, but the order must be fetched first: 200, fetched later

The base class fixes the order (verify, decode, map); an adapter says only what is particular to its
store. Verification raises, it never returns false.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import msgspec

from integrations.access import Access, NoAccess
from integrations.destination import Request, Response, Token
from integrations.event import Event
from integrations.hook import Hook
from integrations.money import NotMoney
from integrations.privacy import Wish
from integrations.setting import Secret, Setting, Value
from integrations.untrusted import NotJson, Shape, load_json


class ConsentPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What a shop takes a missing answer for; `webhooks/consenting.py` is the table that reads it.

    ``regime``: ``opt_in`` sends only what the buyer agreed to, ``opt_out`` all that they did not decline,
    ``region`` the one where the law asks for it (and in ``opt_in_countries``) and the other elsewhere.
    ``limited_use``: in which parts of the US an order without an answer is marked for limited use.
    ``country`` is that of buyers whose order names none. Countries are ISO 3166-1 alpha-2.
    """

    regime: Literal["region", "opt_in", "opt_out"] = "region"
    opt_in_countries: tuple[str, ...] = ()
    limited_use: Literal["states", "us", "off"] = "states"
    country: str = ""


class Shop(msgspec.Struct, frozen=True):
    """One configured account of a store.

    ``options`` are the store's own settings, one value per declared `Setting`. ``accounts`` are the slugs
    of the destination accounts that receive this shop's events; ``event_ids`` maps such a slug to a
    template other than the default. ``origins`` are the shop's own sites, from which beacons are taken;
    ``beacon_wait`` is how many seconds an order that tells nothing of its browser waits for one.
    """

    store: str
    slug: str
    secrets: tuple[Secret, ...]
    options: Mapping[str, Value]
    accounts: tuple[str, ...] = ()
    event_ids: Mapping[str, str] = {}
    origins: tuple[str, ...] = ()
    beacon_wait: int = 0
    consent: ConsentPolicy = ConsentPolicy()


class Unverified(Exception):
    """No configured secret signed these bytes. The message is for the log and names no secret."""


class Malformed(Exception):
    """A signed hook that cannot be used. ``alarm``: an operator must act at the store itself."""

    def __init__(self, reason: str, *, order_id: str = "", alarm: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.order_id, self.alarm = reason, order_id, alarm


class NotAnEvent(Exception):
    """A signed hook that is no sale. ``reason`` is a fixed word, ``detail`` a sentence for people."""

    def __init__(self, reason: str, detail: str = "", *, order_id: str = "") -> None:
        super().__init__(detail or reason)
        self.reason, self.detail, self.order_id = reason, detail or reason, order_id


class Incomplete(Exception):
    """A signed hook that only names an order. ``request`` fetches it; `Store.complete` reads the answer."""

    def __init__(self, reason: str, request: Request, *, order_id: str = "") -> None:
        super().__init__(reason)
        self.reason, self.request, self.order_id = reason, request, order_id


class Store(ABC):
    """What every store's file holds. Stateless: one instance serves all shops of the store."""

    slug: ClassVar[str]
    label: ClassVar[str]
    settings: ClassVar[tuple[Setting, ...]] = ()
    event_ids: ClassVar[Mapping[str, str]] = {}
    """Default event_id templates per destination slug, where that destination's own plugin for this store
    is known to use another id than the order's."""
    resends: ClassVar[bool] = True
    """Whether the store sends a hook again that was not answered with 2xx."""
    shape: ClassVar[Shape | None] = None
    """What `map` reads of a body, so that no more than that is built of it; None for all. Whether it gets a
    whole body or its shape, `map` says the same."""
    makes_secret: ClassVar[bool] = False
    """Whether the store makes up the webhook secret when it is told to send hooks: there is none before."""
    page_names: ClassVar[frozenset[str]] = frozenset()
    """The names of an order, as templates have them, that the page which confirms it can know; ``meta`` for
    what the storefront attached."""
    guide: ClassVar[str] = ""
    """One or two lines: where to register the webhook and which secret to copy."""

    topics: ClassVar[tuple[str, ...]] = ()
    """The topics to subscribe to through the shop's own API, in the store's words, unless `topics_of` knows
    better."""

    framed_pixel: ClassVar[bool] = False
    """Whether the store runs its pixels in a frame without an origin, so that they send ``Origin: null``."""
    native_ids: ClassVar[str] = ""
    """The form (a regular expression) of the event ids that the store's own channels give a purchase in the
    browser, where no order carries them."""

    @abstractmethod
    def verify(self, hook: Hook, secrets: Sequence[Secret]) -> int:
        """Returns the index of the secret that signed the raw body; raises `Unverified`, nothing else."""

    @abstractmethod
    def topic(self, hook: Hook) -> str:
        """What the hook says it is about, for the ledger; ``""`` when it does not say. Never raises."""

    @abstractmethod
    def map(self, hook: Hook, body: dict[str, Any], shop: Shop) -> Event:
        """The verified and decoded body as an event. Raises the exceptions of this module."""

    def is_ping(self, hook: Hook) -> bool:  # noqa: ARG002 - most stores have none
        """Whether this is the store's unsigned greeting, answered exactly 200 and not stored."""
        return False

    def refunds(self, hook: Hook, body: dict[str, Any], shop: Shop) -> tuple[Event, ...]:  # noqa: ARG002
        """The refunds that a verified hook tells of, whatever `map` makes of the same hook: all of one order.

        Each is an event named Refund. Its ``key`` is the key of its Purchase, a colon and the refund's own id
        (without a colon); its ``value`` is what was given back, above 0; it has no buyer, since what else
        is known of the order is added from the stored Purchase. A refund that moved no money is none. Raises
        `Malformed` or `NotMoney` when none of them can be used.

        A store that tells of refunds declares the setting ``refunds`` (skip or send) and is only asked if it
        is ``send``.
        """
        return ()

    def meant(self, hook: Hook, shops: Sequence[Shop]) -> Shop | None:  # noqa: ARG002
        """Which of these shops a verified hook is from, if its store sends those of several to one address;
        None if it does not say, or names another one."""
        return shops[0] if len(shops) == 1 else None

    def wish(self, hook: Hook, body: dict[str, Any]) -> Wish:
        """What a hook asks for that `map` refused as a `privacy.REASON`. Raises `Malformed`."""
        raise NotImplementedError(f"{self.slug} tells of no privacy requests")

    def complete(self, hook: Hook, response: Response, shop: Shop) -> Event:
        """The event of a hook that was `Incomplete`, from the answer to its request."""
        raise NotImplementedError(f"{self.slug} raises no Incomplete")

    # --- optional: the shop's own API -----------------------------------------------------------------------

    def topics_of(self, shop: Shop) -> tuple[str, ...]:  # noqa: ARG002
        """The topics that this shop needs, by its settings."""
        return self.topics

    def supported_until(self, api_version: str) -> int | None:  # noqa: ARG002
        """Until when (Unix seconds) the store sends hooks of that version; None if it does not say, or for
        ever."""
        return None

    def exchange(self, shop: Shop, now: int) -> Request | None:  # noqa: ARG002
        """The request that trades the shop's lasting credentials for a short-lived token, if there is such
        a step. `webhooks/shops.py` sends it and keeps the token while it is good."""
        return None

    def read_exchange(self, response: Response) -> Token:
        """The token; raises `NoAccess` or `Away`."""
        raise NotImplementedError(f"{self.slug} exchanges nothing")

    def access(self, shop: Shop, token: Secret, seconds: float) -> Access:  # noqa: ARG002
        """The shop's own API, opened; ``token`` is what `exchange` gave, ``""`` without such a step, and
        ``seconds`` the deadline of a single call. Raises `NoAccess` if the shop's settings lack what it
        takes, with a remedy that names the variables."""
        raise NoAccess("not_supported", f"{self.label} has no API that could be asked")

    # --- what the base class does with it -------------------------------------------------------------------

    def read(self, hook: Hook, shop: Shop) -> Event:
        """The event that a verified hook tells of. Raises `Malformed`, `NotAnEvent` or `Incomplete`."""
        try:
            body = load_json(hook.body, self.shape)
            if not isinstance(body, dict):
                raise Malformed("the body is not a JSON object")
            return _heard(self.map(hook, body, shop), hook)
        except (NotJson, NotMoney) as error:
            raise Malformed(str(error)) from error

    def read_wish(self, hook: Hook) -> Wish:
        """What somebody asks for, of a shop that knows them. Raises `Malformed`."""
        try:
            body = load_json(hook.body)
        except NotJson as error:
            raise Malformed(str(error), alarm=True) from error
        if not isinstance(body, dict):
            raise Malformed("the body is not a JSON object", alarm=True)
        wish = self.wish(hook, body)
        if not wish:
            raise Malformed("the request names nobody", alarm=True)
        return wish

    def read_refunds(self, hook: Hook, shop: Shop) -> tuple[Event, ...]:
        """The refunds that a verified hook tells of, if the shop wants them. Raises `Malformed`."""
        if shop.options.get("refunds") != "send":
            return ()
        try:
            body = load_json(hook.body)
            told = self.refunds(hook, body, shop) if isinstance(body, dict) else ()
        except (NotJson, NotMoney) as error:
            raise Malformed(str(error)) from error
        # A second Purchase must be impossible, whatever an adapter does.
        if any(event.event_name != "Refund" or event.value <= 0 for event in told):
            raise ValueError(f"{self.slug} tells of a refund that is none")
        return tuple(_heard(event, hook) for event in told)


def _in_time(event: Event, heard_at: int) -> Event:
    """The event, its answer about consent no later than when it was heard: a browser whose clock is ahead
    would have the last word for ever."""
    if (event.consent.at or 0) <= heard_at:
        return event
    return msgspec.structs.replace(event, consent=msgspec.structs.replace(event.consent, at=heard_at))


def _heard(event: Event, hook: Hook) -> Event:
    """The event, at the latest when it was heard of: destinations refuse the future for good, and a shop
    whose clock is ahead would lose every order."""
    event = _in_time(event, hook.received_at * 1000 + 999)  # hooks are timed by the second
    if event.event_time <= hook.received_at:
        return event
    visit = event.landing_at and min(event.landing_at, hook.received_at * 1000)
    return msgspec.structs.replace(event, event_time=hook.received_at, landing_at=visit)


Verdict = Literal["event", "duplicate", "not_an_event", "quarantined", "incomplete"]
