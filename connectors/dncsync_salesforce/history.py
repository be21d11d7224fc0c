"""Who set a flag: from field history where the org keeps it (sheet 6.7), asked only for flags that are set by
somebody else than us. Evidence is never worth failing a read: what cannot be had is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dncsync.connector import VendorError
from dncsync.model import Channel, Provenance
from dncsync_salesforce.client import OrgClient
from dncsync_salesforce.fields import HISTORY, Columns, Reader, Row, history_of
from dncsync_salesforce.soql import among, select

ASK_AGAIN = 3_600.0
"""Seconds until an org that refused history is asked again."""
MOST = 2_000
"""Entries read for one question; what lies beyond falls back to the record's last change."""

Told = Mapping[str, Mapping[Channel, Provenance]]
"""Provenance by record id and channel."""


class History:
    """Field history of Contact and Lead."""

    def __init__(self, client: OrgClient) -> None:
        self._client = client
        self._refused_until: dict[str, float] = {}

    def wanted(self, reader: Reader, rows: Iterable[Row]) -> list[str]:
        """Ids of the rows whose flag somebody else set, as far as the row itself tells."""
        if reader.columns.kind.sobject not in HISTORY:
            return []
        ours = self._client.user_id
        return [r["Id"] for r in rows if r.get("LastModifiedById") != ours and reader.is_set(r)]

    def since(self, columns: Columns, moment: str) -> Told:
        """Every setting from that moment (a SOQL literal) on: one question for a walk over many pages."""
        return self._ask(columns, f"CreatedDate >= {moment}")

    def of(self, columns: Columns, ids: Sequence[str]) -> Told:
        """The last setting of these records (at most 200)."""
        _, parent = HISTORY[columns.kind.sobject]
        return self._ask(columns, among(parent, ids))

    def _ask(self, columns: Columns, condition: str) -> Told:
        sobject = columns.kind.sobject
        if self._client.clock.monotonic() < self._refused_until.get(sobject, 0.0):
            return {}
        table, parent = HISTORY[sobject]
        of_flags = among("Field", (flag.field for flag in columns.kind.flags.values()))
        named = f"{parent}, Field, NewValue, CreatedById, CreatedDate"
        soql = select(named, table, (of_flags, condition), order="CreatedDate DESC", limit=MOST)
        try:
            rows = self._client.all_rows(soql)
        except VendorError:  # history is off, or our user may not see it
            self._refused_until[sobject] = self._client.clock.monotonic() + ASK_AGAIN
            return {}
        return history_of(rows, parent, columns.kind.flags, self._client.user_id)
