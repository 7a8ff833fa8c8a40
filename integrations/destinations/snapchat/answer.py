"""What Snapchat answers, as outcomes."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from integrations import answers
from integrations.destination import Outcome, Response, State
from integrations.untrusted import first, record, records


def verdicts(count: int, response: Response) -> list[Outcome]:
    """One outcome per event. A 200 may be a refusal: the word in the body is the verdict."""
    if silence := answers.unanswered(response):
        return [silence] * count
    answer = answers.document(response)
    row = _WORDS.get(first(answer.get("status"))) if answer else None
    if answer is None or row is None or not _judges(response.status):
        return [_unread(answer or {}, response)] * count
    state, meaning = row
    if state == "delivered" and response.status // 100 != 2:
        return [answers.by_status(response)] * count
    named = _named(answer, count)
    rest = Outcome("delivered") if state == "delivered" else _refusal(answer, meaning)
    return [named.get(index) or rest for index in range(count)]


def _judges(status: int) -> bool:
    """Whether an answer of this status speaks of the events, rather than of access, load or failure."""
    return status // 100 == 2 or status in {400, 422}


def _unread(answer: Mapping[str, Any], response: Response) -> Outcome:
    """By status alone, with Snapchat's sentence if there is one."""
    outcome, said = answers.by_status(response), answers.sentence(answer.get("reason"))
    return msgspec.structs.replace(outcome, detail=f"{outcome.detail} ({said})" if said else outcome.detail)


def _refusal(answer: Mapping[str, Any], meaning: str, *, whole: bool = True) -> Outcome:
    """The refusal in the words of an answer, or of what it says of one event."""
    errors = record(answer.get("errors"))
    code = _first(errors.get("codes"))
    said = answers.sentence(first(_first(errors.get("error_msgs")), answer.get("reason")))
    word = code if re.fullmatch(r"[A-Z][A-Z0-9_]{2,60}", code) else "INVALID"
    return Outcome("refused", word, f"{meaning} ({said})" if said else meaning, whole=whole)


def _named(answer: Mapping[str, Any], count: int) -> dict[int, Outcome]:
    """The refusals of the events that the answer names; none if it names one that was not sent.

    Indexes count from 0. Version 3 has ``event`` beside the errors, version 2 ``error_records``, which
    have been seen in answers of version 3 too.
    """
    named = dict(_blamed(answer))
    return named if named.keys() <= set(range(count)) else {}


def _blamed(answer: Mapping[str, Any]) -> Iterator[tuple[int, Outcome]]:
    event = answer.get("event")
    if record(answer.get("errors")) and isinstance(event, int) and not isinstance(event, bool):
        yield event, _refusal(answer, _REFUSED, whole=False)
    for entry in records(answer.get("error_records")):
        indexes = entry.get("record_indexes")
        for index in indexes if isinstance(indexes, list) else []:
            if isinstance(index, int) and not isinstance(index, bool):
                yield index, _refusal(entry, _REFUSED, whole=False)


def _first(values: object) -> str:
    """The first text of a list of texts."""
    return first(*values) if isinstance(values, list) else ""


# EventResponse.status of the OpenAPI document; FAILED is version 2's. With a word that is not here the
# answer is judged by its status: a 200 then was no receipt, and is asked for again.
_REFUSED = "Snapchat does not accept a field of the event"
_WORDS: Mapping[str, tuple[State, str]] = {
    "VALID": ("delivered", ""),
    "INVALID": ("refused", _REFUSED),
    "FAILED": ("refused", _REFUSED),
}
