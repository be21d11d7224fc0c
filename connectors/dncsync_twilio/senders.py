"""The account's senders against the configured scopes (vendor sheet sections 4 and 10).

An opt-out at Twilio is worth as much as its scope: one written for service A does not stop service B.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from dncsync.connector import FieldCheck, FieldStatus
from dncsync_twilio.client import MESSAGING, TwilioClient
from dncsync_twilio.fields import TOLL_FREE
from dncsync_twilio.settings import TwilioSettings

Resource = Mapping[str, Any]


@dataclass
class Senders:
    """What the account can send from."""

    services: dict[str, Resource] = field(default_factory=dict)
    """SID -> service."""
    numbers: dict[str, Resource] = field(default_factory=dict)
    """E.164 -> incoming phone number that can send texts."""
    service_of: dict[str, str] = field(default_factory=dict)
    """Number or short code -> SID of the service that it is in."""
    short_codes: tuple[str, ...] = ()


def read_senders(client: TwilioClient) -> Senders:
    """Lists services with their numbers and short codes, the account's numbers and short codes."""
    senders = Senders()
    for rows, _ in client.pages(f"{MESSAGING}/v1/Services", "services", {"PageSize": 100}):
        senders.services.update({str(row.get("sid")): row for row in rows})
    for sid in senders.services:
        for resource, key, name in (
            ("PhoneNumbers", "phone_numbers", "phone_number"),
            ("ShortCodes", "short_codes", "short_code"),
        ):
            url = f"{MESSAGING}/v1/Services/{sid}/{resource}"
            for rows, _ in client.pages(url, key, {"PageSize": 100}):
                senders.service_of.update({str(row.get(name)): sid for row in rows})
    url = client.account_url("/IncomingPhoneNumbers.json")
    for rows, _ in client.pages(url, "incoming_phone_numbers", {"PageSize": 1000}):
        for row in rows:
            able = row.get("capabilities")
            if not isinstance(able, dict) or able.get("sms") is not False:
                senders.numbers[str(row.get("phone_number"))] = row
    url = client.account_url("/SMS/ShortCodes.json")
    codes = (rows for rows, _ in client.pages(url, "short_codes", {"PageSize": 1000}))
    senders.short_codes = tuple(str(row.get("short_code")) for rows in codes for row in rows)
    return senders


def check_senders(settings: TwilioSettings, senders: Senders) -> Iterator[FieldCheck]:
    """One check per configured scope, and one per sender of the account that no scope covers."""
    for scope in settings.scopes:
        if scope.startswith("MG"):
            yield _service(settings, senders, scope)
        else:
            yield _number(settings, senders, scope)
    known = {*settings.scopes, *settings.ignore_scopes}
    for sid, service in senders.services.items():
        if sid not in known:
            name = service.get("friendly_name") or "unnamed"
            yield _uncovered(sid, f"messaging service {name!r} of this account is not among the scopes")
    for number in senders.numbers:
        if number not in known and number not in senders.service_of:
            yield _uncovered(
                number, "this number can send texts outside a service and is not among the scopes"
            )
    for code in senders.short_codes:
        if code not in senders.service_of:
            yield FieldCheck(
                f"short code {code}",
                FieldStatus.CHANGED,
                "inside a messaging service",
                "outside a service: Twilio neither blocks nor answers STOP there",
                "Console > Messaging > Services > (service) > Sender Pool > Add Senders > Short Code; then "
                "name the service in scopes",
            )


