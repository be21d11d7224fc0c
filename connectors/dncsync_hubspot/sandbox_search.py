"""The sandbox portal's search endpoint: filters, limits and quirks of sheet section 3.3."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from dncsync_hubspot.fields import milliseconds
from dncsync_hubspot.sandbox_portal import FIRST_ID, Contact, Portal, value_of
from dncsync_hubspot.sandbox_schema import SEARCHABLE_MOBILE, SEARCHABLE_PHONE, Schema

MOST_RESULTS = 10_000
OPERATORS = {
    "LT", "LTE", "GT", "GTE", "EQ", "NEQ", "BETWEEN", "IN", "NOT_IN", "HAS_PROPERTY", "NOT_HAS_PROPERTY",
    "CONTAINS_TOKEN", "NOT_CONTAINS_TOKEN",
}  # fmt: skip
OF_OTHER_OBJECTS = frozenset({"hs_lastmodifieddate"})
"""Known names that contacts do not use: filtering on them silently finds nothing (sheet section 0)."""


class BadSearch(Exception):
    """A 400; the message is the vendor's."""


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition on a stored property."""

    name: str
    operator: str
    value: str = ""
    high: str = ""
    values: tuple[str, ...] = ()

    def holds(self, doc: Contact) -> bool:
        """Whether the index's state of a contact meets it."""
        held = value_of(doc, self.name)
        if self.operator == "HAS_PROPERTY":
            return held is not None
        if self.operator == "NOT_HAS_PROPERTY":
            return held is None
        if held is None:
            return self.operator in ("NEQ", "NOT_IN", "NOT_CONTAINS_TOKEN")
        if self.operator in ("IN", "NOT_IN"):
            return (held.lower() in self.values) is (self.operator == "IN")
        if self.operator in ("CONTAINS_TOKEN", "NOT_CONTAINS_TOKEN"):
            return (self.value.strip("*").lower() in held.lower()) is (self.operator == "CONTAINS_TOKEN")
        if self.operator in ("EQ", "NEQ"):
            return (held.lower() == self.value.lower()) is (self.operator == "EQ")
        return self._compares(doc, held)

    def _compares(self, doc: Contact, held: str) -> bool:
        have = _comparable(doc, self.name, held)
        low = float(self.value)
        if self.operator == "BETWEEN":
            return low <= have <= float(self.high)
        if self.operator in ("GT", "GTE"):
            return have > low or (self.operator == "GTE" and have == low)
        return have < low or (self.operator == "LTE" and have == low)


def search(
    portal: Portal, schema: Schema, body: Mapping[str, Any], unknown: str
) -> tuple[int, list[Contact]]:
    """(total, the page's contacts as the index holds them). Raises `BadSearch`.

    Unknown keys of the body are ignored, so a mistyped `filterGroups` finds everything (sheet 3.3).
    `unknown`: what a filter on a property that does not exist does, `400` or `empty`.
    """
    limit, after = _page(body)
    groups = _groups(body.get("filterGroups") or [], schema, unknown)
    by, descending = _sort(body.get("sorts") or [])
    portal.index.catch_up()
    if groups is None:
        return 0, []
    if not groups and by == "hs_object_id":
        total = portal.index.total()
        return total, list(islice(_all(portal, descending), after, after + limit))
    found = {doc.id: doc for group in groups or [[]] for doc in _matching(portal, group)}
    rows = sorted(found.values(), key=lambda doc: _sort_key(doc, by), reverse=descending)
    return len(rows), rows[after : after + limit]


def _page(body: Mapping[str, Any]) -> tuple[int, int]:
    limit = body.get("limit", 10)
    after = body.get("after") or 0
    if not isinstance(limit, int) or not 0 < limit <= 200:
        raise BadSearch("The limit must be between 1 and 200.")
    try:
        after = int(after)
    except (TypeError, ValueError):
        raise BadSearch("After must be an integer") from None
    if after + limit > MOST_RESULTS:
        raise BadSearch("The paging window is limited to 10000 results")
    return limit, after


