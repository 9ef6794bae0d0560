"""`undercity gateway provision|config`: a gateway gets its place in the city, and says what it holds of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.gateway_ports import PortArgument
from deploy.cli.options import ConfigOption, JsonOption

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from devices.firmware.application.client import Client
    from devices.firmware.application.configuration import Child, Configuration
    from devices.firmware.application.messages import Hello
    from devices.firmware.authority import Signer
    from devices.firmware.link import Link
    from devices.firmware.provision import Stage

BaudOption = Annotated[int, typer.Option("--baud", help="Speed of the gateway's console.")]
AuthorityOption = Annotated[
    Path,
    typer.Option("--authority", envvar="UNDERCITY_AUTHORITY", help="Folder of our own certificate authority."),
]
AUTHORITY = Path("undercity-authority")
PassphraseOption = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file", help="File with the authority's passphrase, - for standard input; else asked for."
    ),
]
DaysOption = Annotated[int, typer.Option("--days", help="How long a certificate is good for.")]


def add(group: typer.Typer) -> None:
    """Add the commands."""
    group.command()(provision)
    group.command("config")(read_config)


def provision(  # noqa: PLR0917  options of a command
    port: PortArgument,
    gateway: Annotated[str, typer.Option("--gateway", help="Its id in the city.")],
    district: Annotated[str, typer.Option("--district", help="District code, second level of its topic.")],
    broker: Annotated[str, typer.Option("--broker", help="HOST:PORT as the gateway reaches it.")],
    site: Annotated[str, typer.Option("--site", help="Site where it stands.")] = "",
    child: Annotated[
        list[str] | None,
        typer.Option(
            "--child", help="ID=KIND of a device behind it; those registered already come by themselves."
        ),
    ] = None,
    period: Annotated[str, typer.Option("--period", help="Between its reports, such as 60s or 5m.")] = "60s",
    tls: Annotated[bool, typer.Option("--tls/--no-tls", help="Whether it talks to the broker by TLS.")] = True,
    broker_ca: Annotated[
        Path | None,
        typer.Option("--broker-ca", help="CA certificate of the broker; without it the gateway's own."),
    ] = None,
    user: Annotated[str, typer.Option("--user", help="MQTT user; without it the gateway's id.")] = "",
    password_file: Annotated[
        Path | None, typer.Option("--password-file", help="File with the MQTT password, - for standard input.")
    ] = None,
    generate: Annotated[
        Path | None,
        typer.Option("--generate", help="Make a random password, and put it into this Mosquitto password file."),
    ] = None,
    anonymous: Annotated[
        bool, typer.Option("--anonymous", help="Neither user nor password: a broker on a bench that asks nobody.")
    ] = False,
    issue: Annotated[
        bool, typer.Option("--issue", help="Certificate instead of a password; its key is made here.")
    ] = False,
    csr: Annotated[
        bool, typer.Option("--csr", help="Certificate instead of a password; the gateway makes its key itself.")
    ] = False,
    certificate: Annotated[
        Path | None, typer.Option("--certificate", help="Certificate (PEM) that another authority issued.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", help="Key of --certificate; without it the gateway has its own.")
    ] = None,
    authority: AuthorityOption = AUTHORITY,
    passphrase_file: PassphraseOption = None,
    days: DaysOption = 730,
    board: Annotated[str, typer.Option("--board", help="Refuse any other board.")] = "",
    revision: Annotated[str, typer.Option("--revision", help="Refuse any other hardware revision.")] = "",
    serial: Annotated[str, typer.Option("--serial", help="Refuse any other serial number.")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="It may be another gateway so far.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Restart it once it has its configuration.")] = False,
    connect: Annotated[str, typer.Option("--connect", help="Patience until it is connected.")] = "120s",
    wait: Annotated[
        str,
        typer.Option("--wait", help="Patience until its first valid reading; else two periods and two minutes."),
    ] = "",
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Do not wait for a reading; the record says so.")
    ] = False,
    who: Annotated[str, typer.Option("--who", help="Who provisions; without it the login's name.")] = "",
    baud: BaudOption = 115200,
    config: ConfigOption = None,
) -> None:
    """Give a gateway its place in the city, and wait for its first valid reading on the broker.

    A secret is never an argument: it is read from a file or standard input, or asked for.
    """
    from dataclasses import replace as changed  # noqa: PLC0415  quick help needs no layers
    from functools import partial  # noqa: PLC0415

    from deploy.cli.options import settings_from  # noqa: PLC0415
    from deploy.durations import seconds  # noqa: PLC0415
    from deploy.gateways.laptop import flash_book, person  # noqa: PLC0415
    from deploy.gateways.provisioning import City, Plan, run  # noqa: PLC0415
    from deploy.gateways.secret_input import put_password  # noqa: PLC0415
    from deploy.wiring import open_database  # noqa: PLC0415
    from devices.catalog import SqlRegistry  # noqa: PLC0415
    from devices.firmware.application.configuration import Configuration  # noqa: PLC0415
    from devices.firmware.provision import Expected, greet  # noqa: PLC0415

    settings = settings_from(config)
    host, number = _address(broker)
    plain = Configuration(
        gateway=gateway,
        district=district,
        host=host,
        port=number,
        tls=tls,
        site=site,
        zone=settings.notify.zone,
        period_s=round(seconds(period, "--period")),
        ca=_pem(broker_ca, "--broker-ca"),
    )
    children = [_child(one) for one in child or ()]
    connect_s = seconds(connect, "--connect")
    wait_s = seconds(wait, "--wait") if wait else 2.0 * plain.period_s + 120.0
    secured = _secured(
        plain,
        user,
        password_file,
        generate,
        certificate,
        key,
        authority,
        passphrase_file,
        issue=issue,
        csr=csr,
        anonymous=anonymous,
    )
    expected = Expected(board=board, revision=revision, serial=serial, replace=replace)
    with opened(port, baud) as (client, link):
        hello = greet(client, expected, gateway)
        print(_met(hello))
        plan = Plan(
            configuration=secured.configuration,
            certified=partial(secured.certified, client, hello, days),
            expected=expected,
            who=person(who),
            port=link.url,
            children=children,
            restart=restart,
            connect_s=connect_s,
            wait_s=0.0 if no_wait else wait_s,
        )
        if generate is not None:
            plan = changed(
                plan,
                committed=partial(
                    put_password, generate, secured.configuration.user, secured.configuration.password
                ),
            )
        city = City(SqlRegistry(open_database(settings)), flash_book(config), settings.mqtt, settings.topics.all())
        first = run(plan, hello, client, link, city, _tell)
    if first is None:
        print(f"{gateway}: configured; nobody waited for a reading")
        return
    values = ", ".join(f"{name} {value:g}" for name, value in first.values.items())
    print(f"{gateway}: provisioned; first reading: {first.device} {values}")


def read_config(port: PortArgument, baud: BaudOption = 115200, json: JsonOption = False) -> None:
    """Show who a gateway is and what configuration it holds; of secrets only whether they are set."""
    from devices.firmware.application.configuration import RULES, Field, told  # noqa: PLC0415
    from devices.firmware.provision import explained  # noqa: PLC0415

    with opened(port, baud) as (client, _):
        hello, held, status = client.hello(), client.read_back(), client.status()
    fields = {
        (RULES[Field(tag)].title.en if tag in RULES else f"{tag:#04x}"): told(tag, held[tag]) for tag in held
    }
    rows = {
        "board": f"{hello.board} {hello.revision}".strip(),
        "serial number": hello.serial,
        "chip": hello.chip,
        "version": hello.version,
        "clock": _clock(hello.utc_ms),
        **fields,
        "link": explained(status),
        "readings": f"{status.published} sent, {status.acknowledged} acknowledged",
    }
    if json:
        import msgspec  # noqa: PLC0415

        print(msgspec.json.encode(rows).decode())
        return
    for name, value in rows.items():
        print(f"{name + ':':22}{value}")


def opened(port: str, baud: int, words: bool = True) -> AbstractContextManager[tuple[Client, Link]]:
    """The gateway's console at `port`; its log goes to standard error, if `words`."""
    from contextlib import contextmanager  # noqa: PLC0415

    from deploy.gateways.log_text import LogText  # noqa: PLC0415
    from devices.errors import PortError  # noqa: PLC0415
    from devices.firmware.application.client import Client  # noqa: PLC0415
    from devices.firmware.link import Line, SerialLink  # noqa: PLC0415
    from devices.firmware.ports import chosen, explained, listed  # noqa: PLC0415

    @contextmanager
    def opening() -> Iterator[tuple[Client, Link]]:
        found = chosen(port, listed())
        try:
            link = SerialLink(found.device, Line(baud))
        except PortError as error:
            raise explained(found, error) from None
        log = LogText(lambda line: print(f"  | {line}", file=sys.stderr))
        try:
            yield Client(link, log.feed if words else lambda _: None), link
        finally:
            log.flush()
            link.close()

    return opening()


