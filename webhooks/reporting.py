"""Logs and Sentry: what the operator may know, free of identity and secrets.

A log line is a sentence that was written in the source plus facts (see `webhooks.discretion`):

    log = reporting.logger(__name__)
    log.info("delivered", delivery=12, destination="meta")
    reporting.alert("credentials_refused", "The destination refuses our token", destination="meta")
"""

import json
import logging
import re
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, TextIO, cast

import msgspec

from integrations.setting import Secret
from webhooks import discretion
from webhooks.discretion import Fact, scrub, withhold
from webhooks.settings import Settings

__all__ = ["Log", "alert", "configure_logs", "init_sentry", "logger", "scrub", "sentry_options", "withhold"]

CAUSES = ("store", "shop", "destination", "account", "queue", "component", "variable", "subject")
"""The facts that tell one cause from another: an alert is one issue per kind and cause."""

QUIET_SECONDS = 300
"""Sentry hears of the same cause at most this often from one process; the log has every occurrence."""

# --- logs ------------------------------------------------------------------------------------------------


class Log:
    """A station's logger: a constant sentence and facts. ``error`` adds an exception's type and place."""

    __slots__ = ("_logger",)

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, message: str, **facts: Fact) -> None:
        """For a developer's eyes; off in production."""
        self._write(logging.DEBUG, message, None, facts)

    def info(self, message: str, **facts: Fact) -> None:
        """What happened, as it should."""
        self._write(logging.INFO, message, None, facts)

    def warning(self, message: str, *, error: BaseException | None = None, **facts: Fact) -> None:
        """Something odd that the relay copes with by itself."""
        self._write(logging.WARNING, message, error, facts)

    def error(self, message: str, *, error: BaseException | None = None, **facts: Fact) -> None:
        """A failure that is in the log only; what needs a person is an `alert`."""
        self._write(logging.ERROR, message, error, facts)

    def _write(
        self, level: int, message: str, error: BaseException | None, facts: Mapping[str, Fact]
    ) -> None:
        kept = discretion.allowed(facts)
        if level >= logging.INFO and (sentry := _sentry()):
            sentry.add_breadcrumb(category=self._logger.name, message=message, data=dict(kept))
        self._logger.log(level, message, extra={"facts": kept, "error": error})


def logger(name: str) -> Log:
    """The logger of a module: ``log = reporting.logger(__name__)``."""
    return Log(name)


class _OneLine(logging.Formatter):
    """A record as one JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        ours = record.name.partition(".")[0] in discretion.OURS
        told = record.getMessage()
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": told if ours else scrub(told.partition("\n")[0]),
        }
        line |= getattr(record, "facts", {})
        error = getattr(record, "error", None) or (record.exc_info[1] if record.exc_info else None)
        if isinstance(error, BaseException):
            line |= {"error": discretion.describe(error), "at": discretion.where(error)}
        return json.dumps(line, ensure_ascii=False)


_CHATTY = (
    "alembic",
    "pyactiveresource",
    "requests",
    "rq.job",
    "rq.worker",
    "sqlalchemy",
    "urllib3",
    "werkzeug",
)
"""Loggers that repeat addresses, parameters or job arguments below WARNING."""

_SELF_WILLED = ("gunicorn.error", "gunicorn.access", "rq.worker", "rq.job")
"""Loggers that bring an output of their own; theirs is taken away so that each line is written once."""


def configure_logs(level: str = "info", stream: TextIO | None = None) -> None:
    """Writes every log as JSON lines to stdout (or ``stream``). May be called again."""
    output = logging.StreamHandler(stream or sys.stdout)
    output.setFormatter(_OneLine())
    root = logging.getLogger()
    root.handlers[:] = [output]
    root.setLevel(level.upper())
    for name in _SELF_WILLED:
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    # An access log holds query strings; what a hook was is in the ledger.
    logging.getLogger("gunicorn.access").setLevel(logging.CRITICAL)
    logging.captureWarnings(capture=True)


# --- alerts ----------------------------------------------------------------------------------------------

_alerts = Log("webhooks.alert")
_quiet_until: dict[tuple[str, ...], float] = {}


def alert(kind: str, message: str, *, error: BaseException | None = None, **facts: Fact) -> None:
    """Tells the operator that a person must look: an error in the log, one Sentry issue per cause.

    ``kind`` is a fixed word (``credentials_refused``), ``message`` a constant sentence that says what to do.
    """
    kept = discretion.allowed({**facts, "kind": kind})
    _alerts.error(message, error=error, **kept)
    cause = (kind, *(f"{name}={kept[name]}" for name in CAUSES if name in kept))
    if _heard_lately(cause):
        return
    sentry = _sentry()
    if sentry is None:
        return
    with sentry.new_scope() as scope:
        scope.fingerprint = list(cause)
        for name, value in kept.items():
            scope.set_tag(name, str(value))
        if error is None:
            sentry.capture_message(message, level="error")
        else:
            sentry.capture_exception(error)


def _heard_lately(cause: tuple[str, ...]) -> bool:
    now = time.monotonic()
    if _quiet_until.get(cause, now) > now:
        return True
    _quiet_until[cause] = now + QUIET_SECONDS
    return False


# --- Sentry ----------------------------------------------------------------------------------------------


def _sentry() -> Any:
    """Sentry's SDK if it listens, else None. It takes long to load: only a DSN makes a process do so."""
    sentry = sys.modules.get("sentry_sdk")
    return sentry if sentry is not None and sentry.is_initialized() else None


