"""The sandbox portal's contacts. Seeded ones are computed when looked at; only what changed is kept."""

from __future__ import annotations

import heapq
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dncsync.clock import EPOCH, Clock
from dncsync.testing.sandbox import seeded_number
from dncsync_hubspot.sandbox_schema import SEARCHABLE_MOBILE, SEARCHABLE_PHONE

FIRST_ID = 57_000_000_000
"""Ids exceed 32 bits (sheet 2.1)."""
DAY = 86_400_000
_FIRST = ("Ann", "Bo", "Carla", "Dev", "Eve", "Finn", "Gia", "Hugo", "Iris", "Jon")
_LAST = ("Abel", "Brook", "Cole", "Dunn", "Eaton", "Frost", "Gray", "Hale", "Ivers", "Jones")
_JUNK = ("N/A", "none", "0000000000", "call office", "tbd")
_PEOPLE = (("CRM_UI", "userId:28604240"), ("IMPORT", "4711"), ("FORM", "b2f0-form"))


@dataclass(frozen=True, slots=True)
class Source:
    """Who changes something, as property history shows it (sheet 3.5)."""

    type: str
    id: str = ""
    user: int | None = None

    @classmethod
    def by(cls, who: str) -> Source:
        """A user in HubSpot's own screens: `userId:123`."""
        digits = re.sub(r"\D", "", who)
        return cls("CRM_UI", who, int(digits) if digits else None)


OVERWRITERS: Mapping[str, Source] = {
    "workflow": Source("AUTOMATION_PLATFORM", "enrollmentId:5521;actionExecutionIndex:0"),
    "integration": Source("INTEGRATION", "224488"),
    "import": Source("IMPORT", "9923"),
    "merge": Source("MERGE_OBJECTS", "mergeId:17"),
}
"""Who puts an old value back, under the fault dropped-write with `by` (sheet 3.5; some UNCONFIRMED)."""


