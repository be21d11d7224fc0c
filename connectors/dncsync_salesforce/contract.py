"""The field contract against describe: what stands, what is hidden, what changed, and how to mend it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dncsync.connector import FieldCheck, FieldStatus, VendorError
from dncsync_salesforce.client import OrgClient
from dncsync_salesforce.fields import TEXTS, Kind
from dncsync_salesforce.schema import Schema
from dncsync_salesforce.settings import STANDARD_FLAG
from dncsync_salesforce.soql import select, text

FINGERPRINT = (
    "name",
    "label",
    "type",
    "length",
    "updateable",
    "createable",
    "nillable",
    "defaultValue",
    "permissionable",
    "calculated",
    "deprecatedAndHidden",
)
"""The parts of a field's definition that drift baselines compare (sheet 13)."""
STANDARD_LABEL = "Do Not Call"
GRANT = (
    "Setup > Permission Sets > (the integration user's) > Object Settings > {object} > {field}: tick {what}"
)
LIKENESS = 0.6


@dataclass(frozen=True, slots=True)
class Use:
    """What fields of one kind are for, in the words of their checks."""

    setting: str
    """Where the configuration names them, per object."""
    expected: str
    types: tuple[str, ...]
    """As describe calls them."""
    made: str
    """What an admin makes."""
    access: str = "Read Access"


CHECKBOX = Use(
    "flags", "a checkbox that our user may edit", ("boolean",), "a checkbox", "Read Access and Edit Access"
)
PHONE = Use("phones", "a text or phone field that our user may read", ("phone", "string"), "a phone field")
REASON = Use("reasons", "a text field or picklist that our user may read", TEXTS, "a text field")


