"""Full reads: SOQL by Id keyset for small objects, Bulk API 2.0 for large ones (sheet 7, 8.3).

A cursor names the object and how far it was read; it stays good over restarts, lost locators and lost jobs.
The listing proves that it is whole before it says so: the rows given are counted against the total that the
vendor named for the same query, and where the two differ or the read was interrupted, against a fresh
COUNT(). A short object is read again from its start.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import operator
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from dncsync.connector import Failure, FailureKind, Page, VendorError
from dncsync_salesforce.client import OrgClient, Rows
from dncsync_salesforce.endings import look_up_persons
from dncsync_salesforce.fields import Columns, Kind, MalformedRow, Reader
from dncsync_salesforce.schema import Schema
from dncsync_salesforce.soql import select, text

SLICE = 2_000
"""Holdings in one page of ours, whatever the vendor's page size: memory stays flat."""
RESULTS = 20_000
"""Rows asked of one call for Bulk results."""
POLLS = (0.5, 0.5, 1.0, 2.0, 3.0, 5.0)
"""Seconds between questions whether a job is done; the last one repeats."""
TOO_MUCH = ("QUERY_TIMEOUT", "QUERY_TOO_COMPLICATED", "OPERATION_TOO_LARGE")


@dataclass(frozen=True, slots=True)
class Place:
    """How far one object was read."""

    object: str
    after: str = ""
    """Keyset: every row up to this id was given."""
    read: int = 0
    """Rows given so far."""
    job: str = ""
    """Bulk: the query job."""
    of: int | None = None
    """Bulk: how many rows there will be in all; None while the job runs, -1 where the vendor does not say."""
    locator: str = ""
    """Bulk: which page of results comes next."""
    skip: int = 0
    """Bulk: rows of that page that were given."""
    head: str = ""
    """Bulk: the first id of the page before, which must not come again."""
    soql: bool = False
    """Bulk was tried for this object, and is not to be tried again."""

    def cursor(self) -> str:
        """As text, without what has its default."""
        told = {name: value for name, value in asdict(self).items() if value not in ("", None, False)}
        return json.dumps({"v": 1, **told})

    @classmethod
    def parse(cls, cursor: str) -> Place:
        """The inverse of `cursor`. Raises `VendorError` on text that is none of ours."""
        try:
            told = json.loads(cursor)
            if told.pop("v") != 1:
                raise ValueError("another version")
            return cls(**told)
        except (ValueError, TypeError, KeyError, AttributeError):
            words = "this is no snapshot cursor of the Salesforce connector"
            raise VendorError(Failure(FailureKind.REJECTED, words)) from None


Reading = Generator[Page, None, Place | None]
"""Gives pages and says where reading goes on; None: everything was read."""


