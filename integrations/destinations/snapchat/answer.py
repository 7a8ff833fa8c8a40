"""What Snapchat answers, as outcomes."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from integrations import answers
from integrations.destination import Outcome, Response, State
from integrations.untrusted import first, record, records


def verdicts(count: int, response: Response) -> list[Outcome]:
    """One verdict, for each of the events: which of them an error is about cannot be told.

    Version 3 has ``event`` beside the errors, version 2 ``error_records`` with indexes, which have been seen
    in answers of version 3 too. Nowhere is it said whether these count from 0 or from 1, and refusing the
    neighbour of a bad event would lose an order.
    """
    if silence := answers.unanswered(response):
        return [silence] * count
    return [_verdict(count, answers.document(response) or {}, response)] * count


def _verdict(count: int, answer: Mapping[str, Any], response: Response) -> Outcome:
    """A 200 may be a refusal: the word in the body is the verdict."""
    row = _WORDS.get(first(answer.get("status")))
    if row is None or not _judges(response.status):
        return _unread(answer, response)
    state, meaning = row
    if state == "delivered" and response.status // 100 != 2:
        return answers.by_status(response)
    faults = [*filter(None, (record(answer.get("errors")), *records(answer.get("error_records"))))]
    if state == "delivered" and not faults:
        return Outcome("delivered")
    if state == "delivered" and count > 1:
        return Outcome("retry", "PARTIAL", _PARTIAL, whole=True, ambiguous=True)
    return _refusal(faults, answer, meaning or _REFUSED)


def _judges(status: int) -> bool:
    """Whether an answer of this status speaks of the events, rather than of access, load or failure."""
    return status // 100 == 2 or status in {400, 422}


def _unread(answer: Mapping[str, Any], response: Response) -> Outcome:
    """By status alone, with Snapchat's sentence if there is one."""
    outcome, said = answers.by_status(response), answers.sentence(answer.get("reason"))
    return msgspec.structs.replace(outcome, detail=f"{outcome.detail} ({said})" if said else outcome.detail)


def _refusal(faults: Sequence[Mapping[str, Any]], answer: Mapping[str, Any], meaning: str) -> Outcome:
    """The refusal in the words of the first fault."""
    fault = faults[0] if faults else {}
    code = _first(fault.get("codes"))
    said = answers.sentence(first(_first(fault.get("error_msgs")), fault.get("reason"), answer.get("reason")))
    word = code if re.fullmatch(r"[A-Z][A-Z0-9_]{2,60}", code) else "INVALID"
    return Outcome("refused", word, f"{meaning} ({said})" if said else meaning, whole=True)


def _first(values: object) -> str:
    """The first text of a list of texts."""
    return first(*values) if isinstance(values, list) else ""


# EventResponse.status of the OpenAPI document; FAILED is version 2's. With a word that is not here the
# answer is judged by its status: a 200 then was no receipt, and is asked for again.
_REFUSED = "Snapchat does not accept a field of the event"
_PARTIAL = "Snapchat has taken a part of the request, and it cannot be told which"
_WORDS: Mapping[str, tuple[State, str]] = {
    "VALID": ("delivered", ""),
    "INVALID": ("refused", _REFUSED),
    "FAILED": ("refused", _REFUSED),
}
