"""People who text the sandbox's senders: keywords, log, signed webhook (vendor sheet sections 4, 6, 7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from dncsync.clock import Clock
from dncsync.testing.sandbox import OutgoingWebhook
from dncsync_twilio import signature
from dncsync_twilio.fields import TOLL_FREE
from dncsync_twilio.sandbox_senders import Number, Senders, Service
from dncsync_twilio.sandbox_store import Store

STOP_WORDS = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "END", "QUIT", "CANCEL", "REVOKE", "OPTOUT"})
START_WORDS = frozenset({"START", "YES", "UNSTOP"})
HELP_WORDS = frozenset({"HELP", "INFO"})
_FORM = "application/x-www-form-urlencoded; charset=UTF-8"


def keyword(body: str, service: Service | None) -> str:
    """STOP, START, HELP or empty: whole body, any case; custom words only with Advanced Opt-Out."""
    word = body.strip().upper()
    if service is not None and service.advanced_opt_out and word in service.words:
        return service.words[word]
    for says, words in (("STOP", STOP_WORDS), ("START", START_WORDS), ("HELP", HELP_WORDS)):
        if word in words:
            return says
    return ""


class WebhookSigner:
    """Makes the calls that Twilio makes to us."""

    def __init__(
        self, auth_token: str, shared_key: tuple[str, str], option: Mapping[str, Any], clock: Clock
    ) -> None:
        self._auth_token = auth_token
        self._shared_key = shared_key
        self._option = option
        self._clock = clock

    def call(self, url: str, form: Mapping[str, str], *, delay: float = 0.0) -> OutgoingWebhook:
        """A signed form call, due after `delay` seconds."""
        algorithm, key = self._option["webhook_algorithm"], self._auth_token
        signed, headers = url, {"Content-Type": _FORM}
        if self._option["webhook_port"] and urlsplit(url).port is None:
            signed = signature.port_forms(url)[1]
        if algorithm == signature.SHA256:
            key_id, key = self._shared_key
            headers["X-Twilio-Webhooks-Signature-Settings"] = f"key={key_id},algorithm={algorithm}"
        headers["X-Twilio-Signature"] = signature.sign(key, signed, form.items(), algorithm)
        due = self._clock.monotonic() + delay if delay else 0.0
        return OutgoingWebhook("POST", url, headers, urlencode(form).encode(), due)


class Texts:
    """Inbound messages."""

    def __init__(
        self,
        store: Store,
        senders: Senders,
        option: Mapping[str, Any],
        clock: Clock,
        call: Callable[[str, Mapping[str, str]], None],
    ) -> None:
        """`call(url, form)` sends a webhook."""
        self._store = store
        self._senders = senders
        self._option = option
        self._clock = clock
        self._call = call

    def text(self, number: str, body: str, texted: Number, media: int) -> str:
        """A person texts a sender: the keyword works, the log has it, the webhook goes out. The SID."""
        service = self._senders.services.get(texted.service)
        says = keyword(body, service)
        if says in ("STOP", "START"):
            self._apply(says, texted, number)
        sid = self._store.add_message(
            direction="inbound",
            sender=number,
            recipient=texted.number,
            body=body,
            service=texted.service,
            status="received",
            created=self._clock.now().timestamp(),
            media=media,
        ).sid
        form = {
            "ToCountry": "US",
            "ToState": "AR",
            "SmsMessageSid": sid,
            "NumMedia": str(media),
            "ToCity": "",
            "FromZip": "",
            "SmsSid": sid,
            "FromState": "",
            "SmsStatus": "received",
            "FromCity": "",
            "Body": body,
            "FromCountry": "US",
            "To": texted.number,
            "NumSegments": "1",
            "MessageSid": sid,
            "AccountSid": self._senders.account_sid,
            "From": number,
            "ApiVersion": "2010-04-01",
        }
        if service is not None:
            form["MessagingServiceSid"] = service.sid
            if service.advanced_opt_out and says:
                form["OptOutType"] = says
        self._call(self._senders.inbound_url(texted), form)
        return sid

    def _apply(self, says: str, texted: Number, number: str) -> None:
        if TOLL_FREE.fullmatch(texted.number):
            self._store.network_block(texted.number, number, blocked=says == "STOP")
        if not texted.scope:
            return
        if says == "STOP":
            self._store.set_consent(texted.scope, number, "opt-out", "opt-out-message", None, "keyword")
            return
        held = self._store.consent(texted.scope, number)
        if held and held["origin"] == "api" and not self._option["start_clears_api"]:
            return
        self._store.set_consent(texted.scope, number, "opt-in", "opt-in-message", None, "keyword")
