"""Every drift that can happen at a vendor has a switch in its sandbox, and each switch is found as exactly
what it is: the detection table of issue 3. Without a switch nothing is found, however often one looks."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dncsync.testing.faults import FaultKind
from integration.drift.site import EVERY, Site

QUIET: dict[str, dict[str, Any]] = {
    "hubspot": {"junk_every": 0, "extension_every": 0, "shared_every": 0},
    "salesforce": {"junk_share": 0, "extension_share": 0, "shared_share": 0},
    "vicidial": {
        "lists": ("SYSTEM_INTERNAL", "SALES"),
        "shared_share": 0.0,
        "country_code_share": 0.0,
        "wildcards": (),
    },
    "twilio": {"with_api_key": True},
}
"""Without records that are findings of their own."""
VENDORS = tuple(QUIET)
TWO_LOOKS = 2 * EVERY + 120


@dataclass(frozen=True)
class Switch:
    """One drift, and what must be found of it."""

    vendor: str
    fault: FaultKind
    finds: frozenset[str]
    params: dict[str, Any] = field(default_factory=dict)
    healed_when_off: bool = True

    def __str__(self) -> str:
        more = "-".join(str(value) for value in self.params.values() if str(value).isidentifier())
        return f"{self.vendor}-{self.fault}" + (f"-{more}" if more else "")


def one(vendor: str, fault: FaultKind, *finds: str, heals: bool = True, **params: Any) -> Switch:
    return Switch(vendor, fault, frozenset(finds), params, heals)


F = FaultKind
SWITCHES = [
    one("hubspot", F.RENAMED_FIELD, "field-renamed"),
    one("hubspot", F.DELETED_FIELD, "field-missing"),
    one("hubspot", F.HIDDEN_FIELD, "field-hidden"),
    one("hubspot", F.RETYPED_FIELD, "field-changed"),
    one("hubspot", F.RETYPED_FIELD, "field-changed", type="string"),
    one("hubspot", F.READ_ONLY_FIELD, "field-read-only"),
    one("hubspot", F.NEW_OPTION, "field-changed"),
    one("hubspot", F.UNKNOWN_KEY, "unknown-key", path="/search"),
    one("hubspot", F.MISSING_KEY, "key-missing", path="/search", key="total"),
    one("hubspot", F.RETYPED_KEY, "type-changed", path="/search", key="total"),
    one("hubspot", F.HTML, "html-answer", path="/properties", status=200),
    one("hubspot", F.ENDING, "ending-announced", heals=False),
    one("hubspot", F.LOST_PERMISSION, "scope-lost"),
    one("hubspot", F.EXTRA_PERMISSION, "permission-excess"),
    one("hubspot", F.EXPIRED_TOKEN, "system-unauthorised"),
    one("hubspot", F.DROPPED_WRITE, "not-kept", by="workflow"),
    one("hubspot", F.DROPPED_WRITE, "not-kept", by="integration"),
    one("salesforce", F.RENAMED_FIELD, "field-renamed"),
    one("salesforce", F.DELETED_FIELD, "field-missing"),
    one("salesforce", F.HIDDEN_FIELD, "field-hidden"),
    one("salesforce", F.RETYPED_FIELD, "field-changed"),
    one("salesforce", F.READ_ONLY_FIELD, "field-read-only"),
    one("salesforce", F.UNKNOWN_KEY, "unknown-key", path="/queryAll"),
    one("salesforce", F.MISSING_KEY, "key-missing", path="/describe", key="byteLength"),
    one("salesforce", F.RETYPED_KEY, "type-changed", path="/describe", key="byteLength"),
    one("salesforce", F.HTML, "html-answer", path="/limits", status=200),
    one("salesforce", F.ENDING, "ending-announced", heals=False, header="Warning", value='299 - "removed"'),
    one("salesforce", F.UNLISTED_VERSION, "version-unlisted"),
    # The log-in is refused nothing, but every other call is: our own work notices it as well.
    one("salesforce", F.LOST_PERMISSION, "scope-lost", "system-unauthorised", path="/describe"),
    one("salesforce", F.EXTRA_PERMISSION, "permission-excess"),
    one("salesforce", F.EXPIRED_TOKEN, "system-unauthorised"),
    one("salesforce", F.DROPPED_WRITE, "not-kept", by="trigger"),
    one("salesforce", F.DROPPED_WRITE, "not-kept", by="0055g00000OtherAAA"),
    # Lists are the fields of VICIdial; a campaign cannot be told from another by anything but its id.
    one("vicidial", F.RENAMED_FIELD, "field-missing", name="SALES"),
    # No campaign may be seen, and the lists are empty: that is no empty dialer.
    one("vicidial", F.HIDDEN_FIELD, "field-hidden", "scope-lost", "cannot-see"),
    one("vicidial", F.DELETED_FIELD, "field-missing", name="SALES"),
    one("vicidial", F.READ_ONLY_FIELD, "not-kept"),
    one("vicidial", F.LOST_PERMISSION, "scope-lost", path="/add_dnc_phone"),
    one("vicidial", F.EXTRA_PERMISSION, "permission-excess"),
    one("vicidial", F.DROPPED_WRITE, "not-kept"),
    one("vicidial", F.ENDING, "ending-announced", heals=False),
    one("twilio", F.DELETED_FIELD, "field-missing", "field-changed", path="Services$"),
    one("twilio", F.HIDDEN_FIELD, "field-hidden", "key-missing", path="Services$"),
    one("twilio", F.RENAMED_FIELD, "field-hidden", "key-missing", "unknown-key", path="Services$"),
    one("twilio", F.RETYPED_FIELD, "field-changed", "type-changed", path="Services$"),
    one("twilio", F.UNKNOWN_KEY, "unknown-key", path="Services$"),
    one("twilio", F.MISSING_KEY, "key-missing", path="Services$", key="friendly_name"),
    one("twilio", F.RETYPED_KEY, "type-changed", path="Services$", key="sticky_sender"),
    one("twilio", F.NEW_WORD, "enum-new", path="/Messages", key="status"),
    one("twilio", F.HTML, "html-answer", "probe-failed", path="/IncomingPhoneNumbers", status=200),
    one("twilio", F.ENDING, "ending-announced", heals=False, header="Deprecation", value="@1790000000"),
    one("twilio", F.LOST_PERMISSION, "scope-lost", path="/IncomingPhoneNumbers"),
    one("twilio", F.EXTRA_PERMISSION, "permission-excess"),
    one("twilio", F.EXPIRED_TOKEN, "system-unauthorised"),
]

NOT_THERE = {
    "hubspot": {F.UNLISTED_VERSION: "HubSpot lists no versions", F.NEW_WORD: "its words are an open set"},
    "salesforce": {
        F.NEW_OPTION: "a checkbox has no options",
        F.NEW_WORD: "answers that are read hold no enums",
    },
    "vicidial": {
        F.RETYPED_FIELD: "a list has no type",
        F.NEW_OPTION: "a list has no options",
        F.UNLISTED_VERSION: "the build is part of the contract, see test_contract",
        F.EXPIRED_TOKEN: "a password is changed, not expired: a wrong one is refused",
        **dict.fromkeys((F.UNKNOWN_KEY, F.MISSING_KEY, F.RETYPED_KEY, F.NEW_WORD), "answers are no JSON"),
        F.HTML: "every answer is called HTML; a page is no answer, which takes the system down",
    },
    "twilio": {
        F.READ_ONLY_FIELD: "no field of ours can be locked",
        F.NEW_OPTION: "no field of ours has options",
        F.UNLISTED_VERSION: "Twilio lists no versions",
        F.DROPPED_WRITE: "nothing can be read back; the answer that leaves an item out is an unknown outcome",
    },
}
"""Vendor -> drift that cannot happen there, and why."""

DRIFTS = {
    *(F.RENAMED_FIELD, F.DELETED_FIELD, F.HIDDEN_FIELD, F.RETYPED_FIELD, F.READ_ONLY_FIELD, F.NEW_OPTION),
    *(F.UNKNOWN_KEY, F.MISSING_KEY, F.RETYPED_KEY, F.NEW_WORD, F.HTML, F.ENDING, F.UNLISTED_VERSION),
    *(F.LOST_PERMISSION, F.EXTRA_PERMISSION, F.EXPIRED_TOKEN, F.DROPPED_WRITE),
}


def site_of(folder: Path, vendor: str, **settings: Any) -> Site:
    site = Site(folder, vendor, contacts=12, settings=settings, **QUIET[vendor])
    act(site, F.NEW_WORD, site.sandbox.numbers(3)[2])  # so that a message's keys are known
    site.settle_down()
    return site


def act(site: Site, fault: FaultKind, number: str) -> None:
    """What must happen for a drift to be seen at all: a write, or a message."""
    if fault in (F.DROPPED_WRITE, F.READ_ONLY_FIELD):
        site.block(number)
    elif fault is F.NEW_WORD and site.vendor == "twilio":
        site.sandbox.text(number, "When do you open?")  # type: ignore[attr-defined]


@pytest.mark.parametrize("vendor", VENDORS)
def test_without_a_switch_nothing_is_found(tmp_path: Path, vendor: str) -> None:
    site = site_of(tmp_path, vendor)
    site.live(6 * EVERY)
    assert site.ask("SELECT id, summary FROM findings") == []
    kinds = dict(site.ask("SELECT detector, count(*) FROM baselines GROUP BY detector"))
    assert set(kinds) == {"contract", "wire"}, "both have something to compare with"


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_each_switch_is_found_as_what_it_is(tmp_path: Path, switch: Switch) -> None:
    site = site_of(tmp_path, switch.vendor)
    assert site.open_kinds() == set()
    site.sandbox.faults.add(switch.fault, **switch.params)
    number = site.sandbox.numbers(3)[1]
    if switch.fault is not F.READ_ONLY_FIELD or switch.vendor == "vicidial":
        act(site, switch.fault, number)
    site.live(TWO_LOOKS)

    assert site.open_kinds() == switch.finds
    for kind in switch.finds - {"system-unauthorised"}:
        for finding in site.findings(kind):
            assert number not in str(finding), "no number stands in a finding"
            assert all(part in finding["detail"] for part in ('"expected":', '"seen":', '"mend":'))

    site.sandbox.faults.clear()
    if switch.fault is F.NEW_WORD:
        act(site, switch.fault, number)  # an empty log says nothing of the words in it
    site.live(3 * EVERY)
    assert site.open_kinds() == (set() if switch.healed_when_off else switch.finds)


@pytest.mark.parametrize("vendor", VENDORS)
def test_the_table_leaves_no_drift_out(vendor: str) -> None:
    switched = {switch.fault for switch in SWITCHES if switch.vendor == vendor}
    assert switched | NOT_THERE[vendor].keys() == DRIFTS
    assert not switched & NOT_THERE[vendor].keys()


@pytest.mark.parametrize("vendor", VENDORS)
def test_credentials_that_end_soon_are_told_wherever_a_day_is_known(tmp_path: Path, vendor: str) -> None:
    site = site_of(tmp_path, vendor, credentials_expire="2026-12-05")
    assert site.open_kinds() == {"credentials-expiring"}
    (finding,) = site.findings("credentials-expiring")
    assert (finding["severity"], finding["count"]) == ("warning", 1)
