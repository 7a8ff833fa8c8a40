"""The settings: what is right is understood, what is wrong is said in one line that names it."""

import json
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.environments import DATA, FILE, KEY, META, PRODUCTION, SHOPIFY, TOKEN, WOOCOMMERCE
from webhooks.settings import BadSettings, describe, env_example, load, variables
from webhooks.settings_variables import COMMAND

ROOT = Path(__file__).parents[2]

BROKEN: list[dict[str, Any]] = json.loads((DATA / "broken.json").read_text("utf-8"))


def outcome(environ: dict[str, str]) -> tuple[str, ...]:
    """What is said about an environment, whether it is good enough or not."""
    try:
        settings = load(environ)
    except BadSettings as error:
        return error.problems
    return (*settings.warnings, *(text for row in describe(settings) for text in row))


def problems(environ: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(BadSettings) as caught:
        load(environ)
    assert str(caught.value).splitlines() == list(caught.value.problems)
    return caught.value.problems


# --- what is wrong ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", BROKEN, ids=[case["id"] for case in BROKEN])
def test_a_mistake_is_one_line_that_names_it_and_keeps_the_value_to_itself(
    case: dict[str, Any], tmp_path: Path
) -> None:
    environ = {**PRODUCTION, **case["environ"]} if case.get("production") else dict(case["environ"])
    if "file" in case:
        (tmp_path / "relay.toml").write_text("\n".join(case["file"]), "utf-8")
        environ["RELAY_CONFIG"] = str(tmp_path / "relay.toml")

    found = problems(environ)

    assert len(found) == 1, found
    assert found[0].startswith(case["names"])
    assert case["says"] in found[0]
    assert "hidden" not in case or case["hidden"] not in found[0]


def test_every_problem_is_told_at_once() -> None:
    found = problems({"RELAY_ENV": "prod", "PORT": "no", "META_PIXEL_ID": "1234567890", "SHOPIFY_POS": "yes"})

    names = [line.split()[0] for line in found]
    assert sorted(names) == [
        "META_ACCESS_TOKEN",
        "PORT",
        "RELAY_ENV",
        "SHOPIFY_POS",
        "SHOPIFY_WEBHOOK_SECRETS",
    ]


def test_a_misspelled_name_explains_what_is_missing() -> None:
    found = problems({"META_PIXL_ID": "1234567890", "META_ACCESS_TOKEN": TOKEN})

    assert found == (
        "META_PIXEL_ID is missing, although META_ACCESS_TOKEN is set",
        "META_PIXL_ID is not a setting (did you mean META_PIXEL_ID?)",
    )


@pytest.mark.parametrize("text", ["\udcff", "a\x00b", "\x85"], ids=["no UTF-8", "NUL", "control"])
@pytest.mark.parametrize("name", [variable.name for variable in variables()])
def test_bytes_that_are_no_text_never_crash(name: str, text: str) -> None:
    assert all(line.isprintable() for line in outcome({name: text}))


@given(
    environ=st.dictionaries(
        st.sampled_from([variable.name for variable in variables() if variable.name != "RELAY_CONFIG"]),
        st.text(max_size=40) | st.sampled_from(["https://[", "postgres://h:x/", "{", "~", "production", "1"]),
        max_size=8,
    )
)
def test_whatever_is_written_only_bad_settings_is_raised(environ: dict[str, str]) -> None:
    assert all(line.isprintable() for line in outcome(environ))


@given(text=st.text(max_size=200) | st.text(string.printable, max_size=200).map("[[shops]]\nslug=".__add__))
def test_whatever_stands_in_the_file_only_bad_settings_is_raised(
    text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "odd.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert all(line.isprintable() for line in outcome({"RELAY_CONFIG": str(path)}))


# --- the common settings ---------------------------------------------------------------------------------


def test_nothing_set_is_a_working_development_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    settings = load({})

    assert settings.env == "development"
    assert settings.data_dir == tmp_path / ".relay"
    assert settings.database_url == f"sqlite:///{tmp_path}/.relay/ledger.db"
    assert settings.database_is_embedded
    assert (settings.redis_url, settings.public_url, settings.sentry_dsn) == ("", "", "")
    assert settings.secret_keys == ()
    assert settings.port == 8000
    assert settings.retry_schedule == (30, 120, 600, 1800, 3600, 7200, 14400, 28800, 43200)
    assert (settings.lease_seconds, settings.sweep_seconds) == (60, 10)
    assert (settings.retention_days, settings.max_body_bytes) == (30, 2 * 1024 * 1024)
    assert (settings.web_workers, settings.web_threads, settings.worker_processes) == (2, 64, 1)
    assert (settings.shops, settings.accounts) == ((), ())
    assert [line.split(":")[1].split("(")[0].strip() for line in settings.warnings] == [
        "nothing to receive",
        "nothing to send to",
    ]


def test_the_environment_of_the_process_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "8123")

    assert load().port == 8123


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load({variable.name: "" for variable in variables()}) == load({})


def test_a_copy_of_the_example_is_as_good_as_nothing() -> None:
    lines = [line.partition("=") for line in env_example().splitlines() if line and line[0] != "#"]

    assert load({name: text for name, _, text in lines}) == load({})


@pytest.mark.parametrize("address", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_spelling_of_postgresql_becomes_the_drivers(address: str) -> None:
    settings = load({"DATABASE_URL": f"{address}://relay:hunter2@localhost/relay?application_name=x"})

    assert settings.database_url == "postgresql+psycopg://relay:hunter2@localhost/relay?application_name=x"
    assert not settings.database_is_embedded


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("postgres://u:p@db.example.com/d", "postgresql+psycopg://u:p@db.example.com/d?sslmode=require"),
        (
            "postgres://u:p@db.example.com/d?connect_timeout=3",
            "postgresql+psycopg://u:p@db.example.com/d?connect_timeout=3&sslmode=require",
        ),
        (
            "postgres://u:p@db.example.com/d?sslmode=disable",
            "postgresql+psycopg://u:p@db.example.com/d?sslmode=disable",
        ),
        ("postgres://u:p@127.0.0.1:5433/d", "postgresql+psycopg://u:p@127.0.0.1:5433/d"),
        ("postgres://u:p@[::1]/d", "postgresql+psycopg://u:p@[::1]/d"),
        ("postgresql:///d?host=/run/postgresql", "postgresql+psycopg:///d?host=/run/postgresql"),
    ],
    ids=["network", "network with query", "owner decided", "loopback", "loopback 6", "socket"],
)
def test_production_demands_tls_of_a_database_on_the_network(address: str, expected: str) -> None:
    assert load({**PRODUCTION, "DATABASE_URL": address}).database_url == expected


