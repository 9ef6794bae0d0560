"""Where in a JSON text something stands: byte offsets for errors that name only a path.

From: codecs whose parser said no, or said yes to a text that names a key twice. To: `PayloadError.offset`. Runs on
the slow path only, never recurses, and stops quietly where the text stops being JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

_TOKEN = re.compile(rb'[ \t\r\n]*(?:([{}\[\],:])|("(?:[^"\\]|\\.)*"?)|([^ \t\r\n{}\[\],:"]+))', re.DOTALL)

Path = Sequence[str | int]


class Spot(NamedTuple):
    """One value or key: `path` is alive and changes as the walk goes on; compare it, do not keep it."""

    path: list[str | int]
    offset: int
    token: bytes
    is_key: bool


def walk(text: bytes) -> Iterator[Spot]:
    """Every key and value of `text` in order, containers by their opening bracket."""
    path: list[str | int] = []
    kinds: list[bytes] = []  # b"{" or b"[" per open container
    wants_key = False
    for match in _TOKEN.finditer(text):
        mark, string = match.group(1), match.group(2)
        if mark in (b"}", b"]"):
            if not kinds:
                return
            kinds.pop()
            path.pop()
        elif mark == b",":
            if not kinds:
                return
            wants_key = kinds[-1] == b"{"
            if not wants_key:
                path[-1] = int(path[-1]) + 1
        elif mark == b":":
            wants_key = False
        elif wants_key and string is not None:
            path[-1] = _plain(string)
            yield Spot(path, match.start(2), string, is_key=True)
        else:
            token = mark or string or match.group(3)
            yield Spot(path, match.end() - len(token), token, is_key=False)
        if mark in (b"{", b"["):
            kinds.append(mark)
            path.append("" if mark == b"{" else 0)
            wants_key = mark == b"{"


def _plain(string: bytes) -> str:
    if b"\\" in string:
        try:
            return str(json.loads(string))
        except ValueError:
            pass  # The parser has the last word on what is a string; here it is only a name.
    return string[1:-1].decode("utf-8", "replace")


def locate(
    text: bytes, path: Path, wrong: Callable[[bytes], bool] = lambda _: True
) -> tuple[list[str | int], int, bytes] | None:
    """The path, offset and token of the value at `path`; `"*"` in it stands for the first child that is `wrong`."""
    for spot in walk(text):
        if (
            not spot.is_key
            and len(spot.path) == len(path)
            and all(want in ("*", have) for want, have in zip(path, spot.path, strict=True))
            and ("*" not in path or wrong(spot.token))
        ):
            return list(spot.path), spot.offset, spot.token
    return None


def first_duplicate(text: bytes) -> tuple[str, int] | None:
    """The first key that its object already has, and where it stands; None when every key is unique."""
    seen: list[set[object]] = []
    for spot in walk(text):
        if spot.is_key:
            depth = len(spot.path)
            del seen[depth:]
            seen.extend(set() for _ in range(depth - len(seen)))
            if spot.path[-1] in seen[-1]:
                return str(spot.path[-1]), spot.offset
            seen[-1].add(spot.path[-1])
        elif spot.token == b"{":
            del seen[len(spot.path) :]
    return None
