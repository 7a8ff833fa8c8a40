"""Migrations that are killed in the middle, this version's and one to come."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from tests.environments import KEY
from tests.faults import orders
from tests.faults.filling import fill
from tests.faults.installation import ROOT
from webhooks import app, migrations, settings
from webhooks.database import Database
from webhooks.schema import metadata

pytestmark = pytest.mark.faults


@pytest.fixture
def empty(empty_database_url: str) -> Iterator[Database]:
    made = Database(empty_database_url)
    yield made
    made.close()


def test_a_killed_migration_leaves_what_was_and_is_run_again(empty: Database, tmp_path: Path) -> None:
    url = empty.url.render_as_string(hide_password=False)
    environ = {"DATABASE_URL": url, "RELAY_SECRET_KEYS": KEY, "RELAY_DATA_DIR": str(tmp_path)}
    assert cut(url, "this", 24) >= 2
    assert migrations.is_current(empty)
    with empty.read() as db:
        context = MigrationContext.configure(db, opts={"compare_server_default": False})
        assert compare_metadata(context, metadata) == []

    assert len(list(fill(environ | orders.ENVIRON, (orders.place(number)[0] for number in range(6))))) == 6
    before = everything(empty)
    assert cut(url, "next", 3) >= 2
    assert everything(empty) == before
    with empty.read() as db:
        assert db.execute(text("SELECT count(*) FROM deliveries WHERE remark = 'seen'")).scalar_one() == 6

    # The version before goes on.
    web = app.create_app(settings.load(environ | orders.ENVIRON)).test_client()
    assert web.get("/readyz").status_code == 200
    told = orders.place(7)[0]
    assert web.post(told.path, data=told.body, headers=told.headers()).status_code == 200


def cut(address: str, version: str, stride: int) -> int:
    """Kills that migration in the middle, again and again, and then lets it end; returns how often."""
    command = [sys.executable, "-m", "tests.faults.cutting", address, version, str(stride)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def everything(database: Database) -> dict[str, list[Any]]:
    """Every row of every table, as this version knows them."""
    with database.read() as db:
        return {
            table.name: list(db.execute(table.select().order_by(*table.primary_key)))
            for table in metadata.tables.values()
        }
