"""The shared conformance kit over this connector, with one scope and with several."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from dncsync.testing.conformance import ConformanceSuite, Facts
from dncsync.testing.conformance_bench import WEBHOOK_URL
from dncsync.testing.sandbox import Sandbox
from dncsync_twilio import PLUGIN
from dncsync_twilio.sandbox import TwilioSandbox
from dncsync_twilio.signature import is_authentic, sign


def signed(sandbox: Sandbox, method: str, url: str, body: bytes) -> Mapping[str, str]:
    """Headers of a form call as Twilio makes it: signed over the URL and every parameter in the body."""
    assert isinstance(sandbox, TwilioSandbox)
    params = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
    return {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Twilio-Signature": sign(sandbox.auth_token, url, params),
    }


def test_the_kit_signs_as_the_sandbox_does() -> None:
    """Else its hostile forms would be refused for their signature, and nothing else would be tried."""
    sandbox = TwilioSandbox(contacts=1)
    headers = signed(sandbox, "POST", WEBHOOK_URL, b"A=1&B=&A=%C3%BC+2")
    params = [("A", "1"), ("B", ""), ("A", "ü 2")]
    assert is_authentic(sandbox.auth_token, [WEBHOOK_URL], params, headers["X-Twilio-Signature"])


class TestOneService(ConformanceSuite):
    plugin = PLUGIN
    facts = Facts(sign=signed)


class TestServicesAndNumbers(ConformanceSuite):
    plugin = PLUGIN
    facts = Facts(
        options={
            "opted_out_share": 0.3,
            "services": 2,
            "numbers": 2,
            "toll_free": 1,
            "webhook_retries": False,
        },
        sign=signed,
    )
