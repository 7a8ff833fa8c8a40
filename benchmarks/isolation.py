"""One platform's bad day: how much later do the others get their orders?

Six accounts of one relay, real processes. First all are healthy; then one is dead, one drips a byte a
second, one throttles. Compared is the p95, from commit to accepted, of the three that stay healthy.
"""

import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import measure
from benchmarks.measure import console
from tests import ports
from tests.faults.installation import installed
from tests.faults.load import Load

HEALTHY = ("calm", "steady", "even")
TROUBLED = ("dead", "drip", "throttle")
RATE, SECONDS = 40.0, 12.0


def run() -> None:
    """Prints the table; the ratio is the last column."""
    calm = _p95(dict.fromkeys((*HEALTHY, *TROUBLED), "healthy"))
    troubled = _p95({**dict.fromkeys(HEALTHY, "healthy"), **{name: name for name in TROUBLED}})
    title = "One dead, one dripping, one throttling: p95 of the others"
    table = measure.table(title, "account", "undisturbed, ms", "disturbed, ms", "ratio")
    for name in HEALTHY:
        row = (calm[name], troubled[name], troubled[name] / calm[name])
        table.add_row(name, *(f"{value:.{digits}f}" for value, digits in zip(row, (0, 0, 2), strict=True)))
    console.print(table)


def _p95(manners: dict[str, str]) -> dict[str, float]:
    """Milliseconds from commit to accepted, for each healthy account."""
    with TemporaryDirectory() as folder, _destinations(manners) as addresses:
        config = Path(folder) / "relay.toml"
        config.write_text("".join(_account(name, address) for name, address in addresses.items()))
        with installed("sqlite", RELAY_CONFIG=str(config), BENCH_TOKEN="a-token") as relay:
            load = Load(relay.web_url, Path(folder) / "acknowledged", rate=RATE, seconds=SECONDS, echoes=0)
            load.start()
            load.join()
            times: dict[str, list[float]] = {name: [] for name in HEALTHY}
            relay.settle(3)
            for told in relay.ledger():
                if told["account"] in times and told["delivered_at"]:
                    times[told["account"]].append(_between(told["received_at"], told["delivered_at"]))
    for name, taken in times.items():
        if len(taken) < 0.99 * len(load.acknowledged):
            console.print(f"only {len(taken)} of {len(load.acknowledged)} were delivered to {name}")
    return {name: statistics.quantiles(taken, n=20)[-1] for name, taken in times.items()}


def _between(first: str, last: str) -> float:
    span = datetime.fromisoformat(last) - datetime.fromisoformat(first)
    return span.total_seconds() * 1_000


def _account(slug: str, address: str) -> str:
    return (
        f'[[accounts]]\nslug = "{slug}"\ndestination = "meta"\npixel_id = "1234567890"\n'
        f'access_token_env = "BENCH_TOKEN"\napi_base = "{address}"\n\n'
    )


@contextmanager
def _destinations(manners: dict[str, str]) -> Iterator[dict[str, str]]:
    """A destination for each account, in a process of its own; for a dead one only an address."""
    started: list[subprocess.Popen[bytes]] = []
    addresses = {}
    try:
        for name, manner in manners.items():
            port = ports.free()
            addresses[name] = f"http://127.0.0.1:{port}"
            if manner != "dead":
                command = ("-m", "benchmarks.destination", "--port", str(port), "--manner", manner)
                started.append(subprocess.Popen([sys.executable, *command]))
                ports.wait(port)
        yield addresses
    finally:
        for process in started:
            process.kill()
            process.wait()
