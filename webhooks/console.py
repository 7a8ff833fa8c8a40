"""JSON log lines as a person at a terminal reads them: time, who, what, and the facts in grey."""

import io
import sys
from collections.abc import Callable, Mapping
from datetime import datetime

import msgspec
from rich.console import Console
from rich.text import Text

_COLOURS = {"warning": "yellow", "error": "red", "critical": "red"}
_KNOWN = frozenset({"time", "level", "logger", "message"})
_WIDTH = 10  # of a process's name


class Terminal:
    """Shows lines of several processes. Call it with a process's name and the line."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(file=sys.stdout, highlight=False, soft_wrap=True)

    def __call__(self, name: str, line: str) -> None:
        """Shows one line."""
        self._console.print(shown(name, line))


def shown(name: str, line: str) -> Text:
    """The line as rich text. What is no JSON log line (a traceback) stays as it is."""
    try:
        told = msgspec.json.decode(line, type=dict[str, object])
    except msgspec.DecodeError:
        return Text.assemble((" " * 10, ""), (f"{name:{_WIDTH}}", "cyan"), (_printable(line), "dim"))
    colour = _COLOURS.get(str(told.get("level")), "")
    facts = "".join(f"  {fact}={_written(value)}" for fact, value in told.items() if fact not in _KNOWN)
    return Text.assemble(
        (f"{_clock(told)}  ", "dim"),
        (f"{name:{_WIDTH}}", "cyan"),
        (_printable(str(told.get("message", ""))), colour),
        (_printable(facts), "dim"),
    )


def _clock(told: Mapping[str, object]) -> str:
    try:
        return f"{datetime.fromisoformat(str(told.get('time'))).astimezone():%H:%M:%S}"
    except ValueError:
        return "--:--:--"


def _written(value: object) -> str:
    return " < ".join(str(one) for one in reversed(value)) if isinstance(value, list) else str(value)


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


class Stream(io.TextIOBase):
    """A stream for our own log lines, which go where those of our children go."""

    def __init__(self, tell: Callable[[str, str], None], name: str) -> None:
        self._tell, self._name = tell, name

    def write(self, text: str) -> int:
        """Tells each line of the text."""
        for line in text.splitlines():
            self._tell(self._name, line)
        return len(text)
