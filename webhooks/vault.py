"""Encrypts what is personal before it reaches the database, and rotates the keys.

Fernet (AES-128-CBC with HMAC-SHA256) from `cryptography`; the first key encrypts, all of them decrypt.
The keys come from `RELAY_SECRET_KEYS`; the embedded default makes one and keeps it in the data folder,
readable by its owner only.
"""

from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from integrations.hook import Hook

KEY_FILE = "secret.key"


class Sealed(Exception):
    """None of the configured keys opens this record: a key was removed before `vault rotate` ran."""


class Vault:
    """Seals and opens bytes. Raises `Sealed` when no key fits."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._fernet = MultiFernet([Fernet(key) for key in keys])
        self._newest = Fernet(keys[0])

    def seal(self, plain: bytes) -> bytes:
        """The bytes, encrypted under the newest key."""
        return self._fernet.encrypt(plain)

    def open(self, token: bytes) -> bytes:
        """The bytes that were sealed."""
        try:
            return self._fernet.decrypt(bytes(token))
        except InvalidToken as error:
            raise Sealed("no key in RELAY_SECRET_KEYS opens this record") from error

    def is_current(self, token: bytes) -> bool:
        """Whether the newest key sealed it, so that the older ones are not needed for it."""
        try:
            self._newest.decrypt(bytes(token))
        except InvalidToken:
            return False
        return True

    def renew(self, token: bytes) -> bytes:
        """The same content under the newest key."""
        try:
            return self._fernet.rotate(bytes(token))
        except InvalidToken as error:
            raise Sealed("no key in RELAY_SECRET_KEYS opens this record") from error

    def seal_hook(self, hook: Hook) -> bytes:
        """The raw verified hook, so that a mapping mistake can be mapped again."""
        return self.seal(msgspec.msgpack.encode(hook))

    def open_hook(self, token: bytes) -> Hook:
        """The inverse of `seal_hook`."""
        return msgspec.msgpack.decode(self.open(token), type=Hook)


def kept_key(data_dir: Path) -> str:
    """The embedded default's key: read from the data folder, or made there on first use.

    Two processes that start at once agree: the file is linked into place whole, and only once.
    """
    path = data_dir / KEY_FILE
    if not path.exists():
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = data_dir / f".{uuid4().hex}"
        draft.touch(mode=0o600)
        draft.write_bytes(Fernet.generate_key())
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            pass  # another process was first; its key is the one
        finally:
            draft.unlink()
    return path.read_text().strip()


def create(keys: Sequence[str], data_dir: Path) -> Vault:
    """The vault with the configured keys, else with the kept one."""
    return Vault(keys or [kept_key(data_dir)])
