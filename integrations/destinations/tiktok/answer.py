"""What TikTok answers, as outcomes."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from integrations import answers
from integrations.destination import Outcome, Response, State
from integrations.untrusted import text


def verdicts(count: int, response: Response) -> list[Outcome]:
    """One outcome per event. The code in the body is the verdict; the status is 200 for errors too."""
    if silence := answers.unanswered(response):
        return [silence] * count
    answer = answers.document(response) or {}
    outcome = _verdict(answer, response)
    culprits = _culprits(answer, count) if outcome.state == "refused" else set()
    guilty = msgspec.structs.replace(outcome, whole=False)
    return [guilty if index in culprits else outcome for index in range(count)]


def _verdict(answer: Mapping[str, Any], response: Response) -> Outcome:
    code = answer.get("code")
    trace = answers.trace(answer.get("request_id"))
    if not isinstance(code, int) or isinstance(code, bool) or not 0 <= code < 10**6:
        return msgspec.structs.replace(answers.by_status(response), trace=trace)
    if code == 0 and response.status // 100 == 2:
        return Outcome("delivered", trace=trace)
    row = _WORDS.get(code) or _FAMILIES.get(code // 100)
    said = answers.sentence(answer.get("message"))
    if row is None:
        unknown = answers.by_status(response)
        return msgspec.structs.replace(
            unknown, reason=str(code), detail=f"unknown to us: {said}", trace=trace
        )
    state, meaning = row
    return Outcome(
        state,
        str(code),
        f"{meaning} ({said})" if said else meaning,
        whole=state == "refused" or code == _PARTIAL,
        spent=state != "held",
        ambiguous=code == _PARTIAL or code // 10_000 == 5,
        trace=trace,
        retry_after=answers.retry_after(response) if state == "retry" else None,
    )


def _culprits(answer: Mapping[str, Any], count: int) -> set[int]:
    """Which events the message names (``Batch.0.properties.value: ...``); none if it names a stranger."""
    named = {int(index) for index in _NAMED.findall(text(answer.get("message")))}
    return named if named <= set(range(count)) else set()


_NAMED = re.compile(r"\bBatch\.([0-9]{1,4})\b")

# 20001 comes without a word on which events were taken. In a batch each is sent again until it stands
# alone (the ids are the same, so that TikTok recognises what it has taken, for 48 h); then it is told in
# full what is wrong with it. Alone, "partial" is neither yes nor no, and is asked again later.
_PARTIAL = 20001

# portal/docs?id=1737172488964097, "Return codes", and recorded answers. 40100 has come with 200 and 401.
_WORDS: Mapping[int, tuple[State, str]] = {
    _PARTIAL: ("retry", "TikTok has taken a part of the request, and does not say which"),
    40000: ("refused", "TikTok does not accept a field of the event"),
    40001: ("held", "the access token may not use this pixel"),
    40002: ("refused", "TikTok does not accept a field of the event"),
    40100: ("retry", "TikTok asks for fewer calls"),
    40104: ("held", "the access token is missing"),
    40105: ("held", "TikTok does not accept the access token"),
}
_FAMILIES: Mapping[int, tuple[State, str]] = {
    400: ("refused", "unknown to us, of the codes about a request"),
    401: ("held", "unknown to us, of the codes about access"),
    **dict.fromkeys(range(500, 520), ("retry", "TikTok is out of order")),
}
