"""The demo, played once as a user plays it; and that it would say so if something were wrong."""

import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from integrations import discovery
from tests import servers
from webhooks.sandbox import cast, verdict
from webhooks.sandbox.cast import Order
from webhooks.sandbox.stage import Actor
from webhooks.sandbox.verdict import Fate, Seen
from webhooks.sandbox.wire import NoStandIn, stand_in

SAMPLES = Path(__file__).parents[1] / "data" / "stores"


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Where the demo puts its files."""
    with servers.folder() as path:
        yield path


@contextmanager
def play(temporary: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "webhooks.sandbox.demo", *arguments],
        env={"TMPDIR": str(temporary), "PYTHONUTF8": "1", "META_ACCESS_TOKEN": "a-real-one"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def left_behind(temporary: Path) -> list[str]:
    """Files, and processes of the demo."""
    files = [path.name for path in temporary.iterdir()]
    if not Path("/proc/self/environ").exists():
        return files
    here = str(temporary).encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if here in (process / "environ").read_bytes() + (process / "cmdline").read_bytes():
                files.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue  # it has just ended, or is not ours
    return files


def test_the_demo_keeps_its_promises(temporary: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    with play(temporary, "--report", str(report)) as process:
        told, _ = process.communicate(timeout=110)
    assert process.returncode == 0, told
    assert left_behind(temporary) == []
    assert "\x1b" not in told, "a file gets no colours"
    assert "a-real-one" not in told
    facts = json.loads(report.read_text())
    assert [claim["sentence"] for claim in facts["claims"] if not claim["holds"]] == []
    assert len(facts["claims"]) >= 12
    expect_facts(facts)


def expect_facts(facts: dict[str, Any]) -> None:
    """The closing table, counted again."""
    orders = facts["orders"]
    assert Counter(order["store"] for order in orders).keys() == discovery.stores().keys()
    assert {slug for order in orders for slug in order["at"]} == set(standing_in())
    states = Counter(order["at"]["meta"]["fate"]["state"] for order in orders)
    assert states == {"delivered": len(orders) - 3, "refused": 1, "suppressed": 2}
    for order in orders:
        for slug, seen in order["at"].items():
            sold = seen["fate"]["state"] == "delivered"
            assert seen["kept"] == int(sold), (order, slug)
    meta = [order["at"]["meta"] for order in orders]
    assert sum(seen["browser"] for seen in meta) >= 10
    assert sum(seen["fate"]["interrupted"] for seen in meta) == 1
    assert max(seen["fate"]["batch"] for seen in meta) > 1
    assert max(order["hooks"] for order in orders) == 4


def standing_in() -> Iterator[str]:
    for slug in discovery.destinations():
        try:
            yield stand_in(slug).slug
        except NoStandIn:
            continue


def test_an_interrupted_demo_leaves_nothing(temporary: Path) -> None:
    with play(temporary) as process:
        assert process.stdout is not None
        while not (line := process.stdout.readline()).startswith("2  "):
            assert line, "it ended before its second chapter"
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate(timeout=30)
    assert process.returncode == 130, told
    assert told.endswith("Stopped; nothing is left behind.\n")
    assert left_behind(temporary) == []


# --- it would say so ---------------------------------------------------------------------------------------

ORDER = Order("shopify", 1042, Decimal("56.44"), "USD", "")
GOOD = Seen(Fate(ORDER.id, "delivered", "", 1, 1, 0, 1), server=1, browser=0, kept=1, money="56.44 USD")


class Recorded(Actor):
    """A destination with a record of our own making."""

    def __init__(self, kept: int) -> None:
        super().__init__("meta")
        self.kept = kept

    def record(self) -> list[dict[str, Any]]:
        return [{"kept": True}] * self.kept


@pytest.mark.parametrize(
    ("seen", "kept", "but"),
    [
        (GOOD, 1, ""),
        (None, 0, "#1042 is missing"),
        (msgspec.structs.replace(GOOD, kept=0), 0, "#1042 0 times, 0 events in all"),
        (msgspec.structs.replace(GOOD, kept=2), 2, "#1042 2 times, 2 events in all"),
        (GOOD, 2, "2 events in all"),
    ],
    ids=["good", "missing", "lost", "twice", "stranger"],
)
def test_a_wrong_count_is_found(seen: Seen | None, kept: int, but: str) -> None:
    found = {(ORDER.id, "meta"): seen} if seen else {}
    claim = verdict._of_destination(Recorded(kept), [ORDER], found)
    assert (claim.holds, claim.but) == (not but, but)


@pytest.mark.parametrize(
    ("order", "seen", "fine"),
    [
        (ORDER, GOOD, True),
        (ORDER, msgspec.structs.replace(GOOD, money="56.45 USD"), False),
        (ORDER, msgspec.structs.replace(GOOD, money="56.44 EUR"), False),
        (ORDER, msgspec.structs.replace(GOOD, money=""), False),
        (ORDER, msgspec.structs.replace(GOOD, money="56.440 USD"), True),
        (ORDER._replace(ending="refused"), GOOD, False),
    ],
    ids=["good", "amount", "currency", "nothing", "zeros", "ending"],
)
def test_a_wrong_ending_is_found(order: Order, seen: Seen, fine: bool) -> None:
    assert verdict.as_ordered(order, seen) is fine


def test_the_orders_are_the_samples() -> None:
    """What the package brings along is what the stores' own tests read."""
    folder = Path(cast.__file__).parent / "orders"
    table = dict(
        re.findall(r"^\| `(\w+)` \| `([\w/.-]+)` \|$", (folder / "README.md").read_text(), re.MULTILINE)
    )
    assert {path.stem for path in folder.glob("*.json")} == table.keys()
    for name, sample in table.items():
        raw = (SAMPLES / f"{sample}.json").read_text()
        expected = json.loads(raw)["body"] if "/captured/" in sample else raw
        assert (folder / f"{name}.json").read_text() == expected, name
