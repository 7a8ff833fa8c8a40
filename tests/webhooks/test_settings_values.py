"""Single values of settings, by their kind."""

import pytest

from integrations import discovery
from integrations.setting import Secret, Setting
from webhooks import settings_values as values
from webhooks.vault import Vault


@pytest.mark.parametrize(
    ("setting", "written", "expected"),
    [
        (Setting("n", "a number", kind="int"), "-12", -12),
        (Setting("n", "a number", kind="int"), "", None),
        (Setting("n", "a number", kind="int", default="7"), " ", 7),
        (Setting("n", "words", kind="list"), " a, b ,,c", ("a", "b", "c")),
        (Setting("n", "words", kind="list"), "", ()),
        (Setting("n", "words", kind="choice", choices=("", "LDU")), "ldu", "LDU"),
        (Setting("n", "words", kind="choice", choices=("", "LDU")), "", ""),
        (Setting("n", "a time", kind="time"), "2026-01-31T00:00:00+01:00", 1769814000),
        (Setting("n", "a time", kind="time"), "", None),
        (Setting("n", "a switch", kind="bool"), "", False),
        (Setting("n", "words"), "  words  ", "words"),
        (Setting("n", "words", pattern="[0-9]+"), "1\n", "1"),
    ],
)
def test_a_value_is_read_by_its_kind(setting: Setting, written: str, expected: object) -> None:
    assert values.of_setting(setting, written) == expected


@pytest.mark.parametrize(
    ("setting", "written"),
    [
        (Setting("n", "a number", kind="int"), "1_000"),
        (Setting("n", "a number", kind="int"), "9" * 5000),
        (Setting("n", "words", kind="list", choices=("a", "b")), "a,c"),
        (Setting("n", "words", kind="list", pattern="[0-9]+"), "1,x"),
        (Setting("n", "words", pattern="[0-9]+"), "1 2"),
        (Setting("n", "a template", kind="event_id"), "{nothing}"),
    ],
    ids=["underscore", "endless", "list of words", "list of patterns", "pattern", "template"],
)
def test_a_value_of_another_kind_is_refused(setting: Setting, written: str) -> None:
    with pytest.raises(values.BadValue):
        values.of_setting(setting, written)


def test_a_secret_value_stays_one() -> None:
    assert repr(values.of_setting(Setting("n", "words", secret=True), "hunter2")) == "'***'"
    assert isinstance(values.of_setting(Setting("n", "words", secret=True), ""), Secret)
    listed = values.of_setting(Setting("n", "words", kind="list", secret=True), "hunter2,hunter3")
    assert repr(listed) == "('***', '***')"


def test_every_default_of_an_adapter_is_a_value_it_accepts() -> None:
    declared = [setting for store in discovery.stores().values() for setting in store.settings]
    declared += [setting for one in discovery.destinations().values() for setting in one.settings]
    for setting in declared:
        values.of_setting(setting, "")


def test_any_long_random_text_is_a_key() -> None:
    (key,) = values.fernet_keys("made-by-a-hosts-secret-generator-1")
    assert Vault([key]).open(Vault([key]).seal(b"x")) == b"x"
    assert values.fernet_keys("made-by-a-hosts-secret-generator-1") == (key,)


@pytest.mark.parametrize(
    ("written", "verify", "read"),
    [
        ("rediss://h:1", True, "rediss://h:1"),
        ("rediss://h:1", False, "rediss://h:1?ssl_cert_reqs=none"),
        ("rediss://h:1?db=2", False, "rediss://h:1?db=2&ssl_cert_reqs=none"),
        ("rediss://h:1?ssl_cert_reqs=required", False, "rediss://h:1?ssl_cert_reqs=required"),
        ("redis://h:1", False, "redis://h:1"),
    ],
)
def test_whether_redis_must_prove_who_it_is(written: str, verify: bool, read: str) -> None:
    assert values.redis_url(written, verify=verify) == read
