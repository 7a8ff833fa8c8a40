"""What the contract of the destinations is asked with: accounts, events, golden requests and mutations.

All of it is read from `tests/data`; its README says what the files hold.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from integrations.destination import (
    Account,
    Delivery,
    Destination,
    Outcome,
    Request,
    Response,
    Restriction,
)
from integrations.discovery import destinations
from integrations.event import Event, decode, event_id
from integrations.setting import Secret
from tests.contract.samples import default
from webhooks.sandbox.standin import StandIn
from webhooks.sandbox.wire import serving, stand_in

DATA = Path(__file__).parent.parent / "data"
NOW = 1_795_003_600  # one hour after the orders of tests/data/events

DESTINATIONS = list(destinations().values())
EVENTS = {path.stem: decode(path.read_bytes()) for path in sorted((DATA / "events").glob("*.json"))}


class Mutation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One change to a golden request: at ``path`` set ``value``, or ``remove``, ``repeat`` or ``replace``.

    The path begins with ``url``, ``method``, ``headers`` or ``body``; ``raw`` stands for the body's bytes.
    """

    name: str
    path: tuple[str | int, ...]
    expect_state: str
    expect_reason: str
    value: Any = None
    remove: bool = False
    repeat: int = 0
    replace: tuple[str, str] | None = None
    event: str = "web_full"


def folder(destination: Destination) -> Path:
    """Where the destination's data are."""
    return DATA / "destinations" / destination.slug


def account(destination: Destination, api_base: str = "", **options: Any) -> Account:
    """The account of the tests, every option at its default save those in the file and those given."""
    given = {**_account_file(destination)["options"], **options}
    declared = {setting.name: default(setting) for setting in destination.settings}
    secret = {setting.name for setting in destination.settings if setting.secret}
    if unknown := given.keys() - declared.keys():
        raise KeyError(f"{destination.slug} has no option {sorted(unknown)}")
    hidden = {name: Secret(value) if name in secret else value for name, value in given.items()}
    return Account(destination.slug, "main", api_base or destination.api_base, {**declared, **hidden})


def secrets(destination: Destination) -> list[str]:
    """The secret options of the account of the tests."""
    options = account(destination).options
    return [str(options[one.name]) for one in destination.settings if one.secret and options[one.name]]


def delivery(event: Event, restricted: Restriction = "") -> Delivery:
    """The event under the id that it gets by default."""
    return Delivery(event, event_id(event), restricted)


def taken(destination: Destination) -> list[str]:
    """The events that the destination is told of; of others it gets no delivery."""
    return [name for name, event in EVENTS.items() if event.event_name in destination.event_names]


def fit(destination: Destination, name: str, known: Account | None = None) -> bool:
    """Whether the event may be sent at all."""
    if name not in taken(destination):
        return False
    return destination.unfit(EVENTS[name], known or account(destination), NOW) is None


def golden_path(destination: Destination, name: str) -> Path:
    """Where the request of this event is written down."""
    return folder(destination) / "golden" / f"{name}.json"


def golden(destination: Destination, name: str) -> bytes:
    """The request that the event becomes, readable and without secrets, or why it must not be sent."""
    known = account(destination)
    if unfit := destination.unfit(EVENTS[name], known, NOW):
        return _written({"unfit": {"state": unfit.state, "reason": unfit.reason, "detail": unfit.detail}})
    request = destination.build([delivery(EVENTS[name])], known, NOW)
    written = _written(
        {
            "method": request.method,
            "url": request.url,
            "headers": dict(request.headers),
            "body": msgspec.Raw(request.body),  # numbers stay as they are written
        }
    )
    for secret in secrets(destination):
        written = written.replace(secret.encode(), b"***")
    return written


def mutations(destination: Destination) -> list[Mutation]:
    """The changes that the destination's stand-in must notice."""
    return msgspec.json.decode((folder(destination) / "mutations.json").read_bytes(), type=list[Mutation])


def mutated(request: Request, mutation: Mutation) -> Request:
    """The request with one thing changed."""
    document: dict[str, Any] = {
        "url": request.url,
        "method": request.method,
        "headers": dict(request.headers),
        "body": json.loads(request.body),
        "raw": None,
    }
    _change(document, mutation)
    raw = document["raw"]
    return Request(
        url=document["url"],
        method=document["method"],
        headers=document["headers"],
        body=json.dumps(document["body"]).encode() if raw is None else raw.encode(),
    )


@contextmanager
def standing_in(destination: Destination) -> Iterator[tuple[StandIn, Account]]:
    """The destination's stand-in on a real socket, its clock at `NOW`, and the account at its address."""
    file = _account_file(destination)
    kind = stand_in(destination.slug)([{**file["options"], **file.get("stand_in", {})}], clock=lambda: NOW)
    with serving(kind) as address:
        yield kind, account(destination, address)


def states(outcomes: list[Outcome]) -> set[str]:
    """The states among the outcomes."""
    return {outcome.state for outcome in outcomes}


def answer(status: int, document: Any = None, headers: Mapping[str, str] | None = None) -> Response:
    """A response with a JSON body."""
    return Response(status, b"" if document is None else json.dumps(document).encode(), headers or {})


def _account_file(destination: Destination) -> dict[str, Any]:
    file: dict[str, Any] = json.loads((folder(destination) / "account.json").read_bytes())
    return file


def _written(document: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _change(document: dict[str, Any], mutation: Mutation) -> None:
    *steps, last = mutation.path
    place: Any = document
    for step in steps:
        place = place[step]
    if mutation.remove:
        del place[last]
    elif mutation.repeat:
        place[last] = place[last] * mutation.repeat
    elif mutation.replace:
        before, after = mutation.replace
        if before not in place[last]:
            raise ValueError(f"{mutation.name}: there is no {before!r} to replace")
        place[last] = place[last].replace(before, after)
    else:
        place[last] = mutation.value