@dataclass(slots=True)
class Contact:
    """One contact. `properties` is replaced on every change, so that the index may share it."""

    id: int
    properties: dict[str, str]
    created: int
    modified: int
    history: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Newest first."""
    archived: int | None = None
    merged_into: int | None = None
    purged: bool = False

    @property
    def alive(self) -> bool:
        """Shown by lists, searches and plain reads."""
        return self.archived is None and self.merged_into is None and not self.purged


@dataclass(frozen=True, slots=True)
class Changed:
    """A change of one property, for webhooks."""

    contact: int
    property: str
    value: str
    at: int
    source: Source


class Portal:
    """All contacts of one account, and the search index that lags behind them."""

    def __init__(self, seed: int, contacts: int, clock: Clock, flag: str, options: Mapping[str, Any]) -> None:
        self.seed = seed
        self.count = contacts
        self.clock = clock
        self.flag = flag
        self.opted_out = round(float(options.get("opted_out_share", 0.02)) * 1_000_000)
        self.shared_every = int(options.get("shared_every", 53))
        self.junk_every = int(options.get("junk_every", 97))
        self.extension_every = int(options.get("extension_every", 131))
        self.noop_bumps = bool(options.get("noop_bumps", False))
        self.merge_makes_new_id = bool(options.get("merge_makes_new_id", False))
        self.merge_fills_empty = bool(options.get("merge_fills_empty", False))
        self.index = Index(
            self, float(options.get("index_lag", 0.0)), float(options.get("index_jitter", 0.0))
        )
        self.kept: dict[int, Contact] = {}
        self.added: list[int] = []
        self.by_number: dict[str, set[int]] = {}
        self._start = _ms(clock.now())
        self._next = FIRST_ID + contacts

    def now(self) -> int:
        """Epoch ms."""
        return _ms(self.clock.now())

    @property
    def newest_seeded(self) -> int:
        """No seeded contact was modified after this (epoch ms), until somebody changed it."""
        return self._start - 10 * DAY

    # --- looking ------------------------------------------------------------------------------------

    def get(self, contact_id: int) -> Contact | None:
        """The contact under this very id, whatever became of it; None: there never was one."""
        if (kept := self.kept.get(contact_id)) is not None:
            return kept
        index = contact_id - FIRST_ID
        return self.seeded(index) if 0 <= index < self.count else None

    def survivor(self, contact_id: int) -> Contact | None:
        """The contact that this id leads to after merges."""
        found = self.get(contact_id)
        while found is not None and found.merged_into is not None:
            found = self.get(found.merged_into)
        return found

    def ids(self, start: int = 0) -> Iterator[int]:
        """All ids from `start` on, ascending, also of those that are gone."""
        yield from range(max(start, FIRST_ID), FIRST_ID + self.count)
        yield from (one for one in self.added if one >= start)

    def seeded(self, i: int) -> Contact:
        """Seeded contact `i`: the same for the same seed and starting time."""
        mix = _mix(self.seed, i)
        created = self._start - 400 * DAY + mix % (300 * DAY)
        modified = min(created + mix // 7 % (90 * DAY), self.newest_seeded)
        properties = {
            "firstname": _FIRST[mix % 10],
            "lastname": _LAST[mix // 10 % 10],
            "email": f"contact{i}@example.com",
            "phone": notation(seeded_number(self.seed, i), mix // 100 % 7),
        }
        if self.shared_every and i and i % self.shared_every == 0:
            properties["mobilephone"] = notation(seeded_number(self.seed, i - 1), mix % 7)
        elif self.junk_every and i % self.junk_every == 5:
            properties["mobilephone"] = _JUNK[mix % len(_JUNK)]
        elif self.extension_every and i % self.extension_every == 9:
            properties["mobilephone"] = f"{notation(seeded_number(self.seed, i), 1)} ext. {mix % 90 + 10}"
        contact = Contact(FIRST_ID + i, properties, created, modified)
        draw = mix // 1000 % 1_000_000
        if draw < self.opted_out:
            properties[self.flag] = "true"
            how = _PEOPLE[mix % len(_PEOPLE)]
            contact.history[self.flag] = [_entry("true", modified - 24, Source(*how))]
        elif draw > 950_000:
            properties[self.flag] = "false"
            contact.history[self.flag] = [_entry("false", created, Source("IMPORT", "4711"))]
        return contact

    def holders(self, number: str) -> list[int]:
        """Ids of living contacts that hold this number (E.164)."""
        candidates = set(self.by_number.get(number, ()))
        index = seeded_index(self.seed, number)
        if index is not None:
            candidates |= {FIRST_ID + i for i in (index, index + 1) if i < self.count}
        found = []
        for one in sorted(candidates):
            contact = self.get(one)
            if contact is not None and contact.alive and number in numbers_of(contact.properties):
                found.append(one)
        return found

    # --- changing -----------------------------------------------------------------------------------

    def keep(self, contact: Contact) -> Contact:
        """From now on this contact is stored, not computed."""
        self.kept[contact.id] = contact
        return contact

    def create(self, properties: Mapping[str, str], source: Source) -> tuple[Contact, list[Changed]]:
        """A new contact with the next id."""
        now = self.now()
        contact = self.keep(Contact(self._next, {}, now, now))
        self.added.append(contact.id)
        self._next += 1
        return contact, self.change(contact, properties, source)

    def change(
        self, contact: Contact, properties: Mapping[str, str], source: Source, at: int | None = None
    ) -> list[Changed]:
        """Sets stored properties (`""` clears). A value that is already there leaves no trace in the history;
        whether it moves `lastmodifieddate` is UNCONFIRMED (option `noop_bumps`)."""
        now = self.now() if at is None else at
        self.keep(contact)
        changed: list[Changed] = []
        values = dict(contact.properties)
        for name, value in properties.items():
            if values.get(name, "") == value:
                continue
            if value:
                values[name] = value
            else:
                values.pop(name, None)
            contact.history.setdefault(name, []).insert(0, _entry(value, now, source))
            changed.append(Changed(contact.id, name, value, now, source))
        if changed or self.noop_bumps or contact.modified == contact.created == now:
            contact.properties = values
            contact.modified = now
            self.touched(contact)
        return changed

    def touched(self, contact: Contact) -> None:
        """The index will see this contact's present state, when it gets round to it."""
        for number in numbers_of(contact.properties):
            self.by_number.setdefault(number, set()).add(contact.id)
        self.index.note(contact)

    def merge(self, primary: Contact, loser: Contact, source: Source) -> Contact:
        """The primary's values win, even over a do-not-contact flag on the loser (sheet 3.6)."""
        swallowed = [loser.id, *_merged(loser), *_merged(primary)]
        values = dict(primary.properties)
        if self.merge_fills_empty:
            values = {**loser.properties, **values}
        winner = primary
        if self.merge_makes_new_id:
            winner, _ = self.create({}, source)
            winner.history = {name: list(entries) for name, entries in primary.history.items()}
            primary.merged_into = winner.id
            swallowed.insert(0, primary.id)
            self.keep(primary)
            self.touched(primary)
        self.keep(loser)
        loser.merged_into = winner.id
        self.touched(loser)
        self.keep(winner)
        winner.properties = {**values, "hs_merged_object_ids": ";".join(str(one) for one in swallowed)}
        winner.modified = self.now()
        self.touched(winner)
        return winner

    def archive(self, contact: Contact) -> None:
        """Into the recycle bin."""
        self.keep(contact).archived = self.now()
        self.touched(contact)

    def restore(self, contact: Contact) -> None:
        """Out of the recycle bin."""
        contact.archived = None
        contact.modified = self.now()
        self.touched(contact)

    def purge(self, contact: Contact) -> None:
        """Deleted for good, with everything known of it."""
        self.keep(contact).purged = True
        contact.properties = {}
        contact.history = {}
        self.touched(contact)


