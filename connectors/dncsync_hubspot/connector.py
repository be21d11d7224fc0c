"""One HubSpot portal behind the connector contract."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import phonenumbers

from dncsync.connector import (
    Capabilities,
    Change,
    Context,
    FieldCheck,
    Looked,
    Page,
    Probe,
    Unit,
    Webhook,
    WebhookRequest,
    Written,
)
from dncsync.model import Role
from dncsync_hubspot.checks import describe, probe
from dncsync_hubspot.client import BATCH, SEARCH_PAGE, Wire, limits_of
from dncsync_hubspot.feed import ChangeFeed, Listing
from dncsync_hubspot.fields import Fields
from dncsync_hubspot.records import Records, pieces
from dncsync_hubspot.settings import HubSpotSettings
from dncsync_hubspot.webhooks import parse_webhook
from dncsync_hubspot.writing import Writer

# HubSpot's own notations of a number for search: national digits, of any country (sheet 2.2).
SEARCHABLE = {
    "phone": "hs_searchable_calculated_phone_number",
    "mobilephone": "hs_searchable_calculated_mobile_number",
}
MOST_FOUND = 1000
"""Contacts that `find` looks at for one number."""


class HubSpotConnector:
    """Contacts of one portal; a do-not-contact flag is a property of a contact, not of a number."""

    def __init__(self, settings: HubSpotSettings, context: Context) -> None:
        self._settings = settings
        self._clock = context.clock
        self._fields = Fields(settings)
        self._wire = Wire(settings, context)
        self._records = Records(self._wire, self._fields, settings)
        self._feed = ChangeFeed(self._wire, self._records, settings)
        self._writer = Writer(self._wire, self._fields, self._records, settings, context.clock)
        self.capabilities = Capabilities(
            unit=Unit.RECORD,
            role=Role.CRM,
            channels=frozenset(settings.flags),
            has_webhooks=settings.client_secret is not None,
            write_batch=BATCH,
            read_batch=BATCH,
            poll_every=settings.poll_seconds,
            limits=limits_of(settings),
        )

    def keys_for(self, number: str) -> tuple[str, ...]:
        """None: contacts are found through the numbers that they hold."""
        return ()

    def changes(self, cursor: str | None) -> Iterator[Page]:
        """Contacts modified since the cursor, read by id, with those that were merged into them."""
        return self._feed.pages(cursor)

    def snapshot(self, cursor: str | None) -> Iterator[Page]:
        """Every contact that is not archived. Archived ones can be restored for 90 days and come back then
        through `changes`, or a webhook, or the next snapshot."""
        return Listing(self._wire, self._fields, self._records).pages(cursor)

    def read(self, keys: Sequence[str]) -> Iterator[Looked]:
        """What HubSpot holds now under these ids; merged and archived ones are told apart."""
        found = self._records.look(keys)
        for key in keys:
            one = found[key]
            yield Looked(key, one.holding, one.failure)

    def find(self, number: str) -> Iterator[Looked]:
        """Contacts whose indexed phone number has these national digits, read by id. National digits collide
        across countries, and the index lags: a second opinion only. Raises `ValueError` if not E.164."""
        try:
            national = phonenumbers.national_significant_number(phonenumbers.parse(number))
        except phonenumbers.NumberParseException:
            raise ValueError("find needs a number in E.164") from None
        groups = []
        for name in self._settings.phone_properties[:5]:
            wanted = (
                {"propertyName": SEARCHABLE[name], "operator": "EQ", "value": national}
                if name in SEARCHABLE
                else {"propertyName": name, "operator": "IN", "values": [number, national]}
            )
            groups.append(wanted)
        last_id, seen = 0, 0
        while seen < MOST_FOUND:
            after = {"propertyName": "hs_object_id", "operator": "GT", "value": str(last_id)}
            answer = self._wire.search(
                {
                    "filterGroups": [{"filters": [wanted, after]} for wanted in groups],
                    "sorts": [{"propertyName": "hs_object_id", "direction": "ASCENDING"}],
                    "properties": ["hs_object_id"],
                    "limit": SEARCH_PAGE,
                }
            )
            ids = [str(record["id"]) for record in answer["results"] if int(record["id"]) > last_id]
            for batch in pieces(ids, BATCH):
                for key, one in self._records.look(batch).items():
                    yield Looked(key, one.holding, one.failure)
            seen += len(ids)
            if len(ids) < SEARCH_PAGE:
                return
            last_id = int(ids[-1])

    def write(self, changes: Sequence[Change]) -> Iterator[Written]:
        """Writes the flags' properties by contact id; never creates a contact."""
        return self._writer.write(changes)

    def parse_webhook(self, request: WebhookRequest) -> Webhook:
        """Signature v3, or v1 where HubSpot sends no v3. See `webhooks.parse_webhook`."""
        return parse_webhook(request, self._settings, self._fields.watched)

    def describe(self) -> tuple[FieldCheck, ...]:
        """Each configured property against the portal's definitions."""
        return describe(self._wire, self._settings)

    def probe(self) -> Probe:
        """Token, scopes, API path family, clock, limits. Changes nothing."""
        return probe(self._wire, self._settings, self._clock.now())

    def close(self) -> None:
        """Lets go of connections."""
        self._wire.close()
