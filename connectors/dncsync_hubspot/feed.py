"""Following a portal: the change feed over the search index, and the complete listing (sheet 3.2 to 3.4).

The feed searches windows of `lastmodifieddate` and pages through each by `hs_object_id`, so that neither the
10,000-row wall nor a crowd with one timestamp can stop it. The index lags and shows rows out of order; hence
two overlaps: every poll repeats the last seconds, and every minute a sweep repeats the last minutes. Nothing
that the index says of a contact is believed except its id: contacts are read again by id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from dataclasses import fields as fields_of
from typing import Any, Self

import orjson

from dncsync.connector import Failure, FailureKind, Page, VendorError
from dncsync.model import Holding
from dncsync_hubspot.client import BATCH, HISTORY_BATCH, SEARCH_PAGE, Json, Wire
from dncsync_hubspot.fields import MODIFIED, Fields
from dncsync_hubspot.records import Found, Records, is_set, modified_ms, pieces
from dncsync_hubspot.settings import HubSpotSettings

REMEMBERED = 100_000
"""Pairs (id, modified) that a feed remembers, not to read them again in the overlap; then it forgets all."""
SLACK_SHARE, SLACK_ROWS = 0.05, 10
"""By how much a listing may fall short of the index's total, which lags, before it counts as cut short."""


@dataclass(frozen=True, slots=True)
class FeedCursor:
    """Where the change feed stands. All times are epoch milliseconds by HubSpot's clock."""

    serial: int
    """One more on every page: tells whose memory of seen rows is still true."""
    done: int
    """Every change up to here was looked for at least once."""
    swept: int
    """Up to here the deep overlap was searched."""
    low: int | None = None
    """Floor of the window in hand; None: between windows."""
    high: int | None = None
    sweep: bool = False
    last_id: int = 0
    """The window was read up to this contact id."""

    @classmethod
    def read(cls, text: str) -> Self:
        """Raises `VendorError` for anything that this version did not write."""
        return cls(**_cursor_fields(text, "change feed", cls))

    def __str__(self) -> str:
        return orjson.dumps({"v": 1, **asdict(self)}).decode()


@dataclass(frozen=True, slots=True)
class ListCursor:
    """Where a listing stands."""

    after: str | None = None
    last_id: int = 0
    rows: int = 0
    pending: tuple[str, ...] = ()
    """Contacts that are set: held back until their history is read, 50 at a time."""
    ended: bool = False
    total: int = 0
    """How many contacts the search index counts; for progress."""

    @classmethod
    def read(cls, text: str) -> Self:
        """Raises `VendorError` for anything that this version did not write."""
        fields = _cursor_fields(text, "listing", cls)
        return cls(**fields | {"pending": tuple(fields["pending"])})

    def __str__(self) -> str:
        return orjson.dumps({"v": 1, **asdict(self)}).decode()


