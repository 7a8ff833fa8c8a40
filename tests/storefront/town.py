"""One address for all the sites of a test: whatever host a page asks for over http, it is found here."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Response

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class Town:
    """Hosts and the application that stands there. ``localhost`` has the port in its address, others none."""

    def __init__(self) -> None:
        self.sites: dict[str, WSGIApplication] = {}
        self.port = 0

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        host = str(environ.get("HTTP_HOST", "")).partition(":")[0]
        return self.sites.get(host, Response("nobody lives here\n", 404))(environ, start_response)


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - werkzeug's own name
        pass


@contextmanager
def standing() -> Iterator[Town]:
    """A town that listens."""
    town = Town()
    server = make_server("127.0.0.1", 0, town, threaded=True, request_handler=_Quiet)
    town.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield town
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
