"""Boards into a Grafana, as often as you like, without treading on what people changed there.

From: `dashboards.grafana.boards`. To: Grafana's HTTP API through grafana-api. Each board carries the hash of its own
content in a tag. A stored board whose content no longer matches its tag was edited by somebody: it stays, unless
forced. One that matches is ours and is replaced when ours changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

import requests
import structlog
from grafana_api.grafana_api import (  # type: ignore[import-untyped]  # it ships none
    GrafanaClientError,
    GrafanaException,
    GrafanaUnauthorizedError,
)
from grafana_api.grafana_face import GrafanaFace  # type: ignore[import-untyped]  # it ships none

from dashboards.errors import BoardError
from dashboards.grafana.boards import SOURCE_TYPE, SOURCE_UID

log = structlog.get_logger(__name__)

FOLDER_UID: Final = "undercity"
FOLDER_TITLE: Final = "Undercity"
SOURCE_NAME: Final = "Undercity"
HASH_TAG: Final = "undercity-content-"
_OWN_TO_GRAFANA: Final = frozenset({"id", "version", "iteration"})  # changes without anybody's edit


class Outcome(StrEnum):
    """What became of one board."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    EDITED = "edited there, kept"
    OVERWRITTEN = "edited there, overwritten"


@dataclass(frozen=True, slots=True)
class Published:
    """One board's outcome."""

    uid: str
    title: str
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class GrafanaSettings:
    """Which Grafana, and how patient to be with it. The token is a service account's, and never shown."""

    url: str
    token: str
    timeout_s: float = 10.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise BoardError(
                f"grafana: expected an address like https://host:3000, got {_shown(self.url)!r}; not published"
            )
        if parts.username or parts.password:
            raise BoardError("grafana: expected no user or password in the address, use a token; not published")
        if not self.token.strip() or not self.token.isascii():
            raise BoardError(
                "grafana: expected a service account's token in GRAFANA_TOKEN or --token-file; not published"
            )
        if self.timeout_s <= 0:
            raise BoardError(f"grafana.timeout_s: expected more than 0, got {self.timeout_s}; not published")

    def __repr__(self) -> str:
        return f"GrafanaSettings(url={self.url!r}, timeout_s={self.timeout_s})"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSettings:
    """The InfluxDB that Grafana reads; the token is its own, read-only, and never shown."""

    url: str
    organisation: str
    token: str
    bucket: str = "raw"

    def __repr__(self) -> str:
        return f"SourceSettings(url={self.url!r}, organisation={self.organisation!r}, bucket={self.bucket!r})"


