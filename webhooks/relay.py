"""The stations bound together: what every process of one deployment has at hand."""

import hashlib
import json

from integrations import discovery
from integrations.destination import Account, Destination
from webhooks import embedded, vault
from webhooks.alerts import Alerts
from webhooks.database import Database
from webhooks.holds import Holds
from webhooks.jobs import Wake
from webhooks.leases import Leases
from webhooks.ledger import Ledger
from webhooks.marks import Marks
from webhooks.settings import Settings
from webhooks.twins import Twins
from webhooks.vault import Vault


class Relay:
    """Settings and the stations built from them. Opens nothing until it is used."""

    def __init__(self, settings: Settings, *, patience: float = 5.0, connections: int = 5) -> None:
        self.settings = settings
        self.database = Database(settings.database_url, patience=patience, connections=connections)
        self.vault: Vault = vault.create(settings.secret_keys, settings.data_dir)
        self.ledger = Ledger(self.database)
        self.leases = Leases(self.database)
        self.holds = Holds(self.database)
        self.alerts = Alerts(self.database)
        self.marks = Marks(self.database, self.vault)
        self.twins = Twins(self.database)
        self.redis_url: str = settings.redis_url or embedded.redis_url(settings.data_dir)
        self.wake = Wake(self.redis_url)

    def destination(self, account: Account) -> Destination:
        """The adapter of an account."""
        return discovery.destinations()[account.destination]

    def close(self) -> None:
        """Gives connections back."""
        self.database.close()


def fingerprint(account: Account) -> str:
    """Tells whether an account's settings have changed since it was held, and nothing about them."""
    options = {name: str(value) for name, value in sorted(account.options.items())}
    content = json.dumps([account.api_base, options]).encode()
    return hashlib.sha256(content).hexdigest()[:16]
