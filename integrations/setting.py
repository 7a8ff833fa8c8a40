"""A setting that an adapter declares. Reading the environment is `webhooks/settings.py`'s work."""

from typing import Literal

import msgspec

Kind = Literal["text", "bool", "int", "choice", "list", "event_id", "item_id", "time"]


class Secret(str):
    """Text that must not be shown: its `repr` is three stars. Use it like any other string."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class Setting(msgspec.Struct, frozen=True):
    """``name`` in lower case; the variable is ``<SLUG>_<NAME>``. ``help`` is one line for `.env.example`.

    Kinds: ``list`` is comma-separated text (a tuple of str), ``event_id`` and ``item_id`` are templates
    of `integrations.event`, ``time`` is RFC 3339 (Unix seconds, or None when empty).
    """

    name: str
    help: str
    kind: Kind = "text"
    default: str = ""
    required: bool = False
    secret: bool = False
    choices: tuple[str, ...] = ()
    pattern: str = ""
    example: str = ""


Value = str | bool | int | tuple[str, ...] | None
