"""`describe` and `probe`: what is wrong with the account, and how to mend it in Twilio's own terms."""

from __future__ import annotations

from typing import Any

import pytest

from dncsync.connector import FieldCheck, FieldStatus, ProbeCheck, VendorError
from dncsync.testing.faults import FaultKind
from integration.twilio.world import CONSENTS, HOOK, Build, World

ANN = "+13125550101"


def faulty(w: World) -> dict[str, FieldCheck]:
    checks = w.connector.describe()
    assert all(check.mend for check in checks if check.status is not FieldStatus.OK)
    return {check.name: check for check in checks if check.status is not FieldStatus.OK}


def probed(w: World) -> dict[str, ProbeCheck]:
    return {check.name: check for check in w.connector.probe().checks}


def test_all_is_well(world: Build) -> None:
    w = world({"webhook_url": HOOK}, services=2, numbers=1, toll_free=1)
    w.sandbox.webhook_url = HOOK
    checks = w.connector.describe()
    assert [c.name for c in checks] == [f"scope {s}" for s in w.settings.model_dump()["scopes"]]
    assert {c.status for c in checks} == {FieldStatus.OK}
    assert checks[0].fingerprint["inbound_request_url"] == HOOK
    assert "toll-free" in checks[-1].seen


def test_scopes_that_do_not_exist(world: Build) -> None:
    service, number = "MG" + "9" * 32, "+15005550006"
    w = world({"scopes": [service, number]}, services=0, numbers=0, toll_free=1)
    found = faulty(w)
    assert found[f"scope {service}"].status is FieldStatus.MISSING
    assert found[f"scope {number}"].status is FieldStatus.MISSING


def test_a_sender_that_no_scope_covers_is_reported_until_ignored(world: Build) -> None:
    w = world(numbers=1)
    other = w.sandbox.add_service("night shift", numbers=2)
    bare = w.sandbox.senders.add_number()
    found = faulty(w)
    assert set(found) == {f"sender {other}", f"sender {bare}"}
    assert "night shift" in found[f"sender {other}"].seen
    w.settings = w.settings.model_copy(update={"ignore_scopes": (other, bare)})
    w.connector = w.restart()
    assert faulty(w) == {}


def test_many_services_are_listed_page_by_page(world: Build) -> None:
    w = world()
    for index in range(120):
        w.sandbox.senders.add_service(f"extra {index}", numbers=0)
    assert len(faulty(w)) == 120
    assert w.calls("GET /v1/Services") == 2


def test_a_number_inside_a_service_is_no_scope_of_its_own(world: Build) -> None:
    w = world()
    (service,) = w.sandbox.senders.services
    (number,) = w.sandbox.senders.numbers
    w.settings = w.settings.model_copy(update={"scopes": (number,)})
    w.connector = w.restart()
    found = faulty(w)
    assert service in found[f"scope {number}"].mend


def test_short_codes_outside_a_service_are_reported(world: Build) -> None:
    w = world(short_codes=1)
    w.sandbox.senders.add_service("codes", numbers=0, short_codes=1)
    found = faulty(w)
    (code,) = [name for name in found if name.startswith("short code")]
    assert "neither blocks nor answers" in found[code].seen


@pytest.mark.parametrize(
    ("url", "words"), [("", "dropped"), ("https://else.example/in?token=t0k", "https://else.example/in")]
)
def test_inbound_that_does_not_reach_us(world: Build, url: str, words: str) -> None:
    w = world({"webhook_url": HOOK}, numbers=1)
    w.sandbox.webhook_url = HOOK
    for service in w.sandbox.senders.services.values():
        service.inbound_request_url = url
    for number in w.sandbox.senders.numbers.values():
        number.sms_url = url
    service_check, number_check = faulty(w).values()
    assert words in service_check.seen
    assert service_check.status is number_check.status is FieldStatus.CHANGED
    assert "t0k" not in service_check.seen + number_check.seen


def test_a_service_that_defers_to_its_numbers(world: Build) -> None:
    w = world({"webhook_url": HOOK})
    w.sandbox.webhook_url = HOOK
    (service,) = w.sandbox.senders.services.values()
    (number,) = w.sandbox.senders.numbers.values()
    service.use_inbound_webhook_on_number = True
    assert faulty(w) == {}
    number.sms_url = "https://else.example/"
    (check,) = faulty(w).values()
    assert number.number in check.seen


def test_without_webhook_url_only_dropping_is_a_fault(world: Build) -> None:
    w = world()
    (service,) = w.sandbox.senders.services.values()
    service.inbound_request_url = "https://anything.example/"
    assert faulty(w) == {}
    (check,) = w.connector.describe()
    assert "reach" not in check.seen, "nobody compared it"
    assert "https://anything.example/" in check.seen
    assert "webhook_url" in check.seen
    service.inbound_request_url = ""
    assert len(faulty(w)) == 1


