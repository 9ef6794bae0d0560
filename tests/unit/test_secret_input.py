"""Secrets come from files, standard input or people; and a password file keeps what is others'."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from deploy.gateways.secret_input import generated, put_password, secret
from devices.errors import ProvisionError


def test_the_first_line_of_a_file_is_the_secret(tmp_path: Path) -> None:
    file = tmp_path / "words"
    file.write_text("hunter2\nsecond line\n")
    assert secret(file, "password", "--password-file") == "hunter2"


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("hunter2\n"))
    assert secret(Path("-"), "password", "--password-file") == "hunter2"


@pytest.mark.parametrize("content", [b"", b"\n", b"x" * 129, b"\xff\xfe"])
def test_what_can_be_no_secret_is_refused_without_showing_it(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "words"
    file.write_bytes(content)
    with pytest.raises(ProvisionError, match="nothing was sent") as refused:
        secret(file, "password", "--password-file")
    assert "xxx" not in str(refused.value)


def test_nobody_is_asked_where_no_terminal_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("hunter2\n"))
    with pytest.raises(ProvisionError, match="expected a terminal to ask at, or --password-file FILE"):
        secret(None, "password", "--password-file")


def test_a_password_file_keeps_others_lines_and_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "passwords"
    file.write_text("other:$7$1\nGW-1:$7$old\nGW-10:$7$3\n")
    file.chmod(0o640)
    put_password(file, "GW-1", "hunter2")
    lines = file.read_text().splitlines()
    assert lines[:2] == ["other:$7$1", "GW-10:$7$3"]
    assert lines[2].startswith("GW-1:$7$101$")
    assert file.stat().st_mode & 0o777 == 0o640
    assert [one.name for one in tmp_path.iterdir()] == ["passwords"]


def test_a_new_password_file_is_its_owners_alone(tmp_path: Path) -> None:
    put_password(tmp_path / "passwords", "GW-1", "hunter2")
    assert (tmp_path / "passwords").stat().st_mode & 0o777 == 0o600
    assert "hunter2" not in (tmp_path / "passwords").read_text()


def test_no_two_generated_passwords_are_alike_and_each_is_long() -> None:
    made = {generated() for _ in range(100)}
    assert len(made) == 100
    assert min(map(len, made)) >= 24