def test_a_relative_sqlite_file_starts_at_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert load({"DATABASE_URL": "sqlite:///my.db"}).database_url == f"sqlite:///{tmp_path}/my.db"
    assert load({"DATABASE_URL": "sqlite:////srv/my.db"}).database_url == "sqlite:////srv/my.db"


def test_a_single_machine_may_be_production_on_its_embedded_stores() -> None:
    settings = load({"RELAY_ENV": "production", "RELAY_EMBEDDED": "yes", **SHOPIFY, **META})

    assert settings.env == "production"
    assert settings.database_is_embedded
    assert settings.warnings == ()


def test_a_ledger_elsewhere_with_keys_here_is_warned_of() -> None:
    settings = load({**SHOPIFY, **META, "DATABASE_URL": "postgres://u:p@localhost/d"})

    assert [line.split()[0] for line in settings.warnings] == ["RELAY_SECRET_KEYS"]


def test_redis_keeps_its_words_about_certificates() -> None:
    assert load(PRODUCTION).redis_url == PRODUCTION["REDIS_URL"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        *[(word, True) for word in ("true", "YES", "on", "1", " yes ")],
        *[(word, False) for word in ("false", "No", "off", "0")],
    ],
)
def test_booleans_are_read_generously(written: str, expected: bool) -> None:
    settings = load({**SHOPIFY, **META, "SHOPIFY_TEST_ORDERS": written})

    assert settings.shops[0].options["test_orders"] is expected


# --- what is shown ---------------------------------------------------------------------------------------


def test_no_secret_is_ever_shown() -> None:
    environ = {
        **FILE,
        **PRODUCTION,
        **SHOPIFY,
        **META,
        "META_APP_SECRET": "https://hunter2.example.com",
        "SENTRY_DSN": "https://hunter2@sentry.example.com/1",
    }
    hidden = [text for name, text in environ.items() if name.endswith(("_SECRETS", "_SECRET", "_TOKEN"))]

    settings = load(environ)

    shown = "\n".join(f"{name}: {value}" for name, value in describe(settings)) + repr(settings)
    for secret in [*hidden, KEY, "hunter2", "shpss_new0123456789"]:
        assert secret not in shown


def test_the_summary_names_what_matters() -> None:
    settings = load({**PRODUCTION, **WOOCOMMERCE, **META, "RELAY_PUBLIC_URL": "https://relay.example.com/"})

    shown = dict(describe(settings))

    assert shown["RELAY_ENV"] == "production"
    assert shown["DATABASE_URL"] == "postgresql+psycopg://db.example.com:5432/relay"
    assert shown["REDIS_URL"] == "rediss://cache.example.com:6379"
    assert shown["RELAY_SECRET_KEYS"] == "set"
    assert shown["SENTRY_DSN"] == "not set"
    assert shown["RELAY_RETRY_SCHEDULE"].startswith("30,120,")
    assert shown["shop woocommerce"].startswith(
        "https://relay.example.com/webhooks/woocommerce/woocommerce, sends to meta"
    )
    assert "webhook_secrets=set" in shown["shop woocommerce"]
    assert "pixel_id=1234567890" in shown["account meta"]
    assert "access_token=set" in shown["account meta"]
    assert "app_secret=not set" in shown["account meta"]
    assert dict(describe(load({})))["REDIS_URL"] == "embedded"


def test_every_variable_is_explained_once() -> None:
    names = [variable.name for variable in variables()]

    assert len(names) == len(set(names))
    assert all(variable.help for variable in variables())


def test_the_example_is_current() -> None:
    written = (ROOT / ".env.example").read_text("utf-8")

    assert written == env_example(), f"make it anew: {COMMAND}"
