"""How much of an account goes out in one request: little at first, and twice as much each time it went well.

A worker that has just started may die of what killed the one before; what it has in its hands then is in
doubt, and blamed. So its first requests are small, and after a few answers as large as they may be.
"""

FIRST = 25


class Pace:
    """One worker's, of all accounts."""

    def __init__(self) -> None:
        self._most: dict[str, int] = {}

    def most(self, account: str) -> int:
        """How many deliveries the next request may hold."""
        return self._most.get(account, FIRST)

    def landed(self, account: str, count: int) -> None:
        """So many came back, whatever the answer: the worker lives."""
        self._most[account] = max(self.most(account), 2 * count)
