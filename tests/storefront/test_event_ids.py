"""The browser makes the server's event_ids: the data of `tests/contract/test_event_ids.py`, in Chromium."""

import pytest
from playwright.sync_api import Page as Tab

from integrations import beside
from tests import event_ids
from webhooks.storefront import scripts

pytestmark = pytest.mark.browser


def test_rule(bench: Tab) -> None:
    bench.add_script_tag(content=scripts.common("event_id.js"))
    asked = "(rows) => rows.map(([template, names]) => eventId(template, names))"
    made = bench.evaluate(asked, [[row.template, row.told] for row in event_ids.RULE])
    assert dict(zip([row.id for row in event_ids.RULE], made, strict=True)) == {
        row.id: row.event_id for row in event_ids.RULE
    }


@pytest.mark.parametrize("sale", event_ids.PAGES, ids=lambda sale: sale.id)
def test_what_the_page_of_a_store_makes_of_every_template(bench: Tab, sale: event_ids.Page) -> None:
    """The server's id, or none where the page does not know what the template wants."""
    bench.add_script_tag(content=scripts.common("event_id.js") + beside.text(sale.store, "pixel.js"))
    asked = """({told, templates}) => {
        const {names} = orderOf(told, {shop: "main"});
        return templates.map((template) => eventId(template, names));
    }"""
    expected = {row.template: row.event_id if row.browser is None else row.browser for row in sale.templates}
    made = bench.evaluate(asked, {"told": sale.page, "templates": list(expected)})
    assert dict(zip(expected, made, strict=True)) == expected
