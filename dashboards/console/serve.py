"""Runs the console with uvicorn in a thread of its own, and stops it without waiting for open pages."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading

import structlog
import uvicorn
from starlette.applications import Starlette

from dashboards.console.page import Console
from dashboards.console.settings import ConsoleSettings
from dashboards.errors import ConsoleError

log = structlog.get_logger(__name__)
_POLL_S = 0.2


class ConsoleServer:
    """A running console; `url` is where it listens. ConsoleError when the port is taken."""

    def __init__(self, app: Starlette, settings: ConsoleSettings) -> None:
        self._console: Console = app.state.console
        self._timeout_s = settings.stop_timeout_s
        self._socket = _listen(settings)
        host, port = self._socket.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="on",
            timeout_graceful_shutdown=max(1, int(settings.stop_timeout_s)),
            ws="none",
        )
        # Its messages about connections cut off are ours to expect: see EventStream.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self._server = uvicorn.Server(config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()
        # Not on the main thread, so that uvicorn leaves the process's signals to whoever supervises us.
        self._thread = threading.Thread(target=self._run, name="console", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._started.set()
        await self._server.serve(sockets=[self._socket])

    @property
    def alive(self) -> bool:
        """Whether it still serves."""
        return self._thread.is_alive()

    def close(self) -> None:
        """End the event streams, let requests under way finish, stop."""
        self._started.wait(self._timeout_s)
        if self._loop is not None and self.alive:
            # The streams first: uvicorn waits for every response, and theirs never end by themselves.
            self._loop.call_soon_threadsafe(self._console.hub.close)
        self._server.should_exit = True
        self._thread.join(self._timeout_s + 2)
        self._socket.close()


def run_console(app: Starlette, settings: ConsoleSettings, stop: threading.Event) -> None:
    """Serve `app` until `stop` is set; ConsoleError when the port is taken or the server ends by itself."""
    server = ConsoleServer(app, settings)
    log.info("console_listening", url=server.url)
    try:
        while not stop.wait(_POLL_S):
            if not server.alive:
                raise ConsoleError(f"console {server.url}: expected to serve until told to stop, but it ended")
    finally:
        server.close()
        log.info("console_stopped", url=server.url)


def _listen(settings: ConsoleSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(256)
    except OSError as error:
        listener.close()
        raise ConsoleError(
            f"console {settings.host}:{settings.port}: expected a free port, got: {error.strerror}; not started"
        ) from error
    return listener
