"""Does a store's answer to a wrong signature take longer the more of it is right?

    python -m tests.faults.timing --count 20000

Signatures whose first half is right, and such that are wrong from their first byte on, take turns at random;
Welch's t of the two times says whether they can be told apart. Below 4.5 they cannot (as `dudect` has it). As
a control the same is measured with a comparison that ends at the first difference: it must be noticed.
"""

import argparse
import base64
import gc
import hmac
import math
import random
import re
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from unittest.mock import patch

from integrations.discovery import stores
from integrations.hook import Hook
from integrations.setting import Secret
from integrations.store import Store, Unverified
from tests.contract.samples import SECRET
from tests.faults import orders

LIMIT = 4.5

_RIGHT = 16
"""So many of a signature's 32 bytes are right in the one kind, and none in the other."""

_QUICK = 0.9
"""The slowest tenth is what else the machine did."""

_WRITTEN = re.compile(r"[0-9a-f]{64}|[A-Za-z0-9+/]{43}=")


def measured(store: Store, count: int, chance: random.Random) -> tuple[list[int], list[int]]:
    """Nanoseconds of so many refusals each: the first half right, and nothing right."""
    told = next(one for number in range(9) for one in orders.place(number) if one.store == store.slug)
    now = int(time.time())
    headers = {name.lower(): value for name, value in told.headers().items()}
    store.verify(Hook(headers, told.body, now), [Secret(SECRET)])  # what the others are made of is right
    name, written = next(
        (name, found[0]) for name, text in headers.items() if (found := _WRITTEN.search(text))
    )
    kinds = [True] * count + [False] * count
    chance.shuffle(kinds)
    hooks = []
    for half in kinds:
        wrong = _forged(written, chance, _RIGHT if half else 0)
        hooks.append(Hook(headers | {name: headers[name].replace(written, wrong)}, told.body, now))
    times = _times(store, hooks)
    pairs = list(zip(kinds, times, strict=True))
    return [took for half, took in pairs if half], [took for half, took in pairs if not half]


def _times(store: Store, hooks: Sequence[Hook]) -> list[int]:
    secrets, times = [Secret(SECRET)], []
    gc.disable()
    try:
        for hook in hooks:
            began = time.perf_counter_ns()
            try:
                store.verify(hook, secrets)
            except Unverified:
                times.append(time.perf_counter_ns() - began)
    finally:
        gc.enable()
    if len(times) != len(hooks):
        raise RuntimeError(f"{store.slug} believed a forged signature")
    return times


def _forged(written: str, chance: random.Random, right: int) -> str:
    """The signature with its first bytes only, written as the store writes it."""
    is_hex = len(written) == 64
    digest = bytes.fromhex(written) if is_hex else base64.b64decode(written)
    wrong = digest[:right] + bytes([digest[right] ^ chance.randint(1, 255)]) + chance.randbytes(31 - right)
    return wrong.hex() if is_hex else base64.b64encode(wrong).decode()


def welch(one: Sequence[int], other: Sequence[int]) -> float:
    """Welch's t of two samples."""
    spread = statistics.variance(one) / len(one) + statistics.variance(other) / len(other)
    return (statistics.fmean(one) - statistics.fmean(other)) / math.sqrt(spread)


def quick(one: Sequence[int], other: Sequence[int]) -> tuple[list[int], list[int]]:
    """Both without what took longest of all."""
    most = sorted([*one, *other])[int(_QUICK * (len(one) + len(other)))]
    return [took for took in one if took < most], [took for took in other if took < most]


def _ends_early(expected: bytes, offered: bytes) -> bool:
    return all(one == other for one, other in zip(expected, offered, strict=True))


def _told(what: str, half: list[int], none: list[int]) -> float:
    """Prints a line; returns the greater t of all, and of the quick ones."""
    all_of_them, quick_ones = welch(half, none), welch(*quick(half, none))
    medians = [statistics.median(kind) / 1_000 for kind in (half, none)]
    sys.stdout.write(
        f"{what:<30}{len(half)} + {len(none)} refusals, {medians[0]:.2f} and {medians[1]:.2f} us at the "
        f"median, t {all_of_them:+.2f}, of the quick ones {quick_ones:+.2f}\n"
    )
    return max(abs(all_of_them), abs(quick_ones))


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0: nobody can tell, and who could was noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.timing", description=__doc__)
    parser.add_argument("--count", type=int, default=20_000, help="of each kind (20000)")
    parser.add_argument("--seed", type=int, default=1, help="of the forgeries and their order (1)")
    options = parser.parse_args(arguments)
    chance, failed = random.Random(options.seed), []

    def measure(what: str, store: Store, is_well: Callable[[float], bool]) -> None:
        measured(store, options.count // 10, chance)  # warm
        if not is_well(_told(what, *measured(store, options.count, chance))):
            failed.append(what)

    for store in stores().values():
        measure(store.slug, store, lambda t: t < LIMIT)
    with patch.object(hmac, "compare_digest", _ends_early):
        measure("control: one that ends early", stores()["shopify"], lambda t: t > LIMIT)
    sys.stdout.write(f"verdict      {'kept' if not failed else 'BROKEN: ' + ', '.join(failed)}\n")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
