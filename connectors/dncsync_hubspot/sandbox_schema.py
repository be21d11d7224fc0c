"""The sandbox portal's contact properties: definitions, and the faults that change what callers see."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dncsync.testing.faults import FaultKind, Faults

SEARCHABLE_PHONE = "hs_searchable_calculated_phone_number"
SEARCHABLE_MOBILE = "hs_searchable_calculated_mobile_number"
DEFAULT_PROPERTIES = ("createdate", "email", "firstname", "hs_object_id", "lastmodifieddate", "lastname")
YES_NO = {"true": "Yes", "false": "No"}
REASON = "dnc_reason"
COMPANIONS: Mapping[str, tuple[str, str, str]] = {
    "source": ("dnc_source", "string", "text"),
    "request_id": ("dnc_request_id", "string", "text"),
    "date": ("dnc_date", "date", "date"),
    "reason": (REASON, "string", "text"),
}
"""Under the option `companions`: key of the configuration -> the property's name, type and field type."""


def definition(name: str, kind: str, field_type: str, label: str = "", **more: Any) -> dict[str, Any]:
    """A property as HubSpot describes it (sheet section 6)."""
    options = [
        {"label": text, "value": value, "displayOrder": order, "hidden": False}
        for order, (value, text) in enumerate(more.pop("options", ()))
    ]
    read_only = bool(more.pop("read_only", False))
    return {
        "name": name,
        "label": label or name.replace("_", " ").title(),
        "type": kind,
        "fieldType": field_type,
        "description": "",
        "groupName": "contactinformation",
        "options": options,
        "displayOrder": -1,
        "calculated": False,
        "externalOptions": False,
        "archived": False,
        "hasUniqueValue": False,
        "hidden": False,
        "formField": False,
        "dataSensitivity": "non_sensitive",
        "createdAt": "2021-04-16T18:17:14.911Z",
        "updatedAt": "2021-11-03T15:24:08.528Z",
        "modificationMetadata": {
            "archivable": not read_only,
            "readOnlyDefinition": read_only,
            "readOnlyOptions": read_only,
            "readOnlyValue": read_only,
        },
        **more,
    }


def checkbox(name: str, label: str = "") -> dict[str, Any]:
    """A single checkbox as the UI makes it (sheet 2.4)."""
    return definition(
        name, "enumeration", "booleancheckbox", label, options=[("true", "Yes"), ("false", "No")]
    )


@dataclass(frozen=True, slots=True)
class WriteFault:
    """Why one property of a write is not valid (sheet 5.3)."""

    name: str
    code: str
    message: str


