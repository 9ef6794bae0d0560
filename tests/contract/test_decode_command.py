"""A captured frame on one's desk: bytes, hex or text in, samples as JSON lines out, or one line that says why not."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from deploy.captured import CAPTURE_MAX
from deploy.docs_tables import DOCS
from devices.codecs import COMMON, Context, Settings, load, refuse_unknown
from devices.errors import PayloadError
from devices.readings import Quality, Sample
from devices.spec import Text
from tests.support.desk import desk

FRAME = b'{"v":1,"id":"WP-0412","t":1767600000000,"seq":123,"m":{"pressure_kpa":412.5}}'
SAMPLE = {
    "device": "WP-0412",
    "time": "2026-01-05T16:00:00+08:00",
    "values": {"pressure_kpa": 412.5},
    "seq": 123,
}
JSON = ("decode", "--codec", "json")


class Echo:
    """A codec that shows what it was given: the sample's states hold the payload's hex and the context."""

    title = Text("回声", "what it was given")
    models = ("EM310-TILT", "DL-PR26", "EM400-TLD", "EM400-TLD NB")

    def __init__(self, name: str) -> None:
        self.name = name

    def decode(self, payload: bytes, context: Context) -> Sequence[Sample]:
        if payload == b"\0":
            return ()
        if payload == b"\1":
            raise PayloadError("echo: expected two\nlines, got a third; nothing was used", offset=0)
        if payload == b"\2":
            raise PayloadError("echo: expected a place, got none; nothing was used")
        before = context.memory.get("before", "")
        context.memory["before"] = payload.hex()
        states = {
            "payload": payload.hex(),
            "topic": context.topic,
            "model": context.model,
            "port": str(context.port),
            "settings": json.dumps(context.settings),
            "before": before,
        }
        flags = {"a": Quality.BAD, "b": Quality.GOOD}
        return (
            Sample("", context.received_us, {"a": 0.1, "b": -2.0}, flags=flags, units={"a": "V"}, states=states),
        )

    def encode(self, samples: Sequence[Sample], context: Context) -> bytes:
        sample = samples[0]
        return f"{sample.device}|{context.device}|{sample.time_us}|{sample.values}|{sample.units}".encode()

    def fields(self, context: Context) -> dict[str, str]:  # noqa: ARG002
        return {"a": "V"}

    def check(self, settings: Settings) -> None:
        refuse_unknown(self.name, settings, ("crc", "map"))


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devices.codecs.load", lambda: {name: Echo(name) for name in ("echo", "hj212")})


def given(content: bytes, *words: str, codec: str = "echo") -> dict[str, str]:
    """What the codec was given of a capture."""
    done = desk("decode", "--codec", codec, *words, "-", stdin=content)
    assert (done.code, done.errors) == (0, [])
    states: dict[str, str] = done.samples[0]["states"]
    return states


def payload(content: bytes, *words: str, codec: str = "echo") -> bytes:
    return bytes.fromhex(given(content, *words, codec=codec)["payload"])


def undercity(cwd: Path, *words: str, stdin: bytes | None = b"") -> subprocess.CompletedProcess[bytes]:
    """The command in a process of its own; `stdin` None closes it."""
    command = [sys.executable, "-m", "deploy", *words]
    if stdin is None:
        command = ["sh", "-c", 'exec "$@" <&-', "sh", *command]
    return subprocess.run(
        command, cwd=cwd, env=os.environ, input=stdin or b"", capture_output=True, timeout=60, check=False
    )


def test_a_frame_in_a_file_is_one_json_line_per_sample(tmp_path: Path) -> None:
    (tmp_path / "frame.json").write_bytes(FRAME + b"\n")
    done = undercity(tmp_path, *JSON, "frame.json")
    assert (done.returncode, done.stderr) == (0, b"")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [SAMPLE]


def test_a_refused_frame_is_one_line_with_place_expected_and_got(tmp_path: Path) -> None:
    done = undercity(tmp_path, *JSON, "-", stdin=FRAME.replace(b"412.5", b"x"))
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode() == (
        "undercity: json v1: expected JSON, got invalid character at b'x}}'; nothing was used "
        "(stopped at byte 70 of 73)\n"
    )


@pytest.mark.parametrize(
    ("file", "stdin", "said"),
    [
        ("missing", b"", "missing: No such file or directory"),
        (".", b"", ".: Is a directory"),
        ("-", b"", "-: expected a frame, got nothing"),
        ("-", None, "-: expected a frame on standard input, which is closed"),
        ("-", bytes(range(256)), "json v1: expected"),
        ("-", b"\xff\xfe\x00", "json v1: expected"),
        ("huge", b"", f"huge: expected at most {CAPTURE_MAX} bytes, got more"),
        ("/dev/zero", b"", f"/dev/zero: expected at most {CAPTURE_MAX} bytes, got more"),
    ],
)
def test_what_cannot_be_read_is_one_line_and_exit_code_1(
    tmp_path: Path, file: str, stdin: bytes | None, said: str
) -> None:
    with (tmp_path / "huge").open("wb") as huge:
        huge.truncate(2**30)  # a gigabyte that takes no room
    done = undercity(tmp_path, *JSON, file, stdin=stdin)
    assert (done.returncode, done.stdout) == (1, b"")
    (line,) = done.stderr.decode().splitlines()
    assert said in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*JSON[:2], "nonsense", "-"), "Invalid value for '--codec': expected one of "),
        ((*JSON, "--set", "crc=1", "-"), "Invalid value for '--set': codec json: expected settings among"),
        ((*JSON, "--set", "crc", "-"), "Invalid value for '--set': expected name=value, got 'crc'"),
        ((*JSON, "--fport", "256", "-"), "Invalid value for '--fport'"),
        ((*JSON, "--hex", "--raw", "-"), "expected at most one of --hex, --text, --raw"),
        ((*JSON, "--received", "noon", "-"), "Invalid value for '--received': expected a time such as"),
        (JSON, "Missing argument 'FILE|-'"),
        (("encode", "--codec", "json", "a=nan"), "expected name=number, got 'a=nan'"),
        (("encode", "--codec", "json", "a"), "expected name=number, got 'a'"),
        (("encode", "--codec", "json", "--time", "x", "a=1"), "Invalid value for '--time'"),
        (("codecs", "nonsense"), "Invalid value for 'NAME': expected one of "),
    ],
)
def test_a_wrong_word_is_one_line_and_exit_code_2(words: tuple[str, ...], said: str) -> None:
    done = desk(*words)
    assert (done.code, done.lines, len(done.errors)) == (2, [], 1)
    assert said in done.errors[0]


def test_the_page_on_captured_frames_shows_what_the_commands_print() -> None:
    page = (DOCS / "protocols" / "README.md").read_text(encoding="utf-8")
    examples = re.findall(r"```console\n\$ (?:echo '(.*)' \| )?undercity (.*)\n(.*)\n```", page)
    assert len(examples) == 4
    for stdin, command, shown in examples:
        done = desk(*shlex.split(command), stdin=stdin.encode())
        assert [*done.lines, *(f"undercity: {error}" for error in done.errors)] == [shown]


@pytest.mark.usefixtures("echo")
class TestForms:
    @pytest.mark.parametrize(
        "content",
        [b"68ae16", b"68 AE 16\n", b"0x68, 0xAE, 0x16", b"68:ae:16\r\n", b"\n68-ae\t\n16", b"0x68AE16"],
    )
    def test_hex_digits_with_whatever_parts_them_are_hex(self, content: bytes) -> None:
        assert payload(content) == b"\x68\xae\x16"
        assert payload(content, "--hex") == b"\x68\xae\x16"

    @pytest.mark.parametrize(
        "content", [b"\x68\xae\x16", b"68 AE 1G", b"##0001", b"\x00\x00", b"xyz\n", b"\n\n\xff"]
    )
    def test_anything_else_is_the_bytes_themselves(self, content: bytes) -> None:
        assert payload(content) == content

    def test_raw_takes_even_hex_digits_as_they_are(self) -> None:
        assert payload(b"68AE\n", "--raw") == b"68AE\n"
        assert payload(b"68AE\n", "--text") == b"68AE\n"

    @pytest.mark.parametrize(
        ("content", "words", "said"),
        [
            (b"68 AE 1", (), "expected hex digits in pairs, got 5 of them"),
            (b" \n ", (), "expected a frame, got nothing but white space"),
            (b"68 AE l6", ("--hex",), "expected hex digits, got b'l' at byte 6"),
            (b"\xef\xbb\xbf68", ("--hex",), "expected hex digits, got b'\\xef' at byte 0"),
        ],
    )
    def test_hex_that_is_none_is_refused(self, content: bytes, words: tuple[str, ...], said: str) -> None:
        done = desk("decode", "--codec", "echo", *words, "-", stdin=content)
        assert (done.code, done.lines, len(done.errors)) == (1, [], 1)
        assert said in done.errors[0]

    @pytest.mark.parametrize(
        "end", [b"", b"\n", b"\r\n", b"\r\n\r\n", rb"\r\n", b"\\r\\n\n", b" \r\n", b"\r\r\n", b"\n\n"]
    )
    def test_a_text_frame_gets_its_line_end_back(self, end: bytes) -> None:
        assert payload(b"##0005hello1C80" + end, codec="hj212") == b"##0005hello1C80\r\n"
        assert payload(b"\xef\xbb\xbf##0005hello1C80" + end, codec="hj212") == b"##0005hello1C80\r\n"
        two = b"##0005hello1C80" + (end or b"\n") + b"##0002ok1111" + end
        assert payload(two, codec="hj212") == b"##0005hello1C80\r\n##0002ok1111\r\n"

    def test_a_text_frame_keeps_white_space_within(self) -> None:
        assert payload(b"##0007a b \n c1C80", codec="hj212") == b"##0007a b \n c1C80\r\n"

    def test_hex_of_a_text_frame_is_read_too(self) -> None:
        assert payload(b"23 23 30 0D 0A", codec="hj212") == b"##0\r\n"

    def test_a_megabyte_of_white_space_takes_no_time(self) -> None:
        assert len(payload(b"##" + b" " * (CAPTURE_MAX - 3) + b"x", codec="hj212")) == CAPTURE_MAX + 2


@pytest.mark.usefixtures("echo")
class TestContext:
    @pytest.mark.parametrize(
        ("said", "meant"),
        [
            ("EM310-TILT", "EM310-TILT"),
            ("milesight em310-tilt", "EM310-TILT"),
            ("Decentlab DL-PR26 battery only", "DL-PR26"),
            ("Milesight EM400-TLD NB-IoT", "EM400-TLD NB"),
        ],
    )
    def test_a_model_is_found_among_other_words(self, said: str, meant: str) -> None:
        assert given(b"00ff", "--device-type", said)["model"] == meant

    def test_an_unknown_model_is_refused_with_those_there_are(self) -> None:
        done = desk("decode", "--codec", "echo", "--device-type", "EM310", "-", stdin=b"00ff")
        assert done.code == 2
        assert "'--device-type': echo: expected one of EM310-TILT, DL-PR26" in done.errors[0]
        assert "got 'EM310'" in done.errors[0]

    def test_settings_are_json_or_else_text(self) -> None:
        found = given(b"00ff", "--set", 'map={"pressure":{"address":4}}', "--set", "crc=modbus", "--fport", "0")
        assert json.loads(found["settings"]) == {"map": {"pressure": {"address": 4}}, "crc": "modbus"}
        assert found["port"] == "0"
        assert json.loads(given(b"00ff", "--set", "crc=12")["settings"]) == {"crc": 12}

    def test_samples_say_what_they_have_in_short_numbers_and_beijing_time(self) -> None:
        words = ("decode", "--codec", "echo", "--received", "2026-01-05T08:00:00.5Z", "-")
        (sample,) = desk(*words, stdin=b"00ff").samples
        del sample["states"]
        assert sample == {
            "time": "2026-01-05T16:00:00.500000+08:00",
            "values": {"a": 0.1, "b": -2},
            "units": {"a": "V"},
            "flags": {"a": "bad"},
        }

    def test_a_time_without_a_zone_is_beijings(self) -> None:
        words = ("decode", "--codec", "echo", "--received", "2026-01-05 08:00", "-")
        assert desk(*words, stdin=b"00ff").samples[0]["time"] == "2026-01-05T08:00:00+08:00"

    def test_a_frame_without_readings_says_so_and_is_no_refusal(self) -> None:
        done = desk("decode", "--codec", "echo", "-", stdin=b"00")
        assert (done.code, done.lines) == (0, [])
        assert done.errors == ["undercity: echo: the frame is well-formed and carries no readings"]

    def test_a_refusal_stays_one_line(self) -> None:
        done = desk("decode", "--codec", "echo", "-", stdin=b"01")
        said = "echo: expected two lines, got a third; nothing was used (stopped at byte 0 of 1)"
        assert (done.code, done.errors) == (1, [said])
        done = desk("decode", "--codec", "echo", "-", stdin=b"02")
        assert done.errors == ["echo: expected a place, got none; nothing was used (1 bytes)"]


@pytest.mark.usefixtures("echo")
class TestLines:
    def test_each_line_is_a_frame_and_knows_what_came_before(self) -> None:
        stdin = b"aa\n\nspBv1.0/g/NBIRTH/n BB CC\nbb\nspBv1.0/g/DDATA/n/d 00ff\nspBv1.0/g/DDATA/m/d 00ff\n"
        done = desk("decode", "--codec", "echo", "--lines", "--topic", "t", "-", stdin=stdin)
        states = [sample["states"] for sample in done.samples]
        assert [(one["payload"], one["topic"], one["before"]) for one in states] == [
            ("aa", "t", ""),
            ("bbcc", "spBv1.0/g/NBIRTH/n", ""),
            ("bb", "t", "aa"),
            ("00ff", "spBv1.0/g/DDATA/n/d", "bbcc"),
            ("00ff", "spBv1.0/g/DDATA/m/d", ""),
        ]
        assert (done.code, done.errors) == (0, [])

    def test_json_with_a_slash_is_no_topic(self) -> None:
        assert payload(b'{"u":"m3/h" }', "--lines") == b'{"u":"m3/h" }'

    def test_a_line_without_readings_says_which(self) -> None:
        done = desk("decode", "--codec", "echo", "--lines", "-", stdin=b"aa\n00\n")
        assert done.errors == ["undercity: line 2: echo: the frame is well-formed and carries no readings"]
        assert done.code == 0

    def test_a_refused_line_is_named_and_the_others_are_decoded(self) -> None:
        done = desk("decode", "--codec", "echo", "--lines", "-", stdin=b"aa\n01\nabc\nbb")
        assert [sample["states"]["payload"] for sample in done.samples] == ["aa", "bb"]
        assert done.code == 1
        assert [error[:25] for error in done.errors] == ["undercity: line 2: echo: ", "undercity: line 3: expect"]


class TestEncode:
    def test_a_text_codec_gives_text_that_decodes_again(self) -> None:
        words = ("--codec", "json", "--device", "M-1", "--time", "2026-01-05T16:00:00+08:00", "--seq", "7")
        done = desk("encode", *words, "power=1.5")
        assert (done.code, done.errors) == (0, [])
        (sample,) = desk(*JSON, "-", stdin=done.lines[0].encode()).samples
        assert sample == {
            "device": "M-1",
            "time": "2026-01-05T16:00:00+08:00",
            "values": {"power": 1.5},
            "seq": 7,
        }

    @pytest.mark.usefixtures("echo")
    def test_a_binary_codec_gives_hex_or_with_raw_its_bytes(self) -> None:
        words = ("encode", "--codec", "echo", "--device", "M-1", "--time", "1970-01-01T00:00:01Z", "a=1", "x=y=2")
        made = "M-1|M-1|1000000|{'a': 1.0, 'x=y': 2.0}|{'a': 'V'}"
        assert desk(*words).lines == [made.encode().hex()]
        assert desk(*words, "--raw").lines == [made]

    def test_what_a_codec_cannot_carry_is_one_line(self) -> None:
        done = desk("encode", "--codec", "json", "--device", "not a name", "a=1")
        assert (done.code, done.lines, len(done.errors)) == (1, [], 1)


class TestList:
    def test_every_codec_is_listed_with_what_it_reads_in_both_languages(self) -> None:
        rows = [line.split("\t") for line in desk("codecs").lines]
        assert [row[0] for row in rows] == ["codec", *load()]
        assert all(row[1] and row[2] for row in rows)

    def test_one_codec_is_shown_with_its_settings(self) -> None:
        (found,) = desk("codecs", "json", "--json").samples
        assert found["name"] == "json"
        assert found["settings"] == [*COMMON]
        assert found["topics"] == ["city/{district}/{kind}/{device}/up"]
        assert "settings  clock, fields" in desk("codecs", "json").lines

    @pytest.mark.usefixtures("echo")
    def test_long_lists_of_models_are_cut_in_the_table_only(self) -> None:
        assert "EM310-TILT, DL-PR26, EM400-TLD and 1 more" in desk("codecs").lines[1]
        assert "models    EM310-TILT, DL-PR26, EM400-TLD, EM400-TLD NB" in desk("codecs", "echo").lines