def init_sentry(settings: Settings, component: str) -> None:
    """Starts Sentry for this process (``web``, ``worker``, ...) if a DSN is configured.

    With or without one, `scrub` knows every configured secret from here on.
    """
    withhold(_secrets_in(settings))
    if settings.sentry_dsn:
        import sentry_sdk

        sentry_sdk.init(**sentry_options(str(settings.sentry_dsn), settings.env, component))


def _secrets_in(value: object) -> Iterator[str]:
    """Every `Secret` in the settings, and the password of each that is an address."""
    match value:
        case Secret():
            yield value
            if password := _PASSWORD.search(value):
                yield password.group(1)
        case msgspec.Struct():
            yield from _secrets_in(msgspec.structs.astuple(value))
        case Mapping():
            yield from _secrets_in(tuple(value.values()))
        case tuple():
            for part in value:
                yield from _secrets_in(part)


_PASSWORD = re.compile(r"://[^\s/@:]*:([^\s/@]+)@")


def sentry_options(dsn: str, environment: str, component: str) -> dict[str, Any]:
    """What `sentry_sdk.init` is told: collect nothing by itself, send what the allow-lists let through.

    ``send_default_pii`` stays unset, which means False: naming it is deprecated, and naming its successor
    ``data_collection`` would switch the scrubber off.
    """
    from sentry_sdk.scrubber import DEFAULT_DENYLIST, DEFAULT_PII_DENYLIST, EventScrubber

    return {
        "dsn": dsn,
        "environment": environment,
        "release": f"purchase-relay@{metadata.version('purchase-relay')}",
        "server_name": component,
        # No argv (it may hold addresses), no stdlib (breadcrumbs and spans of outgoing calls), no log
        # records: what Sentry hears of beside exceptions are alerts.
        "default_integrations": False,
        "auto_enabling_integrations": False,
        "integrations": _integrations(),
        "include_local_variables": False,
        "max_request_body_size": "never",
        "auto_session_tracking": False,
        "trace_propagation_targets": [],
        "spotlight": False,
        "shutdown_timeout": 2,
        "event_scrubber": EventScrubber(
            denylist=[*DEFAULT_DENYLIST, "access_token", "signature", "description", "email", "phone"],
            pii_denylist=list(DEFAULT_PII_DENYLIST),
            recursive=True,
        ),
        "before_send": _before_send,
        "before_send_transaction": _before_send,
        "before_breadcrumb": _before_breadcrumb,
    }


