"""Explains, match key by match key, what a destination gets to know a buyer by, and why not more."""

from collections.abc import Collection, Mapping

from integrations.destination import MatchKey
from integrations.event import Buyer, Event

_BROWSER_ONLY = frozenset({"ip", "user_agent"})


def explain(event: Event, sent: Collection[str], sources: Mapping[str, tuple[str, ...]]) -> list[MatchKey]:
    """One `MatchKey` for each of ``sources``, in its order.

    ``sent`` are the keys of the request that was built. ``sources`` maps every key that the destination
    knows to where its value comes from: fields of `Buyer`, or names that the storefront captures.
    """
    return [_explain(event, key, key in sent, names) for key, names in sources.items()]


def _explain(event: Event, key: str, is_sent: bool, names: tuple[str, ...]) -> MatchKey:
    if is_sent:
        return MatchKey(key, "sent")
    if event.origin != "web" and not _BROWSER_ONLY.isdisjoint(names):
        return MatchKey(key, "withheld", "not placed in the shopper's own browser")
    if any(_raw(event, name) for name in names):
        return MatchKey(key, "missing", "what the order carries is not usable")
    captured = [name for name in names if not hasattr(event.buyer, name)]
    if captured:
        return MatchKey(key, "missing", f"the storefront handed on no {' or '.join(captured)}")
    return MatchKey(key, "missing", "the order carries none")


def captured_names(sources: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Of the names in ``sources`` those that the storefront captures."""
    names = dict.fromkeys(name for several in sources.values() for name in several)
    return tuple(name for name in names if name not in Buyer.__struct_fields__)


def _raw(event: Event, name: str) -> str:
    if hasattr(event.buyer, name):
        value: str = getattr(event.buyer, name)
        return value
    return event.captured(name)
