"""Worlds that are closed after their test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from integration.twilio.world import Build, World


@pytest.fixture
def world() -> Iterator[Build]:
    """Builds worlds, and closes them."""
    built: list[World] = []

    def build(config: dict[str, Any] | None = None, **options: Any) -> World:
        built.append(World(config, **options))
        return built[-1]

    yield build
    for one in built:
        one.connector.close()
