"""Group commit: what several threads want to write at the same time is written in one transaction.

Whoever finds nobody writing leads: begins a transaction, writes what all have entered by then, commits for
all, and hands on. Nobody waits for company: a thread that is alone writes at once. One thread may also enter
several wishes before it waits for the first. A commit is most of what a small order costs, and on a slow disk
nearly all.
"""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from webhooks.database import Database

MOST = 64
"""Wishes of one transaction: others want to write, too."""

_NOBODYS_FAULT = (OperationalError, InterfaceError, PoolTimeout)
"""The database is away, locked or full: trying one by one would only take longer."""

Wish = TypeVar("Wish")
Answer = TypeVar("Answer")


class _Waiting(Generic[Wish, Answer]):
    """A wish that was entered, and what became of it once it ``is_done``: an answer or an error. Who waits
    for it is ``woken`` then, or because somebody has to lead."""

    def __init__(self, wish: Wish) -> None:
        self.wish = wish
        self.woken = threading.Event()
        self.is_awaited = self.is_done = False
        self.answer: Answer | None = None
        self.error: BaseException | None = None


class Together(Generic[Wish, Answer]):
    """Call it with a wish from any thread: returns its answer after the commit, or raises what went wrong.

    ``write`` does several within one transaction, and answers each. ``order`` sorts them: where two processes
    wish the same, both must lock in the same order, or they wait for each other in a circle.
    """

    def __init__(
        self,
        database: Database,
        write: Callable[[Connection, Sequence[Wish]], Sequence[Answer]],
        order: Callable[[Wish], Any],
    ) -> None:
        self._database, self._write, self._order = database, write, order
        self._lock = threading.Lock()
        self._waiting: list[_Waiting[Wish, Answer]] = []
        self._is_led = False

    def __call__(self, wish: Wish) -> Answer:
        """Waits until it is committed."""
        return self.enter(wish)()

    def enter(self, wish: Wish) -> Callable[[], Answer]:
        """Has whoever commits next take it along. What is returned waits until that has happened; until
        somebody calls it, nobody needs to commit."""
        self._database.check()
        mine: _Waiting[Wish, Answer] = _Waiting(wish)
        with self._lock:
            self._waiting.append(mine)
        return partial(self._answer, mine)

    def _answer(self, mine: _Waiting[Wish, Answer]) -> Answer:
        while not mine.is_done:
            if self._may_lead(mine):
                self._lead()
            else:
                mine.woken.wait()
        if mine.error is not None:
            raise mine.error
        return mine.answer  # type: ignore[return-value] # no error, so there is one

    def _may_lead(self, mine: _Waiting[Wish, Answer]) -> bool:
        with self._lock:
            if mine.is_done:
                mine.woken.set()
            elif self._is_led:
                mine.is_awaited = True
                mine.woken.clear()
            else:
                self._is_led = True
                return True
        return False

    def _lead(self) -> None:
        batch: list[_Waiting[Wish, Answer]] = []
        try:
            with self._database.write() as db:
                batch = self._take()  # now that it may write: others have come meanwhile
                answers = self._write(db, [one.wish for one in batch])
                for one, answer in zip(batch, answers, strict=True):
                    one.answer = answer
        except BaseException as error:  # noqa: BLE001 - whatever it is, nobody may be left waiting
            batch = batch or self._take()
            self._fail(batch, error)
        finally:
            self._hand_on(batch)

    def _take(self) -> list[_Waiting[Wish, Answer]]:
        """Those who wait for longest."""
        with self._lock:
            taken, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
        return sorted(taken, key=lambda one: self._order(one.wish))

    def _fail(self, batch: list[_Waiting[Wish, Answer]], error: BaseException) -> None:
        """Nothing is committed. One bad wish must not cost the others theirs: each is tried alone."""
        alone = len(batch) > 1 and isinstance(error, Exception) and not isinstance(error, _NOBODYS_FAULT)
        for one in batch:
            one.error = error
            if alone:
                self._try_alone(one)

    def _try_alone(self, one: _Waiting[Wish, Answer]) -> None:
        try:
            with self._database.write() as db:
                (one.answer,) = self._write(db, [one.wish])
            one.error = None
        except Exception as error:  # noqa: BLE001 - its own thread raises it
            one.error = error

    def _hand_on(self, batch: list[_Waiting[Wish, Answer]]) -> None:
        with self._lock:
            self._is_led = False
            for one in batch:
                one.is_done = True
            following = [one for one in self._waiting if one.is_awaited][:1]
        for one in (*following, *batch):
            if one.is_awaited:
                one.woken.set()
