"""Shops and accounts, from the environment and from a file of many."""

from pathlib import Path

import pytest

from integrations import discovery
from integrations.store import ConsentPolicy
from tests.environments import FILE, META, SHOPIFY, STRIPE, TOKEN, WOOCOMMERCE
from webhooks import filters
from webhooks.settings import BadSettings, Settings, describe, load, variables

# --- shops and accounts of the environment ---------------------------------------------------------------


def test_secrets_alone_turn_a_store_on() -> None:
    settings = load({**SHOPIFY, **META})

    (shop,) = settings.shops
    assert (shop.store, shop.slug, shop.accounts) == ("shopify", "shopify", ("meta",))
    assert shop.secrets == ("shpss_0123456789abcdef",)
    assert set(shop.options) == {setting.name for setting in discovery.stores()["shopify"].settings}
    (account,) = settings.accounts
    assert (account.destination, account.slug) == ("meta", "meta")
    assert account.api_base == discovery.destinations()["meta"].api_base
    assert account.options["access_token"] == TOKEN
    declared = (*discovery.destinations()["meta"].settings, *filters.SETTINGS)
    assert set(account.options) == {setting.name for setting in declared}
    assert settings.warnings == ()


@pytest.mark.parametrize("slug", discovery.stores())
def test_every_store_can_be_turned_on(slug: str) -> None:
    environ = {variable.name: "" for variable in variables()}
    settings = load({**environ, f"{slug.upper()}_WEBHOOK_SECRETS": "0123456789abcdef"})

    assert [shop.store for shop in settings.shops] == [slug]


def test_a_shop_is_found_by_store_and_slug() -> None:
    settings = load({**SHOPIFY, **STRIPE, "SHOPIFY_SHOP": "acme"})

    assert settings.shop("shopify", "acme") is settings.shops[0]
    assert settings.shop("shopify", None) is settings.shops[0]
    assert settings.shop("shopify", "stripe") is None
    assert settings.shop("woocommerce", None) is None


def test_an_account_is_found_by_slug() -> None:
    settings = load(META)

    assert settings.account("meta") is settings.accounts[0]
    assert settings.account("pixel") is None


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("0123456789", ["0123456789"]),
        ("new-secret,old-secret", ["new-secret", "old-secret", "new-secret,old-secret"]),
        (" new-secret , old secret ", ["new-secret", "old secret", " new-secret , old secret "]),
        ("inner  blanks <&> ü", ["inner  blanks <&> ü"]),
        (" outer blanks", ["outer blanks", " outer blanks"]),
        ("0123456789\n", ["0123456789"]),
    ],
    ids=["one", "two", "blanks around commas", "inner blanks", "outer blanks", "line break at the end"],
)
def test_a_secret_may_hold_what_woocommerce_puts_into_it(written: str, expected: list[str]) -> None:
    settings = load({"WOOCOMMERCE_WEBHOOK_SECRETS": written})

    assert list(settings.shops[0].secrets) == expected


def test_a_weak_secret_is_only_odd_in_development() -> None:
    settings = load({**META, "SHOPIFY_WEBHOOK_SECRETS": "s3cret"})

    assert settings.shops[0].secrets == ("s3cret",)
    assert len(settings.warnings) == 1
    assert settings.warnings[0].startswith("SHOPIFY_WEBHOOK_SECRETS holds a secret shorter than 8")
    assert "s3cret" not in settings.warnings[0]


def test_a_stand_in_may_take_a_destinations_place_in_development() -> None:
    settings = load({**META, "META_API_BASE": "http://127.0.0.1:9000/"})

    assert settings.accounts[0].api_base == "http://127.0.0.1:9000"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({}, {"meta": discovery.stores()["woocommerce"].event_ids["meta"]}),
        ({"WOOCOMMERCE_EVENT_ID": "{order_name}"}, {"meta": "{order_name}"}),
        (
            {"WOOCOMMERCE_EVENT_ID": "{order_name}", "WOOCOMMERCE_EVENT_ID_META": "wc_{order_id}"},
            {"meta": "wc_{order_id}"},
        ),
    ],
    ids=["of the adapter", "general", "for one destination"],
)
def test_the_nearest_event_id_wins(written: dict[str, str], expected: dict[str, str]) -> None:
    assert load({**WOOCOMMERCE, **META, **written}).shops[0].event_ids == expected


def test_without_words_about_it_the_event_id_is_the_default() -> None:
    assert load({**SHOPIFY, **META}).shops[0].event_ids == {}


# --- what is odd -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("SHOPIFY_WEBHOOK_SECRET", "SHOPIFY_WEBHOOK_SECRETS"),
        ("META_PIXELID", "META_PIXEL_ID"),
        ("RELAY_PUBLICURL", "RELAY_PUBLIC_URL"),
    ],
)
def test_an_unknown_variable_of_ours_is_warned_of(name: str, meant: str) -> None:
    (line,) = [line for line in load({name: "hunter2"}).warnings if line.startswith(name)]

    assert line == f"{name} is not a setting (did you mean {meant}?)"


@pytest.mark.parametrize("name", ["STRIPES", "METAL_X", "GIT_AUTHOR_NAME", "relay_env"])
def test_the_variables_of_others_are_not_our_business(name: str) -> None:
    assert load({name: "x"}).warnings == load({}).warnings


SHARED = {**STRIPE, **SHOPIFY, **META}


