"""Real receivers of messages on loopback: a mail server and a webhook, which may be told to fail."""

from __future__ import annotations

import email
import email.policy
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


class Webhook:
    """What came in, in order; `statuses` are answered first, then 200. `delay_s` passes before each answer."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.taken: list[dict[str, Any]] = []
        self.tries = 0
        self.statuses: list[int] = []
        self.delay_s = 0.0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        """For apprise."""
        return f"json://127.0.0.1:{self.port}/s3cr3t-path"


@contextmanager
def webhook(port: int = 0) -> Iterator[Webhook]:
    """A running webhook on a free port of 127.0.0.1."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with hook.lock:
                hook.tries += 1
                status = hook.statuses.pop(0) if hook.statuses else 200
                if status == 200:
                    hook.taken.append(body)  # taken before it is answered: a killed sender cannot know
            time.sleep(hook.delay_s)
            try:
                self.send_response(status)
                self.end_headers()
            except OSError:
                pass  # the sender was killed meanwhile

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    hook = Webhook(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


class Mailbox:
    """Mails taken, in order."""

    def __init__(self) -> None:
        self.taken: list[EmailMessage] = []
        self.port = 0

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Called by the mail server for each mail."""
        raw = envelope.content
        assert isinstance(raw, bytes)
        mail = email.message_from_bytes(raw, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        self.taken.append(mail)
        return "250 taken"


@contextmanager
def mailbox(port: int) -> Iterator[Mailbox]:
    """A running mail server on `port` of 127.0.0.1."""
    box = Mailbox()
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    box.port = port
    try:
        yield box
    finally:
        controller.stop()


def until(true: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for `true`, at most `seconds`."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.01)
