"""A double of the part of Grafana's HTTP API that publishing uses, as its documentation describes it.

It is no Grafana: it proves our side of the exchange, and nothing about how a board looks.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

TOKEN = "glsa_test_token"  # noqa: S105  an example


class FakeGrafana:
    """Folders, boards with versions, data sources; `status` makes every answer fail with it."""

    def __init__(self) -> None:
        self.folders: dict[str, dict[str, Any]] = {}
        self.boards: dict[str, dict[str, Any]] = {}
        self.sources: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str]] = []
        self.status = 0
        self.empty = False
        self.html = False
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length) or b"null")
                fake.requests.append((self.command, self.path))
                authorised = self.headers.get("Authorization") == f"Bearer {TOKEN}"
                status, answer = fake.answer(self.command, unquote(self.path), body) if authorised else (401, {})
                data = b"" if fake.empty else b"<html>" if fake.html else json.dumps(answer).encode()
                self.send_response(204 if fake.empty else status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = _serve  # noqa: N815  the names http.server calls

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/grafana"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Status and JSON of one request."""
        if self.status:
            return self.status, {"message": "made to fail"}
        if method == "GET":
            head, _, name = path.removeprefix("/grafana/api").rpartition("/")
            where = {"/folders": self.folders, "/dashboards/uid": self.boards, "/datasources/name": self.sources}
            found = where.get(head, {}).get(name)
            return (200, found) if found else (404, {"message": "not found"})
        if path.endswith("/folders"):
            self.folders[body["uid"]] = body
            return 200, body
        if path.endswith("/dashboards/db"):
            return self._save(body)
        if path.endswith("/datasources"):
            self.sources[body["name"]] = {**body, "id": 7}
            return 200, {"message": "Datasource added"}
        self.sources[body["name"]].update(body)
        return 200, {"message": "Datasource updated"}

    def _save(self, body: dict[str, Any]) -> tuple[int, Any]:
        board = body["dashboard"]
        known = self.boards.get(board["uid"])
        version = known["dashboard"]["version"] if known else 0
        if known and not body["overwrite"] and board["version"] != version:
            return 412, {"message": "The dashboard has been changed by someone else", "status": "version-mismatch"}
        stored = {**board, "id": 40 + len(self.boards), "version": version + 1}
        self.boards[board["uid"]] = {"dashboard": stored, "meta": {"folderUid": body["folderUid"]}}
        return 200, {"status": "success", "uid": board["uid"], "version": version + 1}
