"""A Twilio account as a local server: consents, message log, senders, keywords, signed webhooks.

Speaks for accounts., api. and messaging.twilio.com at once; their paths do not overlap. Contacts are always
E.164 at Twilio, so there are no notations, shared lines or junk to hold. Where the vendor sheet says
UNCONFIRMED there is an option; see `TwilioSandbox`.
"""

from __future__ import annotations

import base64
import hashlib
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

import httpx
import phonenumbers
from werkzeug.wrappers import Request, Response

from dncsync.clock import Clock
from dncsync.model import Channel, Flag
from dncsync.testing.faults import FaultKind
from dncsync.testing.sandbox import Sandbox, Truth, json_response
from dncsync_twilio import signature
from dncsync_twilio.fields import BLOCKED, key_of
from dncsync_twilio.sandbox_consents import BadForm, ConsentBook
from dncsync_twilio.sandbox_listings import new_page, old_page
from dncsync_twilio.sandbox_messages import BadQuery, message_json, page_of
from dncsync_twilio.sandbox_options import OPTIONS
from dncsync_twilio.sandbox_senders import Senders, seeded_hex, seeded_sid
from dncsync_twilio.sandbox_store import Store
from dncsync_twilio.sandbox_texts import Texts, WebhookSigner

DEMO_URL = "https://demo.twilio.com/welcome/sms/reply"
"""Where inbound messages go as long as nobody has set a URL."""


