"""`undercity quarantine list|show|drop|redecode`: what could not be used, and trying it again after the fix."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.alerts import print_table
from deploy.cli.options import ConfigOption, settings_from

if TYPE_CHECKING:
    from deploy.settings import Settings
    from ingest.quarantine import Quarantine

_Id = Annotated[int, typer.Argument(min=1, max=2**63 - 1, help="Its number in the list.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Look at what could not be used, and try it again.", no_args_is_help=True)
    group.command("list")(list_entries)
    group.command("show")(show)
    group.command("drop")(drop)
    group.command("redecode")(redecode)
    app.add_typer(group, name="quarantine")


def _open(settings: Settings) -> Quarantine:
    from deploy.schema import open_existing  # noqa: PLC0415  quick help needs no layers
    from ingest.quarantine import Quarantine  # noqa: PLC0415

    return Quarantine(open_existing(settings.database_url))


def _local(settings: Settings, time_us: int) -> str:
    from zoneinfo import ZoneInfo  # noqa: PLC0415

    return f"{datetime.fromtimestamp(time_us / 1e6, UTC).astimezone(ZoneInfo(settings.notify.zone)):%Y-%m-%d %H:%M:%S}"


def list_entries(
    config: ConfigOption = None,
    *,
    device: Annotated[str | None, typer.Option(help="Only what this device sent.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only where the reason holds this text.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also what was redecoded or dropped.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="At most so many.")] = 50,
) -> None:
    """List what is held, newest first."""
    from ingest.quarantine import QuarantineState  # noqa: PLC0415

    settings = settings_from(config)
    quarantine = _open(settings)
    state = None if everything else QuarantineState.HELD
    entries = quarantine.find(device=device, state=state, reason=reason, limit=limit)
    if entries:
        rows = [
            (
                str(e.id),
                str(e.count),
                _local(settings, e.last_received_us),
                e.device or e.topic,
                e.state.value,
                e.reason,
            )
            for e in entries
        ]
        print_table(("id", "times", "last", "device", "state", "reason"), rows)
    counts = quarantine.counts()
    parts = [f"{counts.get(one, 0)} {one}" for one in QuarantineState]
    print(f"{', '.join(parts)}; {quarantine.dropped()} gone for want of room")


def show(entry: _Id, config: ConfigOption = None) -> None:
    """Show one entry's bytes, with the one marked where decoding stopped, and the reason."""
    from ingest.quarantine import hex_dump  # noqa: PLC0415
    from ingest.tcp_session import without_password  # noqa: PLC0415
    from ingest.topics import LOGGERS  # noqa: PLC0415

    settings = settings_from(config)
    found = _open(settings).get(entry)
    print(f"reason   {found.reason}")
    print(f"topic    {found.topic}")
    print(
        f"device   {found.device or 'unknown'}  kind {found.kind or 'unknown'}  codec {found.codec or 'unknown'}"
    )
    print(f"state    {found.state}")
    print(
        f"came     {found.count} times, from {_local(settings, found.received_us)} "
        f"to {_local(settings, found.last_received_us)}"
    )
    print(f"journal  offset {found.first_offset} to {found.last_offset}, part {found.part}")
    stopped = f", stopped at byte {found.byte_offset}" if found.byte_offset >= 0 else ""
    kept = f", the first {len(found.payload)} kept" if found.truncated else ""
    print(f"bytes    {found.size}{kept}{stopped}\n")
    # As many stars as there were characters: every byte stays where it was.
    covered = (
        without_password(found.payload)
        if LOGGERS in (found.codec, found.topic.partition("/")[0])
        else found.payload
    )
    print(hex_dump(covered, found.byte_offset))


def drop(entry: _Id, config: ConfigOption = None) -> None:
    """Put one entry aside: it is not tried again."""
    _open(settings_from(config)).drop(entry)
    print(f"quarantine {entry}: dropped; its bytes stay until the room is needed")


def redecode(config: ConfigOption = None) -> None:
    """Try everything held again; what decodes now goes into the journal as it came."""
    from deploy.schema import open_existing  # noqa: PLC0415
    from devices.catalog import SqlRegistry  # noqa: PLC0415
    from devices.codecs import load as load_codecs  # noqa: PLC0415
    from devices.fleet import build  # noqa: PLC0415
    from devices.kinds import load as load_kinds  # noqa: PLC0415
    from ingest.decode import Decoder  # noqa: PLC0415
    from ingest.journal import Journal  # noqa: PLC0415
    from ingest.quarantine import Quarantine  # noqa: PLC0415
    from processors.engines.snapshots import SnapshotFolder  # noqa: PLC0415

    settings = settings_from(config)
    engine = open_existing(settings.database_url)
    fleet = build(load_kinds(), SqlRegistry(engine).entries())
    # What senders said before, births and aliases among it: as of the newest snapshot.
    state, _ = SnapshotFolder(settings.snapshot_dir).newest(fleet)
    decoder = Decoder(fleet, load_codecs(), settings.topics.all(), state.memory if state else None)
    journal = Journal(settings.journal_path, settings.journal)
    try:
        done = Quarantine(engine).redecode(decoder.try_decode, journal.append)
    finally:
        journal.close()
    print(
        f"quarantine: {done.tried} tried, {done.accepted} put into the journal again, {done.refused} still refused"
    )
    if done.cut:
        print(f"quarantine: {done.cut} were too long to be kept whole; replay them from the journal")
