"""Who had something sent again, released or forgotten: one row per question, written with what it changed."""

import os
import pwd
from typing import Any

from sqlalchemy import Connection, insert, update

from webhooks.clock import now_ms
from webhooks.schema import audit


class Entry:
    """One row of the audit. Its count grows within the transactions that change something, so that it is
    true whenever the work is cut off."""

    def __init__(self, action: str, question: str) -> None:
        self.action, self.question = action, question
        self.id: int | None = None

    def add(self, db: Connection, count: int) -> None:
        """Notes that ``count`` more rows are changed in this transaction."""
        if self.id is not None:
            db.execute(update(audit).where(audit.c.id == self.id).values(count=audit.c.count + count))
            return
        row: dict[str, Any] = {
            "at": now_ms(),
            "action": self.action,
            "who": who(),
            "question": self.question,
            "count": count,
        }
        self.id = db.execute(insert(audit).values(row).returning(audit.c.id)).scalar_one()


def who() -> str:
    """The name of the user that runs this process, or its number where the machine has no name for it."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
