"""The doctor's look at what the settings name: broker, time series, operations database, registry.

From: those services. To: `deploy.doctor`. What is not there yet (a new system has no database) is said, not
blamed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from deploy.doctor.lines import Line, fail, ok, warn
from deploy.errors import SchemaError
from deploy.settings import Settings
from deploy.storelink import StoreClient
from devices.kinds import load as load_kinds
from ingest.errors import StoreError, StoreUnavailable

_NAMED = 5  # more names would not fit into a line


def check_store(settings: Settings) -> Iterator[Line]:
    """Whether readings can be read back."""
    if settings.store.kind == "embedded":
        yield _embedded(settings)
    else:
        yield _influx(settings)


def _embedded(settings: Settings) -> Line:
    from deploy.storelink import store_socket  # noqa: PLC0415  it pulls in every layer

    path = settings.embedded.path
    if not path.exists():
        return ok("store", f"embedded, {path}: new, nothing stored yet")
    client = StoreClient(store_socket(settings.socket_path), timeout_s=5.0)
    kind = next(iter(load_kinds().values()))
    try:
        client.latest(kind, 0)
    except StoreUnavailable as error:
        return warn("store", str(error), "start the processor: undercity run")
    finally:
        client.close()
    return ok("store", f"embedded, {path}: {path.stat().st_size / 1e6:.1f} MB, the processor answers")


def _influx(settings: Settings) -> Line:
    from ingest.timeseries.influx import InfluxStore  # noqa: PLC0415  slow, and not every city has it

    name = f"influx, {settings.influx.url}, bucket {settings.influx.bucket}"
    try:
        store = InfluxStore(settings.influx)
        try:
            store.cursor()
        finally:
            store.close()
    except StoreError as error:
        return fail("store", f"{name}: {error}", "start it, mend its token, or run 'undercity influx setup'")
    return ok("store", f"{name}: answers")


def check_database(settings: Settings) -> Iterator[Line]:
    """Whether the operations database can be used, and has the schema that this version expects."""
    from deploy.schema import open_existing  # noqa: PLC0415  alembic is slow

    url = settings.database_url
    if url.startswith("sqlite") and not (settings.data.dir / "operations.db").exists():
        yield ok("database", "embedded: new, made by 'undercity run'")
        return
    try:
        engine = open_existing(url)
    except SchemaError as error:
        yield fail("database", str(error), "start it, or mend database.url and its password")
        return
    yield ok("database", f"{engine.dialect.name}, schema up to date")
    engine.dispose()


def check_registry(settings: Settings) -> Iterator[Line]:
    """How many devices of each kind are known, and what is missing about them."""
    from deploy.schema import open_existing  # noqa: PLC0415
    from devices.catalog import SqlRegistry  # noqa: PLC0415

    try:
        engine = open_existing(settings.database_url)
    except SchemaError:
        yield warn("registry", "no device is known yet", "undercity devices import census.csv")
        return
    try:
        registry = SqlRegistry(engine)
        entries, gateways = registry.entries(), {one.id for one in registry.gateways()}
    finally:
        engine.dispose()
    if not entries:
        yield warn("registry", "no device is known", "undercity devices import census.csv")
        return
    kinds = Counter(entry.kind for entry in entries)
    yield ok("registry", ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())))
    strange = sum(count for kind, count in kinds.items() if kind not in load_kinds())
    if strange:
        say = f"{strange} devices are of a kind that this version has no file for; they go to quarantine"
        yield warn("registry", say, "add the kind to devices/kinds, or mend the census")
    homeless = sum(not entry.site for entry in entries)
    if homeless:
        yield warn("registry", f"{homeless} devices have no site", "import a census that names their sites")
    yield from _gateways(Counter(entry.gateway for entry in entries if entry.gateway), gateways)


def _gateways(children: Counter[str], described: set[str]) -> Iterator[Line]:
    """Gateways that devices name and no row of the registry describes, by name; most children first."""
    unknown = [name for name, _ in children.most_common() if name not in described]
    if not unknown:
        return
    named = ", ".join(f"{name} ({children[name]})" for name in unknown[:_NAMED])
    more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
    say = f"{len(unknown)} gateways (devices behind each) that no row describes: {named}{more}"
    yield warn(
        "registry",
        f"{say}; their silence is told without a place",
        "import the census again, or mend the gateway of these devices in it",
    )


def check_notify(settings: Settings) -> Iterator[Line]:
    """Whether anybody would hear of an alert."""
    addresses = settings.notify.addresses
    for one in addresses:
        if one.url_file is not None and not one.url_file.is_file():
            yield fail("notify", f"{one.name}: {one.url_file} is not there", "write the address's URL into it")
    if addresses:
        yield ok("notify", f"alerts go to {', '.join(one.name for one in addresses)}")
    else:
        yield warn("notify", "alerts go to nobody, they are on the console only", "add [[notify.addresses]]")
