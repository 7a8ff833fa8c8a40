"""Who may say what the shopper allowed, and what comes of several of them: rows of data, and anything odd."""

from itertools import product
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations import consent
from integrations.consent import PURPOSES, STATE, from_attributes, later
from integrations.event import Consent, ConsentState

DATA = Path(__file__).parents[1] / "data" / "consent"


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is attached to an order, and the answer that it is."""

    id: str
    source: str
    raw: dict[str, str]
    expect: dict[str, ConsentState]
    at: int | None = None


ROWS = msgspec.json.decode((DATA / "sources.json").read_bytes(), type=list[Row])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id.replace(" ", "_"))
def test_what_a_source_says(row: Row) -> None:
    assert from_attributes(row.raw) == Consent(**row.expect, source=row.source, at=row.at)


def test_every_source_and_name_is_tried() -> None:
    tried = {row.source for row in ROWS}
    assert tried >= {*consent.SOURCES, ""}
    unknown = {name for row in ROWS for name in row.raw} - {*consent.names()}
    assert unknown == {"buyer_accepts_marketing", "accepts_marketing"}


def test_the_time_of_the_iabs_own_example() -> None:
    """It says 2021-02-02T17:01:00Z, as every library of the IAB reads it."""
    assert from_attributes({"tcf": "COtybn4PA_zT4KjACBENAPCIAEBAAECAAIAAAAAAAAAA"}).at == 1_612_285_260_000


# --- hostile text ----------------------------------------------------------------------------------------

_ALPHABET = st.characters() | st.sampled_from('{}[]":;,=&%.-_0123456789CPxtrue')
_PIECES = [*PURPOSES, "granted", "denied", "marketing:true", "groups=C0004:1", "source=tcf", '{"con":{"CMP":']
odd = st.text(_ALPHABET, max_size=300) | st.lists(st.sampled_from(_PIECES) | st.text(max_size=9)).map("".join)
known = st.sampled_from([value for row in ROWS for value in row.raw.values()])


@given(st.dictionaries(st.sampled_from([*consent.names()]), odd | known, max_size=6))
def test_no_text_of_a_stranger_raises(attributes: dict[str, str]) -> None:
    found = from_attributes(attributes)
    assert {getattr(found, name) for name in PURPOSES} <= {*get_args(ConsentState)}
    assert (
        found.source in {"", *consent.SOURCES}
        or found.source.removeprefix("order attribute ") in consent.NAMES
    )
    assert found.at is None or 0 <= found.at < 2**63
    assert bool(found.source) is any(getattr(found, name) for name in PURPOSES)


@given(st.text(max_size=60))
def test_a_name_that_is_shown_is_ours(source: str) -> None:
    found = from_attributes({STATE[0]: f"ad_storage=denied;source={source}"})
    assert found.source in consent.SOURCES


# --- one after the other ---------------------------------------------------------------------------------

NOBODY = Consent()
YES, NO = (Consent(ad_storage=word, ad_user_data=word, ad_personalization=word, source="tcf", at=1_000)
           for word in ("granted", "denied"))  # fmt: skip


def at(consent: Consent, when: int | None, source: str = "tcf") -> Consent:
    return msgspec.structs.replace(consent, at=when, source=source)


EXPLICIT = "order attribute marketing_consent"


@pytest.mark.parametrize(
    ("old", "new", "is_taken"),
    [
        pytest.param(NOBODY, YES, True, id="yes where nobody had said anything"),
        pytest.param(NOBODY, at(YES, 1), True, id="also an older one"),
        pytest.param(NO, at(YES, 2_000), True, id="later yes"),
        pytest.param(YES, at(NO, 2_000), True, id="later no"),
        pytest.param(NO, at(YES, 500), False, id="yes from before the no"),
        pytest.param(YES, at(NO, 500), False, id="no from before the yes"),
        pytest.param(YES, NOBODY, False, id="silence"),
        pytest.param(at(NO, 1_000, EXPLICIT), at(YES, 2_000), False, id="yes of somebody less trusted"),
        pytest.param(at(YES, 1_000, EXPLICIT), at(NO, 2_000), True, id="no of somebody less trusted"),
        pytest.param(NO, at(YES, 2_000, EXPLICIT), True, id="yes of somebody more trusted"),
        pytest.param(at(NO, None), at(YES, None), True, id="without times the one heard later"),
        pytest.param(NO, at(YES, 10**15), True, id="time in the future"),
    ],
)
def test_the_later_answer_counts(old: Consent, new: Consent, is_taken: bool) -> None:
    found = later(old, 3_000, new, 4_000)
    assert found == (at(new, found.at, new.source) if is_taken else old)
    assert found.at is None or found.at <= 4_000


def test_an_answer_keeps_what_the_new_one_leaves_open() -> None:
    half = Consent(ad_personalization="denied", source="shopify", at=2_000)
    found = later(YES, 3_000, half, 4_000)
    assert (found.ad_storage, found.ad_personalization, found.source) == ("granted", "denied", "shopify")


@pytest.mark.parametrize(("first", "second"), [*product((YES, NO), repeat=2)])
def test_the_order_of_arrival_does_not_matter(first: Consent, second: Consent) -> None:
    """Hooks overtake each other; what counts is when the shopper said it."""
    early, late = at(first, 1_000), at(second, 2_000)
    one, other = later(early, 3_000, late, 4_000), later(late, 3_000, early, 4_000)
    assert [getattr(one, name) for name in PURPOSES] == [getattr(other, name) for name in PURPOSES]
