"""Compares what an adapter made with what the data beside a sample says it must be."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

import msgspec


def differences(expected: object, actual: object, path: str = "") -> list[str]:
    """Where ``actual`` is not what was expected, one line each; empty when all is well.

    Of objects only the expected fields are compared, except that ``{}`` demands emptiness and ``null``
    a missing key. Lists are compared whole, amounts by value.
    """
    if isinstance(expected, dict):
        return _fields(expected, actual, path)
    if isinstance(expected, list):
        return _items(expected, actual, path)
    if isinstance(actual, Decimal):
        same = isinstance(expected, str) and Decimal(expected) == actual
        return [] if same else [f"{path}: {expected!r} expected, got {actual}"]
    same = type(expected) is type(actual) and expected == actual
    return [] if same else [f"{path}: {expected!r} expected, got {actual!r}"]


def _fields(expected: Mapping[str, object], actual: object, path: str) -> list[str]:
    if isinstance(actual, msgspec.Struct):
        known = set(actual.__struct_fields__)
        found = {name: getattr(actual, name) for name in known}
        unknown = [f"{path}.{name}: there is no such field" for name in expected.keys() - known]
        if not expected and actual != type(actual)():
            unknown.append(f"{path}: nothing expected, got {actual!r}")
    elif isinstance(actual, Mapping):
        found, unknown = dict(actual), []
        if not expected and actual:
            unknown.append(f"{path}: nothing expected, got {actual!r}")
    else:
        return [f"{path}: an object expected, got {actual!r}"]
    return unknown + [
        line
        for name, value in expected.items()
        for line in differences(value, found.get(name), f"{path}.{name}")
    ]


def _items(expected: Sequence[object], actual: object, path: str) -> list[str]:
    if not isinstance(actual, list | tuple) or len(actual) != len(expected):
        return [f"{path}: {len(expected)} items expected, got {actual!r}"]
    pairs = enumerate(zip(expected, actual, strict=True))
    return [line for number, (want, got) in pairs for line in differences(want, got, f"{path}[{number}]")]
