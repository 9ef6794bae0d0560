"""The wheel is whole: installed into a clean environment, every package and every data file comes from it."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import deploy

ROOT = Path(deploy.__file__).parent.parent
PACKAGES = ("devices", "ingest", "processors", "dashboards", "deploy")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel, which borrows our dependencies but not our checkout."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # A folder named by a .pth file is searched after this one, and its own .pth files, our checkout's among them, are
    # not read.
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return python


def _run(python: Path, *arguments: str, cwd: Path) -> str:
    done = subprocess.run([python, "-I", *arguments], cwd=cwd, capture_output=True, text=True, check=True)
    return done.stdout


def test_every_package_comes_from_the_wheel(clean: Path, tmp_path: Path) -> None:
    code = f"import json, {', '.join(PACKAGES)}; print(json.dumps([m.__file__ for m in ({', '.join(PACKAGES)})]))"
    for file in json.loads(_run(clean, "-c", code, cwd=tmp_path)):
        assert file.startswith(str(clean.parent.parent)), file


def test_the_command_line_starts_from_the_wheel(clean: Path, tmp_path: Path) -> None:
    text = _run(
        clean,
        "-c",
        "import sys; sys.argv[1:] = ['--help']; from deploy.cli.main import main; main()",
        cwd=tmp_path,
    )
    assert "doctor" in text


def test_every_data_file_of_the_checkout_is_in_the_wheel(wheel: Path) -> None:
    tracked = subprocess.run(["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode != 0:
        pytest.skip("not a git checkout: there is no list to compare with")
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {name for name in tracked.stdout.splitlines() if (ROOT / name).exists() and ".gitignore" not in name}
    assert sorted(wanted - names) == []


def test_the_wheel_holds_the_five_packages_and_nothing_else(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


def test_the_console_script_is_declared(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (entry,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
    assert "undercity = deploy.cli.main:main" in archive.read(entry).decode()


def test_it_can_not_be_uploaded_by_mistake(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (metadata,) = [name for name in archive.namelist() if name.endswith("METADATA")]
    assert "Private :: Do Not Upload" in archive.read(metadata).decode()
