"""The doctor's look at what the settings name: broker, time series, operations database, registry.

From: those services. To: `deploy.doctor`. What is not there yet (a new system has no database) is said, not blamed.
"""

from __future__ import annotations

from collections.abc import Iterator

from deploy.doctor import Check, Line, fail, ok, warn
from deploy.doctor_broker import check_broker
from deploy.settings import Settings
from deploy.storelink import StoreClient
from devices.kinds import load as load_kinds
from ingest.errors import StoreUnavailable


def check_store(settings: Settings) -> Iterator[Line]:
    """Whether readings can be read back."""
    if settings.store.kind == "embedded":
        yield _embedded(settings)


def _embedded(settings: Settings) -> Line:
    from deploy.wiring import store_socket  # noqa: PLC0415  it pulls in every layer

    path = settings.embedded.path
    if not path.exists():
        return ok("store", f"embedded, {path}: new, nothing stored yet")
    client = StoreClient(store_socket(settings), timeout_s=5.0)
    kind = next(iter(load_kinds().values()))
    try:
        client.latest(kind, 0)
    except StoreUnavailable as error:
        return warn("store", str(error), "start the processor: undercity run")
    finally:
        client.close()
    return ok("store", f"embedded, {path}: {path.stat().st_size / 1e6:.1f} MB, the processor answers")


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


CHECKS: list[tuple[str, Check]] = [
    ("broker", check_broker),
    ("store", check_store),
    ("notify", check_notify),
]
