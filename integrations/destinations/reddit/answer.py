"""What Reddit answers, as outcomes."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from integrations import answers, untrusted
from integrations.destination import Outcome, Response, State


def verdicts(count: int, response: Response) -> list[Outcome]:
    """All events are processed or none; the reasons name the culprits."""
    if silence := answers.unanswered(response):
        return [silence] * count
    answer = answers.document(response) or {}
    error = untrusted.record(answer.get("error"))
    outcome = _verdict(count, answer, error, response)
    guilty = _culprits(error, count) if outcome.whole else {}
    return [guilty.get(index, outcome) for index in range(count)]


def _verdict(count: int, answer: Mapping[str, Any], error: Mapping[str, Any], response: Response) -> Outcome:
    if not error and response.status // 100 == 2 and _processed(answer) == count:
        return Outcome("delivered")
    row = _STATUSES.get(response.status) if error else None
    verdict = row or answers.by_status(response)
    said = answers.sentence(error.get("message"))
    return msgspec.structs.replace(
        verdict,
        reason=verdict.reason or f"http_{response.status}",
        detail=f"{verdict.detail} ({said})" if said else verdict.detail,
    )


def _processed(answer: Mapping[str, Any]) -> int:
    """How many events the receipt counts; -1 if it is none."""
    receipt = _RECEIPT.search(untrusted.text(untrusted.record(answer.get("data")).get("message")))
    return int(receipt[1]) if receipt else -1


def _culprits(error: Mapping[str, Any], count: int) -> dict[int, Outcome]:
    """The outcome of each event that the answer names, if it names as many as it says are invalid."""
    said = _INVALID.match(untrusted.text(error.get("message")))
    named: dict[int, Outcome] = {}
    for field in untrusted.records(error.get("fields")):
        if place := _PLACE.match(untrusted.text(field.get("field"))):
            named.setdefault(int(place["index"]), _guilty(place["path"], field.get("message")))
    complete = said is not None and int(said[1]) == len(named) and max(named, default=0) < count
    return named if complete else {}


def _guilty(path: str, message: object) -> Outcome:
    said = answers.sentence(message)
    old = path == "event_at" and "old" in said
    state: State = "expired" if old else "refused"
    return Outcome(state, f"invalid/{path.lower()}", f"Reddit does not accept {path} ({said})")


_RECEIPT = re.compile(r"\bprocessed ([0-9]{1,4})\b", re.ASCII)
_INVALID = re.compile(r"There were ([0-9]{1,4}) invalid conversion events", re.ASCII)
_PLACE = re.compile(r"\$\.data\.events\[(?P<index>[0-9]{1,3})\]\.(?P<path>[A-Za-z0-9_.\[\]]{1,60})", re.ASCII)

# docs/v3, "Error handling". Everything else by its status.
_STATUSES: Mapping[int, Outcome] = {
    400: Outcome("refused", detail="Reddit does not accept the request", whole=True),
    401: Outcome("held", detail="Reddit does not accept the access token", spent=False),
    403: Outcome("held", detail="the access token may not use this pixel", spent=False),
    404: Outcome("held", detail="there is no such pixel: check its id", spent=False),
}
