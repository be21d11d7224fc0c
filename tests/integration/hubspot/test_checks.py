"""The field contract, the probe, and how they say what to mend (vendor sheet sections 1.4 and 6.1)."""

from __future__ import annotations

from typing import Any

import pytest

from dncsync.connector import Aspect, FieldCheck, FieldStatus, ProbeCheck, VendorError
from dncsync.testing.faults import FaultKind
from dncsync_hubspot.sandbox_schema import definition
from integration.hubspot.world import World


def field(world: World, name: str = "do_not_call") -> FieldCheck:
    return next(one for one in world.connector.describe() if one.name == f"contacts.{name}")


def line(world: World, name: str) -> ProbeCheck:
    return next(one for one in world.connector.probe().checks if name in one.name)


def test_all_is_well_in_one_call() -> None:
    world = World(companions=True, sms_property="do_not_text")
    checks = world.connector.describe()
    assert {one.status for one in checks} == {FieldStatus.OK}
    assert len(checks) == 8
    assert sum(n for route, n in world.sandbox.calls.items() if route.startswith("GET")) == 1


@pytest.mark.parametrize(
    ("fault", "params", "status", "words"),
    [
        (FaultKind.HIDDEN_FIELD, {}, FieldStatus.HIDDEN, "sensitive.read"),
        (FaultKind.RENAMED_FIELD, {"to": "do_not_call_ever"}, FieldStatus.RENAMED, "do_not_call_ever"),
        (FaultKind.RENAMED_FIELD, {"to": "zzz"}, FieldStatus.RENAMED, "zzz"),  # its label gives it away
        (FaultKind.RETYPED_FIELD, {}, FieldStatus.CHANGED, "enumeration/booleancheckbox"),
        (FaultKind.RETYPED_FIELD, {"type": "string"}, FieldStatus.CHANGED, "enumeration/booleancheckbox"),
        (FaultKind.READ_ONLY_FIELD, {}, FieldStatus.READ_ONLY, "users can edit"),
    ],
)
def test_drift_is_named_with_how_to_mend_it(
    fault: FaultKind, params: dict[str, Any], status: FieldStatus, words: str
) -> None:
    world = World()
    world.sandbox.faults.add(fault, **params)
    check = field(world)
    assert check.status is status
    assert words in check.mend


def test_an_archived_property_can_be_restored() -> None:
    world = World()
    world.sandbox.rename_property("do_not_call", "other")
    world.sandbox.schema.definitions["other"]["label"] = "Newsletter"
    check = field(world)
    assert check.status is FieldStatus.MISSING
    assert "90 days" in check.mend
    assert check.fingerprint["archived"] is True


def test_an_archived_property_whose_label_another_one_took_was_renamed() -> None:
    world = World()
    world.sandbox.rename_property("do_not_call", "hands_off")
    check = field(world)
    assert check.status is FieldStatus.RENAMED
    assert check.seen == "archived; hands_off looks alike"
    assert "set flags.voice.property to 'hands_off'" in check.mend
    assert "restore do_not_call" in check.mend


def test_scopes_beyond_the_needed_are_told_and_no_fault() -> None:
    world = World()
    assert not any(check.about is Aspect.EXCESS for check in world.connector.probe().checks)
    world.sandbox.faults.add(FaultKind.EXTRA_PERMISSION)
    (excess,) = [check for check in world.connector.probe().checks if check.about is Aspect.EXCESS]
    assert excess.ok
    assert "crm.schemas.contacts.write" in excess.seen
    world.sandbox.options["token_info"] = False
    assert not any(check.about is Aspect.EXCESS for check in world.connector.probe().checks)


def test_a_property_that_never_was_is_to_be_created() -> None:
    world = World()
    del world.sandbox.schema.definitions["do_not_call"]
    check = field(world)
    assert check.status is FieldStatus.MISSING
    assert "Create property" in check.mend
    assert "internal name do_not_call" in check.mend


def test_changed_options_change_the_fingerprint() -> None:
    world = World()
    before = field(world).fingerprint
    options = [("true", "Yes"), ("maybe", "Maybe")]
    world.sandbox.schema.add(definition("do_not_call", "enumeration", "booleancheckbox", options=options))
    check = field(world)
    assert check.status is FieldStatus.CHANGED
    assert "'false'" in check.mend
    assert check.fingerprint != before


def test_a_phone_property_that_vanished_is_drift_too() -> None:
    world = World()
    world.sandbox.schema.archived["phone"] = world.sandbox.schema.definitions.pop("phone")
    assert field(world, "phone").status is FieldStatus.MISSING


def test_a_phone_property_need_not_be_writable() -> None:
    world = World(config={"phone_properties": ["hs_searchable_calculated_phone_number"]})
    assert field(world, "hs_searchable_calculated_phone_number").status is FieldStatus.OK


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("dnc_source", "internal name dnc_source, string;"),
        ("dnc_reason", "internal name dnc_reason, string or"),
    ],
)
def test_a_companion_that_never_was_is_to_be_created(name: str, words: str) -> None:
    world = World(companions=True)
    del world.sandbox.schema.definitions[name]
    check = field(world, name)
    assert check.status is FieldStatus.MISSING
    assert "Create property" in check.mend
    assert words in check.mend


