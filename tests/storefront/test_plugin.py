"""The plugin for WooCommerce: what it takes from the cookie, and what it tells the order's page."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.environments import META
from tests.storefront.wordpress import WordPress
from webhooks import settings
from webhooks.storefront import snippets

CHECKOUTS = ("woocommerce_checkout_create_order", "woocommerce_store_api_checkout_update_order_from_request")


@pytest.fixture
def wordpress(tmp_path: Path) -> WordPress:
    return WordPress(plugin(tmp_path), tmp_path)


def plugin(home: Path, **more: str) -> str:
    """As `snippet` prints it."""
    loaded = settings.load(
        {
            "RELAY_DATA_DIR": str(home),
            "RELAY_PUBLIC_URL": "https://relay.example.com",
            "WOOCOMMERCE_WEBHOOK_SECRETS": "wc0123456789abcdef",
            **META,
            **more,
        }
    )
    return snippets.texts(loaded, loaded.shops[0])["purchase-relay.php"]


def order(**changes: Any) -> dict[str, Any]:
    """A paid one of two lines."""
    lines = [
        {
            "product_id": 93,
            "variation_id": 0,
            "sku": "MUG",
            "name": "Mug",
            "quantity": 2,
            "total": 20.0,
            "total_tax": 3.8,
        },
        {
            "product_id": 17,
            "variation_id": 20,
            "sku": "",
            "name": "Shirt <XL>",
            "quantity": 1,
            "total": 5.0,
            "total_tax": 0,
        },
    ]
    made = {
        "id": 727,
        "order_number": "A-727",
        "order_key": "wc_order_x",
        "total": "28.80",
        "currency": "EUR",
    }
    return {**made, "status": "processing", "meta": {}, "items": lines, **changes}


def cookie(**noted: Any) -> dict[str, str]:
    """As the capture script writes it."""
    return {"purchase_relay": quote(json.dumps(noted), safe="")}


@pytest.mark.parametrize("checkout", CHECKOUTS)
def test_both_checkouts_note_what_was_captured(wordpress: WordPress, checkout: str) -> None:
    noted = {
        "_fbc": "fb.1.1795000000123.IwAR2F4-db%2F\\'\"x",
        "_fbp": "fb.1.1795000000123.1234567890",
        "_consent_state": "ad_storage=granted;source=tcf;at=1",
        "event_source_url": "https://shop.example/a%20b",
    }
    assert wordpress.play(checkout, order(), cookie(**noted)).meta == noted


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"purchase_relay": ""},
        {"purchase_relay": "no json"},
        {"purchase_relay": quote('["_fbc"]')},
        {"purchase_relay": quote('"_fbc"')},
        cookie(_fbc=None, _fbp=7),
        cookie(_fbc=["x"], _fbp={"x": "y"}),
        cookie(_fbc="", _fbp="a b"),
        cookie(_fbc="x" * 501, _fbp="line\nbreak"),
        cookie(_fbp="fine\n"),
        cookie(
            _customer_user="1", _billing_email="jane@example.com", _meta_event_id="forged", _order_total="0"
        ),
    ],
)
def test_what_somebody_else_wrote_does_not_reach_the_order(
    wordpress: WordPress, written: dict[str, str]
) -> None:
    assert wordpress.play(CHECKOUTS[0], order(), written).meta == {}


def told(html: str) -> Any:
    """What the printed page gives to the pixel script."""
    return json.loads(html.partition("window.purchaseRelayOrder = ")[2].partition(";</script>")[0])


def test_the_page_is_told_of_a_sale(wordpress: WordPress) -> None:
    played = wordpress.play("woocommerce_thankyou", order(meta={"_meta_event_id": "0b8f7c1e"}))
    assert "<XL>" not in played.html
    assert 'src="https://relay.example.com/storefront/woocommerce/current/pixel.js"' in played.html
    assert played.saved
    assert told(played.html) == {
        "order_id": "727",
        "order_number": "A-727",
        "order_key": "wc_order_x",
        "value": 28.8,
        "currency": "EUR",
        "attributes": {"_meta_event_id": "0b8f7c1e"},
        "items": [
            {
                "product_id": "93",
                "variant_id": "",
                "sku": "MUG",
                "title": "Mug",
                "quantity": 2,
                "price": 11.9,
            },
            {
                "product_id": "17",
                "variant_id": "20",
                "sku": "",
                "title": "Shirt <XL>",
                "quantity": 1,
                "price": 5,
            },
        ],
    }


def test_the_page_is_told_once(wordpress: WordPress) -> None:
    sale = order()
    assert wordpress.play("woocommerce_thankyou", sale).html
    assert wordpress.play("woocommerce_thankyou", sale).html == ""


@pytest.mark.parametrize("status", ["pending", "failed", "on-hold", "cancelled"])
def test_what_does_not_count_fires_nothing(wordpress: WordPress, status: str) -> None:
    sale = order(status=status)
    assert wordpress.play("woocommerce_thankyou", sale).html == ""
    assert wordpress.play("woocommerce_thankyou", {**sale, "status": "processing"}).html


def test_what_counts_is_a_setting(tmp_path: Path) -> None:
    waiting = WordPress(plugin(tmp_path, WOOCOMMERCE_STATUSES="processing,on-hold"), tmp_path)
    assert waiting.play("woocommerce_thankyou", order(status="on-hold")).html


def test_every_page_gets_the_capture_script(wordpress: WordPress) -> None:
    address = "https://relay.example.com/storefront/woocommerce/current/capture.js"
    assert wordpress.play("wp_enqueue_scripts", order()).scripts == {"purchase-relay": address}


def test_no_attribute_ends_a_text_of_the_plugin(tmp_path: Path) -> None:
    """A template is the owner's, but a quote in it must not become code."""
    text = plugin(tmp_path, WOOCOMMERCE_EVENT_ID="{meta:a'.evil().'|meta:b\\|meta:fine|order_id}")
    assert "PURCHASE_RELAY_IDS      = array( 'fine' );" in text
