"""The configuration of one VICIdial, checked before any call is made.

VICIdial answers a misspelt list with SUCCESS and counts a mistyped password towards a lock-out, so whatever
can be refused here is refused here. Section numbers are those of the fact sheet.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, ConfigDict, Field, SecretStr, model_validator

from dncsync.connector import SystemSettings

INTERNAL = "SYSTEM_INTERNAL"
"""The name that the API gives to the system-wide list (section 3.1)."""

LONGEST_CAMPAIGN = 8
"""The column holds so many characters; a longer id is cut, with SUCCESS all the same (section 3.1)."""

_STRIPPED = re.compile(r"[^-_0-9A-Za-z]")


def _base_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be http(s)://HOST or http(s)://HOST/FOLDER of the API")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(
            "must hold neither a user, nor a query, nor a fragment; secrets have their own fields"
        )
    if parts.path.endswith(".php"):
        raise ValueError("must be the folder, without non_agent_api.php")
    return value.rstrip("/")


def _list_name(value: str) -> str:
    if value == INTERNAL:
        return value
    if value.upper().replace("-", "_") == INTERNAL:
        raise ValueError(
            f"the internal list is spelt {INTERNAL}; any other spelling is filed under a campaign"
        )
    if not value or _STRIPPED.search(value):
        raise ValueError("a campaign id holds only letters, digits, '-' and '_'")
    if len(value) > LONGEST_CAMPAIGN:
        raise ValueError(
            f"campaign id {value!r} is longer than {LONGEST_CAMPAIGN} characters; VICIdial would cut it"
        )
    return value


def _token(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[-_0-9A-Za-z]{16,128}", value.get_secret_value()):
        raise ValueError("must be 16 to 128 letters, digits, '-' or '_', so that it can stand in a URL path")
    return value


class VicidialSettings(SystemSettings):
    """One VICIdial system. Lists default to the internal one, numbers to ten digits."""

    # Pydantic would otherwise quote a refused password in its message.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    vendor: Literal["vicidial"]
    base_url: Annotated[str, AfterValidator(_base_url)] = Field(
        description="http(s)://HOST/vicidial; a host alone means that folder"
    )
    user: str = Field(min_length=2, max_length=20, description="The API user (section 2)")
    password: SecretStr
    non_latin: bool = Field(
        False, description="The site's non-latin setting: VICIdial keeps letters of any alphabet in passwords"
    )
    source: str = Field("dncsync", pattern=r"^[0-9A-Za-z]{2,20}$", description="Caller label in the API log")
    lists: tuple[Annotated[str, AfterValidator(_list_name)], ...] = Field(
        (INTERNAL,), min_length=1, description=f"{INTERNAL} and campaign ids; each gets every blocked number"
    )
    number_form: Literal["ten-digits", "national", "international"] = Field(
        "ten-digits",
        description="How the site's leads are stored: NANP ten digits, the region's national number, or all "
        "digits with the country code (UNCONFIRMED per site, section 3.1)",
    )
    trunk_prefix: str = Field(
        "", pattern=r"^[0-9]{0,2}$", description="With `national`: what leads carry in front, e.g. 0"
    )
    local_call_time: str = Field(
        "24hours",
        pattern=r"^[-_0-9A-Za-z]{1,10}$",
        description="A call time id that the site has; VICIdial asks for one in each check (section 3.3)",
    )
    dispo_statuses: tuple[Annotated[str, Field(pattern=r"^[-_0-9A-Za-z]{1,6}$")], ...] = Field(
        ("DNC", "DNCL", "DNCC"), min_length=1, description="Agents' statuses that write DNC (section 6)"
    )
    webhook_token: Annotated[SecretStr, AfterValidator(_token)] | None = Field(
        None, description="Secret part of the Dispo Call URL; without it no hints are taken"
    )
    purge_hopper: bool = Field(
        True, description="After an add, take leads of the number out of the hopper (section 5.2)"
    )
    parallel: int = Field(
        4,
        ge=1,
        le=8,
        description="Calls at once; below 10, so that a changed password cannot lock the account",
    )
    calls_per_second: int = Field(8, ge=2, le=500, description="Our own figure; VICIdial has no limit")
    largest_shrink: float = Field(
        0.1, ge=0.0, le=1.0, description="A list may lose this share between two downloads; 1 switches it off"
    )
    smallest_loss: int = Field(10, ge=0, description="Losses of so many rows are never alarming")

    page_rows: int = Field(2000, ge=10, le=10_000, description="Rows of a page of a snapshot")

    @property
    def api(self) -> str:
        """The folder of the API, without a slash at the end."""
        return self.base_url if urlsplit(self.base_url).path else f"{self.base_url}/vicidial"

    @model_validator(mode="after")
    def _survives_stripping(self) -> VicidialSettings:
        if _STRIPPED.search(self.user):
            raise ValueError(
                "user: VICIdial strips all but letters, digits, '-' and '_'; this user cannot log in"
            )
        password = self.password.get_secret_value()
        bad = re.search(r"[^-\w]" if self.non_latin else _STRIPPED, password)
        if not password or bad:
            raise ValueError(
                "password: VICIdial strips all but letters, digits, '-' and '_'; give the API user a "
                "password made of these alone"
            )
        if len({name.upper() for name in self.lists}) < len(self.lists):
            raise ValueError("lists: the same list is named twice")
        if self.trunk_prefix and self.number_form != "national":
            raise ValueError("trunk_prefix: only with number_form = 'national'")
        return self
