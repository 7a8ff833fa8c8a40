"""Runs the plugin that `snippet` prints, in PHP, among imitations of the functions that it calls."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec

from tests.conftest import do_without
from tests.servers import CannotStart

_STAGE = Path(__file__).with_name("wordpress.php")


class Played(msgspec.Struct, frozen=True):
    """What came of a hook: the order's meta fields, what was printed, which scripts the page gets."""

    meta: dict[str, str]
    html: str
    scripts: dict[str, str]
    saved: bool


class WordPress:
    """A WordPress with this plugin."""

    def __init__(self, plugin: str, home: Path) -> None:
        self.program = shutil.which("php") or do_without(
            CannotStart("no PHP is installed (apt-get install php-cli)")
        )
        self.path = home / "purchase-relay.php"
        self.path.write_text(plugin, "utf-8")

    def play(self, action: str, order: dict[str, Any], cookie: dict[str, str] | None = None) -> Played:
        """Calls what the plugin has hooked to the action; the order keeps its new meta fields."""
        asked = {"plugin": str(self.path), "action": action, "order": order, "cookie": cookie or {}}
        done = subprocess.run(
            [self.program, _STAGE],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        played = msgspec.json.decode(done.stdout, type=Played)
        order["meta"] = played.meta
        return played
