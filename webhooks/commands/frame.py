"""What all commands share: how they open the relay, print an answer, and say what went wrong.

Answers go to stdout, everything else to stderr. A mistake of the user, a broken setting or a database that
is away is one sentence and an exit code, never a traceback.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click
import msgspec

from webhooks import discretion, settings
from webhooks.clock import DAY, HOUR, MINUTE, now_ms
from webhooks.settings import BadSettings

if TYPE_CHECKING:  # `web` only becomes gunicorn: what takes long to load waits until a command needs it
    from rich.console import Console
    from rich.progress import Progress

    from webhooks.database import Database
    from webhooks.relay import Relay

FAILED, USAGE, SETTINGS, DATABASE = 1, 2, 3, 4

EXIT_CODES = """\b
Exit codes:
  0  done
  1  nothing was found, or it failed
  2  the command was not understood
  3  the settings are broken: see `settings check`
  4  the database is away, or needs `db upgrade`"""

_WIDE = 200
"""Columns of a table that goes into a file or a pipe, where nobody resizes anything."""


class Failure(click.ClickException):
    """A sentence for the user and the exit code."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance


class OnDemand(Mapping[str, click.Command]):
    """Commands by their words, loaded when they are asked for: a process starts in half the time without what
    only others need. ``places``: of each file in this folder, its words and how it calls them."""

    def __init__(self, places: Mapping[str, Mapping[str, str]]) -> None:
        self._places = {word: (file, name) for file, names in places.items() for word, name in names.items()}

    def __getitem__(self, word: str) -> click.Command:
        file, name = self._places[word]
        found: click.Command = getattr(import_module(f"webhooks.commands.{file}"), name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class Root(click.Group):
    """The command itself: turns what may happen on any day into a `Failure`."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the sub-command."""
        try:
            return super().invoke(ctx)
        except BadSettings as error:
            raise Failure(broken_settings(error), SETTINGS) from error
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:
            if failure := _of_any_day(error):
                raise failure from error
            raise


def _of_any_day(error: Exception) -> Failure | None:
    from webhooks.database import Unavailable
    from webhooks.vault import Sealed

    if isinstance(error, Unavailable):
        return Failure(f"the database does not answer: {discretion.describe(error)}", DATABASE)
    return Failure(str(error)) if isinstance(error, Sealed) else None


def broken_settings(error: BadSettings) -> str:
    """All problems, each on a line of its own."""
    if len(error.problems) == 1:
        return error.problems[0]
    return "\n".join(["the settings are broken:", *(f"  {problem}" for problem in error.problems)])


@contextmanager
def opened() -> "Iterator[Relay]":
    """The relay with a ledger that is there and up to date."""
    from webhooks.relay import Relay

    relay = Relay(settings.load())
    try:
        require_current(relay.database)
        yield relay
    finally:
        relay.close()


def require_current(database: "Database") -> None:
    """Raises `Failure` for a database without our tables, or with older ones."""
    from webhooks import migrations

    if not migrations.is_current(database):
        raise Failure("the database is not up to date: run `purchase-relay db upgrade`", DATABASE)


def wake(relay: "Relay") -> None:
    """Calls a worker after something was made due; says so if nobody could be called."""
    if not relay.wake.now(unless_flagged=False):
        say("Redis did not take the wake-up call; the sweep will find what is due.")


# --- output ----------------------------------------------------------------------------------------------

as_json = click.option("--json", "json", is_flag=True, help="Print JSON instead, for other programs.")


def console() -> "Console":
    """Where people read answers: tables as wide as the terminal, colours only there."""
    from rich.console import Console

    is_terminal = sys.stdout.isatty()
    return Console(file=sys.stdout, highlight=False, width=None if is_terminal else _WIDE)


def say(sentence: str) -> None:
    """A remark beside the answer, on stderr."""
    click.echo(sentence, err=True)


def print_json(document: Any) -> None:
    """One JSON document."""
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2))


def print_lines(rows: Iterable[Any]) -> None:
    """One JSON document per line, written together: a line each would cost a system call each."""
    written = b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
    sys.stdout.buffer.write(written)


@contextmanager
def progress(what: str, total: int | None) -> "Iterator[Progress]":
    """A bar on stderr while something takes long; silent where nobody watches. It has one task."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    stderr = Console(file=sys.stderr)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr, transient=True, disable=not sys.stderr.isatty()) as bar:
        bar.add_task(what, total=total)
        yield bar


# --- parameters ------------------------------------------------------------------------------------------

_SPAN = re.compile(r"([0-9]{1,6})([smhdw])", re.ASCII)
_UNITS = {"s": 1_000, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}


class Moment(click.ParamType[int]):
    """``3d``, ``12h``, ``30m`` before now, or a date or time in UTC: milliseconds."""

    name = "3d|12h|2026-11-20"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Milliseconds since 1970."""
        if isinstance(value, int):
            return value
        written = str(value).strip()
        if span := _SPAN.fullmatch(written):
            return now_ms() - int(span[1]) * _UNITS[span[2]]
        try:
            parsed = datetime.fromisoformat(written)
            parsed = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
            return round(parsed.timestamp() * 1_000)
        except (ValueError, OverflowError):
            self.fail(f"{written!r} is neither a span (3d, 12h, 30m) nor a date (2026-11-20).", param, ctx)


MOMENT = Moment()
