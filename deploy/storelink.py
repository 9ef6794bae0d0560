"""Reading the embedded store from another process: its owner answers over a local socket.

DuckDB's file belongs to one process. The processor owns it and serves reads here; the console and the command
line ask. The socket is a file in the data folder, readable by our user alone. A frame is a 4-byte big-endian
length and msgpack.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import socketserver
import stat
import struct
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import structlog
from numpy.typing import NDArray

from devices.errors import UndercityError
from devices.packed import PackedArray, pack, unpack
from devices.spec import Kind
from ingest.errors import StoreUnavailable
from ingest.timeseries.ports import History, Latest, TimeSeriesStore

log = structlog.get_logger(__name__)
_FRAME_MAX = 256 * 1024 * 1024
_UNIX_PATH_MAX = 100  # the kernel takes 107 bytes
_LENGTH = struct.Struct(">I")


def store_socket(wanted: Path) -> Path:
    """Where the owner answers: `wanted`, or a short path elsewhere when the kernel has no room for that one."""
    path = wanted.resolve()
    if len(str(path).encode()) <= _UNIX_PATH_MAX:
        return path
    folder = Path(tempfile.gettempdir()) / f"undercity-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    seen = folder.lstat()
    if seen.st_uid != os.getuid() or not stat.S_ISDIR(seen.st_mode) or seen.st_mode & 0o077:
        raise StoreUnavailable(
            f"store: expected {folder} to be a folder of ours alone, it is not; choose a shorter data.dir or remove it"
        )
    return folder / f"{hashlib.blake2b(str(path).encode(), digest_size=8).hexdigest()}.sock"


class _Answer(msgspec.Struct):
    error: str = ""
    devices: list[str] = []
    arrays: dict[str, PackedArray] = {}


class _Question(msgspec.Struct):
    ask: str
    kind: str
    device: str = ""
    quantity: str = ""
    start_us: int = 0
    end_us: int = 0
    every_us: int | None = None


_ENCODER = msgspec.msgpack.Encoder()
_ANSWER = msgspec.msgpack.Decoder(_Answer)
_QUESTION = msgspec.msgpack.Decoder(_Question)


class StoreServer:
    """Answers reads of `store` until closed; one thread per connection."""

    def __init__(self, store: TimeSeriesStore, kinds: Mapping[str, Kind], path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        answer = _Answerer(store, kinds).answer

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError, EOFError):
                    while True:
                        _send(self.request, _ENCODER.encode(answer(_receive(self.request))))

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True
            request_queue_size = 128  # a full queue refuses at once: many pages may open together
            block_on_close = False

        self._server = Server(str(path), Handler)
        path.chmod(0o600)
        self._thread = threading.Thread(target=self._server.serve_forever, name="store-link", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._path.unlink(missing_ok=True)


class _Answerer:
    def __init__(self, store: TimeSeriesStore, kinds: Mapping[str, Kind]) -> None:
        self._store = store
        self._kinds = kinds

    def answer(self, frame: bytes) -> _Answer:
        """Whatever is asked, an answer; a refusal in one line when it cannot be given."""
        try:
            question = _QUESTION.decode(frame)
            kind = self._kinds.get(question.kind)
            if kind is None:
                return _Answer(error=f"store: expected one of {', '.join(self._kinds)}, got kind {question.kind}")
            return self._latest(kind, question) if question.ask == "latest" else self._history(kind, question)
        except (UndercityError, msgspec.MsgspecError) as error:
            return _Answer(error=str(error))
        except Exception as error:  # a board's question must not cost the pipeline anything  # noqa: BLE001
            log.warning("store_question_failed", reason=repr(error), now="the one who asked is told")
            return _Answer(error=f"store: the question could not be answered: {type(error).__name__}")

    def _latest(self, kind: Kind, question: _Question) -> _Answer:
        latest = self._store.latest(kind, question.end_us)
        return _Answer(
            devices=latest.devices,
            arrays=_pack(time_us=latest.time_us, values=latest.values, quality=latest.quality),
        )

    def _history(self, kind: Kind, question: _Question) -> _Answer:
        found = self._store.history(
            kind, question.device, question.quantity, question.start_us, question.end_us, question.every_us
        )
        columns = ("time_us", "value", "quality", "low", "high", "count")
        return _Answer(arrays=_pack(**{name: getattr(found, name) for name in columns}))


class StoreClient:
    """The reading half of `TimeSeriesStore`, asked of the process that owns it. Safe from any thread."""

    def __init__(self, path: Path, timeout_s: float = 10.0) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._local = threading.local()

    def history(
        self, kind: Kind, device: str, quantity: str, start_us: int, end_us: int, every_us: int | None = None
    ) -> History:
        """See `TimeSeriesStore.history`; StoreUnavailable while the owner does not run."""
        question = _Question("history", kind.name, device, quantity, start_us, end_us, every_us)
        arrays = self._ask(question).arrays
        return History(**{name: unpack(array) for name, array in arrays.items()})

    def latest(self, kind: Kind, now_us: int) -> Latest:
        """See `TimeSeriesStore.latest`; StoreUnavailable while the owner does not run."""
        answer = self._ask(_Question("latest", kind.name, end_us=now_us))
        return Latest(kind, answer.devices, **{name: unpack(a) for name, a in answer.arrays.items()})

    def _ask(self, question: _Question) -> _Answer:
        frame = _ENCODER.encode(question)
        for attempt in (1, 2):
            try:
                connection = self._connection()
                _send(connection, frame)
                answer = _ANSWER.decode(_receive(connection))
                break
            except (OSError, EOFError) as error:
                self._drop()
                if attempt == 2:
                    raise StoreUnavailable(
                        f"store {self._path}: the processor does not answer ({error}); try again when it runs"
                    ) from error
        if answer.error:
            raise StoreUnavailable(answer.error)
        return answer

    def _connection(self) -> socket.socket:
        connection: socket.socket | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(self._timeout_s)
            try:
                connection.connect(str(self._path))
            except OSError:
                connection.close()
                raise
            self._local.connection = connection
        return connection

    def _drop(self) -> None:
        connection: socket.socket | None = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None

    def close(self) -> None:
        """Drop this thread's connection."""
        self._drop()


def _pack(**arrays: NDArray[Any] | None) -> dict[str, PackedArray]:
    return {name: pack(array) for name, array in arrays.items() if array is not None}


def _send(connection: socket.socket, frame: bytes) -> None:
    connection.sendall(_LENGTH.pack(len(frame)) + frame)


def _receive(connection: socket.socket) -> bytes:
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    if length > _FRAME_MAX:
        raise EOFError(f"frame of {length} bytes")
    return _exactly(connection, length)


def _exactly(connection: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(min(size - len(parts), 1 << 20))
        if not part:
            raise EOFError("the other side closed")
        parts += part
    return bytes(parts)