class _Secured:
    """A configuration that still needs its certificate, where it is to have one."""

    def __init__(self, configuration: Configuration, signer: Signer | None, *, csr: bool) -> None:
        self.configuration = configuration
        self._signer = signer
        self._csr = csr

    def certified(self, client: Client, hello: Hello, days: int, configuration: Configuration) -> Configuration:
        """`configuration` with a certificate that our authority issues now, for a key made here or by the gateway."""
        from dataclasses import replace  # noqa: PLC0415

        from devices.errors import ProvisionError  # noqa: PLC0415
        from devices.firmware.application.messages import Capability  # noqa: PLC0415
        from devices.firmware.authority import utc_now  # noqa: PLC0415

        if self._signer is None:
            return configuration
        gateway = configuration.gateway
        if not self._csr:
            made = self._signer.issue(gateway, days, utc_now())
        elif Capability.CSR in hello.capabilities:
            made = self._signer.sign(client.signing_request(gateway), gateway, days, utc_now())
        else:
            raise ProvisionError(
                f"{hello.board} {hello.serial}: it cannot make a key and a request itself; nothing was changed; "
                "--issue makes them here"
            )
        print(f"certificate {made.serial} for {gateway}, until {made.until:%Y-%m-%d}")
        return replace(configuration, certificate=made.certificate, key=made.key)


