"""Switches of the sandbox: what is UNCONFIRMED in the fact sheet, and what sites and builds differ in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass
class Options:
    """May also be changed while the sandbox runs."""

    # the data to begin with
    opted_out_share: float = 0.02
    """Share of the seeded leads that is on each of `lists`: each n-th, never the first."""
    shared_share: float = 0.005
    """Share of the seeded leads that has a second lead with the same number."""
    country_code_share: float = 0.01
    """Share of the entries that stands on the list a second time, as 1 and ten digits."""
    wildcards: tuple[str, ...] = ("201XXXXXXX",)
    """Area-code entries; only where there are contacts."""

    # the site
    user: str = "dncsync"
    password: str = "Kx7-sandbox_Pw"  # noqa: S105  (of a sandbox)
    webhook_token: str = "sandbox-dispo-token-0001"  # noqa: S105
    lists: tuple[str, ...] = ("SYSTEM_INTERNAL",)
    """What the connector is configured with; its campaigns use their own list."""
    campaigns: tuple[str, ...] = ("SALES", "RETAIN")
    other_campaign_dnc: dict[str, str] = field(default_factory=dict)
    """`use_other_campaign_dnc`: campaign -> the campaign whose list counts instead."""
    call_times: tuple[str, ...] = ("24hours", "9am-9pm", "9am-5pm", "12pm-5pm", "12pm-9pm", "5pm-9pm")
    lead_form: Literal["ten-digits", "international"] = "ten-digits"
    """How leads store numbers (UNCONFIRMED per site)."""
    non_latin: bool = False
    two_factor: bool = False
    api_ip_list: tuple[str, ...] = ()
    """Addresses that may call; empty: all."""
    allowed_functions: tuple[str, ...] = (
        "add_dnc_phone",
        "delete_dnc_phone",
        "check_phone_number",
        "campaigns_list",
        "lead_search",
        "update_lead",
    )
    dispo_url_statuses: tuple[str, ...] = ()
    """The ALT form of the Dispo Call URL calls for these only; empty: for every disposition."""
    dispo_url_retries: bool = False
    """True: calls that fail are sent again. No retry was found in the program (section 6)."""

    # the build
    build: str = "241004-1518"
    version: str = "2.14-194"
    separators: Literal["program", "document"] = "program"
    """`: |` of the program, or ` - ` of its document (section 3.1)."""
    language: Literal["en", "es"] = "en"
    """Of the API user: the pages' texts are translated, the API's are not."""
    zero_rows: bool = False
    """`lead_search` gives a row also for numbers without leads (UNCONFIRMED)."""
    most_records: int = 0
    """A cap of `lead_search` below `records`; 0: none (UNCONFIRMED)."""
    rights_before_campaigns: bool = True
    """Order of the download page's checks (UNCONFIRMED)."""
    strict_mysql: bool = False
    """A campaign id over 8 characters is refused instead of cut; SUCCESS either way."""

    # faults of meaning that the common kit has no word for
    mysql_down: bool = False
    php_warnings: bool = False
    """PHP warnings before each answer."""
    replica_lag: float = 0.0
    """Seconds by which the download page is behind."""
    memory_limit: int = 0
    """Rows at which the download page dies on PHP's memory_limit; 0: never."""
    memory_answer: Literal["empty 200", "500"] = "empty 200"
    """What such a page answers (UNCONFIRMED per installation)."""

    # how the connector is configured by `settings()`
    parallel: int = 1
    """One, so that a world under a virtual clock stays the same for the same seed."""
    calls_per_second: int = 8
    purge_hopper: bool = True
