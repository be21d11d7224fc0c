"""The field contract: which columns are asked for, and how a Salesforce row reads as a `Holding`."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from dncsync.model import Channel, Flag, Holding, Provenance
from dncsync_salesforce.settings import FlagField, ObjectName, SalesforceSettings

Row = Mapping[str, Any]
"""One record as JSON gives it, or one line of Bulk CSV by column name (all values text)."""

SOBJECTS: Mapping[ObjectName, tuple[str, str]] = {
    "Contact": ("Contact", "003"),
    "Lead": ("Lead", "00Q"),
    "PersonAccount": ("Account", "001"),
}
HISTORY: Mapping[str, tuple[str, str]] = {
    "Contact": ("ContactHistory", "ContactId"),
    "Lead": ("LeadHistory", "LeadId"),
}
"""Field history objects (sheet 6.7). How a person account's history names its fields is not known."""

TEXTS = ("string", "textarea", "picklist", "multipicklist", "combobox")
"""Field types in which people can say why (sheet 13)."""

_SUFFIX = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


class MalformedRow(ValueError):
    """a record came back without a usable id, or cut short"""


def full_id(given: str) -> str:
    """The 18-character form of a record id; the last three characters guard the case of the first fifteen.

    Raises `ValueError` for anything that is not an id, a wrong guard included.
    """
    body = given[:15]
    if len(given) not in (15, 18) or not (given.isascii() and given.isalnum()):
        raise ValueError(f"not a Salesforce record id: {given!r}")
    guard = "".join(
        _SUFFIX[sum(1 << bit for bit, char in enumerate(body[at : at + 5]) if char.isupper())]
        for at in (0, 5, 10)
    )
    if len(given) == 18 and given[15:].upper() != guard:
        raise ValueError(f"not a Salesforce record id (its guard should be {guard}): {given!r}")
    return body + guard


