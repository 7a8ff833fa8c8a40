"""Parcels: what goes out in one request, and how one is cut in two. Holds no state, speaks to nobody."""

from collections.abc import Container

import msgspec

from integrations.destination import Account, Delivery
from webhooks.leases import Claimed


class Parcel(msgspec.Struct, eq=False):
    """Deliveries under one lease, which runs out at ``until``; on the wire since ``sent_at`` (milliseconds).

    ``alone``: it has seen workers die, see `Drain._feed_all`.
    """

    account: Account
    batch: str
    claimed: list[Claimed]
    deliveries: list[Delivery]
    until: int
    alone: bool = False
    sent_at: int = 0

    @property
    def ids(self) -> list[int]:
        """Of its deliveries."""
        return [one.id for one in self.claimed]

    def keep(self, ids: Container[int]) -> None:
        """Drops all but these."""
        kept = [pair for pair in zip(self.claimed, self.deliveries, strict=True) if pair[0].id in ids]
        self.claimed, self.deliveries = [one for one, _ in kept], [one for _, one in kept]


def only(parcel: Parcel, ids: Container[int]) -> Parcel:
    """A parcel of these alone."""
    made = msgspec.structs.replace(parcel)
    made.keep(ids)
    return made


def halves(parcel: Parcel) -> list[Parcel]:
    """Two parcels, the first one larger if their number is odd."""
    middle = (len(parcel.claimed) + 1) // 2
    return [
        msgspec.structs.replace(parcel, claimed=parcel.claimed[part], deliveries=parcel.deliveries[part])
        for part in (slice(middle), slice(middle, None))
    ]
