"""The sandbox's writing side: sObject Collections updates with every way in which a record can refuse."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Request, Response

from dncsync.testing.faults import FaultKind
from dncsync_salesforce.sandbox_answers import answer, error, item_error
from dncsync_salesforce.sandbox_schema import PREFIX
from dncsync_salesforce.sandbox_store import guard

if TYPE_CHECKING:
    from dncsync_salesforce.sandbox import SalesforceSandbox

MOST_RECORDS, MOST_RUNS = 200, 10


class _WholeRefusal(Exception):
    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


class Writing:
    """`PATCH composite/sobjects`."""

    def __init__(self, sandbox: SalesforceSandbox) -> None:
        self._sandbox = sandbox
        sandbox.route("/services/data/v<version>/composite/sobjects", self.patch, methods=("PATCH",))

    def patch(self, request: Request, version: str) -> Response:
        """200 even if every record failed; results in request order (sheet 8.1)."""
        try:
            body = json.loads(request.get_data())
            records = body["records"]
            types = [record["attributes"]["type"] for record in records]
            ids = [record["id"] for record in records]
        except (ValueError, KeyError, TypeError):
            return error(400, "JSON_PARSER_ERROR", "unexpected body")
        if len(records) > MOST_RECORDS:
            return error(400, "EXCEEDED_MAX_SIZE_REQUEST", f"at most {MOST_RECORDS} records")
        if len(list(itertools.groupby(types))) > MOST_RUNS:
            return error(400, "TOO_MANY_OBJECT_CHUNKS", f"at most {MOST_RUNS} chunks of one object")
        fault = self._sandbox.faults.take(FaultKind.DROPPED_WRITE, request.method, request.path)
        allow = "allowsave=true" in request.headers.get("Sforce-Duplicate-Rule-Header", "").lower()
        try:
            refusals = [self._refusal(record, ids.count(record["id"]), allow=allow) for record in records]
        except _WholeRefusal as whole:
            return whole.response
        results = []
        for record, refusal in zip(records, refusals, strict=True):
            if refusal is not None:
                results.append(self._failed(record["id"], refusal))
                continue
            if fault is None or "by" in fault.params:
                self._save(record, str(fault.params["by"]) if fault is not None else "")
            results.append({"id": _full(record["id"]), "success": True, "errors": []})
        return answer(results)

    def _failed(self, record_id: str, refusal: dict[str, Any]) -> dict[str, Any]:
        """Failed entries may carry no id: option `failed_ids` is `absent`, `null` or `given`."""
        shown = self._sandbox.options.get("failed_ids", "absent")
        entry: dict[str, Any] = {"success": False, "errors": [refusal]}
        if shown != "absent":
            entry["id"] = _full(record_id) if shown == "given" else None
        return entry

    def _refusal(self, record: dict[str, Any], times: int, *, allow: bool) -> dict[str, Any] | None:
        sandbox, sobject, record_id = self._sandbox, record["attributes"]["type"], _full(record["id"])
        schema = sandbox.schema
        if sobject not in PREFIX or sobject in schema.no_object:
            self._refuse_whole("INVALID_TYPE", f"sObject type '{sobject}' is not supported.")
        seen = schema.seen(sobject)
        fields = [name for name in record if name not in ("attributes", "id", "Id")]
        for name in fields:
            if name not in seen:
                words = f"No such column '{name}' on sobject of type {sobject}"
                if sandbox.options.get("unknown_field_fails", "request") == "request":
                    self._refuse_whole("INVALID_FIELD", words)
                return item_error("INVALID_FIELD", words)
            if not seen[name][0].updateable:
                words = (
                    f"Unable to create/update fields: {name}. Please check the security settings of this "
                    "field and verify that it is read/write for your profile or permission set."
                )
                return item_error("INVALID_FIELD_FOR_INSERT_UPDATE", words, [name])
            if seen[name][0].type == "boolean" and not isinstance(record[name], bool):
                return item_error("INVALID_TYPE_ON_FIELD_IN_RECORD", f"{name}: value not of required type")
        if times > 1:
            return item_error("DUPLICATE_VALUE", "duplicate id in the list")
        row = sandbox.store.get(sobject, record_id) if record_id.startswith(PREFIX[sobject]) else None
        if row is None:
            return item_error("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
        if row["IsDeleted"]:
            return item_error("ENTITY_IS_DELETED", "entity is deleted")
        if row.get("IsConverted"):
            return item_error("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead")
        return self._rule_against(f"{sobject}/{record_id}", row, sobject, allow=allow)

    def _rule_against(
        self, key: str, row: dict[str, Any], sobject: str, *, allow: bool
    ) -> dict[str, Any] | None:
        sandbox = self._sandbox
        if sobject == "Contact" and row.get("IsPersonAccount"):
            if sandbox.options.get("hidden_contact_writable", False):
                return None
            return item_error("INVALID_PERSON_ACCOUNT_OPERATION", "cannot update a person account's contact")
        if sandbox.locked.get(key, 0) > 0:
            sandbox.locked[key] -= 1
            words = f"unable to obtain exclusive access to this record or 1 records: {row['Id']}"
            return item_error("UNABLE_TO_LOCK_ROW", words)
        if key in sandbox.validation_rule:
            words = "Consent changes go through the privacy team, call 555-010-9999"
            return item_error("FIELD_CUSTOM_VALIDATION_EXCEPTION", words)
        if key in sandbox.trigger_throws:
            return item_error("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "DncTrigger: execution of BeforeUpdate")
        if key in sandbox.duplicate_rule:
            may = sandbox.duplicate_rule[key]
            if not (allow and may):
                refusal = item_error("DUPLICATES_DETECTED", "Use one of these records?")
                if sandbox.options.get("duplicate_result", True):
                    refusal["duplicateResult"] = {"allowSave": may, "duplicateRule": "Standard"}
                return refusal
        return None

    def _refuse_whole(self, code: str, words: str) -> None:
        raise _WholeRefusal(error(400, code, words))

    def _save(self, record: dict[str, Any], overwriter: str) -> None:
        """`overwriter`: who un-ticks it again: `trigger`, a user's id, or nobody."""
        sandbox, sobject, record_id = self._sandbox, record["attributes"]["type"], _full(record["id"])
        seen = sandbox.schema.seen(sobject)
        values = {
            seen[name][1]: int(value) if isinstance(value, bool) else value
            for name, value in record.items()
            if name not in ("attributes", "id", "Id")
        }
        sandbox.store.update(sobject, record_id, values, sandbox.our_user)
        if sandbox.resetting_trigger or overwriter:
            # Automation works in the same transaction, as the same user.
            by = overwriter if overwriter not in ("", "trigger") else sandbox.our_user
            reset = {name: 0 for name in values if name in sandbox.schema.flags(sobject)}
            sandbox.store.update(sobject, record_id, reset, by)


def _full(record_id: str) -> str:
    return record_id if len(record_id) == 18 else record_id + guard(record_id)
