"""A stand-in of Acme Ads, which does not exist either."""

import re
from typing import Any, ClassVar

from webhooks.sandbox.standin import Counted, Hit, Reply, StandIn, json_reply, strict_json


class Acme(StandIn):
    """Knows accounts by ``advertiser`` and ``key``."""

    slug = "acme"
    demo: ClassVar = {"advertiser": "a-1", "key": "acme-demo-key"}

    def judge(self, hit: Hit) -> tuple[Reply, list[Counted]]:
        """Key, shape, then every purchase."""
        for known in self.accounts:
            if hit.path == f"/v1/{known['advertiser']}/purchases":
                if hit.headers.get("authorization") != f"Bearer {known['key']}":
                    return json_reply(401, {"error": "key"}), []
                return self._take(str(known["advertiser"]), strict_json(hit.body))
        return json_reply(401, {"error": "key"}), []

    def _take(self, advertiser: str, document: Any) -> tuple[Reply, list[Counted]]:
        purchases = document.get("purchases") if isinstance(document, dict) else None
        if not isinstance(purchases, list) or not 1 <= len(purchases) <= 50:
            return json_reply(422, {"error": "1 to 50 purchases, please"}), []
        if wrong := next((reason for one in purchases if (reason := self._wrong(one))), ""):
            return json_reply(422, {"error": wrong}), []
        counted = [Counted(advertiser, "purchase", one["id"], one) for one in purchases]
        return json_reply(200, {"taken": len(counted)}), counted

    def _wrong(self, one: Any) -> str:
        if not isinstance(one, dict) or set(one) != {"id", "at", "amount", "currency", "person"}:
            return "unknown or missing field"
        oldest, latest = self.now() - 2 * 86_400, self.now() + 600
        person = one["person"] if isinstance(one["person"], dict) else {}
        right = {
            "id": _like(one["id"], ".+"),
            "at": isinstance(one["at"], int) and oldest <= one["at"] <= latest,
            "amount": _like(one["amount"], r"[0-9]+(\.[0-9]+)?"),
            "currency": _like(one["currency"], "[A-Z]{3}"),
            "person": person and all(_like(text, "[0-9a-f]{64}") for text in person.values()),
        }
        return ", ".join(name for name, is_right in right.items() if not is_right)


def _like(text: Any, pattern: str) -> bool:
    return isinstance(text, str) and re.fullmatch(pattern, text) is not None
