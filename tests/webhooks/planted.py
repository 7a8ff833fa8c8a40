"""Every fault that the doctor is tried with: how it is planted, which link it breaks, what is said of it, and
the remedy. One at a time, in a deployment that is well otherwise."""

import socketserver
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy import select, update

from integrations.destination import Outcome
from tests.webhooks.deployment import Deployment, answering, served
from tests.webhooks.tls import context
from webhooks.clock import DAY, HOUR, MINUTE, now_ms
from webhooks.doctor import ledger
from webhooks.relay import fingerprint
from webhooks.sandbox import shopify_sender
from webhooks.sandbox.standin import Step
from webhooks.schema import deliveries, events, shops, sightings, twins

Plant = Callable[[Deployment, pytest.MonkeyPatch], object]
"""Plants the fault. What it returns, if it can be iterated, is gone through: up to the yield before, after it
when the doctor has been."""


class Planted(NamedTuple):
    """One fault, and what must be found of it."""

    plant: Plant
    link: str
    state: str
    sentence: str
    remedy: str


PLANTED: list[Planted] = []


def planted(link: str, state: str, sentence: str, remedy: str) -> Callable[[Plant], Plant]:
    """Puts a fault into the table."""

    def note(plant: Plant) -> Plant:
        PLANTED.append(Planted(plant, link, state, sentence, remedy))
        return plant

    return note


# --- settings --------------------------------------------------------------------------------------------


