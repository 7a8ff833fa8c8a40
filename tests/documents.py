"""JSON documents as trees: where their values are, and the same document with others in their place."""

import copy
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

Place = tuple[str | int, ...]
"""The keys and indices that lead to a value."""


def places(document: object, at: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every value with its place, a container before what it holds."""
    if at:
        yield at, document
    if isinstance(document, dict):
        for key, value in document.items():
            yield from places(value, (*at, key))
    elif isinstance(document, list):
        for index, value in enumerate(document):
            yield from places(value, (*at, index))


def leaves(document: object) -> Iterator[tuple[Place, Any]]:
    """The values that hold no others; an empty container is one."""
    return (
        (place, value) for place, value in places(document) if not value or not isinstance(value, dict | list)
    )


def name(place: Place) -> str:
    """What the value is called: the last key on the way to it."""
    return next((step for step in reversed(place) if isinstance(step, str)), "")


def replaced(document: Any, changes: Mapping[Place, Any]) -> Any:
    """A copy with other values at these places."""
    changed = copy.deepcopy(document)
    for place, value in changes.items():
        holder = changed
        for step in place[:-1]:
            holder = holder[step]
        holder[place[-1]] = value
    return changed


def mark(number: int) -> str:
    """A text that stands for the number-th of the forms which `filled_in` puts in its place."""
    return f"\x02{number}\x03"  # nothing else is written like this


def filled_in(document: Any, forms: Sequence[bytes]) -> bytes:
    """The document as JSON, with a piece of text, which need not be JSON, in the place of each mark."""
    raw = json.dumps(document).encode()
    for number, form in enumerate(forms):
        raw = raw.replace(json.dumps(mark(number)).encode(), form)
    return raw


def written(document: Any, at: Iterable[Place], form: bytes) -> bytes:
    """The document as JSON, with the form at each of these places."""
    return filled_in(replaced(document, dict.fromkeys(at, mark(0))), [form])


def without(document: Any, place: Place) -> Any:
    """A copy in which nothing stands at that place."""
    changed = copy.deepcopy(document)
    holder = changed
    for step in place[:-1]:
        holder = holder[step]
    del holder[place[-1]]
    return changed


def sparse(document: Any, is_enough: Callable[[Any], bool]) -> Any:
    """What is left when everything is taken away that may be missing, of two that may stand for each other
    the first."""
    for place, _ in reversed([*places(document)]):
        less = without(document, place)
        if is_enough(less):
            document = less
    return document
