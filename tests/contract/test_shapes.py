"""A store that says what it reads of a body gets no more built: it must not read anything else."""

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.discovery import stores
from integrations.event import Event
from integrations.money import NotMoney
from integrations.store import Incomplete, Malformed, NotAnEvent
from integrations.untrusted import NotJson, Shape, load_json
from tests.contract import samples
from tests.contract.samples import Case

CASES = [case for case in samples.cases() if case.store.shape and case.expected.verdict != "ping"]

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)


class Watched(dict[str, Any]):
    """An object of a document that notes which of its fields are asked for."""

    def __init__(self, fields: dict[str, Any], path: str, asked: set[str]) -> None:
        super().__init__(fields)
        self.path, self.asked = path, asked

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(f"{self.path}.{name}")
        return super().get(name, default)

    def __getitem__(self, name: str) -> Any:
        self.asked.add(f"{self.path}.{name}")
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self.asked.add(f"{self.path}.{name}")
        return super().__contains__(name)


def watched(node: Any, path: str, asked: set[str]) -> Any:
    if isinstance(node, dict):
        return Watched(
            {name: watched(part, f"{path}.{name}", asked) for name, part in node.items()}, path, asked
        )
    return [watched(part, path, asked) for part in node] if isinstance(node, list) else node


def missing(asked: set[str], fields: Any) -> list[str]:
    """What was asked for and the shape does not have; all is in what it takes as it is."""
    known, whole = set(), []
    for path, is_whole in paths(fields):
        known.add(path)
        whole += [f"{path}."] if is_whole else []
    return sorted(path for path in asked - known if not path.startswith(tuple(whole)))


def paths(fields: Any, path: str = "") -> Iterator[tuple[str, bool]]:
    for name, hint in get_type_hints(fields).items():
        inner = [kind for kind in parts(hint) if hasattr(kind, "__total__")]
        yield f"{path}.{name}", hint is Any or any(kind is Any for kind in parts(hint))
        for kind in inner:
            yield from paths(kind, f"{path}.{name}")


def parts(hint: Any) -> Iterator[Any]:
    """The types of which this one is made."""
    yield hint
    for one in get_args(hint):
        yield from parts(one)


def told(case: Case, body: Any) -> object:
    """The event, or why there is none."""
    try:
        return case.store.map(case.hook, body, case.shop)
    except (Malformed, NotAnEvent, Incomplete, NotMoney) as error:
        return type(error), str(error), vars(error)


@every_case
def test_nothing_is_read_that_the_shape_leaves_out(case: Case) -> None:
    asked: set[str] = set()
    told(case, watched(load_json(case.hook.body), "", asked))
    assert case.store.shape is not None
    assert missing(asked, case.store.shape.fields) == []


@every_case
def test_the_shape_of_a_sample_tells_the_same(case: Case) -> None:
    assert case.store.shape is not None
    shaped = case.store.shape.decode(case.hook.body)
    assert told(case, shaped) == told(case, load_json(case.hook.body))


ODD: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        "",
        "0",
        [],
        {},
        [None],
        [{}],
        [[]],
        "text",
        True,
        0,
        -1,
        10**40,
        1.5,
        {"amount": []},
        "\ud800",
        "\x00",
    ]
)


@settings(deadline=None)
@given(st.sampled_from(CASES), st.data())
def test_odd_fields_tell_the_same(case: Case, data: st.DataObject) -> None:
    """Whatever stands in place of a field, the whole body is read as its shape."""
    document = json.loads(case.hook.body)
    for _ in range(data.draw(st.integers(1, 3))):
        spoil(document, data)
    raw = json.dumps(document).encode()
    assert told(case, load_json(raw, case.store.shape)) == told(case, load_json(raw))


def spoil(node: Any, data: st.DataObject) -> None:
    """Puts something odd in the place of one field, at any depth."""
    while True:
        name = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
        inner = node[name]
        if not inner or not isinstance(inner, dict | list) or data.draw(st.booleans()):
            node[name] = deepcopy(data.draw(ODD))
            return
        node = inner


SHAPE = Shape(dict[str, int])


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a": "\xff"}',
        b'{"\xff": 1}',
        b'{"a": NaN}',
        b'{"a": 01}',
        b'{"a": 1,}',
        b'{"a": 1} x',
        b"\xef\xbb\xbf{}",
        b"",
    ],
)
def test_what_is_no_document_is_none_in_any_shape(raw: bytes) -> None:
    for shape in (SHAPE, *(store.shape for store in stores().values() if store.shape)):
        with pytest.raises(NotJson):
            load_json(raw, shape)


def test_another_shape_is_read_whole() -> None:
    assert load_json(b'{"a": "x"}', SHAPE) == {"a": "x"}
    assert load_json(b"[1]", SHAPE) == [1]


def test_samples_of_sales_are_among_the_cases() -> None:
    assert any(isinstance(told(case, load_json(case.hook.body)), Event) for case in CASES)
