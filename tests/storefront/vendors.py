"""The destinations' own scripts and the places to which they report, as a browser meets them.

Each script here does what the vendor's does as far as the shop's page can see: it takes the calls that waited
for it, and from then on every call, and reports them to the vendor's host. All of it may be blocked, as by an
ad blocker. Any other address outside this machine is a failure of the test.
"""

import json
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import BrowserContext, Route

from webhooks.sandbox.standin import StandIn

_TOLD = """
const host = new URL(document.currentScript.src).origin;
const told = (call) => {
  const text = encodeURIComponent(JSON.stringify(Array.from(call)));
  fetch(`${host}/told?call=${text}`, {mode: "no-cors", keepalive: true});
};
"""

SCRIPTS = {
    "connect.facebook.net/en_US/fbevents.js": """
        fbq.callMethod = (...call) => told(call);
        fbq.queue.splice(0).forEach(told);
    """,
    "www.googletagmanager.com/gtag/js": """
        const take = (call) => {
          window.google_tag_manager = window.google_tag_manager || {};
          if (call[0] === "config") google_tag_manager[call[1]] = {};
          told(call);
        };
        const push = dataLayer.push;
        dataLayer.push = (...calls) => { calls.forEach(take); return push.apply(dataLayer, calls); };
        dataLayer.forEach(take);
    """,
    "analytics.tiktok.com/i18n/pixel/events.js": """
        for (const [id, calls] of Object.entries(ttq._i)) {
          calls.push = (call) => told([id, ...call]);
          calls.splice(0).forEach(calls.push);
        }
    """,
    "s.pinimg.com/ct/core.js": """
        pintrk.queue.push = told;
        pintrk.queue.splice(0).forEach(told);
    """,
    "sc-static.net/scevent.min.js": """
        snaptr.handleRequest = (...call) => told(call);
        snaptr.queue.splice(0).forEach(told);
    """,
    "www.redditstatic.com/ads/pixel.js": """
        rdt.sendEvent = (...call) => told(call);
        rdt.callQueue.splice(0).forEach(told);
    """,
    "bzrcdn.openai.com/sdk/oaiq.min.js": """
        oaiq.q.push = told;
        oaiq.q.splice(0).forEach(told);
    """,
}


class Vendors:
    """Answers whatever a browser asks of https. ``calls`` are what was reported, each with its host; ``meta``
    is told of the purchases that reached Meta's."""

    def __init__(self, context: BrowserContext, meta: StandIn | None = None) -> None:
        self.blocked = False
        self.calls: list[tuple[str, list[Any]]] = []
        self.strays: list[str] = []
        self._meta = meta
        context.route(re.compile("^https:"), self._answer)

    def _answer(self, route: Route) -> None:
        address = urlsplit(route.request.url)
        script = SCRIPTS.get(f"{address.netloc}{address.path}")
        if script is None and address.path != "/told":
            self.strays.append(route.request.url)
        if self.blocked or (script is None and address.path != "/told"):
            route.abort("blockedbyclient")
        elif script:
            route.fulfill(body=f"(function () {{ {_TOLD} {script} }})();", content_type="text/javascript")
        else:
            self._note(address.netloc, json.loads(parse_qs(address.query)["call"][0]))
            route.fulfill(status=204)

    def _note(self, host: str, call: list[Any]) -> None:
        self.calls.append((host, call))
        if self._meta and host == "connect.facebook.net" and call[0] == "trackSingle":
            self._meta.browser(call[1], call[2], call[4]["eventID"])

    def of(self, host: str) -> list[list[Any]]:
        """The calls that this vendor was told of."""
        return [call for told, call in self.calls if told == host]
