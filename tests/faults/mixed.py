"""The headline run: load, everything killed at random, and then the count."""

import random

from tests.faults.injector import Injector
from tests.faults.installation import OURS, Kind, installed
from tests.faults.judge import LATEST_SECONDS, Verdict, judge
from tests.faults.load import Load


def mixed(database: Kind, seed: int, *, rate: float = 100.0, seconds: float = 8.0, kills: int = 8) -> Verdict:
    """Every process but the destination is killed while orders come; at least ``kills`` of them."""
    chance = random.Random(seed)
    with installed(database, seed=seed) as relay:
        load = Load(relay.web_url, relay.home / "acknowledged.jsonl", rate=rate, seconds=seconds)
        injector = Injector(relay, chance)
        load.start()
        injector.run(seconds, kills)
        load.join()
        settled = relay.settle(LATEST_SECONDS)
        relay.fleet.stop(OURS)
        return judge(
            relay,
            load,
            name="mixed",
            seed=seed,
            settled=settled,
            faults=injector.done,
            kills=injector.kills,
        )
