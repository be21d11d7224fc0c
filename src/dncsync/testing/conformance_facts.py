"""What a check of the conformance kit may answer, and what the kit must be told about a connector."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dncsync.testing.faults import FaultKind
from dncsync.testing.sandbox import Sandbox

Signer = Callable[[Sandbox, str, str, bytes], Mapping[str, str]]
"""`sign(sandbox, method, url, body) -> headers` that an authentic webhook with this body would have."""


class Broken(AssertionError):
    """The connector (or its sandbox) breaks a rule of the contract; the message says which and how."""


class NotApplicable(Exception):
    """The rule says nothing about this connector; the message says why."""


@dataclass(frozen=True)
class Facts:
    """What the kit must be told about a connector beyond its declared capabilities."""

    contacts: int = 250
    """Seeded contacts; enough for several pages of a listing."""
    seed: int = 7
    options: Mapping[str, Any] = field(default_factory=lambda: {"opted_out_share": 0.3})
    """Options of the sandbox."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Laid over the configuration table that the sandbox gives."""
    polls: int = 30
    """Polls within which a change must have been seen, `poll_every` apart."""
    quiet_calls: int = 6
    """Calls that one poll of a quiet world may make."""
    unknown_key: str = ""
    """A well-formed key that no record has; default: derived from a real one."""
    fault_params: Mapping[FaultKind, Mapping[str, Any]] = field(default_factory=dict)
    """Parameters that the sandbox's faults of meaning need, e.g. which field to hide."""
    covered_by_signature: frozenset[str] = frozenset({"body", "url", "headers"})
    """Parts of a webhook that cannot be changed unseen. Without `url`: only secrets in the URL are."""
    signs_time: bool | None = None
    """Whether a webhook grows stale. None: when a header's name speaks of a timestamp."""
    sign: Signer | None = None
    """Signs bodies of the kit's own making; without it hostile bodies come unsigned only."""
    excused: Mapping[str, str] = field(default_factory=dict)
    """Check name -> why this connector cannot keep it (the vendor gives it no way)."""
