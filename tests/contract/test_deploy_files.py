"""The files that servers are set up from: as far as they can be judged without a container engine or systemd."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import deploy
from deploy.settings_loader import keys

DEPLOY = Path(deploy.__file__).parent
ROOT = DEPLOY.parent
COMPOSE = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secrets")
    _generate(folder, "broker.example", "192.0.2.7")
    return folder


def _generate(folder: Path, *names: str) -> str:
    environ = {**os.environ, "UNDERCITY_SECRETS": str(folder)}
    script = DEPLOY / "compose" / "secrets.sh"
    done = subprocess.run([script, *names], env=environ, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_watched_limited_and_restarted(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"]
    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}
    assert service["restart"] == "unless-stopped"
    assert "no-new-privileges:true" in service["security_opt"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_pinned(name: str) -> None:
    tag = SERVICES[name]["image"].rpartition(":")[2]
    assert tag == "local" or re.match(r"\d+(\.\d+)*", tag)


def test_the_devices_port_is_the_only_one_open_to_others() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert [port for port in published if not port.startswith("127.0.0.1:")] == ["8883:8883"]


def test_every_secret_is_a_file_that_set_up_generates(generated: Path) -> None:
    for secret in COMPOSE["secrets"].values():
        assert (generated / Path(secret["file"]).relative_to("secrets")).read_text(encoding="utf-8").strip()
    used = {name for service in SERVICES.values() for name in service.get("secrets", [])}
    assert used == set(COMPOSE["secrets"])


def test_no_secret_stands_in_the_compose_file() -> None:
    for service in SERVICES.values():
        for key, value in service.get("environment", {}).items():
            if re.search("PASSWORD|TOKEN|SECRET", key):
                assert value.startswith("/run/secrets/"), key


def test_every_mounted_file_is_there_or_generated(generated: Path) -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            if source.startswith("./secrets/"):
                assert (generated / Path(source).relative_to("secrets")).exists(), source
            elif source.startswith("."):
                assert (DEPLOY / "compose" / source).exists(), source
            else:
                assert source in COMPOSE["volumes"]


def test_the_compose_settings_know_only_settings_that_exist() -> None:
    known = {key for key, *_ in keys()}
    settings = tomllib.loads((DEPLOY / "compose" / "undercity.toml").read_text(encoding="utf-8"))
    for section, values in settings.items():
        for key in values:
            assert f"{section}.{key}" in known or f"{section}.{key.removesuffix('_file')}" in known


def test_secrets_are_for_their_owner_alone_and_made_once(generated: Path) -> None:
    files = [path for path in generated.rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    before = {path: path.read_bytes() for path in files}
    assert "generated" not in _generate(generated)
    assert {path: path.read_bytes() for path in generated.rglob("*") if path.is_file()} == before


def test_the_broker_certificate_is_for_the_names_asked_for(generated: Path) -> None:
    certs = generated / "mosquitto" / "certs"
    for option, name in (("-verify_hostname", "broker.example"), ("-verify_ip", "192.0.2.7")):
        command = ["openssl", "verify", "-CAfile", str(certs / "ca.crt"), option, name, str(certs / "server.crt")]
        assert subprocess.run(command, capture_output=True, text=True, check=False).stdout.endswith("OK\n")


def test_the_compose_file_passes_docker_itself() -> None:
    docker = shutil.which("docker")
    asked = subprocess.run([docker or "false", "compose", "version"], capture_output=True, check=False)
    if asked.returncode != 0:
        pytest.skip("docker compose is not installed: the compose file was only parsed")
    command = ["docker", "compose", "-f", str(DEPLOY / "compose" / "compose.yaml"), "config", "--quiet"]
    subprocess.run(command, check=True, capture_output=True)


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: the units were not verified")
    unit = (DEPLOY / "systemd" / "undercity@.service").read_text(encoding="utf-8")
    # The program is not installed here: anything that exists stands in for it.
    unit = unit.replace("/opt/undercity/bin/undercity", "/bin/true")
    newer = ("RestartSteps", "RestartMaxDelaySec")  # systemd 254; older ones ignore them with a warning
    lines = [line for line in unit.splitlines() if not line.startswith(newer)]
    (tmp_path / "undercity@processor.service").write_text("\n".join(lines), encoding="utf-8")
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / "undercity@processor.service")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_target_starts_every_role() -> None:
    target = (DEPLOY / "systemd" / "undercity.target").read_text(encoding="utf-8")
    for role in ("processor", "ingest-0", "sender", "console", "health"):
        assert f"undercity@{role}.service" in target


def test_scripts_are_executable_and_valid_bash() -> None:
    for script in (DEPLOY / "setup" / "bootstrap", DEPLOY / "compose" / "secrets.sh", ROOT / ".ci" / "run"):
        assert os.access(script, os.X_OK), script
        subprocess.run(["bash", "-n", script], check=True)


def test_provisioned_data_source_takes_its_token_from_the_environment() -> None:
    file = DEPLOY / "grafana" / "provisioning" / "datasources" / "influxdb.yaml"
    (source,) = yaml.safe_load(file.read_text(encoding="utf-8"))["datasources"]
    assert source["secureJsonData"] == {"token": "$INFLUX_TOKEN"}
