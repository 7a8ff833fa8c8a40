"""GraphQL as far as a stand-in needs it: reads a document, checks it against a schema, answers it, and says
what it costs.

Strict: a field, argument or variable that the schema does not have is refused in the words of the vendor's
server, and so is a variable that is declared and not used. Fragments, aliases, subscriptions and lists as
literals are not read: nothing here sends them.

A schema is a table of types; each is a table of its fields, a `Field` or the name of a type. What a resolved
object holds under a field's name is the answer, or a function of the arguments that gives it.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

_TOKEN = re.compile(r'[\s,]*(?:(\$?[A-Za-z_]\w*)|("(?:[^"\\]|\\.)*")|(-?\d+)|([{}()\[\]:!@=]))')
_SCALARS = frozenset({"ID", "String", "Int", "Boolean", "DateTime", "URL", "Decimal", "Enum"})


class Refused(Exception):
    """A document that is not executed. ``code`` as the vendor's server names it."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.message, self.code = message, code


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """``kind`` is the type's name; ``listed`` a list of it. ``sized``: the argument ``first`` says how many
    there may be, which is what they cost. ``right``: who lacks it gets null and an error."""

    kind: str
    listed: bool = False
    sized: bool = False
    arguments: frozenset[str] = frozenset()
    right: str = ""


Schema = Mapping[str, Mapping[str, Field | str]]


class Selected(msgspec.Struct, kw_only=True):
    """A field as asked for."""

    name: str
    arguments: dict[str, Any] = {}
    include: Any = True
    fields: list["Selected"] = []


class Operation(msgspec.Struct, kw_only=True):
    """A parsed document: the one operation in it. ``variables`` are name and type."""

    kind: str
    variables: dict[str, str]
    fields: list[Selected]


class _Variable(str):
    __slots__ = ()


# --- reading ---------------------------------------------------------------------------------------------