def instant(given: Any) -> datetime | None:
    """A datetime as the API writes it (`2026-01-02T03:04:05.000+0000`) in UTC; None if it is none."""
    try:
        return datetime.fromisoformat(str(given)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def literal(moment: datetime) -> str:
    """A SOQL datetime literal, whole seconds (sheet 6.2)."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of record that carries phone numbers and a Do Not Call checkbox."""

    name: ObjectName
    sobject: str
    """As the API calls it; also the first part of our keys."""
    id_prefix: str
    flags: Mapping[Channel, FlagField]
    phones: tuple[str, ...] | None
    """None: every phone field that we may see."""
    reason: str = ""
    """The field in which people say why they took a flag away; "": none is configured."""

    def key(self, record_id: str) -> str:
        """Our key of a record."""
        return f"{self.sobject}/{record_id}"


def kinds_of(settings: SalesforceSettings) -> tuple[Kind, ...]:
    """The configured kinds in a fixed order, person accounts included."""
    return tuple(
        Kind(
            name,
            *SOBJECTS[name],
            settings.flag_fields(name),
            settings.phones.get(name),
            settings.reason_field(name),
        )
        for name in SOBJECTS
        if name in settings.objects
    )


def parse_key(key: str) -> tuple[str, str]:
    """`Contact/003…` -> (`Contact`, 18-character id). Raises `ValueError` on anything else."""
    sobject, _, record_id = key.partition("/")
    prefixes = dict(SOBJECTS.values())
    record_id = full_id(record_id)
    if prefixes.get(sobject) != record_id[:3]:
        raise ValueError(f"not one of our keys: {key!r}")
    return sobject, record_id


@dataclass(frozen=True, slots=True)
class Columns:
    """What can be asked about one kind today: the contract cut down to what describe shows."""

    kind: Kind
    phones: tuple[str, ...]
    flags: Mapping[Channel, FlagField]
    """Only those that can be seen and are checkboxes; the rest read as ABSENT."""
    condition: str
    """SOQL that keeps rows of other kinds out; may be empty."""
    ending: tuple[str, ...]
    """Columns that tell of a lead's conversion."""
    feed: tuple[str, ...]
    """Columns that only the change feed and reads by key need."""
    reason: str = ""
    """The column in which people say why, which only the change feed and reads by key need; "": none is
    configured, or none that can be seen and holds text."""

    @classmethod
    def of(cls, kind: Kind, fields: Mapping[str, Row]) -> Columns:
        """`fields`: describe's field entries by name."""
        if kind.phones is None:
            phones = tuple(n for n, entry in fields.items() if entry.get("type") == "phone" and n != "Fax")
        else:
            phones = tuple(name for name in kind.phones if name in fields)
        condition = ""
        if "IsPersonAccount" in fields:  # only in orgs that have person accounts (sheet 3.1)
            condition = f"IsPersonAccount = {'true' if kind.name == 'PersonAccount' else 'false'}"
        ending = ("IsConverted", "ConvertedContactId", "ConvertedAccountId") if kind.name == "Lead" else ()
        if kind.name == "Lead":
            condition = ""
        return cls(
            kind,
            phones,
            {
                c: flag
                for c, flag in kind.flags.items()
                if fields.get(flag.field, {}).get("type") == "boolean"
            },
            condition,
            tuple(name for name in ending if name in fields),
            ("SystemModstamp", "IsDeleted", *(("MasterRecordId",) if "MasterRecordId" in fields else ())),
            kind.reason if fields.get(kind.reason, {}).get("type") in TEXTS else "",
        )

    @property
    def listing(self) -> str:
        """Columns of a full read, for SELECT."""
        flags = tuple(flag.field for flag in self.flags.values())
        return ", ".join(("Id", *flags, *self.phones, "LastModifiedById", "LastModifiedDate", *self.ending))

    @property
    def watching(self) -> str:
        """Columns of a read that also tells what became of a record, for SELECT in queryAll."""
        return ", ".join((self.listing, *self.feed, *((self.reason,) if self.reason else ())))


@dataclass(slots=True)
class Reader:
    """Turns rows of one kind into holdings. Built for speed: a full read passes every record through it."""

    columns: Columns
    our_user: str = ""
    as_text: bool = False
    """Rows come as CSV: booleans are words."""
    persons: Mapping[str, str] = field(default_factory=dict)
    """Hidden contact id -> person account id, of leads in these rows."""
    _seen_flags: dict[tuple[Any, ...], dict[Channel, Flag]] = field(default_factory=dict)

    def holding(
        self,
        row: Row,
        history: Mapping[str, Mapping[Channel, Provenance]] | None = None,
        *,
        listed: bool = False,
    ) -> Holding:
        """`history`: provenance per record id, where field history told it. `listed`: one of a full read, in
        which nobody asks who left a box empty. Raises `MalformedRow`."""
        kind = self.columns.kind
        record_id = row.get("Id")
        if type(record_id) is not str or len(record_id) != 18:
            raise MalformedRow(MalformedRow.__doc__)
        flags = self._flags(row)
        numbers = tuple([str(v) for v in map(row.get, self.columns.phones) if v])
        ended, became = self._end_of(row)
        if ended:
            # What is ticked on a record that ended is still somebody's request; what is not says nothing.
            flags = {channel: flag for channel, flag in flags.items() if flag is Flag.SET}
            numbers = numbers if flags else ()
        told = history.get(record_id, {}) if history else {}
        # Also for a flag that is clear: whoever took it away touched the record.
        provenance = {
            channel: told.get(channel) or self._last_touch(row)
            for channel, flag in flags.items()
            if flag is Flag.SET or (flag is Flag.CLEAR and not listed)
        }
        why = self.columns.reason
        reason = _text(row[why]) if why in row and not listed else None
        return Holding(f"{kind.sobject}/{record_id}", flags, numbers, "", provenance, ended, became, reason)

    def listed(self, rows: Iterable[Row]) -> tuple[Holding, ...]:
        """Holdings of a full read. The many rows whose one flag is clear take a short way.

        Raises `MalformedRow`.
        """
        kind, phones, ending = self.columns.kind, self.columns.phones, self.columns.ending[:1]
        (flag,) = kind.flags.values() if len(kind.flags) == 1 else (None,)
        if flag is None:
            return tuple([self.holding(row, listed=True) for row in rows])
        name, clear, prefix = flag.field, not flag.opted_out_when, f"{kind.sobject}/"
        nothing = self._flags({name: clear})
        holdings = []
        for row in rows:
            get = row.get
            if get(name) is clear and not (ending and get(ending[0]) is not False):
                try:
                    numbers = tuple(filter(None, map(get, phones)))
                    "".join(numbers)
                    holdings.append(Holding(prefix + row["Id"], nothing, numbers))
                    continue
                except (TypeError, KeyError):  # something else where text should be
                    pass
            holdings.append(self.holding(row, listed=True))
        return tuple(holdings)

    def lines(self, header: Sequence[str], lines: Sequence[Sequence[str]]) -> tuple[Holding, ...]:
        """The same for CSV lines. Raises `MalformedRow`."""
        if not all(len(line) == len(header) for line in lines):
            raise MalformedRow(MalformedRow.__doc__)
        kind, phones, ending = self.columns.kind, self.columns.phones, self.columns.ending[:1]
        needed = ("Id", *(flag.field for flag in kind.flags.values()), *phones, *ending)
        if len(kind.flags) > 1 or not phones or not set(needed) <= set(header):
            return tuple([self.holding(dict(zip(header, line, strict=True)), listed=True) for line in lines])
        (flag,) = kind.flags.values()
        clear, prefix = "false" if flag.opted_out_when else "true", f"{kind.sobject}/"
        nothing = self._flags({flag.field: clear})
        at_id, at_flag = header.index("Id"), header.index(flag.field)
        at_end = header.index(ending[0]) if ending else None
        at_phones = [header.index(name) for name in phones]
        values = operator.itemgetter(*at_phones) if len(phones) > 1 else lambda line: (line[at_phones[0]],)
        holdings = []
        for line in lines:
            if line[at_flag] == clear and (at_end is None or line[at_end] == "false"):
                numbers = tuple(filter(None, values(line)))
                holdings.append(Holding(prefix + line[at_id], nothing, numbers))
            else:
                holdings.append(self.holding(dict(zip(header, line, strict=True)), listed=True))
        return tuple(holdings)

    def is_set(self, row: Row) -> bool:
        """Whether any channel's flag is set."""
        return Flag.SET in self._flags(row).values()

    def _flags(self, row: Row) -> dict[Channel, Flag]:
        wanted = self.columns.kind.flags
        values = tuple(
            [
                value if value is True or value is False or type(value) is str else None
                for flag in wanted.values()
                for value in (row.get(flag.field),)
            ]
        )
        read = self._seen_flags.get(values)
        if read is None:
            read = {
                channel: flag_of(value, flag, as_text=self.as_text)
                for (channel, flag), value in zip(wanted.items(), values, strict=True)
            }
            if len(self._seen_flags) < 64:  # checkboxes have few values; a field turned into text may not
                self._seen_flags[values] = read
        return read

    def _end_of(self, row: Row) -> tuple[bool, str | None]:
        """(deleted or converted, the key it became). A converted lead is locked for ever (sheet 12)."""
        if row.get("IsDeleted") in (True, "true"):
            winner = row.get("MasterRecordId")
            return True, self.columns.kind.key(winner) if winner else None
        if row.get("IsConverted") in (True, "true"):
            contact = row.get("ConvertedContactId")
            if not contact:
                return True, None
            person = self.persons.get(contact)
            return True, f"Account/{person}" if person else f"Contact/{contact}"
        return False, None

    def _last_touch(self, row: Row) -> Provenance:
        """Who touched the record last, whatever they did: the flag was set by then at the latest."""
        user = str(row.get("LastModifiedById") or "")
        return Provenance(
            actor=f"user:{user}" if user else "",
            source="last-modified",
            at=instant(row.get("LastModifiedDate")),
            ours=True if user and user == self.our_user else None,
        )


def _text(value: Any) -> str:
    """What people wrote; "" for anything but text."""
    return value.strip() if isinstance(value, str) else ""


def flag_of(value: Any, flag: FlagField, *, as_text: bool = False) -> Flag:
    """A checkbox's value. Only a boolean says anything: a field of another type, or none at all, is drift and
    never 'clear'. `as_text`: the words `true` and `false` count too (CSV, field history)."""
    if value is True or (as_text and value == "true"):
        checked = True
    elif value is False or (as_text and value == "false"):
        checked = False
    else:
        return Flag.ABSENT
    return Flag.SET if checked is flag.opted_out_when else Flag.CLEAR


def history_of(
    rows: Sequence[Row], parent: str, flags: Mapping[Channel, FlagField], our_user: str
) -> dict[str, dict[Channel, Provenance]]:
    """Who set each flag last, by record id, from field history rows in any order.

    A record whose newest entry for a field is not a setting is left out: the flag that we see is younger
    than the history we were given.
    """
    newest: dict[tuple[str, Channel], Row] = {}
    channels = {flag.field: channel for channel, flag in flags.items()}
    for row in rows:
        channel = channels.get(str(row.get("Field")))
        if channel is None:
            continue
        place = (str(row.get(parent)), channel)
        if place not in newest or str(row.get("CreatedDate")) > str(newest[place].get("CreatedDate")):
            newest[place] = row
    told: dict[str, dict[Channel, Provenance]] = {}
    for (record_id, channel), row in newest.items():
        if flag_of(row.get("NewValue"), flags[channel], as_text=True) is not Flag.SET:
            continue
        user = str(row.get("CreatedById") or "")
        told.setdefault(record_id, {})[channel] = Provenance(
            actor=f"user:{user}",
            source="field-history",
            at=instant(row.get("CreatedDate")),
            ours=user == our_user,
        )
    return told