@planted("settings", "fault", "PORT must be a whole number", "correct it")
def a_broken_setting(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    deployment.environment["PORT"] = "eighty"


@planted("settings", "fault", "no shop is set up", "set the WEBHOOK_SECRETS of a store")
def no_shop(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    deployment.without("SHOPIFY_", "WOOCOMMERCE_")


@planted("settings", "fault", "no account of a destination is set up", "set the settings of a destination")
def no_destination(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    deployment.without("META_", "SNAPCHAT_")


@planted("settings", "warning", "shop lonely sends to nobody", "name accounts for it")
def a_shop_without_accounts(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    file = Path(deployment.environment["RELAY_DATA_DIR"], "relay.toml")
    lines = ["[[shops]]", 'slug = "lonely"', 'store = "stripe"', 'webhook_secrets_env = "LONELY"']
    file.write_text("\n".join([*lines, "destinations = []"]))
    deployment.environment |= {"RELAY_CONFIG": str(file), "LONELY": "whsec_0123456789"}
    deployment.serve()


@planted("settings", "warning", "SHOPIFY_WEBHOOK_SECRETS holds a secret shorter than 8", "correct it")
def a_short_secret(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    deployment.environment["SHOPIFY_WEBHOOK_SECRETS"] += ",short"


@planted("settings", "warning", "META_PIXLE_ID is not a setting (did you mean META_PIXEL_ID?)", "correct it")
def a_misspelled_variable(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    deployment.environment["META_PIXLE_ID"] = "1"


# --- database and keys -----------------------------------------------------------------------------------


@planted("database", "fault", "does not answer", "start it, or correct DATABASE_URL")
def a_database_that_is_away(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    deployment.environment["DATABASE_URL"] = "postgresql://relay:hidden-word@127.0.0.1:1/relay"


@planted("database", "fault", "there is no ledger yet", "run `purchase-relay db upgrade`")
def a_database_without_a_file(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    deployment.environment["DATABASE_URL"] += ".gone"


@planted("database", "fault", "its tables are not up to date", "run `purchase-relay db upgrade`")
def a_database_of_an_older_version(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    with deployment.relay.database.write() as db:
        db.exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")


@planted("database", "fault", "is locked by another process (SQLITE_BUSY)", "end whatever writes to the file")
def a_database_that_somebody_locks(deployment: Deployment, _patch: pytest.MonkeyPatch) -> Iterator[None]:
    file = str(deployment.relay.database.url.database)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@planted("database", "warning", "MB are left on its disk", "make room")
def a_disk_that_is_nearly_full(deployment: Deployment, patch: pytest.MonkeyPatch) -> None:
    """No disk is as large as this."""
    patch.setattr(ledger, "LITTLE", 10**30)


@planted(
    "database", "fault", "it is a file on a dyno, which forgets its disk", "set DATABASE_URL to a PostgreSQL"
)
def a_file_on_a_dyno(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    deployment.environment["DYNO"] = "web.1"


@planted("keys", "fault", "open with none of the configured keys", "put the key that sealed them back")
def a_key_that_was_thrown_away(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    deployment.environment["RELAY_SECRET_KEYS"] = "another-key-of-the-tests-is-long-enough"


# --- Redis and processes ---------------------------------------------------------------------------------


@planted("redis", "fault", "does not answer", "start it, or correct REDIS_URL")
def a_redis_that_is_away(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    deployment.environment["REDIS_URL"] += ".gone"


@planted("redis", "fault", "maxmemory-policy is allkeys-lru", "set maxmemory-policy noeviction")
def a_redis_that_evicts(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    deployment.redis.config_set("maxmemory-policy", "allkeys-lru")
    deployment.redis.config_set("maxmemory", 1_000_000_000)


@planted("redis", "warning", "of its memory are used", "give it more memory")
def a_redis_that_is_nearly_full(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    used = deployment.redis.info("memory")["used_memory"]
    deployment.redis.config_set("maxmemory", int(used * 1.1))


@planted("redis", "fault", "its version is too old for the queue", "upgrade it to Redis 6 or Valkey")
def a_redis_of_long_ago(deployment: Deployment, _patch: pytest.MonkeyPatch) -> Iterator[None]:
    with _old_redis() as port:
        deployment.environment["REDIS_URL"] = f"redis://127.0.0.1:{port}"
        yield


@planted("processes", "fault", "no worker looks at the queue", "run `purchase-relay worker`")
def no_worker(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    for key in deployment.redis.scan_iter("rq:worker*"):
        deployment.redis.delete(key)


@planted("processes", "fault", "no sweep has run for", "run `purchase-relay sweep`")
def a_sweep_that_ended(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    deployment.relay.wake.note_sweep(now_ms() - HOUR)


@planted("processes", "fault", "2 deliveries are overdue, one for 10 min", "look into the worker's log")
def deliveries_that_nobody_sends(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    _change(deployment, state="due", due_at=now_ms() - 10 * MINUTE)


# --- the public URL --------------------------------------------------------------------------------------


@planted("public url", "warning", "RELAY_PUBLIC_URL is not set", "set it to the address under which")
def no_public_url(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    deployment.without("RELAY_PUBLIC_URL")


@planted("public url", "fault", "its name is not found", "make a DNS record for it")
def a_name_that_is_not_found(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    deployment.move("https://relay.invalid")


@planted("public url", "fault", "the connection is refused", "start the web process")
def a_port_where_nobody_listens(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    deployment.move("http://127.0.0.1:1")


@planted("public url", "fault", "its TLS certificate is not valid", "renew the certificate")
def a_certificate_that_nobody_trusts(deployment: Deployment, _patch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = Path(deployment.environment["RELAY_DATA_DIR"])
    with served(deployment.front, context(folder)) as address:
        deployment.move(address)
        yield


@planted(
    "public url",
    "fault",
    "redirects to www.example.com",
    "set RELAY_PUBLIC_URL and the webhooks to the final",
)
def a_url_that_redirects(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    elsewhere = "https://www.example.com/readyz?token=hidden-word"
    deployment.front.planted[""] = answering("301 Moved Permanently", Location=elsewhere)


@planted(
    "public url",
    "fault",
    "is answered by something else than this relay (HTTP 200)",
    "lead to the web process",
)
def a_parked_domain(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    deployment.front.planted[""] = answering("200 OK", b"<html>This domain is for sale</html>")


@planted(
    "public url", "fault", "cannot take orders (database: needs `purchase-relay db", "restart the web process"
)
def a_relay_that_is_not_ready(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    before = deployment.environment["DATABASE_URL"]
    deployment.environment["DATABASE_URL"] += ".new"
    deployment.serve()
    deployment.environment["DATABASE_URL"] = before


@planted(
    "hook addresses",
    "fault",
    "something before the relay answers hooks to shop",
    "have the proxy or firewall",
)
def a_firewall_before_the_hooks(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    deployment.front.planted["/webhooks/shopify"] = answering("403 Forbidden", b"Attention Required!")


@planted("hook addresses", "fault", "shop shopify (HTTP 404)", "have the proxy or firewall")
def a_proxy_that_knows_no_such_path(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    deployment.front.planted["/webhooks/shopify"] = answering("404 Not Found", b"<h1>nginx</h1>")


@planted("hook addresses", "fault", "shop shopify (HTTP 401)", "without a password")
def a_proxy_that_asks_for_a_password(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    deployment.front.planted["/webhooks/shopify"] = answering("401 Unauthorized", WWW_Authenticate="Basic")


@planted("hook addresses", "fault", "the address of shop woocommerce redirects", "to the final address")
def a_path_that_redirects(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    deployment.front.planted["/webhooks/woo"] = answering("308 Permanent Redirect", Location="/elsewhere")


@planted("hook addresses", "fault", "does not know shop woocommerce", "restart the web process with the same")
def a_web_process_with_older_settings(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    before = dict(deployment.environment)
    deployment.without("WOOCOMMERCE_")
    deployment.serve()
    deployment.environment |= before


@planted("clock", "fault", "ahead of the one of RELAY_PUBLIC_URL", "have both kept by NTP")
def a_clock_that_is_wrong(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    told = b'{"ready": true, "checks": {}}'
    date = "Sat, 01 Jan 2000 00:00:00 GMT"
    deployment.front.planted["/readyz"] = answering("200 OK", told, Date=date)


# --- shops -----------------------------------------------------------------------------------------------


@planted("shop woocommerce", "fault", "its API refuses us", "WOOCOMMERCE_CONSUMER")
def a_shop_that_refuses_our_key(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    deployment.woocommerce.refuses = "credentials"


@planted("shop shopify", "fault", "its API refuses us", "read_orders")
def an_app_without_a_right(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    deployment.shopify.refuses = "rights"


@planted("shop woocommerce", "warning", "its API does not answer as it should", "try again later")
def a_shop_that_is_down(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    deployment.woocommerce.down_until = 2.0**40


@planted("shop shopify", "fault", "orders/paid: missing", "run `purchase-relay shops connect shopify`")
def a_subscription_that_was_deleted(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    deployment.shopify.subscriptions.clear()


@planted("shop woocommerce", "fault", "inactive", "run `purchase-relay shops connect woocommerce`")
def a_webhook_that_was_disabled(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    deployment.woocommerce.disable(deployment.woocommerce.subscriptions[0])


@planted(
    "shop shopify", "fault", "elsewhere, it points to old.example.com", "run `purchase-relay shops connect"
)
def a_webhook_that_points_elsewhere(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    for one in deployment.shopify.subscriptions:
        one.url = "https://old.example.com/webhooks/shopify/shopify"


@planted(
    "shop shopify", "fault", "version 2024-01 of its webhooks is no longer supported", "choose a newer one"
)
def an_api_version_of_long_ago(deployment: Deployment, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(shopify_sender, "API_VERSION", "2024-01")


@planted("shop woocommerce", "fault", "signed, but hold no orders", "with an administrator's credentials")
def a_webhook_without_its_owner(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    shop = deployment.woocommerce
    shop.owner_is_gone = True
    shop.place(shop.order(1_001, shop.now()))


@planted(
    "shop shopify",
    "warning",
    "1 signed hook of the last week could not be used",
    "quarantine list --shop shopify",
)
def a_hook_in_quarantine(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    assert deployment.hook(b'["no order at all"]') == 200


@planted("shop shopify", "warning", "was never compared with the ledger", "keep a sweep running")
def a_shop_that_was_never_compared(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    _compared(deployment, compared_from=None, compared_until=None)


@planted("shop shopify", "warning", "was not for 2 d compared with the ledger", "keep a sweep running")
def a_comparison_of_long_ago(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    then = now_ms() - 2 * DAY
    _compared(deployment, compared_from=then, compared_until=then)


@planted("shop shopify", "fault", "no hook told of 5", "see what the store's own page of webhooks says")
def hooks_that_are_lost(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    _compared(deployment, compared_from=now_ms() - DAY, compared_at=now_ms())
    _more(deployment, 5, source="pulled")


# --- accounts --------------------------------------------------------------------------------------------


@planted(
    "account meta", "fault", "its destination refuses us", "Generate access token; then restart the worker"
)
def a_token_that_is_refused(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    deployment.kinds["meta"].accounts = [{**deployment.kinds["meta"].demo, "access_token": "renewed"}]


@planted("account snapchat", "warning", "its destination does not answer as it should", "try again later")
def a_destination_that_is_down(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    deployment.kinds["snapchat"].script([Step(scene="down")])


@planted("account meta", "fault", "it is held since", "run `purchase-relay release meta`")
def an_account_that_is_held(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    _stop(deployment, "held")


@planted("account meta", "warning", "it rests since", "it is tried again by itself")
def an_account_that_rests(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    _stop(deployment, "resting")


@planted(
    "account meta",
    "warning",
    "refused 6 of 7 orders of the last week (mostly 100/2804050)",
    "--state refused",
)
def orders_that_are_refused(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    _more(deployment, 6, state="refused", reason="100/2804050")


@planted(
    "account meta", "warning", "6 of 7 orders of the last week were not sent", "install the shop's snippet"
)
def buyers_who_were_not_heard_to_agree(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    _more(deployment, 6, state="suppressed", reason="no_consent")


@planted(
    "account meta", "warning", "1 waiting delivery will be too old within a day", "mend what they wait for"
)
def a_window_that_is_nearly_over(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    _more(deployment, 1, state="due", due_at=now_ms() + HOUR, expires_at=now_ms() + 2 * HOUR)


@planted(
    "account meta",
    "fault",
    "5 of 5 purchases of shop shopify count twice: one side writes",
    "fire what the server",
)
def a_pixel_with_another_id(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    deployment.environment["SHOPIFY_ORIGINS"] = "https://shop.example.com"
    for event in _more(deployment, 5, state="delivered"):
        with deployment.relay.database.write() as db:
            told = {"shop": "shopify", "digest": b"%d" % event, "event": event, "received_at": now_ms()}
            twin = db.execute(twins.insert().values(told).returning(twins.c.id)).scalar_one()
            seen = {"account": "meta", "kind": "hash_sign", "own": True, "digest": b"%d" % event}
            db.execute(sightings.insert().values(twin=twin, event=event, **seen))


# --- the order and the rest ------------------------------------------------------------------------------


@planted(
    "order of woocommerce", "warning", "tiktok would refuse an order like it (no_page", "for the account"
)
def an_account_that_lacks_what_orders_lack(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    deployment.environment |= {
        "TIKTOK_PIXEL_ID": "C4A1B2C3D4E5F6G7H8I9",
        "TIKTOK_ACCESS_TOKEN": "hidden-word",
    }


@planted("order of woocommerce", "warning", "a paid order of the web would not count", "let count")
def settings_that_let_nothing_count(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    deployment.environment["WOOCOMMERCE_STATUSES"] = "shipped"


@planted("alerts", "warning", "woocommerce: No hook has come", "Look whether the shop sells")
def an_alert_that_is_open(deployment: Deployment, _patch: pytest.MonkeyPatch) -> None:
    told = "No hook has come from a shop for longer than is usual for it."
    deployment.relay.alerts.raise_("silence", "woocommerce", told, "Look whether the shop sells.")


# --- what the plants need --------------------------------------------------------------------------------


def _change(deployment: Deployment, **values: object) -> None:
    with deployment.relay.database.write() as db:
        db.execute(update(deliveries).values(**values))


def _compared(deployment: Deployment, **values: object) -> None:
    with deployment.relay.database.write() as db:
        db.execute(update(shops).where(shops.c.shop == "shopify").values(**values))


def _stop(deployment: Deployment, state: str) -> None:
    account = deployment.relay.settings.account("meta")
    assert account is not None
    refused, mark = Outcome("held", "190/463", "the token has expired"), fingerprint(account)
    held = state == "held"
    deployment.relay.holds.stop("meta", "meta", "held" if held else "resting", refused, mark, now_ms(), HOUR)


def _more(deployment: Deployment, count: int, *, source: str = "webhook", **values: object) -> list[int]:
    """So many more orders like the one that was sold, with a delivery to Meta each; their ids."""
    made = []
    with deployment.relay.database.write() as db:
        event = dict(db.execute(select(events)).mappings().one())
        of_meta = select(deliveries).where(deliveries.c.account == "meta").order_by(deliveries.c.id).limit(1)
        delivery = dict(db.execute(of_meta).mappings().one())
        for number in range(count):
            own = {"key": f"more-{number}", "source": source}
            one = {name: value for name, value in (event | own).items() if name != "id"}
            made.append(db.execute(events.insert().values(one).returning(events.c.id)).scalar_one())
            share = {name: value for name, value in (delivery | values).items() if name != "id"}
            db.execute(deliveries.insert().values(share | {"event": made[-1]}))
    return made


@contextmanager
def _old_redis() -> Iterator[int]:
    """A server that says what a Redis of 2018 says."""

    class Answer(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while count := self.rfile.readline()[1:]:
                for _ in range(2 * int(count)):
                    self.rfile.readline()
                self.wfile.write(b"-ERR unknown command 'HELLO'\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()
