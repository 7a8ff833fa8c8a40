"""What Google answers, as outcomes: to events, and later to the question what became of them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from integrations import answers
from integrations.destination import Outcome, Response, State
from integrations.untrusted import integer, record, records, text


class Violation(msgspec.Struct, frozen=True):
    """One field that Google does not accept. ``event`` is the index of its event, None for another place."""

    field: str
    word: str
    said: str
    event: int | None


def verdicts(count: int, response: Response) -> list[Outcome]:
    """One outcome per event. One bad field refuses the whole request, and its path names the event."""
    if silence := answers.unanswered(response):
        return [silence] * count
    answer = answers.document(response) or {}
    if isinstance(error := answer.get("error"), dict):
        return _refusal(count, error, response)
    trace = answers.trace(answer.get("requestId"))
    if response.status // 100 == 2 and trace:
        return _accepted(count, answer, trace)
    return [answers.by_status(response)] * count


def checked(response: Response) -> Outcome:
    """The outcome of a request with ``validateOnly``, which is answered without a receipt."""
    answer = answers.document(response)
    if response.status == 200 and answer is not None and "error" not in answer:
        return Outcome("delivered", detail="credentials, account and conversion action are accepted")
    [outcome] = verdicts(1, response)
    return outcome


def confirmed(response: Response) -> Outcome:
    """devguides/diagnostics: what became of a request. Anything but an answer to that is asked again."""
    if silence := answers.unanswered(response):
        return silence
    answer = answers.document(response) or {}
    found = records(answer.get("requestStatusPerDestination"))
    statuses = {text(one.get("requestStatus")) for one in found}
    if response.status != 200 or not statuses or not statuses <= _FINISHED:
        word = ", ".join(sorted(statuses - _FINISHED)) or f"http_{response.status}"
        return Outcome("retry", answers.trace(word), "Google has not finished")
    failed = dict(_failed(found))
    if statuses == {"SUCCESS"} or (failed and failed.keys() <= _COUNTED):
        return Outcome("delivered")
    return _unprocessed(statuses, failed, _sent(found))


# --- an answer to events ---------------------------------------------------------------------------------


def _accepted(count: int, answer: Mapping[str, Any], trace: str) -> list[Outcome]:
    """Accepted for processing. Since release 1.8 a field that Google ignores is warned of."""
    warnings: dict[int, str] = {}
    for one in records(answer.get("fieldWarnings")):
        index = _index(text(one.get("field")))
        if index is not None:
            warnings.setdefault(index, answers.sentence(one.get("reason")))
    return [Outcome("delivered", detail=warnings.get(index, ""), trace=trace) for index in range(count)]


def _refusal(count: int, error: Mapping[str, Any], response: Response) -> list[Outcome]:
    details = records(error.get("details"))
    trace = next((found for one in details if (found := answers.trace(one.get("requestId")))), "")
    violations = list(_violations(details, _reason(details)))
    general = _general(error, details, violations, response)
    general = msgspec.structs.replace(general, trace=trace)
    named = {one.event: one for one in reversed(violations) if one.event is not None}
    if general.state != "refused" or not named.keys() <= set(range(count)):
        return [general] * count
    return [
        _blamed(named[index], trace) if index in named else msgspec.structs.replace(general, whole=True)
        for index in range(count)
    ]


def _general(
    error: Mapping[str, Any],
    details: Sequence[Mapping[str, Any]],
    violations: Sequence[Violation],
    response: Response,
) -> Outcome:
    """The verdict on the request. A violation outside of the events is about the settings of the account."""
    words = [_reason(details), answers.trace(error.get("status"))]
    blamed = [one.word for one in violations if _ROWS.get(one.word, _FIELD)[0] != "refused"]
    settings = [one.word for one in violations if one.field.startswith("destinations")]
    for word in (*blamed, *settings, *words):
        row = _SETTINGS if word in settings and word not in blamed else _ROWS.get(word)
        if row is not None:
            return _outcome(row, word, error, response)
    unknown = answers.by_status(response)
    said = answers.sentence(error.get("message"))
    return msgspec.structs.replace(
        unknown, reason=next(filter(None, words), unknown.reason), detail=f"unknown to us: {said}"
    )


def _outcome(row: tuple[State, str], word: str, error: Mapping[str, Any], response: Response) -> Outcome:
    state, meaning = row
    said = answers.sentence(error.get("message"))
    return Outcome(
        state,
        word,
        f"{meaning} ({said})" if said else meaning,
        whole=state == "refused",
        spent=state != "held",
        ambiguous=state == "retry" and response.status >= 500,
        retry_after=answers.retry_after(response) if state == "retry" else None,
    )


def _blamed(violation: Violation, trace: str) -> Outcome:
    """The verdict on an event that Google names."""
    meaning = _ROWS.get(violation.word, _FIELD)[1]
    told = ": ".join(filter(None, (meaning, violation.field, violation.said)))
    return Outcome("refused", violation.word, answers.sentence(told), trace=trace)


def _violations(details: Sequence[Mapping[str, Any]], general: str) -> Iterator[Violation]:
    for one in details:
        for violation in records(one.get("fieldViolations")):
            field = text(violation.get("field"), 300)
            word = answers.trace(violation.get("reason")) or general or "INVALID_ARGUMENT"
            yield Violation(field, word, text(violation.get("description")), _index(field))


def _reason(details: Sequence[Mapping[str, Any]]) -> str:
    """The word of google.rpc.ErrorInfo."""
    return next((word for one in details if (word := answers.trace(one.get("reason")))), "")


def _index(field: str) -> int | None:
    found = _EVENT.search(field)
    return int(found[1]) if found else None


# events[3].user_data..., and with the name of the collection before it: events.events[3]...
_EVENT = re.compile(r"\bevents\[([0-9]{1,4})\]")

# reference/rest/v1/ErrorReason, google.rpc.Code, and for what stands before the API (credentials, quota)
# cloud.google.com/apis/design/errors. A word that is not here is judged by the status of its answer.
_BUSY: tuple[State, str] = ("retry", "Google is out of order")
_FEWER: tuple[State, str] = ("retry", "Google asks for fewer calls")
_FIELD: tuple[State, str] = ("refused", "Google does not accept a field of the event")
_TOKEN: tuple[State, str] = ("held", "Google does not accept the access token")
_RIGHTS: tuple[State, str] = ("held", "these credentials may not write to the account, or it does not exist")
_SETTINGS: tuple[State, str] = ("held", "the account or conversion action in the settings is not accepted")
_TERMS: tuple[State, str] = ("held", "the terms for customer data are not accepted in the Ads account")
_ROWS: Mapping[str, tuple[State, str]] = {
    **dict.fromkeys(("INTERNAL_ERROR", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "UNKNOWN"), _BUSY),
    **dict.fromkeys(("ABORTED", "CANCELLED"), _BUSY),
    **dict.fromkeys(("RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED"), _FEWER),
    "CONVERSION_ACTION_TOO_RECENTLY_CREATED": ("retry", "the conversion action is too new: it takes hours"),
    **dict.fromkeys(
        ("UNAUTHENTICATED", "ACCESS_TOKEN_EXPIRED", "ACCESS_TOKEN_TYPE_UNSUPPORTED", "CREDENTIALS_MISSING"),
        _TOKEN,
    ),
    **dict.fromkeys(("PERMISSION_DENIED", "NOT_FOUND", "USER_PROJECT_DENIED", "CONSUMER_INVALID"), _RIGHTS),
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT": ("held", "the credentials do not allow the Data Manager API"),
    "SERVICE_DISABLED": ("held", "the Data Manager API is not enabled in the Cloud project"),
    **dict.fromkeys(
        ("TERMS_AND_CONDITIONS_NOT_SIGNED", "DESTINATION_ACCOUNT_ENHANCED_CONVERSIONS_TERMS_NOT_SIGNED"),
        _TERMS,
    ),
    "DESTINATION_ACCOUNT_DATA_POLICY_PROHIBITS_ENHANCED_CONVERSIONS": (
        "held",
        "Google's policy does not let this Ads account send customer data",
    ),
    **dict.fromkeys(
        (
            *("INVALID_CONVERSION_ACTION_ID", "INVALID_CONVERSION_ACTION_TYPE", "INVALID_DESTINATION"),
            *("OPERATING_ACCOUNT_LOGIN_ACCOUNT_MISMATCH", "DESTINATION_ACCOUNT_TYPE_MISMATCH"),
            *("EVENT_SOURCE_AND_DESTINATION_MISMATCH", "INVALID_MERCHANT_ID"),
            *("INVALID_MERCHANT_FEED_LANGUAGE_CODE", "REQUIRED_PREREQUISITE_LINK_MISSING"),
        ),
        _SETTINGS,
    ),
    "NOT_ALLOWLISTED": ("held", "Google has not opened this for the Ads account"),
    **dict.fromkeys(
        (
            *("REQUIRED_FIELD_MISSING", "INVALID_FORMAT", "INVALID_HEX_ENCODING", "INVALID_SHA256_FORMAT"),
            *("INVALID_CURRENCY_CODE", "INVALID_POSTAL_CODE", "INVALID_REGION_CODE", "INVALID_EVENT"),
            *("INVALID_COUNTRY_CODE", "INVALID_ENUM_VALUE", "INVALID_NUMBER_FORMAT", "EVENT_TIME_INVALID"),
            *("TOO_MANY_USER_IDENTIFIERS", "FIELD_VALUE_TOO_LONG", "FIELD_VALUE_TOO_SHORT"),
            *("INVALID_AD_IDENTIFIER_FOR_ACCOUNT", "INVALID_ARGUMENT"),
        ),
        _FIELD,
    ),
    "NO_IDENTIFIERS_PROVIDED": ("refused", "the order tells too little of its buyer for Google to match"),
    "TOO_MANY_EVENTS": ("refused", "too many events in one request"),
}

# --- what became of a request ----------------------------------------------------------------------------

_FINISHED = frozenset({"SUCCESS", "FAILED", "PARTIAL_SUCCESS"})
_COUNTED = frozenset({"DUPLICATE_TRANSACTION_ID"})  # the conversion was there already: sent twice, kept once
_PREFIX = "PROCESSING_ERROR_REASON_"


def _failed(found: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, int]]:
    """Google's words for what went wrong, and how many events each struck."""
    for one in found:
        for error in records(record(one.get("errorInfo")).get("errorCounts")):
            word = answers.trace(error.get("reason")).removeprefix(_PREFIX)
            yield word or "UNSPECIFIED", integer(error.get("recordCount"))


def _sent(found: Sequence[Mapping[str, Any]]) -> int:
    counts = (integer(record(one.get("eventsIngestionStatus")).get("recordCount")) for one in found)
    return max(counts, default=0)


def _unprocessed(statuses: set[str], failed: Mapping[str, int], sent: int) -> Outcome:
    """Only counts are known, not which events of the request they are."""
    words = sorted(failed.keys() - _COUNTED, key=lambda word: (-failed[word], word))
    word = words[0] if words else "UNSPECIFIED"
    counts = ", ".join(f"{one} ({failed[one]})" for one in words[:5])
    return Outcome(
        "refused",
        word if statuses == {"FAILED"} else f"PARTIAL_SUCCESS/{word}",
        answers.sentence(f"of {sent} accepted events Google could not process: {counts or 'some'}"),
    )
