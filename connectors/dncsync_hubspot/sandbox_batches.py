"""The sandbox portal's batch endpoints, and how it shows a contact (sheet sections 2.1 and 4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Request, Response

from dncsync.testing.faults import FaultKind
from dncsync_hubspot import sandbox_answers as answers
from dncsync_hubspot.sandbox_portal import OVERWRITERS, Contact, iso, value_of
from dncsync_hubspot.sandbox_schema import DEFAULT_PROPERTIES, YES_NO

if TYPE_CHECKING:
    from dncsync_hubspot.sandbox import HubSpotSandbox

ALWAYS = ("hs_object_id", "createdate", "lastmodifieddate")
"""Come back even when not asked for (sheet 2.1)."""


class Batches:
    """Handlers of `batch/*`, and what single reads and writes share with them."""

    def __init__(self, sandbox: HubSpotSandbox, options: Mapping[str, Any]) -> None:
        self._sandbox = sandbox
        self.empty = str(options.get("empty_properties", "null"))
        self._echo = bool(options.get("echo_written", True))
        self._all_missing = int(options.get("all_missing_status", 207))
        self._partial = bool(options.get("partial_update", True))
        self._merged_update = str(options.get("merged_update", "drop"))
        self._depth = int(options.get("history_depth", 20))

    # --- showing contacts -----------------------------------------------------------------------------

    def shown(
        self, contacts: Iterable[Contact], wanted: Sequence[str], history: Sequence[str]
    ) -> list[dict[str, Any]]:
        """Contacts as JSON objects: strings or null, undefined properties left out in silence."""
        schema = self._sandbox.schema
        asked = schema.readable([*(wanted or DEFAULT_PROPERTIES), *ALWAYS])
        asked_history = schema.readable(history)
        return [self._show(contact, asked, asked_history) for contact in contacts]

    def one(self, contact: Contact, written: Mapping[str, str] | None = None) -> dict[str, Any]:
        """A contact as a write answers it: the default properties, and what was written."""
        record = self.shown([contact], DEFAULT_PROPERTIES, ())[0]
        if written and self._echo:
            record["properties"] |= {name: value or None for name, value in written.items()}
        return record

    def _show(
        self,
        contact: Contact,
        asked: Sequence[tuple[str, str, bool]],
        history: Sequence[tuple[str, str, bool]],
    ) -> dict[str, Any]:
        properties: dict[str, str | None] = {}
        for name, stored, yes_no in asked:
            value = value_of(contact, stored)
            if value is None and self.empty == "omitted":
                continue
            properties[name] = YES_NO.get(value, value) if yes_no and value else value
        record: dict[str, Any] = {
            "id": str(contact.id),
            "properties": properties,
            "createdAt": iso(contact.created),
            "updatedAt": iso(contact.modified),
            "archived": contact.archived is not None,
        }
        if contact.archived is not None:
            record["archivedAt"] = iso(contact.archived)
        if history:
            record["propertiesWithHistory"] = {
                name: contact.history.get(stored, [])[: self._depth] for name, stored, _ in history
            }
        return record

    # --- handlers ---------------------------------------------------------------------------------------

    def read(self, request: Request) -> Response:
        """`batch/read`: a merged-away id gives the survivor under its own id."""
        body = answers.body(request)
        history = tuple(body.get("propertiesWithHistory") or ())
        inputs = body.get("inputs") or []
        refused = self._refused(inputs, 50 if history else 100)
        if refused is not None:
            return refused
        archived = answers.is_true(request, "archived")
        found: dict[int, Contact] = {}
        missing: list[str] = []
        for one in inputs:
            contact = self._find(str(one["id"]))
            if contact is not None and not contact.purged and (contact.archived is not None) is archived:
                found[contact.id] = contact
            else:
                missing.append(str(one["id"]))
        results = self.shown(found.values(), tuple(body.get("properties") or ()), history)
        if missing and not results and self._all_missing == 404:
            return answers.json({**answers.missing_in_batch(missing, ()), "correlationId": "none"}, 404)
        return self._multi(results, [answers.missing_in_batch(missing, ())] if missing else [])

    def update(self, request: Request) -> Response:
        """`batch/update`: duplicate ids or (without trace ids) one bad value refuse all of it."""
        inputs = answers.body(request).get("inputs") or []
        refused = self._refused(inputs, 100)
        if refused is not None:
            return refused
        sandbox = self._sandbox
        traced = self._partial and all(one.get("objectWriteTraceId") for one in inputs)
        ready: list[tuple[dict[str, Any], Contact, dict[str, str]]] = []
        errors: list[dict[str, Any]] = []
        missing: list[dict[str, Any]] = []
        for one in inputs:
            contact = sandbox.portal.get(int(one["id"])) if str(one["id"]).isdigit() else None
            if contact is not None and contact.merged_into is not None and self._merged_update == "drop":
                continue
            if contact is None or not contact.alive:
                missing.append(one)
                continue
            values, faults = sandbox.schema.check(one.get("properties") or {})
            if faults and not traced:
                return answers.bad_properties(sandbox.next_correlation(), faults, sandbox.portal_id)
            if faults:
                said = answers.property_errors(faults, sandbox.portal_id)
                context = {"objectWriteTraceId": [one["objectWriteTraceId"]]}
                head = {"status": "error", "category": "VALIDATION_ERROR", "context": context, "links": {}}
                errors.append(head | said)
                continue
            ready.append((one, contact, values))
        if missing:
            traces = [str(one["objectWriteTraceId"]) for one in missing if one.get("objectWriteTraceId")]
            errors.append(answers.missing_in_batch([str(one["id"]) for one in missing], traces))
        results = []
        for one, contact, values in ready:
            self.apply(contact, values, request)
            record = self.one(contact, {name: values.get(name, "") for name in one["properties"]})
            if one.get("objectWriteTraceId"):
                record["objectWriteTraceId"] = one["objectWriteTraceId"]
            results.append(record)
        return self._multi(results, errors)

    def create(self, request: Request) -> Response:
        """`batch/create`; the first conflict is the only one reported (sheet 5.2)."""
        results = []
        for one in answers.body(request).get("inputs") or []:
            made = self.make(one.get("properties") or {})
            if isinstance(made, Response):
                return made
            results.append(self.one(made))
        return self._multi(results, [], 201)

    def archive(self, request: Request) -> Response:
        """`batch/archive`."""
        for one in answers.body(request).get("inputs") or []:
            contact = self._find(str(one["id"]))
            if contact is not None and contact.alive:
                self._sandbox.archive(str(contact.id))
        return Response(status=204)

    # --- shared -------------------------------------------------------------------------------------------

    def make(self, properties: Mapping[str, Any]) -> Contact | Response:
        """Creates a contact, or says why not."""
        sandbox = self._sandbox
        values, faults = sandbox.schema.check(properties)
        if faults:
            return answers.bad_properties(sandbox.next_correlation(), faults, sandbox.portal_id)
        return sandbox.create(values, sandbox.api_source)

    def apply(self, contact: Contact, values: Mapping[str, str], request: Request) -> None:
        """Writes, unless the write is one that HubSpot takes and does not keep."""
        fault = self._sandbox.faults.take(FaultKind.DROPPED_WRITE, request.method, request.path)
        if fault is None:
            self._sandbox.change(contact, values, self._sandbox.api_source)
        elif by := fault.params.get("by"):
            before = {name: contact.properties.get(name) or "" for name in values}
            self._sandbox.change(contact, values, self._sandbox.api_source)
            self._sandbox.change(contact, before, OVERWRITERS[str(by)])

    def _find(self, contact_id: str) -> Contact | None:
        return self._sandbox.portal.survivor(int(contact_id)) if contact_id.isdigit() else None

    def _refused(self, inputs: Sequence[Mapping[str, Any]], most: int) -> Response | None:
        correlation = self._sandbox.next_correlation()
        if not inputs:
            return answers.invalid(correlation, "Invalid input JSON: inputs must not be empty")
        if len(inputs) > most:
            return answers.invalid(correlation, f"The maximum number of inputs is {most}")
        counted = Counter(str(one.get("id")) for one in inputs)
        twice = [one for one, count in counted.items() if count > 1]
        return answers.duplicate_ids(correlation, twice) if twice else None

    def _multi(
        self, results: list[dict[str, Any]], errors: list[dict[str, Any]], status: int = 200
    ) -> Response:
        now = iso(self._sandbox.portal.now())
        body: dict[str, Any] = {
            "status": "COMPLETE",
            "results": results,
            "startedAt": now,
            "completedAt": now,
        }
        if errors:
            body |= {"numErrors": len(errors), "errors": errors}
        return answers.json(body, 207 if errors else status)
