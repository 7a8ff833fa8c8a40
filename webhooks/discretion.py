"""Discretion: what may be told of anything, in a log or to Sentry.

By allow-list: *facts* are ids, slugs, states and figures under the names of `FACTS`. Text that came from
outside (exception texts, other packages' messages) is scrubbed, and told only where its form is known to
be harmless.
"""

import re
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path

Fact = str | int | float | bool | None

FACTS = frozenset(
    {"store", "shop", "topic", "order", "hook", "hooks", "event", "events", "verdict"}
    | {"destination", "account", "delivery", "deliveries", "attempt", "attempts", "batch", "state", "reason"}
    | {"fault", "status", "trace", "retry_after", "held", "due", "job", "queue", "worker", "workers"}
    | {"component", "process", "pid", "port", "signal", "exit", "command", "variable", "version", "method"}
    | {"kind", "subject", "count", "total", "received", "remaining", "limit", "size", "bytes", "seconds"}
    | {"secret_index"}
)
"""The only names under which a value is logged or sent to Sentry."""

OURS = ("integrations", "webhooks")
WITHHELD = "[withheld]"

strict = False
"""In tests an unknown fact's name raises, in production it is left out."""

_IDENTIFIER = re.compile(r"[A-Za-z0-9#][A-Za-z0-9_.:/#-]{0,99}")


class UnknownFact(TypeError):
    """A fact was reported under a name that is not in `FACTS`."""


def allowed(facts: Mapping[str, Fact]) -> dict[str, Fact]:
    """The facts under known names, each made plain."""
    unknown = sorted(facts.keys() - FACTS)
    if unknown and strict:
        raise UnknownFact(f"not among discretion.FACTS: {', '.join(unknown)}")
    return {name: plain(value) for name, value in facts.items() if name in FACTS}


def plain(value: object) -> Fact:
    """Figures as they are; text only if it looks like an id, a slug or a state."""
    if value is None or isinstance(value, bool | int | float):
        return value
    written = str(value)
    return written if not written or _IDENTIFIER.fullmatch(written) else WITHHELD


# --- scrubbing -------------------------------------------------------------------------------------------

_secrets: set[str] = set()

_TELLTALE = r"[\w-]*(?:token|secret|password|passwd|signature|hmac|api_?key|credential|cookie)[\w-]*"
_PATTERNS = [
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        # Of an address scheme, host and path stay: user, query and fragment hold tokens and e-mails.
        (r"\b([a-z][a-z0-9+.-]*://)(?:[^\s/@]*@)?([^\s?#'\"<>]*)(?:[?#][^\s'\"<>]*)?", r"\1\2"),
        (r"(/[^\s?]*)\?[^\s'\"]+", r"\1"),
        (r"[^\s@<>\"'=,;:/(&]+(?:@|%40)[^\s@<>\"',;:/)&]+", "[e-mail]"),
        (r"\b(bearer|basic)\s+\S+", rf"\1 {WITHHELD}"),
        (rf"\b({_TELLTALE}['\"]?\s*[=:]\s*)['\"]?[^\s'\",;&)}}]+", rf"\1{WITHHELD}"),
        (r"\b\d{1,3}(?:\.\d{1,3}){3}\b", "[ip]"),
        (r"(?<![\w:])(?:[0-9a-f]{0,4}:){3,7}[0-9a-f]{0,4}(?![\w:])", "[ip]"),
        # Keys, tokens and hashes are long and made of letters as well as digits.
        (r"(?=[\w+=|-]*\d)(?=[\w+=|-]*[a-z])[\w+=|-]{20,}", WITHHELD),
        (r"\+?\d(?:[ ()./-]{0,3}\d){8,}", "[number]"),
    )
]


def withhold(secrets: Iterable[str]) -> None:
    """Has `scrub` remove these very texts wherever they appear; for configured secrets."""
    _secrets.update(secret for secret in secrets if len(secret) >= 4)


def scrub(text: str, limit: int = 500) -> str:
    """The text without e-mail addresses, numbers that could be phones, queries, tokens and known secrets.

    A belt for texts of other people's making. It cannot know a name or a street when it sees one, so
    text that may hold them must not be logged at all.
    """
    text = text[: 4 * limit]
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, WITHHELD)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text if len(text) <= limit else f"{text[:limit]}…"


# --- exceptions ------------------------------------------------------------------------------------------

_SYSTEM_ERROR = re.compile(r"\[Errno \d+\] [A-Za-z ,'-]+")

_SPEAKING = frozenset(
    {f"redis.exceptions.{name}Error" for name in ("Connection", "Timeout", "Authentication", "OutOfMemory")}
    | {"sqlalchemy.exc.OperationalError", "sqlalchemy.exc.TimeoutError"}
)
"""Errors of other packages whose first line tells of connections and never quotes a row."""


def told(kind: str, text: str) -> str:
    """What may be told of an exception's text: ours, the system's, and those known not to quote data."""
    if kind.startswith(tuple(f"{package}." for package in OURS)) or kind in _SPEAKING:
        return scrub(text.partition("\n")[0], 300)
    found = _SYSTEM_ERROR.match(text)
    return found.group() if found else ""


def describe(error: BaseException) -> str:
    """The exception as one line for logs: its type always, its text only where that is known to be safe."""
    kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    text = told(kind, str(error))
    return f"{kind}: {text}" if text else kind


def where(error: BaseException) -> list[str]:
    """The places in our own code that the exception passed, outermost first; no values."""
    frames = traceback.extract_tb(error.__traceback__)
    root = Path(__file__).parents[1]
    return [
        f"{path.relative_to(root)}:{frame.lineno} {frame.name}"
        for frame in frames
        if (path := Path(frame.filename)).is_relative_to(root) and path.relative_to(root).parts[0] in OURS
    ]
