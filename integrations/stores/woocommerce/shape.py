"""What is read of an order of the REST API v3, about half of its fields.

Who reads another field must name it here; a test asks for it. PHP writes an empty object as ``[]``.
"""

from typing import Any, TypedDict

from integrations.untrusted import Shape


class _Meta(TypedDict, total=False):
    key: Any
    value: Any


class _LineItem(TypedDict, total=False):
    product_id: Any
    variation_id: Any
    sku: Any
    name: Any
    quantity: Any
    total: Any
    total_tax: Any


class _Coupon(TypedDict, total=False):
    code: Any


class _Address(TypedDict, total=False):
    email: Any
    phone: Any
    first_name: Any
    last_name: Any
    city: Any
    state: Any
    postcode: Any
    country: Any


class _Order(TypedDict, total=False):
    id: Any
    parent_id: Any
    number: Any
    order_key: Any
    status: Any
    created_via: Any
    currency: Any
    total: Any
    date_created_gmt: Any
    date_paid_gmt: Any
    customer_id: Any
    customer_ip_address: Any
    customer_user_agent: Any
    billing: _Address | list[Any] | None
    shipping: _Address | list[Any] | None
    payment_url: Any
    line_items: list[_LineItem] | None
    coupon_lines: list[_Coupon] | None
    meta_data: list[_Meta] | None
    code: Any  # of an error in an order's place


ORDER = Shape(_Order)
