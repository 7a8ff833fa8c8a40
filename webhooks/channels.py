"""The channels by which alerts reach a person: a webhook that takes what Slack takes, and e-mail by SMTP.

Each sends one text within a deadline, or says in a few words why it could not. Sentry hears of alerts by
itself: see `reporting.py`.
"""

import smtplib
import socket
import ssl
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from functools import partial
from typing import ClassVar
from urllib.parse import unquote, urlsplit

import msgspec

from integrations.destination import Request
from integrations.setting import Secret
from webhooks.settings import Settings
from webhooks.settings_values import is_loopback
from webhooks.transport import Transport

SECONDS = 10.0
"""For one message, whatever the other side does."""


class NotTold(Exception):
    """The message did not get through. The text names neither address nor secret."""


class Channel(ABC):
    """One way to a person."""

    name: ClassVar[str]

    @abstractmethod
    def tell(self, subject: str, text: str) -> None:
        """Sends it; raises `NotTold`."""


class Webhook(Channel):
    """``{"text": ...}`` to an address that is a secret itself."""

    name = "webhook"

    def __init__(self, url: Secret, transport: Transport) -> None:
        self._url, self._transport = url, transport

    def tell(self, subject: str, text: str) -> None:
        """Posts it."""
        # Slack reads these three as mark-up: https://docs.slack.dev, "Formatting message text".
        plain = f"{subject}\n{text}".replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        body = msgspec.json.encode({"text": plain})
        request = Request(self._url, body, {"Content-Type": "application/json"})
        answer = self._transport.send(request, seconds=SECONDS)
        if not 200 <= answer.status < 300:
            raise NotTold(f"it answered {answer.status}" if answer.status else f"no answer: {answer.detail}")


class Email(Channel):
    """By a server that takes mail for others. TLS is demanded, except of one on this machine."""

    name = "email"

    def __init__(self, url: Secret, sender: str, recipients: tuple[str, ...]) -> None:
        self._url, self._sender, self._recipients = url, sender, recipients

    def tell(self, subject: str, text: str) -> None:
        """Mails it."""
        message = self._message(subject, text)
        try:
            with self._server() as server:
                server.send_message(message, self._sender, list(self._recipients))
        except smtplib.SMTPResponseException as error:
            raise NotTold(f"the mail server answered {error.smtp_code}") from None
        except (smtplib.SMTPException, OSError, ValueError) as error:
            raise NotTold(f"the mail server: {type(error).__name__}") from None

    def _message(self, subject: str, text: str) -> EmailMessage:
        message = EmailMessage()
        message["Subject"], message["From"] = subject, self._sender
        message["To"] = ", ".join(self._recipients)
        message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain="purchase-relay.invalid")
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text)
        return message

    @contextmanager
    def _server(self) -> Iterator[smtplib.SMTP]:
        parts, context = urlsplit(self._url), ssl.create_default_context()
        is_tls = parts.scheme == "smtps"
        kind = partial(smtplib.SMTP_SSL, context=context) if is_tls else smtplib.SMTP
        server = kind(timeout=SECONDS)
        # Connected later, so that the deadline covers that as well; then nobody else says whose
        # certificate to expect.
        server._host = host = parts.hostname or ""  # type: ignore[attr-defined]  # noqa: SLF001
        end = threading.Timer(SECONDS, _cut, [server])  # a timeout of each read alone never ends
        end.daemon = True
        end.start()
        try:
            server.connect(host, parts.port or (465 if is_tls else 587))
            if not is_tls and not is_loopback(host):
                server.starttls(context=context)
            if parts.username:
                server.login(unquote(parts.username), unquote(parts.password or ""))
            yield server
            server.quit()
        finally:
            end.cancel()
            server.close()


def _cut(server: smtplib.SMTP) -> None:
    sock = server.sock
    if sock is not None:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it ended by itself meanwhile


def configured(settings: Settings, transport: Transport) -> list[Channel]:
    """The channels that the settings name."""
    found: list[Channel] = []
    if settings.alert_webhook:
        found.append(Webhook(settings.alert_webhook, transport))
    if settings.smtp_url and settings.alert_email_to:
        found.append(Email(settings.smtp_url, settings.alert_email_from, settings.alert_email_to))
    return found
