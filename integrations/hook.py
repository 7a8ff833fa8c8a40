"""The hook: what came in, before anybody believes it."""

from collections.abc import Mapping

import msgspec


class Hook(msgspec.Struct, frozen=True):
    """An HTTP request from a store. ``headers`` have lower-case names; ``received_at`` is Unix seconds."""

    headers: Mapping[str, str]
    body: bytes
    received_at: int

    def header(self, name: str) -> str:
        """The header's value, ``""`` when it was not sent."""
        return self.headers.get(name.lower(), "")
