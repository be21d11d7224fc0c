"""The change feed: rows by SystemModstamp, read twice because the vendor shows some late (sheet 6.2).

Per kind one queryAll from a *mark* to now, ordered by (SystemModstamp, Id): changed, deleted, merged and
converted rows alike. A row may become visible some time after its stamp, so the mark never passes the
vendor's clock less `MARGIN`, and what lies behind it is read again by every poll. Rows that our caller
already has, in the same state, are left out.

When more than a page lies inside the margin (a mass update, all with one stamp), polls look only at what
is new, and the whole margin is read again every `SWEEP` seconds. Only whole reads move the mark.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from dncsync.connector import Failure, FailureKind, Page, VendorError
from dncsync.model import Holding
from dncsync_salesforce.client import OrgClient, Rows
from dncsync_salesforce.endings import look_up_persons
from dncsync_salesforce.fields import Columns, Kind, MalformedRow, Reader, Row, instant, literal
from dncsync_salesforce.given import Given, Mark, mark_of
from dncsync_salesforce.history import History, Told
from dncsync_salesforce.schema import Schema
from dncsync_salesforce.soql import select

MARGIN = timedelta(minutes=5)
NEWEST = timedelta(seconds=30)
SWEEP = 150.0
STEP = timedelta(seconds=60)
"""A mark moves by no less while nothing happens, so that a quiet org keeps its cursor."""


@dataclass(slots=True)
class Cursor:
    """Where each kind stands, and how far the walk over one of them went."""

    number: int = 0
    """Rises with every page that gave something: between two equal cursors nothing lies."""
    marks: dict[str, str] = field(default_factory=dict)
    walk: str = ""
    """The kind whose turn it is, where that is not the first."""
    since: str = ""
    """Where the walk over it began; empty before that."""
    began: str = ""
    """The vendor's clock then."""
    stamp: str = ""
    record: str = ""
    """The last row that a later walk may go on after."""

    def text(self) -> str:
        """As text."""
        walk = [self.walk, self.since, self.began, self.stamp, self.record] if self.walk else []
        return json.dumps({"v": 1, "n": self.number, "m": self.marks, "w": walk}, sort_keys=True)

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """The inverse of `text`. Raises `VendorError` on anything that is none of ours."""
        try:
            told = json.loads(text)
            if told["v"] != 1 or not all(instant(mark) for mark in told["m"].values()):
                raise ValueError("another version")
            return cls(int(told["n"]), dict(told["m"]), *told["w"])
        except (ValueError, TypeError, KeyError, AttributeError):
            words = "this is no change cursor of the Salesforce connector"
            raise VendorError(Failure(FailureKind.REJECTED, words)) from None


