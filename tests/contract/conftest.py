"""Options of the contract tests."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """``pytest tests/contract/test_destinations.py --update-golden``"""
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write the golden requests anew instead of comparing; read the difference before committing it",
    )
