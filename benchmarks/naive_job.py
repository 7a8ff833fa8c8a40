"""The naive job: one order, one call, on a connection of its own. RQ imports this anew in each fork."""

import hashlib
from typing import Any

import requests

QUEUE = "naive"


def deliver(order: dict[str, Any], address: str) -> None:
    """Tells the destination of that order."""
    requests.post(address, json={"data": [event(order)]}, timeout=10).raise_for_status()


def event(order: dict[str, Any]) -> dict[str, Any]:
    """What Meta is told of it, at least."""
    place = order["billing_address"]
    plain = {
        "em": order["email"].lower(),
        "ph": place["phone"].lstrip("+"),
        "fn": place["first_name"].lower(),
        "ln": place["last_name"].lower(),
        "ct": place["city"].lower(),
        "zp": place["zip"].lower().replace(" ", ""),
        "country": place["country_code"].lower(),
        "external_id": str(order["customer"]["id"]),
    }
    return {
        "event_name": "Purchase",
        "event_time": 0,
        "event_id": str(order["id"]),
        "action_source": "website",
        "user_data": {key: hashlib.sha256(value.encode()).hexdigest() for key, value in plain.items()},
        "custom_data": {"value": float(order["total_price"]), "currency": order["currency"]},
    }
