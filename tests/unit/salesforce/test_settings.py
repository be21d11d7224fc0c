"""The configuration of an org, refused with one clear line where it is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from dncsync.model import Channel
from dncsync_salesforce.settings import FlagField, SalesforceSettings

GOOD: dict[str, Any] = {
    "vendor": "salesforce",
    "domain": "acme.my",
    "client_id": "3MVG9made-up",
    "client_secret": "made-up-secret",
}
PEM = "-----BEGIN {0}-----\nmade up\n-----END {0}-----\n".format("PRIVATE" + " KEY")  # built here: not a key


def settings(**more: Any) -> SalesforceSettings:
    given = {**GOOD, **more}
    return SalesforceSettings.model_validate({k: v for k, v in given.items() if v is not None})


def test_the_least_that_is_needed() -> None:
    made = settings()
    assert made.objects == ("Contact", "Lead", "PersonAccount")
    assert made.channels() == {Channel.VOICE}
    assert made.flag_fields("PersonAccount") == {Channel.VOICE: FlagField(field="PersonDoNotCall")}


@pytest.mark.parametrize("domain", ["acme.my", "acme--uat.sandbox.my", "acme-dev-ed.develop.my"])
def test_domains_as_salesforce_makes_them(domain: str) -> None:
    assert settings(domain=domain).domain == domain


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"domain": "acme.my.salesforce.com"}, "domain"),
        ({"domain": "https://acme.my"}, "domain"),
        ({"domain": "evil.example/acme.my"}, "domain"),
        ({"api_version": "v66.0"}, "api_version"),
        ({"api_version": "41.0"}, "66.0"),
        ({"client_secret": None}, "client_secret"),
        ({"username": "a@b.example"}, "either"),
        ({"client_secret": None, "username": "a@b.example"}, "both"),
        ({"client_secret": None, "private_key": PEM}, "both"),
        ({"client_secret": None, "username": "a@b.example", "private_key": "xyz"}, "PEM"),
        ({"private_key": PEM, "username": "a@b.example"}, "either"),
        ({"objects": ()}, "objects"),
        ({"objects": ("Opportunity",)}, "objects"),
        ({"flags": {"Contact": {"voice": "Do Not Call"}}}, "pattern"),
        ({"flags": {"Contact": {"fax": "Fax__c"}}}, "fax"),
        ({"flags": {"Contact": {"sms": {"field": "X__c", "polarity": False}}}}, "polarity"),
        ({"phones": {"Contact": ("Phone FROM User",)}}, "API name"),
        ({"phones": {"Contact": ()}}, "at least one"),
        ({"reasons": {"Contact": "Why not?"}}, "'Why not?' is not the API name of a field"),
        ({"reasons": {"Opportunity": "Why__c"}}, "reasons.Opportunity"),
        ({"reasons": {"Lead": "DoNotCall"}}, "reasons: DoNotCall of Lead is a flag"),
        ({"reasons": {"Lead": "donotcall"}}, "reasons: donotcall of Lead is a flag"),
        ({"reasons": {"PersonAccount": "Other__pc"}, "phones": {"PersonAccount": ("Other__pc",)}}, "a phone"),
        (
            {"reasons": {"Contact": "X__c"}, "flags": {"PersonAccount": {"sms": "X__pc"}}},
            "reasons: X__pc of PersonAccount is a flag",
        ),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_is_wrong_is_named(wrong: dict[str, Any], word: str) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(**wrong)
    assert word in str(caught.value)
    assert "made-up-secret" not in str(caught.value)
    assert "made up" not in str(caught.value)


def test_secrets_do_not_show() -> None:
    made = settings(client_secret=None, username="a@b.example", private_key=PEM)
    assert "made up" not in repr(made)


def test_a_contacts_sms_box_shows_on_person_accounts_under_another_ending() -> None:
    made = settings(flags={"Contact": {"sms": "Sms__c"}})
    assert made.flag_fields("PersonAccount")[Channel.SMS].field == "Sms__pc"
    assert Channel.SMS not in made.flag_fields("Lead")
    assert made.channels() == {Channel.VOICE, Channel.SMS}
    own = settings(flags={"Contact": {"sms": "Sms__c"}, "PersonAccount": {"sms": "Other__c"}})
    assert own.flag_fields("PersonAccount")[Channel.SMS].field == "Other__c"


def test_a_contacts_field_for_reasons_shows_on_person_accounts_under_another_ending() -> None:
    made = settings(reasons={"Contact": "Why__c"})
    assert made.reason_field("Contact") == "Why__c"
    assert made.reason_field("PersonAccount") == "Why__pc"
    assert made.reason_field("Lead") == ""
    own = settings(reasons={"Contact": "Why__c", "PersonAccount": "Own__c"})
    assert own.reason_field("PersonAccount") == "Own__c"
    assert settings(reasons={"Contact": "Description"}).reason_field("PersonAccount") == ""


def test_a_mistake_with_reasons_is_one_line() -> None:
    with pytest.raises(ValidationError) as caught:
        settings(reasons={"Contact": "DoNotCall"})
    (error,) = caught.value.errors()
    assert error["msg"].removeprefix("Value error, ") == (
        "reasons: DoNotCall of Contact is a flag or a phone field; name another one"
    )
