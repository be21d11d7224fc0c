"""A small site, and the command on it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dncsync.cli.main import main
from integration.resync.sites import Run, Site, site


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Site]:
    """300 contacts in HubSpot, and three with numbers of our own: set, clear, clear."""
    with site(tmp_path / "site", contacts=300, entries=5) as made:
        made.boxes["hubspot"].add_contact(["+13125550101"], do_not_call="true")
        made.boxes["hubspot"].add_contact(["+13125550102"])
        made.boxes["hubspot"].add_contact(["+13125550103"])
        yield made


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command in this process: `run(site, arguments...)` gives exit code, JSON, and what it said."""
    monkeypatch.setattr("dncsync.logs.configure", lambda *a: None)
    monkeypatch.setenv("DNCSYNC_DEBUG", "1")

    def call(at: Site, *arguments: str, command: str = "resync") -> tuple[int, Any, str]:
        for name, value in at.environ.items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*command.split(), *arguments, "--json", "--config", str(at.config)])
        said = capsys.readouterr()
        print(command, *arguments, ended.value.code, said.err)
        return int(str(ended.value.code)), json.loads(said.out) if said.out else None, said.err

    return call
