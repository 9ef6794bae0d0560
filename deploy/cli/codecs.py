"""`undercity codecs`, `undercity decode`, `undercity encode`: what devices speak, on one's desk, without a city."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, TextIO

import typer

from deploy.cli.options import JsonOption

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deploy.captured import Form
    from devices.codecs import Codec, Context

_CodecOption = Annotated[str, typer.Option("--codec", help="The protocol; 'undercity codecs' lists them.")]
_TypeOption = Annotated[
    str,
    typer.Option(
        "--device-type", help="The maker's model, where the codec tells models apart, or a register map's."
    ),
]
_PortOption = Annotated[
    int | None, typer.Option("--fport", min=0, max=255, help="LoRaWAN fPort of a bare payload.")
]
_SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting of the dialect, as name=JSON or name=text; repeatable."),
]
_TopicOption = Annotated[str, typer.Option("--topic", help="The topic it belongs under.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("codecs")(codecs)
    app.command("decode")(decode)
    app.command("encode")(encode)


def codecs(
    name: Annotated[str, typer.Argument(help="Only this one, with its models and settings in full.")] = "",
    as_json: JsonOption = False,
) -> None:
    """List what devices may speak: each codec, what it reads, the topics it is the default of, its settings."""
    from deploy.codec_list import facts  # noqa: PLC0415  quick help needs no layers

    found = [facts(_codec(name, "NAME"))] if name else [facts(one) for one in _load().values()]
    if as_json:
        import msgspec  # noqa: PLC0415

        print("\n".join(msgspec.json.encode(one).decode() for one in found))
    elif name:
        print("\n".join(f"{key:<9} {value}" for key, value in found[0].lines() if value))
    else:
        from deploy.cli.alerts import print_table  # noqa: PLC0415

        rows = [(one.name, one.reads_zh, one.reads_en, one.models_shown(), one.topics_shown()) for one in found]
        print_table(("codec", "reads", "in English", "models", "default of"), rows)


def decode(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="The captured frame; - is standard input.")],
    *,
    codec: _CodecOption,
    device_type: _TypeOption = "",
    fport: _PortOption = None,
    settings: _SetOption = None,
    topic: _TopicOption = "",
    hexed: Annotated[bool, typer.Option("--hex", help="The file is hex, and nothing else will do.")] = False,
    text: Annotated[bool, typer.Option("--text", help="The file is text, even one of hex digits.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="The file is the frame, byte for byte.")] = False,
    by_line: Annotated[
        bool, typer.Option("--lines", help="Each line is a frame, a topic may precede it.")
    ] = False,
    received: Annotated[str, typer.Option(help="When it came (ISO 8601); without it now.")] = "",
) -> None:
    """Decode a captured frame and print its samples as JSON lines. Exit code 1 when it is refused.

    A file of nothing but hex digits and white space is read as hex, any other byte for byte; text protocols may have
    lost or doubled their line end. With --lines what a sender's frame says may explain its next.
    """
    from deploy.captured import CaptureError, lines, read, sender  # noqa: PLC0415

    speaks = _codec(codec, "--codec")
    form = _form(hexed=hexed, text=text, raw=raw)
    context = _context(speaks, device_type, settings, topic, received, "--received")
    context.port = -1 if fport is None else fport
    with _opened(file) as stream:
        if not by_line:
            _decode_one(speaks, read(stream, file), form, context)
            return
        refused = False
        memories: dict[str, dict[str, Any]] = {}
        for line in lines(stream, file):
            context.topic = line.topic or topic
            context.memory = memories.setdefault(sender(context.topic), {})
            try:
                _decode_one(speaks, line.frame, form, context, place=f"line {line.number}: ")
            except (CaptureError, _payload_error()) as error:
                refused = True
                sys.stdout.flush()
                print(f"undercity: line {line.number}: {error}", file=sys.stderr)
    if refused:
        raise typer.Exit(1)


def _decode_one(codec: Codec, content: bytes, form: Form, context: Context, *, place: str = "") -> None:
    """Print the samples of one frame; PayloadError that says where, CaptureError."""
    from deploy.captured import Form, almost_hex, frame, shown  # noqa: PLC0415
    from devices.errors import PayloadError  # noqa: PLC0415

    payload = frame(content, codec.name, form)
    try:
        samples = codec.decode(payload, context)
    except PayloadError as error:
        where = (
            f"stopped at byte {error.offset} of {len(payload)}" if error.offset >= 0 else f"{len(payload)} bytes"
        )
        hint = almost_hex(content) if form is Form.AUTO else ""
        where = "; ".join(filter(None, (where, hint)))
        raise PayloadError(f"{' '.join(str(error).split())} ({where})", offset=error.offset) from None
    for sample in samples:
        print(shown(sample), flush=True)
    if not samples:
        print(f"undercity: {place}{codec.name}: the frame is well-formed and carries no readings", file=sys.stderr)


def encode(
    values: Annotated[
        list[str], typer.Argument(metavar="NAME=VALUE...", help="The readings, in the codec's units.")
    ],
    codec: _CodecOption,
    device: Annotated[str, typer.Option(help="What the frame states as the sender's identity.")] = "",
    device_type: _TypeOption = "",
    fport: _PortOption = None,
    time: Annotated[str, typer.Option(help="When it was measured (ISO 8601); without it now.")] = "",
    seq: Annotated[int, typer.Option(min=-1, help="The sender's counter, where the protocol has one.")] = -1,
    settings: _SetOption = None,
    topic: _TopicOption = "",
    raw: Annotated[bool, typer.Option("--raw", help="The bytes themselves instead of hex or text.")] = False,
) -> None:
    """Build a frame of readings, for tests on one's desk: hex, or text for a text protocol. Never one that controls."""
    from deploy.captured import written  # noqa: PLC0415
    from devices.readings import Sample  # noqa: PLC0415

    speaks = _codec(codec, "--codec")
    context = _context(speaks, device_type, settings, topic, time, "--time")
    context.device, context.port = device, -1 if fport is None else fport
    numbers = dict(_value(one) for one in values)
    units = {name: unit for name, unit in speaks.fields(context).items() if name in numbers}
    sample = Sample(device, context.received_us, numbers, seq, units=units or None)
    payload = speaks.encode((sample,), context)
    if raw:
        sys.stdout.buffer.write(payload)
    else:
        print(written(payload, speaks.name))


