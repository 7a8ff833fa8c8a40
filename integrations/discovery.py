"""Lists the adapters: every module (or package) in the two folders. There is no other list.

An adapter's file is named like its slug and defines one class that keeps the promise. A file that breaks
its promise stops the start, with a sentence that says which and why.
"""

import importlib
import inspect
import pkgutil
import re
from functools import cache
from types import ModuleType
from typing import TypeVar

import integrations.destinations
import integrations.stores
from integrations.destination import Destination
from integrations.setting import Setting
from integrations.store import Store

Adapter = TypeVar("Adapter", Store, Destination)


class BrokenAdapter(Exception):
    """A file in an adapters' folder does not keep its promise."""


@cache
def stores() -> dict[str, Store]:
    """Every store by its slug, in alphabetical order."""
    return _discover(integrations.stores, Store)  # type: ignore[type-abstract]


@cache
def destinations() -> dict[str, Destination]:
    """Every destination by its slug, in alphabetical order."""
    return _discover(integrations.destinations, Destination)  # type: ignore[type-abstract]


def _discover(folder: ModuleType, promise: type[Adapter]) -> dict[str, Adapter]:
    names = sorted(module.name for module in pkgutil.iter_modules(folder.__path__))
    return {name: _load(f"{folder.__name__}.{name}", name, promise) for name in names}


def _load(path: str, slug: str, promise: type[Adapter]) -> Adapter:
    module = importlib.import_module(path)
    classes = [
        kind
        for kind in vars(module).values()
        if inspect.isclass(kind) and issubclass(kind, promise) and kind.__module__.startswith(path)
    ]
    if len(classes) != 1:
        raise BrokenAdapter(f"{path} must define one {promise.__name__}, but defines {len(classes)}")
    adapter = classes[0]
    if missing := sorted(getattr(adapter, "__abstractmethods__", ())):
        raise BrokenAdapter(f"{path} lacks {', '.join(missing)}")
    _check(path, slug, adapter)
    return adapter()


def _check(path: str, slug: str, adapter: type[Store] | type[Destination]) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]*", slug) or getattr(adapter, "slug", None) != slug:
        raise BrokenAdapter(f"{path} must have the slug {slug!r}, like its file")
    promised: dict[str, type] = {"label": str, "settings": tuple}
    if issubclass(adapter, Destination):
        promised |= {"api_base": str, "batch_limit": int}
    for name, kind in promised.items():
        if not isinstance(getattr(adapter, name, None), kind):
            raise BrokenAdapter(f"{path} lacks {name!r}")
    if not all(isinstance(setting, Setting) for setting in adapter.settings):
        raise BrokenAdapter(f"{path} has settings that are not Setting")
