"""The file of many shops and accounts that ``RELAY_CONFIG`` names.

TOML with ``[[shops]]`` and ``[[accounts]]``. No secret stands in it: ``access_token_env = "ACME_TOKEN"``
names the variable that holds the ``access_token``.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from integrations import discovery
from integrations.destination import Destination
from integrations.setting import Setting
from integrations.store import Store
from webhooks import settings_accounts as accounts
from webhooks.settings_accounts import EVENT_ID, Draft, Written
from webhooks.settings_values import BadValue, Findings, directory, hint

_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,79}")


class Drafts(msgspec.Struct, frozen=True):
    """What the file describes. ``variables`` are the names of the variables that it refers to."""

    shops: tuple[Draft, ...] = ()
    accounts: tuple[Draft, ...] = ()
    variables: frozenset[str] = frozenset()


def read(
    path: str,
    environ: Mapping[str, str],
    findings: Findings,
) -> Drafts:
    """The drafts of the file; whatever is wrong with it goes to ``findings``."""
    if not path:
        return Drafts()
    try:
        document = _document(path)
    except BadValue as error:
        findings.problems.append(f"RELAY_CONFIG {error}")
        return Drafts()
    stores, destinations = discovery.stores(), discovery.destinations()
    reader = _File(directory(path).name, environ, findings)
    reader.refuse_unknown(reader.name, document, ("shops", "accounts"))
    account_drafts = [
        reader.account(table, n, destinations) for n, table in reader.tables(document, "accounts")
    ]
    shop_drafts = [reader.shop(table, n, stores) for n, table in reader.tables(document, "shops")]
    return Drafts(
        shops=tuple(draft for draft in shop_drafts if draft),
        accounts=tuple(draft for draft in account_drafts if draft),
        variables=frozenset(reader.variables),
    )


def _document(path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(directory(path).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, tomllib.TOMLDecodeError):
            raise BadValue(f"names a file with a mistake: {error}") from None
        if isinstance(error, OSError):
            raise BadValue(f"names a file that cannot be read: {error.strerror}") from None
        raise BadValue("names a file that is not TOML in UTF-8") from None


class _File:
    def __init__(self, name: str, environ: Mapping[str, str], findings: Findings) -> None:
        self.name, self.environ, self.findings = name, environ, findings
        self.variables: set[str] = set()

    def problem(self, sentence: str) -> None:
        self.findings.problems.append(sentence)

    def refuse_unknown(self, place: str, table: Mapping[str, Any], known: Iterable[str]) -> None:
        """Notes every key that means nothing, with what was perhaps meant."""
        known = tuple(known)
        for key in table:
            if key not in known and f"{key}_env" in known:
                self.problem(
                    f"{place}: {key} must not stand in the file: put it into the environment and name the "
                    f'variable, like {key}_env = "ACME_{key.upper()}"'
                )
            elif key not in known:
                self.problem(f"{place}: {key} is not a setting{hint(key, known)}")

    def tables(self, document: Mapping[str, Any], key: str) -> list[tuple[int, dict[str, Any]]]:
        """The tables of ``[[key]]``, numbered from 1."""
        found = document.get(key, [])
        if not isinstance(found, list) or not all(isinstance(table, dict) for table in found):
            self.problem(f"{self.name}: {key} must be written as [[{key}]], once for each")
            return []
        return list(enumerate(found, start=1))

    def account(
        self, table: dict[str, Any], number: int, destinations: Mapping[str, Destination]
    ) -> Draft | None:
        place = self._place("account", table, number)
        slug = self._adapter(place, table, "destination", destinations)
        if slug is None:
            return None
        settings = accounts.account_settings(destinations[slug])
        self.refuse_unknown(place, table, ("slug", "destination", *_keys(settings)))
        return self._draft(place, table, slug, settings)

    def shop(self, table: dict[str, Any], number: int, stores: Mapping[str, Store]) -> Draft | None:
        place = self._place("shop", table, number)
        slug = self._adapter(place, table, "store", stores)
        if slug is None:
            return None
        settings = accounts.shop_settings(stores[slug])
        known = ("slug", "store", "destinations", "event_ids", *_keys(settings))
        self.refuse_unknown(place, table, known)
        return msgspec.structs.replace(
            self._draft(place, table, slug, settings),
            accounts=self._accounts(place, table),
            event_ids=self._event_ids(place, table),
        )

    def _place(self, kind: str, table: Mapping[str, Any], number: int) -> str:
        slug = table.get("slug")
        readable = isinstance(slug, str) and re.fullmatch(r"[a-z0-9-]{1,40}", slug)
        return f"{self.name}: {kind} {slug if readable else number}"

    def _adapter(
        self, place: str, table: Mapping[str, Any], key: str, known: Mapping[str, object]
    ) -> str | None:
        slug = table.get(key)
        if isinstance(slug, str) and slug in known:
            return slug
        guess = hint(slug, known) if isinstance(slug, str) else ""
        self.problem(f"{place}: {key} must be one of {', '.join(known)}{guess}")
        return None

    def _draft(
        self, place: str, table: Mapping[str, Any], adapter: str, settings: Iterable[Setting]
    ) -> Draft:
        settings = tuple(settings)
        slug = table.get("slug")
        found = {setting.name: self._written(place, table, setting) for setting in settings}
        return Draft(
            adapter=adapter,
            slug=slug if isinstance(slug, str) else "",
            place=place if isinstance(slug, str) else f"{place}: slug",
            names={setting.name: f"{place}: {_key(setting)}" for setting in settings},
            written={name: entry for name, entry in found.items() if entry},
        )

    def _written(self, place: str, table: Mapping[str, Any], setting: Setting) -> Written | None:
        key = _key(setting)
        if key not in table:
            in_clear = setting.secret and setting.name in table
            return Written(f"{place}: {key}", "") if in_clear else None
        try:
            if setting.secret:
                return self._from_variable(place, key, table[key])
            text = _as_text(setting, table[key])
        except BadValue as error:
            self.problem(f"{place}: {key} {error}")
            text = ""
        else:
            if not text.strip():
                return None
        return Written(f"{place}: {key}", text)

    def _from_variable(self, place: str, key: str, name: object) -> Written:
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            raise BadValue("must be the name of a variable, in capitals, like ACME_TOKEN")
        self.variables.add(name)
        text = self.environ.get(name, "")
        if text.strip():
            return Written(name, text)
        self.problem(f"{name} is not set ({place}: {key} names it)")
        return Written(name, "")

    def _accounts(self, place: str, table: Mapping[str, Any]) -> tuple[str, ...] | None:
        named = table.get("destinations")
        if named is None:
            return None
        if not isinstance(named, list) or not all(isinstance(slug, str) for slug in named):
            self.problem(f'{place}: destinations must be a list of accounts, like ["acme-meta"]')
            return None
        return tuple(named)

    def _event_ids(self, place: str, table: Mapping[str, Any]) -> dict[str, Written]:
        templates = table.get("event_ids", {})
        if not isinstance(templates, dict):
            self.problem(f"{place}: event_ids must be written as [shops.event_ids]")
            return {}
        found = {}
        for account, template in templates.items():
            name = f"{place}: event_ids: {account}"
            try:
                found[account] = Written(name, _as_text(EVENT_ID, template))
            except BadValue as error:
                self.problem(f"{name} {error}")
        return found


def _key(setting: Setting) -> str:
    return f"{setting.name}_env" if setting.secret else setting.name


def _keys(settings: Iterable[Setting]) -> tuple[str, ...]:
    return tuple(_key(setting) for setting in settings)


def _as_text(setting: Setting, value: object) -> str:
    """The value as it would stand in a variable; raises `BadValue` for another type than the setting's."""
    if setting.kind == "bool":
        return _bool_text(value)
    if setting.kind == "int" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if setting.kind == "list":
        return _list_text(value)
    if setting.kind == "time" and isinstance(value, datetime):
        return value.isoformat()
    if setting.kind == "int" or not isinstance(value, str):
        raise BadValue("must be a whole number" if setting.kind == "int" else "must be text in quotes")
    return value


def _bool_text(value: object) -> str:
    if not isinstance(value, bool):
        raise BadValue("must be true or false, without quotes")
    return "yes" if value else "no"


def _list_text(value: object) -> str:
    if not isinstance(value, list) or not all(isinstance(item, str) and "," not in item for item in value):
        raise BadValue('must be a list of texts, like ["a", "b"]')
    return ",".join(value)