@pytest.mark.parametrize("kind", [FaultKind.RENAMED_FIELD, FaultKind.HIDDEN_FIELD])
def test_a_service_without_its_inbound_url_is_told_apart_from_dropping(world: Build, kind: FaultKind) -> None:
    w = world()
    w.sandbox.faults.add(kind, path="/v1/Services$", field="inbound_request_url")
    (check,) = faulty(w).values()
    assert check.status is FieldStatus.HIDDEN


def test_describe_fails_loudly_when_the_account_cannot_be_listed(world: Build) -> None:
    w = world()
    w.sandbox.faults.add(FaultKind.LOST_PERMISSION, path="IncomingPhoneNumbers")
    with pytest.raises(VendorError, match="unauthorised"):
        w.connector.describe()


# --- probe ------------------------------------------------------------------------------------------------


def test_a_probe_of_a_healthy_account_writes_nothing(world: Build) -> None:
    w = world(services=2, numbers=1)
    probe = w.connector.probe()
    assert probe.account == w.sandbox.account_sid
    assert all(check.ok for check in probe.checks), probe.checks
    assert [c.name for c in probe.checks] == [
        "credentials",
        "clock",
        "message log",
        "messaging services",
        "phone numbers",
        "consent API",
    ]
    assert probe.server_time == w.clock.now()
    assert w.sandbox.store.consents() == 0
    assert w.calls(CONSENTS) == 1


@pytest.mark.parametrize("status", [403, 404])
def test_a_probe_tells_that_the_consent_api_is_not_enabled(world: Build, status: int) -> None:
    w = world({"consent_api": "enabled"}, consent_api="disabled", disabled_status=status)
    check = probed(w)["consent API"]
    assert not check.ok
    assert "not enabled" in check.seen
    assert "Support" in check.mend
    w = world(consent_api="disabled")
    check = probed(w)["consent API"]
    assert not check.ok
    assert "switched off" in check.seen
    assert w.calls(CONSENTS) == 0


def test_a_probe_names_a_scope_that_the_consent_api_does_not_know(world: Build) -> None:
    unknown = "MG" + "9" * 32
    w = world()
    scopes = (*w.sandbox.senders.scopes(), unknown)
    w.settings = w.settings.model_copy(update={"scopes": scopes})
    w.connector = w.restart()
    check = probed(w)["consent API"]
    assert not check.ok
    assert unknown in check.seen
    assert scopes[0] not in check.seen


def test_a_probe_distrusts_an_api_that_takes_an_impossible_contact(world: Build) -> None:
    w = world()
    w.sandbox._book._wrong = lambda item: []  # type: ignore[method-assign]
    check = probed(w)["consent API"]
    assert not check.ok
    assert "impossible contact" in check.seen


def test_a_probe_with_wrong_credentials(world: Build) -> None:
    w = world({"auth_token": "wrong"})
    found = probed(w)
    assert not found["credentials"].ok
    assert "API keys" in found["credentials"].mend
    assert set(found) == {"credentials"}, "what is asked with the same credentials is not asked"


def test_a_wrong_api_key_says_nothing_about_the_auth_token(world: Build) -> None:
    w = world({"api_key_sid": "SK" + "0" * 32, "api_key_secret": "wrong"})
    found = probed(w)
    assert {name: check.ok for name, check in found.items()} == {"credentials": False, "consent API": True}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("Messages", "message log"),
        ("/v1/Services", "messaging services"),
        ("IncomingPhoneNumbers", "phone numbers"),
        ("Consents", "consent API"),
    ],
)
def test_a_probe_tells_which_permission_is_missing(world: Build, path: str, name: str) -> None:
    w = world()
    w.sandbox.faults.add(FaultKind.LOST_PERMISSION, path=path)
    assert [n for n, check in probed(w).items() if not check.ok] == [name]


def test_a_probe_compares_clocks(world: Build) -> None:
    w = world(skew=300.0)
    check = probed(w)["clock"]
    assert not check.ok
    assert "300 s apart" in check.seen


def test_a_probe_of_nobody(world: Build) -> None:
    w = world()
    w.sandbox.faults.add(FaultKind.RESET_BEFORE)
    with pytest.raises(VendorError, match="transient"):
        w.connector.probe()


def test_settings_reach_the_capabilities(world: Build) -> None:
    config: dict[str, Any] = {"poll_every": 15, "allow_opt_in": True}
    able = world(config).connector.capabilities
    assert (able.poll_every, able.can_clear, able.write_batch) == (15, True, 25)
    assert {limit.name: (limit.calls, limit.seconds) for limit in able.limits}["consents"] == (100, 60)
