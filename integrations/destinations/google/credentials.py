"""How an account gets its access token: with a service account's key, or with a user's refresh token.

Sources: developers.google.com/identity/protocols/oauth2/service-account, .../oauth2/web-server#offline, and
RFC 6749 section 5.2 for the words of a refusal.
"""

import base64
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import jwt
import msgspec

from integrations import answers
from integrations.destination import Account, Outcome, Request, Response, State, Token
from integrations.setting import Secret
from integrations.untrusted import integer, load_json, text

API_BASE = "https://datamanager.googleapis.com"
TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
SCOPE = "https://www.googleapis.com/auth/datamanager"
SKEW = 60  # an assertion from the future is refused: our clock may be ahead by so much
HOUR = 3_600

_CLIENT = ("client_id", "client_secret", "refresh_token")


def token_request(account: Account, now: int) -> Request | Outcome:
    """The request for a token, or `held` unless the settings hold exactly one complete way to ask for it."""
    key, client = account.text("service_account"), {name: account.text(name) for name in _CLIENT}
    by_key, by_client = _named(account, "service_account"), _named(account, *_CLIENT)
    if key and all(client.values()):
        return _held(f"set either {by_key} or {by_client}, not both")
    if key:
        return _with_key(key, account, now)
    if all(client.values()):
        return _form(account, {"grant_type": "refresh_token", **client})
    missing = [name for name in _CLIENT if not client[name]]
    if len(missing) < len(_CLIENT):
        return _held(f"{_named(account, *missing)} is missing")
    return _held(f"set {by_key}, or {by_client}")


def read_token(response: Response) -> Token | Outcome:
    """The token, or why there is none. Only credentials are at stake: nothing has been sent."""
    if silence := answers.unanswered(response):
        return msgspec.structs.replace(silence, ambiguous=False)
    answer = answers.document(response) or {}
    value, seconds = text(answer.get("access_token"), 4_096), integer(answer.get("expires_in"))
    if response.status == 200 and re.fullmatch(r"[!-~]+", value) and seconds > 0:
        return Token(Secret(value), min(seconds, HOUR))
    word = answers.trace(answer.get("error"))
    row = _WORDS.get(word)
    if row is None:
        return _unknown(word, response)
    said = answers.sentence(answer.get("error_description"))
    state, meaning = row
    return Outcome(state, word, f"{meaning} ({said})" if said else meaning, spent=state != "held")


def _unknown(word: str, response: Response) -> Outcome:
    """A refusal is about the credentials, never about the events that wait for them."""
    verdict = answers.by_status(response)
    state: State = "held" if verdict.state in {"held", "refused"} else "retry"
    return msgspec.structs.replace(
        verdict,
        state=state,
        reason=word or verdict.reason,
        whole=False,
        spent=state != "held",
        ambiguous=False,
    )


def _with_key(written: str, account: Account, now: int) -> Request | Outcome:
    """The assertion of developers.google.com/identity/protocols/oauth2/service-account#httprest."""
    key = _key_file(written)
    claims = {
        "iss": text(key.get("client_email")),
        "scope": SCOPE,
        "aud": TOKEN_URL,
        "iat": now - SKEW,
        "exp": now - SKEW + HOUR,
    }
    headers = {"kid": kid} if (kid := text(key.get("private_key_id"))) else None
    try:
        assertion = jwt.encode(claims, text(key.get("private_key"), 10_000), "RS256", headers)
    except (jwt.PyJWTError, ValueError, TypeError):
        assertion = ""
    if not assertion or not claims["iss"]:
        name = _named(account, "service_account")
        return _held(f"{name} is not the JSON key of a service account, as text or in base64")
    return _form(
        account, {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
    )


def _key_file(written: str) -> dict[str, Any]:
    """The key file's object, empty if it is none. In base64 it has no quotes that a shell could eat."""
    is_text = written.lstrip().startswith("{")
    try:
        key = load_json(written.encode() if is_text else base64.b64decode(written, validate=True))
    except ValueError:  # neither base64 nor JSON
        return {}
    return key if isinstance(key, dict) else {}


def _form(account: Account, fields: Mapping[str, str]) -> Request:
    """Google's own address, unless the API is played by a stand-in: then its token endpoint is, too."""
    return Request(
        url=TOKEN_URL if account.api_base == API_BASE else f"{account.api_base}/token",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        body=urlencode(fields).encode(),
    )


def _held(detail: str) -> Outcome:
    return Outcome("held", "credentials", detail, spent=False)


def _named(account: Account, *names: str) -> str:
    """The settings as variables, which is how most owners know them."""
    variables = [f"{account.destination}_{name}".upper() for name in names]
    return " and ".join(filter(None, (", ".join(variables[:-1]), variables[-1])))


# RFC 6749 section 5.2 and developers.google.com/identity/protocols/oauth2/web-server#errors.
_BUSY: tuple[State, str] = ("retry", "Google gives no tokens at the moment")
_WORDS: Mapping[str, tuple[State, str]] = {
    "invalid_grant": ("held", "the key or refresh token has ended, or this machine's clock is wrong"),
    "invalid_client": ("held", "Google does not know this client, or its secret is another one"),
    "deleted_client": ("held", "the OAuth client was deleted"),
    "disabled_client": ("held", "the OAuth client was disabled"),
    "unauthorized_client": ("held", "this client may not get tokens in this way"),
    "invalid_scope": ("held", "the credentials do not allow the Data Manager API"),
    "access_denied": ("held", "Google denies access to these credentials"),
    "admin_policy_enforced": ("held", "the organisation's administrator does not allow it"),
    "org_internal": ("held", "the OAuth client is for its own organisation only"),
    "internal_failure": _BUSY,
    "server_error": _BUSY,
    "temporarily_unavailable": _BUSY,
    "rate_limit_exceeded": _BUSY,
}
