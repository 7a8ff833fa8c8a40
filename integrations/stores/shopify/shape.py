"""What is read of an Order, of some 400 fields, and of the bodies of topics that are no sale.

Who reads another field must name it here; a test asks for it.
"""

from typing import Any, TypedDict

from integrations.untrusted import Shape


class _Money(TypedDict, total=False):
    amount: Any
    currency_code: Any


class _Both(TypedDict, total=False):
    shop_money: _Money | None
    presentment_money: _Money | None


class _Discount(TypedDict, total=False):
    amount: Any
    amount_set: _Both | None


class _LineItem(TypedDict, total=False):
    product_id: Any
    variant_id: Any
    sku: Any
    title: Any
    name: Any
    quantity: Any
    gift_card: Any
    price: Any
    price_set: _Both | None
    discount_allocations: list[_Discount] | None


class _Address(TypedDict, total=False):
    first_name: Any
    last_name: Any
    city: Any
    zip: Any
    province: Any
    province_code: Any
    country_code: Any
    phone: Any


class _Customer(TypedDict, total=False):
    id: Any
    email: Any
    phone: Any
    first_name: Any
    last_name: Any
    default_address: _Address | None


class _Client(TypedDict, total=False):
    browser_ip: Any
    user_agent: Any


class _Pair(TypedDict, total=False):
    name: Any
    value: Any


class _Code(TypedDict, total=False):
    code: Any


class _Order(TypedDict, total=False):
    id: Any
    admin_graphql_api_id: Any
    name: Any
    order_number: Any
    checkout_token: Any
    created_at: Any
    processed_at: Any
    updated_at: Any
    cancelled_at: Any
    financial_status: Any
    test: Any
    source_name: Any
    app_id: Any
    user_id: Any
    currency: Any
    total_price: Any
    total_price_set: _Both | None
    line_items: list[_LineItem] | None
    discount_codes: list[_Code] | None
    email: Any
    contact_email: Any
    phone: Any
    customer: _Customer | None
    billing_address: _Address | None
    shipping_address: _Address | None
    browser_ip: Any
    client_details: _Client | None
    note_attributes: list[_Pair] | None
    landing_site: Any
    referring_site: Any
    order_status_url: Any
    # Of other resources:
    order_id: Any
    order_edit: Any
    refund_line_items: Any
    abandoned_checkout_url: Any


ORDER = Shape(_Order)
