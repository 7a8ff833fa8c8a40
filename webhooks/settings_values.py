"""Reads one written value of a setting. `BadValue` says what it must be and never repeats what it is."""

import base64
import hashlib
import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, urlsplit

from integrations.event import BadTemplate, check_event_id, check_item_id
from integrations.setting import Secret, Setting, Value
from integrations.untrusted import moment

SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
SHORTEST_SECRET = 8
SHORTEST_KEY = 32
LONGEST_WAIT = 7 * 86_400

_BOOLS = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


class BadValue(ValueError):
    """The rest of a sentence that begins with the setting's name: "must be …"."""


class Findings:
    """What is wrong (`problems`, the relay does not start) and what is odd (`warnings`), in order."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def judge(self, sentence: str, *, fatal: bool) -> None:
        """A problem, or only a warning where that is good enough."""
        (self.problems if fatal else self.warnings).append(sentence)


def hint(written: str, known: Iterable[str]) -> str:
    """`` (did you mean …?)`` when something known is spelled alike, else nothing."""
    alike = get_close_matches(written, list(known), 1, 0.7)
    return f" (did you mean {alike[0]}?)" if alike else ""


def boolean(written: str) -> bool:
    """true, yes, on, 1 or false, no, off, 0."""
    try:
        return _BOOLS[written.lower()]
    except KeyError:
        raise BadValue("must be yes or no") from None


def integer(written: str, low: int, high: int) -> int:
    """A whole number within bounds."""
    if not re.fullmatch(r"-?[0-9]{1,12}", written) or not low <= int(written) <= high:
        raise BadValue(f"must be a whole number from {low} to {high}")
    return int(written)


def seconds(written: str, low: float, high: float) -> float:
    """Seconds, with a fraction or not, within bounds."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", written) or not low <= float(written) <= high:
        raise BadValue(f"must be a number of seconds from {low:g} to {high:g}")
    return float(written)


def schedule(written: str) -> tuple[float, ...]:
    """Waits between the tries of a delivery, in seconds."""
    try:
        waits = tuple(seconds(piece, 0, LONGEST_WAIT) for piece in pieces(written))
    except BadValue:
        waits = ()
    if not 1 <= len(waits) <= 100:
        raise BadValue("must be seconds separated by commas, like 30,120,600, each at most 7 days")
    if waits[-1] == 0:
        raise BadValue("must not end with 0: the last wait repeats, without a pause")
    return waits


def choice(written: str, choices: tuple[str, ...]) -> str:
    """One of the words, in whatever case."""
    for word in choices:
        if word.lower() == written.lower():
            return word
    raise BadValue(f"must be {' or '.join(filter(None, choices))}{hint(written.lower(), choices)}")


def pieces(written: str) -> tuple[str, ...]:
    """The trimmed texts between commas; blank ones do not count."""
    return tuple(piece.strip() for piece in written.split(",") if piece.strip())


def printable(written: str) -> str:
    """Text without line breaks, other control characters or bytes that are no UTF-8."""
    if not written.isprintable():
        raise BadValue("holds a line break or another character that cannot be printed")
    return written


def slug(written: str) -> str:
    """What may stand in the address of a webhook."""
    if not SLUG.fullmatch(written):
        raise BadValue("must be up to 40 lower-case letters, digits and hyphens, like acme-de")
    return written


def directory(written: str) -> Path:
    """An absolute path; a relative one starts at the working directory."""
    if "?" in written:
        raise BadValue("must not hold a question mark: in a database's address it ends the path")
    try:
        return Path.cwd() / Path(printable(written)).expanduser()
    except RuntimeError:
        raise BadValue("begins with the home of a user who does not exist") from None


def fernet_keys(written: str) -> tuple[Secret, ...]:
    """Keys for the vault, newest first: Fernet keys as they are, other long texts as the hash of them.

    What a host's generator makes is random enough but has another form.
    """
    keys = []
    for number, piece in enumerate(pieces(written), start=1):
        if re.fullmatch(r"[A-Za-z0-9_-]{43}=", piece):
            keys.append(piece)
        elif len(piece) >= SHORTEST_KEY:
            digest = hashlib.sha256(b"purchase-relay vault key\n" + piece.encode()).digest()
            keys.append(base64.urlsafe_b64encode(digest).decode())
        else:
            raise BadValue(
                f"must be Fernet keys or random texts of {SHORTEST_KEY} characters, but number {number} is "
                "shorter"
            )
    return tuple(Secret(key) for key in keys)


