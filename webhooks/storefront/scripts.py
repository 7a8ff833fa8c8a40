"""Puts together the scripts of a shop."""

from importlib import resources


def common(name: str) -> str:
    """A script that all shops share."""
    return (resources.files("webhooks.storefront") / name).read_text("utf-8")
