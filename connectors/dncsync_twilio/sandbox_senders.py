"""The sandbox's senders: messaging services, numbers and short codes, in the shapes of Twilio's answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from dncsync_twilio.fields import TOLL_FREE


def seeded_sid(prefix: str, seed: int, name: object) -> str:
    """`MG` + 32 hex digits, the same for the same seed and name."""
    return prefix + seeded_hex(seed, f"{prefix} {name}")


def seeded_hex(seed: int, name: object) -> str:
    """32 hex digits."""
    return hashlib.blake2b(f"{seed} {name}".encode(), digest_size=16).hexdigest()


@dataclass
class Number:
    """A number or short code that the account rents."""

    sid: str
    number: str
    service: str = ""
    """SID of the messaging service that it is in."""
    sms_url: str | None = None
    """None: where the sandbox's webhooks go."""

    @property
    def is_short_code(self) -> bool:
        return not self.number.startswith("+")

    @property
    def scope(self) -> str:
        """Where a STOP to this sender is kept (sheet section 4); empty: nowhere."""
        return self.service or ("" if self.is_short_code else self.number)


@dataclass
class Service:
    """A messaging service."""

    sid: str
    name: str
    inbound_request_url: str | None = None
    """None: where the sandbox's webhooks go. Empty: inbound messages are dropped."""
    use_inbound_webhook_on_number: bool = False
    advanced_opt_out: bool = True
    words: dict[str, str] = field(default_factory=dict)
    """Custom words of Advanced Opt-Out, upper case -> STOP, START or HELP."""


