"""How the inputs of `fuzz` are made: samples of the stores in which values were replaced, moved, doubled or
taken away, and whose bytes may have suffered besides.
"""

import copy
import itertools
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from hypothesis import strategies as st

from integrations.money import NotMoney
from integrations.store import Incomplete, Malformed, NotAnEvent
from tests import hostile
from tests.contract.samples import Case, cases
from tests.documents import Place, filled_in, mark, name, places

ROOM = 2_000_000
"""Bytes. What is longer is refused unread, which is not the question here."""

CASES = [case for case in cases() if case.expected.verdict != "ping"]
FORMS = sorted({form for forms in (*hostile.VALUES_OF, hostile.ROOTS) for form in forms.values()})
PIECES = [
    b"\x00",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\\u0000",
    b"\\ud800",
    b'"',
    b"{",
    b"]",
    b",",
    b"e9999",
    b"NaN",
    b"-",
]


Chosen = TypeVar("Chosen")


class Mutant(NamedTuple):
    """A body, and the sample that it was made of."""

    case: Case
    body: bytes

    def __repr__(self) -> str:
        return f"{self.case.id} in {len(self.body)} bytes"


# --- where a store looks ------------------------------------------------------------------------------------


def _asked(case: Case) -> frozenset[str]:
    """The names of everything that the store asks this sample for."""
    names = set[str]()

    class Spied(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            names.add(key)
            return super().get(key, default)

        def __getitem__(self, key: str) -> Any:
            names.add(key)
            return super().__getitem__(key)

        def __contains__(self, key: object) -> bool:
            names.add(str(key))
            return super().__contains__(key)

    body = json.loads(case.hook.body, object_pairs_hook=Spied)
    for read in (case.store.map, case.store.refunds):
        with suppress(AttributeError, Incomplete, Malformed, NotAnEvent, NotMoney):
            read(case.hook, body, case.refunding_shop)
    return frozenset(names)


ASKED = {case.id: _asked(case) for case in CASES}
NAMES = sorted(frozenset[str]().union(*ASKED.values()))

Where = tuple[list[Place], list[Place]]


def _look(document: Any, case: Case) -> Where:
    """All places of a document, and those where the store looks, if there are any."""
    asked, found = ASKED[case.id], [place for place, _ in places(document)]
    return found, [place for place in found if name(place) in asked] or found


PLACES = {case.id: _look(json.loads(case.hook.body), case) for case in CASES}
"""Of the samples as they are."""

# --- what is drawn ------------------------------------------------------------------------------------------
# A strategy is made once: to make one and have it looked through takes longer than to draw from it.

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=6,
)
_CASE, _FORM, _NAME = st.sampled_from(CASES), st.sampled_from(FORMS), st.text(max_size=3)
_HOW_MANY, TIMES = st.sampled_from([1, 1, 1, 2, 2, 3, 4, 8]), st.sampled_from([2, 10, 300])
_PIECE = st.sampled_from(PIECES) | st.binary(max_size=8)
_FOUR = st.integers(0, 3)


@lru_cache(1_000)
def _below(count: int) -> st.SearchStrategy[int]:
    return st.integers(0, count - 1)


def _one_of(draw: st.DrawFn, choices: Sequence[Chosen]) -> Chosen:
    return choices[draw(_below(len(choices)))]


# --- how an input is made -----------------------------------------------------------------------------------


class Draft:
    """A document on its way to a body: where its values are, and what its marks stand for."""

    def __init__(self, case: Case) -> None:
        self.case, self.document = case, json.loads(case.hook.body)
        self.forms: list[bytes] = []
        self.places, self._read = PLACES[case.id]

    def look_again(self) -> None:
        """It was changed."""
        self.places, self._read = _look(self.document, self.case)

    def somewhere(self, draw: st.DrawFn) -> Place:
        """Three times in four where the store looks, if there is such a place."""
        return _one_of(draw, self._read if draw(_FOUR) else self.places)

    def holder(self, place: Place) -> Any:
        """What holds the value that stands there."""
        found = self.document
        for step in place[:-1]:
            found = found[step]
        return found


Change = Callable[[st.DrawFn, Draft, Place], None]


def _put_form(draw: st.DrawFn, draft: Draft, place: Place) -> None:
    draft.holder(place)[place[-1]] = mark(len(draft.forms))
    draft.forms.append(draw(_FORM))


def _put_json(draw: st.DrawFn, draft: Draft, place: Place) -> None:
    draft.holder(place)[place[-1]] = draw(_JSON)


def _take_away(_draw: st.DrawFn, draft: Draft, place: Place) -> None:
    del draft.holder(place)[place[-1]]


def _copy_here(draw: st.DrawFn, draft: Draft, place: Place) -> None:
    other = _one_of(draw, draft.places)
    draft.holder(place)[place[-1]] = copy.deepcopy(draft.holder(other)[other[-1]])


def _wrap(draw: st.DrawFn, draft: Draft, place: Place) -> None:
    holder = draft.holder(place)
    value = holder[place[-1]]
    holder[place[-1]] = _one_of(draw, [[value], {"id": value}, [[value, value]], {"": value}])


def repeat(draw: st.DrawFn, draft: Draft, place: Place) -> None:
    """Each is a copy of its own, else a later change would be made in all of them. They end where there is no
    room: repeated repetitions were bodies of 200 MB, of which a hundredth was sent."""
    holder = draft.holder(place)
    value = holder[place[-1]]
    longest = ROOM // max(1, len(filled_in(value, draft.forms)))
    times = min(draw(TIMES), longest + 1)
    if isinstance(value, str):
        holder[place[-1]] = value * times
        return
    copies = json.loads(f"[{','.join([json.dumps(value)] * times)}]")
    holder[place[-1]] = [*itertools.chain(*copies)] if isinstance(value, list) else copies


def _rename(draw: st.DrawFn, draft: Draft, place: Place) -> None:
    holder = draft.holder(place)
    if isinstance(holder, dict):
        other = draw(_NAME) if draw(_FOUR) == 0 else str(_one_of(draw, draft.places)[-1])
        holder[other] = holder.pop(place[-1])


_CHANGES: Sequence[Change] = (
    _put_form,
    _put_form,
    _put_json,
    _take_away,
    _copy_here,
    _wrap,
    repeat,
    _rename,
)


@st.composite
def mutants(draw: st.DrawFn) -> Mutant:
    """A sample with a few changes, and one time in four bytes that may no longer be JSON."""
    draft = Draft(draw(_CASE))
    for number in range(draw(_HOW_MANY)):
        if number:
            draft.look_again()
        if draft.document:
            change = _one_of(draw, _CHANGES)
            change(draw, draft, draft.somewhere(draw))
    body = filled_in(draft.document, draft.forms)
    spoiled = _spoiled(draw, body) if draw(_FOUR) == 3 else body
    return Mutant(draft.case, spoiled[:ROOM])


def _spoiled(draw: st.DrawFn, body: bytes) -> bytes:
    at = draw(_below(len(body) + 1))
    until = _one_of(draw, [at, at + 1, at + 100, len(body)])
    return body[:at] + draw(_PIECE) + body[until:]