class Index:
    """What searches see: the contacts as they were when the index last got round to them."""

    def __init__(self, portal: Portal, lag: float, jitter: float) -> None:
        self._portal = portal
        self.lag = lag
        self.jitter = jitter
        self.stale = 0.0
        """More seconds of lag, from a fault."""
        self.seen: dict[int, Contact | None] = {}
        """For contacts that ever changed: what the index holds; None: nothing."""
        self._waiting: list[tuple[float, int, int, Contact | None]] = []
        self._order = 0
        self._random = random.Random(portal.seed)  # noqa: S311 - a world, not a secret

    def note(self, contact: Contact) -> None:
        """Something changed; it becomes visible later, and not in order."""
        now = self._portal.clock.monotonic()
        late = self.lag + self.jitter * self._random.random()
        doc = None
        if contact.alive:
            doc = Contact(contact.id, contact.properties, contact.created, contact.modified)
        if contact.id not in self.seen:
            before = contact.id - FIRST_ID
            seeded = 0 <= before < self._portal.count
            self.seen[contact.id] = self._portal.seeded(before) if seeded else None
        self._order += 1
        heapq.heappush(self._waiting, (now + late, self._order, contact.id, doc))

    def catch_up(self) -> None:
        """Lets in what is due."""
        due = self._portal.clock.monotonic() - self.stale
        while self._waiting and self._waiting[0][0] <= due:
            _, _, contact_id, doc = heapq.heappop(self._waiting)
            held = self.seen.get(contact_id)
            if doc is None or held is None or held.modified <= doc.modified:
                self.seen[contact_id] = doc

    def doc(self, contact_id: int) -> Contact | None:
        """What the index holds under an id."""
        if contact_id in self.seen:
            return self.seen[contact_id]
        index = contact_id - FIRST_ID
        return self._portal.seeded(index) if 0 <= index < self._portal.count else None

    def total(self) -> int:
        """How many contacts the index holds."""
        first, end = FIRST_ID, FIRST_ID + self._portal.count
        total = self._portal.count
        for contact_id, doc in self.seen.items():
            if first <= contact_id < end:
                total -= doc is None
            else:
                total += doc is not None
        return total


