"""A ledger per test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dncsync.sync.topology import SystemFacts
from unit.plan.making import Ledger


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Ledger]]:
    made: list[Ledger] = []

    def build(*facts: SystemFacts) -> Ledger:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Ledger(folder, *facts))
        return made[-1]

    yield build
    for ledger in made:
        ledger.close()