def webhook_secrets(written: str) -> tuple[Secret, ...]:
    """The secrets between commas, and last the text as it stands.

    The secret that WooCommerce makes by itself may hold commas and begin or end with a space: then the
    text as it stands is the secret.
    """
    kept = pieces(written)
    if not kept:
        raise BadValue("holds no secret, only blanks: an empty secret would let anybody sign")
    whole = printable(written.rstrip("\r\n"))
    return tuple(Secret(candidate) for candidate in dict.fromkeys((*kept, whole)))


# --- addresses -------------------------------------------------------------------------------------------


def split_url(written: str) -> SplitResult:
    """The parts of an address whose host and port can be read."""
    try:
        parts = urlsplit(printable(written))
        port_is_sane = parts.port != 0
    except ValueError:
        port_is_sane = False
    if not port_is_sane or any(blank in written for blank in " \t\\"):
        raise BadValue("is not an address (in a password, write # as %23, / as %2F, ? as %3F, @ as %40)")
    return parts


def is_loopback(host: str | None) -> bool:
    """Whether the host is this machine."""
    try:
        return host == "localhost" or ip_address(host or "").is_loopback
    except ValueError:
        return False


def web_url(written: str, *, loopback_http: bool) -> str:
    """An https address without credentials, query or fragment, and without a slash at its end."""
    if not written:
        return ""
    parts = split_url(written)
    plain = loopback_http and parts.scheme == "http" and is_loopback(parts.hostname)
    if not (plain or parts.scheme == "https") or not parts.hostname:
        raise BadValue(
            "must be an https:// address" + (" (http:// only on this machine)" if loopback_http else "")
        )
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise BadValue("must be an address without credentials and query")
    return written.rstrip("/")


def sentry_dsn(written: str) -> Secret:
    """The DSN of a Sentry project, or nothing."""
    if written:
        parts = split_url(written)
        if parts.scheme not in {"https", "http"} or not (parts.username and parts.hostname):
            raise BadValue("must be a Sentry DSN, like https://key@host/1")
        if not re.fullmatch(r"[0-9]+", parts.path.rpartition("/")[2]):
            raise BadValue("must be a Sentry DSN and end with the number of the project")
    return Secret(written)


def alert_webhook(written: str) -> Secret:
    """An https address with whatever path and query, or http on this machine; or nothing."""
    if written:
        parts = split_url(written)
        plain = parts.scheme == "http" and is_loopback(parts.hostname)
        if not (plain or parts.scheme == "https") or not parts.hostname or "@" in parts.netloc:
            raise BadValue("must be an https:// address without credentials (http:// only on this machine)")
    return Secret(written)


def smtp_url(written: str) -> Secret:
    """The address of a mail server, or nothing."""
    if written:
        parts = split_url(written)
        if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
            raise BadValue("must be an smtp:// or smtps:// address, like smtp://user:password@host:587")
        if parts.query or parts.fragment or parts.path.strip("/"):
            raise BadValue("must end with host and port (in a password, write / as %2F, ? as %3F, # as %23)")
    return Secret(written)


def mail_addresses(written: str) -> tuple[str, ...]:
    """Mail addresses without names, separated by commas."""
    found = pieces(written)
    if not all(re.fullmatch(r"[!-?A-~]+@[A-Za-z0-9.-]+", address) for address in found):
        raise BadValue("must be mail addresses separated by commas, like ops@example.com")
    return found


def mail_address(written: str) -> str:
    """One mail address, or nothing."""
    found = mail_addresses(written)
    if len(found) > 1:
        raise BadValue("must be one mail address")
    return "".join(found)