class Contract:
    """Checks every field that is read or written."""

    def __init__(self, client: OrgClient, schema: Schema) -> None:
        self._client = client
        self._schema = schema

    def checks(self) -> tuple[FieldCheck, ...]:
        """See `Connector.describe`. Describes anew. Raises `VendorError`."""
        self._schema.forget()
        checks: list[FieldCheck] = []
        for kind in self._schema.kinds():
            fields = self._schema.fields(kind.sobject)
            checks += [self._checkbox(kind, flag.field, fields) for flag in kind.flags.values()]
            phones = kind.phones or self._schema.columns(kind).phones
            checks += [self._readable(kind, name, PHONE, fields) for name in phones]
            if kind.reason:
                checks.append(self._readable(kind, kind.reason, REASON, fields))
            if not phones:
                mend = GRANT.format(object=kind.sobject, field="phone fields", what="Read")
                name = f"{kind.sobject}.(phone fields)"
                checks.append(FieldCheck(name, FieldStatus.HIDDEN, "at least one phone field", "none", mend))
        return tuple(checks)

    def _checkbox(self, kind: Kind, name: str, fields: Mapping[str, Mapping[str, Any]]) -> FieldCheck:
        full, expected = f"{kind.sobject}.{name}", CHECKBOX.expected
        entry = fields.get(name)
        if entry is None:
            return self._absent(kind, name, CHECKBOX, fields)
        fingerprint = {part: entry.get(part) for part in FINGERPRINT}
        seen = f"{entry.get('type')}, {'editable' if entry.get('updateable') else 'read-only'}"
        if entry.get("type") != "boolean":
            mend = f"make {full} a checkbox again, or name another field under flags.{kind.name}"
            return FieldCheck(full, FieldStatus.CHANGED, expected, seen, mend, fingerprint)
        if not entry.get("updateable"):
            if entry.get("calculated"):
                mend = (
                    f"{full} is a formula: name the checkbox that it is computed from under flags.{kind.name}"
                )
            else:
                mend = GRANT.format(object=kind.sobject, field=name, what="Edit Access")
            return FieldCheck(full, FieldStatus.READ_ONLY, expected, seen, mend, fingerprint)
        return FieldCheck(full, FieldStatus.OK, expected, seen, fingerprint=fingerprint)

    def _readable(
        self, kind: Kind, name: str, use: Use, fields: Mapping[str, Mapping[str, Any]]
    ) -> FieldCheck:
        full, expected = f"{kind.sobject}.{name}", use.expected
        entry = fields.get(name)
        if entry is None:
            return self._absent(kind, name, use, fields)
        fingerprint = {part: entry.get(part) for part in FINGERPRINT}
        if entry.get("type") not in use.types:
            mend = (
                f"make {full} {use.made} again, or take it out of {use.setting}.{kind.name} "
                "in the configuration"
            )
            return FieldCheck(full, FieldStatus.CHANGED, expected, str(entry.get("type")), mend, fingerprint)
        return FieldCheck(full, FieldStatus.OK, expected, str(entry.get("type")), fingerprint=fingerprint)

    def _absent(self, kind: Kind, name: str, use: Use, fields: Mapping[str, Mapping[str, Any]]) -> FieldCheck:
        """Describe looks the same for a hidden and a deleted field (sheet 5): other witnesses are asked."""
        full, expected = f"{kind.sobject}.{name}", use.expected
        setting = f"{use.setting}.{kind.name}"
        grant = GRANT.format(object=kind.sobject, field=name, what=use.access)
        sets = self._granted_elsewhere(kind.sobject, name)
        if sets:
            seen = f"hidden from our user; visible in: {', '.join(sets[:5])}"
            return FieldCheck(full, FieldStatus.HIDDEN, expected, seen, grant)
        exists = self._exists(kind.sobject, name)
        if exists:
            return FieldCheck(
                full, FieldStatus.HIDDEN, expected, "exists, but is hidden from our user", grant
            )
        successor = _likely_successor(kind, name, use, fields)
        if successor:
            seen = f"absent; {kind.sobject}.{successor} looks like its successor"
            mend = f"if it is, name {successor} under {setting} in the configuration; else: {grant}"
            return FieldCheck(full, FieldStatus.RENAMED, expected, seen, mend)
        if exists is None and not name.endswith("__c") and not name.endswith("__pc"):
            seen = "absent from describe; a standard field cannot be deleted, so it is hidden from our user"
            return FieldCheck(full, FieldStatus.HIDDEN, expected, seen, grant)
        if exists is None:
            mend = f"hidden: {grant}; or deleted: create it, or change {setting} in the configuration"
            return FieldCheck(
                full, FieldStatus.MISSING, expected, "hidden or missing, the org does not say", mend
            )
        mend = f"create {use.made} with API name {name} on {kind.sobject}, or change {setting}"
        return FieldCheck(full, FieldStatus.MISSING, expected, "no such field in the org", mend)

    def _granted_elsewhere(self, sobject: str, name: str) -> list[str]:
        """Labels of permission sets that see the field. Not every user may ask; then none."""
        soql = select(
            "Parent.Label, PermissionsRead, PermissionsEdit",
            "FieldPermissions",
            (f"SobjectType = {text(sobject)}", f"Field = {text(f'{sobject}.{name}')}"),
        )
        try:
            rows = self._client.all_rows(soql)
        except VendorError:
            return []
        labels = [(row.get("Parent") or {}).get("Label") for row in rows if row.get("PermissionsRead")]
        return [str(label or "a permission set") for label in labels]

    def _exists(self, sobject: str, name: str) -> bool | None:
        """Whether the Tooling API has it, which knows fields whoever may see them; None: we may not ask."""
        soql = select(
            "QualifiedApiName",
            "FieldDefinition",
            (f"EntityDefinition.QualifiedApiName = {text(sobject)}", f"QualifiedApiName = {text(name)}"),
        )
        try:
            return bool(self._client.tooling(soql))
        except VendorError:
            return None


def _likely_successor(kind: Kind, name: str, use: Use, fields: Mapping[str, Mapping[str, Any]]) -> str | None:
    """A custom field of the same use whose name or label is much like the one that went."""
    label = STANDARD_LABEL if name == STANDARD_FLAG[kind.name] else _plain(name)
    best, best_ratio = None, LIKENESS
    for other, entry in fields.items():
        if entry.get("type") not in use.types or other in STANDARD_FLAG.values() or not entry.get("custom"):
            continue
        ratio = max(
            difflib.SequenceMatcher(None, _plain(name), _plain(other)).ratio(),
            difflib.SequenceMatcher(None, _plain(label), _plain(str(entry.get("label")))).ratio(),
        )
        if ratio > best_ratio:
            best, best_ratio = other, ratio
    return best


def _plain(name: str) -> str:
    return (
        name.removesuffix("__c")
        .removesuffix("__pc")
        .rpartition("__")[2]
        .replace("_", "")
        .replace(" ", "")
        .lower()
    )
