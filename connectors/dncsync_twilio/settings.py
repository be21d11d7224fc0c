"""The configuration table of a Twilio system."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from dncsync.connector import SystemSettings
from dncsync_twilio.fields import E164_PATTERN

SERVICE_SID = re.compile(r"MG[0-9a-fA-F]{32}")


class TwilioSettings(SystemSettings):
    """One Twilio account (or subaccount). Durations are in seconds."""

    vendor: Literal["twilio"]
    account_sid: str = Field(pattern=r"^AC[0-9a-fA-F]{32}$", description="Account SID, `AC...`")
    auth_token: SecretStr = Field(
        min_length=1, description="Primary Auth Token: signs webhooks and opens the Consent API"
    )
    api_key_sid: str | None = Field(
        None, pattern=r"^SK[0-9a-fA-F]{32}$", description="API key for the other REST calls"
    )
    api_key_secret: SecretStr | None = Field(None, description="Secret of that API key")
    scopes: tuple[str, ...] = Field(
        min_length=1,
        description="Every sender that an opt-out is written for: messaging service SIDs (`MG...`), and "
        "From numbers (E.164) that are used outside a service",
    )
    ignore_scopes: tuple[str, ...] = Field(
        (), description="Senders of the account that are left out on purpose; `doctor` is silent about them"
    )
    consent_api: Literal["enabled", "disabled"] = Field(
        "enabled",
        description="`disabled`: the account has no Consent API; deliveries stay open, with a finding",
    )
    consent_auth: Literal["auth_token", "api_key"] = Field(
        "auth_token", description="What opens the Consent API; API keys there are not confirmed by Twilio"
    )
    allow_opt_in: bool = Field(
        False, description="Write `opt-in` after a reversal; by default only the person's own START counts"
    )
    poll: bool = Field(True, description="Read the message log too: webhooks sent while we are down are lost")
    poll_every: float = Field(60.0, ge=5, le=3600, description="Seconds between looks at the message log")
    poll_overlap: float = Field(
        300.0, ge=60, le=86_400, description="Seconds of the log read again, for rows that appear late"
    )
    poll_grace: float | None = Field(
        None,
        ge=0,
        le=3600,
        description="Seconds for which a logged message is left to its webhook, which knows more "
        "(OptOutType); default 30 with `webhook_url`, else 0",
    )
    webhook_url: str | None = Field(
        None, description="The public URL set at Twilio; compared by `doctor`, and used to check signatures"
    )
    shared_key_id: str | None = Field(
        None, description="Id of the shared key that signs webhooks (HMAC_SHA256)"
    )
    shared_key_secret: SecretStr | None = Field(None, description="Secret of that shared key")

    @field_validator("scopes", "ignore_scopes")
    @classmethod
    def _senders(cls, scopes: tuple[str, ...]) -> tuple[str, ...]:
        for scope in scopes:
            if re.fullmatch(r"\d{3,8}", scope):
                raise ValueError(
                    f"{scope}: a short code keeps no opt-outs of its own at Twilio; put it into a messaging "
                    "service and name the service"
                )
            if not SERVICE_SID.fullmatch(scope) and not re.fullmatch(E164_PATTERN, scope):
                raise ValueError(f"{scope!r} is neither a messaging service SID (MG...) nor an E.164 number")
        if len(set(scopes)) != len(scopes):
            raise ValueError("the same sender is named twice")
        return scopes

    @field_validator("webhook_url")
    @classmethod
    def _public_url(cls, url: str | None) -> str | None:
        if url is not None and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
            raise ValueError("must be a full http(s) URL, exactly as set at Twilio")
        return url

    @model_validator(mode="after")
    def _belongs_together(self) -> TwilioSettings:
        if (self.api_key_sid is None) != (self.api_key_secret is None):
            raise ValueError("api_key_sid and api_key_secret belong together")
        if self.consent_auth == "api_key" and self.api_key_sid is None:
            raise ValueError('consent_auth = "api_key" needs api_key_sid and api_key_secret')
        if (self.shared_key_id is None) != (self.shared_key_secret is None):
            raise ValueError("shared_key_id and shared_key_secret belong together")
        if both := set(self.scopes) & set(self.ignore_scopes):
            raise ValueError(f"{', '.join(sorted(both))}: both in scopes and in ignore_scopes")
        if self.grace >= self.poll_overlap:
            raise ValueError("poll_grace must be shorter than poll_overlap, or messages would be passed over")
        return self

    @property
    def grace(self) -> float:
        """Seconds; see `poll_grace`."""
        if self.poll_grace is not None:
            return self.poll_grace
        return 30.0 if self.webhook_url else 0.0
