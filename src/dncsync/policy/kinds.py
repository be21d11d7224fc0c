"""Every kind of finding, and what follows from it where a policy file says nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

Action: TypeAlias = Literal["page", "freeze", "warn", "as_seen", "accept"]
"""`page`: people are called. `freeze`: people are called, and that system's clears and absences are not
believed until a person releases it. `warn`: it waits for a person, who is not called. `as_seen`: as grave as
the detector found it. `accept`: it is recorded and closed as accepted."""

ACTIONS: Final[Mapping[str, Action]] = MappingProxyType(
    {
        # A request waits, or the law's clock runs out.
        "legal-deadline": "page",
        "late": "page",
        "review": "warn",
        "unreadable-sender": "warn",
        "rejected": "warn",
        "cannot-clear": "as_seen",
        "quarantined": "as_seen",
        "shared-line": "as_seen",
        # A system cannot be reached or read.
        "system-down": "page",
        "system-unauthorised": "page",
        "snapshot-failed": "warn",
        "unauthorised": "page",
        "cannot-see": "page",
        "probe-failed": "as_seen",
        "credentials-expiring": "as_seen",
        "scope-lost": "page",
        "permission-excess": "as_seen",
        "budget-low": "as_seen",
        "budget-exhausted": "as_seen",
        # A vendor's answer no longer means what it meant.
        "field-absent": "page",
        "field-missing": "page",
        "field-renamed": "page",
        "field-hidden": "page",
        "field-read-only": "page",
        "field-changed": "page",
        "unknown-key": "as_seen",
        "key-missing": "as_seen",
        "type-changed": "as_seen",
        "enum-new": "as_seen",
        "html-answer": "as_seen",
        "ending-announced": "as_seen",
        "version-unlisted": "as_seen",
        # What was written is not there, or changed without us.
        "not-kept": "warn",
        "not-kept-often": "page",
        "cleared-there": "warn",
        "inverted-flag": "freeze",
        # A source behaves unlike itself.
        "volume-high": "as_seen",
        "volume-low": "as_seen",
        "webhooks-silent": "as_seen",
        "list-shrunk": "page",
        "page-repeated": "page",
        "cursor-stuck": "page",
        # Found by opening records as a person would.
        "duplicate-notation": "as_seen",
        "block-without-request": "as_seen",
        "lost-on-conversion": "as_seen",
        # The tool's own safeguards.
        "canary-late": "as_seen",
        "canary-lost": "page",
        "canary-no-webhook": "as_seen",
        "canary-cannot-run": "as_seen",
        "fuse-tripped": "page",
    }
)
"""A field that is absent is no clear and lowers no base by itself, and when it comes back blank every block
is put back (law 3); so it pages and does not freeze. An inverted flag freezes: there, putting a block back
would take one away."""

NEVER_ACCEPTED: Final = frozenset({"review", "legal-deadline", "late", "fuse-tripped"})
"""Someone's request waits behind each of these (laws 5 and 9; regulation section 11): a person sees it."""
