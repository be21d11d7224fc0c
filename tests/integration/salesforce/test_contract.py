"""The field contract: a hidden field is told apart from a missing one (sheet 0.7, 5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dncsync.connector import FieldCheck, FieldStatus

Make = Callable[..., Any]
WHY = "DNC_Reason__c"
SMS = "smagicinteract__SMSOptOut__c"


def check(o: Any, name: str) -> FieldCheck:
    (found,) = [c for c in o.connector.describe() if c.name == name]
    assert isinstance(found, FieldCheck)
    return found


def test_a_well_set_up_org_has_no_complaints(org: Make) -> None:
    o = org(person_accounts=True, sms_field=SMS)
    checks = o.connector.describe()
    assert {c.status for c in checks} == {FieldStatus.OK}
    names = {c.name for c in checks}
    assert {"Contact.DoNotCall", "Lead.DoNotCall", "Account.PersonDoNotCall", f"Contact.{SMS}"} <= names
    assert "Account.smagicinteract__SMSOptOut__pc" in names
    assert "Contact.HomePhone" in names
    assert "Contact.Fax" not in names
    assert all(c.fingerprint["type"] in ("boolean", "phone") for c in checks)


def test_a_hidden_field_names_who_sees_it_and_where_to_tick(org: Make) -> None:
    o = org()
    o.sandbox.schema.hidden.add(("Contact", "DoNotCall"))
    found = check(o, "Contact.DoNotCall")
    assert found.status is FieldStatus.HIDDEN
    assert "Sales Users" in found.seen
    assert "Permission Sets" in found.mend
    assert "Read Access and Edit Access" in found.mend


def test_the_tooling_api_is_the_second_witness(org: Make) -> None:
    o = org(field_permissions=False, sms_field=SMS)
    o.sandbox.schema.hidden.add(("Contact", SMS))
    assert check(o, f"Contact.{SMS}").status is FieldStatus.HIDDEN


def test_a_standard_field_that_is_absent_is_hidden_even_without_witnesses(org: Make) -> None:
    o = org(field_permissions=False, tooling=False)
    o.sandbox.schema.hidden.add(("Lead", "DoNotCall"))
    assert check(o, "Lead.DoNotCall").status is FieldStatus.HIDDEN


def test_without_witnesses_a_custom_field_is_hidden_or_missing_and_both_mends_are_given(org: Make) -> None:
    o = org(field_permissions=False, tooling=False, sms_field=SMS)
    o.sandbox.schema.hidden.add(("Contact", SMS))
    found = check(o, f"Contact.{SMS}")
    assert found.status is FieldStatus.MISSING
    assert "hidden or missing" in found.seen
    assert "Permission Sets" in found.mend
    assert "create it" in found.mend


def test_a_deleted_field_is_missing(org: Make) -> None:
    o = org(sms_field=SMS)
    del o.sandbox.schema.fields["Contact"][SMS]
    found = check(o, f"Contact.{SMS}")
    assert found.status is FieldStatus.MISSING
    assert "create a checkbox" in found.mend


def test_a_renamed_package_field_names_its_successor(org: Make) -> None:
    o = org(sms_field=SMS)
    o.sandbox.schema.renamed["Contact", SMS] = "smagicinteract__SMS_Opt_Out__c"
    found = check(o, f"Contact.{SMS}")
    assert found.status is FieldStatus.RENAMED
    assert "smagicinteract__SMS_Opt_Out__c" in found.seen


@pytest.mark.parametrize(
    ("fault", "status", "word"),
    [
        ("hidden-field", FieldStatus.HIDDEN, "Permission Sets"),
        ("renamed-field", FieldStatus.RENAMED, "flags.Contact"),
        ("retyped-field", FieldStatus.CHANGED, "checkbox"),
        ("read-only-field", FieldStatus.READ_ONLY, "Edit Access"),
    ],
)
def test_each_drift_is_named(org: Make, fault: str, status: FieldStatus, word: str) -> None:
    o = org()
    o.connector.describe()
    o.sandbox.faults.add(fault)
    found = check(o, "Contact.DoNotCall")
    assert found.status is status
    assert word in found.mend


def test_a_hidden_phone_field_is_told_when_it_is_configured(org: Make) -> None:
    o = org(settings={"phones": {"Contact": ("MobilePhone", "HomePhone")}})
    o.sandbox.schema.hidden.add(("Contact", "HomePhone"))
    assert check(o, "Contact.HomePhone").status is FieldStatus.HIDDEN


def test_an_object_without_any_phone_field_is_told(org: Make) -> None:
    o = org()
    for name in ("MobilePhone", "Phone", "Fax"):
        o.sandbox.schema.hidden.add(("Lead", name))
    assert check(o, "Lead.(phone fields)").status is FieldStatus.HIDDEN


def test_the_field_for_reasons_needs_to_be_read_and_not_to_be_edited(org: Make) -> None:
    o = org(person_accounts=True, reason_field=WHY)
    names = [f"Contact.{WHY}", f"Lead.{WHY}", "Account.DNC_Reason__pc"]
    for name in names:
        o.sandbox.schema.read_only.add((name.partition(".")[0], name.partition(".")[2]))
    checks = o.connector.describe()
    assert {c.status for c in checks} == {FieldStatus.OK}
    assert [c.name for c in checks if "Reason" in c.name] == names
    assert all(c.fingerprint["type"] == "string" for c in checks if c.name in names)
    unnamed = o.again(reasons={}).describe()
    assert not [c.name for c in unnamed if "Reason" in c.name]


@pytest.mark.parametrize("witness", [{}, {"field_permissions": False}])
def test_a_hidden_field_for_reasons_is_told_from_a_missing_one(org: Make, witness: dict[str, bool]) -> None:
    o = org(reason_field=WHY, **witness)
    o.sandbox.schema.hidden.add(("Contact", WHY))
    found = check(o, f"Contact.{WHY}")
    assert found.status is FieldStatus.HIDDEN
    assert "hidden from our user" in found.seen
    assert found.mend.endswith(f"Object Settings > Contact > {WHY}: tick Read Access")
    o.sandbox.schema.hidden.clear()
    del o.sandbox.schema.fields["Contact"][WHY]
    found = check(o, f"Contact.{WHY}")
    assert (found.status, found.seen) == (FieldStatus.MISSING, "no such field in the org")
    assert found.mend == f"create a text field with API name {WHY} on Contact, or change reasons.Contact"


@pytest.mark.parametrize(
    ("type_", "status"),
    [
        ("picklist", FieldStatus.OK),
        ("multipicklist", FieldStatus.OK),
        ("textarea", FieldStatus.OK),
        ("boolean", FieldStatus.CHANGED),
        ("double", FieldStatus.CHANGED),
    ],
)
def test_a_field_for_reasons_must_hold_text(org: Make, type_: str, status: FieldStatus) -> None:
    o = org(reason_field=WHY)
    o.sandbox.schema.retyped["Contact", WHY] = type_
    found = check(o, f"Contact.{WHY}")
    assert (found.status, found.seen) == (status, type_)
    assert ("reasons.Contact" in found.mend) is (status is FieldStatus.CHANGED)


def test_a_renamed_field_for_reasons_names_its_successor(org: Make) -> None:
    o = org(reason_field=WHY)
    o.sandbox.schema.renamed["Contact", WHY] = "DNC_Reason_Text__c"
    found = check(o, f"Contact.{WHY}")
    assert found.status is FieldStatus.RENAMED
    assert "name DNC_Reason_Text__c under reasons.Contact" in found.mend
