"""Where a stand-in of Google gives out access tokens, and knows them again.

Refusals have the words of RFC 6749; the sentences are those that Google is known to say. The words for a
token that is not accepted are remembered, not looked up.
"""

import base64
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import parse_qsl

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from webhooks.sandbox.standin import Hit, Refusal, Reply, StandIn, json_reply

TOKEN_SECONDS = 3_599
AUDIENCE = "https://oauth2.googleapis.com/token"
SCOPE = "https://www.googleapis.com/auth/datamanager"
ASSERTION = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class Desk:
    """Knows the credentials of the stand-in's accounts: service accounts' keys, clients' refresh tokens."""

    def __init__(self, kind: StandIn) -> None:
        self._kind = kind
        self._given: dict[str, tuple[Mapping[str, Any], float]] = {}

    def exchange(self, hit: Hit) -> Reply:
        """``POST /token``."""
        form = dict(parse_qsl(hit.body.decode("utf-8", "replace")))
        if form.get("grant_type") == "refresh_token":
            found = self._of_client(form)
        elif form.get("grant_type") == ASSERTION:
            found = self._of_assertion(form.get("assertion", ""))
        else:
            found = json_reply(400, {"error": "unsupported_grant_type"})
        if isinstance(found, Reply):
            return found
        value = f"ya29.stand-in-{len(self._given) + 1}"
        self._given[value] = (found, self._kind.now() + TOKEN_SECONDS)
        answer = {"access_token": value, "expires_in": TOKEN_SECONDS, "scope": SCOPE, "token_type": "Bearer"}
        return json_reply(200, answer)

    def caller(self, hit: Hit) -> Mapping[str, Any]:
        """The account whose token the request carries; nothing for a stranger's. May raise `Refusal`."""
        scheme, _, token = hit.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not token:
            raise _unauthenticated("CREDENTIALS_MISSING")
        if any(token == one.get("foreign_token") for one in self._kind.accounts):
            return {}
        expired = any(token == one.get("expired_token") for one in self._kind.accounts)
        account, until = self._given.get(token, ({}, 0.0))
        if not account and not expired:
            raise _unauthenticated("ACCESS_TOKEN_TYPE_UNSUPPORTED")
        if until <= self._kind.now():
            raise _unauthenticated("ACCESS_TOKEN_EXPIRED")
        return account

    def take_back(self) -> None:
        """Every token that was given out ends now."""
        self._given = {value: (account, 0.0) for value, (account, _) in self._given.items()}

    def _of_client(self, form: Mapping[str, str]) -> Mapping[str, Any] | Reply:
        for one in self._kind.accounts:
            if one.get("client_id") and one["client_id"] == form.get("client_id"):
                if one["client_secret"] != form.get("client_secret"):
                    return _denied(401, "invalid_client", "Unauthorized")
                if one["refresh_token"] != form.get("refresh_token"):
                    return _denied(400, "invalid_grant", "Token has been expired or revoked.")
                return one
        return _denied(401, "invalid_client", "The OAuth client was not found.")

    def _of_assertion(self, assertion: str) -> Mapping[str, Any] | Reply:
        for one in self._kind.accounts:
            if key := _key_file(one.get("service_account", "")):
                claims = _claims(assertion, key)
                if claims is not None:
                    return _wrong(claims, self._kind.now()) or one
        return _denied(400, "invalid_grant", "Invalid JWT Signature.")


def _claims(assertion: str, key: Mapping[str, str]) -> dict[str, Any] | None:
    """What the assertion says, if this key has signed it. Its times are judged by the stand-in's clock."""
    public = cast("RSAPublicKey", load_pem_private_key(key["private_key"].encode(), None).public_key())
    try:
        claims: dict[str, Any] = jwt.decode(
            assertion,
            public,
            algorithms=["RS256"],
            options={"verify_exp": False, "verify_iat": False},
            audience=AUDIENCE,
            issuer=key["client_email"],
        )
    except jwt.PyJWTError:
        return None
    return claims


def _wrong(claims: Mapping[str, Any], now: float) -> Reply | None:
    if claims.get("scope") != SCOPE:
        return _denied(400, "invalid_scope", "Invalid OAuth scope or ID token audience provided.")
    issued, ends = claims.get("iat", now + 1), claims.get("exp", 0)
    if not (issued <= now < ends and ends - issued <= 3_600):
        return _denied(400, "invalid_grant", "Invalid JWT: Token must be a short-lived token (60 minutes)")
    return None


def _key_file(written: str) -> dict[str, Any]:
    raw = written.encode() if written.startswith("{") else base64.b64decode(written)
    return msgspec.json.decode(raw) if raw else {}


def _denied(code: int, error: str, sentence: str) -> Reply:
    return json_reply(code, {"error": error, "error_description": sentence})


def _unauthenticated(reason: str) -> Refusal:
    info = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": "googleapis.com",
    }
    message = "Request had invalid authentication credentials."
    error = {"code": 401, "message": message, "status": "UNAUTHENTICATED", "details": [info]}
    return Refusal(json_reply(401, {"error": error}))
