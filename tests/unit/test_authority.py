"""Our own certificate authority: who gets a certificate, what is written down, who can read the keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from devices.errors import AuthorityError, RegistryError
from devices.firmware.authority import (
    Authority,
    Signer,
    checked_certificate,
    found,
    make_request,
    request_pem,
)

NOW = datetime(2026, 1, 5, 8, tzinfo=UTC)
WORDS = "a long passphrase"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return found(tmp_path / "ca", "waterworks", WORDS, NOW)


@pytest.fixture
def signer(authority: Authority) -> Signer:
    return authority.unlock(WORDS)


def test_keys_are_readable_by_their_owner_only_and_encrypted(authority: Authority) -> None:
    key = authority.folder / "ca.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert b"ENCRYPTED" in key.read_bytes()


def test_a_wrong_passphrase_issues_nothing(authority: Authority) -> None:
    with pytest.raises(AuthorityError, match="does not open it; nothing was issued"):
        authority.unlock("another passphrase")
    assert authority.issued() == []


def test_a_second_authority_does_not_replace_the_first(authority: Authority) -> None:
    with pytest.raises(AuthorityError, match="there already; nothing was changed"):
        found(authority.folder, "again", WORDS, NOW)


def test_a_short_passphrase_makes_no_authority(tmp_path: Path) -> None:
    with pytest.raises(AuthorityError, match="at least 8 characters"):
        found(tmp_path, "x", "1234567", NOW)
    assert list(tmp_path.iterdir()) == []


def test_a_certificate_names_the_gateway_and_is_for_clients_only(authority: Authority, signer: Signer) -> None:
    made = signer.issue("GW-1", 365, NOW)
    certificate = x509.load_pem_x509_certificate(made.certificate.encode())
    assert certificate.subject.rfc4514_string() == "CN=GW-1"
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    certificate.verify_directly_issued_by(authority.certificate)
    assert certificate.not_valid_after_utc == NOW + timedelta(days=365)
    assert [(one.gateway, one.serial) for one in authority.issued()] == [("GW-1", made.serial)]


def test_no_certificate_outlives_its_authority(signer: Signer, authority: Authority) -> None:
    end = authority.certificate.not_valid_after_utc
    assert signer.issue("GW-1", 3650, end - timedelta(days=10)).until == end
    with pytest.raises(AuthorityError, match="the authority expired"):
        signer.issue("GW-1", 1, end)


def test_a_revoked_gateway_is_in_the_signed_list_and_stays_there(authority: Authority, signer: Signer) -> None:
    first, second = signer.issue("GW-1", 10, NOW), signer.issue("GW-2", 10, NOW)
    signer.revoke("GW-1", NOW + timedelta(hours=1))
    signer.renew_list(NOW + timedelta(hours=2))
    revoked = x509.load_pem_x509_crl(authority.list_file.read_bytes())
    assert revoked.is_signature_valid(authority.certificate.public_key())  # type: ignore[arg-type]
    assert [f"{one.serial_number:x}" for one in revoked] == [first.serial]
    assert [bool(one.revoked) for one in authority.issued()] == [True, False]
    with pytest.raises(AuthorityError, match="found none; nothing was revoked"):
        signer.revoke("GW-1", NOW)
    assert second.serial not in {f"{one.serial_number:x}" for one in revoked}


def test_a_list_does_not_expire_within_a_year(authority: Authority) -> None:
    until = authority.list_until()
    assert until is not None
    assert until > NOW + timedelta(days=365)


def test_a_request_that_a_gateway_made_is_signed_for_it_alone(signer: Signer, authority: Authority) -> None:
    _, request = make_request("GW-1")
    made = signer.sign(request, "GW-1", 10, NOW)
    assert made.key == ""
    assert checked_certificate(made.certificate, "GW-1", NOW, request=request)
    with pytest.raises(AuthorityError, match=r"GW-2: request: expected this common name, got 'GW-1'"):
        signer.sign(request, "GW-2", 10, NOW)


def test_a_request_goes_out_as_text_and_what_is_no_request_is_refused(signer: Signer) -> None:
    _, request = make_request("GW-1")
    assert signer.sign(request_pem(request).encode(), "GW-1", 1, NOW).certificate
    for wrong in (request[:-1], request[:40], b"", b"-----BEGIN CERTIFICATE REQUEST-----"):
        with pytest.raises(AuthorityError, match="nothing was signed"):
            signer.sign(wrong, "GW-1", 1, NOW)


def test_a_certificate_for_another_or_of_another_key_or_time_is_not_sent(signer: Signer) -> None:
    made, other = signer.issue("GW-1", 10, NOW), signer.issue("GW-1", 10, NOW)
    assert checked_certificate(made.certificate, "GW-1", NOW, key=made.key)
    for arguments, why in (
        (("GW-2", NOW, made.key), "expected this common name"),
        (("GW-1", NOW, other.key), "do not belong together"),
        (("GW-1", NOW + timedelta(days=11), made.key), "today is 2026-01-16"),
        (("GW-1", NOW, "no key"), "expected a PEM private key"),
    ):
        with pytest.raises(AuthorityError, match=why):
            checked_certificate(made.certificate, arguments[0], arguments[1], key=arguments[2])


def test_a_name_that_could_not_be_a_topic_gets_no_certificate(signer: Signer, authority: Authority) -> None:
    for name in ("GW/1", "#", "", "a b"):
        with pytest.raises(RegistryError, match="it was not taken"):
            signer.issue(name, 1, NOW)
    assert authority.issued() == []


def test_no_representation_shows_a_key(signer: Signer) -> None:
    made = signer.issue("GW-1", 1, NOW)
    assert "PRIVATE" not in f"{made!r} {signer!r}"


def test_a_damaged_record_is_named_by_its_line(authority: Authority, signer: Signer) -> None:
    signer.issue("GW-1", 1, NOW)
    with (authority.folder / "issued.jsonl").open("a") as file:
        file.write('{"serial":"12","revoked":"2026-01-01T00:00:00+00:00"}\n')
    with pytest.raises(AuthorityError, match="line 2: expected a certificate's record"):
        authority.issued()


def test_no_authority_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(AuthorityError, match="make one with 'undercity gateway ca init'"):
        Authority(tmp_path)
