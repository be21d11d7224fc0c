"""People text the sandbox; its signed webhooks are parsed by the connector."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from dncsync.connector import Says, Statement, WebhookRefused, WebhookRequest
from dncsync.testing.faults import FaultKind
from integration.twilio.world import HOOK, Build, World

ANN = "+13125550101"


def statements(w: World) -> list[Statement]:
    found: list[Statement] = []
    for request in w.webhooks():
        for signal in w.connector.parse_webhook(request).signals:
            assert isinstance(signal, Statement)
            found.append(signal)
    return found


def hooked(w: World) -> World:
    w.sandbox.webhook_url = HOOK
    return w


def test_a_stop_reaches_us_signed_and_is_blocked_there(world: Build) -> None:
    w = hooked(world(services=2))
    scope = w.sandbox.senders.scopes()[1]
    sid = w.sandbox.opt_out(ANN, scope=scope)
    (statement,) = statements(w)
    assert (statement.ref, statement.number, statement.says) == (sid, ANN, Says.STOP)
    assert f"{scope}/{ANN}" in w.connector.keys_for(ANN)
    assert statement.scope == scope
    assert w.held(ANN) == ["clear", "set"], "no account-wide opt-out (sheet section 4)"


@pytest.mark.parametrize(
    ("text", "held", "says"),
    [
        ("stop", "set", Says.STOP),
        ("OptOut", "set", Says.STOP),
        ("Stop please", "clear", None),
        ("basta", "set", Says.STOP),
        ("HELP", "clear", Says.HELP),
    ],
)
def test_keywords_are_whole_bodies_and_custom_words_count(
    world: Build, text: str, held: str, says: Says | None
) -> None:
    w = hooked(world(words={"Basta": "STOP"}))
    w.sandbox.opt_out(ANN, text=text)
    (statement,) = statements(w)
    assert (statement.text, statement.says) == (text, says)
    assert w.held(ANN) == [held]


def test_opt_out_type_is_not_required(world: Build) -> None:
    w = hooked(world(services=1, numbers=1, advanced_opt_out=False, words={"BASTA": "STOP"}))
    for scope in w.sandbox.senders.scopes():
        w.sandbox.opt_out(ANN, scope=scope)
    first, second = statements(w)
    assert (first.says, second.says) == (None, None)
    assert (first.text, second.text) == ("STOP", "STOP")
    assert [first.scope, second.scope] == list(w.sandbox.senders.scopes())
    assert w.held(ANN) == ["set", "set"]
    w.sandbox.opt_out("+13125550102", text="BASTA")
    assert w.held("+13125550102") == ["clear", "clear"]


def test_a_start_clears_what_a_keyword_set_and_says_so(world: Build) -> None:
    w = hooked(world())
    w.sandbox.opt_out(ANN)
    w.sandbox.undo(ANN)
    assert [s.says for s in statements(w)] == [Says.STOP, Says.START]
    assert w.held(ANN) == ["clear"]


@pytest.mark.parametrize(("clears", "held"), [(True, "clear"), (False, "set")])
def test_whether_a_start_clears_an_api_written_opt_out_is_switchable(
    world: Build, clears: bool, held: str
) -> None:
    """UNCONFIRMED; in both cases the START reaches us, and a second opt-out can be written."""
    w = hooked(world(start_clears_api=clears))
    w.write(ANN)
    w.sandbox.undo(ANN)
    assert w.held(ANN) == [held]
    assert [s.says for s in statements(w)] == [Says.START]
    w.write(ANN)
    assert w.held(ANN) == ["set"]


def test_a_consent_that_the_vendor_loses_is_gone_without_a_word(world: Build) -> None:
    w = hooked(world(toll_free=1))
    w.write(ANN)
    assert w.held(ANN) == ["set", "set"]
    w.sandbox.undo(ANN, by="lost")
    assert w.held(ANN) == ["clear", "clear"]
    assert statements(w) == []


def test_a_short_code_outside_a_service_blocks_nothing(world: Build) -> None:
    w = hooked(world(short_codes=1))
    code = next(n.number for n in w.sandbox.senders.numbers.values() if n.is_short_code)
    w.sandbox.opt_out(ANN, scope=code)
    (statement,) = statements(w)
    assert (statement.scope, statement.says, statement.text) == (code, None, "STOP")
    assert w.held(ANN) == ["clear"]


@pytest.mark.parametrize("options", [{"webhook_algorithm": "HMAC_SHA256"}, {"webhook_port": True}])
def test_other_ways_to_sign(world: Build, options: dict[str, object]) -> None:
    w = hooked(world(**options))
    w.sandbox.opt_out(ANN)
    assert [s.says for s in statements(w)] == [Says.STOP]


def test_doubled_webhooks_have_one_nonce(world: Build) -> None:
    w = hooked(world())
    w.sandbox.faults.add(FaultKind.DOUBLED_WEBHOOKS, times=1)
    w.sandbox.opt_out(ANN)
    w.sandbox.opt_out(ANN)
    nonces = [w.connector.parse_webhook(request).nonce for request in w.webhooks()]
    assert len(nonces) == 3
    assert len(set(nonces)) == 2


def test_a_silent_webhook_leaves_the_poll(world: Build) -> None:
    w = hooked(world())
    w.sandbox.faults.add(FaultKind.SILENT_WEBHOOKS)
    sid = w.sandbox.opt_out(ANN)
    assert statements(w) == []
    w.clock.advance(10)
    assert [s.ref for s in w.poll(None)[0]] == [sid]


@pytest.mark.parametrize("drift", ["dropped", "elsewhere", "on-number"])
def test_a_service_that_does_not_call_us(world: Build, drift: str) -> None:
    w = hooked(world())
    (service,) = w.sandbox.senders.services.values()
    if drift == "on-number":
        service.use_inbound_webhook_on_number = True
        for number in w.sandbox.senders.numbers.values():
            number.sms_url = ""
    else:
        service.inbound_request_url = "" if drift == "dropped" else "https://else.example/"
    w.sandbox.opt_out(ANN)
    assert statements(w) == []
    assert w.held(ANN) == ["set"], "the block does not need a webhook (sheet section 4)"


def test_a_media_only_message_reaches_the_engine_as_empty_words(world: Build) -> None:
    w = hooked(world())
    w.sandbox.text(ANN, "", media=1)
    (statement,) = statements(w)
    assert statement.text == ""


def test_a_status_callback_brings_21610_as_evidence(world: Build) -> None:
    w = hooked(world())
    w.sandbox.opt_out(ANN)
    statements(w)
    w.clock.advance(400)
    scope = w.sandbox.senders.scopes()[0]
    with httpx.Client(transport=w.sandbox.transport()) as client:
        client.post(
            f"https://api.twilio.com/2010-04-01/Accounts/{w.sandbox.account_sid}/Messages.json",
            data={"To": ANN, "Body": "sale!", "MessagingServiceSid": scope, "StatusCallback": HOOK},
            auth=(w.sandbox.account_sid, w.sandbox.auth_token),
        ).raise_for_status()
    assert statements(w) == [], "it comes with the failure, not with the send"
    w.clock.advance(5)
    (statement,) = statements(w)
    assert statement.evidence_only
    assert (statement.number, statement.source, statement.scope) == (ANN, "21610", scope)


@contextmanager
def listener(w: World, taken: list[Statement], refused: list[str]) -> Iterator[str]:
    """A real web server that parses and answers as the engine's listener does."""

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            url = f"http://{self.headers['Host']}{self.path}"
            try:
                webhook = w.connector.parse_webhook(WebhookRequest("POST", url, headers, body, w.clock.now()))
            except WebhookRefused as error:
                refused.append(error.reason)
                self.send_response(error.status)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            taken.extend(s for s in webhook.signals if isinstance(s, Statement))
            self.send_response(200)
            self.send_header("Content-Type", webhook.answer_type)
            self.send_header("Content-Length", str(len(webhook.answer)))
            self.end_headers()
            self.wfile.write(webhook.answer)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    worker = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    worker.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/webhooks/sms?system=sms"
    finally:
        server.shutdown()
        server.server_close()
        worker.join()


def test_over_a_real_socket(world: Build) -> None:
    w = world()
    taken: list[Statement] = []
    refused: list[str] = []
    with listener(w, taken, refused) as url, httpx.Client(trust_env=False) as client:
        w.sandbox.webhook_url = url
        sid = w.sandbox.opt_out(ANN)
        assert w.sandbox.deliver_webhooks(client) == 1
        forged = client.post(url, data={"From": ANN, "Body": "START"}, headers={"X-Twilio-Signature": "x"})
        assert forged.status_code == 403
    assert [s.ref for s in taken] == [sid]
    assert refused == ["X-Twilio-Signature does not fit"]
