"""The configuration of one Salesforce org."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from dncsync.connector import SystemSettings
from dncsync.model import Channel

ObjectName = Literal["Contact", "Lead", "PersonAccount"]
FIELD_NAME = r"^[A-Za-z][A-Za-z0-9_]{0,79}$"
STANDARD_FLAG: Mapping[ObjectName, str] = {
    "Contact": "DoNotCall",
    "Lead": "DoNotCall",
    "PersonAccount": "PersonDoNotCall",
}


def _field_name(given: str) -> str:
    if not re.fullmatch(FIELD_NAME, given):
        raise ValueError(f"{given!r} is not the API name of a field")
    return given


FieldName = Annotated[str, AfterValidator(_field_name)]


def on_person_account(contacts: str) -> str | None:
    """A contact's custom field `x__c` as a person account shows it: `x__pc` (sheet 3.1). None: no such."""
    return contacts.removesuffix("__c") + "__pc" if contacts.endswith("__c") else None


class FlagField(BaseModel):
    """The checkbox that holds one channel's opt-out on one object."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    field: str = Field(pattern=FIELD_NAME, description="API name of a checkbox field")
    opted_out_when: bool = Field(
        default=True,
        description="The value that means 'do not contact'; false for a permission such as HasSMSPermission",
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, given: Any) -> Any:
        return {"field": given} if isinstance(given, str) else given


class SalesforceSettings(SystemSettings):
    """One org, reached as one integration user.

    Log-in is OAuth: client credentials (`client_id` + `client_secret`), or JWT bearer (`client_id` +
    `username` + `private_key`). SOAP and username-password log-in are retired by the vendor (sheet 2.1).
    """

    vendor: Literal["salesforce"]
    domain: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9-]*(\.sandbox|\.develop|\.scratch|\.trailblaze)?\.my$",
        description="My Domain without '.salesforce.com', e.g. 'acme.my' or 'acme--uat.sandbox.my'",
    )
    api_version: str = Field("66.0", pattern=r"^\d{2,3}\.0$", description="Pinned REST API version")
    client_id: str = Field(min_length=1, description="Consumer key of the External Client App")
    client_secret: SecretStr | None = Field(None, description="Consumer secret: client credentials flow")
    username: str | None = Field(None, description="User name of the integration user: JWT bearer flow")
    private_key: SecretStr | None = Field(None, description="RSA private key (PEM): JWT bearer flow")
    audience: Literal["login", "test"] = Field(
        "login", description="JWT bearer flow: 'test' for a sandbox org"
    )

    objects: tuple[ObjectName, ...] = Field(
        ("Contact", "Lead", "PersonAccount"),
        min_length=1,
        description="Records that carry numbers; PersonAccount counts only in orgs with person accounts",
    )
    flags: Mapping[ObjectName, Mapping[Channel, FlagField]] = Field(
        default_factory=dict,
        description="Checkbox per object and channel; voice defaults to DoNotCall / PersonDoNotCall",
    )
    phones: Mapping[ObjectName, tuple[FieldName, ...]] = Field(
        default_factory=dict,
        description="Phone fields per object; default: every field of type phone that we may see, but Fax",
    )
    reasons: Mapping[ObjectName, FieldName] = Field(
        default_factory=dict,
        description="Text field per object in which people say why they took a flag away; "
        "read, never written",
    )
    bulk_threshold: int = Field(
        50_000, ge=0, description="Full reads of more records than this use Bulk API 2.0"
    )
    poll_every: float = Field(20.0, ge=1, description="Seconds between polls of the change feed")
    daily_calls: int = Field(
        100_000, ge=1, description="24-hour API allocation until the vendor's usage header tells the real one"
    )

    @field_validator("phones")
    @classmethod
    def _some_phone(cls, given: Mapping[ObjectName, tuple[str, ...]]) -> Mapping[ObjectName, tuple[str, ...]]:
        if any(not names for names in given.values()):
            raise ValueError(
                "name at least one phone field per object, or leave the object out for all of them"
            )
        return given

    @field_validator("api_version")
    @classmethod
    def _version_lives(cls, given: str) -> str:
        if (
            float(given) < 56
        ):  # 21-40 are retired; before 56 only 10 query cursors could be open (sheet 1.2, 7)
            raise ValueError("API versions below 56.0 are not supported; use 66.0")
        return given

    @model_validator(mode="after")
    def _one_way_in(self) -> SalesforceSettings:
        jwt = self.private_key is not None or self.username is not None
        if jwt == (self.client_secret is not None):
            raise ValueError(
                "give either client_secret (client credentials flow), or username and private_key (JWT flow)"
            )
        if jwt and (self.private_key is None or not self.username):
            raise ValueError("the JWT bearer flow needs both username and private_key")
        if self.private_key is not None and "PRIVATE KEY-----" not in self.private_key.get_secret_value():
            raise ValueError(
                "private_key is not a PEM private key (it starts with -----BEGIN ... PRIVATE KEY-----)"
            )
        return self

    @model_validator(mode="after")
    def _reasons_apart(self) -> SalesforceSettings:
        for name in STANDARD_FLAG:
            reason = self.reason_field(name)
            others = (*(flag.field for flag in self.flag_fields(name).values()), *self.phones.get(name, ()))
            if reason and reason.lower() in map(str.lower, others):
                raise ValueError(f"reasons: {reason} of {name} is a flag or a phone field; name another one")
        return self

    def flag_fields(self, name: ObjectName) -> dict[Channel, FlagField]:
        """The checkbox of each channel on that object.

        Voice falls back to the standard field. The contact's custom fields are carried over to person
        accounts.
        """
        fields = {Channel.VOICE: FlagField(field=STANDARD_FLAG[name], opted_out_when=True)}
        if name == "PersonAccount":
            for channel, contact in self.flags.get("Contact", {}).items():
                if mirrored := on_person_account(contact.field):
                    fields[channel] = contact.model_copy(update={"field": mirrored})
        return {**fields, **self.flags.get(name, {})}

    def reason_field(self, name: ObjectName) -> str:
        """Where people say why they took that object's flag away; "": nowhere. A contact's custom field is
        carried over to person accounts."""
        reason = self.reasons.get(name)
        if reason is None and name == "PersonAccount":
            reason = on_person_account(self.reasons.get("Contact", ""))
        return reason or ""

    def channels(self) -> frozenset[Channel]:
        """Every channel that some object has a checkbox for."""
        return frozenset(channel for name in self.objects for channel in self.flag_fields(name))