class Schema:
    """Property definitions by name. Faults change the view of them, never the stored values."""

    def __init__(self, faults: Callable[[], Faults], flag_property: str) -> None:
        self._faults = faults
        self.flag_property = flag_property
        own: dict[str, Any] = {"hubspotDefined": True}
        fixed: dict[str, Any] = {**own, "read_only": True}
        made = [
            definition("hs_object_id", "number", "number", "Record ID", **fixed),
            definition("createdate", "datetime", "date", "Create Date", **fixed),
            definition("lastmodifieddate", "datetime", "date", "Last Modified Date", **fixed),
            definition("hs_merged_object_ids", "enumeration", "checkbox", "Merged record IDs", **fixed),
            definition("email", "string", "text", **own),
            definition("firstname", "string", "text", "First Name", **own),
            definition("lastname", "string", "text", "Last Name", **own),
            definition("jobtitle", "string", "text", "Job Title", **own),
            definition("phone", "string", "phonenumber", "Phone Number", **own),
            definition("mobilephone", "string", "phonenumber", "Mobile Phone Number", **own),
            definition(SEARCHABLE_PHONE, "phone_number", "phonenumber", calculated=True, **fixed),
            definition(SEARCHABLE_MOBILE, "phone_number", "phonenumber", calculated=True, **fixed),
            checkbox(flag_property, "Do Not Call"),
        ]
        self.definitions: dict[str, dict[str, Any]] = {one["name"]: one for one in made}
        self.archived: dict[str, dict[str, Any]] = {}

    def add(self, one: dict[str, Any]) -> None:
        """Adds or replaces a property."""
        self.definitions[one["name"]] = one

    # --- the view -----------------------------------------------------------------------------------

    def visible(self, sensitivity: str = "non_sensitive") -> dict[str, dict[str, Any]]:
        """Public name -> definition, as a caller sees them now; `internal` in it is the stored name."""
        hidden = self._target(FaultKind.HIDDEN_FIELD)
        renamed = self._target(FaultKind.RENAMED_FIELD)
        retyped = self._target(FaultKind.RETYPED_FIELD)
        locked = self._target(FaultKind.READ_ONLY_FIELD)
        deleted = self._target(FaultKind.DELETED_FIELD)
        more = self._target(FaultKind.NEW_OPTION)
        seen: dict[str, dict[str, Any]] = {}
        for name, one in self.definitions.items():
            shown = {**one, "internal": name}
            if name == hidden:
                shown["dataSensitivity"] = "sensitive"
            if name == deleted:
                continue
            if name == more:
                shown["options"] = [*one["options"], self._one_more(len(one["options"]))]
            if name == retyped:
                shown |= self._retyped(shown)
            if name == locked:
                shown["modificationMetadata"] = {**one["modificationMetadata"], "readOnlyValue": True}
            if name == renamed:
                fault = self._faults().active(FaultKind.RENAMED_FIELD)
                shown["name"] = (fault.params.get("to") if fault else None) or f"{name}_2"
            if shown["dataSensitivity"] == sensitivity:
                seen[shown["name"]] = shown
        return seen

    def readable(self, names: Iterable[str]) -> list[tuple[str, str, bool]]:
        """(public name, stored name, shown as Yes/No) of those names that exist; others are left out in
        silence (sheet 3.1)."""
        view = self.visible()
        return [
            (name, view[name]["internal"], bool(view[name].get("yes_no")))
            for name in dict.fromkeys(names)
            if name in view
        ]

    def _target(self, kind: FaultKind) -> str:
        fault = self._faults().active(kind)
        return str(fault.params.get("field", self.flag_property)) if fault else ""

    def _one_more(self, order: int) -> dict[str, Any]:
        fault = self._faults().active(FaultKind.NEW_OPTION)
        value = str(fault.params.get("option", "Maybe")) if fault else "Maybe"
        return {"label": value, "value": value, "displayOrder": order, "hidden": False}

    def _retyped(self, shown: Mapping[str, Any]) -> dict[str, Any]:
        fault = self._faults().active(FaultKind.RETYPED_FIELD)
        if fault is not None and fault.params.get("type") == "string":
            return {"type": "string", "fieldType": "text", "options": []}
        options = [
            {"label": v, "value": v, "displayOrder": n, "hidden": False}
            for n, v in enumerate(YES_NO.values())
        ]
        return {"type": "enumeration", "fieldType": "select", "options": options, "yes_no": True}

    # --- writing ------------------------------------------------------------------------------------

    def check(self, properties: Mapping[str, Any]) -> tuple[dict[str, str], list[WriteFault]]:
        """Stored name -> value of a write, and what is wrong with it."""
        view = self.visible()
        values: dict[str, str] = {}
        faults: list[WriteFault] = []
        for name, raw in properties.items():
            one = view.get(name)
            if one is None:
                faults.append(WriteFault(name, "PROPERTY_DOESNT_EXIST", f'Property "{name}" does not exist'))
                continue
            value = _coerced(raw)
            if one["modificationMetadata"]["readOnlyValue"] or one["calculated"]:
                faults.append(WriteFault(name, "READ_ONLY_VALUE", f'"{name}" is a read only property'))
            elif (wrong := _invalid(one, value)) is not None:
                faults.append(WriteFault(name, *wrong))
            else:
                back = {text: stored for stored, text in YES_NO.items()}
                values[one["internal"]] = back.get(value, value) if one.get("yes_no") else value
        return values, faults


def _coerced(raw: Any) -> str:
    if raw is None:
        return ""
    if isinstance(raw, bool):
        return "true" if raw else "false"
    return str(raw)


def _invalid(one: Mapping[str, Any], value: str) -> tuple[str, str] | None:
    if not value:
        return None
    if one["type"] == "enumeration":
        allowed = [option["value"] for option in one["options"]]
        chosen = value.split(";") if one["fieldType"] == "checkbox" else [value]
        if any(part not in allowed for part in chosen):
            return "INVALID_OPTION", f"{value} was not one of the allowed options: {allowed}"
    if one["type"] == "bool" and value not in ("true", "false"):
        return "INVALID_BOOLEAN", f"{value} was not a valid boolean"
    if one["type"] in ("date", "datetime") and not re.match(r"\d{4}-\d{2}-\d{2}|\d{11,}", value):
        return "INVALID_DATE", f"{value} was not a valid date"
    return None
