"""`undercity gateway ca ...`: our own certificate authority for gateways, or requests for the city's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.gateway_provision import AUTHORITY, AuthorityOption, DaysOption, PassphraseOption
from deploy.cli.options import JsonOption

if TYPE_CHECKING:
    from devices.firmware.authority import Signer

_Gateway = Annotated[
    str, typer.Argument(metavar="GATEWAY", help="Id of the gateway: the certificate's common name.")
]
_Out = Annotated[
    Path, typer.Option("--out", help="Folder for GATEWAY.crt and GATEWAY.key; the key for its owner only.")
]
_HERE = Path()


def add(group: typer.Typer) -> None:
    """Add the group of commands."""
    ca = typer.Typer(
        help="Certificates of gateways: our own authority, or requests for the city's.", no_args_is_help=True
    )
    for command in (init, issue, revoke, csr, sign, crl):
        ca.command()(command)
    ca.command("list")(list_issued)
    group.add_typer(ca, name="ca")


def init(
    name: Annotated[str, typer.Argument(help="Name of the authority, such as waterworks-gateways.")],
    authority: AuthorityOption = AUTHORITY,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Make an authority: its key is encrypted with a passphrase."""
    from deploy.gateways.secret_input import secret  # noqa: PLC0415  quick help needs no layers
    from devices.firmware.authority import found, utc_now  # noqa: PLC0415

    words = secret(passphrase_file, f"new passphrase of {name}", "--passphrase-file", twice=True)
    made = found(authority, name, words, utc_now())
    print(f"{authority}: authority {name}, until {made.certificate.not_valid_after_utc:%Y-%m-%d}")
    print(f"broker: cafile {authority / 'ca.crt'}, crlfile {made.list_file}, require_certificate true")


def issue(
    gateway: _Gateway,
    out: _Out = _HERE,
    days: DaysOption = 730,
    authority: AuthorityOption = AUTHORITY,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Make a key and a certificate for a gateway; 'provision --issue' does it on the way."""
    from devices.firmware.authority import utc_now, write_secret  # noqa: PLC0415

    made = _signer(authority, passphrase_file).issue(gateway, days, utc_now())
    out.mkdir(parents=True, exist_ok=True)
    write_secret(out / f"{gateway}.key", made.key)
    (out / f"{gateway}.crt").write_text(made.certificate, encoding="ascii")
    print(f"{out / gateway}.crt, .key: certificate {made.serial}, until {made.until:%Y-%m-%d}")


def sign(
    gateway: _Gateway,
    request: Annotated[Path, typer.Argument(help="Its request (PKCS 10, PEM or DER).")],
    out: _Out = _HERE,
    days: DaysOption = 730,
    authority: AuthorityOption = AUTHORITY,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Sign a request that a gateway or another laptop made."""
    from devices.firmware.authority import utc_now  # noqa: PLC0415

    made = _signer(authority, passphrase_file).sign(request.read_bytes(), gateway, days, utc_now())
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{gateway}.crt").write_text(made.certificate, encoding="ascii")
    print(f"{out / gateway}.crt: certificate {made.serial}, until {made.until:%Y-%m-%d}")


def csr(
    gateway: _Gateway,
    port: Annotated[
        str,
        typer.Option("--port", help="Serial port of the gateway that makes its key; without it one is made here."),
    ] = "",
    out: _Out = _HERE,
    baud: Annotated[int, typer.Option("--baud", help="Speed of the gateway's console.")] = 115200,
) -> None:
    """Write a request for the city's own authority; its certificate comes back by 'provision --certificate'."""
    from deploy.cli.gateway_provision import opened  # noqa: PLC0415
    from devices.firmware.authority import checked_request, make_request, request_pem, write_secret  # noqa: PLC0415

    out.mkdir(parents=True, exist_ok=True)
    if port:
        with opened(port, baud) as (client, _):
            client.hello()
            request = client.signing_request(gateway)
        checked_request(request, gateway)
    else:
        key, request = make_request(gateway)
        write_secret(out / f"{gateway}.key", key)
    file = out / f"{gateway}.csr"
    file.write_text(request_pem(request), encoding="ascii")
    where = f"in the gateway at {port}" if port else f"in {out / gateway}.key"
    print(f"{file}: for the authority to sign; the key is {where}")


def revoke(
    wanted: Annotated[
        str, typer.Argument(metavar="GATEWAY|SERIAL", help="Gateway, or serial number of one certificate.")
    ],
    authority: AuthorityOption = AUTHORITY,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Revoke certificates, and sign the list that the broker reads."""
    from devices.firmware.authority import Authority, utc_now  # noqa: PLC0415

    hit = _signer(authority, passphrase_file).revoke(wanted, utc_now())
    for one in hit:
        print(f"{one.gateway}: certificate {one.serial} revoked")
    print(
        f"broker: give it {Authority(authority).list_file} as crlfile, and restart it: it reads the list at its start"
    )


def crl(authority: AuthorityOption = AUTHORITY, passphrase_file: PassphraseOption = None) -> None:
    """Sign the list of revoked certificates anew, to expire later: with an expired one a broker refuses everyone."""
    from devices.firmware.authority import Authority, utc_now  # noqa: PLC0415

    _signer(authority, passphrase_file).renew_list(utc_now())
    until = Authority(authority).list_until()
    print(f"{Authority(authority).list_file}: until {until:%Y-%m-%d}")


def list_issued(authority: AuthorityOption = AUTHORITY, json: JsonOption = False) -> None:
    """List the certificates: whose, until when, revoked or not."""
    from dataclasses import asdict  # noqa: PLC0415

    import msgspec  # noqa: PLC0415

    from devices.firmware.authority import Authority, utc_now  # noqa: PLC0415

    ours = Authority(authority)
    issued = ours.issued()
    if json:
        print(msgspec.json.encode([asdict(one) for one in issued]).decode())
        return
    now = utc_now()
    for one in issued:
        state = f"revoked {one.revoked:%Y-%m-%d}" if one.revoked else "expired" if one.until <= now else "counts"
        print(f"{one.gateway:24}  {one.serial:40}  until {one.until:%Y-%m-%d}  {state}")
    print(f"{len(issued)} certificates; the list of revoked ones is good until {ours.list_until():%Y-%m-%d}")


def _signer(authority: Path, passphrase_file: Path | None) -> Signer:
    from deploy.gateways.secret_input import secret  # noqa: PLC0415
    from devices.firmware.authority import Authority  # noqa: PLC0415

    ours = Authority(authority)
    return ours.unlock(secret(passphrase_file, "passphrase of the authority", "--passphrase-file"))