def _service(settings: TwilioSettings, senders: Senders, sid: str) -> FieldCheck:
    name, expected = f"scope {sid}", _expected(settings)
    service = senders.services.get(sid)
    if service is None:
        return FieldCheck(
            name,
            FieldStatus.MISSING,
            "a messaging service of this account",
            "no such service",
            "Console > Messaging > Services: copy the SID of the service that sends, and put it into scopes",
        )
    url, on_number = service.get("inbound_request_url"), service.get("use_inbound_webhook_on_number")
    print_ = {
        "inbound_request_url": _site(url) if url else url,
        "inbound_method": service.get("inbound_method"),
        "use_inbound_webhook_on_number": on_number,
    }
    if absent := [
        key for key in ("inbound_request_url", "use_inbound_webhook_on_number") if key not in service
    ]:
        seen = f"the service has no {' and no '.join(absent)}"
        return FieldCheck(name, FieldStatus.HIDDEN, expected, seen, "Ask Twilio Support", print_)
    where = "Console > Messaging > Services > (service) > Integration > Incoming Messages"
    if on_number:
        pool = [n for n, s in senders.service_of.items() if s == sid and n in senders.numbers]
        wrong = [n for n in pool if not _ours(settings, senders.numbers[n].get("sms_url"))]
        if not wrong:
            return FieldCheck(
                name, FieldStatus.OK, expected, "inbound goes to each number's own URL", "", print_
            )
        seen = f"inbound goes to each number's own URL, which is not ours for {', '.join(sorted(wrong))}"
        mend = f"{where}: choose 'Send a webhook' with our URL, or set it on each number"
        return FieldCheck(name, FieldStatus.CHANGED, expected, seen, mend, print_)
    if not url:
        seen = "inbound messages are dropped: no STOP reaches a webhook, and OptOutType is lost"
        mend = f"{where}: choose 'Send a webhook' instead of 'Drop the message'"
        return FieldCheck(name, FieldStatus.CHANGED, expected, seen, mend, print_)
    if not _ours(settings, url):
        mend = f"{where}: set the request URL to {settings.webhook_url}"
        return FieldCheck(name, FieldStatus.CHANGED, expected, f"inbound goes to {_site(url)}", mend, print_)
    return FieldCheck(name, FieldStatus.OK, expected, _heard(settings, url), "", print_)


def _number(settings: TwilioSettings, senders: Senders, number: str) -> FieldCheck:
    name, expected = f"scope {number}", _expected(settings)
    row = senders.numbers.get(number)
    if row is None:
        return FieldCheck(
            name,
            FieldStatus.MISSING,
            "a number of this account that can send texts",
            "no such number",
            "Console > Phone Numbers > Active numbers: use the number in E.164, with SMS capability",
        )
    url = row.get("sms_url")
    print_ = {
        "sms_url": _site(url) if url else url,
        "service": senders.service_of.get(number, ""),
        "type": row.get("type"),
    }
    if service := senders.service_of.get(number):
        seen = f"the number is in service {service}: STOP and opt-outs count for the whole service"
        mend = f"put {service} into scopes in place of the number"
        return FieldCheck(name, FieldStatus.CHANGED, "a number outside a service", seen, mend, print_)
    if "sms_url" not in row:
        seen = "the number has no sms_url"
        return FieldCheck(name, FieldStatus.HIDDEN, expected, seen, "Ask Twilio Support", print_)
    if not _ours(settings, url):
        seen = f"inbound goes to {_site(url) if url else 'nobody'}"
        mend = (
            "Console > Phone Numbers > (number) > Messaging Configuration: 'A message comes in' must be our "
        )
        return FieldCheck(name, FieldStatus.CHANGED, expected, seen, mend + "webhook URL, HTTP POST", print_)
    held = " (toll-free: the network holds a block of its own)" if TOLL_FREE.fullmatch(number) else ""
    return FieldCheck(name, FieldStatus.OK, expected, _heard(settings, url) + held, "", print_)


def _uncovered(scope: str, seen: str) -> FieldCheck:
    return FieldCheck(
        f"sender {scope}",
        FieldStatus.CHANGED,
        "covered by scopes, or left out on purpose by ignore_scopes",
        seen,
        f"add {scope} to scopes (the blocks held so far are then written there too), or to ignore_scopes",
    )


def _expected(settings: TwilioSettings) -> str:
    return f"exists; inbound messages go to {settings.webhook_url or 'a webhook'}"


def _ours(settings: TwilioSettings, url: object) -> bool:
    """Without `webhook_url` in the configuration any URL will do; nobody can say whose it is."""
    return bool(url) and (settings.webhook_url is None or url == settings.webhook_url)


def _heard(settings: TwilioSettings, url: object) -> str:
    if settings.webhook_url is None:
        return f"there; inbound messages go to {_site(url)}; set webhook_url to have that compared"
    return "there, and its inbound messages come to us"


def _site(url: object) -> str:
    """A URL without its query, which may hold somebody's token."""
    parts = urlsplit(str(url))
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"
