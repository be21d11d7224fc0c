"""What describe shows of each kind, kept for a while: it is per user, and shrinks when permissions do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from dncsync.clock import Clock
from dncsync.connector import VendorError
from dncsync_salesforce.client import OrgClient
from dncsync_salesforce.fields import Columns, Kind

T = TypeVar("T")
KEEP = 3_600.0
"""Seconds that a complete describe is believed."""
KEEP_FAULTY = 60.0
"""The same where a field of ours is missing, so that a mended permission is seen soon."""


class Schema:
    """The kinds that this org has today and the columns that can be asked of them."""

    def __init__(self, client: OrgClient, kinds: tuple[Kind, ...], clock: Clock) -> None:
        self._client = client
        self._kinds = kinds
        self._clock = clock
        self._described: dict[str, tuple[float, Mapping[str, Any]]] = {}

    def fields(self, sobject: str) -> Mapping[str, Mapping[str, Any]]:
        """Describe's field entries by name. Raises `VendorError`."""
        entries = self.describe(sobject)["fields"]
        return {entry["name"]: entry for entry in entries if isinstance(entry, dict) and "name" in entry}

    def describe(self, sobject: str) -> Mapping[str, Any]:
        """The whole describe, from memory while it is fresh."""
        until, described = self._described.get(sobject, (0.0, {}))
        now = self._clock.monotonic()
        if described and now < until:
            return described
        described = self._client.describe(sobject)
        names = {e.get("name") for e in described["fields"] if isinstance(e, dict)}
        kinds = [kind for kind in self._kinds if kind.sobject == sobject]
        wanted = {flag.field for kind in kinds for flag in kind.flags.values()}
        wanted |= {kind.reason for kind in kinds if kind.reason}
        self._described[sobject] = (now + (KEEP if wanted <= names else KEEP_FAULTY), described)
        return described

    def forget(self) -> None:
        """The next question describes anew."""
        self._described.clear()

    def has_person_accounts(self) -> bool:
        """Whether the org has person accounts: only then does Account have `IsPersonAccount` (sheet 3.1)."""
        asked = "Contact" if any(k.sobject == "Contact" for k in self._kinds) else "Account"
        return "IsPersonAccount" in self.fields(asked)

    def kinds(self) -> tuple[Kind, ...]:
        """The configured kinds that this org has."""
        if any(k.name == "PersonAccount" for k in self._kinds) and not self.has_person_accounts():
            return tuple(k for k in self._kinds if k.name != "PersonAccount")
        return self._kinds

    def columns(self, kind: Kind) -> Columns:
        """What can be asked of that kind today."""
        return Columns.of(kind, self.fields(kind.sobject))

    def asking(self, kind: Kind, ask: Callable[[Columns], T]) -> tuple[Columns, T]:
        """`ask` with the columns of that kind; once more with fresh ones where a column is gone since we
        described. Raises `VendorError`."""
        columns = self.columns(kind)
        try:
            return columns, ask(columns)
        except VendorError as error:
            if error.failure.code != "INVALID_FIELD":
                raise
        self.forget()
        columns = self.columns(kind)
        return columns, ask(columns)
