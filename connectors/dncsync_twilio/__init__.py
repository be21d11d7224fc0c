"""Twilio Programmable Messaging as a system: consents are written, statements are heard, nothing can be read.

Facts and their sources: `manifest.toml` here and the vendor sheet `sms-twilio.md`. Set-up: `README.md`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dncsync.connector import Connector, Context, Plugin
from dncsync_twilio.settings import TwilioSettings

if TYPE_CHECKING:
    from dncsync.testing.sandbox import Sandbox


def _connect(settings: TwilioSettings, context: Context) -> Connector:
    from dncsync_twilio.connector import TwilioConnector

    return TwilioConnector(settings, context)


def _sandbox() -> type[Sandbox]:
    from dncsync_twilio.sandbox import TwilioSandbox

    return TwilioSandbox


PLUGIN = Plugin(vendor="twilio", settings=TwilioSettings, connect=_connect, sandbox=_sandbox)
"""What `dncsync.connectors` finds under `twilio`."""

__all__ = ["PLUGIN", "TwilioSettings"]