class _Reader:
    def __init__(self, document: str) -> None:
        self._tokens = list(_tokens(document))
        self._at = 0

    def operation(self) -> Operation:
        kind = self._next()
        if kind not in {"query", "mutation"}:
            raise _syntax(kind)
        if self._peek() not in {"(", "{"}:
            self._next()  # its name
        variables = dict(self._variables()) if self._peek() == "(" else {}
        read = Operation(kind=kind, variables=variables, fields=self._selection())
        if self._peek():
            raise _syntax(self._peek())
        return read

    def _variables(self) -> Iterator[tuple[str, str]]:
        self._expect("(")
        while self._peek() != ")":
            name = self._next()
            self._expect(":")
            kind = self._next()
            if self._peek() == "!":
                kind += self._next()
            yield name.removeprefix("$"), kind
        self._expect(")")

    def _selection(self) -> list[Selected]:
        self._expect("{")
        fields = []
        while self._peek() != "}":
            fields.append(self._field())
        self._expect("}")
        if not fields:
            raise _syntax("}")
        return fields

    def _field(self) -> Selected:
        name = self._next()
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise _syntax(name)
        read = Selected(name=name, arguments=self._arguments())
        if self._peek() == "@":
            self._expect("@")
            self._expect("include")
            read.include = self._arguments().get("if")
        if self._peek() == "{":
            read.fields = self._selection()
        return read

    def _arguments(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self._peek() == "(":
            self._expect("(")
            while self._peek() != ")":
                name = self._next()
                self._expect(":")
                found[name] = self._value()
            self._expect(")")
        return found

    def _value(self) -> Any:
        token = self._next()
        if token.startswith("$"):
            return _Variable(token[1:])
        if token.startswith('"') or re.fullmatch(r"-?\d+", token):
            return msgspec.json.decode(token)
        return {"true": True, "false": False, "null": None}.get(token, token)  # else an enum's name

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        if not token:
            raise _syntax("end of file")
        self._at += 1
        return token

    def _expect(self, token: str) -> None:
        if self._next() != token:
            raise _syntax(self._tokens[self._at - 1])


def read(document: str) -> Operation:
    """The operation in the document. Raises `Refused`."""
    return _Reader(document).operation()


def _tokens(document: str) -> Iterator[str]:
    at = 0
    while at < len(document.rstrip()):
        found = _TOKEN.match(document, at)
        if found is None:
            raise _syntax(document[at : at + 10])
        yield found[0].strip(" \t\r\n,")
        at = found.end()


def _syntax(token: str) -> Refused:
    return Refused(f"syntax error, unexpected {token!r}")


# --- answering -------------------------------------------------------------------------------------------


class Question:
    """An operation with its variables, checked against a schema."""

    def __init__(self, schema: Schema, document: str, variables: Mapping[str, Any]) -> None:
        self._schema, self._given = schema, variables
        self._used: set[str] = set()
        self.operation = read(document)
        self._check_given()
        root = "Query" if self.operation.kind == "query" else "Mutation"
        self.cost = self._check(root, self.operation.fields)
        if unused := self.operation.variables.keys() - self._used:
            raise Refused(f"Variable ${min(unused)} is declared but not used", "variableNotUsed")

    def answer(self, root: Mapping[str, Any], rights: frozenset[str]) -> tuple[dict[str, Any], list[Any]]:
        """The data and the errors; a field without its right is null."""
        errors: list[Any] = []
        kind = "Query" if self.operation.kind == "query" else "Mutation"
        return self._object(kind, root, self.operation.fields, (), rights, errors), errors

    def _check_given(self) -> None:
        for name, kind in self.operation.variables.items():
            if kind.endswith("!") and self._given.get(name) is None:
                raise Refused(
                    f"Variable ${name} of type {kind} was provided invalid value", "INVALID_VARIABLE"
                )
        if unknown := self._given.keys() - self.operation.variables.keys():
            raise Refused(f"Variable ${min(unknown)} is not declared", "undeclaredVariable")

    def _check(self, kind: str, fields: list[Selected]) -> int:
        """The cost of these fields at most."""
        return sum(self._check_field(kind, field) for field in fields)

    def _check_field(self, kind: str, asked: Selected) -> int:
        known = self._schema[kind].get(asked.name)
        if known is None:
            raise Refused(f"Field '{asked.name}' doesn't exist on type '{kind}'", "undefinedField")
        field = Field(kind=known) if isinstance(known, str) else known
        if unknown := asked.arguments.keys() - field.arguments:
            raise Refused(
                f"Field '{asked.name}' doesn't accept argument '{min(unknown)}'", "argumentNotAccepted"
            )
        arguments = self._values(asked.arguments)
        is_included = self._value(asked.include) is True
        if bool(asked.fields) == (field.kind in _SCALARS):
            raise Refused(f"Field '{asked.name}' of type '{field.kind}' must have selections", "selection")
        inside = self._check(field.kind, asked.fields) if asked.fields else 0
        each = inside if _is_free(field.kind) else inside + 1
        times = arguments.get("first", 1) if field.sized else 1
        return (_mutates(kind) + each * times) if is_included else 0

    def _values(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self._value(value) for name, value in arguments.items()}

    def _value(self, value: Any) -> Any:
        if not isinstance(value, _Variable):
            return value
        if value not in self.operation.variables:
            raise Refused(f"Variable ${value} is used but not declared", "variableNotDefined")
        self._used.add(str(value))
        return self._given.get(value)

    def _object(
        self,
        kind: str,
        resolved: Mapping[str, Any],
        fields: list[Selected],
        path: tuple[str | int, ...],
        rights: frozenset[str],
        errors: list[Any],
    ) -> dict[str, Any]:
        answer: dict[str, Any] = {}
        for asked in fields:
            if self._value(asked.include) is not True:
                continue
            known = self._schema[kind][asked.name]
            field = Field(kind=known) if isinstance(known, str) else known
            here = (*path, asked.name)
            if field.right and field.right not in rights:
                errors.append(_denied(asked.name, field.right, here))
                answer[asked.name] = None
                continue
            value = resolved[asked.name]
            found = value(**self._values(asked.arguments)) if callable(value) else value
            answer[asked.name] = self._shaped(field, found, asked, here, rights, errors)
        return answer

    def _shaped(
        self,
        field: Field,
        value: Any,
        asked: Selected,
        path: tuple[str | int, ...],
        rights: frozenset[str],
        errors: list[Any],
    ) -> Any:
        if value is None or field.kind in _SCALARS:
            return value
        if field.listed:
            return [
                self._object(field.kind, item, asked.fields, (*path, index), rights, errors)
                for index, item in enumerate(value)
            ]
        return self._object(field.kind, value, asked.fields, path, rights, errors)


def _is_free(kind: str) -> bool:
    return kind in _SCALARS or kind == "PageInfo" or kind.endswith("Connection")


def _mutates(kind: str) -> int:
    return 10 if kind == "Mutation" else 0


def _denied(name: str, right: str, path: tuple[str | int, ...]) -> dict[str, Any]:
    message = f"Access denied for {name} field. Required access: `{right}` access scope."
    return {"message": message, "path": list(path), "extensions": {"code": "ACCESS_DENIED"}}
