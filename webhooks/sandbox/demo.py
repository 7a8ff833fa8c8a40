"""`purchase-relay demo`: a whole relay on this machine, orders that come in, and everything that goes wrong.

Nothing is played: web server, queue, worker, sweep and ledger are the real ones, as processes of their own.
Only the destinations are stand-ins, which judge as strictly as the real ones and count for themselves; at
the end their record is held against what the shops have sold.
"""

import argparse
import sys
from pathlib import Path

import msgspec

from webhooks.embedded import NoServer
from webhooks.sandbox import verdict
from webhooks.sandbox.acts import ACTS
from webhooks.sandbox.narration import Narrator
from webhooks.sandbox.play import Play
from webhooks.sandbox.stage import LEAD, Stuck, built
from webhooks.sandbox.verdict import Seen

INTERRUPTED = 130

Found = dict[tuple[str, str], Seen]


def run(report: Path | None = None) -> int:
    """Plays the demo; 0 if all that it promises is so, 1 if not. Writes its facts to ``report`` as JSON."""
    narrator = Narrator()
    try:
        with built() as stage:
            play = Play(stage, narrator)
            narrator.title("demo", [actor.label for actor in stage.actors])
            try:
                found = _perform(play)
            except (Stuck, NoServer) as error:
                narrator.stuck(str(error), stage.last_words())
                return 1
    except KeyboardInterrupt:
        narrator.ending("Stopped; nothing is left behind.", good=True)
        return INTERRUPTED
    gone = not play.stage.folder.exists() and not play.stage.running
    play.promise("No process and no file is left", gone, play.stage.folder)
    narrator.table(play.orders, play.hooks, play.stage.actors, found)
    narrator.claims(play.claims)
    if report:
        report.write_bytes(_facts(play, found))
    return _close(play, found)


def _perform(play: Play) -> Found:
    """The acts, and then what everybody has seen of each order."""
    play.tell.chapter("The stage")
    play.stage.open()
    play.tell.line("the relay", "ledger, queue, web server, worker and sweep are running", "ready")
    for act in ACTS:
        act(play)
    play.settle(play.orders, [actor.slug for actor in play.stage.actors])
    found = verdict.seen(play.stage, play.orders)
    wrong = ", ".join(one.name for one in play.orders if not verdict.as_ordered(one, found[one.id, LEAD]))
    play.promise("Every order ends as it should, with the money its buyer paid", not wrong, wrong)
    play.claims += verdict.claims(play.stage, play.orders, play.taken, play.forged)
    return found


def _close(play: Play, found: Found) -> int:
    sold = sum(found[order.id, LEAD].fate.state == "delivered" for order in play.orders)
    good = all(claim.holds for claim in play.claims)
    figures = (
        f"{len(play.orders)} orders, {play.taken} hooks, {len(play.forged)} forgeries: {sold} counted once, "
        f"{len(play.orders) - sold} rightly not, none lost, none twice. {play.tell.seconds:.0f} s"
    )
    play.tell.ending(figures if good else "Not everything is as promised: see above.", good=good)
    return 0 if good else 1


def _facts(play: Play, found: Found) -> bytes:
    """The closing table and the claims, for a program."""
    rows = [
        {
            "store": order.store,
            "order": order.id,
            "value": f"{order.value}",
            "currency": order.currency,
            "hooks": play.hooks[order.id],
            "at": {actor.slug: found[order.id, actor.slug] for actor in play.stage.actors},
        }
        for order in play.orders
    ]
    claims = [claim._asdict() for claim in play.claims]
    return msgspec.json.encode({"orders": rows, "claims": claims, "seconds": play.tell.seconds})


def main() -> None:
    """``python -m webhooks.sandbox.demo``."""
    parser = argparse.ArgumentParser(prog="python -m webhooks.sandbox.demo")
    parser.add_argument("--report", type=Path, help="a file that receives the facts as JSON")
    sys.exit(run(parser.parse_args().report))


if __name__ == "__main__":
    main()