def redis_url(written: str, *, verify: bool) -> Secret:
    """The address of a Redis or Valkey server, or nothing. ``verify`` False: any certificate will do."""
    if not written:
        return Secret("")
    parts = split_url(written)
    target = {"redis": parts.hostname, "rediss": parts.hostname, "unix": parts.path}.get(parts.scheme)
    if not target:
        raise BadValue("must be a redis://, rediss:// or unix:// address")
    check = parse_qs(parts.query).get("ssl_cert_reqs", ["required"])[-1]
    if check not in {"none", "optional", "required"}:
        raise BadValue("may only say ssl_cert_reqs=none or ssl_cert_reqs=required after the question mark")
    if parts.scheme == "rediss" and not verify and "ssl_cert_reqs" not in parse_qs(parts.query):
        written += f"{'&' if parts.query else '?'}ssl_cert_reqs=none"
    return Secret(written)


def database_url(written: str, *, production: bool, embedded: Path) -> Secret:
    """The ledger's address as SQLAlchemy wants it; without one, the ``embedded`` file.

    Heroku writes ``postgres://``, which SQLAlchemy refuses, and needs TLS without saying so.
    """
    if not written:
        return Secret(f"sqlite:///{embedded}")
    parts = split_url(written)
    if parts.scheme == "sqlite":
        return _sqlite_url(written)
    if parts.scheme not in {"postgres", "postgresql", "postgresql+psycopg"} or len(parts.path) < 2:
        raise BadValue("must be postgresql://user:password@host/name or sqlite:///file")
    rest = written.partition("://")[2]
    on_network = bool(parts.hostname) and not is_loopback(parts.hostname)
    if production and on_network and "sslmode" not in parse_qs(parts.query):
        rest += f"{'&' if '?' in rest else '?'}sslmode=require"
    return Secret(f"postgresql+psycopg://{rest}")


def _sqlite_url(written: str) -> Secret:
    head, _, path = written.partition(":///")
    if head != "sqlite" or not path or path.startswith((":", "?")):
        raise BadValue("must name a file, like sqlite:////var/lib/relay/ledger.db: all processes share it")
    return Secret(f"sqlite:///{Path.cwd() / path}")


def without_credentials(url: str) -> str:
    """Scheme, host and path of an address, for people."""
    parts = urlsplit(url)
    host = f"{parts.hostname or ''}:{parts.port}" if parts.port else parts.hostname or ""
    return f"{parts.scheme}://{host}{parts.path}"


# --- what adapters declare -------------------------------------------------------------------------------


def of_setting(setting: Setting, written: str) -> Value:
    """The value of an adapter's setting; what is not written is its default, or empty."""
    written = written.strip() or setting.default
    if not written:
        return Secret("") if setting.secret else _EMPTY.get(setting.kind, "")
    value = _PARSERS[setting.kind](setting, printable(written))
    return Secret(value) if setting.secret and isinstance(value, str) else value


def _text(setting: Setting, written: str) -> str:
    if setting.pattern and not re.fullmatch(setting.pattern, written):
        expected = f"look like {setting.example}" if setting.example else f"match {setting.pattern}"
        raise BadValue(f"must {expected}")
    return written


def _choice(setting: Setting, written: str) -> str:
    return choice(written, setting.choices)


def _list(setting: Setting, written: str) -> tuple[str, ...]:
    kept = pieces(written)
    for piece in kept:
        if setting.choices:
            choice(piece, setting.choices)
        _text(setting, piece)
    return tuple(Secret(piece) for piece in kept) if setting.secret else kept


def _template(check: Callable[[str], str], _setting: Setting, written: str) -> str:
    try:
        return check(written)
    except BadTemplate as error:
        raise BadValue(f"is no template: {error}") from error


def _time(_setting: Setting, written: str) -> int:
    read = moment(written)
    if read is None:
        raise BadValue("must be a time with its zone, like 2026-01-31T00:00:00Z")
    return read


_PARSERS: dict[str, Callable[[Setting, str], Value]] = {
    "text": _text,
    "bool": lambda _setting, written: boolean(written),
    "int": lambda _setting, written: integer(written, -(10**12), 10**12),
    "choice": _choice,
    "list": _list,
    "event_id": partial(_template, check_event_id),
    "item_id": partial(_template, check_item_id),
    "time": _time,
}
_EMPTY: dict[str, Value] = {"bool": False, "int": None, "list": (), "time": None}
