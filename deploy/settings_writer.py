"""Writes a settings file: what the demo and the tests hand to the processes they start."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path


def write_settings(path: Path, sections: Mapping[str, Mapping[str, object]]) -> None:
    """Write `sections` as TOML; values are texts, numbers, truth values and lists of these."""
    lines = []
    for name, values in sections.items():
        lines.append(f"[{name}]")
        # A JSON scalar or list of scalars is the same in TOML.
        lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
        lines.append("")
    path.write_text("\n".join(lines), encoding="utf-8")
