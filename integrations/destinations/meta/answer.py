"""What Meta answers, as outcomes."""

from collections.abc import Mapping
from typing import Any

import msgspec

from integrations import answers
from integrations.destination import Outcome, Response, State
from integrations.untrusted import integer


def verdict(count: int, response: Response) -> Outcome:
    """The outcome of a request with ``count`` events, true of each of them."""
    if silence := answers.unanswered(response):
        return silence
    answer = answers.document(response) or {}
    trace = answers.trace(answer.get("fbtrace_id"))
    if isinstance(error := answer.get("error"), dict):
        return _refusal(error, response)
    received = answer.get("events_received")
    if response.status // 100 == 2 and received == count and not isinstance(received, bool):
        warning = answers.sentence(response.headers.get("x-ad-api-version-warning"))
        return Outcome("delivered", detail=warning, trace=trace)
    return msgspec.structs.replace(answers.by_status(response), trace=trace)


def _refusal(error: Mapping[str, Any], response: Response) -> Outcome:
    """Code before status: a token's error has been seen with 400, 401 and 500. User texts are localised."""
    code, subcode = integer(error.get("code")), integer(error.get("error_subcode"))
    word = f"{code}/{subcode}" if subcode else str(code)
    said = answers.sentence(error.get("message"))
    trace = answers.trace(error.get("fbtrace_id"))
    row = _LATER if error.get("is_transient") is True else _row(code, subcode)
    if row is None:
        unknown = answers.by_status(response)
        return msgspec.structs.replace(unknown, reason=word, detail=f"unknown to us: {said}", trace=trace)
    state, meaning = row
    return Outcome(
        state,
        word,
        f"{meaning} ({said})" if said else meaning,
        whole=state in {"refused", "expired"},  # Meta does not say which event
        spent=state != "held",
        trace=trace,
        retry_after=answers.retry_after(response) if state == "retry" else None,
    )


def _row(code: int, subcode: int) -> tuple[State, str] | None:
    for word in ((code, subcode), (_ANY, subcode), (code, _ANY)):
        if word in _WORDS:
            return _WORDS[word]
    return None


# developers.facebook.com/docs/graph-api/guides/error-handling, .../marketing-api/error-reference and
# recorded answers: (code, subcode). A word that is not here is judged by the status of its answer.
_ANY = -1
_LATER: tuple[State, str] = ("retry", "Meta is busy or out of order")
_FEWER: tuple[State, str] = ("retry", "Meta asks for fewer calls")
_RIGHTS: tuple[State, str] = ("held", "the access token lacks a permission for this dataset")
_FIELD: tuple[State, str] = ("refused", "Meta does not accept a field of the event")
_WORDS: Mapping[tuple[int, int], tuple[State, str]] = {
    **{(_ANY, subcode): _LATER for subcode in (2446079, 1487742, 5044001, 1504022, 1504039)},
    (_ANY, 2804003): ("expired", "an event is older than Meta takes"),
    (_ANY, 2804009): ("refused", "a purchase needs a value and a currency"),
    (_ANY, 2804050): ("refused", "the order tells too little of its buyer for Meta to match"),
    **{(_ANY, 2_804_000 + rest): _FIELD for rest in (1, 7, 16, 17, 19, 43, 48, 63, 66, 87, 116, 118, 132)},
    **{(code, _ANY): _LATER for code in (1, 2, 5000, 21009)},  # 21009: the dataset is not ready yet
    **{(code, _ANY): _FEWER for code in (4, 17, 341, 368, 613, *range(80000, 80015))},
    **{(code, _ANY): ("held", "Meta does not accept the access token") for code in (190, 102)},
    (2635, _ANY): ("held", "this version of the API is gone: set a newer one"),
    (104, _ANY): ("held", "the app demands a proof with every call: set its secret"),
    (100, 33): ("held", "the dataset does not exist, or the access token may not use it"),
    **{(code, _ANY): _RIGHTS for code in (3, 10, *range(200, 300))},
    (100, _ANY): _FIELD,
}