def value_of(contact: Contact, name: str) -> str | None:
    """The value of a stored property, the calculated ones included; None: empty."""
    if name in contact.properties:
        return contact.properties[name]
    if name == "hs_object_id":
        return str(contact.id)
    if name == "createdate":
        return iso(contact.created)
    if name == "lastmodifieddate":
        return iso(contact.modified)
    if name in (SEARCHABLE_PHONE, SEARCHABLE_MOBILE):
        number = e164(contact.properties.get("phone" if name == SEARCHABLE_PHONE else "mobilephone", ""))
        return number[2:] if number.startswith("+1") else number[1:] or None
    return None


def numbers_of(properties: Mapping[str, str]) -> set[str]:
    """E.164 numbers on a contact, as far as its fields hold plain numbers."""
    return {n for name in ("phone", "mobilephone") if (n := e164(properties.get(name, "")))}


def e164(typed: str) -> str:
    """A plainly typed US or international number; empty for anything else (extensions, junk)."""
    if re.search(r"[A-Za-z]", typed):
        return ""
    digits = re.sub(r"\D", "", typed)
    if typed.strip().startswith("+"):
        return f"+{digits}" if len(digits) >= 8 else ""
    if len(digits) == 11 and digits.startswith("1"):
        return f"+{digits}"
    return f"+1{digits}" if len(digits) == 10 and digits[0] not in "01" else ""


def notation(number: str, kind: int) -> str:
    """A US number in one of the ways in which people type it."""
    area, exchange, line = number[2:5], number[5:8], number[8:]
    return (
        number,
        f"({area}) {exchange}-{line}",
        f"{area}-{exchange}-{line}",
        f"{area}{exchange}{line}",
        f"+1 {area} {exchange} {line}",
        f"1-{area}-{exchange}-{line}",
        f"{area}.{exchange}.{line}",
    )[kind % 7]


_AREAS = {seeded_number(0, 0)[2:5]: 0}


def seeded_index(seed: int, number: str) -> int | None:
    """The inverse of `seeded_number`; None: not a number that it makes."""
    spread = _spread(number)
    if spread is None:
        return None
    index = (spread - seed * 40_503) * pow(2_654_435_761, -1, 4_000_000) % 4_000_000
    return index if seeded_number(seed, index) == number else None


def _spread(number: str) -> int | None:
    if not re.fullmatch(r"\+1\d{10}", number):
        return None
    if len(_AREAS) == 1:
        # With seed 0, index = spread * inverse: walk the areas once to learn their order.
        inverse = pow(2_654_435_761, -1, 4_000_000)
        for area in range(40):
            _AREAS[seeded_number(0, area * 100_000 * inverse % 4_000_000)[2:5]] = area
    area = _AREAS.get(number[2:5], -1)
    line = (int(number[5]) - 2) * 12_500 + int(number[6:11])
    return area * 100_000 + line if area >= 0 and 0 <= line < 100_000 else None


def iso(ms: int) -> str:
    """ISO 8601 UTC with milliseconds, as HubSpot writes times."""
    seconds, rest = divmod(ms, 1000)
    return f"{datetime.fromtimestamp(seconds, EPOCH.tzinfo):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"


def _entry(value: str, at: int, source: Source) -> dict[str, Any]:
    entry: dict[str, Any] = {"value": value, "timestamp": iso(at), "sourceType": source.type}
    if source.id:
        entry["sourceId"] = source.id
    if source.user is not None:
        entry["updatedByUserId"] = source.user
    return entry


def _merged(contact: Contact) -> list[int]:
    return [int(one) for one in contact.properties.get("hs_merged_object_ids", "").split(";") if one]


def _mix(seed: int, i: int) -> int:
    x = (i * 0x9E3779B97F4A7C15 + (seed + 1) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    x = ((x ^ (x >> 31)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return x ^ (x >> 29)


def _ms(when: datetime) -> int:
    delta = when - EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1000 + delta.microseconds // 1000
