"""What a value of a JSON document is, asked without ever raising: the words of the stand-ins' checks."""

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Check = Callable[[Any], bool]


def faults(
    found: Any, known: Mapping[str, Check], required: tuple[str, ...] = ()
) -> Iterator[tuple[str, str]]:
    """What is wrong with an object: a field's name and ``missing``, ``unknown`` or ``unfit``; an object
    that is none at all is ``("", "unfit")``."""
    if not isinstance(found, dict):
        yield "", "unfit"
        return
    yield from ((name, "missing") for name in required if name not in found)
    for name, value in found.items():
        if name not in known:
            yield name, "unknown"
        elif not known[name](value):
            yield name, "unfit"


def is_integer(value: Any) -> bool:
    """True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """An integer or a fraction."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_text(value: Any) -> bool:
    """Text that is not empty."""
    return isinstance(value, str) and value != ""


def is_list(value: Any, fits: Callable[[Any], bool]) -> bool:
    """A list of nothing but what fits."""
    return isinstance(value, list) and all(fits(one) for one in value)


def matches(value: Any, pattern: str) -> bool:
    """Text that has this form from beginning to end."""
    return isinstance(value, str) and re.fullmatch(pattern, value) is not None


def is_hash(value: Any) -> bool:
    """A SHA-256 in lower-case hexadecimal digits."""
    return matches(value, "[0-9a-f]{64}")


def is_page(value: Any) -> bool:
    """An address without query: what follows a question mark may be a key."""
    return matches(value, r"https?://[^\s?#]+")


def is_ip(value: Any) -> bool:
    """An address of the internet protocol, as text."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return isinstance(value, str)
