"""A ledger that real operations made, fresh for each test."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from integration.cli.making import make_ledger


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("DNCSYNC_") or n == "COLUMNS"]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "ledger.sqlite"
    make_ledger(path)
    return path


@pytest.fixture
def ledger(_made: Path, tmp_path: Path) -> Path:
    """A copy of its own; the writer of the original is closed, so that one file is all."""
    path = tmp_path / "ledger.sqlite"
    shutil.copy(_made, path)
    return path