class Snapshot:
    """Reads every record of every kind once or more."""

    def __init__(self, client: OrgClient, schema: Schema, bulk_threshold: int) -> None:
        self._client = client
        self._schema = schema
        self._bulk_threshold = bulk_threshold

    def pages(self, cursor: str | None) -> Iterator[Page]:
        """See `Connector.snapshot`. Raises `VendorError`."""
        kinds: dict[str, Kind] = {kind.name: kind for kind in self._schema.kinds()}
        names = list(kinds)
        place: Place | None = Place.parse(cursor) if cursor else Place(names[0])
        if place is None or place.object not in kinds:
            place = Place(names[0])  # the configuration changed, or the org lost its person accounts
        while place is not None:
            later = names[names.index(place.object) + 1 :]
            read = self._from_bulk if place.job else self._by_keyset
            try:
                place = yield from read(kinds[place.object], place, Place(later[0]) if later else None)
            except MalformedRow as error:
                raise VendorError(Failure(FailureKind.TRANSIENT, str(error), "malformed")) from None

    # --- SOQL -----------------------------------------------------------------------------------------

    def _by_keyset(self, kind: Kind, place: Place, following: Place | None) -> Reading:
        interrupted = place.read > 0
        start = place
        try:
            columns, page = self._schema.asking(kind, lambda columns: self._rows_after(columns, start))
        except VendorError as error:
            if error.failure.code not in TOO_MUCH or place.soql:
                raise
            return self._start_job(self._schema.columns(kind), place)
        reader = Reader(columns, self._client.user_id)
        total = place.read + page.total
        for_bulk = page.total > self._bulk_threshold and not place.soql
        while True:
            if columns.ending:
                look_up_persons(self._client, self._schema, reader, page.records)
            holdings = reader.listed(page.records)
            place = replace(place, after=_last_id(page, place), read=place.read + len(holdings))
            if page.more is None:
                break
            yield Page(holdings, place.cursor(), more=True, total=total)
            if for_bulk:
                return self._start_job(columns, place)
            try:
                page = self._client.more(page.more)
            except VendorError as error:
                if error.failure.code != "INVALID_QUERY_LOCATOR":
                    raise
                interrupted = True
                page = self._rows_after(columns, place)
        if interrupted or place.read != total:
            yield from self._prove_whole(columns, place)
        yield Page(holdings, (following or place).cursor(), more=following is not None, total=total)
        return following

    def _rows_after(self, columns: Columns, place: Place) -> Rows:
        return self._client.query(_remaining(columns, place, order="Id"))

    def _prove_whole(self, columns: Columns, place: Place) -> Iterator[Page]:
        """Nothing, if at least as many rows were given as there are now (some may have been deleted while we
        read); else the object is to be read anew, and the caller hears of it."""
        there = self._client.count(columns.kind.sobject, _conditions(columns))
        if place.read >= there:
            return
        yield Page((), Place(place.object, soql=place.soql).cursor(), more=True)
        words = f"the listing of {columns.kind.name} ended after {place.read} of {there} records"
        raise VendorError(Failure(FailureKind.TRANSIENT, words, "short-list"))

    # --- Bulk 2.0 -------------------------------------------------------------------------------------

    def _start_job(self, columns: Columns, place: Place) -> Place:
        """A query job for the rows that are left; where the org refuses one, SOQL goes on."""
        soql = _remaining(columns, place)
        try:
            job = self._client.bulk(columns.kind.sobject, lambda jobs: jobs.create_job("query", soql))
        except VendorError as error:
            if error.failure.kind in (FailureKind.REJECTED, FailureKind.UNAUTHORISED):
                return replace(place, soql=True)
            raise
        return replace(place, job=_told(job, "id"))

    def _from_bulk(self, kind: Kind, place: Place, following: Place | None) -> Reading:
        columns = self._schema.columns(kind)
        reader = Reader(columns, self._client.user_id, as_text=True)
        for pause in itertools.chain(POLLS, itertools.repeat(POLLS[-1])):
            if place.of is not None:
                break
            self._client.clock.sleep(pause)
            job = self._job(columns, place)
            if job is None:
                return (yield from self._job_lost(place))
            if job.get("state") == "JobComplete":
                rows = job.get("numberRecordsProcessed")
                place = replace(place, of=place.read + rows if isinstance(rows, int) else -1)
            yield Page((), place.cursor(), more=True)
        total = place.of if place.of != -1 else None
        while True:
            results = self._results(columns, place)
            if results is None:
                return (yield from self._job_lost(place))
            lines, count, locator = results
            header, given = next(lines, []), list(itertools.islice(lines, place.skip))
            part, seen = list(itertools.islice(lines, SLICE)), len(given)
            head = next((line[0] for line in (*given, *part) if line), "")
            if (head and head == place.head) or (locator and locator == place.locator):
                words = "a page of Bulk results came twice"
                raise VendorError(Failure(FailureKind.TRANSIENT, words, "repeated-page"))
            while True:
                seen += len(part)
                self._look_up_persons(reader, header, part)
                holdings = reader.lines(header, part)
                place = replace(place, skip=place.skip + len(part), read=place.read + len(part))
                if len(part) < SLICE or seen >= count:
                    break
                yield Page(holdings, place.cursor(), more=True, total=total)
                part = list(itertools.islice(lines, SLICE))
            if seen != count or next(lines, None) is not None:
                words = f"a page of Bulk results has not the {count} rows that it says"
                raise VendorError(Failure(FailureKind.TRANSIENT, words, "short-list"))
            place = replace(place, skip=0, locator=locator, head=head)
            if not locator:
                break
            yield Page(holdings, place.cursor(), more=True, total=total)
        if place.read != total:
            yield from self._prove_whole(columns, place)
        yield Page(holdings, (following or place).cursor(), more=following is not None, total=total)
        return following

    def _job_lost(self, place: Place) -> Reading:
        """Jobs vanish after seven days, and can fail or be aborted by an admin. The object is read anew by
        SOQL: results have no order, so what was given cannot be told from what was not."""
        anew = Place(place.object, soql=True)
        yield Page((), anew.cursor(), more=True)
        return anew

    def _job(self, columns: Columns, place: Place) -> dict[str, Any] | None:
        try:
            job = self._client.bulk(columns.kind.sobject, lambda jobs: jobs.get_job(place.job, True))
        except VendorError as error:
            if error.failure.kind is FailureKind.REJECTED:
                return None
            raise
        return None if _told(job, "state") in ("Failed", "Aborted") else job

    def _results(self, columns: Columns, place: Place) -> tuple[Iterator[list[str]], int, str] | None:
        """(CSV lines with their header, how many rows they are, the next locator); None: the job is gone."""
        try:
            answer = self._client.bulk(
                columns.kind.sobject,
                lambda jobs: jobs.get_query_results(place.job, place.locator, RESULTS),
            )
        except VendorError as error:
            if error.failure.kind is FailureKind.REJECTED:
                return None
            raise
        lines = csv.reader(io.StringIO(answer["records"], newline=""))
        return lines, int(answer["number_of_records"]), str(answer["locator"])

    def _look_up_persons(self, reader: Reader, header: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
        if "ConvertedContactId" in header:
            at = header.index("ConvertedContactId")
            leads = [{"ConvertedContactId": line[at]} for line in lines if len(line) > at and line[at]]
            look_up_persons(self._client, self._schema, reader, leads)


def _conditions(columns: Columns) -> tuple[str, ...]:
    """Which rows a full read gives.

    A converted lead is of interest only while its flag is set: conversion into an existing contact loses the
    flag (sheet 0.1), and the lead is the last place where it stands.
    """
    if "IsConverted" not in columns.ending:
        return (columns.condition,)
    flags = (f"{f.field} = {str(f.opted_out_when).lower()}" for f in columns.flags.values())
    return (columns.condition, " OR ".join(("IsConverted = false", *flags)))


def _remaining(columns: Columns, place: Place, order: str = "") -> str:
    after = f"Id > {text(place.after)}" if place.after else ""
    return select(columns.listing, columns.kind.sobject, (*_conditions(columns), after), order=order)


def _told(job: Any, name: str) -> str:
    """A text of a job's info. Raises `VendorError` where it is none."""
    if not isinstance(job, dict) or not isinstance(job.get(name), str):
        raise VendorError(
            Failure(FailureKind.TRANSIENT, "a Bulk job's info has not the known shape", "malformed")
        )
    return str(job[name])


def _last_id(page: Rows, place: Place) -> str:
    """The last id of a page whose ids rise without repeating; anything else is no page of this walk."""
    ids = [place.after, *(str(record.get("Id", "")) for record in page.records)]
    if not all(map(operator.lt, ids, ids[1:])):
        raise VendorError(Failure(FailureKind.TRANSIENT, "a page of the listing came twice", "repeated-page"))
    return ids[-1]
