"""The id under which browser and server tell of one sale: its templates, and what spoils them.

The ids stand in a file of which the browser's script is asked too (`tests/storefront/test_event_ids.py`).
"""

import pytest

from integrations.event import BadTemplate, Event, check_event_id, event_id
from tests import event_ids


@pytest.mark.parametrize("row", event_ids.RULE, ids=lambda row: row.id)
def test_rule(row: event_ids.Row) -> None:
    assert event_id(row.event, check_event_id(row.template)) == row.event_id


@pytest.mark.parametrize("page", event_ids.PAGES, ids=lambda page: page.id)
def test_what_the_hook_of_a_store_makes_of_every_template(page: event_ids.Page) -> None:
    event: Event = page.event()
    made = {row.template: event_id(event, check_event_id(row.template)) for row in page.templates}
    assert made == {row.template: row.event_id for row in page.templates}


@pytest.mark.parametrize(
    "template",
    [
        "",
        "order_id",
        "purchase",
        "{shop}",
        "{shop}-purchase",
        "{attempt}",
        "{event_time}",
        "{}",
        "{order_id|x}",
    ],
)
def test_a_template_that_gives_no_order_its_own_id(template: str) -> None:
    with pytest.raises(BadTemplate):
        check_event_id(template)
