"""What the doctor says: a finding per line, and what a link of the chain is."""

from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from webhooks import discretion
from webhooks.telling import plain

State = Literal["ok", "note", "skipped", "warning", "fault"]
"""ok; note (as it may be, and worth knowing); skipped (what it stands on is broken, or it was not asked for);
warning (it works, and will not for long or not well); fault (orders do not come in or do not go out)."""


class Finding(msgspec.Struct, frozen=True):
    """One line. ``sentence`` says what is, ``remedy`` what to do about it. Neither holds anything secret or
    personal. ``ends``: nothing that stands on this link can be examined."""

    link: str
    state: State
    sentence: str
    remedy: str = ""
    ends: bool = False

    @property
    def is_trouble(self) -> bool:
        """Whether somebody has to do something."""
        return self.state in {"warning", "fault"}


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """One link of the chain. ``examine`` yields what is wrong or worth a note; if nothing is wrong, ``well``
    is said. ``needs`` are the links without which it cannot be examined."""

    name: str
    well: str
    examine: Callable[[], Iterator[Finding]]
    needs: tuple[str, ...] = ()


def fault(link: str, sentence: str, remedy: str, *, ends: bool = False) -> Finding:
    """What keeps orders from coming in or going out."""
    return Finding(link, "fault", sentence, remedy, ends)


def warning(link: str, sentence: str, remedy: str, *, ends: bool = False) -> Finding:
    """What somebody should mend before it is a fault."""
    return Finding(link, "warning", sentence, remedy, ends)


def note(link: str, sentence: str, remedy: str = "") -> Finding:
    """What may well be meant so."""
    return Finding(link, "note", sentence, remedy)


def skipped(link: str, sentence: str) -> Finding:
    """What could not be examined, or was not to be."""
    return Finding(link, "skipped", sentence)


def word(reason: str) -> str:
    """A reason as the ledger and the adapters have it: an id or a fixed word."""
    return str(discretion.plain(reason))


def said(words: str) -> str:
    """Words of somebody else's making, as they may be shown."""
    return plain(discretion.scrub(words, 200))
