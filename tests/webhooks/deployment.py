"""A small deployment to plant faults in: two shops whose stores have an API, two destinations, the web
application behind a real socket, a ledger and a Redis. All of it is well."""

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from click.testing import CliRunner, Result
from redis import Redis
from sqlalchemy import update
from werkzeug.serving import WSGIRequestHandler, make_server

from integrations.destination import Request
from webhooks import app, cli, connecting, jobs, settings
from webhooks.clock import now_ms
from webhooks.relay import Relay
from webhooks.sandbox import shopify_sender
from webhooks.sandbox.shop import Shop
from webhooks.sandbox.wire import serving, stand_in
from webhooks.schema import deliveries
from webhooks.shops import Shops
from webhooks.transport import Transport

SHOPIFY_SECRET = "shpss_0123456789abcdef0123456789abcdef"
WOOCOMMERCE_SECRET = "woocommerce-secret-for-tests"
KEY = "the-one-key-of-the-tests-is-long-enough"

Wsgi = Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]


class _Silent(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - the base names it so
        """Nobody reads it."""


class Front:
    """What answers at the public URL: the web application, or whatever a test puts before it. ``planted``
    answers the paths that begin with its key."""

    def __init__(self) -> None:
        self.app: Wsgi | None = None
        self.planted: dict[str, Wsgi] = {}

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        found = next((one for start, one in self.planted.items() if path.startswith(start)), self.app)
        assert found is not None
        return found(environ, start)


def answering(status: str, body: bytes = b"", **headers: str) -> Wsgi:
    """Something that always answers the same. Of a header's name ``_`` is ``-``."""
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]

    def answer(_environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        start(status, [("Content-Length", str(len(body))), *named])
        return [body]

    return answer


@contextmanager
def served(front: Wsgi, tls: Any = None) -> Iterator[str]:
    """The address at which it answers."""
    server = make_server("127.0.0.1", 0, front, threaded=True, request_handler=_Silent, ssl_context=tls)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Deployment:
    """All of it. ``environment`` is what the doctor is run with; the web process keeps what it began with."""

    def __init__(self, environment: dict[str, str], front: Front, kinds: Mapping[str, Any]) -> None:
        self.environment, self.front, self.kinds = environment, front, kinds
        self.relay = Relay(settings.load(environment))

    @property
    def shopify(self) -> Any:
        """The Shopify shop's other side."""
        return self.kinds["shopify_shop"]

    @property
    def woocommerce(self) -> Any:
        """The WooCommerce shop's other side."""
        return self.kinds["woocommerce_shop"]

    @property
    def redis(self) -> Redis:
        """As its operator has it."""
        return jobs.connect(self.environment["REDIS_URL"], seconds=2)

    def doctor(self, *arguments: str) -> Result:
        """Runs the command."""
        runner = CliRunner(env={**dict.fromkeys(self.environment), **self.environment})
        return runner.invoke(cli.main, ["doctor", *arguments])

    def findings(self, *arguments: str) -> list[dict[str, str]]:
        """What the command finds."""
        result = self.doctor("--json", *arguments)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.output
        found: list[dict[str, str]] = json.loads(result.stdout)["findings"]
        return found

    def without(self, *starts: str) -> None:
        """Takes every variable away whose name begins so."""
        for name in [name for name in self.environment if name.startswith(starts)]:
            del self.environment[name]

    def serve(self) -> None:
        """Starts the web process anew, with the present settings."""
        self.front.app = app.create_app(settings.load(self.environment))

    def move(self, address: str) -> None:
        """The whole deployment now stands at another address: stores know of it."""
        before, self.environment["RELAY_PUBLIC_URL"] = self.environment["RELAY_PUBLIC_URL"], address
        for shop in (self.shopify, self.woocommerce):
            for one in shop.subscriptions:
                one.url = one.url.replace(before, address)

    def connect(self) -> None:
        """Has the stores send their hooks here, as `shops connect` does."""
        transport = Transport(connections=1)
        for shop in self.relay.settings.shops:
            connecting.connect(self.relay, Shops(transport), shop)
        transport.close()

    def sell(self) -> None:
        """An order of a few minutes ago, taken and delivered."""
        assert self.hook(json.dumps(self.shopify.order(1, time.time())).encode()) == 200
        with self.relay.database.write() as db:
            db.execute(update(deliveries).values(state="delivered", delivered_at=now_ms()))

    def hook(self, body: bytes, topic: str = "orders/paid") -> int:
        """Sends a signed hook to the public URL; the answer's status."""
        headers = shopify_sender.sign(body, SHOPIFY_SECRET, topic=topic, now=int(time.time()))
        transport = Transport(connections=1)
        address = f"{self.environment['RELAY_PUBLIC_URL']}/webhooks/shopify/shopify"
        status = transport.send(Request(address, body, headers)).status
        transport.close()
        return status

    def start_worker(self) -> None:
        """A worker that RQ knows of."""
        worker = jobs.Worker([jobs.queue(self.redis)], connection=self.redis, job_class=jobs.OurJob)
        worker.register_birth()  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Gives connections back."""
        self.relay.close()


@contextmanager
def deployed(ledger: Path, redis_url: str, folder: Path) -> Iterator[Deployment]:
    """The deployment, with one order behind it."""
    with ExitStack() as stack:
        front = Front()
        kinds = {slug: stand_in(slug)() for slug in ("shopify_shop", "woocommerce_shop", "meta", "snapchat")}
        at = {slug: stack.enter_context(serving(kind)) for slug, kind in kinds.items()}
        environment = {
            "DATABASE_URL": f"sqlite:///{ledger}",
            "REDIS_URL": redis_url,
            "RELAY_DATA_DIR": str(folder),
            "RELAY_SECRET_KEYS": KEY,
            "RELAY_PUBLIC_URL": stack.enter_context(served(front)),
            "SHOPIFY_WEBHOOK_SECRETS": SHOPIFY_SECRET,
            "WOOCOMMERCE_WEBHOOK_SECRETS": WOOCOMMERCE_SECRET,
            "SHOPIFY_EVENT_ID": "shopify-{order_id}",  # both shops send to the same accounts
            "SNAPCHAT_PAGE_URL": "https://shop.example.com/",
        }
        for slug, kind in kinds.items():
            name = slug.removesuffix("_shop").upper()
            options = (
                kind.settings(at[slug]) if isinstance(kind, Shop) else {**kind.demo, "api_base": at[slug]}
            )
            environment |= {f"{name}_{option}".upper(): value for option, value in options.items()}
        deployment = Deployment(environment, front, kinds)
        stack.callback(deployment.close)
        for kind in (deployment.shopify, deployment.woocommerce):
            stack.callback(kind.close)
        deployment.serve()
        deployment.connect()
        deployment.sell()
        deployment.start_worker()
        deployment.relay.wake.note_sweep(now_ms())
        yield deployment
