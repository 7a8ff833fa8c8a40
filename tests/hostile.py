"""Everything odd that a body can hold, as JSON was never meant to be. One table; the bytes are made here.

A *form* is a piece of JSON text that is put in the place of a value. A *body* is sent as it stands.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

Forms = Mapping[str, bytes]

DEEP = 100_000
DIGITS = 4_301  # Python refuses to read more than 4,300 of an integer
LONG = 65_536

# --- what stands in the place of a value ------------------------------------------------------------------


def _texts(**texts: str) -> dict[str, bytes]:
    return {name: json.dumps(text, ensure_ascii=False).encode() for name, text in texts.items()}


KINDS: Forms = {
    "null": b"null",
    "true": b"true",
    "false": b"false",
    "zero": b"0",
    "empty_text": b'""',
    "text": b'"x"',
    "empty_list": b"[]",
    "empty_object": b"{}",
    "list_of_nulls": b"[null, null]",
    "list_of_lists": b"[[], [[]]]",
    "list_of_texts": b'["a", "b"]',
    "list_of_numbers": b"[1, 2.5, -3]",
    "list_of_empty_objects": b"[{}, {}]",
    "object_in_object": b'{"id": {"id": {"id": 1}}}',
    "object_of_lists": b'{"amount": [], "id": [1], "name": [["x"]]}',
    "nested_200": b"[" * 200 + b"]" * 200,
    "nested_objects_200": b'{"a":' * 200 + b"1" + b"}" * 200,
}

_AMOUNTS = {
    "nan": "NaN",
    "snan": "sNaN",
    "infinity": "Infinity",
    "minus_infinity": "-Infinity",
    "inf": "inf",
    "huge_exponent": "1e1000000",
    "tiny_exponent": "1e-1000000",
    "exponent": "1e30",
    "underscore": "1_000",
    "thousands_comma": "1,000.00",
    "decimal_comma": "12,50",
    "apostrophe": "1'000.00",
    "arabic_digits": "١٢٫٥٠",
    "fullwidth_digits": "１２.５０",
    "mixed_digits": "1٢.50",
    "superscript": "1²",
    "blank": " ",
    "padded": "  12.50\t\n",
    "no_break_space": "12.50\u00a0",
    "sign_only": "-",
    "plus": "+12.50",
    "double_minus": "--1",
    "minus": "-12.50",
    "minus_zero": "-0.00",
    "zero": "0",
    "zeros": "0000000000000000.00",
    "point_first": ".50",
    "point_last": "12.",
    "two_points": "1.2.3",
    "currency_sign": "€12.50",
    "code_behind": "12.50 USD",
    "hexadecimal": "0x10",
    "octal": "0o17",
    "fraction": "1/3",
    "sixteen_digits": "1234567890123456.00",
    "fifteen_digits": "999999999999999.99",
    "many_decimals": "0." + "3" * 20,
    "too_many_decimals": "0." + "3" * 21,
    "five_thousand_digits": "9" * 5_000,
    "nul": "12\x00.50",
    "formula": "=1+1",
    "html": "12&#46;50",
    "newline_inside": "12\n50",
    "halfway": "1.005",
    "three_decimals": "12.345",
}

AMOUNTS: Forms = {
    **_texts(**_AMOUNTS),
    "number_nan": b"NaN",
    "number_infinity": b"Infinity",
    "number_minus_infinity": b"-Infinity",
    "number_1e400": b"1e400",
    "number_minus_1e400": b"-1e400",
    "number_1e_400": b"1e-400",
    "number_exponent": b"1.25e1",
    "number_minus_zero": b"-0.0",
    "number_many_decimals": b"12." + b"5" * 400,
    "number_huge": b"9" * 4_000,
    "number_float": b"0.1",
    "number_integer": b"1250",
    "number_negative": b"-1250",
    "number_2_63": b"9223372036854775808",
    "true": b"true",
    "null": b"null",
    "list": b'["12.50"]',
    "object": b'{"amount": "12.50"}',
}

IDS: Forms = {
    "zero": b"0",
    "negative": b"-1",
    "float": b"1.5",
    "whole_float": b"1.0",
    "exponent": b"1e3",
    "true": b"true",
    "null": b"null",
    "list": b"[1]",
    "object": b'{"id": 1}',
    "2_31": b"2147483648",
    "2_63": b"9223372036854775808",
    "2_64": b"18446744073709551616",
    "minus_2_63": b"-9223372036854775809",
    "forty_digits": b"1" * 40,
    "four_thousand_digits": b"1" * 4_000,
    **_texts(
        blank=" ",
        leading_zero="007",
        plus="+7",
        padded=" 7 ",
        arabic_digits="١٢٣",
        word="abc",
        uuid="6f9619ff-8b86-d011-b42d-00c04fc964ff",
        gid="gid://shopify/Order/1",
        path="../../etc/passwd",
        sql="1'; DROP TABLE events; --",
        nul="1\x002",
        colon="1:2",
        template="{order_id}",
        long="7" * LONG,
        emoji="🛒",
    ),
}

TIMES: Forms = {
    "year_0001": b'"0001-01-01T00:00:00Z"',
    "year_0001_east": b'"0001-01-01T00:00:00+14:00"',
    "year_9999": b'"9999-12-31T23:59:59Z"',
    "year_9999_west": b'"9999-12-31T23:59:59-14:00"',
    "year_10000": b'"10000-01-01T00:00:00Z"',
    "negative_year": b'"-001-01-01T00:00:00Z"',
    "no_zone": b'"2026-11-22T09:30:00"',
    "date_only": b'"2026-11-22"',
    "basic": b'"20261122T093000Z"',
    "week": b'"2026-W47-7"',
    "future": b'"2099-12-31T23:59:59Z"',
    "before_1970": b'"1969-12-31T23:59:59Z"',
    "year_2000": b'"2000-01-01T00:00:00Z"',
    "zone_of_a_day": b'"2026-11-22T09:30:00+24:00"',
    "zone_with_seconds": b'"2026-11-22T09:30:00+01:30:30.5"',
    "zone_by_name": b'"2026-11-22T09:30:00 Europe/Berlin"',
    "in_the_gap": b'"2026-03-29T02:30:00"',
    "leap_second": b'"2026-12-31T23:59:60Z"',
    "february_30": b'"2026-02-30T00:00:00Z"',
    "hour_24": b'"2026-11-22T24:00:00Z"',
    "comma_seconds": b'"2026-11-22T09:30:00,5Z"',
    "nanoseconds": b'"2026-11-22T09:30:00.123456789Z"',
    "lower_case": b'"2026-11-22t09:30:00z"',
    "arabic_digits": '"٢٠٢٦-١١-٢٢T09:30:00Z"'.encode(),
    "rfc_2822": b'"Sun, 22 Nov 2026 09:30:00 GMT"',
    "words": b'"yesterday"',
    "blank": b'" "',
    "nul": b'"2026-11-22T09:30:00\\u0000Z"',
    "long": b'"2026' + b"-11" * 20_000 + b'"',
    "seconds": b"1795340000",
    "milliseconds": b"1795340000000",
    "negative": b"-1",
    "huge": b"9" * 30,
    "float": b"1795340000.5",
    "1e300": b"1e300",
    "true": b"true",
    "null": b"null",
    "list": b"[2026, 11, 22]",
    "object": b'{"date": "2026-11-22"}',
}

TEXTS: Forms = {
    "nul": b'"a\\u0000b"',
    "only_nul": b'"\\u0000"',
    "high_surrogate": b'"a\\ud800b"',
    "low_surrogate": b'"\\udfff"',
    "surrogates_swapped": b'"\\udc00\\ud800"',
    "noncharacter": b'"\\uffff\\ufffe"',
    "control": b'"\\u0001\\u001b[31m\\u007f"',
    "newlines": b'"a\\r\\nSet-Cookie: a=b\\r\\n\\r\\n"',
    "number": b"12345",
    "huge_number": b"9" * 4_000,
    "fraction": b"0.1",
    "true": b"true",
    "null": b"null",
    "list": b'["a"]',
    "object": b'{"a": "b"}',
    **_texts(
        empty="",
        blank=" \t\n\u00a0\u2003",
        emoji="👩‍👩‍👧‍👦🏳️‍🌈" * 50,
        right_to_left="\u202eמחיר\u202c\u200f",
        combining="Z" + "\u0300" * 500,
        zero_width="a\u200b\u200c\u200d\ufeffb",
        turkish="İıŞşĞğ",
        ligature="ﬁﬀ Straße ẞ",
        angstrom="Å Å Å",
        hangul="ᄒ" * 1_000,
        too_long="a" * 2_001,
        html="<script>alert(1)</script>",
        jinja="{{ 7 * 7 }}{% raw %}",
        percent="%00%s%n%(name)s%d%ED%A0%80",
        braces="{0.__class__}{order_id}{meta:x}",
        entities="&#0;&#xD800;&#x110000;&amp;amp;&nbsp;" * 100,
        backslashes="\\" * 500 + '"',
        sql="'; DROP TABLE hooks; --",
        formula="=cmd|' /C calc'!A0",
        address="https://[::1",
        address_ipv6="http://[fe80::1%25eth0]:99999/?a=%zz",
        address_nul="https://a.example/\x00?x=\x00",
        address_many="https://a.example/?" + "a=1&" * 5_000,
        address_userinfo="https://user:pass@a.example:0x50/p;x?y#z",
        e_mail="@@@@",
        e_mail_long="a@" + "b." * 5_000 + "example",
        phone="+" + "1" * 400,
        phone_letters="+1 (800) FLOWERS ext. 9 ;;;",
        date="0000-00-00",
        country="ßß",
    ),
}

LONG_TEXTS: Forms = _texts(
    ascii="a" * LONG,
    two_bytes="ü" * (LONG // 2),
    combining="Z" + "\u0300" * (LONG // 2),
    blanks=" " * LONG,
    entities="&amp;" * (LONG // 5),
    dots="a." * (LONG // 2),
)

CURRENCIES: Forms = {
    "null": b"null",
    "number": b"978",
    "true": b"true",
    "list": b'["EUR"]',
    "object": b'{"code": "EUR"}',
    **_texts(
        empty="",
        two="EU",
        four="EURO",
        sign="€",
        digits="123",
        unknown="ZZZ",
        none="XXX",
        lower="eur",
        no_decimals="JPY",
        three_decimals="KWD",
        four_decimals="CLF",
        fullwidth="ＥＵＲ",
        cyrillic="ЕUR",
        long_s="uſd",
        kelvin="\u212aWD",
        nul="EU\x00R",
        padded=" EUR ",
    ),
}

QUANTITIES: Forms = {
    "zero": b"0",
    "negative": b"-3",
    "huge": b"999999999999",
    "huger": b"9" * 40,
    "float": b"0.5",
    "1e400": b"1e400",
    "true": b"true",
    "null": b"null",
    "list": b"[1]",
    **_texts(text="3", words="three", arabic_digits="٣", blank=" ", exponent="1e3"),
}

VALUES_OF: Sequence[Forms] = (KINDS, AMOUNTS, IDS, TIMES, TEXTS, LONG_TEXTS, CURRENCIES, QUANTITIES)
"""All of them."""

# --- what is sent as it stands ----------------------------------------------------------------------------

_ORDER = '{"id": 1, "object": "event", "name": "é"}'

ROOTS: Forms = {
    "empty": b"",
    "blank": b" \t\r\n",
    "nul": b"\x00",
    "null": b"null",
    "true": b"true",
    "number": b"1",
    "minus_zero": b"-0",
    "float": b"1.5",
    "text": b'"order"',
    "list": b"[]",
    "list_of_orders": b'[{"id": 1}]',
    "empty_object": b"{}",
    "id_only": b'{"id": 1}',
    "empty_key": b'{"": 1}',
    "nul_key": b'{"\\u0000": 1}',
    "surrogate_key": b'{"\\ud800": 1}',
    "proto_key": b'{"__proto__": {}, "constructor": {}, "__class__": {}}',
    "code": b'{"code": "woocommerce_rest_cannot_view", "message": "x", "data": {"status": 403}}',
    "code_list": b'{"code": ["x"], "message": null, "data": 0}',
    "event_only": b'{"object": "event"}',
    "thin_only": b'{"object": "v2.core.event", "livemode": true, "type": "v1.checkout.session.completed"}',
}

SYNTAX: Forms = {
    "open_object": b"{",
    "open_text": b'{"id": "',
    "open_escape": b'{"id": "\\',
    "open_unicode": b'{"id": "\\u12',
    "bad_escape": b'{"id": "\\x41"}',
    "bad_unicode": b'{"id": "\\uZZZZ"}',
    "single_quotes": b"{'id': 1}",
    "no_quotes": b"{id: 1}",
    "trailing_comma": b'{"id": 1,}',
    "comment": b'{"id": 1} // order',
    "two_documents": b'{"id": 1}{"id": 2}',
    "lines": b'{"id": 1}\n{"id": 2}\n',
    "garbage_behind": b'{"id": 1}\x00\x00',
    "leading_zero": b'{"id": 01}',
    "plus": b'{"id": +1}',
    "hexadecimal": b'{"id": 0x10}',
    "point_last": b'{"id": 1.}',
    "nan": b'{"id": NaN}',
    "infinity": b'{"id": 1, "total_price": -Infinity}',
    "1e400": b'{"id": 1e400}',
    "digits_in_id": b'{"id": ' + b"1" * DIGITS + b"}",
    "digits_in_exponent": b'{"id": 1e' + b"9" * 5_000 + b"}",
    "digits_in_fraction": b'{"id": 0.' + b"9" * 500_000 + b"}",
    "control_in_text": b'{"id": "a\x01b"}',
    "newline_in_text": b'{"id": "a\nb"}',
    "duplicate_keys": b'{"id": 1, "id": 2, "id": null}',
    "million_duplicate_keys": b"{" + b'"a":1,' * 250_000 + b'"a":1}',
    "colliding_keys": b"{" + b",".join(b'"%d":0' % (number * (2**61 - 1)) for number in range(20_000)) + b"}",
    "form": b"id=1&total=2",
    "near_ping": b"webhook_id=1&x=2",
    "ping_with_letters": b"webhook_id=one",
    "ping_with_arabic_digits": "webhook_id=١".encode(),
    "xml": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    "yaml": b"id: !!python/object/apply:os.system [id]",
    "pickle": b"\x80\x04K\x01.",
    "msgpack": b"\x81\xa2id\x01",
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xabVJ\xcfLQ\xb2R0\xac\x05\x00",
    "multipart": b'--x\r\nContent-Disposition: form-data; name="id"\r\n\r\n1\r\n--x--\r\n',
}

DEPTHS: Forms = {
    "lists": b"[" * DEEP,
    "lists_closed": b"[" * DEEP + b"]" * DEEP,
    "objects": b'{"a":' * DEEP,
    "objects_closed": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "mixed": b'[{"a":' * (DEEP // 2),
    "in_a_field": b'{"id": 1, "line_items": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    "just_below": b'{"id": 1, "a": ' + b"[" * 900 + b"]" * 900 + b"}",
    "wide": b"[" + b"[]," * 500_000 + b"[]]",
    "two_mebibytes_of_zeros": b"[" + b"0," * 1_000_000 + b"0]",
    "two_mebibytes_of_texts": b"[" + b'"",' * 650_000 + b'""]',
    "two_mebibytes_of_blanks": b" " * 2_000_000 + b"{}",
    "two_mebibytes_of_escapes": b'"' + b"\\u00e9" * 340_000 + b'"',
}

ENCODINGS: Forms = {
    "utf_8_bom": b"\xef\xbb\xbf" + _ORDER.encode(),
    "utf_16": _ORDER.encode("utf-16"),
    "utf_16_le": _ORDER.encode("utf-16-le"),
    "utf_16_be": _ORDER.encode("utf-16-be"),
    "utf_32": _ORDER.encode("utf-32"),
    "utf_7": b"+AHs-",
    "latin_1": _ORDER.encode("latin-1"),
    "cp1252_quotes": b'{"id": "\x93x\x94"}',
    "overlong_slash": b'{"id": "\xc0\xaf"}',
    "overlong_nul": b'{"id": "\xc0\x80"}',
    "surrogate_in_utf_8": b'{"id": "\xed\xa0\x80"}',
    "beyond_unicode": b'{"id": "\xf4\x90\x80\x80"}',
    "cut_character": b'{"id": "\xe2\x82',
    "stray_continuation": b'{"id": "\x80\x80"}',
    "ff_fe": b"\xff\xfe",
    "random": bytes(range(256)),
    "shift_jis": '{"name": "円"}'.encode("shift-jis"),
    "ebcdic": _ORDER.encode("cp500"),
}

BODIES: Mapping[str, Forms] = {
    "root": ROOTS,
    "syntax": SYNTAX,
    "depth": DEPTHS,
    "encoding": ENCODINGS,
}

# --- bombs: a real order with too much of something -------------------------------------------------------


def _many(count: int, item: Any) -> list[Any]:
    return [item] * count


LISTS: Mapping[str, Any] = {
    "5000_lines": _many(
        5_000, {"id": 1, "quantity": 1, "price": "0.01", "total": "0.01", "product_id": 7, "title": "x"}
    ),
    "20000_empty": _many(20_000, {}),
    "50000_nulls": _many(50_000, None),
    "5000_pairs": [{"key": f"k{number}", "name": f"k{number}", "value": "v"} for number in range(5_000)],
    "long_pairs": [
        {"key": "k" * 50_000, "name": "k" * 50_000, "value": "v" * 50_000},
        {"key": "_fbp", "name": "_fbp", "value": "v" * 500_000},
    ],
    "same_pair_5000": _many(5_000, {"key": "_fbc", "name": "_fbc", "value": "fb.1.1.x"}),
    "odd_pairs": [
        {"key": None, "name": [], "value": {}},
        {"key": True, "name": 1, "value": False},
        {"key": "a\x00", "name": "\x00", "value": "\x00"},
    ],
}
"""Put in the place of each list of an order, and of each of its objects."""

# --- headers ----------------------------------------------------------------------------------------------

HEADERS: Mapping[str, Mapping[str, str | None]] = {
    "no_content_type": {"Content-Type": None},
    "empty_content_type": {"Content-Type": ""},
    "text": {"Content-Type": "text/plain"},
    "form": {"Content-Type": "application/x-www-form-urlencoded"},
    "multipart": {"Content-Type": "multipart/form-data; boundary=" + "x" * 5_000},
    "multipart_without_boundary": {"Content-Type": "multipart/form-data"},
    "utf_16": {"Content-Type": "application/json; charset=utf-16"},
    "unknown_charset": {"Content-Type": "application/json; charset=\xff"},
    "many_parameters": {"Content-Type": "application/json" + "; a=b" * 1_000},
    "no_user_agent": {"User-Agent": None},
    "latin_1": {"X-Odd": "\xff\xfe\x80", "User-Agent": "\xe9"},
    "control": {"X-Odd": "a\x01\x1b[31m"},
    "long": {"X-Odd": "a" * 8_000},
    "many": {f"X-Odd-{number}": "a" for number in range(90)},
    "cookie": {"Cookie": "a=" + '"\\377' * 500 + "; ;;=;"},
    "range": {"Range": "bytes=0-18446744073709551615," * 100},
    "forwarded": {"X-Forwarded-For": "127.0.0.1, ::1", "X-Forwarded-Proto": "gopher", "Forwarded": "for="},
    "host": {"Host": "a b:99999"},
    "host_latin_1": {"Host": "\xff.example"},
    "override": {"X-HTTP-Method-Override": "DELETE"},
    "conditional": {"If-Match": "*", "If-Modified-Since": "0000"},
    "accept": {"Accept": "*/*;q=NaN, " * 200, "Accept-Charset": "utf-7"},
    "identity": {"Content-Encoding": "IDENTITY"},
    "gzip": {"Content-Encoding": "gzip"},
    "two_encodings": {"Content-Encoding": "identity, gzip"},
    "authorization": {"Authorization": "Basic \xff", "Proxy-Authorization": "Bearer"},
    "bad_digest": {"Authorization": 'Digest username="', "WWW-Authenticate": "Digest"},
}
"""None takes a header away. Beside these, each header that a store sends is given every one of `VALUES`."""

VALUES: Mapping[str, str | None] = {
    "missing": None,
    "empty": "",
    "blank": "  ",
    "latin_1": "\xff\xe9\x80",
    "control": "\x01\x02\x7f",
    "long": "a" * 8_000,
    "number": "-1",
    "huge": "9" * 4_000,
    "list": "orders/paid, orders/paid",
    "path": "../../../etc/passwd",
    "upper": "ORDERS/PAID",
    "utf_8": "größe".encode().decode("latin-1"),
    "percent": "%00%ff",
    "html": "<b>orders/paid</b>",
}
