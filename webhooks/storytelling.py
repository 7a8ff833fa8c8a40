"""The story of one order in plain words: who told of it, who was told, what was answered, what waits."""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from webhooks import consenting, proof
from webhooks.comparing import SOURCE
from webhooks.consenting import DENIALS
from webhooks.questions import AttemptTold, DeliveryTold, EventTold, HookTold, Standing, Story
from webhooks.telling import Line, because, counted, moment, span
from webhooks.twins import AWAITS


class Chapter(msgspec.Struct, frozen=True):
    """A heading and the sentences below it; those of an attempt belong to the delivery above them."""

    head: str
    lines: list[Line]


def tell(story: Story, standings: Mapping[str, Standing], now: int) -> Iterator[Chapter]:
    """One chapter per event, and one for the hooks. ``standings``: the accounts that do not take anything
    at the moment."""
    for event in story.events:
        yield Chapter(_order(event), [*_event(event, story.hooks), *_deliveries(event, standings, now)])
    if not story.events:
        head = "No event came of it, so nothing was sent"
        yield Chapter(head, [("the hooks below say why", "")])
    if story.hooks:
        listed = {event.id for event in story.events if event.source == SOURCE}
        heard = [_hook(hook, found=hook.verdict == "event" and hook.event in listed) for hook in story.hooks]
        yield Chapter(f"{counted(len(heard), 'hook')} of this order", heard)


# --- the event -------------------------------------------------------------------------------------------


def _order(event: EventTold) -> str:
    name = event.order_name or f"#{event.order_id}"
    number = f" (id {event.order_id})" if event.order_name.removeprefix("#") != event.order_id else ""
    name = name if event.event_name == "Purchase" else f"{name} ({event.event_name})"
    of = f"shop {event.shop} ({event.store})"
    return f"Order {name}{number} of {of}: {event.value} {event.currency}, {event.origin}"


def _event(event: EventTold, hooks: Iterable[HookTold]) -> Iterator[Line]:
    yield f"placed {moment(event.event_time)}", ""
    first = next((hook for hook in hooks if hook.event == event.id and hook.verdict == "event"), None)
    by = f"webhook {first.topic}".rstrip() if first else event.source
    if event.source == SOURCE:
        by = "the shop's own list, since no hook had told of it,"
    late = event.received_at - event.event_time
    after = f" ({span(late)} later)" if late >= 0 else " (before that time: check the shop's clock)"
    yield f"first heard of by {by} at {moment(event.received_at)}{after}", ""
    yield from _consent(event)
    if event.erased_at is not None:
        yield f"what is personal in it was erased as somebody asked, at {moment(event.erased_at)}", "expired"
    elif not event.kept:
        yield "what is personal in it was forgotten: it can be sent no more", "expired"
    if not event.deliveries:
        yield "sent to nobody: no account received this shop's events when it came", "held"
        yield "once one does: purchase-relay replay --missing --account ACCOUNT --since 3d", ""


def _consent(event: EventTold) -> Iterator[Line]:
    yield f"its buyer ({proof.lives(event.region)}): {proof.spoken(event)}", ""
    for one in event.answers:
        yield f"    from {moment(one.learned_at)}, by {one.via}: {proof.spoken(one)}", ""


# --- the deliveries --------------------------------------------------------------------------------------


def _deliveries(event: EventTold, standings: Mapping[str, Standing], now: int) -> Iterator[Line]:
    for one in event.deliveries:
        yield f"{one.account}: {_state(one, now)}", one.state
        if one.basis and one.basis not in DENIALS:
            yield f"    allowed: {consenting.explain(one.basis, one.restricted)}", ""
        if one.state == "suppressed" and one.reason in DENIALS and event.kept and one.expires_at > now:
            yield f"    a later yes sends it, until {moment(one.expires_at)}", ""
        for sentence in _waiting(one, standings.get(one.account), now):
            yield f"    {sentence}", ""
        if one.ambiguous:
            yield "    an attempt ended without an answer, so it may have been counted all the same", "held"
        if one.state in {"refused", "broken"} and event.kept and one.expires_at > now:
            order = event.order_id
            yield f"    to send it again: purchase-relay replay --shop {event.shop} --order {order}", ""
        for number, attempt in enumerate(one.tries, 1):
            yield f"    attempt {number} at {moment(attempt.opened_at)}: {_attempt(attempt)}", ""


