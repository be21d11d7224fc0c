"""What every part of the facts is."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Fact(BaseModel):
    """A part of the facts: frozen, and strict about unknown keys when read back."""

    model_config = ConfigDict(extra="forbid", frozen=True)
