"""One order mapped by Meta's own SDK for Python, written as its documentation shows it."""

import hashlib
import hmac
import json
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from facebook_business.adobjects.serverside.action_source import ActionSource
from facebook_business.adobjects.serverside.content import Content
from facebook_business.adobjects.serverside.custom_data import CustomData
from facebook_business.adobjects.serverside.event import Event
from facebook_business.adobjects.serverside.event_request import EventRequest
from facebook_business.adobjects.serverside.user_data import UserData


def request(body: bytes, secret: str) -> bytes:
    """A verified order as the body of a request. It reads only orders that lack nothing."""
    hmac.digest(secret.encode(), body, hashlib.sha256)
    order: dict[str, Any] = json.loads(body)
    place, lines = order["billing_address"], order["line_items"]
    noted = {item["name"]: item["value"] for item in order["note_attributes"]}
    user = UserData(
        emails=[order["email"]],
        phones=[order["phone"]],
        first_names=[place["first_name"]],
        last_names=[place["last_name"]],
        cities=[place["city"]],
        states=[place["province"]],
        zip_codes=[place["zip"]],
        country_codes=[place["country_code"]],
        external_ids=[str(order["customer"]["id"])],
        client_ip_address=order["browser_ip"],
        client_user_agent=order["client_details"]["user_agent"],
        fbc=noted["_fbc"],
        fbp=noted["_fbp"],
    )
    custom = CustomData(
        value=float(order["total_price"]),
        currency=order["currency"],
        order_id=str(order["id"]),
        num_items=sum(line["quantity"] for line in lines),
        content_type="product",
        content_ids=[str(line["variant_id"]) for line in lines],
        contents=[_content(line) for line in lines],
    )
    status_page = urlsplit(order["order_status_url"])
    purchase = Event(
        event_name="Purchase",
        event_time=int(datetime.fromisoformat(order["created_at"]).timestamp()),
        event_id=str(order["id"]),
        action_source=ActionSource.WEBSITE,
        event_source_url=f"https://{status_page.netloc}/",
        referrer_url=order["referring_site"],
        user_data=user,
        custom_data=custom,
    )
    told = EventRequest(pixel_id="1234567890", events=[purchase], partner_agent="purchase-relay")
    return json.dumps(told.get_params()).encode()


def _content(line: dict[str, Any]) -> Content:
    return Content(
        product_id=str(line["variant_id"]),
        quantity=line["quantity"],
        item_price=float(line["price"]),
        title=line["title"],
    )
