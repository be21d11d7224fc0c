"""The configuration of one HubSpot portal, validated once at the door."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from dncsync.connector import SystemSettings
from dncsync.model import Channel

PropertyName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,99}$")]
"""An internal property name; labels are not names (sheet section 2.4)."""


class Shape(StrEnum):
    """How a property holds the flag (sheet section 2.3)."""

    CHECKBOX = "checkbox"
    """`true` / `false` / empty."""
    ENUMERATION = "enumeration"
    """One of several options, some of which mean do-not-contact."""
    DATE = "date"
    """The day (or instant) of the opt-out; empty means none."""
    MULTI_CHECKBOX = "multi-checkbox"
    """A set of options such as `call;sms`, one of which means do-not-contact."""


class FlagProperty(BaseModel):
    """Which contact property says "do not contact" on one channel, and how."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    property: PropertyName = Field(description="Internal name of the contact property")
    shape: Shape = Shape.CHECKBOX
    true_values: tuple[str, ...] = Field(
        (), description="Values that mean do-not-contact (checkbox: true); the first one is written"
    )
    false_values: tuple[str, ...] = Field(
        (),
        description="Values that mean the opposite. Where given, any other value is drift; "
        "an enumeration without them reads every other value as clear",
    )
    clear_value: str | None = Field(
        None, description="What a reversal writes (checkbox: false; enumeration, date: empty)"
    )
    with_time: bool = Field(False, description="A date property of type datetime, not date")
    opted_in_property: PropertyName | None = Field(
        None, description="Of a pair of dates: the opt-in; the flag is set unless the opt-in is newer"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.shape in (Shape.ENUMERATION, Shape.MULTI_CHECKBOX) and not self.true_values:
            raise ValueError(f"shape {self.shape} needs true_values: the options that mean do-not-contact")
        if self.shape is Shape.MULTI_CHECKBOX and len(self.true_values) != 1:
            raise ValueError("shape multi-checkbox needs exactly one true value, the option of this channel")
        if self.shape is not Shape.DATE and (self.with_time or self.opted_in_property):
            raise ValueError("with_time and opted_in_property belong to shape date")
        if self.shape is Shape.DATE and (self.true_values or self.false_values):
            raise ValueError("shape date takes no true_values or false_values: any date means do-not-contact")
        if set(self.true_values) & set(self.false_values):
            raise ValueError("a value cannot stand in both true_values and false_values")
        if self.clear_value is not None and self.clear_value in self.true_values:
            raise ValueError("clear_value is one of the true_values: a reversal would change nothing")
        return self


class Companions(BaseModel):
    """Optional properties beside a flag: `source`, `request_id` and `date` are written with it, so that
    HubSpot's users see why; `reason` is what they say themselves, and is only read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: PropertyName | None = Field(None, description="Text property: which system the request came from")
    request_id: PropertyName | None = Field(None, description="Text property: our request id (never words)")
    date: PropertyName | None = Field(None, description="Date property: the day of the request (UTC)")
    reason: PropertyName | None = Field(
        None, description="Text property in which people say why they took a flag away; read, never written"
    )


_VOICE = FlagProperty.model_validate({"property": "do_not_call"})


class HubSpotSettings(SystemSettings):
    """A `[systems.NAME]` table with `vendor = "hubspot"`."""

    vendor: Literal["hubspot"] = "hubspot"
    access_token: SecretStr = Field(description="Of a Service Key, private app or project app")
    client_secret: SecretStr | None = Field(
        None, description="The app's client secret; needed to accept webhooks"
    )
    api: Literal["v3", "2026-03"] = Field("v3", description="Path family; v3 is unsupported after 2027-09")
    portal_id: str | None = Field(None, pattern=r"^\d+$", description="Refuse webhooks of other portals")
    app_id: str | None = Field(
        None, pattern=r"^\d+$", description="Our app's id, as property history names our own writes"
    )
    app_user_id: str | None = Field(
        None, pattern=r"^\d+$", description="The user id that property history shows for our own writes"
    )
    flags: Mapping[Channel, FlagProperty] = Field(
        default_factory=lambda: {Channel.VOICE: _VOICE}, min_length=1, description="Per channel"
    )
    companions: Companions = Field(default_factory=lambda: Companions.model_validate({}))
    phone_properties: tuple[PropertyName, ...] = Field(("phone", "mobilephone"), min_length=1)

    burst_limit: int = Field(190, ge=1, description="Calls per 10 s: 100 Free/Starter, 190 Pro/Enterprise")
    search_limit: int = Field(5, ge=1, description="Searches per second, all apps of the account together")
    poll_seconds: float = Field(10.0, gt=0)
    overlap_seconds: float = Field(300.0, ge=0, description="How late the search index may be")
    sweep_seconds: float = Field(60.0, ge=0, description="How often the whole overlap is searched again")
    fast_overlap_seconds: float = Field(20.0, ge=0, description="Overlap of the polls between two sweeps")

    empty_properties: Literal["null", "omitted"] = Field(
        "null", description="Whether answers show an empty property as null (sheet 3.1) or leave it out"
    )
    write_trace_ids: bool = Field(True, description="Send objectWriteTraceId, so that a batch fails by item")
    accept_v1: bool = Field(True, description="Take signature v1 where a webhook has no v3 header")

    @model_validator(mode="after")
    def _one_meaning_each(self) -> Self:
        shared: dict[str, FlagProperty] = {}
        for flag in self.flags.values():
            before = shared.setdefault(flag.property, flag)
            if before != flag and not (before.shape is flag.shape is Shape.MULTI_CHECKBOX):
                raise ValueError(f"property {flag.property!r} is mapped twice with different meanings")
        names = {p.property for p in self.flags.values()} | {
            p.opted_in_property for p in self.flags.values() if p.opted_in_property
        }
        others = [*self.phone_properties, *(n for n in self.companions.model_dump().values() if n)]
        for name in others:
            if name in names or others.count(name) > 1:
                raise ValueError(f"property {name!r} has two uses in this system")
        return self