class TwilioSandbox(Sandbox):
    """One Twilio account. Options and their defaults: `OPTIONS`.

    Faults of meaning: expired-token and lost-permission (by path), dropped-write for single consents with
    `how` = `silent`, `omit-item`, `duplicate-id`, `internal-error` or `extra-key`; renamed-, hidden- and
    retyped-field with `field`, on the rows of any listing and the results of consents; short-list,
    stale-index and repeated-page on the message log; the kit's faults of webhooks.
    """

    vendor = "twilio"

    def __init__(
        self, *, seed: int = 0, contacts: int = 0, clock: Clock | None = None, **options: Any
    ) -> None:
        super().__init__(seed=seed, contacts=contacts, clock=clock, **options)
        if unknown := options.keys() - OPTIONS.keys():
            raise ValueError(f"the Twilio sandbox has no option {', '.join(sorted(unknown))}")
        self._option = {**OPTIONS, **options}
        self.account_sid = seeded_sid("AC", seed, "account")
        self.auth_token = seeded_hex(seed, "auth token")
        self.api_key = (seeded_sid("SK", seed, "key"), seeded_hex(seed, "key secret"))
        self.shared_key = ("webhooks_sharedkey_1", seeded_hex(seed, "shared key"))
        self.store = Store(seed)
        self.senders = Senders(seed, self.account_sid, lambda: self.webhook_url or DEMO_URL, self.clock.now())
        self._signer = WebhookSigner(self.auth_token, self.shared_key, self._option, self.clock)
        self._texts = Texts(self.store, self.senders, self._option, self.clock, self._call_us)
        self._book = ConsentBook(self.store, self.senders, self.clock.now)
        self._consent_calls: deque[float] = deque()
        for index in range(self._option["services"]):
            self.add_service(f"service {index}")
        for kind, toll_free in (("numbers", False), ("toll_free", True)):
            for _ in range(self._option[kind]):
                self.senders.add_number(toll_free=toll_free)
        for _ in range(self._option["short_codes"]):
            self.senders.add_number(short_code=True)
        scopes = [(scope, self.senders.first_of(scope).number) for scope in self.senders.scopes()]
        self.store.seed_opt_outs(contacts, self._option["opted_out_share"], scopes, self._now())
        self._add_routes()

    def _add_routes(self) -> None:
        account = f"/2010-04-01/Accounts/{self.account_sid}"
        self.route("/v1/Consents/Bulk", self._post_consents, methods=("POST",))
        self.route(f"{account}.json", self._get_account)
        self.route(f"{account}/Messages.json", self._get_messages)
        self.route(f"{account}/Messages.json", self._post_message, methods=("POST",))
        self.route(f"{account}/Messages/<sid>.json", self._get_message)
        self.route(f"{account}/Keys.json", self._get_keys)
        self.route(f"{account}/IncomingPhoneNumbers.json", self._get_numbers)
        self.route(f"{account}/SMS/ShortCodes.json", self._get_short_codes)
        self.route("/v1/Services", self._get_services)
        self.route("/v1/Services/<sid>", self._get_service)
        self.route("/v1/Services/<sid>/PhoneNumbers", self._get_members)
        self.route("/v1/Services/<sid>/ShortCodes", self._get_members)
        self.route("/v1/Deactivations", self._get_deactivations)
        self.route("/deactivations/<day>.txt", self._get_deactivated_file)

    # --- what each vendor gives -----------------------------------------------------------------------

    def settings(self, url: str) -> tuple[dict[str, Any], dict[str, str]]:
        config: dict[str, Any] = {
            "vendor": self.vendor,
            "base_url": url,
            "account_sid": self.account_sid,
            "scopes": list(self.senders.scopes()),
        }
        secrets = {"auth_token": self.auth_token}
        if self._option["with_api_key"]:
            config["api_key_sid"], secrets["api_key_secret"] = self.api_key
        if self._option["consent_api"] != "enabled":
            config["consent_api"] = "disabled"
        if self._option["webhook_algorithm"] == signature.SHA256:
            config["shared_key_id"], secrets["shared_key_secret"] = self.shared_key
        return config, secrets

    def truth(self, number: str) -> list[Truth]:
        return [
            Truth(key_of(scope, number), Channel.SMS, Flag.SET if self._held(scope, number) else Flag.CLEAR)
            for scope in self.senders.scopes()
        ]

    def opt_out(self, number: str, **how: Any) -> str:
        """The person texts `text` (default STOP; any words) to `scope` (default: the first). The SID."""
        return self.text(number, str(how.get("text", "STOP")), scope=how.get("scope"))

    def undo(self, number: str, **how: Any) -> str:
        """The person texts START to `scope`; with `by="lost"` the vendor loses all consents of the number, or
        those of `scope`. The message SID, or the number."""
        if how.get("by", "start") == "start":
            return self.text(number, "START", scope=how.get("scope"))
        for scope in [how["scope"]] if how.get("scope") else self.senders.scopes():
            self.store.lose(scope, number)
            self.store.network_block(scope, number, blocked=False)
        return number

    def add_contact(self, numbers: Iterable[str], **fields: Any) -> str:
        """A person with these numbers, who can text. Twilio keeps nothing of people; so no more happens.
        The key that an opt-out of the first of the numbers would have."""
        number = phonenumbers.parse(next(iter(numbers)), "US")
        e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        return key_of(self.senders.scopes()[0], e164)

    def add_service(self, name: str, *, numbers: int = 1, short_codes: int = 0) -> str:
        """Another messaging service; its SID."""
        return self.senders.add_service(
            name,
            numbers=numbers,
            short_codes=short_codes,
            advanced_opt_out=self._option["advanced_opt_out"],
            words={k.upper(): v for k, v in self._option["words"].items()},
        )

    # --- people who text ------------------------------------------------------------------------------

    def text(self, number: str, body: str, *, scope: str | None = None, media: int = 0) -> str:
        """A person texts the first sender of a scope (default: the first scope). The message SID."""
        with self.lock:
            texted = self.senders.first_of(scope or self.senders.scopes()[0])
            return self._texts.text(number, body, texted, media)

    def _call_us(self, url: str, form: Mapping[str, str], *, delay: float = 0.0) -> None:
        """A webhook, if it goes to us; what is set to another URL goes to somebody else's server."""
        if url and url == self.webhook_url:
            self.send_webhook(self._signer.call(url, form, delay=delay))

    def deliver_webhooks(self, client: httpx.Client, *, limit: int = 1000) -> int:
        """As the kit does; without `webhook_retries` what was not taken is lost."""
        taken = super().deliver_webhooks(client, limit=limit)
        if not self._option["webhook_retries"]:
            waiting = [hook for hook in self.outbox if hook.not_before > self.clock.monotonic()]
            self.outbox.clear()
            self.outbox.extend(waiting)
        return taken

    # --- calls ------------------------------------------------------------------------------------------

    def before(self, request: Request) -> Response | None:
        where = (request.method, request.path)
        if request.path.startswith("/deactivations/"):
            return None
        if self.faults.take(FaultKind.EXPIRED_TOKEN, *where) or not self._is_known(request):
            return error(401, 20003, "Authenticate")
        if self.faults.take(FaultKind.LOST_PERMISSION, *where):
            return error(403, 20003, "Permission denied")
        return None

    def after(self, request: Request, response: Response) -> Response:
        response.headers["Twilio-Request-Id"] = "RQ" + seeded_hex(self.seed, self.calls.total())
        return response

    def not_found(self, request: Request) -> Response:
        return error(404, 20404, f"The requested resource {request.path} was not found")

    def _is_known(self, request: Request) -> bool:
        kind, _, encoded = request.headers.get("Authorization", "").partition(" ")
        try:
            user, _, password = base64.b64decode(encoded).decode().partition(":")
        except ValueError:
            return False
        known = [(self.account_sid, self.auth_token)]
        if self._option["api_key_on_consents"] or not request.path.startswith("/v1/Consents"):
            known.append(self.api_key)
        return kind == "Basic" and (user, password) in known

    def _post_consents(self, request: Request) -> Response:
        now = self.clock.monotonic()
        while self._consent_calls and self._consent_calls[0] <= now - 60:
            self._consent_calls.popleft()
        if len(self._consent_calls) >= 100:
            wait = self._option["retry_after"]
            headers = {} if wait is None else {"Retry-After": str(wait)}
            return error(429, 20429, "Too many requests", headers)
        self._consent_calls.append(now)
        if self._option["consent_api"] != "enabled":
            status = int(self._option["disabled_status"])
            return error(status, 20003 if status == 403 else 20404, "No access to this resource")
        where = (request.method, request.path)
        try:
            results = self._book.upsert(
                request.form.getlist("Items"), lambda: self.faults.take(FaultKind.DROPPED_WRITE, *where)
            )
        except BadForm as wrong:
            return error(int(self._option["bad_form_status"]), 20001, str(wrong))
        return json_response({"items": self._distort(request, results, "error_code")}, 201)

    def _get_account(self, request: Request) -> Response:
        about = {"sid": self.account_sid, "friendly_name": "Sandbox", "status": "active", "type": "Full"}
        return json_response({**about, "uri": f"/2010-04-01/Accounts/{self.account_sid}.json"})

    def _get_keys(self, request: Request) -> Response:
        if self.faults.take(FaultKind.EXTRA_PERMISSION, request.method, request.path) is None:
            return error(401, 20003, "Authenticate")
        return json_response(old_page(request, "keys", [{"sid": self.api_key[0], "friendly_name": "main"}]))

    def _get_messages(self, request: Request) -> Response:
        where = (request.method, request.path)
        stale = self.faults.take(FaultKind.STALE_INDEX, *where)
        short = self.faults.take(FaultKind.SHORT_LIST, *where)
        try:
            page = page_of(
                self.account_sid,
                self.store,
                request.args.to_dict(),
                now=self._now(),
                lag=self._option["list_lag"] + (float(stale.params.get("seconds", 60.0)) if stale else 0.0),
                share=float(short.params.get("share", 0.5)) if short else 1.0,
                stuck=self.faults.take(FaultKind.REPEATED_PAGE, *where) is not None,
            )
        except BadQuery as wrong:
            return error(400, 20001, str(wrong))
        self._distort(request, page["messages"], "direction")
        return json_response(page)

    def _get_message(self, request: Request, sid: str) -> Response:
        message = self.store.message(sid)
        if message is None:
            return self.not_found(request)
        return json_response(message_json(self.account_sid, message, self._now()))

    def _post_message(self, request: Request) -> Response:
        form = request.form
        to, service, sender = form.get("To", ""), form.get("MessagingServiceSid", ""), form.get("From", "")
        if not to or not (service or sender):
            return error(
                400, 21603 if to else 21604, "A 'From' or 'MessagingServiceSid', and a 'To' are required"
            )
        known = service in self.senders.services if service else sender in self.senders.numbers
        if not known:
            return error(400, 21606, "The 'From' is not a sender of this account")
        blocked = self._is_blocked(service, sender, to)
        now = self._now()
        if blocked and not service:
            if self._option["sync_logged"]:
                self.store.add_message(
                    direction="outbound-api",
                    sender=sender,
                    recipient=to,
                    body=form.get("Body", ""),
                    service="",
                    status="failed",
                    created=now,
                    error=BLOCKED,
                )
            return error(400, BLOCKED, "Attempt to send to unsubscribed recipient")
        ends = (self._option["async_status"], BLOCKED) if blocked else ("delivered", None)
        final = (now + float(self._option["async_delay"]), *ends)
        dated = not blocked or bool(self._option["async_date_sent"])
        body, begins = form.get("Body", ""), "accepted" if service else "queued"
        message = self.store.add_message(
            direction="outbound-api",
            sender=sender or ("" if blocked else self.senders.first_of(service).number),
            recipient=to,
            body=body,
            service=service or self.senders.numbers[sender].service,
            status=begins,
            created=now,
            dated=dated,
            final=final,
        )
        if callback := form.get("StatusCallback"):
            fields = {"MessageSid": message.sid, "SmsSid": message.sid, "AccountSid": self.account_sid}
            fields |= {"From": message.sender, "To": to, "ApiVersion": "2010-04-01"}
            fields |= {"MessageStatus": ends[0], "SmsStatus": ends[0]}
            fields |= {"MessagingServiceSid": service} if service else {}
            fields |= {"ErrorCode": str(BLOCKED)} if blocked else {}
            self._call_us(callback, fields, delay=float(self._option["async_delay"]))
        return json_response(message_json(self.account_sid, message, now), 201)

    def _get_numbers(self, request: Request) -> Response:
        wanted = request.args.get("PhoneNumber")
        numbers = [n for n in self.senders.numbers.values() if not n.is_short_code]
        rows = [self.senders.number_json(n) for n in numbers if wanted in (None, n.number)]
        return json_response(
            old_page(request, "incoming_phone_numbers", self._distort(request, rows, "sms_url"))
        )

    def _get_short_codes(self, request: Request) -> Response:
        codes = [n for n in self.senders.numbers.values() if n.is_short_code]
        rows = [self.senders.short_code_json(n) for n in codes]
        return json_response(old_page(request, "short_codes", self._distort(request, rows, "sms_url")))

    def _get_services(self, request: Request) -> Response:
        services = list(self.senders.services.values())
        if self.faults.take(FaultKind.DELETED_FIELD, request.method, request.path) is not None:
            services = services[1:]
        rows = [self.senders.service_json(s) for s in services]
        return json_response(
            new_page(request, "services", self._distort(request, rows, "inbound_request_url"))
        )

    def _get_service(self, request: Request, sid: str) -> Response:
        service = self.senders.services.get(sid)
        return json_response(self.senders.service_json(service)) if service else self.not_found(request)

    def _get_members(self, request: Request, sid: str) -> Response:
        if sid not in self.senders.services:
            return self.not_found(request)
        short = request.path.endswith("ShortCodes")
        members = [n for n in self.senders.numbers.values() if n.service == sid and n.is_short_code == short]
        key, field = ("short_codes", "short_code") if short else ("phone_numbers", "phone_number")
        rows = self._distort(request, [self.senders.member_json(n) for n in members], field)
        return json_response(new_page(request, key, rows))

    def _get_deactivations(self, request: Request) -> Response:
        try:
            day = date.fromisoformat(request.args.get("Date", ""))
        except ValueError:
            day = date.max
        if day >= self.clock.now().date():
            return error(400, 20001, "Date must be a past day, YYYY-MM-DD")
        digest = hashlib.sha256(f"{self.auth_token} {day}".encode()).hexdigest()
        link = f"{request.host_url}deactivations/{day}.txt?signature={digest}"
        return json_response({"redirect_to": link}, 307)

    def _get_deactivated_file(self, request: Request, day: str) -> Response:
        digest = hashlib.sha256(f"{self.auth_token} {day}".encode()).hexdigest()
        if request.args.get("signature") != digest:
            return Response("<Error><Code>AccessDenied</Code></Error>", 403, mimetype="application/xml")
        start = date.fromisoformat(day).toordinal() % 1000
        numbers = self.numbers(start + 3)[start:]
        return Response("\n".join(number.lstrip("+") for number in numbers) + "\n", mimetype="text/plain")

    # --- inside -----------------------------------------------------------------------------------------

    def _now(self) -> float:
        return self.clock.now().timestamp()

    def _held(self, scope: str, number: str) -> bool:
        held = self.store.consent(scope, number)
        if held is not None and held["status"] == "opt-out":
            return True
        return self.store.network_blocked(scope, number)

    def _is_blocked(self, service: str, sender: str, to: str) -> bool:
        """Whether a send is refused: by the service, by the number itself, or by the toll-free network."""
        if sender and self.store.network_blocked(sender, to):
            return True
        scopes = {service or self.senders.numbers[sender].scope}
        if sender and self._option["sender_level_blocks"]:
            scopes.add(sender)
        for scope in scopes:
            held = self.store.consent(scope, to)
            if held and held["status"] == "opt-out":
                return bool(held["origin"] != "api" or self._option["consent_blocks_sends"])
        return False

    def _distort(self, request: Request, rows: list[dict[str, Any]], usual: str) -> list[dict[str, Any]]:
        """Renames, hides or retypes a field of all rows; in place."""
        where = (request.method, request.path)
        for kind in (FaultKind.RENAMED_FIELD, FaultKind.HIDDEN_FIELD, FaultKind.RETYPED_FIELD):
            fault = self.faults.take(kind, *where)
            if fault is None:
                continue
            name = str(fault.params.get("field", usual))
            for row in rows:
                if name not in row:
                    continue
                value = row.pop(name)
                if kind is FaultKind.RENAMED_FIELD:
                    row[f"{name}_v2"] = value
                elif kind is FaultKind.RETYPED_FIELD:
                    row[name] = str(value) if isinstance(value, int) else [value]
        return rows


def error(status: int, code: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """Twilio's error body; the status is repeated inside."""
    more = f"https://www.twilio.com/docs/errors/{code}"
    return json_response(
        {"code": code, "message": message, "more_info": more, "status": status}, status, headers
    )
