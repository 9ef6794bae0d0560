"""Our own small certificate authority for gateways: issue, list, revoke; or carry requests to the city's own.

From: an engineer with the passphrase. To: PEM texts, for gateways and for the broker:

    ca.crt        the authority's certificate: `cafile` of the broker
    ca.key        its private key, PKCS 8, encrypted with the passphrase, readable by its owner only
    issued.jsonl  one line for each certificate and each revocation, only ever appended to
    crl.pem       what was revoked, signed: `crlfile` of the broker

A gateway's certificate has its id as common name, which the broker takes for its user name, and is good for clients
only. Keys are ECDSA on P-256 (RFC 5480), certificates and lists as RFC 5280 has them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from devices.errors import AuthorityError
from devices.registry import check_id

PASSPHRASE_MIN: Final = 8
DAYS_MAX: Final = 3650
_OWN_DAYS: Final = 20 * 365
# A broker refuses everyone when its list has expired: it must not expire while nobody looks.
_LIST_DAYS: Final = 2 * 365
# A gateway whose clock is a little behind must not find its certificate not yet valid.
_BACKDATED: Final = timedelta(days=1)
_CERTIFICATE, _KEY, _LINES, _LIST = "ca.crt", "ca.key", "issued.jsonl", "crl.pem"

Now = Callable[[], datetime]


class _Line(msgspec.Struct, omit_defaults=True):
    """One line of the record. `revoked`: ISO time of a revocation, empty in the line of an issue."""

    serial: str
    gateway: str = ""
    until: str = ""
    revoked: str = ""


@dataclass(frozen=True, slots=True)
class Issued:
    """One certificate that was issued. `revoked`: None while it counts."""

    serial: str
    gateway: str
    until: datetime
    revoked: datetime | None = None


@dataclass(frozen=True, slots=True)
class Credentials:
    """A certificate as PEM, the authority's behind it not included; `key` is empty where the gateway has its own."""

    certificate: str
    key: str
    serial: str
    until: datetime

    def __repr__(self) -> str:
        return f"Credentials(serial={self.serial}, until={self.until:%Y-%m-%d})"


