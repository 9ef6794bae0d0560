"""What there is to say of a codec, for `undercity codecs`.

From: `devices.codecs`, and the topic rules of `ingest.rules`. To: a table or JSON lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from devices.codecs import Codec
from devices.errors import UnknownSettingError
from ingest.rules import BUILT_IN
from ingest.topics import ROOT

_MODELS_SHOWN: Final = 3
_OURS: Final = f"{ROOT}/{{district}}/{{kind}}/{{device}}/up"


class Facts(msgspec.Struct, frozen=True):
    """One codec. `topics`: patterns of which it is the default. `settings`: names its dialects are set by."""

    name: str
    reads_zh: str
    reads_en: str
    models: tuple[str, ...]
    topics: tuple[str, ...]
    settings: tuple[str, ...]

    def models_shown(self) -> str:
        """The first models, and how many more."""
        more = len(self.models) - _MODELS_SHOWN
        return ", ".join(self.models[:_MODELS_SHOWN]) + (f" and {more} more" if more > 0 else "")

    def topics_shown(self) -> str:
        """The topic patterns in one cell."""
        return ", ".join(self.topics)

    def lines(self) -> Iterator[tuple[str, str]]:
        """Everything, one line each."""
        yield "codec", self.name
        yield "reads", f"{self.reads_zh} / {self.reads_en}"
        yield "models", ", ".join(self.models)
        yield "topics", self.topics_shown()
        yield "settings", ", ".join(self.settings)


def facts(codec: Codec) -> Facts:
    """What there is to say of `codec`."""
    topics = tuple("/".join(rule.levels) for rule in BUILT_IN if rule.codec == codec.name)
    return Facts(
        codec.name,
        codec.title.zh,
        codec.title.en,
        tuple(codec.models),
        (_OURS, *topics) if codec.name == "json" else topics,
        _settings(codec),
    )


def _settings(codec: Codec) -> tuple[str, ...]:
    """The names that `codec` takes: those it offers in place of one that nobody knows."""
    try:
        codec.check({"": None})
    except UnknownSettingError as error:
        return error.known
    return ()