def _groups(raw: Sequence[Any], schema: Schema, unknown: str) -> list[list[Filter]] | None:
    if len(raw) > 5 or sum(len(g.get("filters", [])) for g in raw) > 18:
        raise BadSearch("Too many filters")
    view = schema.visible()
    groups: list[list[Filter]] = []
    for group in raw:
        filters = group.get("filters", [])
        if len(filters) > 6:
            raise BadSearch("Too many filters in a group")
        kept: list[Filter] = []
        for one in filters:
            if "propertyName" not in one or one.get("operator") not in OPERATORS:
                raise BadSearch(
                    "Invalid input JSON on line 1, column 2: Cannot build Filter, some of required "
                    "attributes are not set [propertyName, operator]"
                )
            name = one["propertyName"]
            if name in OF_OTHER_OBJECTS or (name not in view and unknown == "empty"):
                return None
            if name not in view:
                raise BadSearch("There was a problem with the request.")
            kept.append(_filter(one, view[name]["internal"], view[name]["type"]))
        groups.append(kept)
    return groups


def _filter(one: Mapping[str, Any], stored: str, kind: str) -> Filter:
    value, high = str(one.get("value", "")), str(one.get("highValue", ""))
    operator = one["operator"]
    if operator in ("HAS_PROPERTY", "NOT_HAS_PROPERTY") and "value" in one:
        raise BadSearch("There was a problem with the request.")
    numeric = operator in ("LT", "LTE", "GT", "GTE", "BETWEEN")
    if numeric or kind in ("date", "datetime"):
        for number in [value, *([high] if operator == "BETWEEN" else [])]:
            if not number.lstrip("-").isdigit():
                raise BadSearch("There was a problem with the request.")
    return Filter(stored, operator, value, high, tuple(str(v) for v in one.get("values") or ()))


def _sort(sorts: Sequence[Any]) -> tuple[str, bool]:
    """Exactly one rule is honoured."""
    if not sorts:
        return "hs_object_id", False
    first = sorts[0]
    if isinstance(first, str):
        return first.lstrip("-"), first.startswith("-")
    return str(first.get("propertyName", "hs_object_id")), first.get("direction") == "DESCENDING"


def _sort_key(doc: Contact, name: str) -> tuple[float | str, int]:
    held = value_of(doc, name)
    try:
        return (_comparable(doc, name, held or ""), doc.id)
    except ValueError:
        return (float("inf"), doc.id)


def _comparable(doc: Contact, name: str, held: str) -> float:
    if name == "lastmodifieddate":
        return doc.modified
    if name == "createdate":
        return doc.created
    when = milliseconds(held) if not held.lstrip("-").isdigit() else None
    return float(when if when is not None else held)


def _all(portal: Portal, descending: bool) -> Iterator[Contact]:
    ids: Iterable[int] = portal.ids()
    if descending:
        seeded = range(FIRST_ID + portal.count - 1, FIRST_ID - 1, -1)
        ids = chain(reversed(portal.added), seeded)
    return (doc for one in ids if (doc := portal.index.doc(one)) is not None)


def _matching(portal: Portal, group: Sequence[Filter]) -> Iterator[Contact]:
    for one in _candidates(portal, group):
        doc = portal.index.doc(one)
        if doc is not None and all(condition.holds(doc) for condition in group):
            yield doc


def _candidates(portal: Portal, group: Sequence[Filter]) -> Iterable[int]:
    """Ids among which all matches are: the whole portal is walked only when nothing narrows it down."""
    for one in group:
        if one.name in (SEARCHABLE_PHONE, SEARCHABLE_MOBILE) and one.operator == "EQ":
            number = f"+1{one.value}"
            # The index may still show a number that the contact has lost meanwhile.
            known = set(portal.holders(number)) | portal.by_number.get(number, set())
            return known | (set(portal.index.seen) if len(portal.index.seen) < 10_000 else set())
        if one.name == "hs_object_id" and one.operator == "EQ" and one.value.isdigit():
            return [int(one.value)]
        since = one.name == "lastmodifieddate" and one.operator in ("GT", "GTE", "BETWEEN")
        if since and float(one.value) > portal.newest_seeded:
            return list(portal.index.seen)
    start = max((int(f.value) for f in group if f.name == "hs_object_id" and f.operator == "GT"), default=0)
    return portal.ids(start)
