"""Hooks that nobody signed: ``python -m tests.faults.forgeries --count 100000 --seed 1``.

Each is a real hook whose signature was forged in one of many ways. Not one may be accepted, kept, or answered
with an error of ours. Prints its verdict; ends with 1 if a promise was broken.
"""

import argparse
import base64
import binascii
import hashlib
import hmac
import json
import logging
import random
import re
import string
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from integrations.discovery import stores
from integrations.hook import Hook
from integrations.setting import Secret
from integrations.store import Store, Unverified
from tests.contract.samples import SECRET, cases, sender
from tests.intake import Intake, broken_promises, intake, secret, signed, topic_of

TOLERATED = 300
"""Seconds by which a signed time may be off, where one is signed."""

_TOKEN = re.compile(r"[A-Za-z0-9+/]{32,}={0,2}")

_LETTERS = string.ascii_letters + string.digits + "+/"

Headers = dict[str, str]


class Genuine(NamedTuple):
    """A hook as its store sends it. ``vouching`` is the header without which nobody signed it."""

    store: Store
    topic: str
    body: bytes
    headers: Headers
    vouching: str

    @property
    def token(self) -> str:
        """The signature itself, within its header."""
        found: list[str] = _TOKEN.findall(self.headers[self.vouching])
        return max(found, key=len)

    def claiming(self, value: str) -> Headers:
        """The headers with another value in the one that vouches."""
        return {**self.headers, self.vouching: value}

    def spelling(self, token: str) -> Headers:
        """The headers with another signature in the place of the genuine one."""
        return self.claiming(self.headers[self.vouching].replace(self.token, token))

    def signing(self, raw: bytes) -> Headers:
        """The headers with these bytes as signature, written as the store writes it."""
        is_hex = re.fullmatch(r"[0-9a-f]+", self.token)
        return self.spelling(raw.hex() if is_hex else base64.b64encode(raw).decode())


def genuine() -> list[Genuine]:
    """Of each store the longest hook of a sale."""
    return [_genuine(store) for store in stores().values()]


def _genuine(store: Store) -> Genuine:
    mine = (case for case in cases() if case.store is store and case.expected.verdict == "event")
    case = max(mine, key=lambda case: len(case.hook.body))
    topic, body = topic_of(case), case.hook.body
    headers = signed(store, body, topic=topic)
    (vouching,) = [name for name in headers if not _verifies(store, body, _less(headers, name))]
    return Genuine(store, topic, body, headers, vouching)


def _less(headers: Mapping[str, str], name: str) -> Headers:
    return {other: value for other, value in headers.items() if other != name}


def _verifies(store: Store, body: bytes, headers: Mapping[str, str]) -> bool:
    hook = Hook({name.lower(): value for name, value in headers.items()}, body, int(time.time()))
    try:
        store.verify(hook, [Secret(secret(store))])
    except Unverified:
        return False
    return True


# --- the ways to forge ------------------------------------------------------------------------------------

Forgery = tuple[bytes, Headers]
Way = Callable[[Genuine, random.Random], Forgery]


def _random_bytes(hook: Genuine, chance: random.Random) -> Forgery:
    return hook.body, hook.signing(chance.randbytes(32))


def _random_length(hook: Genuine, chance: random.Random) -> Forgery:
    return hook.body, hook.signing(chance.randbytes(chance.randrange(0, 100)))


def _random_text(hook: Genuine, chance: random.Random) -> Forgery:
    letters = chance.choices(string.printable.strip() + "\x80\xff", k=chance.randrange(0, 120))
    return hook.body, hook.claiming("".join(letters).strip())


def _one_bit(hook: Genuine, chance: random.Random) -> Forgery:
    raw = bytearray(_raw(hook))
    raw[chance.randrange(32)] ^= 1 << chance.randrange(8)
    return hook.body, hook.signing(bytes(raw))


def _one_letter(hook: Genuine, chance: random.Random) -> Forgery:
    at, letter = chance.randrange(len(hook.token)), chance.choice(_LETTERS + "-_=")
    return hook.body, hook.spelling(hook.token[:at] + letter + hook.token[at + 1 :])


def _truncated(hook: Genuine, chance: random.Random) -> Forgery:
    return hook.body, hook.spelling(hook.token[: chance.randrange(len(hook.token))])


def _longer(hook: Genuine, chance: random.Random) -> Forgery:
    more = chance.choice(["=", "==", "A", "AAAA", "00", "\x01", hook.token])
    return hook.body, hook.spelling(chance.choice([hook.token + more, more + hook.token]))


def _padding(hook: Genuine, chance: random.Random) -> Forgery:
    bare = hook.token.rstrip("=")
    return hook.body, hook.spelling(bare + "=" * chance.choice([0, 2, 3, 4]))


