"""One account: its destination takes our credentials and our orders, and none of them waits for too long."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from sqlalchemy import func, select

from integrations.destination import Account, Outcome
from webhooks import checking, dedup
from webhooks.clock import DAY, now_ms
from webhooks.doctor import ledger
from webhooks.doctor.findings import Finding, fault, note, said, skipped, warning, word
from webhooks.doctor.ground import Ground
from webhooks.schema import accounts, deliveries
from webhooks.telling import counted, moment

FEW = 5
REFUSED_SHARE = 0.1
SILENT_SHARE = 0.5
"""More than so many deliveries, and than this share of a week's, is more than a bad order or a shy buyer."""

RECENT = 7 * DAY


def link(account: Account) -> str:
    """The link's name."""
    return f"account {account.slug}"


def examine(ground: Ground, account: Account) -> Iterator[Finding]:
    """All of it, as far as the ledger can be asked."""
    found = [] if ground.is_quick else list(_of_access(ground, account))
    yield from found
    if ground.is_quick:
        yield skipped(link(account), "its destination was not asked")
    if ledger.LINK in ground.broken:
        yield skipped(link(account), f"its deliveries were not examined, since they stand on {ledger.LINK}")
        return
    if not any(one.is_trouble for one in found):  # else its destination has said why it stands still
        yield from _stopped(ground, account)
    yield from _of_flow(ground, account)


# --- its destination -------------------------------------------------------------------------------------


def _of_access(ground: Ground, account: Account) -> Iterator[Finding]:
    """What the destination itself says, by its own dry run."""
    outcome = checking.check(ground.relay, account, ground.tokens)
    if outcome is None:
        yield note(
            link(account),
            "its destination has no dry run: whether it takes our credentials shows when it is sent to",
        )
    elif outcome.state in {"retry", "expired"}:
        yield warning(
            link(account),
            f"its destination does not answer as it should ({_why(outcome)})",
            "try again later; what is due is tried again by itself",
        )
    elif outcome.state != "delivered":
        yield fault(
            link(account),
            f"its destination refuses us ({_why(outcome)})",
            f"{ground.relay.destination(account).guide}; then restart the worker",
        )


def _why(outcome: Outcome) -> str:
    return ", ".join(filter(None, (word(outcome.reason), said(outcome.detail))))


# --- its deliveries --------------------------------------------------------------------------------------


class _Week(msgspec.Struct, frozen=True):
    """How many deliveries of the last week ended or wait so, and by which reasons."""

    states: Mapping[tuple[str, str], int]

    def count(self, state: str, reason: str = "") -> int:
        """Of one state, or of one reason of it."""
        return sum(n for (one, why), n in self.states.items() if one == state and reason in {"", why})

    def most(self, state: str) -> str:
        """The most frequent reason."""
        return max((n, why) for (one, why), n in self.states.items() if one == state)[1]


def _of_flow(ground: Ground, account: Account) -> Iterator[Finding]:
    """What the ledger says of it."""
    week = _week(ground, account)
    yield from _refused(account, week)
    yield from _unknown_consent(account, week)
    closing = ground.relay.ledger.closing_soon(now_ms() + DAY).get(account.slug, 0)
    if closing:
        yield warning(
            link(account),
            f"{counted(closing, 'waiting delivery', 'waiting deliveries')} will be too old within a day",
            f"mend what they wait for (`purchase-relay deliveries list --account {account.slug}`)",
        )
    yield from _counted_twice(ground, account)


def _stopped(ground: Ground, account: Account) -> Iterator[Finding]:
    row = _row(ground, account)
    if row is None:
        return
    why = f"{moment(row['since'])}: {word(row['reason'])}"
    if row["state"] == "held":
        yield fault(
            link(account),
            f"it is held since {why}; its deliveries wait, none is lost",
            f"renew its credentials and restart the worker, or run `purchase-relay release {account.slug}`",
        )
    else:
        yield warning(
            link(account),
            f"it rests since {why}; its destination failed again and again",
            "it is tried again by itself; if it lasts, see the destination's own status page",
        )


def _row(ground: Ground, account: Account) -> Mapping[str, Any] | None:
    stopped = select(accounts).where(accounts.c.account == account.slug, accounts.c.state != "open")
    with ground.relay.database.read() as db:
        row = db.execute(stopped).mappings().first()
    return dict(row) if row else None


def _week(ground: Ground, account: Account) -> _Week:
    """Deliveries are numbered as they are made: the walk back from the newest ends at the first older one."""
    before = select(deliveries.c.id).where(deliveries.c.created_at < now_ms() - RECENT)
    columns = (deliveries.c.state, deliveries.c.reason)
    with ground.relay.database.read() as db:
        last = db.execute(before.order_by(deliveries.c.id.desc()).limit(1)).scalar() or 0
        recent = (deliveries.c.account == account.slug, deliveries.c.id > last)
        counts = select(*columns, func.count()).where(*recent).group_by(*columns)
        return _Week({(state, reason): count for state, reason, count in db.execute(counts)})


def _refused(account: Account, week: _Week) -> Iterator[Finding]:
    count, taken = week.count("refused"), week.count("delivered")
    if count >= FEW and count > REFUSED_SHARE * (count + taken):
        yield warning(
            link(account),
            f"its destination refused {count} of {counted(count + taken, 'order')} of the last week "
            f"(mostly {word(week.most('refused'))})",
            f"see `purchase-relay deliveries list --account {account.slug} --state refused`",
        )


def _unknown_consent(account: Account, week: _Week) -> Iterator[Finding]:
    count, total = week.count("suppressed", "no_consent"), sum(week.states.values())
    if count >= FEW and count > SILENT_SHARE * total:
        yield warning(
            link(account),
            f"{count} of {counted(total, 'order')} of the last week were not sent: nobody knows whether "
            "the buyer agreed",
            "install the shop's snippet beside its consent banner: it hands the answer on with the order",
        )


def _counted_twice(ground: Ground, account: Account) -> Iterator[Finding]:
    """What the audit of ids says of the last week."""
    for shop in ground.shops:
        if account.slug not in shop.accounts or not shop.origins:
            continue
        for overlap in dedup.report(ground.relay, now_ms() - RECENT, shop.slug).overlaps:
            missed = overlap.with_twin - overlap.matched
            if (
                overlap.account == account.slug
                and missed >= dedup.FEW
                and missed > dedup.SHARE * overlap.with_twin
            ):
                worst = overlap.faults[0]
                yield fault(
                    link(account),
                    f"{missed} of {counted(overlap.with_twin, 'purchase')} of shop {shop.slug} count twice: "
                    f"{worst.sentence}",
                    worst.remedy,
                )
