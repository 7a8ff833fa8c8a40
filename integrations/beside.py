"""Files in an adapter's folder, beside its code: scripts for the browser, texts to paste into a shop."""

import inspect
from pathlib import Path

from integrations.destination import Destination
from integrations.store import Store


def text(adapter: Store | Destination, name: str) -> str:
    """The file's text, ``""`` if the adapter has none of that name."""
    path = _home(adapter) / name
    return path.read_text("utf-8") if path.is_file() else ""


def folder(adapter: Store | Destination, name: str) -> dict[str, str]:
    """The texts of the files in a folder, by name and in their order; none if there is no such folder."""
    found = _home(adapter) / name
    return {path.name: path.read_text("utf-8") for path in sorted(found.glob("*.*"))}


def _home(adapter: Store | Destination) -> Path:
    """The adapter's folder; of one that is a single file, the folder of its name."""
    path = Path(inspect.getfile(type(adapter)))
    return path.parent if path.stem == "__init__" else path.with_suffix("")