def _same_bits(hook: Genuine, chance: random.Random) -> Forgery:
    """Other letters that decode to the same bytes: the last one of base64 has bits to spare."""
    bare = hook.token.rstrip("=")
    last = chance.choice(_LETTERS)
    return hook.body, hook.spelling(bare[:-1] + last + hook.token[len(bare) :])


def _case(hook: Genuine, chance: random.Random) -> Forgery:
    change = chance.choice([str.upper, str.lower, str.swapcase, str.title])
    return hook.body, hook.spelling(change(hook.token))


def _encoding(hook: Genuine, chance: random.Random) -> Forgery:
    raw = chance.choice([_raw(hook), _raw(hook).hex().encode(), hook.token.encode()])
    encoders = (base64.b64encode, base64.b32encode, base64.b85encode, binascii.hexlify)
    return hook.body, hook.spelling(chance.choice([encode(raw) for encode in encoders]).decode())


def _alphabet(hook: Genuine, chance: random.Random) -> Forgery:
    changed = hook.token.translate(str.maketrans("+/", chance.choice(["-_", "  ", "/+", ".,"])))
    at = chance.randrange(1, len(changed))
    return hook.body, hook.spelling(changed[:at] + chance.choice(["", " ", "\t", "%0A", "="]) + changed[at:])


def _algorithm(hook: Genuine, chance: random.Random) -> Forgery:
    kind = chance.choice(["md5", "sha1", "sha224", "sha384", "sha512", "sha3_256", "blake2s"])
    return hook.body, hook.signing(hmac.digest(secret(hook.store).encode(), _message(hook), kind))


def _no_key(hook: Genuine, chance: random.Random) -> Forgery:
    own, message = secret(hook.store).encode(), _message(hook)
    mixtures = [message, own + message, message + own, message + b"\n" + own, own]
    return hook.body, hook.signing(hashlib.sha256(chance.choice(mixtures)).digest())


def _other_secret(hook: Genuine, chance: random.Random) -> Forgery:
    own = secret(hook.store)
    others = [
        "",
        "\x00",
        "None",
        "null",
        "secret",
        own[:-1],
        own + " ",
        own.upper(),
        own[::-1],
        own * 2,
        SECRET,
    ]
    others += [secret(store) for store in stores().values() if store is not hook.store]
    others.append("".join(chance.choices(string.ascii_letters, k=32)))
    other = sender(hook.store).sign(hook.body, chance.choice(others), topic=hook.topic, now=int(time.time()))
    return hook.body, other


def _another_body(hook: Genuine, chance: random.Random) -> Forgery:
    """Rightly signed, but these are not the bytes."""
    body = hook.body
    at = chance.randrange(len(body))
    others = [b"", body + b"\n", b"\xef\xbb\xbf" + body, body[:at], body[:at] + b" " + body[at:], body * 2]
    others += [json.dumps(json.loads(body), indent=indent, sort_keys=True).encode() for indent in (None, 1)]
    others.append(body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :])
    return chance.choice(others), hook.headers


def _another_time(hook: Genuine, chance: random.Random) -> Forgery:
    """Signed rightly, but too long ago or ahead; a store that signs no time has its signature taken away."""
    off = chance.choice([-1, 1]) * chance.randrange(TOLERATED + 60, 10**9)
    stale = signed(hook.store, hook.body, topic=hook.topic, now=int(time.time()) + off)
    same = stale[hook.vouching] == hook.headers[hook.vouching]
    return hook.body, _less(hook.headers, hook.vouching) if same else stale


def _header(hook: Genuine, chance: random.Random) -> Forgery:
    """The genuine signature in a header that does not count, or not as the store writes it."""
    value = hook.headers[hook.vouching]
    others = ("X-Signature", "X-Hub-Signature-256", "Authorization", "Signature", f"{hook.vouching}-2")
    moved = [_less(hook.headers, hook.vouching) | {other: value} for other in others]
    claims = [
        "",
        "null",
        "=",
        f"sha256={hook.token}",
        f'"{value}"',
        f"{value};",
        f"{hook.token},{hook.token}",
    ]
    if stamped := re.match(r"t=[0-9]+", value):
        claims += [value.replace("v1=", scheme) for scheme in ("v0=", "v2=", "V1=", "v1==", "v1:", "")]
        claims += [value.replace(stamped[0], stamp) for stamp in ("t=", "t=0", "t=-1", "t=\xb2", "t=1e9", "")]
    return hook.body, chance.choice([*moved, *map(hook.claiming, claims)])


def _foreign_letters(hook: Genuine, chance: random.Random) -> Forgery:
    """Headers reach the application as Latin-1, whatever was meant."""
    letters = chance.choice(["é", "ÿ" * 44, "\x80", "x\xa0x", "größe", "\u00b2"])
    at = chance.randrange(len(hook.token))
    return hook.body, hook.spelling(hook.token[:at] + letters + hook.token[at:])


