"""The shared conformance kit over this connector, with one scope and with several."""

from __future__ import annotations

from collections.abc import Mapping

from dncsync.testing.conformance import ConformanceSuite, Facts
from dncsync.testing.sandbox import Sandbox
from dncsync_twilio import PLUGIN
from dncsync_twilio.sandbox import TwilioSandbox
from dncsync_twilio.signature import sign


def signed(sandbox: Sandbox, method: str, url: str, body: bytes) -> Mapping[str, str]:
    """Headers of a form call without any parameter that Twilio would sign."""
    assert isinstance(sandbox, TwilioSandbox)
    return {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Twilio-Signature": sign(sandbox.auth_token, url),
    }


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
