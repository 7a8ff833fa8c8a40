"""Marks: how a person is found among what is sealed, without standing there in clear.

A mark is a keyed hash of one identity within one shop. Its key is random, made once and kept in the ledger
sealed by the vault: `vault rotate` seals it anew and changes no mark, and a stolen database tells nothing,
as there is nothing to try addresses against.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable

from sqlalchemy import func, select

from integrations.privacy import Identity
from webhooks import reporting
from webhooks.clock import now_ms
from webhooks.database import Database
from webhooks.schema import keys
from webhooks.vault import Sealed, Vault

log = reporting.logger(__name__)

_BYTES = 8
"""Of a mark: two of a million people share one once in some forty million shops."""


class Marks:
    """Makes marks. Reads its key from the ledger when it is used first."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self.database, self.vault = database, vault
        self._keys: list[bytes] = []  # the newest first

    def of_people(self, shop: str, people: Iterable[Identity]) -> list[str]:
        """What to write beside what is sealed: sorted, each once."""
        key = self._opened()[0]
        return sorted({_mark(key, shop, kind, written) for kind, written in people})

    def sought(self, shop: str, people: Iterable[Identity]) -> list[str]:
        """What to look for: as `of_people`, under every key there has been."""
        keys_ever, named = self._opened(), list(people)
        return sorted({_mark(key, shop, kind, written) for key in keys_ever for kind, written in named})

    def has_one_key(self) -> bool:
        """Then `of_people` is all that there is to look for."""
        return len(self._opened()) == 1

    def of_orders(self, shop: str, orders: Iterable[str]) -> list[str]:
        """The marks of orders, by any name of theirs, under every key there has been."""
        named = [order for order in orders if order]
        return sorted({_mark(key, shop, "order", order) for key in self._opened() for order in named})

    def of_shop(self, shop: str) -> list[str]:
        """The marks of a whole shop."""
        return sorted({_mark(key, shop, "shop", "") for key in self._opened()})

    def digest(self, plain: bytes) -> bytes:
        """A keyed hash in place of a plain one, of which a body that is almost known could be found out."""
        return hmac.digest(self._opened()[0], plain, hashlib.sha256)

    def _opened(self) -> list[bytes]:
        if not self._keys:
            self._keys = self._read() or self._make()
        return self._keys

    def _read(self) -> list[bytes]:
        with self.database.read() as db:
            rows = db.execute(select(keys.c.sealed).order_by(keys.c.id.desc())).scalars().all()
        opened = []
        for sealed in rows:
            try:
                opened.append(self.vault.open(sealed))
            except Sealed as error:
                reporting.alert(
                    "marks_unreadable",
                    "What was erased before may come back unnoticed: a key is gone from RELAY_SECRET_KEYS",
                    error=error,
                )
        return opened

    def _make(self) -> list[bytes]:
        """The first key, or another one beside those that nobody can open any more."""
        with self.database.write() as db:
            number = (db.execute(select(func.max(keys.c.id))).scalar() or 0) + 1
            row = {"id": number, "made_at": now_ms(), "sealed": self.vault.seal(secrets.token_bytes(32))}
            db.execute(self.database.insert(keys).values(row).on_conflict_do_nothing())
        log.info("made a key for marks", version=number)
        if made := self._read():  # somebody else's, if two were at it
            return made
        raise Sealed("the key for marks cannot be opened")


def _mark(key: bytes, shop: str, kind: str, written: str) -> str:
    told = f"{shop}\n{kind}\n{written}".encode("utf-8", "replace")
    return hmac.digest(key, told, hashlib.sha256)[:_BYTES].hex()
