"""One Salesforce org behind the connector contract."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from dncsync.connector import (
    Capabilities,
    Change,
    Context,
    Failure,
    FailureKind,
    FieldCheck,
    Looked,
    Page,
    Probe,
    Unit,
    VendorError,
    Webhook,
    WebhookRefused,
    WebhookRequest,
    Written,
)
from dncsync.model import Holding, Role
from dncsync_salesforce import doctor, searching
from dncsync_salesforce.client import OrgClient, chunks
from dncsync_salesforce.contract import Contract
from dncsync_salesforce.endings import look_up_persons
from dncsync_salesforce.feed import Feed
from dncsync_salesforce.fields import Columns, Kind, MalformedRow, Reader, kinds_of, parse_key
from dncsync_salesforce.history import History
from dncsync_salesforce.schema import Schema
from dncsync_salesforce.settings import SalesforceSettings
from dncsync_salesforce.snapshot import Snapshot
from dncsync_salesforce.soql import among, select
from dncsync_salesforce.writes import BATCH, Writes

READ = 200
"""Ids in one query: 27 bytes of URL each, below the limit of 16,384 (sheet 0.9)."""


class SalesforceConnector:
    """Contacts, leads and person accounts of one org. Logs in when first asked something."""

    def __init__(self, settings: SalesforceSettings, context: Context) -> None:
        self._settings = settings
        self._kinds = kinds_of(settings)
        self._client = OrgClient(settings, context)
        self._schema = Schema(self._client, self._kinds, context.clock)
        self._history = History(self._client)
        self._feed = Feed(self._client, self._schema, self._history)
        self._snapshot = Snapshot(self._client, self._schema, settings.bulk_threshold)
        self._writes = Writes(self._client, self._kinds)
        self.capabilities = Capabilities(
            unit=Unit.RECORD,
            role=Role.CRM,
            channels=settings.channels(),
            has_webhooks=False,
            write_batch=BATCH,
            read_batch=READ,
            poll_every=settings.poll_every,
            limits=self._client.limits,
        )

    def keys_for(self, number: str) -> tuple[str, ...]:
        """Records are found through the local index, never invented."""
        return ()

    def changes(self, cursor: str | None) -> Iterator[Page]:
        """See `feed`. Raises `VendorError`."""
        return self._feed.pages(cursor)

    def snapshot(self, cursor: str | None) -> Iterator[Page]:
        """See `snapshot`. Raises `VendorError`."""
        return self._snapshot.pages(cursor)

    def read(self, keys: Sequence[str]) -> Iterator[Looked]:
        """By primary key from the database, recycled and merged records included."""
        wanted: dict[str, list[tuple[str, str]]] = {}
        for key in dict.fromkeys(keys):
            try:
                sobject, record_id = parse_key(key)
                kind = next((k for k in self._kinds if k.sobject == sobject), None)
                if kind is None:
                    raise ValueError(f"{sobject} records are not configured for this system")
                wanted.setdefault(kind.name, []).append((key, record_id))
            except ValueError as error:
                yield Looked(key, failure=Failure(FailureKind.REJECTED, str(error), "bad-key"))
        for kind in self._kinds:
            for part in chunks(wanted.get(kind.name, []), READ):
                try:
                    found = self._by_id(kind, [record_id for _, record_id in part])
                except VendorError as error:
                    yield from (Looked(key, failure=error.failure) for key, _ in part)
                    continue
                for key, record_id in part:
                    yield Looked(key, found.get(record_id) or Holding(key, {}, gone=True))

    def find(self, number: str) -> Iterator[Looked]:
        """Records that SOSL finds under some spellings of the number, read by key. Its index may lag by a
        quarter of an hour, and misses unusual spellings. Raises `VendorError`."""
        sosl = searching.sosl(number, self._schema.kinds(), persons=self._schema.has_person_accounts())
        keys = searching.keys(self._client.search(sosl), self._schema.kinds())
        for part in chunks(keys, READ):
            for looked in self.read(part):
                if looked.holding is None or searching.holds(looked.holding, number):
                    yield looked

    def write(self, changes: Sequence[Change]) -> Iterator[Written]:
        """Idempotent: an update to the present value changes nothing but the record's stamp."""
        return self._writes.write(changes)

    def parse_webhook(self, request: WebhookRequest) -> Webhook:
        """Salesforce is polled; nothing is taken under this name."""
        raise WebhookRefused(404, "the Salesforce connector takes no webhooks: the org is polled")

    def describe(self) -> tuple[FieldCheck, ...]:
        """See `contract`. Raises `VendorError`."""
        return Contract(self._client, self._schema).checks()

    def probe(self) -> Probe:
        """See `doctor`. Raises `VendorError`."""
        with self._client.whatever_is_left():
            return doctor.probe(self._client, self._schema, self._kinds, self._settings)

    def close(self) -> None:
        """Lets go of connections."""
        self._client.close()

    def _by_id(self, kind: Kind, ids: Sequence[str]) -> Mapping[str, Holding]:
        def ask(columns: Columns) -> list[dict[str, object]]:
            soql = select(columns.watching, kind.sobject, (among("Id", ids), columns.condition))
            return self._client.all_rows(soql, deleted=True)

        columns, rows = self._schema.asking(kind, ask)
        reader = Reader(columns, self._client.user_id)
        look_up_persons(self._client, self._schema, reader, rows)
        asked = self._history.wanted(reader, rows)
        told = self._history.of(columns, asked) if asked else None
        try:
            return {str(row["Id"]): reader.holding(row, told) for row in rows}
        except (MalformedRow, KeyError) as error:
            raise VendorError(Failure(FailureKind.TRANSIENT, str(error), "malformed")) from None