def _load() -> Mapping[str, Codec]:
    from devices.codecs import load  # noqa: PLC0415

    return load()


def _payload_error() -> type[Exception]:
    from devices.errors import PayloadError  # noqa: PLC0415

    return PayloadError


def _codec(name: str, option: str) -> Codec:
    known = _load()
    if name not in known:
        raise typer.BadParameter(f"expected one of {', '.join(known)}, got {name!a:.80}", param_hint=f"'{option}'")
    return known[name]


def _form(*, hexed: bool, text: bool, raw: bool) -> Form:
    from deploy.captured import Form  # noqa: PLC0415

    chosen = [form for form, wanted in ((Form.HEX, hexed), (Form.TEXT, text), (Form.RAW, raw)) if wanted]
    if len(chosen) > 1:
        raise typer.BadParameter("expected at most one of --hex, --text, --raw")
    return chosen[0] if chosen else Form.AUTO


def _context(
    codec: Codec, device_type: str, settings: list[str] | None, topic: str, moment: str, option: str
) -> Context:
    """What the options say of the sender; a usage error when the codec has no use for it."""
    from devices.codecs import Context  # noqa: PLC0415
    from devices.errors import RegistryError  # noqa: PLC0415

    dialect = dict(_setting(one) for one in settings or ())
    try:
        codec.check(dialect)
    except RegistryError as error:
        raise typer.BadParameter(str(error), param_hint="'--set'") from None
    return Context(
        topic=topic,
        model=_model(codec, device_type),
        received_us=_moment(moment, option),
        settings=dialect,
    )


def _model(codec: Codec, text: str) -> str:
    """The model that `text` names, alone or among other words: "Decentlab DL-PR26 battery only"."""
    if not text or not codec.models:
        return text
    named = [one for one in codec.models if re.search(rf"(?<!\w){re.escape(one)}(?!\w)", text, re.IGNORECASE)]
    if not named:
        raise typer.BadParameter(
            f"{codec.name}: expected one of {', '.join(codec.models)}, got {text!a:.80}",
            param_hint="'--device-type'",
        )
    return max(named, key=len)


def _setting(text: str) -> tuple[str, Any]:
    import msgspec  # noqa: PLC0415

    name, is_given, value = text.partition("=")
    if not name or not is_given:
        raise typer.BadParameter(f"expected name=value, got {text!a:.80}", param_hint="'--set'")
    try:
        return name, msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return name, value


def _value(text: str) -> tuple[str, float]:
    name, _, number = text.rpartition("=")
    try:
        value = float(number)
    except ValueError:
        value = float("nan")
    if not name or not abs(value) < float("inf"):
        raise typer.BadParameter(f"expected name=number, got {text!a:.80}", param_hint="'NAME=VALUE...'")
    return name, value


def _moment(text: str, option: str) -> int:
    import time  # noqa: PLC0415
    from datetime import datetime  # noqa: PLC0415

    from devices.beijing import BEIJING  # noqa: PLC0415

    if not text:
        return time.time_ns() // 1000
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"expected a time such as 2026-01-05T08:00:00+08:00, got {text!a:.80}", param_hint=f"'{option}'"
        ) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=BEIJING)
    return round(moment.timestamp() * 1e6)


def _opened(file: str) -> BinaryIO:
    from deploy.captured import CaptureError  # noqa: PLC0415

    if file != "-":
        return Path(file).open("rb")
    stdin: TextIO | None = sys.stdin  # None when the shell closed it
    if stdin is None:
        raise CaptureError("-: expected a frame on standard input, which is closed; nothing was decoded")
    return stdin.buffer
