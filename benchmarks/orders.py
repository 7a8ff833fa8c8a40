"""Distinct orders: repeating one body would flatter every cache on the way."""

import json
import time
from pathlib import Path
from typing import Any

SAMPLE = Path(__file__).parents[1] / "tests/data/stores/shopify/orders_create_web_full_pii_2024-04.json"


def bodies(count: int, first: int = 8_000_000_001) -> list[bytes]:
    """That many paid Shopify orders of just now, each with its own id, buyer and click."""
    order: dict[str, Any] = json.loads(SAMPLE.read_text())
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    order |= {"created_at": now, "processed_at": now, "updated_at": now, "financial_status": "paid"}
    made = []
    for number in range(first, first + count):
        order |= {"id": number, "name": f"#{number}", "email": f"buyer{number}@example.com"}
        made.append(json.dumps(order).encode())
    return made
