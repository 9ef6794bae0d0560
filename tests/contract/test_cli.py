"""The command line, misused by a person in real processes: each refusal is one line, an exit code, and no more."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

_START_S = 60.0


def undercity(cwd: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "deploy", *words],
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_START_S,
        check=False,
    )


def refused(done: subprocess.CompletedProcess[bytes], code: int) -> str:
    """The one line that the person reads."""
    lines = done.stderr.decode().splitlines()
    assert (done.returncode, len(lines), done.stdout) == (code, 1, b""), done
    assert lines[0].startswith("undercity: ")
    return lines[0].removeprefix("undercity: ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("nonsense", "No such command 'nonsense'; see 'undercity --help'"),
        ("alerts ack A-1", "alerts ack: Missing option '--by'; see 'undercity alerts ack --help'"),
        ("quarantine show abc", "quarantine show: Invalid value for 'entry'"),
        ("quarantine show 99999999999999999999", "quarantine show: Invalid value for 'entry'"),
        ("alerts list --limit 99999999999999999999", "alerts list: Invalid value for '--limit'"),
        ("simulate --speed inf", "simulate: Invalid value for '--speed'"),
    ],
)
def test_a_wrong_word_is_one_line_and_exit_code_2(tmp_path: Path, words: str, said: str) -> None:
    assert said in refused(undercity(tmp_path, *words.split()), 2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("demo --for 9999999d", "--for: expected at most 24h"),
        ("demo --speed nan", "--speed: expected 1 to 3600, got nan"),
        ("demo --data file", "--data: expected a folder, file is a file; nothing was started"),
        ("settings check --config .", "Is a directory"),
        ("alerts list --config binary", "binary: expected TOML in UTF-8"),
        ("devices import .", "Is a directory; nothing was imported"),
        ("devices list --database oracle://u:sekret@host", "got oracle; nothing was opened"),
        ("devices list --database sekret", "got something else; nothing was opened"),
        ("influx setup --url nonsense", "expected an address like http://host:8086, got 'nonsense'"),
        ("influx setup --token-file binary", "got: bytes that are no text; nothing was changed"),
    ],
)
def test_input_that_cannot_be_used_is_one_line_and_exit_code_1(tmp_path: Path, words: str, said: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "binary").write_bytes(b"\xff\x00\xfe")
    line = refused(undercity(tmp_path, *words.split()), 1)
    assert said in line
    assert "sekret" not in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["binary", "file"]


def test_a_demo_on_a_taken_port_starts_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = undercity(tmp_path, "demo", "--port", port, "--data", "city")
    assert f"--port: expected a free port for the console, 127.0.0.1:{port}" in refused(done, 1)
    assert not (tmp_path / "city").exists()


def test_output_cut_off_by_its_reader_is_no_error(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "deploy", "settings", "show"],
            cwd=tmp_path,
            stdout=writer,
            stderr=subprocess.PIPE,
            timeout=_START_S,
            check=False,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_terminal_without_our_signs_still_gets_help(tmp_path: Path) -> None:
    done = undercity(tmp_path, "demo", "--help", LC_ALL="C", PYTHONIOENCODING="ascii", COLUMNS="40")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"--speed" in done.stdout


def test_a_database_of_something_else_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "undercity-data").mkdir()
    (tmp_path / "undercity-data" / "operations.db").write_bytes(b"not a database" * 100)
    assert "file is not a database" in refused(undercity(tmp_path, "alerts", "list"), 1)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_demo_ended_while_it_starts_leaves_no_process(tmp_path: Path, how: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    demo = subprocess.Popen(
        [sys.executable, "-m", "deploy", "demo", "--port", str(port), "--data", "city"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    _wait(lambda: "process" in _text(tmp_path / "city" / "undercity.log"))
    demo.send_signal(how)
    _, said = demo.communicate(timeout=_START_S)
    if how == signal.SIGINT:
        assert (demo.returncode, said) == (130, b"undercity: interrupted\n")
    _wait(lambda: not _living_in(str(tmp_path)))


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _START_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _living_in(folder: str) -> list[int]:
    """Processes whose working folder is `folder`: whatever the demo started keeps it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            here = str((entry / "cwd").readlink())
        except OSError:
            continue
        if here == folder:
            found.append(int(entry.name))
    return found