def _another_stores(hook: Genuine, chance: random.Random) -> Forgery:
    """What another store would send with this body, and its signature in this store's place."""
    other = chance.choice([store for store in stores().values() if store is not hook.store])
    headers = signed(other, hook.body)
    if chance.random() < 0.5:
        return hook.body, headers
    tokens = [token for value in headers.values() for token in _TOKEN.findall(value)]
    return hook.body, hook.spelling(chance.choice(tokens))


WAYS: Mapping[str, Way] = {
    "random bytes": _random_bytes,
    "random length": _random_length,
    "random text": _random_text,
    "one bit": _one_bit,
    "one letter": _one_letter,
    "truncated": _truncated,
    "longer": _longer,
    "padding": _padding,
    "same bits": _same_bits,
    "case": _case,
    "encoding": _encoding,
    "alphabet": _alphabet,
    "algorithm": _algorithm,
    "no key": _no_key,
    "other secret": _other_secret,
    "another body": _another_body,
    "another time": _another_time,
    "header": _header,
    "foreign letters": _foreign_letters,
    "another store": _another_stores,
}


def _raw(hook: Genuine) -> bytes:
    is_hex = re.fullmatch(r"[0-9a-f]+", hook.token)
    return bytes.fromhex(hook.token) if is_hex else base64.b64decode(hook.token)


def _message(hook: Genuine) -> bytes:
    stamp = re.search(r"t=([0-9]+)", hook.headers[hook.vouching])
    return hook.body if stamp is None else stamp[1].encode() + b"." + hook.body


# --- how it is run ----------------------------------------------------------------------------------------

RENEWED = 500
"""Forgeries before the genuine hooks are signed anew: a signature that is too old is no model."""


class Verdict(msgspec.Struct):
    """What a run showed."""

    seed: int
    sent: Counter[str] = msgspec.field(default_factory=Counter)
    answers: Counter[int] = msgspec.field(default_factory=Counter)
    broken: list[str] = msgspec.field(default_factory=list)
    slowest: float = 0.0

    def __str__(self) -> str:
        ways = ", ".join(f"{way} {count}" for way, count in sorted(self.sent.items()))
        answers = ", ".join(f"{status} {count}" for status, count in sorted(self.answers.items()))
        lines = [
            ("forged", f"{self.sent.total()} ({ways})"),
            ("answers", answers),
            ("slowest", f"{self.slowest * 1_000:.0f} ms of the processor"),
            ("verdict", "kept" if not self.broken else "BROKEN"),
        ]
        body = [f"  {label:<13}{text}" for label, text in lines]
        return (
            "\n".join([f"forgeries: seed {self.seed}", *body, *(f"  - {one}" for one in self.broken)]) + "\n"
        )


def run(count: int, seed: int) -> Verdict:
    """So many forgeries, of every store and in every way by turns."""
    verdict, chance = Verdict(seed), random.Random(seed)
    with intake() as desk:
        for number in range(count):
            if number % RENEWED == 0:
                models = genuine()
                verdict.broken += [sentence for model in models for sentence in _refused(desk, model)]
            model, way = models[number % len(models)], list(WAYS)[number // len(models) % len(WAYS)]
            _try(desk, verdict, model, way, chance)
    return verdict


def _refused(desk: Intake, model: Genuine) -> list[str]:
    """The genuine hook must be taken, else that a forged one is not proves nothing."""
    sentences = broken_promises(desk.send(model.store, model.body, model.headers), is_signed=True)
    return [f"{model.store.slug}, genuine: {sentence}" for sentence in sentences]


def _try(desk: Intake, verdict: Verdict, model: Genuine, way: str, chance: random.Random) -> None:
    body, headers = _forged(model, WAYS[way], chance)
    heard = desk.send(model.store, body, headers)
    verdict.sent[way] += 1
    verdict.answers[heard.status] += 1
    verdict.slowest = max(verdict.slowest, heard.seconds)
    sentences = broken_promises(heard, is_signed=False)
    verdict.broken += [f"{model.store.slug}, {way}: {sentence}" for sentence in sentences]


def _forged(model: Genuine, way: Way, chance: random.Random) -> Forgery:
    """Some ways lead back to the genuine hook now and then; such a one is no forgery."""
    while True:
        body, headers = way(model, chance)
        if body != model.body or headers.get(model.vouching) != model.headers[model.vouching]:
            return body, headers


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0: nobody was believed."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.forgeries", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="forgeries (10000)")
    parser.add_argument("--seed", type=int, default=1, help="of the whole run (1)")
    options = parser.parse_args(arguments)
    logging.getLogger().addHandler(logging.NullHandler())  # what the relay says of each is not for here
    verdict = run(options.count, options.seed)
    sys.stdout.write(str(verdict))
    return int(bool(verdict.broken))


if __name__ == "__main__":
    sys.exit(main())
