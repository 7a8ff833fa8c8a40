"""HMAC-SHA256 over raw bytes, compared in constant time, with several secrets."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable


def digest(secret: bytes, message: bytes) -> bytes:
    """The 32 bytes of HMAC-SHA256."""
    return hmac.digest(secret, message, hashlib.sha256)


def from_base64(written: str) -> bytes:
    """The bytes of strict, padded base64; empty bytes for anything else, which match no digest.

    Only of the one spelling that an encoder makes: the last letter has bits that decode to nothing.
    """
    try:
        encoded = written.strip().encode("ascii")
        decoded = base64.b64decode(encoded, validate=True)
    except (UnicodeEncodeError, binascii.Error):
        return b""
    return decoded if base64.b64encode(decoded) == encoded else b""


def from_hex(written: str) -> bytes:
    """The bytes of hexadecimal text in small letters; empty bytes for anything else: they match no digest."""
    try:
        decoded = binascii.unhexlify(written.encode("ascii"))
    except (UnicodeEncodeError, binascii.Error):
        return b""
    return decoded if decoded.hex() == written else b""


def matching(candidates: Iterable[bytes], message: bytes, signatures: Iterable[bytes]) -> int | None:
    """The index of the first secret whose digest is among the signatures, or None.

    Every pair is compared whether or not an earlier one matched, so that the time tells nothing. An
    empty secret never matches: anybody could sign with it.
    """
    offered = [signature for signature in signatures if len(signature) == hashlib.sha256().digest_size]
    found: int | None = None
    for index, secret in enumerate(candidates):
        expected = digest(secret, message)
        for signature in offered:
            if hmac.compare_digest(expected, signature) and secret and found is None:
                found = index
    return found