def test_a_renamed_reason_property_names_its_option() -> None:
    world = World(companions=True)
    world.sandbox.rename_property("dnc_reason", "dnc_reason_new")
    check = field(world, "dnc_reason")
    assert check.status is FieldStatus.RENAMED
    assert "set companions.reason to 'dnc_reason_new'" in check.mend


def test_a_reason_property_is_only_read() -> None:
    world = World(companions=True)
    world.sandbox.faults.add(FaultKind.READ_ONLY_FIELD, field="dnc_reason")
    assert field(world, "dnc_reason").status is FieldStatus.OK
    assert "(only read)" in field(world, "dnc_reason").expected
    world.sandbox.faults.clear()
    world.sandbox.faults.add(FaultKind.READ_ONLY_FIELD, field="dnc_source")
    assert field(world, "dnc_source").status is FieldStatus.READ_ONLY


@pytest.mark.parametrize(("name", "write"), [("dnc_reason", False), ("dnc_source", True)])
def test_a_hidden_property_asks_for_no_more_than_is_needed(name: str, write: bool) -> None:
    world = World(companions=True)
    world.sandbox.faults.add(FaultKind.HIDDEN_FIELD, field=name)
    check = field(world, name)
    assert check.status is FieldStatus.HIDDEN
    assert "sensitive.read" in check.mend
    assert (".write" in check.mend) is write


@pytest.mark.parametrize(
    ("kind", "field_type", "status"),
    [
        ("string", "textarea", FieldStatus.OK),
        ("enumeration", "select", FieldStatus.OK),
        ("enumeration", "booleancheckbox", FieldStatus.CHANGED),  # "true" is no reason
        ("date", "date", FieldStatus.CHANGED),
    ],
)
def test_a_reason_is_text_or_one_of_a_list(kind: str, field_type: str, status: FieldStatus) -> None:
    world = World(companions=True)
    world.sandbox.schema.add(definition("dnc_reason", kind, field_type))
    assert field(world, "dnc_reason").status is status


# --- probe -----------------------------------------------------------------------------------------------


def test_a_healthy_probe_names_the_portal_and_changes_nothing() -> None:
    world = World()
    before = [world.sandbox.portal.seeded(i) for i in range(5)]
    probe = world.connector.probe()
    assert probe.account == str(world.sandbox.portal_id)
    assert [one.name for one in probe.checks if not one.ok] == []
    assert probe.server_time == world.clock.now().replace(microsecond=0)
    assert world.sandbox.portal.kept == {}
    assert before == [world.sandbox.portal.seeded(i) for i in range(5)]


def test_a_bad_token_says_where_tokens_are() -> None:
    world = World(config={})
    world.sandbox.token = "pat-na1-another"
    check = line(world, "access token")
    assert not check.ok
    assert "Service Keys" in check.mend


def test_an_expired_token_is_not_a_traceback() -> None:
    world = World()
    world.sandbox.faults.add(FaultKind.EXPIRED_TOKEN)
    assert next(one.name for one in world.connector.probe().checks if not one.ok) == "access token"


@pytest.mark.parametrize("scope", ["crm.objects.contacts.read", "crm.objects.contacts.write"])
def test_a_missing_scope_is_found_without_writing(scope: str) -> None:
    world = World(scopes=["crm.schemas.contacts.read", "crm.schemas.contacts.write"])
    check = line(world, f"scope {scope}")
    assert not check.ok
    assert scope in check.seen + check.mend


def test_a_smaller_call_limit_than_configured_is_named() -> None:
    world = World(burst=100, config={"burst_limit": 190})
    check = line(world, "call limit")
    assert (check.ok, check.mend) == (False, "set burst_limit = 100")


def test_another_portal_than_configured_is_named() -> None:
    assert line(World(config={"portal_id": "1"}), "portal").ok is False


def test_a_wrong_clock_is_named() -> None:
    from datetime import datetime, timedelta

    from dncsync.clock import VirtualClock

    world = World()

    class Behind(VirtualClock):
        def now(self) -> datetime:
            return world.clock.now() - timedelta(minutes=3)

    world.connector = world.connect(Behind())
    check = line(world, "clock")
    assert check.ok is False
    assert "-180 s" in check.seen


def test_an_old_api_family_after_its_end_is_named() -> None:
    world = World()
    world.clock.advance(400 * 86_400)
    check = line(world, "API paths")
    assert (check.ok, check.mend) == (False, 'set api = "2026-03"')


def test_a_portal_out_of_reach_is_a_failure_of_the_probe() -> None:
    world = World()
    world.sandbox.faults.add(FaultKind.RESET_BEFORE)
    with pytest.raises(VendorError):
        world.connector.probe()
