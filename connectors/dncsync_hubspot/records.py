"""Reading contacts by id: the truth, never the lagging index, with what became of ids that are not there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from dncsync.connector import Failure, FailureKind, VendorError
from dncsync.model import Flag, Holding
from dncsync_hubspot.client import BATCH, HISTORY_BATCH, Json, Wire
from dncsync_hubspot.errors import Refused, named_ids
from dncsync_hubspot.fields import MODIFIED, Fields, gone, milliseconds
from dncsync_hubspot.settings import HubSpotSettings

OWN_WRITES_KEPT = 20_000
T = TypeVar("T")


class OwnWrites:
    """Contacts that this process wrote, with HubSpot's time of it. Bounded; losing it costs only calls."""

    def __init__(self) -> None:
        self._at: dict[str, int] = {}

    def note(self, contact_id: str, modified: int | None, sent: int) -> None:
        """`modified`: epoch ms that the write's answer gave; `sent`: when it was sent. A write that changed
        nothing leaves an older time, which is somebody else's."""
        self._at.pop(contact_id, None)
        if modified is None or modified < sent:
            return
        self._at[contact_id] = modified
        while len(self._at) > OWN_WRITES_KEPT:
            self._at.pop(next(iter(self._at)))

    def is_echo(self, contact_id: str, modified: int | None) -> bool:
        """Whether nothing happened to the contact since our write, whose read-back shows its state."""
        return modified is not None and self._at.get(contact_id) == modified


@dataclass(frozen=True, slots=True)
class Found:
    """What was found under one id. Either `holding` or `failure` is set."""

    holding: Holding | None = None
    failure: Failure | None = None
    swallowed: tuple[str, ...] = ()
    """Ids that were merged into this contact."""
    modified: int | None = None
    """When the contact was last modified, epoch ms."""

    def holdings(self) -> list[Holding]:
        """The contact and, for every id it swallowed, a holding that says so: a block must follow a merge."""
        if self.holding is None:
            return []
        key = self.holding.key
        return [self.holding, *(gone(old, became=key) for old in self.swallowed if old != key)]


class Records:
    """Reads contacts of one portal."""

    def __init__(self, wire: Wire, fields: Fields, settings: HubSpotSettings) -> None:
        self._wire = wire
        self._fields = fields
        self._omitted = settings.empty_properties == "omitted"
        self.own = OwnWrites()

    def found(self, records: Sequence[Json]) -> list[Found]:
        """Contacts as HubSpot showed them."""
        missing = self._omitted and any(self._fields.absent(r["properties"]) for r in records)
        defined = self._still_there() if missing else ()
        holding, merged = self._fields.holding, self._fields.merged_ids
        return [Found(holding(r, defined), None, merged(r), modified_ms(r)) for r in records]

    def _still_there(self) -> Collection[str]:
        """Flags that exist although answers leave them out where empty (sheet 3.1, UNCONFIRMED). Asked
        after each such answer: anything older would take a flag that just vanished for an empty one."""
        return [name for name in self._fields.flag_names if self._wire.definition(name) is not None]

    # --- by id --------------------------------------------------------------------------------------

    def look(self, ids: Sequence[str]) -> dict[str, Found]:
        """Every id with its holding or failure. One call for up to 50 ids; for more, one per 100, and one
        for each 50 that are set and were not just written by us, for their history. One more for each id that
        HubSpot's answer leaves out (merged away: sheet section 4)."""
        found: dict[str, Found] = {}
        wanted: list[str] = []
        for one in dict.fromkeys(ids):
            if one.isascii() and one.isdigit():
                wanted.append(one)
            else:
                found[one] = Found(failure=Failure(FailureKind.REJECTED, "not a HubSpot contact id"))
        if not wanted:
            return found
        if len(wanted) <= HISTORY_BATCH:
            return found | self._batch(wanted, with_history=True)
        for chunk in pieces(wanted, BATCH):
            found |= self._batch(chunk, with_history=False)
        return found | self._histories(found)

    def _histories(self, found: Mapping[str, Found]) -> dict[str, Found]:
        """Those that are set, read again with their history, unless nothing happened since we wrote them."""
        again: dict[str, Found] = {}
        ids = [
            key
            for key, one in found.items()
            if one.holding and is_set(one.holding) and not self.own.is_echo(key, one.modified)
        ]
        for chunk in pieces(ids, HISTORY_BATCH):
            read = self._batch(chunk, with_history=True)
            # What was read without history stands where the second reading failed.
            again |= {key: one for key, one in read.items() if one.holding is not None}
        return again

    def current(self, ids: Sequence[str]) -> dict[str, Json]:
        """The present records of those ids that are there (for read-modify-write)."""
        answer = self._wire.batch_read(ids, self._fields.asked)
        return {str(record["id"]): record for record in answer["results"]}

    def _batch(self, ids: Sequence[str], *, with_history: bool) -> dict[str, Found]:
        history = self._fields.flag_names if with_history else ()
        try:
            answer = self._wire.batch_read(ids, self._fields.asked, history)
            results = answer["results"]
            by_id = {str(r["id"]): one for r, one in zip(results, self.found(results), strict=True)}
        except VendorError as error:
            if isinstance(error, Refused) and error.status == 400 and len(ids) > 1:
                half = len(ids) // 2  # one bad id spoils the whole batch
                first = self._batch(ids[:half], with_history=with_history)
                return first | self._batch(ids[half:], with_history=with_history)
            return dict.fromkeys(ids, Found(failure=error.failure))
        missing = _not_found(answer)
        found: dict[str, Found] = {}
        for key in ids:
            if key in by_id:
                found[key] = by_id[key]
            elif key in missing:
                found[key] = Found(gone(key))
            else:
                found[key] = self._settle(key)
        return found

    def _settle(self, key: str) -> Found:
        """An id that a batch answer leaves out or stumbles over: a single read follows merges (sheet 3.1)."""
        try:
            record = self._wire.one(key, self._fields.asked)
            if record is None:
                return Found(gone(key))
            if str(record["id"]) != key:
                return Found(gone(key, became=str(record["id"])))
            return self.found([record])[0]
        except VendorError as error:
            return Found(failure=error.failure)


def is_set(holding: Holding) -> bool:
    """Whether any channel says do-not-contact."""
    return Flag.SET in holding.flags.values()


def modified_ms(record: Mapping[str, Any]) -> int | None:
    """When the contact was last modified (epoch ms), from either place that says so (sheet 2.1)."""
    return milliseconds(record["properties"].get(MODIFIED) or record.get("updatedAt"))


def pieces(ids: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """In pieces of at most `size`."""
    return (ids[i : i + size] for i in range(0, len(ids), size))


def _not_found(answer: Json) -> frozenset[str]:
    errors = answer.get("errors")
    found: set[str] = set()
    for error in errors if isinstance(errors, list) else []:
        if isinstance(error, dict) and error.get("category") == "OBJECT_NOT_FOUND":
            found |= named_ids(error)
    return frozenset(found)
