"""Statements of the hot path: compiled once by SQLAlchemy, then handed to the driver as they are.

What SQLAlchemy does for each execution takes several times longer than the statement itself does in SQLite.
An error is told as SQLAlchemy tells it, so that nobody outside needs to know which way a statement went.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ClauseElement, Connection
from sqlalchemy.exc import DBAPIError

from webhooks.database import Database

Row = tuple[Any, ...]


class Prepared:
    """A statement with values of these ``names``: text, whole numbers, bytes or None, which both drivers take
    without translation. Raises what SQLAlchemy would."""

    def __init__(self, database: Database, statement: ClauseElement, names: Iterable[str] = ()) -> None:
        self._dialect = database.engine.dialect
        compiled: Any = statement.compile(dialect=self._dialect, column_keys=list(names) or None)
        self._sql: str = compiled.string
        self._order: Sequence[str] | None = compiled.positiontup  # None: the driver takes them by name
        self._fixed = {name: value for name, value in compiled.params.items() if name not in names}
        self._errors: type[Exception] = self._dialect.loaded_dbapi.Error

    def rows(self, db: Connection, values: Mapping[str, Any]) -> list[Row]:
        """Executes it; all rows that it returns."""
        try:
            found: list[Row] = _raw(db).execute(self._sql, self._arranged(values)).fetchall()
        except self._errors as error:
            raise self._told(db, error) from error
        return found

    def each(self, db: Connection, several: Sequence[Mapping[str, Any]]) -> list[Row | None]:
        """Executes it for each; of each the first row that it returns. PostgreSQL gets all in one trip."""
        if self._order is not None or len(several) < 2:
            return [next(iter(self.rows(db, values)), None) for values in several]
        try:
            cursor = _raw(db).cursor()
            cursor.executemany(self._sql, [self._arranged(values) for values in several], returning=True)
            found = [cursor.fetchone()]
            while cursor.nextset():
                found.append(cursor.fetchone())
        except self._errors as error:
            raise self._told(db, error) from error
        return found

    def many(self, db: Connection, several: Sequence[Mapping[str, Any]]) -> None:
        """Executes it for each; it returns nothing."""
        if not several:
            return
        try:
            _raw(db).cursor().executemany(self._sql, [self._arranged(values) for values in several])
        except self._errors as error:
            raise self._told(db, error) from error

    def _arranged(self, values: Mapping[str, Any]) -> Any:
        given = {**self._fixed, **values} if self._fixed else values
        return given if self._order is None else [given[name] for name in self._order]

    def _told(self, db: Connection, error: Exception) -> BaseException:
        """As SQLAlchemy tells it. A connection that is lost goes back to nobody; the others are as old."""
        is_lost = self._dialect.is_disconnect(error, _raw(db), None)  # type: ignore[arg-type]
        if is_lost:
            db.invalidate(error)
            db.engine.dispose()
        return DBAPIError.instance(
            self._sql,
            None,
            error,
            self._errors,
            hide_parameters=True,
            connection_invalidated=is_lost,
            dialect=self._dialect,
        )


def _raw(db: Connection) -> Any:
    return db.connection.dbapi_connection
