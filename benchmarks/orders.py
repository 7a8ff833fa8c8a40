"""Distinct orders: repeating one body would flatter every cache on the way."""

import json
import random
import time
from pathlib import Path
from typing import Any

SAMPLE = Path(__file__).parents[1] / "tests/data/stores/shopify/orders_create_web_full_pii_2024-04.json"

_FIRST = ("María", "Anna", "Zoë", "John", "Yuki", "Jean-Luc", "Olu", "Bjørn", "Li", "Sam")
_LAST = ("Álvarez", "Smith", "van der Berg", "O'Neill", "Sato", "Müller", "Okafor", "Lind", "Wang", "Lee")
_PLACES = (("Ottawa", "K2H 7A8"), ("Montréal", "H2Y 1C6"), ("St. John's", "A1C 5S7"), ("Toronto", "M5H 2N2"))
_NETWORKS = ("192.0.2", "198.51.100", "203.0.113")


def bodies(count: int, first: int = 8_000_000_001) -> list[bytes]:
    """That many paid Shopify orders of just now, each with its own id, buyer, amount and click."""
    order: dict[str, Any] = json.loads(SAMPLE.read_text())
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    order |= {"created_at": now, "processed_at": now, "updated_at": now, "financial_status": "paid"}
    written = json.dumps(order)
    return [_other(written, number) for number in range(first, first + count)]


def _other(written: str, number: int) -> bytes:
    """The sample with everything else instead of what tells its buyer from another."""
    chance = random.Random(number)
    city, postcode = chance.choice(_PLACES)
    exchanged = {
        "5512345678901": str(number),
        "#1042": f"#{number}",
        "maria.alvarez@example.com": f"buyer{number}@example.com",
        "María": chance.choice(_FIRST),
        "Álvarez": chance.choice(_LAST),
        "Ottawa": city,
        "K2H 7A8": postcode,
        "+16135550123": f"+1{chance.randint(201, 989)}55501{chance.randint(0, 99):02}",
        "203.0.113.25": f"{chance.choice(_NETWORKS)}.{chance.randint(1, 254)}",
        "6001000000035": str(6_001_000_000_035 + number),
        "56.44": f"{chance.randint(1, 999)}.{chance.randint(0, 99):02}",
        "IwAR0exampleClickId": f"IwAR0{chance.getrandbits(200):x}",
        "1098765432": str(chance.randint(10**9, 10**10)),
        "cb0ec7ab63b58403383c534c64c32067": f"{chance.getrandbits(128):032x}",
    }
    for sample, own in exchanged.items():
        written = written.replace(_in_json(sample), _in_json(own))
    return written.encode()


def _in_json(text: str) -> str:
    return json.dumps(text)[1:-1]
