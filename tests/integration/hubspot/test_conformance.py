"""Every rule of the connector contract, over the HubSpot sandbox."""

from __future__ import annotations

from collections.abc import Mapping

from dncsync.testing.conformance import ConformanceSuite, Facts
from dncsync.testing.sandbox import Sandbox
from dncsync_hubspot import PLUGIN
from dncsync_hubspot.sandbox import HubSpotSandbox
from dncsync_hubspot.webhooks import signature_v1, signature_v3


def sign(sandbox: Sandbox, method: str, url: str, body: bytes) -> Mapping[str, str]:
    """As HubSpot signs for a project app."""
    assert isinstance(sandbox, HubSpotSandbox)
    timestamp = str(sandbox.portal.now())
    return {
        "x-hubspot-request-timestamp": timestamp,
        "x-hubspot-signature-v3": signature_v3(sandbox.client_secret, method, url, body, timestamp),
    }


def sign_v1(sandbox: Sandbox, method: str, url: str, body: bytes) -> Mapping[str, str]:
    """As HubSpot signs for an older private app."""
    assert isinstance(sandbox, HubSpotSandbox)
    return {
        "x-hubspot-signature-version": "v1",
        "x-hubspot-signature": signature_v1(sandbox.client_secret, body),
    }


class TestHubSpot(ConformanceSuite):
    plugin = PLUGIN
    facts = Facts(options={"opted_out_share": 0.3, "signatures": "v3"}, sign=sign)


class TestEverythingUnconfirmedTheOtherWay(ConformanceSuite):
    """What the vendor sheet does not know for certain, turned round."""

    plugin = PLUGIN
    facts = Facts(
        options={
            "opted_out_share": 0.3,
            "signatures": "v1",
            "event_key": "eventType",
            "webhook_family": "object",
            "creation_fires_change": False,
            "unknown_filter": "empty",
            "empty_properties": "omitted",
            "echo_written": False,
            "all_missing_status": 404,
            "partial_update": False,
            "merged_update": "error",
            "noop_bumps": True,
            "merge_makes_new_id": True,
            "merge_fills_empty": True,
            "api_source": "API",
            "retry_after": True,
            "index_lag": 20.0,
            "index_jitter": 20.0,
        },
        config={"api": "2026-03"},
        sign=sign_v1,
        covered_by_signature=frozenset({"body"}),
        signs_time=False,
    )
