"""The only reader of the environment: every setting, and every problem with one, at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from integrations.destination import Account
from integrations.setting import Secret
from integrations.store import Shop


class BadSettings(Exception):
    """The relay cannot start. ``problems`` are sentences that name the variable and never its value."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Variable(msgspec.Struct, frozen=True, kw_only=True):
    """One variable of the environment, as `.env.example` shows it."""

    name: str
    help: str
    group: str
    default: str = ""
    example: str = ""
    secret: bool = False


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings, parsed. URLs may hold a password and are therefore `Secret` at run time."""

    env: Literal["development", "production"]
    data_dir: Path
    database_url: str
    database_is_embedded: bool
    redis_url: str
    port: int
    public_url: str
    sentry_dsn: Secret
    secret_keys: tuple[Secret, ...]
    retry_schedule: tuple[float, ...]
    lease_seconds: float
    sweep_seconds: float
    retention_days: int
    max_body_bytes: int
    web_workers: int
    web_threads: int
    worker_processes: int
    shops: tuple[Shop, ...]
    accounts: tuple[Account, ...]
    warnings: tuple[str, ...]

    def shop(self, store: str, slug: str | None) -> Shop | None:
        """The shop of that store; without a slug, the one shop that the store has."""
        of_store = [shop for shop in self.shops if shop.store == store]
        if slug is None:
            return of_store[0] if len(of_store) == 1 else None
        return next((shop for shop in of_store if shop.slug == slug), None)

    def account(self, slug: str) -> Account | None:
        """The account with that slug."""
        return next((account for account in self.accounts if account.slug == slug), None)


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process; raises `BadSettings` with all problems at once."""
    raise NotImplementedError


def describe(settings: Settings) -> list[tuple[str, str]]:
    """Name and value of every setting, for people; of secrets only "set" or "not set"."""
    raise NotImplementedError


def variables() -> list[Variable]:
    """Every variable there is: the common ones, then those of each store and destination."""
    raise NotImplementedError