class Authority:
    """The authority in one folder, without its private key: what is issued, and its certificate."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificate = _certificate(_read(folder / _CERTIFICATE, folder), folder / _CERTIFICATE)

    @property
    def pem(self) -> str:
        """Its certificate."""
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def list_file(self) -> Path:
        """The signed list of what was revoked."""
        return self.folder / _LIST

    def list_until(self) -> datetime | None:
        """When the list of revoked certificates expires; a broker then refuses everyone."""
        return x509.load_pem_x509_crl(_read(self.list_file, self.folder)).next_update_utc

    def issued(self) -> list[Issued]:
        """Every certificate, in the order they were issued."""
        found: dict[str, Issued] = {}
        for number, text in enumerate(_read(self.folder / _LINES, self.folder).splitlines(), 1):
            try:
                line = msgspec.json.decode(text, type=_Line)
                if line.revoked:
                    old = found[line.serial]
                    found[line.serial] = Issued(
                        old.serial, old.gateway, old.until, datetime.fromisoformat(line.revoked)
                    )
                else:
                    until = datetime.fromisoformat(line.until)
                    found[line.serial] = Issued(line.serial, line.gateway, until)
            except (msgspec.MsgspecError, ValueError, KeyError) as error:
                raise AuthorityError(
                    f"{self.folder / _LINES} line {number}: expected a certificate's record, got {error}; "
                    "nothing was done"
                ) from None
        return list(found.values())

    def unlock(self, passphrase: str) -> Signer:
        """With its private key; AuthorityError when the passphrase is wrong."""
        file = self.folder / _KEY
        try:
            key = load_pem_private_key(_read(file, self.folder), passphrase.encode())
        except (ValueError, TypeError):
            raise AuthorityError(f"{file}: the passphrase does not open it; nothing was issued") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != self.certificate.public_key():
            raise AuthorityError(f"{file}: expected the key of {_CERTIFICATE}, got another; nothing was issued")
        return Signer(self, key)


class Signer:
    """An authority whose key is in memory; it is never shown."""

    def __init__(self, authority: Authority, key: ec.EllipticCurvePrivateKey) -> None:
        self._authority = authority
        self._key = key

    def __repr__(self) -> str:
        return f"Signer({self._authority.folder})"

    def issue(self, gateway: str, days: int, now: datetime) -> Credentials:
        """A key and a certificate for `gateway`, which is its common name."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._signed(gateway, key.public_key(), days, now)
        return Credentials(_pem(made), private_pem(key), _serial(made), made.not_valid_after_utc)

    def sign(self, request: bytes, gateway: str, days: int, now: datetime) -> Credentials:
        """A certificate for a request (PKCS 10, DER or PEM) that `gateway` itself made; its key stays there."""
        public = checked_request(request, gateway).public_key()
        made = self._signed(gateway, public, days, now)
        return Credentials(_pem(made), "", _serial(made), made.not_valid_after_utc)

    def revoke(self, wanted: str, now: datetime) -> list[Issued]:
        """Revoke one certificate by its serial number, or all of a gateway that count; the list is signed anew."""
        hit = [one for one in self._authority.issued() if wanted in (one.serial, one.gateway) and not one.revoked]
        if not hit:
            raise AuthorityError(
                f"{wanted!r:.80}: expected a gateway or serial number with a certificate that counts, found none; "
                "nothing was revoked"
            )
        for one in hit:
            # Written down first: should the list fail now, the next one has it.
            _append(self._authority.folder / _LINES, _Line(one.serial, revoked=now.isoformat()))
        self.renew_list(now)
        return hit

    def renew_list(self, now: datetime) -> None:
        """Sign the list of what was revoked anew, so that it expires later."""
        made = x509.CertificateRevocationListBuilder(
            issuer_name=self._authority.certificate.subject,
            last_update=now,
            next_update=now + timedelta(days=_LIST_DAYS),
        ).add_extension(x509.CRLNumber(int(now.timestamp() * 1000)), critical=False)
        for one in self._authority.issued():
            if one.revoked is not None:
                entry = x509.RevokedCertificateBuilder(int(one.serial, 16), one.revoked)
                made = made.add_revoked_certificate(entry.build())
        _write(self._authority.list_file, made.sign(self._key, SHA256()).public_bytes(Encoding.PEM), 0o644)

    def _signed(
        self, gateway: str, public: CertificatePublicKeyTypes, days: int, now: datetime
    ) -> x509.Certificate:
        name = _gateway_name(gateway)
        if not 1 <= days <= DAYS_MAX:
            raise AuthorityError(f"{gateway}: expected 1 to {DAYS_MAX} days, got {days}; nothing was issued")
        own = self._authority.certificate
        until = min(now + timedelta(days=days), own.not_valid_after_utc)
        if until <= now:
            raise AuthorityError(
                f"{self._authority.folder}: the authority expired on {until:%Y-%m-%d}; nothing was issued"
            )
        made = (
            x509.CertificateBuilder(
                own.subject, name, public, x509.random_serial_number(), now - _BACKDATED, until
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(_authority_id(own), critical=False)
            .sign(self._key, SHA256())
        )
        # A certificate that nobody wrote down could never be revoked: it is handed out after the record.
        line = _Line(_serial(made), gateway, made.not_valid_after_utc.isoformat())
        _append(self._authority.folder / _LINES, line)
        return made


def found(folder: Path, name: str, passphrase: str, now: datetime) -> Authority:
    """Make a new authority in `folder`; AuthorityError when one is there."""
    if len(passphrase) < PASSPHRASE_MIN:
        raise AuthorityError(
            f"passphrase: expected at least {PASSPHRASE_MIN} characters, got fewer; no authority was made"
        )
    if (folder / _KEY).exists() or (folder / _CERTIFICATE).exists():
        raise AuthorityError(f"{folder}: an authority is there already; nothing was changed")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, check_id(name, "authority"))])
    until = now + timedelta(days=_OWN_DAYS)
    own = (
        x509.CertificateBuilder(
            subject, subject, key.public_key(), x509.random_serial_number(), now - _BACKDATED, until
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase.encode()))
    _write(folder / _KEY, secret, 0o600)
    _write(folder / _LINES, b"", 0o644)
    _write(folder / _CERTIFICATE, own.public_bytes(Encoding.PEM), 0o644)
    made = Authority(folder)
    Signer(made, key).renew_list(now)
    return made


