"""A mail server that keeps what it is sent."""

from __future__ import annotations

import contextlib
import dataclasses
import email
import email.policy
import socketserver
import threading
from collections.abc import Iterator
from email.message import EmailMessage


@dataclasses.dataclass
class Mailbox:
    """Mails that arrived.

    Attributes:
        port: of the server, on this machine.
        mails: in the order of their arrival.
    """

    port: int
    mails: list[EmailMessage] = dataclasses.field(default_factory=list)

    def find(self, subject: str) -> list[EmailMessage]:
        """Those with a subject."""
        return [mail for mail in self.mails if mail["Subject"] == subject]


def text_of(mail: EmailMessage) -> str:
    """What a reader sees of a mail."""
    body = mail.get_body()
    assert body is not None
    return str(body.get_content())


class _Conversation(socketserver.StreamRequestHandler):
    """As much of RFC 5321 as `smtplib` speaks."""

    def handle(self) -> None:
        self._say("220 ready")
        for line in self.rfile:
            word = line[:4].strip().upper()
            if word == b"DATA":
                self._say("354 go on")
                self._take()
                self._say("250 kept")
            elif word == b"QUIT":
                self._say("221 bye")
                return
            else:
                self._say("250 fine")

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())

    def _take(self) -> None:
        lines = iter(self.rfile.readline, b".\r\n")
        data = b"".join(line.removeprefix(b".") for line in lines)
        mail = email.message_from_bytes(data, policy=email.policy.default)
        assert isinstance(self.server, _Server)
        assert isinstance(mail, EmailMessage)
        self.server.mailbox.mails.append(mail)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.mailbox = Mailbox(self.server_address[1])


@contextlib.contextmanager
def mail_server() -> Iterator[Mailbox]:
    """A server for as long as the context lasts."""
    with _Server() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.mailbox
        server.shutdown()
        thread.join()
