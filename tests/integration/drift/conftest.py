"""Worlds as in `integration.sync`, put away and checked after their test."""

from integration.sync.conftest import make_world, world

__all__ = ["make_world", "world"]