class ChangeFeed:
    """`changes()` of one portal."""

    def __init__(self, wire: Wire, records: Records, settings: HubSpotSettings) -> None:
        self._wire = wire
        self._records = records
        self._overlap = round(settings.overlap_seconds * 1000)
        self._fast = min(self._overlap, round(settings.fast_overlap_seconds * 1000))
        self._sweep_every = round(settings.sweep_seconds * 1000)
        # Rows yielded since the last restart; true only for a caller who comes back with the last cursor.
        self._seen: dict[int, int | None] = {}
        self._last_cursor = ""

    def pages(self, cursor: str | None) -> Iterator[Page]:
        """One window, in pages of at most 100 contacts; the last one has `more=False`."""
        if cursor is None or cursor != self._last_cursor:
            self._seen.clear()
        now = self._wire.server_ms()
        at = FeedCursor(0, now, now) if cursor is None else FeedCursor.read(cursor)
        if at.low is None:
            at = self._open(at, now)
        while at.low is not None:
            for step in self._search_on(at):
                page, at = step
                self._last_cursor = page.cursor
                yield page

    def _open(self, at: FeedCursor, now: int) -> FeedCursor:
        """The next window. It never begins later than what a lagging index may still show."""
        sweep = now - at.swept >= self._sweep_every or at.serial == 0
        low = (at.swept - self._overlap) if sweep else (at.done - self._fast)
        low = max(0, min(low, now))
        floor = min(at.swept, at.done) - self._overlap
        self._seen = {i: ms for i, ms in self._seen.items() if ms is None or ms >= floor}
        return replace(at, low=low, high=now, sweep=sweep, last_id=0)

    def _search_on(self, at: FeedCursor) -> Iterator[tuple[Page, FeedCursor]]:
        """One search, and its contacts read by id. Yields each page with the cursor that it carries."""
        low, high = at.low, at.high
        assert low is not None
        assert high is not None
        answer = self._wire.search(window_query(low, high, at.last_id))
        if at.last_id == 0 and self._wire.last_date is not None:
            # Our clock may be ahead of HubSpot's: never claim a time that has not come there yet.
            at = replace(at, high=min(high, self._wire.server_ms()))
        rows = check_rows(answer, low, at.last_id)
        paging = answer.get("paging")
        full = len(rows) >= SEARCH_PAGE or (isinstance(paging, dict) and bool(paging.get("next")))
        fresh = [
            i
            for i, ms in rows
            if (ms is None or self._seen.get(i) != ms) and not self._records.own.is_echo(str(i), ms)
        ]
        if len(self._seen) + len(rows) > REMEMBERED:
            self._seen.clear()
        batches = list(pieces([str(i) for i in fresh], BATCH)) or [[]]
        for number, batch in enumerate(batches):
            last = number == len(batches) - 1
            holdings = self._read(batch)
            read_to = (rows[-1][0] if rows else at.last_id) if last else int(batch[-1])
            at = replace(at, serial=at.serial + 1, last_id=read_to)
            self._seen.update((i, ms) for i, ms in rows if i <= read_to)
            if last and not full:
                at = self._closed(at)
            yield Page(tuple(holdings), str(at), more=at.low is not None, fresh=True), at

    def _read(self, ids: Sequence[str]) -> list[Holding]:
        if not ids:
            return []
        return _all_read(self._records.look(ids))

    def _closed(self, at: FeedCursor) -> FeedCursor:
        assert at.high is not None
        swept = at.high if at.sweep else min(at.swept, at.high)
        return FeedCursor(at.serial, done=at.high, swept=swept)


class Listing:
    """`snapshot()` of one portal: every contact that is not archived, in the order of ids."""

    def __init__(self, wire: Wire, fields: Fields, records: Records) -> None:
        self._wire = wire
        self._fields = fields
        self._records = records

    def pages(self, cursor: str | None) -> Iterator[Page]:
        """One call a page. Raises `VendorError` where the listing repeats itself or ends too early."""
        at = ListCursor(total=self._total()[0]) if cursor is None else ListCursor.read(cursor)
        more = True
        while more:
            holdings: list[Holding] = []
            by_id = len(at.pending) >= HISTORY_BATCH or (at.ended and bool(at.pending))
            if by_id:
                holdings, at = self._histories(at)
            elif not at.ended:
                holdings, at = self._list(at)
                at = self._checked(at) if at.ended else at
            more = bool(at.pending) or not at.ended
            yield Page(tuple(holdings), str(at), more=more, total=at.total, fresh=by_id)

    def _histories(self, at: ListCursor) -> tuple[list[Holding], ListCursor]:
        ids, rest = at.pending[:HISTORY_BATCH], at.pending[HISTORY_BATCH:]
        return _all_read(self._records.look(ids)), replace(at, pending=rest)

    def _list(self, at: ListCursor) -> tuple[list[Holding], ListCursor]:
        answer = self._wire.page(at.after, self._fields.asked)
        records: list[Json] = answer["results"]
        ids = [int(record["id"]) for record in records]
        # `after` names the next contact (sheet 3.2), so only the very first id may repeat.
        if any(b <= a for a, b in zip([at.last_id - 1, *ids], ids, strict=False)):
            raise _broken("HubSpot's listing of contacts repeats a page or is out of order")
        holdings: list[Holding] = []
        waiting: list[str] = []
        for one in self._records.found(records):
            if one.holding is not None and is_set(one.holding):
                waiting.append(one.holding.key)
            else:
                holdings.extend(one.holdings())
        after = _next(answer)
        last_id = ids[-1] if ids else at.last_id
        if after is not None and (not ids or (after.isdigit() and int(after) <= at.last_id)):
            raise _broken("HubSpot's listing of contacts does not go on")
        fresh = len(ids) - (1 if ids and ids[0] == at.last_id else 0)
        pending = (*at.pending, *waiting)
        return holdings, replace(
            at, after=after, last_id=last_id, rows=at.rows + fresh, pending=pending, ended=after is None
        )

    def _checked(self, at: ListCursor) -> ListCursor:
        """A listing that just stops is believed only if the index knows of nothing beyond it."""
        total, highest = self._total()
        if highest > at.last_id and self._wire.one(str(highest), ()) is not None:
            # Either it came while we listed, or the listing was cut short: ask for what comes after our last.
            after = str(at.last_id + 1)
            if not self._wire.page(after, ())["results"]:
                raise _broken("HubSpot's listing of contacts ended early: there are contacts with higher ids")
            return replace(at, after=after, ended=False, total=total)
        if at.rows < total * (1 - SLACK_SHARE) - SLACK_ROWS:
            raise _broken(f"HubSpot's listing gave {at.rows} of about {total} contacts")
        return replace(at, total=total)

    def _total(self) -> tuple[int, int]:
        """How many contacts the index has, and the highest id among them."""
        answer = self._wire.search(
            {
                "filterGroups": [],
                "sorts": [{"propertyName": "hs_object_id", "direction": "DESCENDING"}],
                "properties": [MODIFIED],
                "limit": 1,
            }
        )
        total = answer.get("total")
        known = total if isinstance(total, int) and not isinstance(total, bool) else 0
        return known, int(answer["results"][0]["id"]) if answer["results"] else 0


