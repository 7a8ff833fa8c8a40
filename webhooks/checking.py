"""Proves that an account could be sent to: token, account and permission, without recording anything."""

from integrations.destination import Account, Outcome
from webhooks.clock import now_ms
from webhooks.relay import Relay
from webhooks.tokens import Tokens


def check(relay: Relay, account: Account, tokens: Tokens) -> Outcome | None:
    """`delivered` if all is well, else what to do; None where the destination has no dry run."""
    adapter = relay.destination(account)
    request = adapter.check(account, now_ms() // 1_000)
    if request is None:
        return None
    answer = tokens.send(adapter, account, request)
    return answer.outcome or adapter.read_check(answer.response)
