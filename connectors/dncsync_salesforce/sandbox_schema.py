"""The sandbox's objects and fields, as one user sees them: permissions and drift included."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from dncsync.testing.faults import FaultKind, Faults
from dncsync_salesforce.sandbox_soql import Column, SoqlError

PHONES: Mapping[str, tuple[str, ...]] = {
    "Contact": ("MobilePhone", "Phone", "HomePhone", "OtherPhone", "AssistantPhone", "Fax"),
    "Lead": ("MobilePhone", "Phone", "Fax"),
    "Account": (
        "PersonMobilePhone",
        "Phone",
        "PersonHomePhone",
        "PersonOtherPhone",
        "PersonAssistantPhone",
        "Fax",
    ),
}
FLAG = {"Contact": "DoNotCall", "Lead": "DoNotCall", "Account": "PersonDoNotCall"}
RECORDS = ("Contact", "Lead", "Account")
PREFIX = {"Contact": "003", "Lead": "00Q", "Account": "001"}
SYSTEM_PERMISSIONS = (
    "PermissionsModifyAllData",
    "PermissionsManageUsers",
    "PermissionsCustomizeApplication",
    "PermissionsAuthorApex",
)
SUCCESSOR = "Do_Not_Call_Flag__c"
"""What a renamed flag is called unless told otherwise."""


@dataclass(frozen=True, slots=True)
class FieldDef:
    """One field of an object."""

    name: str
    type: str = "string"
    label: str = ""
    updateable: bool = True
    custom: bool = False

    def describe(self) -> dict[str, Any]:
        """The field entry of describe (sheet 13)."""
        boolean = self.type == "boolean"
        length = {"phone": 40, "string": 80, "id": 18, "reference": 18, "email": 80}.get(self.type, 0)
        soap = {"boolean": "xsd:boolean", "datetime": "xsd:dateTime", "id": "tns:ID", "reference": "tns:ID"}
        return {
            "name": self.name,
            "label": self.label or self.name,
            "type": self.type,
            "soapType": soap.get(self.type, "xsd:string"),
            "length": length,
            "byteLength": length * 3,
            "createable": self.updateable,
            "updateable": self.updateable,
            "nillable": not boolean,
            "defaultedOnCreate": boolean,
            "defaultValue": False if boolean else None,
            "permissionable": self.updateable,
            "custom": self.custom,
            "calculated": False,
            "filterable": True,
            "groupable": True,
            "sortable": True,
            "unique": False,
            "externalId": False,
            "deprecatedAndHidden": False,
            "autoNumber": False,
            "picklistValues": [],
            "referenceTo": [],
        }


def _system(*more: FieldDef) -> list[FieldDef]:
    names = {
        "Id": "id",
        "IsDeleted": "boolean",
        "MasterRecordId": "reference",
        "CreatedDate": "datetime",
        "CreatedById": "reference",
        "LastModifiedDate": "datetime",
        "LastModifiedById": "reference",
        "SystemModstamp": "datetime",
    }
    return [FieldDef(name, kind, updateable=False) for name, kind in names.items()] + list(more)


def shown_as(sobject: str, contacts: str) -> str:
    """A contact's or lead's custom field as that object has it; "" stays "" (sheet 3.1)."""
    return contacts.removesuffix("__c") + "__pc" if contacts and sobject == "Account" else contacts


def _fields(sobject: str, *, persons: bool, sms_field: str, reason_field: str) -> dict[str, FieldDef]:
    person_only = {name for name in PHONES["Account"] if name.startswith("Person")}
    fields = _system(
        *(FieldDef(n, "phone", n) for n in PHONES[sobject] if persons or n not in person_only),
        FieldDef("Email" if sobject != "Account" else "Website", "string"),
    )
    if sobject != "Account" or persons:
        fields.append(FieldDef(FLAG[sobject], "boolean", "Do Not Call"))
        prefix = "Person" if sobject == "Account" else ""
        fields += [FieldDef(f"{prefix}HasOptedOutOf{what}", "boolean") for what in ("Email", "Fax")]
        if sms_field:
            fields.append(FieldDef(shown_as(sobject, sms_field), "boolean", "SMS Opt Out", custom=True))
        if reason_field:
            fields.append(FieldDef(shown_as(sobject, reason_field), label="DNC Reason", custom=True))
    if sobject == "Account":
        fields.append(FieldDef("Name"))
        if persons:
            fields.append(FieldDef("PersonContactId", "reference", updateable=False))
    else:
        fields += [FieldDef("LastName"), FieldDef("Company" if sobject == "Lead" else "Title")]
    if sobject == "Contact":
        fields.append(FieldDef("AccountId", "reference"))
    if sobject == "Lead":
        fields += [
            FieldDef("IsConverted", "boolean", updateable=False),
            FieldDef("ConvertedContactId", "reference", updateable=False),
            FieldDef("ConvertedAccountId", "reference", updateable=False),
            FieldDef("ConvertedDate", "datetime", updateable=False),
        ]
    elif persons:
        fields.append(FieldDef("IsPersonAccount", "boolean", updateable=False))
    return {field.name: field for field in fields}


def _helpers() -> dict[str, dict[str, FieldDef]]:
    def table(**columns: str) -> dict[str, FieldDef]:
        return {name: FieldDef(name, kind, updateable=False) for name, kind in columns.items()}

    history = {"Field": "string", "OldValue": "string", "NewValue": "string"}
    by = {"CreatedById": "reference", "CreatedDate": "datetime"}
    permissions = table(
        SobjectType="string", Field="string", PermissionsRead="boolean", PermissionsEdit="boolean"
    )
    definition = table(QualifiedApiName="string", DataType="string")
    entity = "EntityDefinition.QualifiedApiName"
    return {
        "ContactHistory": table(Id="id", ContactId="reference", **history, **by),
        "LeadHistory": table(Id="id", LeadId="reference", **history, **by),
        "FieldPermissions": {**permissions, "Parent.Label": FieldDef("Parent.Label")},
        "FieldDefinition": {**definition, entity: FieldDef(entity)},
        "UserPermissionAccess": table(**dict.fromkeys(SYSTEM_PERMISSIONS, "boolean")),
    }


class SandboxSchema:
    """All fields that exist, and what the integration user sees of them today."""

    def __init__(
        self, faults: Faults, *, persons: bool, sms_field: str, reason_field: str, history: bool
    ) -> None:
        self.persons = persons
        self.history = history
        self.sms_field = sms_field
        self.reason_field = reason_field
        self.fields = {
            name: _fields(name, persons=persons, sms_field=sms_field, reason_field=reason_field)
            for name in RECORDS
        }
        """Of records, by object and name."""
        self.helpers = _helpers()
        self.hidden: set[tuple[str, str]] = set()
        self.read_only: set[tuple[str, str]] = set()
        self.renamed: dict[tuple[str, str], str] = {}
        self.retyped: dict[tuple[str, str], str] = {}
        self.no_object: set[str] = set()
        """Objects without any permission."""
        self._faults = faults

    def seen(self, sobject: str) -> dict[str, tuple[FieldDef, str]]:
        """Field by present name -> (definition as the user sees it, stored column)."""
        hidden = self.hidden | self._by_fault(FaultKind.HIDDEN_FIELD).keys()
        read_only = self.read_only | self._by_fault(FaultKind.READ_ONLY_FIELD).keys()
        renamed = {
            **self.renamed,
            **{p: f.get("to", SUCCESSOR) for p, f in self._by_fault(FaultKind.RENAMED_FIELD).items()},
        }
        retyped = {
            **self.retyped,
            **{p: f.get("type", "picklist") for p, f in self._by_fault(FaultKind.RETYPED_FIELD).items()},
        }
        deleted = self._by_fault(FaultKind.DELETED_FIELD).keys()
        seen: dict[str, tuple[FieldDef, str]] = {}
        for name, definition in self.fields[sobject].items():
            place = (sobject, name)
            if place in hidden or place in deleted:
                continue
            if place in retyped:
                definition = replace(definition, type=retyped[place])
            if place in read_only:
                definition = replace(definition, updateable=False)
            if place in renamed:
                definition = replace(definition, name=renamed[place], custom=True)
            seen[definition.name] = (definition, name)
        return seen

    def visible(self, name: str) -> tuple[str, Mapping[str, Column]]:
        """See `sandbox_soql.Visible`."""
        spelled = {n.lower(): n for n in (*RECORDS, *self.helpers)}.get(name.lower())
        off = not self.history and spelled in ("ContactHistory", "LeadHistory")
        if spelled is None or off or spelled in self.no_object:
            raise SoqlError("INVALID_TYPE", f"sObject type '{name}' is not supported.")
        if spelled in self.helpers:
            columns = {n.lower(): Column(n, n, f.type) for n, f in self.helpers[spelled].items()}
        else:
            columns = {n.lower(): Column(n, stored, f.type) for n, (f, stored) in self.seen(spelled).items()}
        return spelled, columns

    def exists(self, sobject: str, name: str) -> bool:
        """Whether the org has that field, whoever may see it."""
        return (sobject, name) not in self._by_fault(FaultKind.DELETED_FIELD)

    def flags(self, sobject: str) -> tuple[str, ...]:
        """The opt-out checkboxes that exist on an object: voice, then SMS."""
        names = self.fields[sobject]
        both = (FLAG[sobject], shown_as(sobject, self.sms_field))
        return tuple(name for name in both if name in names)

    def _by_fault(self, kind: FaultKind) -> dict[tuple[str, str], dict[str, Any]]:
        """Places that a fault hits: `object` (default all) and `field` (default the Do Not Call checkbox)."""
        fault = self._faults.active(kind)
        if fault is None:
            return {}
        objects = [fault.params["object"]] if "object" in fault.params else list(RECORDS)
        return {(o, fault.params.get("field", FLAG[o])): fault.params for o in objects}