def window_query(low: int, high: int, last_id: int) -> dict[str, Any]:
    """Contacts modified in a window (epoch ms, both ends in it) with higher ids than `last_id`."""
    return {
        "filterGroups": [
            {
                "filters": [
                    {
                        "propertyName": MODIFIED,
                        "operator": "BETWEEN",
                        "value": str(low),
                        "highValue": str(high),
                    },
                    {"propertyName": "hs_object_id", "operator": "GT", "value": str(last_id)},
                ]
            }
        ],
        "sorts": [{"propertyName": "hs_object_id", "direction": "ASCENDING"}],
        "properties": [MODIFIED],
        "limit": SEARCH_PAGE,
    }


def check_rows(answer: Json, low: int, last_id: int) -> list[tuple[int, int | None]]:
    """(id, modified in epoch ms) of a window's rows. Raises `VendorError` where a search ignores its filter
    or its order (sheet 3.3); a row that was modified again since may lie behind the window."""
    rows: list[tuple[int, int | None]] = []
    for record in answer["results"]:
        found, modified = int(record["id"]), modified_ms(record)
        if found <= last_id:
            raise _broken("HubSpot's search ignores its filter or repeats a page")
        if modified is not None and modified < low:
            raise _broken("HubSpot's search ignores the window of lastmodifieddate")
        rows.append((found, modified))
        last_id = found
    return rows


def _all_read(found: Mapping[str, Found]) -> list[Holding]:
    """All of them, or `VendorError`: a page with a hole must not move the cursor."""
    for one in found.values():
        if one.failure is not None:
            raise VendorError(one.failure)
    return [holding for one in found.values() for holding in one.holdings()]


def _next(answer: Json) -> str | None:
    paging = answer.get("paging")
    following = paging.get("next") if isinstance(paging, dict) else None
    after = following.get("after") if isinstance(following, dict) else None
    return None if after in (None, "") else str(after)


def _broken(words: str) -> VendorError:
    return VendorError(Failure(FailureKind.TRANSIENT, words, "listing"))


def _cursor_fields(text: str, what: str, cls: type[Any]) -> dict[str, Any]:
    """The fields of a cursor that this version wrote, else `VendorError`."""
    try:
        read = orjson.loads(text)
    except orjson.JSONDecodeError:
        read = None
    if (
        isinstance(read, dict)
        and read.pop("v", None) == 1
        and read.keys() == {f.name for f in fields_of(cls)}
    ):
        return read
    message = f"the {what}'s cursor is not one of this version; start it afresh"
    raise VendorError(Failure(FailureKind.REJECTED, message, "cursor"))
