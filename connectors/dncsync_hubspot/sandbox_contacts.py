"""The sandbox portal's contact endpoints other than batches: listing, single calls, search, merge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Request, Response

from dncsync.testing.faults import FaultKind
from dncsync_hubspot import sandbox_answers as answers
from dncsync_hubspot.sandbox_batches import Batches
from dncsync_hubspot.sandbox_portal import Contact
from dncsync_hubspot.sandbox_schema import DEFAULT_PROPERTIES
from dncsync_hubspot.sandbox_search import BadSearch, search

if TYPE_CHECKING:
    from dncsync_hubspot.sandbox import HubSpotSandbox


class ContactCalls:
    """Handlers of `/crm/v3/objects/contacts...`."""

    def __init__(self, sandbox: HubSpotSandbox, batches: Batches) -> None:
        self._sandbox = sandbox
        self._batches = batches
        self._correlation = sandbox.next_correlation
        self._portal = sandbox.portal
        self._schema = sandbox.schema

    def list_or_create(self, request: Request) -> Response:
        """`GET` and `POST` on the collection."""
        return self._list(request) if request.method == "GET" else self._create(request)

    def _list(self, request: Request) -> Response:
        wanted, history = (
            answers.names(request, "properties"),
            answers.names(request, "propertiesWithHistory"),
        )
        limit, after = request.args.get("limit", "10"), request.args.get("after", "0")
        if not limit.isdigit() or not 0 < int(limit) <= (50 if history else 100) or not after.isdigit():
            return answers.invalid(self._correlation(), "The limit or cursor is not valid")
        archived = answers.is_true(request, "archived")
        start = int(after)
        if start and self._sandbox.faults.take(FaultKind.REPEATED_PAGE, "GET", request.path):
            start = 0
        end = self._end_of_list(request)
        rows: list[Contact] = []
        following: int | None = None
        for contact in self._listed(start, archived):
            if end is not None and contact.id >= end:
                break
            if len(rows) == int(limit):
                following = contact.id
                break
            rows.append(contact)
        body: dict[str, Any] = {"results": self._batches.shown(rows, wanted, history)}
        if following is not None:
            link = f"https://api.hubapi.com{request.path}?after={following}"
            body["paging"] = {"next": {"after": str(following), "link": link}}
        return answers.json(body)

    def _listed(self, start: int, archived: bool) -> Iterator[Contact]:
        for one in self._portal.ids(start):
            contact = self._portal.get(one)
            if contact is None or contact.purged or contact.merged_into is not None:
                continue
            if (contact.archived is not None) is archived:
                yield contact

    def _end_of_list(self, request: Request) -> int | None:
        """Where a listing that is cut short ends."""
        fault = self._sandbox.faults.active(FaultKind.SHORT_LIST)
        if fault is None or not self._sandbox.faults.take(FaultKind.SHORT_LIST, "GET", request.path):
            return None
        ids = list(self._portal.ids())
        kept = int(len(ids) * float(fault.params.get("share", 0.5)))
        return ids[kept] if kept < len(ids) else None

    def _create(self, request: Request) -> Response:
        made = self._batches.make(answers.body(request).get("properties") or {})
        return made if isinstance(made, Response) else answers.json(self._batches.one(made), 201)

    def one(self, request: Request, contact_id: str) -> Response:
        """`GET`, `PATCH` and `DELETE` of one contact; merged-away ids lead to the survivor."""
        if not contact_id.isdigit():
            return answers.not_numeric(self._correlation(), contact_id)
        contact = self._portal.survivor(int(contact_id))
        archived = answers.is_true(request, "archived")
        if contact is None or contact.purged or (contact.archived is not None) is not archived:
            return answers.no_such_contact(self._correlation())
        if request.method == "DELETE":
            self._sandbox.archive(str(contact.id))
            return Response(status=204)
        if request.method == "PATCH":
            values, faults = self._schema.check(answers.body(request).get("properties") or {})
            if faults:
                return answers.bad_properties(self._correlation(), faults, self._sandbox.portal_id)
            self._batches.apply(contact, values, request)
            return answers.json(self._batches.one(contact, values))
        wanted, history = (
            answers.names(request, "properties"),
            answers.names(request, "propertiesWithHistory"),
        )
        return answers.json(self._batches.shown([contact], wanted, history)[0])

    def search(self, request: Request) -> Response:
        """`search`: its body may have 3,000 characters."""
        if len(request.get_data()) > 3000:
            return answers.invalid(self._correlation(), "The request body is too long")
        body = answers.body(request)
        if self._sandbox.faults.take(FaultKind.REPEATED_PAGE, "POST", request.path):
            body = {**body, "filterGroups": _without_keyset(body.get("filterGroups") or [])}
        try:
            total, docs = search(
                self._portal,
                self._schema,
                body,
                str(self._sandbox.options.get("unknown_filter", "400")),
            )
        except BadSearch as error:
            return answers.invalid(self._correlation(), str(error))
        wanted = tuple(body.get("properties") or DEFAULT_PROPERTIES)
        limit, after = int(body.get("limit", 10)), int(body.get("after") or 0)
        answer: dict[str, Any] = {"total": total, "results": self._batches.shown(docs, wanted, ())}
        if after + limit < total:
            answer["paging"] = {"next": {"after": str(after + limit)}}
        return answers.json(answer)

    def merge(self, request: Request) -> Response:
        """`merge`."""
        body = answers.body(request)
        found = [self._portal.survivor(int(body[k])) for k in ("primaryObjectId", "objectIdToMerge")]
        primary, loser = found
        if primary is None or loser is None or not primary.alive or not loser.alive or primary is loser:
            return answers.no_such_contact(self._correlation())
        return answers.json(
            self._batches.one(self._sandbox.living(int(self._sandbox.merge_contacts(primary, loser))))
        )

    def gdpr_delete(self, request: Request) -> Response:
        """`gdpr-delete`; of an unknown contact too."""
        contact = self._portal.survivor(int(answers.body(request)["objectId"]))
        if contact is not None and not contact.purged:
            self._sandbox.gdpr_delete(str(contact.id))
        return Response(status=204)


def _without_keyset(groups: Sequence[Any]) -> list[dict[str, Any]]:
    """The groups without their `hs_object_id` filter: the next page is the first one again."""
    return [
        {"filters": [f for f in group.get("filters", []) if f.get("propertyName") != "hs_object_id"]}
        for group in groups
    ]