def _state(one: DeliveryTold, now: int) -> str:
    why = because(one.reason, one.detail)
    number = len(one.tries)
    match one.state:
        case "delivered":
            trace = f" (trace {one.trace})" if one.trace else ""
            on = f" on attempt {number}" if number else ""
            later = f"; asked later: {one.confirmed}{why}" if one.confirmed else ""
            if one.confirm_at is not None:
                later = f"; accepted only, what became of it is asked at {moment(one.confirm_at)}"
            return f"delivered at {moment(one.delivered_at)}{on} as event_id {one.event_id}{trace}{later}"
        case "due":
            return _due(one, now)
        case "held":
            return f"held: the account waits for its owner{why}"
        case _:
            return f"{one.state}{why}"


def _due(one: DeliveryTold, now: int) -> str:
    why = because(one.reason, one.detail)
    if one.in_flight:
        return f"being sent now as event_id {one.event_id}"
    if one.due_at <= now:
        return f"waits for a worker since {moment(one.due_at)}, as event_id {one.event_id}{why}"
    if one.reason == AWAITS:
        return f"waits for what the shopper's browser tells, until {moment(one.due_at)}"
    return f"is tried again at {moment(one.due_at)} (in {span(one.due_at - now)}){why}"


def _waiting(one: DeliveryTold, standing: Standing | None, now: int) -> Iterator[str]:
    if one.state not in {"due", "held"}:
        return
    if standing is not None:
        why = because(standing.reason, standing.detail)
        yield f"{one.account} is {standing.state} since {moment(standing.since)}{why}"
        yield f"at {moment(standing.probe_at)} one delivery tries whether it is mended"
        if standing.state == "held":
            yield f"or, when you know that it is: purchase-relay release {one.account}"
    left = one.expires_at - now
    yield f"{span(left)} left until the destination refuses it by its age" if left > 0 else "too old by now"
    if one.crashes:
        yield f"{counted(one.crashes, 'worker')} died with it"


def _attempt(attempt: AttemptTold) -> str:
    """``try again: 500, it is overloaded (HTTP 500, 0.3 s)``."""
    if attempt.closed_at is None:
        return "on the wire, or its worker died"
    facts = [f"HTTP {attempt.http_status}"] if attempt.http_status else []
    facts.append(f"took {span(attempt.closed_at - attempt.opened_at)}")
    facts += [f"together with {attempt.size - 1} more"] if attempt.size > 1 else []
    facts += [f"trace {attempt.trace}"] if attempt.trace else []
    outcome = {"retry": "failed, may be tried again"}.get(attempt.outcome, attempt.outcome)
    return f"{outcome}{because(attempt.reason, attempt.detail)} ({', '.join(facts)})"


# --- the hooks -------------------------------------------------------------------------------------------


def _hook(hook: HookTold, *, found: bool) -> Line:
    again = f"; sent again {counted(hook.repeats, 'time')}" if hook.repeats else ""
    topic = hook.topic or "without topic"
    what = "no hook, but found in the shop's own list" if found else f"{topic}: {_verdict(hook)}{again}"
    return f"{hook.id} at {moment(hook.received_at)}, {what}", hook.verdict


def _verdict(hook: HookTold) -> str:
    match hook.verdict:
        case "event":
            return "told of the event"
        case "duplicate":
            return "told of it once more: nothing new"
        case "not_an_event":
            return f"is no event: {hook.reason}"
        case "incomplete":
            return f"the order has to be fetched first: {hook.reason}; next try at {moment(hook.due_at)}"
        case _:
            more = f": purchase-relay quarantine show {hook.id}" if hook.kept else ", and forgotten since"
            return f"put aside ({hook.reason}){more}"
