"""Logging: one event a line, for a machine or for eyes, never with a secret in it.

From: structlog and the standard library's loggers in every layer. To: standard error, where systemd, a container
engine or the supervisor's terminal collects it. Every line carries UTC time, level, event, logger, role and pid.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import structlog
from structlog.typing import Processor

from deploy.secrecy import MASK, is_secret, mask_text
from deploy.settings import LogSettings

# Chatty at INFO about things that are metrics here.
_QUIET = ("uvicorn.access", "httpx", "httpcore", "urllib3", "apprise", "alembic")


def configure(settings: LogSettings, *, role: str = "", stream: TextIO | None = None) -> None:
    """Set up structlog and the standard library's logging for this process; the last call wins."""
    stream = stream or sys.stderr
    shared = _shared(role)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderer(settings, stream)],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,  # loggers made before this call shall obey it too
    )


def _shared(role: str) -> list[Processor]:
    pid = os.getpid()

    def stamp(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.setdefault("pid", pid)
        if role:
            event.setdefault("role", role)
        return event

    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        stamp,
        mask_secrets,
    ]


def _renderer(settings: LogSettings, stream: TextIO) -> list[Processor]:
    terminal = stream.isatty()
    if settings.format == "console" or (settings.format == "auto" and terminal):
        colours = terminal and "NO_COLOR" not in os.environ
        return [structlog.dev.ConsoleRenderer(colors=colours, pad_event_to=0)]
    # A traceback goes last: it may hold a URL, so it is masked as text.
    return [
        structlog.processors.format_exc_info,
        mask_secrets,
        structlog.processors.JSONRenderer(ensure_ascii=False),
    ]


def mask_secrets(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: values under secret names, and credentials inside URLs, become `***`."""
    for key, value in event.items():
        event[key] = _masked(key, value)
    return event


def _masked(key: str, value: object) -> object:
    if value and is_secret(key):
        return MASK
    if isinstance(value, str):
        return mask_text(value) if "://" in value or "=" in value else value
    if isinstance(value, Mapping):
        return {str(name): _masked(str(name), inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_masked("", inner) for inner in value]
    return mask_text(str(value)) if isinstance(value, BaseException) else value
