"""Worlds that are put away after their test, with their ledgers checked (law 8)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from integration.sync.world import World


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Builds worlds of a test's own making; in the end each has a ledger that verifies and rebuilds."""
    made: list[World] = []

    def make(**options: object) -> World:
        folder = tmp_path / f"world{len(made)}"
        folder.mkdir()
        made.append(World(folder, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for world in made:
        world.close()
        world.assert_ledger_is_whole()


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """A CRM, a dialer and an SMS vendor, empty."""
    return make_world()
