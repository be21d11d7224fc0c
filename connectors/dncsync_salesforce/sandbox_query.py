"""The sandbox's reading side: query, queryAll and their locators, search, describe, limits."""
# ruff: noqa: S608 (names come from the sandbox's own schema)

from __future__ import annotations

import re
from array import array
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Request, Response

from dncsync.testing.faults import FaultKind
from dncsync_salesforce.sandbox_answers import answer, error
from dncsync_salesforce.sandbox_schema import PHONES, PREFIX, RECORDS, SYSTEM_PERMISSIONS
from dncsync_salesforce.sandbox_soql import Query, SoqlError, translate
from dncsync_salesforce.sandbox_store import digits_of

if TYPE_CHECKING:
    from dncsync_salesforce.sandbox import SalesforceSandbox

OPEN_LOCATORS = 64
LOCATOR_LIFE = 2 * 86_400.0


@dataclass(slots=True)
class Listing:
    """The result of a query: which rows, in which order. Values are read when a page is fetched."""

    query: Query
    rowids: array[int]
    total: int
    until: float = 0.0


class Reading:
    """Runs queries and pages through their results."""

    def __init__(self, sandbox: SalesforceSandbox) -> None:
        self._sandbox = sandbox
        self._listings: OrderedDict[str, Listing] = OrderedDict()
        self._made = 0
        data = "/services/data/v<version>"
        sandbox.route(f"{data}/query", self.query)
        sandbox.route(f"{data}/queryAll", self.query_all)
        sandbox.route(f"{data}/query/<locator>", self.query_more)
        sandbox.route(f"{data}/queryAll/<locator>", self.query_more)
        sandbox.route(f"{data}/tooling/query", self.tooling_query)
        sandbox.route(f"{data}/search", self.search)
        sandbox.route(f"{data}/sobjects", self.sobjects)
        sandbox.route(f"{data}/sobjects/<name>/describe", self.describe)
        sandbox.route(f"{data}/limits", self.limits)

    # --- queries --------------------------------------------------------------------------------------

    def query(self, request: Request, version: str) -> Response:
        """`GET query/?q=`."""
        return self._first(request, version, deleted=False)

    def query_all(self, request: Request, version: str) -> Response:
        """`GET queryAll/?q=`: recycled and merged records too."""
        return self._first(request, version, deleted=True)

    def tooling_query(self, request: Request, version: str) -> Response:
        """`GET tooling/query/?q=`, for FieldDefinition."""
        if not self._sandbox.options.get("tooling", True):
            return error(403, "INSUFFICIENT_ACCESS", "insufficient access rights")
        return self._first(request, version, deleted=False)

    def query_more(self, request: Request, version: str, locator: str) -> Response:
        """`GET query/0r8…-2000`."""
        name, _, offset = locator.partition("-")
        listing = self._listings.get(name)
        if listing is None or not offset.isdigit() or self._sandbox.clock.monotonic() > listing.until:
            return error(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
        return self._page(request, version, name, listing, int(offset))

    def listing(self, soql: str, *, deleted: bool) -> Listing:
        """Runs a query. Raises `SoqlError`."""
        sandbox = self._sandbox
        self._refresh_helpers(soql)
        query = translate(soql, sandbox.schema.visible)
        where, values = query.where, list(query.values)
        if query.source in RECORDS:
            if not deleted:
                where = f"({where}) AND IsDeleted = 0"
            if "SystemModstamp" in query.mentions:  # very recent rows show up late (sheet 0.8)
                where = f"({where}) AND COALESCE(_visible, 0) <= ?"
                values.append(sandbox.clock.now().timestamp())
        if not query.columns:
            count = sandbox.store.db.execute(f'SELECT COUNT(*) FROM "{query.source}" WHERE {where}', values)
            return Listing(query, array("q"), int(count.fetchone()[0]))
        order = f" ORDER BY {query.order}" if query.order else ""
        limit = f" LIMIT {query.limit}" if query.limit is not None else ""
        found = sandbox.store.db.execute(
            f'SELECT rowid FROM "{query.source}" WHERE {where}{order}{limit}', values
        )
        rowids = array("q", (row[0] for row in found))
        total = len(rowids)
        if total > 1 and " IN (" not in soql.upper():
            fault = sandbox.faults.take(FaultKind.SHORT_LIST)
            if fault is not None:
                rowids = rowids[: int(total * float(fault.params.get("share", 0.5)))]
                total = len(rowids) if fault.params.get("quiet") else total
        return Listing(query, rowids, total)

    def values(self, listing: Listing, start: int, count: int) -> list[tuple[Any, ...]]:
        """Rows of a listing as the API types them, in order, as they are now."""
        query = listing.query
        rowids = listing.rowids[start : start + count]
        columns = ", ".join(f'"{column.stored}"' for column in query.columns)
        ids = ",".join(map(str, rowids))
        found = self._sandbox.store.db.execute(
            f'SELECT rowid, {columns} FROM "{query.source}" WHERE rowid IN ({ids})'
        )
        by_rowid = {row[0]: row[1:] for row in found}
        rows = [by_rowid[rowid] for rowid in rowids if rowid in by_rowid]
        defined = {**self._sandbox.schema.fields, **self._sandbox.schema.helpers}[query.source]
        for at, column in enumerate(query.columns):
            if defined[column.stored].type != "boolean":
                continue
            words = (False, True) if column.type == "boolean" else ("No", "Yes")
            rows = [
                (*row[:at], words[row[at]] if row[at] is not None else False, *row[at + 1 :]) for row in rows
            ]
        return rows

    def _first(self, request: Request, version: str, *, deleted: bool) -> Response:
        try:
            listing = self.listing(request.args.get("q", ""), deleted=deleted)
        except SoqlError as refusal:
            return error(400, refusal.code, refusal.message)
        if not listing.query.columns:
            return answer({"totalSize": listing.total, "done": True, "records": []})
        self._made += 1
        name = f"0r85g{self._made:013d}"
        listing.until = self._sandbox.clock.monotonic() + LOCATOR_LIFE
        return self._page(request, version, name, listing, 0)

    def _page(self, request: Request, version: str, name: str, listing: Listing, offset: int) -> Response:
        size = self._page_size(request)
        start = offset
        if offset and self._sandbox.faults.take(FaultKind.REPEATED_PAGE, request.method, request.path):
            start = max(0, offset - size)
        source = listing.query.source
        names = [column.name for column in listing.query.columns]
        at_id = names.index("Id") if "Id" in names else None
        records = []
        for row in self.values(listing, start, size):
            record: dict[str, Any] = {"attributes": {"type": source}}
            if at_id is not None:
                record["attributes"]["url"] = f"/services/data/v{version}/sobjects/{source}/{row[at_id]}"
            for key, value in zip(names, row, strict=True):
                if "." in key:
                    parent, _, child = key.partition(".")
                    record[parent] = {"attributes": {"type": parent}, child: value}
                else:
                    record[key] = value
            records.append(record)
        body: dict[str, Any] = {"totalSize": listing.total, "done": True}
        if offset + size < len(listing.rowids):
            self._listings[name] = listing
            while len(self._listings) > OPEN_LOCATORS:
                self._listings.popitem(last=False)
            body |= {
                "done": False,
                "nextRecordsUrl": f"/services/data/v{version}/query/{name}-{offset + size}",
            }
        body["records"] = records
        return answer(body)

    def _page_size(self, request: Request) -> int:
        """The header asks; the server gives that many or fewer."""
        most = int(self._sandbox.options.get("page_size", 2_000))
        asked = re.search(r"batchSize=(\d+)", request.headers.get("Sforce-Query-Options", ""))
        return min(most, max(200, int(asked[1]))) if asked else most

    def forget_locators(self) -> None:
        """Every open locator is dead."""
        self._listings.clear()

    def _refresh_helpers(self, soql: str) -> None:
        """FieldPermissions and FieldDefinition follow the schema; both know what our user does not see."""
        sandbox = self._sandbox
        if "UserPermissionAccess" in soql:
            fault = sandbox.faults.take(FaultKind.EXTRA_PERMISSION)
            granted = fault.params.get("permission", SYSTEM_PERMISSIONS[0]) if fault is not None else ""
            sandbox.store.db.execute("DELETE FROM UserPermissionAccess")
            sandbox.store.db.execute(
                "INSERT INTO UserPermissionAccess VALUES (?, ?, ?, ?)",
                [int(name == granted) for name in SYSTEM_PERMISSIONS],
            )
        if "FieldPermissions" in soql and not sandbox.options.get("field_permissions", True):
            raise SoqlError("INVALID_TYPE", "sObject type 'FieldPermissions' is not supported.")
        for table, columns in (
            ("FieldPermissions", 'SobjectType, Field, PermissionsRead, PermissionsEdit, "Parent.Label"'),
            ("FieldDefinition", '"EntityDefinition.QualifiedApiName", QualifiedApiName, DataType'),
        ):
            if table not in soql:
                continue
            rows: list[tuple[object, ...]] = [
                (o, f"{o}.{name}", 1, 1, "Sales Users")
                if table == "FieldPermissions"
                else (o, name, "Checkbox")
                for o, name in self._existing()
            ]
            places = ", ".join("?" * len(rows[0]))
            sandbox.store.db.execute(f"DELETE FROM {table}")
            sandbox.store.db.executemany(f"INSERT INTO {table} ({columns}) VALUES ({places})", rows)

    def _existing(self) -> list[tuple[str, str]]:
        """(object, present name) of every field that exists, seen by our user or not."""
        places = set()
        for sobject in RECORDS:
            seen = self._sandbox.schema.seen(sobject)
            hidden = set(self._sandbox.schema.fields[sobject]) - {stored for _, stored in seen.values()}
            there = {*seen, *(name for name in hidden if self._sandbox.schema.exists(sobject, name))}
            places |= {(sobject, name) for name in there}
        return sorted(places)

    # --- search ---------------------------------------------------------------------------------------

    def search(self, request: Request, version: str) -> Response:
        """`GET search/?q=FIND {…} IN PHONE FIELDS RETURNING …`, over an index that lags."""
        sandbox = self._sandbox
        asked = re.fullmatch(
            r"FIND \{(.+)\} IN PHONE FIELDS RETURNING (.+)", request.args.get("q", ""), re.DOTALL
        )
        if asked is None:
            return error(400, "MALFORMED_SEARCH", "unexpected token")
        terms = [re.sub(r"\\(.)", r"\1", t.strip().strip('"')) for t in asked[1].split(" OR ")]
        stale = sandbox.faults.take(FaultKind.STALE_INDEX, request.method, request.path)
        seen_until = (
            sandbox.clock.now().timestamp() - float(stale.params.get("seconds", 0)) if stale else None
        )
        seen_until = seen_until if seen_until is not None else sandbox.clock.now().timestamp()
        records = []
        for name, columns, condition in re.findall(r"(\w+)\(([\w, ]+?)(?: WHERE ([^)]+))?\)", asked[2]):
            ids = self._indexed(name, terms, seen_until)
            if not ids:
                continue
            quoted = ", ".join(f"'{i}'" for i in ids)
            where = f"Id IN ({quoted})" + (f" AND ({condition})" if condition else "")
            try:
                listing = self.listing(f"SELECT {columns} FROM {name} WHERE {where}", deleted=False)
            except SoqlError as refusal:
                return error(400, refusal.code, refusal.message)
            names = [column.name for column in listing.query.columns]
            records += [
                {"attributes": {"type": name}, **dict(zip(names, row, strict=True))}
                for row in self.values(listing, 0, 2_000)
            ]
        return answer({"searchRecords": records[:2_000]})

    def _indexed(self, sobject: str, terms: list[str], seen_until: float) -> list[str]:
        """Ids of one object whose phone values match a term. How the vendor cuts values into words is not
        documented: option `sosl_match` is `digits` (any spelling) or `words` (the term as typed)."""
        by_words = self._sandbox.options.get("sosl_match", "digits") == "words"
        ids = set()
        for term in terms:
            for place, row in self._sandbox.store.carriers(f"+1{digits_of(term)}"):
                if place != sobject or (row["_indexed"] or 0) > seen_until:
                    continue
                values = [row[n] for n in PHONES[sobject] if row.get(n)]
                if by_words and not any(_words(term) in _words(value) for value in values):
                    continue
                ids.add(row["Id"])
        return sorted(ids)

    # --- schema and limits ------------------------------------------------------------------------------

    def sobjects(self, request: Request, version: str) -> Response:
        """`GET sobjects`: the objects that the user sees."""
        schema = self._sandbox.schema
        names = [name for name in RECORDS if name not in schema.no_object]
        entries = [
            {"name": n, "keyPrefix": PREFIX[n], "queryable": True, "updateable": True, "custom": False}
            for n in names
        ]
        return answer({"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": entries})

    def describe(self, request: Request, version: str, name: str) -> Response:
        """`GET sobjects/Contact/describe`, as the integration user sees it."""
        schema = self._sandbox.schema
        if name not in RECORDS or name in schema.no_object:
            return error(404, "NOT_FOUND", "The requested resource does not exist")
        body = {
            "name": name,
            "keyPrefix": PREFIX[name],
            "queryable": True,
            "updateable": True,
            "fields": [definition.describe() for definition, _ in schema.seen(name).values()],
            "recordTypeInfos": [],
            "childRelationships": [],
        }
        return answer(body)

    def limits(self, request: Request, version: str) -> Response:
        """`GET limits/`."""
        sandbox = self._sandbox
        if not sandbox.options.get("limits_readable", True):
            return error(403, "INSUFFICIENT_ACCESS", "View Setup and Configuration is needed")
        used = sandbox.calls_of_a_day()
        most = sandbox.daily_limit
        return answer({"DailyApiRequests": {"Max": most, "Remaining": max(0, most - used)}})


def _words(value: str) -> str:
    return f" {' '.join(re.findall(r'[0-9A-Za-z]+', value))} "
