from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from integration.vicidial.world import World


@pytest.fixture
def make_world() -> Iterator[Callable[..., World]]:
    """Worlds whose connectors are closed at the end."""
    worlds: list[World] = []

    def make(**options: Any) -> World:
        worlds.append(World(**options))
        return worlds[-1]

    yield make
    for world in worlds:
        world.connector.close()


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()
