"""What a converted lead became: its contact, or the person account with that hidden contact (sheet 12)."""

from __future__ import annotations

from collections.abc import Sequence

from dncsync_salesforce.client import OrgClient, chunks
from dncsync_salesforce.fields import Reader, Row
from dncsync_salesforce.schema import Schema
from dncsync_salesforce.soql import among, select


def look_up_persons(client: OrgClient, schema: Schema, reader: Reader, rows: Sequence[Row]) -> None:
    """Tells the reader which of these leads' contacts are hidden ones, and of which person account.

    Asks the vendor only where there are converted leads and person accounts. Raises `VendorError`.
    """
    contacts = sorted({str(row["ConvertedContactId"]) for row in rows if row.get("ConvertedContactId")})
    if not contacts or not schema.has_person_accounts():
        return
    reader.persons = {}
    for part in chunks(contacts, 200):
        soql = select("Id, AccountId", "Contact", ("IsPersonAccount = true", among("Id", part)))
        reader.persons.update((row["Id"], row["AccountId"]) for row in client.all_rows(soql))
