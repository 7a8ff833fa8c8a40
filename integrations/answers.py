"""Reading answers: what the answers of all destinations have in common.

An adapter looks for the vendor's own words first (code before status) and asks here for the rest.
"""

import re
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from integrations.destination import Outcome, Response
from integrations.untrusted import NotJson, load_json, text

MAX_ANSWER = 1_000_000
MAX_DETAIL = 200
MAX_TRACE = 100


def unanswered(response: Response) -> Outcome | None:
    """The outcome of a request that got no answer, None if there is one."""
    if response.fault == "not_sent":
        return Outcome("retry", "not_sent", sentence(response.detail) or "no connection")
    if response.fault == "maybe_sent" or response.status == 0:
        detail = sentence(response.detail) or "the connection broke before an answer"
        return Outcome("retry", "no_answer", detail, ambiguous=True)
    return None


def document(response: Response) -> dict[str, Any] | None:
    """The answer's JSON object, None if it is anything else. Fractions are `untrusted.Number`."""
    if len(response.body) > MAX_ANSWER:
        return None
    try:
        answer = load_json(response.body)
    except NotJson:
        return None
    return answer if isinstance(answer, dict) else None


def by_status(response: Response) -> Outcome:
    """The outcome by HTTP status alone, for an answer without a word that the adapter knows.

    An answer that is no JSON comes from something on the way, and is nobody's verdict on an event: it
    never refuses one, save that the request was too large.
    """
    verdict = _by_status(response)
    return msgspec.structs.replace(
        verdict,
        reason=verdict.reason or f"http_{response.status}",
        retry_after=retry_after(response) if verdict.state == "retry" else None,
    )


def _by_status(response: Response) -> Outcome:
    status = response.status
    if status in _STATUSES:
        return _STATUSES[status]
    if not 400 <= status < 500:
        return _FAMILIES.get(status // 100, _OUT_OF_ORDER)
    if document(response) is None:
        return Outcome("retry", detail="answered by something on the way")
    if status in {401, 403}:
        return Outcome("held", detail="the credentials are not accepted", spent=False)
    return Outcome("refused", detail="refused without a reason that we know", whole=True)


def retry_after(response: Response) -> int | None:
    """Seconds of the Retry-After header (RFC 9110): a number, or a date measured by the answer's own Date."""
    written = response.headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", written):
        return int(written)
    try:
        until = parsedate_to_datetime(written)
        answered = parsedate_to_datetime(response.headers.get("date", ""))
        return max(0, round((until - answered).total_seconds()))
    except (ValueError, TypeError, OverflowError):
        return None


def sentence(words: object) -> str:
    """A vendor's sentence, safe to store and show: one line, bounded, without secrets or personal data.

    Vendors repeat what they were sent. Whatever looks like a token, hash, e-mail address or telephone
    number is replaced by an ellipsis.
    """
    line = " ".join(text(words).split())
    for pattern in _PRIVATE:
        line = pattern.sub("…", line)
    return line if len(line) <= MAX_DETAIL else f"{line[: MAX_DETAIL - 1]}…"


def trace(words: object) -> str:
    """A vendor's own id of the call, ``""`` for anything that is no plain word."""
    word = text(words, MAX_TRACE)
    return word if re.fullmatch(r"[\w.:/+=-]+", word, re.ASCII) else ""


_BUSY = Outcome("retry", detail="busy")
# A gateway (502, 504) may have given up on a request that counted.
_OUT_OF_ORDER = Outcome("retry", detail="out of order", ambiguous=True)
_FAMILIES = {
    2: Outcome("retry", "no_receipt", "answered without the promised receipt", ambiguous=True),
    3: Outcome("retry", detail="a redirect, which is never followed: check the address"),
}
_STATUSES = dict.fromkeys((408, 425, 429, 503), _BUSY) | {
    413: Outcome("refused", detail="the request is too large", whole=True)
}

_PRIVATE = (
    re.compile(r"\S+@\S+"),
    re.compile(r"(?=[A-Za-z_|-]*[0-9])[\w|-]{16,}"),
    re.compile(r"(?=[a-z_-]*[A-Z])(?=[A-Z_-]*[a-z])[A-Za-z_-]{20,}"),
    re.compile(r"\+?[0-9][0-9 ()/-]{6,}[0-9]"),
)
