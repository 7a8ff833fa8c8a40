"""The vault: sealing, several keys, and the key that the embedded default keeps."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from integrations.hook import Hook
from webhooks import vault
from webhooks.vault import Sealed, Vault

OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))


def test_what_is_sealed_opens_again_and_shows_nothing() -> None:
    one = Vault([OLD])
    token = one.seal(b"jane@example.com")
    assert b"jane" not in token
    assert one.open(token) == b"jane@example.com"


def test_an_older_key_still_opens_until_it_is_renewed() -> None:
    token = Vault([OLD]).seal(b"x")
    both = Vault([NEW, OLD])
    assert both.open(token) == b"x"
    renewed = both.renew(token)
    assert Vault([NEW]).open(renewed) == b"x"
    with pytest.raises(Sealed):
        Vault([NEW]).open(token)


@pytest.mark.parametrize("token", [b"", b"rubbish", b"gAAAAAB"])
def test_rubbish_is_sealed_for_ever(token: bytes) -> None:
    with pytest.raises(Sealed):
        Vault([OLD]).open(token)


def test_a_hook_comes_back_byte_for_byte() -> None:
    one = Vault([OLD])
    hook = Hook({"x-topic": "orders/paid"}, b'{"id":1,"note":"\xc3\xa9\\/"}', 1_795_000_000)
    assert one.open_hook(one.seal_hook(hook)) == hook


def test_processes_that_start_together_keep_one_key(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: vault.kept_key(folder), range(16)))
    assert len(keys) == 1
    [file] = folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert vault.create([], folder).open(Vault(list(keys)).seal(b"x")) == b"x"