@pytest.mark.parametrize(
    ("environ", "is_warned"),
    [
        (SHARED, True),
        ({**SHARED, "STRIPE_EVENT_ID": "s-{order_id}"}, False),
        ({**SHARED, "STRIPE_EVENT_ID": "x-{order_id}", "SHOPIFY_EVENT_ID_META": "x-{order_name}"}, True),
        ({**SHARED, "STRIPE_EVENT_ID": "{shop}-{order_id}", "SHOPIFY_EVENT_ID": "{shop}-{order_id}"}, False),
        ({**STRIPE, **SHOPIFY}, False),
    ],
    ids=["both default", "one prefix", "same prefix", "shop's name", "no account"],
)
def test_shops_that_could_share_an_event_id_are_warned_of(environ: dict[str, str], is_warned: bool) -> None:
    found = [line for line in load(environ).warnings if "same event_id" in line]

    assert bool(found) is is_warned
    assert all("account meta" in line and "shopify, stripe" in line for line in found)


# --- consent ---------------------------------------------------------------------------------------------


def test_silence_is_a_no_where_the_law_wants_a_yes_unless_told_otherwise() -> None:
    assert load({**META, **SHOPIFY}).shops[0].consent == ConsentPolicy(regime="region", limited_use="states")


def test_a_policy_is_what_its_settings_say() -> None:
    written = {"POLICY": "OPT_IN", "OPT_IN_COUNTRIES": "BR, ZA", "LIMITED_USE": "us", "COUNTRY": "US"}
    environ = {f"SHOPIFY_CONSENT_{name}": value for name, value in written.items()}
    expected = ConsentPolicy(regime="opt_in", opt_in_countries=("BR", "ZA"), limited_use="us", country="US")
    assert load({**META, **SHOPIFY, **environ}).shops[0].consent == expected


@pytest.mark.parametrize(
    ("name", "value", "warned"),
    [
        ("POLICY", "opt_out", "shop shopify: consent_policy is opt_out"),
        ("LIMITED_USE", "off", "shop shopify: consent_limited_use is off"),
        ("POLICY", "opt_in", ""),
        ("LIMITED_USE", "us", ""),
    ],
)
def test_whoever_switches_it_off_is_told_so(name: str, value: str, warned: str) -> None:
    configured = load({**META, **SHOPIFY, f"SHOPIFY_CONSENT_{name}": value})
    told = [one for one in configured.warnings if "consent" in one]
    assert [one.startswith(warned) for one in told] == ([True] if warned else [])
    [shown] = [value for name, value in describe(configured) if name == "shop shopify"]
    assert f"consent_{name.lower()}={value}" in shown


@pytest.mark.parametrize(
    ("name", "value"),
    [("POLICY", "off"), ("LIMITED_USE", "no"), ("COUNTRY", "usa"), ("OPT_IN_COUNTRIES", "Brazil")],
)
def test_no_word_of_a_policy_is_guessed(name: str, value: str) -> None:
    with pytest.raises(BadSettings, match=f"SHOPIFY_CONSENT_{name} must"):
        load({**META, **SHOPIFY, f"SHOPIFY_CONSENT_{name}": value})


# --- the file --------------------------------------------------------------------------------------------


@pytest.fixture
def many() -> Settings:
    return load(FILE)


def test_a_file_describes_many_shops(many: Settings) -> None:
    assert [shop.slug for shop in many.shops] == ["acme-de", "acme-fr", "bolt"]
    german = many.shop("shopify", "acme-de")
    assert german is not None
    assert german.accounts == ("acme-meta", "group-meta")
    assert german.event_ids == {"acme-meta": "{order_id}", "group-meta": "de-{order_id}"}
    assert german.consent == ConsentPolicy(regime="opt_in", opt_in_countries=("BR",))
    assert german.options["trigger"] == "placed"
    assert german.options["api_apps"] == ("16818700281", "marketplace")
    assert german.secrets[:2] == ("shpss_new0123456789", "shpss_old0123456789")
    assert many.shop("shopify", None) is None
    bolt = many.shop("woocommerce", None)
    assert bolt is not None
    assert bolt.accounts == ("acme-meta", "group-meta")


def test_a_file_describes_many_accounts(many: Settings) -> None:
    acme, group = many.accounts
    assert (acme.slug, acme.options["pixel_id"], acme.options["access_token"]) == (
        "acme-meta",
        "1111111111",
        TOKEN,
    )
    assert acme.options["test_event_code_until"] == 1769817600
    assert group.options["access_token"] == "EAABgroupTOKENnotreal"
    assert group.options["app_secret"] == "group-app-secret"


def test_a_variable_that_the_file_names_makes_no_account_and_no_warning(many: Settings) -> None:
    assert many.account("meta") is None
    assert many.warnings == ()


def test_the_environment_adds_its_shop_and_account_to_the_files() -> None:
    settings = load({**FILE, **STRIPE, **META})

    assert [shop.slug for shop in settings.shops] == ["stripe", "acme-de", "acme-fr", "bolt"]
    assert [account.slug for account in settings.accounts] == ["meta", "acme-meta", "group-meta"]
    assert settings.shops[0].accounts == ("meta", "acme-meta", "group-meta")


def test_a_shop_may_send_to_nobody_for_now(tmp_path: Path) -> None:
    path = tmp_path / "relay.toml"
    path.write_text(
        '[[shops]]\nslug="a"\nstore="stripe"\nwebhook_secrets_env="A_B"\ndestinations=[]\n', "utf-8"
    )

    settings = load({"RELAY_CONFIG": str(path), "A_B": "0123456789", **META})

    assert settings.shops[0].accounts == ()
    assert settings.warnings == ("shop a sends to nobody",)
