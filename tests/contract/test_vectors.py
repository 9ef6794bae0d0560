"""Published packets, as a person would try them on the desk: the right ones are read, the wrong ones refused."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path

import pytest

from devices.codecs import load
from tests.support.desk import desk
from tests.support.vectors import FOLDER, Vector, vectors

STATELESS = [one for one in vectors() if not one.context.topic]
SERIES = {
    name: list(some)
    for name, some in groupby(vectors(), lambda one: one.codec)
    if name not in {v.codec for v in STATELESS}
}


def words(vector: Vector) -> list[str]:
    """The command line that says of the sender what the vector says."""
    context = vector.context
    said = ["decode", "--codec", vector.codec, "--received", "2026-01-05T08:00:00Z"]
    said += ["--device-type", context.model] if context.model else []
    said += ["--fport", str(context.port)] if context.port >= 0 else []
    for name, value in context.settings.items():
        said += ["--set", f"{name}={json.dumps(value)}"]
    return said


@pytest.mark.parametrize("vector", STATELESS, ids=lambda one: one.name)
def test_the_packet_is_read_or_refused_as_its_source_says(vector: Vector, tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(vector.payload)
    (tmp_path / "hex").write_text(vector.payload.hex(" "), encoding="ascii")
    done = desk(*words(vector), str(tmp_path / "bytes"))
    assert desk(*words(vector), "--hex", str(tmp_path / "hex")) == done
    assert done.code == (1 if vector.wrong else 0), done
    if vector.wrong:
        assert done.lines == []
        assert len(done.errors) == 1
        assert "expected" in done.errors[0]
        assert "at byte" in done.errors[0]
    else:
        assert done.lines or done.errors == [
            f"undercity: {vector.codec}: the frame is well-formed and carries no readings"
        ]


@pytest.mark.parametrize("codec", SERIES)
def test_a_series_under_its_topics_is_read_line_by_line(codec: str) -> None:
    lines = [f"{one.context.topic} {one.payload.hex()}" for one in SERIES[codec]]
    done = desk("decode", "--codec", codec, "--lines", "-", stdin="\n".join(lines).encode())
    assert done.code == 0, done
    assert all(error.endswith("carries no readings") for error in done.errors)
    assert len(done.lines) + len(done.errors) >= len(lines)


def test_every_file_of_packets_belongs_to_a_codec_and_names_its_sources() -> None:
    for file in FOLDER.glob("*.json"):
        content = json.loads(file.read_text(encoding="utf-8"))
        assert all(one["source"] for one in (content["vectors"] if isinstance(content, dict) else content)), (
            file.name
        )
    assert {one.codec for one in vectors()} <= set(load())