def _integrations() -> list[Any]:
    from sentry_sdk.integrations.atexit import AtexitIntegration
    from sentry_sdk.integrations.dedupe import DedupeIntegration
    from sentry_sdk.integrations.excepthook import ExcepthookIntegration
    from sentry_sdk.integrations.flask import FlaskIntegration
    from sentry_sdk.integrations.logging import LoggingIntegration
    from sentry_sdk.integrations.rq import RqIntegration
    from sentry_sdk.integrations.threading import ThreadingIntegration

    return [
        AtexitIntegration(callback=lambda _pending, _timeout: None),
        DedupeIntegration(),
        ExcepthookIntegration(),
        FlaskIntegration(),
        LoggingIntegration(level=None, event_level=None, sentry_logs_level=None),
        RqIntegration(),
        ThreadingIntegration(propagate_scope=True),
    ]


_KEPT = frozenset(
    {"event_id", "timestamp", "start_timestamp", "type", "level", "platform", "release", "environment"}
    | {"server_name", "sdk", "transaction", "transaction_info", "fingerprint", "modules"}
)
_KEPT_HEADERS = {"content-length": re.compile(r"\d{1,12}"), "content-type": re.compile(r"[a-z/+.-]{1,50}")}
_KEPT_CONTEXTS = {
    "runtime": frozenset({"name", "version"}),
    "trace": frozenset({"trace_id", "span_id", "parent_span_id", "op", "status", "origin"}),
}
_KEPT_JOB = frozenset({"job_id", "func", "enqueued_at", "started_at"})
_KEPT_SPAN = frozenset(_KEPT_CONTEXTS["trace"] | {"start_timestamp", "timestamp", "same_process_as_parent"})


def _before_send(event: Any, _hint: Any = None) -> Any:
    """A new event made of what is allowed; whatever an SDK adds one day stays here."""
    sent: dict[str, Any] = {name: value for name, value in event.items() if name in _KEPT}
    sent["contexts"] = {
        name: _only(event.get("contexts", {}).get(name), kept) for name, kept in _KEPT_CONTEXTS.items()
    }
    sent["tags"] = {
        k: discretion.plain(v) for k, v in _mapping(event.get("tags")).items() if k in discretion.FACTS
    }
    if "request" in event:
        sent["request"] = _request(event["request"])
    if "exception" in event:
        sent["exception"] = {"values": [_exception(one) for one in event["exception"].get("values", [])]}
    if message := event.get("message"):  # alerts only: a sentence from our own source
        sent["message"] = message
    if job := _mapping(event.get("extra")).get("rq-job"):
        sent["extra"] = {"rq-job": _only(job, _KEPT_JOB)}
    if "spans" in event:
        sent["spans"] = [_only(span, _KEPT_SPAN) for span in event["spans"]]
    sent["breadcrumbs"] = event.get("breadcrumbs", {"values": []})
    return sent


def _before_breadcrumb(crumb: Any, _hint: Any = None) -> Any:
    """Only the lines of our own loggers, whose facts have been through the allow-list."""
    ours = str(crumb.get("category", "")).partition(".")[0] in discretion.OURS
    return crumb if ours else None


def _request(request: Mapping[str, Any]) -> dict[str, Any]:
    """Method and path; of the headers those that say what kind of body it was; no query, cookie, body."""
    headers = {str(k).lower(): str(v) for k, v in _mapping(request.get("headers")).items()}
    return {
        "method": request.get("method"),
        "url": scrub(str(request.get("url", "")).partition("?")[0]),
        "headers": {
            name: headers[name]
            for name, form in _KEPT_HEADERS.items()
            if form.fullmatch(headers.get(name, ""))
        },
    }


def _exception(value: Mapping[str, Any]) -> dict[str, Any]:
    """Type, place and, where it is known to be safe, the text; frames without variables."""
    kind = f"{value.get('module') or 'builtins'}.{value.get('type')}"
    kept = _only(value, frozenset({"type", "module", "mechanism"}))
    kept["value"] = discretion.told(kind, str(value.get("value") or "")) or discretion.WITHHELD
    frames = _mapping(value.get("stacktrace")).get("frames", [])
    kept["stacktrace"] = {"frames": [{k: v for k, v in f.items() if k != "vars"} for f in frames]}
    return kept


def _only(value: object, names: frozenset[str]) -> dict[str, Any]:
    return {name: part for name, part in _mapping(value).items() if name in names}


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}