class Senders:
    """All senders of the sandbox's account."""

    def __init__(
        self, seed: int, account_sid: str, webhook_url: Callable[[], str], started: datetime
    ) -> None:
        self.seed = seed
        self.account_sid = account_sid
        self.services: dict[str, Service] = {}
        self.numbers: dict[str, Number] = {}
        """By number or short code."""
        self._webhook_url = webhook_url
        self._made = started.astimezone(UTC)

    def add_service(self, name: str, *, numbers: int = 1, short_codes: int = 0, **fields: Any) -> str:
        """A new service with so many senders of its own; its SID."""
        sid = seeded_sid("MG", self.seed, name)
        self.services[sid] = Service(sid, name, **fields)
        for _ in range(numbers):
            self.add_number(service=sid)
        for _ in range(short_codes):
            self.add_number(service=sid, short_code=True)
        return sid

    def add_number(self, *, service: str = "", toll_free: bool = False, short_code: bool = False) -> str:
        """A new number (E.164) or short code."""
        index = len(self.numbers)
        number = f"+1888555{index:04d}" if toll_free else f"+1501555{index:04d}"
        if short_code:
            number = f"{70_000 + index}"
        sid = seeded_sid("SC" if short_code else "PN", self.seed, number)
        self.numbers[number] = Number(sid, number, service)
        return number

    def scopes(self) -> tuple[str, ...]:
        """Every scope of opt-outs in the account: services first, then numbers outside one."""
        return (*self.services, *(n.number for n in self.numbers.values() if n.scope == n.number))

    def first_of(self, scope: str) -> Number:
        """The sender that people text when they text this scope. Raises `KeyError`."""
        if scope in self.numbers:
            return self.numbers[scope]
        for number in self.numbers.values():
            if number.service == scope:
                return number
        raise KeyError(f"no sender in {scope}")

    def inbound_url(self, number: Number) -> str:
        """Where inbound messages of this number go; empty: nowhere."""
        service = self.services.get(number.service)
        if service is None or service.use_inbound_webhook_on_number:
            return self._webhook_url() if number.sms_url is None else number.sms_url
        return self._webhook_url() if service.inbound_request_url is None else service.inbound_request_url

    # --- shapes ---------------------------------------------------------------------------------------

    def service_json(self, service: Service) -> dict[str, Any]:
        url = f"https://messaging.twilio.com/v1/Services/{service.sid}"
        inbound = service.inbound_request_url
        return {
            "sid": service.sid,
            "account_sid": self.account_sid,
            "friendly_name": service.name,
            "date_created": self._iso(),
            "date_updated": self._iso(),
            "inbound_request_url": (self._webhook_url() if inbound is None else inbound) or None,
            "inbound_method": "POST",
            "fallback_url": None,
            "fallback_method": "POST",
            "status_callback": None,
            "sticky_sender": True,
            "mms_converter": True,
            "smart_encoding": False,
            "scan_message_content": "inherit",
            "fallback_to_long_code": True,
            "area_code_geomatch": True,
            "synchronous_validation": True,
            "validity_period": 14400,
            "usecase": "marketing",
            "us_app_to_person_registered": True,
            "use_inbound_webhook_on_number": service.use_inbound_webhook_on_number,
            "url": url,
            "links": {"phone_numbers": f"{url}/PhoneNumbers", "short_codes": f"{url}/ShortCodes"},
        }

    def member_json(self, number: Number) -> dict[str, Any]:
        """A number or short code as a member of its service."""
        kind, key = ("ShortCodes", "short_code") if number.is_short_code else ("PhoneNumbers", "phone_number")
        return {
            "sid": number.sid,
            "account_sid": self.account_sid,
            "service_sid": number.service,
            "date_created": self._iso(),
            "date_updated": self._iso(),
            key: number.number,
            "country_code": "US",
            "capabilities": ["SMS"],
            "url": f"https://messaging.twilio.com/v1/Services/{number.service}/{kind}/{number.sid}",
        }

    def short_code_json(self, number: Number) -> dict[str, Any]:
        base = f"/2010-04-01/Accounts/{self.account_sid}/SMS/ShortCodes"
        return {
            "sid": number.sid,
            "account_sid": self.account_sid,
            "friendly_name": number.number,
            "short_code": number.number,
            "date_created": self._rfc(),
            "date_updated": self._rfc(),
            "api_version": "2010-04-01",
            "sms_url": self._webhook_url() if number.sms_url is None else number.sms_url,
            "sms_method": "POST",
            "sms_fallback_url": None,
            "sms_fallback_method": "POST",
            "uri": f"{base}/{number.sid}.json",
        }

    def number_json(self, number: Number) -> dict[str, Any]:
        base = f"/2010-04-01/Accounts/{self.account_sid}/IncomingPhoneNumbers"
        return {
            "account_sid": self.account_sid,
            "address_sid": None,
            "address_requirements": "none",
            "api_version": "2010-04-01",
            "beta": False,
            "capabilities": {"voice": True, "sms": True, "mms": True, "fax": False},
            "date_created": self._rfc(),
            "date_updated": self._rfc(),
            "friendly_name": number.number,
            "identity_sid": None,
            "phone_number": number.number,
            "origin": "twilio",
            "sid": number.sid,
            "sms_application_sid": None,
            "sms_fallback_method": "POST",
            "sms_fallback_url": "",
            "sms_method": "POST",
            "sms_url": self._webhook_url() if number.sms_url is None else number.sms_url,
            "status_callback": "",
            "status_callback_method": "POST",
            "trunk_sid": None,
            "uri": f"{base}/{number.sid}.json",
            "voice_receive_mode": "voice",
            "voice_application_sid": None,
            "voice_caller_id_lookup": False,
            "voice_fallback_method": "POST",
            "voice_fallback_url": None,
            "voice_method": "POST",
            "voice_url": None,
            "emergency_status": "Inactive",
            "emergency_address_sid": None,
            "emergency_address_status": "unregistered",
            "bundle_sid": None,
            "status": "in-use",
            "type": "toll-free" if TOLL_FREE.fullmatch(number.number) else "local",
        }

    def _iso(self) -> str:
        return self._made.strftime("%Y-%m-%dT%H:%M:%SZ")

    def _rfc(self) -> str:
        return format_datetime(self._made)
