"""gunicorn's settings: ``gunicorn -c python:webhooks.server``. gunicorn reads the names of this module."""

import gc
import resource
import sys
from pathlib import Path
from typing import Any

from gunicorn.glogging import Logger  # type: ignore[import-untyped]
from gunicorn.http import wsgi  # type: ignore[import-untyped]

from webhooks import intake, reporting, settings
from webhooks.buffering import BufferingWorker


def _load() -> settings.Settings:
    try:
        return settings.load()
    except settings.BadSettings as error:
        sys.exit(str(error))


_settings = _load()
wsgi.SERVER = "purchase-relay"  # nobody needs to know with what it is made


class _Worker(BufferingWorker):
    max_body = _settings.max_body_bytes
    together = intake.PREFIX


class _Logger(Logger):  # type: ignore[misc]
    """gunicorn's own lines go the way of all others."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        reporting.configure_logs()


def pre_fork(_server: object, _worker: object) -> None:
    """gunicorn's hook. What is loaded by now stays: looking for garbage in it again and again is for nothing,
    and would copy its memory into every process."""
    gc.collect()
    gc.freeze()


wsgi_app = "webhooks.app:create_app()"
bind = f"0.0.0.0:{_settings.port}"
worker_class = _Worker
workers = _settings.web_workers
threads = _settings.web_threads
# A connection that waits costs a file. Some are needed for the database, Redis and logs.
worker_connections = max(64, min(2_000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200))
preload_app = True

# Between SIGTERM and SIGKILL lie 30 seconds on most hosts. A request takes at most ten to arrive.
graceful_timeout = 20
timeout = 30
keepalive = 5

limit_request_line = 4_094
limit_request_fields = 100
limit_request_field_size = 8_190

logger_class = _Logger
accesslog = None  # it would hold query strings; what a hook was is in the ledger
control_socket_disable = True  # one path per user: two instances would collide
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a heartbeat must not wait for a disk