class Feed:
    """What changed, over all kinds."""

    def __init__(self, client: OrgClient, schema: Schema, history: History) -> None:
        self._client = client
        self._schema = schema
        self._history = history
        self._given = Given()
        self._crowded: dict[str, float] = {}
        """Kinds with more than a page inside the margin, and when it is next read whole."""
        self._polled: dict[str, datetime] = {}
        """The vendor's clock when each kind was last asked."""

    def pages(self, text: str | None) -> Iterator[Page]:
        """See `Connector.changes`. Raises `VendorError`."""
        kinds = self._schema.kinds()
        cursor = Cursor.parse(text) if text else Cursor()
        self._given.resume(text or "")
        for kind in kinds:
            cursor.marks.setdefault(kind.name, literal(self._client.vendor_now() - MARGIN))
        started = [at for at, kind in enumerate(kinds) if kind.name == cursor.walk]
        if not started:
            cursor.walk = ""
        for at in range(started[0] if started else 0, len(kinds)):
            following = kinds[at + 1] if at + 1 < len(kinds) else None
            try:
                yield from self._walk(kinds[at], cursor, following)
            except MalformedRow as error:
                raise VendorError(Failure(FailureKind.TRANSIENT, str(error), "malformed")) from None

    def _walk(self, kind: Kind, cursor: Cursor, following: Kind | None) -> Iterator[Page]:
        if cursor.walk != kind.name or not cursor.since:
            cursor.walk, cursor.stamp, cursor.record = kind.name, "", ""
            cursor.since = self._since(kind, cursor.marks[kind.name])
            cursor.began = literal(self._client.vendor_now())
        columns, page = self._schema.asking(kind, lambda columns: self._rows(columns, cursor))
        reader = Reader(columns, self._client.user_id)
        walk = _Walk(total=page.total)
        while True:
            walk.count(page)
            fresh = self._fresh(page)
            holdings = self._holdings(reader, fresh, walk, cursor.since)
            if page.more is None:
                break
            _advance(cursor, page)
            yield self._page(cursor, holdings, fresh, more=True)
            try:
                page = self._client.more(page.more)
            except VendorError as error:
                if error.failure.code != "INVALID_QUERY_LOCATOR":
                    raise
                page = self._rows(columns, cursor)
                walk = _Walk(total=page.total, told=walk.told)
        if walk.read < walk.total:
            words = f"the change feed of {kind.name} gave {walk.read} of {walk.total} rows"
            raise VendorError(Failure(FailureKind.TRANSIENT, words, "short-list"))
        self._finish(kind, cursor, following, several=walk.pages > 1, gave=bool(holdings))
        if holdings or following is None:
            yield self._page(cursor, holdings, fresh, more=following is not None)

    def _since(self, kind: Kind, mark: str) -> str:
        polled, due = self._polled.get(kind.name), self._crowded.get(kind.name)
        if polled is None or due is None or self._client.clock.monotonic() >= due:
            return mark
        return max(mark, literal(polled - NEWEST))

    def _rows(self, columns: Columns, cursor: Cursor) -> Rows:
        place = f"SystemModstamp >= {cursor.since}"
        if cursor.stamp:
            stamp = cursor.stamp
            place = f"SystemModstamp > {stamp} OR (SystemModstamp = {stamp} AND Id > '{cursor.record}')"
        conditions = (place, columns.condition)
        soql = select(columns.watching, columns.kind.sobject, conditions, order="SystemModstamp, Id")
        return self._client.query(soql, deleted=True)

    def _fresh(self, page: Rows) -> dict[str, tuple[Mark, Row]]:
        fresh: dict[str, tuple[Mark, Row]] = {}
        for row in page.records:
            mark = mark_of(row)
            if not self._given.has(record_id := str(row.get("Id")), mark):
                fresh[record_id] = (mark, row)
        return fresh

    def _holdings(
        self, reader: Reader, fresh: Mapping[str, tuple[Mark, Row]], walk: _Walk, since: str
    ) -> tuple[Holding, ...]:
        rows = [row for _, row in fresh.values()]
        look_up_persons(self._client, self._schema, reader, rows)
        if walk.told is None and self._history.wanted(reader, rows):
            walk.told = self._history.since(reader.columns, since)
        return tuple(reader.holding(row, walk.told) for row in rows)

    def _finish(
        self, kind: Kind, cursor: Cursor, following: Kind | None, *, several: bool, gave: bool
    ) -> None:
        """A whole read lets the mark follow the vendor's clock, at a distance; the next kind has its turn,
        also when we are killed here: else the kinds behind a busy one might never be read."""
        mark = cursor.marks[kind.name]
        whole = cursor.since == mark
        follow = instant(cursor.began)
        assert follow is not None
        self._polled[kind.name] = follow
        target = literal(follow - MARGIN)
        cursor.walk = following.name if following else ""
        cursor.since = cursor.began = cursor.stamp = cursor.record = ""
        if not whole:
            return
        if several:
            self._crowded[kind.name] = self._client.clock.monotonic() + SWEEP
        else:
            self._crowded.pop(kind.name, None)
        before = instant(mark)
        assert before is not None
        if target > mark and (gave or follow - MARGIN - before >= STEP):
            cursor.marks[kind.name] = target
            self._given.forget_before(kind.id_prefix, target)

    def _page(
        self,
        cursor: Cursor,
        holdings: tuple[Holding, ...],
        fresh: Mapping[str, tuple[Mark, Row]],
        *,
        more: bool,
    ) -> Page:
        if holdings:
            cursor.number += 1
        text = cursor.text()
        self._given.hand_out(text, {record_id: mark for record_id, (mark, _) in fresh.items()})
        return Page(holdings, text, more)


@dataclass(slots=True)
class _Walk:
    """One query's pages, counted."""

    total: int
    told: Told | None = None
    read: int = 0
    pages: int = 0
    first: str = ""

    def count(self, page: Rows) -> None:
        """Takes a page into account. Raises `VendorError` if it is the one before again."""
        first = str(page.records[0].get("Id")) if page.records else ""
        if first and first == self.first:
            raise VendorError(Failure(FailureKind.TRANSIENT, "a page of changes came twice", "repeated-page"))
        self.read, self.pages, self.first = self.read + len(page.records), self.pages + 1, first


def _advance(cursor: Cursor, page: Rows) -> None:
    """Moves the place after which an interrupted walk goes on.

    A row that is changed while we walk shows up in its old place with its new stamp, beyond rows not yet
    seen; so only rows stamped before the walk began can be a place.
    """
    for row in reversed(page.records):
        stamp = instant(row.get("SystemModstamp"))
        if stamp is not None and literal(stamp) < cursor.began and literal(stamp) >= cursor.stamp:
            cursor.stamp, cursor.record = literal(stamp), str(row.get("Id"))
            return
