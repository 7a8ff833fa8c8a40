"""Stand-ins of the destinations: as strict as the real ones, scriptable, and with a memory.

    python -m webhooks.sandbox meta --port 8900

There is one module per destination, named like its slug, with one `StandIn` that knows the vendor's
rules. What all of them share is here: the script of what goes wrong next, the deduplication between
browser and server, and the record of every event that was counted. `webhooks.sandbox.wire` is the socket.

A script is a list of steps; each answers one request (or ``times``), and afterwards the stand-in is its
strict self again.
"""

import os
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import msgspec

Source = Literal["server", "browser"]
Reset = Literal["", "before", "during", "after"]


class Hit(msgspec.Struct, frozen=True):
    """A request as it came in. Header names are in lower case."""

    method: str
    path: str
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    body: bytes = b""


class Reply(msgspec.Struct, frozen=True):
    """An answer. ``reset`` ends the connection instead: at once, or within the body (``during``)."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = {}
    delay: float = 0.0
    reset: Reset = ""


class Counted(msgspec.Struct, frozen=True):
    """An event that the vendor takes. ``account`` is its pixel, or what it is called there."""

    account: str
    event_name: str
    event_id: str
    event: dict[str, Any] = {}
    note: dict[str, Any] = {}


class Refusal(Exception):
    """Raised by a check: the whole request is answered with this."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens to the next request.

    ``scene`` names one of the stand-in's own steps, whose ``times`` and ``delay`` may be given here. With
    ``status`` that is the answer; ``counted`` says whether the events count all the same. With neither
    the request is judged as always. ``delay`` (seconds) lies between counting and answering. ``reset``
    ends the connection ``before`` or ``after`` the events were counted, or ``during`` the answer.
    ``truncated`` answers with half of the body. ``times`` None: until the next script.
    """

    scene: str = ""
    status: int = 0
    body: Any = ""
    headers: dict[str, str] = {}
    counted: bool = False
    truncated: bool = False
    delay: float = 0.0
    reset: Reset = ""
    times: int | None = 1


class Received(msgspec.Struct, frozen=True):
    """One line of the record. ``kept`` is False for what deduplication dropped."""

    number: int
    at: float
    source: Source
    account: str
    event_name: str
    event_id: str
    kept: bool
    event: dict[str, Any]
    note: dict[str, Any]


class UnknownScene(ValueError):
    """A script names a scene that this stand-in does not have."""


SCENES: Mapping[str, Step] = {
    "down": Step(reset="before", times=None),
    "reset_before": Step(reset="before"),
    "reset_during": Step(reset="during"),
    "reset_after": Step(reset="after"),
    "truncated": Step(truncated=True),
    "html": Step(status=502, body="<html><h1>502 Bad Gateway</h1></html>"),
    "empty": Step(status=200, counted=True),
    "redirect": Step(status=302, headers={"Location": "https://login.example.com/"}),
    "busy": Step(status=429, headers={"Retry-After": "7"}),
}


class StandIn(ABC):
    """What every stand-in is. ``accounts`` are the options of the accounts that it knows."""

    slug: ClassVar[str]
    demo: ClassVar[Mapping[str, str]]
    """The account it knows unless told otherwise."""
    scenes: ClassVar[Mapping[str, Step]] = {}
    """The vendor's own ways to fail, by name."""
    dedup_seconds: ClassVar[int] = 48 * 3600

    def __init__(
        self,
        accounts: Sequence[Mapping[str, Any]] = (),
        *,
        clock: Callable[[], float] = time.time,
        journal: Path | None = None,
    ) -> None:
        self.accounts = list(accounts) or [self.demo]
        self.record: list[Received] = []
        self.requests: list[dict[str, Any]] = []
        self._clock = clock
        self._frozen_at: float | None = None
        self._journal = journal
        self._script: deque[Step] = deque()
        self._poison: dict[str, Step] = {}
        self._seen: dict[Hashable, float] = {}
        self._lock = threading.Lock()

    @abstractmethod
    def judge(self, hit: Hit) -> tuple[Reply, list[Counted]]:
        """The vendor's answer, and the events that it takes. May raise `Refusal`."""

    def is_scripted(self, hit: Hit) -> bool:  # noqa: ARG002
        """Whether the script is about this request; it is not about one that only prepares another."""
        return True

    def dedup_keys(self, counted: Counted) -> dict[Hashable, int]:
        """What makes two events one, each with the seconds for which it does."""
        return {(counted.account, counted.event_name, counted.event_id): self.dedup_seconds}

    def now(self) -> float:
        """The stand-in's time, Unix seconds."""
        return self._clock() if self._frozen_at is None else self._frozen_at

    def freeze(self, now: float | None) -> None:
        """Stops the stand-in's clock at this time; None lets it run again."""
        self._frozen_at = now

    def script(self, steps: Sequence[Step]) -> None:
        """Replaces the script. Raises `UnknownScene`."""
        staged = self._staged(steps)
        with self._lock:
            self._script = deque(staged)

    def poison(self, event_id: str, step: Step) -> None:
        """Answers every request that tells of this event so, and counts none of its events."""
        self._poison[event_id] = self._staged([step])[0]

    def receive(self, hit: Hit) -> Reply:
        """Counts what is to be counted, and says what to answer."""
        with self._lock:
            reply = self._reply(hit, self._next_step() if self.is_scripted(hit) else Step())
            self.requests.append(_shown(hit, reply, self.now()))
        return reply

    def browser(self, account: str, event_name: str, event_id: str) -> Received:
        """The vendor's pixel in a shopper's browser tells of an event."""
        with self._lock:
            return self._count([Counted(account, event_name, event_id)], "browser")[0]

    def _reply(self, hit: Hit, step: Step) -> Reply:
        if step.reset == "before":
            return Reply(reset="before", delay=step.delay)
        if step.status and not step.counted:
            return _scripted(step)
        try:
            judged, counted = self.judge(hit)
        except Refusal as refusal:
            judged, counted = refusal.reply, []
        for one in counted:
            if one.event_id in self._poison:
                return _scripted(self._poison[one.event_id])
        self._count(counted, "server")
        reply = _scripted(step) if step.status else judged
        body = reply.body[: len(reply.body) // 2] if step.truncated else reply.body
        return msgspec.structs.replace(reply, body=body, delay=step.delay, reset=step.reset)

    def _staged(self, steps: Sequence[Step]) -> list[Step]:
        known = {**SCENES, **self.scenes}
        if unknown := {step.scene for step in steps if step.scene} - known.keys():
            raise UnknownScene(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}")
        return [_staged(step, known) for step in steps]

    def _next_step(self) -> Step:
        if not self._script:
            return Step()
        step = self._script[0]
        if step.times is None:
            return step
        self._script.popleft()
        if step.times > 1:
            self._script.appendleft(msgspec.structs.replace(step, times=step.times - 1))
        return step

    def _count(self, counted: Sequence[Counted], source: Source) -> list[Received]:
        lines = [self._line(one, source, number) for number, one in enumerate(counted, len(self.record) + 1)]
        self.record.extend(lines)
        if self._journal and lines:
            append(self._journal, lines)
        return lines

    def _line(self, one: Counted, source: Source, number: int) -> Received:
        now = self.now()
        keys = self.dedup_keys(one)
        kept = not any(key in self._seen and now - self._seen[key] < keys[key] for key in keys)
        if kept:
            self._seen.update(dict.fromkeys(keys, now))
        return Received(
            number, now, source, one.account, one.event_name, one.event_id, kept, one.event, one.note
        )


def strict_json(body: bytes) -> Any:
    """The document, or None: only UTF-8, no NaN, no trailing text."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def json_reply(status: int, document: Any, headers: Mapping[str, str] | None = None) -> Reply:
    """An answer as JSON."""
    return Reply(
        status, msgspec.json.encode(document), {"Content-Type": "application/json", **(headers or {})}
    )


def append(journal: Path, lines: Sequence[Received]) -> None:
    """One JSON line each, on the disk before anything is answered: a killed test still knows."""
    with journal.open("ab") as file:
        file.write(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
        file.flush()
        os.fsync(file.fileno())


def _staged(step: Step, known: Mapping[str, Step]) -> Step:
    if not step.scene:
        return step
    scene = known[step.scene]
    times = step.times if step.times != 1 else scene.times
    return msgspec.structs.replace(scene, times=times, delay=step.delay or scene.delay)


def _scripted(step: Step) -> Reply:
    if isinstance(step.body, str):
        return Reply(step.status, step.body.encode(), {"Content-Type": "text/html", **step.headers})
    return json_reply(step.status, step.body, step.headers)


_SECRET_HEADERS = frozenset({"authorization", "access-token", "cookie"})


def _shown(hit: Hit, reply: Reply, now: float) -> dict[str, Any]:
    return {
        "at": now,
        "method": hit.method,
        "path": hit.path,
        "query": sorted(hit.query),
        "headers": {name: "***" if name in _SECRET_HEADERS else value for name, value in hit.headers.items()},
        "body": hit.body.decode("utf-8", "replace"),
        "status": 0 if reply.reset else reply.status,
    }