def _secured(
    plain: Configuration,
    user: str,
    password_file: Path | None,
    generate: Path | None,
    certificate: Path | None,
    key: Path | None,
    authority: Path,
    passphrase_file: Path | None,
    *,
    issue: bool,
    csr: bool,
    anonymous: bool,
) -> _Secured:
    """The credentials that the options name: exactly one way, a password being the usual one."""
    from dataclasses import replace  # noqa: PLC0415

    from deploy.gateways.secret_input import can_write, generated, secret  # noqa: PLC0415
    from devices.firmware.authority import Authority, checked_certificate, utc_now  # noqa: PLC0415

    ways = [
        name
        for name, used in (
            ("--issue", issue),
            ("--csr", csr),
            ("--certificate", certificate is not None),
            ("--generate", generate is not None),
            ("--password-file", password_file is not None),
            ("--anonymous", anonymous),
        )
        if used
    ]
    if len(ways) > 1:
        raise typer.BadParameter(f"expected one way to prove who it is, got {' and '.join(ways)}")
    if (issue or csr or certificate is not None) and not plain.tls:
        raise typer.BadParameter(f"{ways[0]}: a certificate needs --tls")
    if issue or csr:
        ours = Authority(authority)
        return _Secured(plain, ours.unlock(secret(passphrase_file, "passphrase", "--passphrase-file")), csr=csr)
    if certificate is not None:
        theirs, private = _pem(certificate, "--certificate"), _pem(key, "--key")
        checked_certificate(theirs, plain.gateway, utc_now(), key=private)
        return _Secured(replace(plain, certificate=theirs, key=private), None, csr=False)
    if anonymous:
        return _Secured(plain, None, csr=False)
    name = user or plain.gateway
    if generate is not None:
        can_write(generate)
        return _Secured(replace(plain, user=name, password=generated()), None, csr=False)
    password = secret(password_file, f"MQTT password of {name}", "--password-file", twice=True)
    return _Secured(replace(plain, user=name, password=password), None, csr=False)


def _tell(stage: Stage, line: str) -> None:
    print(f"{stage.value}{f': {line}' if line else ''}", flush=True)


def _met(hello: Hello) -> str:
    state = "provisioned before" if hello.provisioned else "not provisioned yet"
    return f"{hello.board} {hello.revision} {hello.serial}, version {hello.version}, {state}"


def _clock(utc_ms: int) -> str:
    from devices.beijing import beijing  # noqa: PLC0415

    return f"{beijing(utc_ms * 1000):%Y-%m-%d %H:%M:%S} Beijing" if utc_ms else "not set"


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise typer.BadParameter(
            f"expected HOST:PORT, such as mqtt.example:8883, got {text!r:.80}", param_hint="'--broker'"
        )
    return host.strip("[]"), int(port)


def _child(text: str) -> Child:
    from devices.firmware.application.configuration import Child  # noqa: PLC0415

    name, _, kind = text.partition("=")
    if not name or not kind:
        raise typer.BadParameter(
            f"expected ID=KIND, such as WP-0412=water_pressure, got {text!r:.80}", param_hint="'--child'"
        )
    return Child(name, kind)


def _pem(file: Path | None, option: str) -> str:
    from devices.errors import ProvisionError  # noqa: PLC0415

    if file is None:
        return ""
    try:
        return file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no PEM text"
        raise ProvisionError(f"{option} {file}: {why}; nothing was sent") from None
