"""HubSpot contacts as a connected system (facts: vendor sheet `hubspot.md`, checked 2026-11-21).

Importing the package is cheap: the vendor's SDK is imported when a system is connected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dncsync.connector import Connector, Context, Plugin
from dncsync_hubspot.settings import HubSpotSettings

if TYPE_CHECKING:
    from dncsync.testing.sandbox import Sandbox


def _connect(settings: HubSpotSettings, context: Context) -> Connector:
    from dncsync_hubspot.connector import HubSpotConnector

    return HubSpotConnector(settings, context)


def _sandbox() -> type[Sandbox]:
    from dncsync_hubspot.sandbox import HubSpotSandbox

    return HubSpotSandbox


PLUGIN = Plugin(vendor="hubspot", settings=HubSpotSettings, connect=_connect, sandbox=_sandbox)
__all__ = ["PLUGIN"]
