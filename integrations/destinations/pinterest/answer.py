"""What Pinterest answers, as outcomes."""

from collections.abc import Mapping
from typing import Any

from integrations import answers, untrusted
from integrations.destination import Outcome, Response, State


def verdicts(count: int, response: Response) -> list[Outcome]:
    """A status for each event, in their order, with 200 and with 422 alike; else one for all."""
    if silence := answers.unanswered(response):
        return [silence] * count
    answer = answers.document(response) or {}
    events = untrusted.record(answer.get("details")).get("events") or answer.get("events")
    if response.status in {200, 422} and isinstance(events, list) and len(events) == count:
        return [_verdict(untrusted.record(event)) for event in events]
    return [_refusal(answer, response)] * count


def _verdict(event: Mapping[str, Any]) -> Outcome:
    """ConversionEventsResponse.events[]. A word that is not here may have counted the event."""
    said = answers.sentence(event.get("error_message") or event.get("warning_message"))
    match event.get("status"):
        case "processed":
            return Outcome("delivered", detail=said)
        case "failed":
            return Outcome("refused", "failed", said or "Pinterest does not accept the event")
    return Outcome("retry", "unknown_status", said or "neither processed nor failed", ambiguous=True)


def _refusal(answer: Mapping[str, Any], response: Response) -> Outcome:
    """The answer as a whole: by the code of its body, else by its status."""
    word = untrusted.integer(answer.get("code"))
    if response.status == 404 and answer:
        word = response.status
    if word not in _WORDS or response.status // 100 == 2:
        return answers.by_status(response)
    state, meaning = _WORDS[word]
    said = answers.sentence(answer.get("message"))
    return Outcome(
        state,
        str(word),
        f"{meaning} ({said})" if said else meaning,
        whole=state == "refused",  # Pinterest does not say which event
        spent=state != "held",
        retry_after=answers.retry_after(response) if state == "retry" else None,
    )


# docs/api/v5/events-create, "Responses": the code of the body. Of 404 only the status is known.
_WORDS: Mapping[int, tuple[State, str]] = {
    2: ("held", "Pinterest does not accept the access token"),
    8: ("retry", "Pinterest asks for fewer calls"),
    29: ("held", "the access token may not use this ad account"),
    404: ("held", "there is no such ad account: check its id"),
    4196: ("refused", "Pinterest does not accept the request"),
    4197: ("retry", "Pinterest is out of order"),
}
