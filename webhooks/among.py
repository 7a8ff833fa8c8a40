"""One of a list of ids, as a condition. SQLAlchemy's own writes a parameter for each of them into the
statement, every time: for a batch of two hundred that takes longer than the statement itself.
"""

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import BigInteger, Boolean, ColumnElement, Dialect, Text, TypeDecorator, bindparam
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


def among(column: ColumnElement[int], name: str) -> ColumnElement[bool]:
    """Whether the column is among the whole numbers of the parameter of that name."""
    return _Among(column, bindparam(name, type_=_Ids))


class _Ids(TypeDecorator[Iterable[int]]):
    """A list as a single value: an array, or JSON where there are none."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        array = postgresql.ARRAY(BigInteger)
        return dialect.type_descriptor(array if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: Iterable[int] | None, dialect: Dialect) -> Any:
        ids = list(value or ())
        return ids if dialect.name == "postgresql" else json.dumps(ids)


class _Among(FunctionElement[bool]):
    type = Boolean()
    inherit_cache = True

    def self_group(self, against: object = None) -> "_Among":  # noqa: ARG002
        """As it is: SQLAlchemy would compare it with 1, and SQLite then reads the whole table."""
        return self


@compiles(_Among, "sqlite")
def _in_sqlite(element: _Among, compiler: Any, **more: Any) -> str:
    column, ids = (compiler.process(part, **more) for part in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({ids}))"  # noqa: S608 - both were compiled just now


@compiles(_Among, "postgresql")
def _in_postgresql(element: _Among, compiler: Any, **more: Any) -> str:
    column, ids = (compiler.process(part, **more) for part in element.clauses)
    return f"{column} = ANY({ids})"
