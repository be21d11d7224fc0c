"""Twilio's own SDK against the sandbox, over a real socket: it is content, so the wire form is right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
from twilio.base.exceptions import TwilioRestException  # type: ignore[import-untyped]
from twilio.http.http_client import TwilioHttpClient  # type: ignore[import-untyped]
from twilio.rest import Client  # type: ignore[import-untyped]

from dncsync.clock import VirtualClock
from dncsync.connector import Change, Context
from dncsync.http import HttpDoor
from dncsync.model import Channel, Flag
from dncsync_twilio import PLUGIN
from dncsync_twilio.sandbox import TwilioSandbox

ANN, BOB = "+13125550101", "+13125550102"


class Rerouted(TwilioHttpClient):  # type: ignore[misc]
    """The SDK has no base URL; its HTTP client is told another host (vendor sheet section 9)."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self.session.trust_env = False

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        parts = urlsplit(url)
        assert parts.hostname in ("accounts.twilio.com", "api.twilio.com", "messaging.twilio.com")
        query = f"?{parts.query}" if parts.query else ""
        return super().request(method, f"{self._url}{parts.path}{query}", *args, **kwargs)


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[TwilioSandbox, str]]:
    sandbox = TwilioSandbox(seed=5, services=2, numbers=1, short_codes=1, clock=VirtualClock())
    with sandbox.serve() as url:
        yield sandbox, url


@pytest.fixture
def client(served: tuple[TwilioSandbox, str]) -> Iterator[Any]:
    sandbox, url = served
    http_client = Rerouted(url)
    yield Client(sandbox.account_sid, sandbox.auth_token, http_client=http_client)
    http_client.session.close()


def test_bulk_consents(served: tuple[TwilioSandbox, str], client: Any) -> None:
    sandbox, _ = served
    scope = sandbox.senders.scopes()[0]
    good, bad = uuid4().hex, uuid4().hex
    base = {"sender_id": scope, "status": "opt-out", "source": "others"}
    done = client.accounts.v1.bulk_consents.create(
        items=[
            {**base, "contact_id": ANN, "correlation_id": good, "date_of_consent": "2026-01-02T03:04:05Z"},
            {**base, "contact_id": "+19", "correlation_id": bad, "date_of_consent": "2025-03-25"},
        ]
    )
    results = {item["correlation_id"]: item for item in done.items}
    assert results[good]["error_code"] == 0
    assert results[bad]["error_code"] == 30646
    assert results[bad]["error_messages"] == ["INVALID_CONTACT_ID", "INVALID_DATE_OF_CONSENT"]
    assert sandbox.truth(ANN)[0].flag is Flag.SET


def test_messages(served: tuple[TwilioSandbox, str], client: Any) -> None:
    sandbox, _ = served
    service = sandbox.senders.scopes()[1]
    (number,) = [n for n in sandbox.senders.scopes() if n.startswith("+")]
    start = sandbox.clock.now()
    sids = {sandbox.opt_out(BOB, scope=scope) for scope in (service, number)}
    sent = client.messages.create(to=ANN, from_=number, body="sale!")
    assert sent.status == "queued"
    with pytest.raises(TwilioRestException) as refused:
        client.messages.create(to=BOB, from_=number, body="sale!")
    assert (refused.value.status, refused.value.code) == (400, 21610)
    later = client.messages.create(to=BOB, messaging_service_sid=service, body="sale!")
    assert later.status == "accepted"
    sandbox.clock.sleep(5)
    assert client.messages(later.sid).fetch().error_code == 21610
    listed = client.messages.list(date_sent_after=start, page_size=1)
    assert sids | {sent.sid, later.sid} == {m.sid for m in listed}
    inbound = [m for m in listed if m.direction == "inbound"]
    assert {m.sid for m in inbound} == sids
    assert all(m.date_sent >= start.replace(microsecond=0) for m in listed)
    assert [m.sid for m in client.messages.list(to=ANN)] == [sent.sid]


def test_services_numbers_and_short_codes(served: tuple[TwilioSandbox, str], client: Any) -> None:
    sandbox, _ = served
    services = client.messaging.v1.services.list(page_size=1)
    assert [s.sid for s in services] == list(sandbox.senders.services)
    assert services[0].use_inbound_webhook_on_number is False
    assert client.messaging.v1.services(services[0].sid).fetch().friendly_name == "service 0"
    members = [n.phone_number for n in client.messaging.v1.services(services[0].sid).phone_numbers.list()]
    assert [sandbox.senders.numbers[n].service for n in members] == [services[0].sid]
    assert client.messaging.v1.services(services[0].sid).short_codes.list() == []
    numbers = client.incoming_phone_numbers.list(page_size=2)
    assert {n.phone_number for n in numbers} == {n for n in sandbox.senders.numbers if n.startswith("+")}
    assert [c.short_code for c in client.short_codes.list()] == [
        n for n in sandbox.senders.numbers if not n.startswith("+")
    ]
    assert client.api.v2010.accounts(sandbox.account_sid).fetch().status == "active"


def test_deactivations(served: tuple[TwilioSandbox, str], client: Any) -> None:
    link = client.messaging.v1.deactivations().fetch(date="2026-11-20").redirect_to
    with httpx.Client(trust_env=False) as plain:
        numbers = plain.get(link).text.split()
        assert len(numbers) == 3
        assert all(number.isdigit() for number in numbers)
        assert plain.get(link.partition("?")[0]).status_code == 403
    with pytest.raises(TwilioRestException):
        client.messaging.v1.deactivations().fetch(date="2031-01-01")


def test_a_wrong_token(served: tuple[TwilioSandbox, str]) -> None:
    sandbox, url = served
    http_client = Rerouted(url)
    with pytest.raises(TwilioRestException) as refused:
        Client(sandbox.account_sid, "wrong", http_client=http_client).messages("SM" + "0" * 32).fetch()
    assert (refused.value.status, refused.value.code) == (401, 20003)
    http_client.session.close()


def test_our_connector_over_the_same_socket(served: tuple[TwilioSandbox, str]) -> None:
    sandbox, url = served
    config, secrets = sandbox.settings(url)
    settings = PLUGIN.settings.model_validate({**config, **secrets})
    context = Context("sms", sandbox.clock, lambda **door: HttpDoor("sms", clock=sandbox.clock, **door))
    connector = PLUGIN.connect(settings, context)
    number = "+13125550177"
    changes = [Change(key, {Channel.SMS: Flag.SET}) for key in connector.keys_for(number)]
    assert [w.failure for w in connector.write(changes)] == [None] * 3
    assert [t.flag for t in sandbox.truth(number)] == [Flag.SET] * 3
    assert all(check.ok for check in connector.probe().checks)
    sid = sandbox.opt_out(number)
    sandbox.clock.sleep(5)
    found = [s.ref for page in connector.changes(None) for s in page.statements]
    assert sid in found
    connector.close()