class Grafana:
    """One Grafana server, through grafana-api, with its failures in one line each."""

    def __init__(self, settings: GrafanaSettings) -> None:
        parts = urlsplit(settings.url)
        assert parts.hostname is not None  # noqa: S101  the settings saw to it
        self._address = settings.url
        self._api = GrafanaFace(
            auth=settings.token.strip(),
            host=f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname,
            port=parts.port,
            protocol=parts.scheme,
            url_path_prefix=parts.path.strip("/") + "/" if parts.path.strip("/") else "",
            timeout=settings.timeout_s,
        )

    def publish(self, boards: Sequence[Mapping[str, Any]], *, force: bool = False) -> list[Published]:
        """Put `boards` into our folder; what became of each. Repeating it changes nothing.

        BoardError when the server refuses or cannot be reached; boards before that one are published.
        """
        self._folder()
        return [self._publish(stamped(board), force=force) for board in boards]

    def provide_source(self, settings: SourceSettings) -> bool:
        """Create or update our data source; whether it was created."""
        body = {
            "name": SOURCE_NAME,
            "uid": SOURCE_UID,
            "type": SOURCE_TYPE,
            "access": "proxy",
            "url": settings.url,
            "jsonData": {
                "version": "Flux",
                "organization": settings.organisation,
                "defaultBucket": settings.bucket,
            },
            "secureJsonData": {"token": settings.token},
        }
        stored = self._ask(lambda: self._api.datasource.get_datasource_by_name(SOURCE_NAME), missing=True)
        if stored is None:
            self._ask(lambda: self._api.datasource.create_datasource(body))
            return True
        self._ask(lambda: self._api.datasource.update_datasource(stored["id"], body))
        return False

    def _folder(self) -> None:
        if self._ask(lambda: self._api.folder.get_folder(FOLDER_UID), missing=True) is None:
            self._ask(lambda: self._api.folder.create_folder(FOLDER_TITLE, FOLDER_UID))

    def _publish(self, board: dict[str, Any], *, force: bool) -> Published:
        answer = self._ask(lambda: self._api.dashboard.get_dashboard(board["uid"]), missing=True)
        stored = answer["dashboard"] if answer else None
        outcome = judge(board, stored)
        if outcome is Outcome.EDITED and force:
            outcome = Outcome.OVERWRITTEN
        if outcome not in {Outcome.UNCHANGED, Outcome.EDITED}:
            body = {
                # With the version we looked at: an edit in between is refused by the server, not lost.
                "dashboard": {**board, "id": None, "version": stored.get("version", 0) if stored else 0},
                "folderUid": FOLDER_UID,
                "overwrite": False,
                "message": "undercity boards publish",
            }
            self._ask(lambda: self._api.dashboard.update_dashboard(body))
        log.info("board_published", uid=board["uid"], outcome=outcome.value)
        return Published(board["uid"], board["title"], outcome)

    def _ask(self, call: Callable[[], Any], *, missing: bool = False) -> Any:
        """The answer of `call`; None for a 404 when that is an answer. BoardError for everything else."""
        try:
            return call()
        except GrafanaUnauthorizedError as error:
            raise self._refusal(
                "the token was refused; check it and its role (Editor, or Admin for sources)"
            ) from error
        except GrafanaClientError as error:
            if missing and error.status_code == 404:
                return None
            if error.status_code == 412:
                raise self._refusal("the board changed while it was being published; publish again") from error
            raise self._refusal(f"HTTP {error.status_code}: {_said(error)}") from error
        except GrafanaException as error:
            raise self._refusal(f"HTTP {error.status_code}: {_said(error)}") from error
        except requests.exceptions.JSONDecodeError as error:
            if not error.doc.strip():
                return {}  # 204 and its like: done, and nothing to say; grafana-api expects JSON even then
            raise self._refusal("the answer is not JSON; is this address a Grafana?") from error
        except requests.exceptions.Timeout as error:
            raise self._refusal("no answer in time") from error
        except requests.exceptions.RequestException as error:
            raise self._refusal(f"cannot be reached ({type(error).__name__})") from error

    def _refusal(self, why: str) -> BoardError:
        return BoardError(f"grafana {self._address}: {why}; what was not published stays as it was")


def judge(board: Mapping[str, Any], stored: Mapping[str, Any] | None) -> Outcome:
    """What publishing `board` (stamped) over `stored` means."""
    if stored is None:
        return Outcome.CREATED
    claimed = [tag for tag in stored.get("tags") or [] if str(tag).startswith(HASH_TAG)]
    if claimed != [HASH_TAG + content_hash(stored)]:
        return Outcome.EDITED
    return Outcome.UNCHANGED if claimed[0] in board["tags"] else Outcome.UPDATED


def stamped(board: Mapping[str, Any]) -> dict[str, Any]:
    """`board` with its content's hash among its tags."""
    tags = [tag for tag in board.get("tags", []) if not str(tag).startswith(HASH_TAG)]
    return {**board, "tags": [*tags, HASH_TAG + content_hash(board)]}


def content_hash(board: Mapping[str, Any]) -> str:
    """Hash of what a person can edit in `board`: not ids, versions, nor the hash itself; 1 and 1.0 are the same."""
    content = {name: value for name, value in board.items() if name not in _OWN_TO_GRAFANA}
    content["tags"] = sorted(str(tag) for tag in board.get("tags") or [] if not str(tag).startswith(HASH_TAG))
    text = json.dumps(_even(content), sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _even(value: Any) -> Any:
    """`value` as every JSON writer would agree on: whole floats as integers, no nulls."""
    if isinstance(value, Mapping):
        return {name: _even(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_even(inner) for inner in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _said(error: GrafanaException) -> str:
    return " ".join(str(error.message).split())[:200]


def _shown(url: str) -> str:
    """`url` without what might be a password."""
    return url.rpartition("@")[2][:100]