def make_request(gateway: str) -> tuple[str, bytes]:
    """A key (PEM) and a request for it (PKCS 10, DER), for an authority that is not ours."""
    key = ec.generate_private_key(ec.SECP256R1())
    made = x509.CertificateSigningRequestBuilder(_gateway_name(gateway)).sign(key, SHA256())
    return private_pem(key), made.public_bytes(Encoding.DER)


def checked_request(request: bytes, gateway: str) -> x509.CertificateSigningRequest:
    """A request that is whole and names `gateway`; AuthorityError otherwise."""
    try:
        load = x509.load_pem_x509_csr if b"-----BEGIN" in request else x509.load_der_x509_csr
        made = load(request)
        whole = made.is_signature_valid
    except ValueError as error:
        raise AuthorityError(f"{gateway}: request: {error}; nothing was signed") from None
    if not whole:
        raise AuthorityError(f"{gateway}: request: its own signature is wrong; nothing was signed")
    _same_name(made.subject, gateway, "request", "nothing was signed")
    return made


def request_pem(request: bytes) -> str:
    """A request as the text that other authorities take."""
    return x509.load_der_x509_csr(request).public_bytes(Encoding.PEM).decode()


def checked_certificate(pem: str, gateway: str, now: datetime, *, key: str = "", request: bytes = b"") -> str:
    """`pem` (chain allowed) if its first certificate is for `gateway`, is valid now and fits key or request."""
    made = _certificate(pem.encode(), Path("certificate"))
    _same_name(made.subject, gateway, "certificate", "nothing was sent")
    if not made.not_valid_before_utc <= now < made.not_valid_after_utc:
        raise AuthorityError(
            f"{gateway}: certificate: valid {made.not_valid_before_utc:%Y-%m-%d} to "
            f"{made.not_valid_after_utc:%Y-%m-%d}, today is {now:%Y-%m-%d}; nothing was sent"
        )
    theirs = []
    if key:
        try:
            theirs.append(load_pem_private_key(key.encode(), None).public_key())
        except (ValueError, TypeError):
            raise AuthorityError(
                f"{gateway}: key: expected a PEM private key without passphrase; nothing was sent"
            ) from None
    if request:
        theirs.append(checked_request(request, gateway).public_key())
    if any(_point(one) != _point(made.public_key()) for one in theirs):
        raise AuthorityError(f"{gateway}: certificate and key do not belong together; nothing was sent")
    return pem


def private_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """An unencrypted key, for a gateway; it must never be written where others can read it."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def write_secret(file: Path, text: str) -> None:
    """Write a file that only its owner can read."""
    _write(file, text.encode(), 0o600)


def utc_now() -> datetime:
    """The time certificates are made for, whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def _point(public: object) -> bytes:
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined,no-any-return]


def _gateway_name(gateway: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, check_id(gateway, "gateway"))])


def _same_name(subject: x509.Name, gateway: str, what: str, done: str) -> None:
    names = [str(one.value) for one in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if names != [gateway]:
        said = ", ".join(names) or "none"
        raise AuthorityError(f"{gateway}: {what}: expected this common name, got {said!r:.100}; {done}")


def _usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_id(own: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    mine = own.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(mine)


def _certificate(content: bytes, file: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(content)
    except ValueError:
        raise AuthorityError(f"{file}: expected a certificate in PEM, got another; it is not used") from None


def _pem(made: x509.Certificate) -> str:
    return made.public_bytes(Encoding.PEM).decode()


def _serial(made: x509.Certificate) -> str:
    return f"{made.serial_number:x}"


def _read(file: Path, folder: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise AuthorityError(
            f"{folder}: expected an authority, found no {file.name}; make one with 'undercity gateway ca init'"
        ) from None


def _append(file: Path, line: _Line) -> None:
    handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, msgspec.json.encode(line) + b"\n")
        os.fsync(handle)
    finally:
        os.close(handle)


def _write(file: Path, content: bytes, mode: int) -> None:
    """All of `content`, or what was there before; readable as `mode` from its first byte on."""
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        os.write(handle, content)
        os.fsync(handle)
    finally:
        os.close(handle)
    fresh.replace(file)
