"""What we ship for running it keeps its promises, as far as can be seen without a machine to run it on."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped, unused-ignore]

from dncsync.connector import plugin, plugins
from dncsync.settings_sources import secret_fields

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy" / "systemd" / "dncsync.service"
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))
SERVICE: dict[str, Any] = COMPOSE["services"]["dncsync"]

HARDENED = {
    "CapabilityBoundingSet": "",
    "DynamicUser": "yes",
    "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes",
    "NoNewPrivileges": "yes",
    "PrivateDevices": "yes",
    "PrivateTmp": "yes",
    "ProtectHome": "yes",
    "ProtectSystem": "strict",
    "RestrictNamespaces": "yes",
    "StateDirectory": "dncsync",
    "StateDirectoryMode": "0700",
    "SystemCallArchitectures": "native",
    "UMask": "0077",
}


def unit() -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        if line and line[0] not in "#[":
            key, equals, value = line.partition("=")
            assert equals, line
            found[key].append(value)
    return found


def test_the_unit_is_hardened() -> None:
    settings = unit()
    assert {key: settings[key] for key in HARDENED} == {key: [value] for key, value in HARDENED.items()}
    assert settings["SystemCallFilter"] == ["@system-service", "~@privileged @resources"]


def test_the_unit_gives_the_daemon_longer_to_stop_than_it_needs() -> None:
    assert int(unit()["TimeoutStopSec"][0]) > 10
    assert SERVICE["stop_grace_period"] == "20s"


def test_the_unit_asks_for_every_secret_of_our_vendors() -> None:
    wanted = {f"{vendor}.{field}" for vendor in plugins() for field in secret_fields(plugin(vendor).settings)}
    assert set(unit()["LoadCredential"]) == wanted | {"checkpoint.key"}


def test_systemd_accepts_the_unit_and_rates_it_well(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze on this machine")
    here = tmp_path / "dncsync.service"
    here.write_text(UNIT.read_text(encoding="utf-8").replace("/opt/dncsync/.venv/bin/dncsync", "/bin/true"))
    said = subprocess.run([analyze, "verify", here], capture_output=True, text=True, check=False)
    assert "dncsync.service" not in said.stderr
    rate = [analyze, "security", "--offline=yes", "--threshold=15", str(here)]
    rated = subprocess.run(rate, capture_output=True, text=True, check=False)
    if "unrecognized option" in rated.stderr:
        pytest.skip("this systemd-analyze rates no files")
    assert rated.returncode == 0, rated.stdout[-300:]


def test_the_image_runs_as_nobody_special_and_checks_its_health() -> None:
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert last.index("USER ") < last.index("ENTRYPOINT")
    assert "/readyz" in last[last.index("HEALTHCHECK") :]
    assert "pip install" not in last
    assert DOCKERFILE.count("uv sync --frozen --no-dev") == 2


def test_image_and_makefile_use_the_same_uv() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (version,) = re.findall(r"^UV_VERSION := (\S+)$", makefile, re.MULTILINE)
    assert re.findall(r"uv==(\S+)", DOCKERFILE) == [version]


def test_everything_the_image_copies_is_there_and_let_in() -> None:
    ignored = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    copied = [
        name.removeprefix("./")
        for line in DOCKERFILE.splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for name in line.split()[1:-1]
    ]
    assert copied
    for name in copied:
        assert (ROOT / name).exists(), name
        assert f"!{name}" in ignored, name


def test_the_container_is_read_only_and_keeps_its_secrets_in_files() -> None:
    assert SERVICE["read_only"] is True
    assert SERVICE["cap_drop"] == ["ALL"]
    assert SERVICE["security_opt"] == ["no-new-privileges:true"]
    assert SERVICE["user"] == "10001:10001"
    assert "environment" not in SERVICE
    assert set(SERVICE["secrets"]) == set(COMPOSE["secrets"])
    assert all(port.startswith("127.0.0.1:") for port in SERVICE["ports"])
    for name, where in COMPOSE["secrets"].items():
        assert where["file"] == f"./secrets/{name}"
        vendor, _, field = name.partition(".")
        assert field in secret_fields(plugin(vendor).settings)
