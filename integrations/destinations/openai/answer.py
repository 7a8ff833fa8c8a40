"""What OpenAI answers, as outcomes."""

from collections.abc import Mapping

import msgspec

from integrations import answers, untrusted
from integrations.destination import Outcome, Response


def verdict(count: int, response: Response) -> Outcome:
    """The receipt counts the events. An error is told in the words of all of OpenAI's interfaces."""
    if silence := answers.unanswered(response):
        return silence
    answer = answers.document(response) or {}
    trace = answers.trace(response.headers.get("x-request-id"))
    accepted = answer.get("accepted_events")
    if response.status // 100 == 2 and accepted == count and not isinstance(accepted, bool):
        return Outcome("delivered", trace=trace)
    error = untrusted.record(answer.get("error"))
    row = _STATUSES.get(response.status) if answer else None
    outcome = row or answers.by_status(response)
    said = answers.sentence(untrusted.first(error.get("message"), answer.get("error"), answer.get("message")))
    return msgspec.structs.replace(
        outcome,
        reason=outcome.reason or f"http_{response.status}",
        detail=f"{outcome.detail} ({said})" if said else outcome.detail,
        trace=trace,
    )


# No page of the documents says so; recorded answers, and the sense of HTTP. Everything else by its status.
_STATUSES: Mapping[int, Outcome] = {
    400: Outcome("refused", detail="OpenAI does not accept the request", whole=True),
    401: Outcome("held", detail="OpenAI does not accept the key: it must be a conversion key", spent=False),
    403: Outcome("held", detail="the key may not send events of this pixel", spent=False),
    404: Outcome("held", detail="there is no such pixel: check its id", spent=False),
    422: Outcome("refused", detail="OpenAI does not accept the request", whole=True),
}
