"""A mail server of forty lines: takes mail, asks for a login if it shall, may be slow or refuse."""

import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Mail(socketserver.ThreadingTCPServer):
    """``received`` are whole messages. ``refuses``: the code that it answers to every sender."""

    allow_reuse_address = daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.received: list[str] = []
        self.logins: list[str] = []
        self.refuses = ""
        self.drips = False

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])


class _Session(socketserver.StreamRequestHandler):
    server: Mail

    def handle(self) -> None:
        """One client."""
        if self.server.drips:
            self._drip()
            return
        self._say("220 ready")
        for line in self.rfile:
            command = line.decode().strip()
            match command.split(" ")[0].upper():
                case "EHLO":
                    self._say("250-here\r\n250 AUTH PLAIN")
                case "AUTH":
                    self.server.logins.append(command)
                    self._say("235 welcome")
                case "MAIL" if self.server.refuses:
                    self._say(f"{self.server.refuses} no, jane@example.com")
                case "DATA":
                    self._say("354 go on")
                    lines = iter(self.rfile.readline, b".\r\n")
                    self.server.received.append(b"".join(lines).decode())
                    self._say("250 taken")
                case "QUIT":
                    self._say("221 bye")
                    return
                case _:
                    self._say("250 fine")

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())

    def _drip(self) -> None:
        """Never silent for long, and never done."""
        self.connection.settimeout(0.05)
        try:
            while True:
                self.wfile.write(b"2")
                time.sleep(0.02)
        except OSError:
            return


@contextmanager
def mail() -> Iterator[Mail]:
    """A running server."""
    server = Mail()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
