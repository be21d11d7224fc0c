"""What people and automation do in the sandbox's org."""
# ruff: noqa: S608 (names come from the sandbox's own schema)

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dncsync_salesforce.sandbox_schema import PHONES, SandboxSchema, shown_as
from dncsync_salesforce.sandbox_store import Row, Store, guard, stamp_of

REP = "0055g00000SaRep" + guard("0055g00000SaRep")


class People:
    """Users of the org. Keys are those of the connector."""

    def __init__(self, store: Store, schema: SandboxSchema) -> None:
        self._store = store
        self._schema = schema

    def add(self, numbers: Sequence[str], *, object: str = "Contact", by: str = REP, **fields: Any) -> str:
        """A new record; `fields` are further columns by API name, `slots` names the phone fields to use."""
        slots = fields.pop("slots", PHONES[object])
        values = dict(zip(slots, numbers, strict=False)) | fields
        values = {name: int(v) if isinstance(v, bool) else v for name, v in values.items()}
        if object == "Account" and self._schema.persons and values.get("IsPersonAccount", 1):
            hidden = self._store.create("Contact", {"IsPersonAccount": 1, "LastName": "Person"}, by)
            values |= {"IsPersonAccount": 1, "PersonContactId": hidden}
            account = self._store.create("Account", values, by)
            self._store.update("Contact", hidden, {"AccountId": account}, by)
            return f"Account/{account}"
        return f"{object}/{self._store.create(object, values, by)}"

    def opt_out(self, number: str, *, by: str = REP, channel: str = "voice") -> str:
        """See `SalesforceSandbox.opt_out`."""
        carriers = self._store.carriers(number)
        if not carriers:
            self.add([number], by=by)
            carriers = self._store.carriers(number)
        sobject, row = carriers[0]
        self._store.update(sobject, row["Id"], {self._flag(sobject, channel): 1}, by)
        return f"{sobject}/{row['Id']}"

    def undo(self, number: str, *, by: str = REP, channel: str = "voice", reason: str = "") -> str:
        """See `SalesforceSandbox.undo`. Raises `LookupError` where nothing is ticked."""
        if reason and not self._schema.reason_field:
            raise LookupError("this org has no field for reasons (option reason_field)")
        for sobject, row in self._store.carriers(number):
            name = self._flag(sobject, channel)
            if row[name]:
                said = {shown_as(sobject, self._schema.reason_field): reason} if reason else {}
                self._store.update(sobject, row["Id"], {name: 0, **said}, by)
                return f"{sobject}/{row['Id']}"
        raise LookupError("no record with this number is ticked")

    def edit(self, key: str, *, by: str = REP, **fields: Any) -> None:
        """Changes columns of a record."""
        sobject, record_id, _ = self._place(key)
        values = {name: int(v) if isinstance(v, bool) else v for name, v in fields.items()}
        self._store.update(sobject, record_id, values, by)

    def convert_lead(
        self, key: str, contact: str | None = None, *, by: str = REP, person: bool = False
    ) -> str:
        """Into an existing contact (whose boxes stay as they are: the lead's are lost, sheet 12), a new one
        (which gets them), or with `person` a new person account. The key of what it became."""
        _, lead_id, lead = self._place(key)
        ticks = {
            mine: lead[name]
            for mine, name in zip(self._schema.flags("Contact"), self._schema.flags("Lead"), strict=True)
        }
        account: str | None = None
        if person:
            boxes = zip(self._schema.flags("Account"), ticks.values(), strict=True)
            became = self.add([lead["MobilePhone"] or lead["Phone"]], object="Account", by=by, **dict(boxes))
            account = became.partition("/")[2]
            contact_id = self._place(became)[2]["PersonContactId"]
        elif contact is None:
            phones = {name: lead[name] for name in ("MobilePhone", "Phone") if lead[name]}
            contact_id = self._store.create("Contact", {"LastName": "Converted", **phones, **ticks}, by)
            became = f"Contact/{contact_id}"
        else:
            became, contact_id = contact, contact.partition("/")[2]
        self._store.update(
            "Lead",
            lead_id,
            {"IsConverted": 1, "ConvertedContactId": contact_id, "ConvertedAccountId": account},
            by,
        )
        return became

    def merge(self, winner: str, loser: str, *, by: str = REP) -> None:
        """The loser goes to the recycle bin and names the winner; the winner's boxes stay as they are."""
        sobject, loser_id, _ = self._place(loser)
        winner_id = self._place(winner)[1]
        self._store.update(sobject, loser_id, {"IsDeleted": 1, "MasterRecordId": winner_id}, by)
        self._store.update(sobject, winner_id, {}, by)

    def delete(self, key: str, *, by: str = REP, touch: bool = True) -> None:
        """Into the recycle bin. `touch`: whether that moves SystemModstamp, which the sheet does not say."""
        sobject, record_id, _ = self._place(key)
        self._store.update(sobject, record_id, {"IsDeleted": 1}, by, touch=touch)

    def mass_update(self, sobject: str, count: int, *, by: str = REP, **fields: Any) -> str:
        """One transaction touches the first `count` records: they share one SystemModstamp. That stamp."""
        now = self._store.now()
        values = {name: int(v) if isinstance(v, bool) else v for name, v in fields.items()}
        values |= {"LastModifiedDate": stamp_of(now), "LastModifiedById": by, "SystemModstamp": stamp_of(now)}
        values["_visible"] = now.timestamp() + self._store.visibility_delay()
        places = ", ".join(f'"{name}" = ?' for name in values)
        self._store.db.execute(
            f'UPDATE "{sobject}" SET {places} WHERE Id IN (SELECT Id FROM "{sobject}" ORDER BY Id LIMIT ?)',
            (*values.values(), count),
        )
        return stamp_of(now)

    def _flag(self, sobject: str, channel: str) -> str:
        names = self._schema.flags(sobject)
        if channel == "sms" and len(names) < 2:
            raise LookupError("this org has no SMS opt-out field (option sms_field)")
        return names[0] if channel == "voice" else names[1]

    def _place(self, key: str) -> tuple[str, str, Row]:
        sobject, _, record_id = key.partition("/")
        row = self._store.get(sobject, record_id)
        if row is None:
            raise KeyError(key)
        return sobject, record_id, row
