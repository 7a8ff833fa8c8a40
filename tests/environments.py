"""Environments from which a relay can start. Nobody in them exists."""

import base64
from pathlib import Path

DATA = Path(__file__).parent / "data" / "settings"

KEY = base64.urlsafe_b64encode(b"0123456789abcdef0123456789abcdef").decode()
TOKEN = "EAABtestTOKENnotreal"

META = {"META_PIXEL_ID": "1234567890", "META_ACCESS_TOKEN": TOKEN}
SHOPIFY = {"SHOPIFY_WEBHOOK_SECRETS": "shpss_0123456789abcdef"}
STRIPE = {"STRIPE_WEBHOOK_SECRETS": "whsec_0123456789abcdef"}
WOOCOMMERCE = {"WOOCOMMERCE_WEBHOOK_SECRETS": "wc0123456789abcdef"}
PRODUCTION = {
    "RELAY_ENV": "production",
    "DATABASE_URL": "postgres://relay:hunter2@db.example.com:5432/relay",
    "REDIS_URL": "rediss://:hunter2@cache.example.com:6379?ssl_cert_reqs=none",
    "RELAY_SECRET_KEYS": KEY,
}
FILE = {
    "RELAY_CONFIG": str(DATA / "relay.toml"),
    "ACME_DE_SECRETS": "shpss_new0123456789, shpss_old0123456789",
    "ACME_FR_SECRETS": "shpss_fr0123456789",
    "BOLT_SECRETS": "bolt0123456789",
    "ACME_META_TOKEN": TOKEN,
    "GROUP_META_TOKEN": "EAABgroupTOKENnotreal",
    "META_GROUP_APP_SECRET": "group-app-secret",
}
