"""VICIdial: the internal and campaign DNC lists of one self-hosted dialer, by its Non-Agent API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dncsync.connector import Context, Plugin
from dncsync_vicidial.settings import VicidialSettings

if TYPE_CHECKING:
    from dncsync.connector import Connector
    from dncsync.testing.sandbox import Sandbox


def _connect(settings: VicidialSettings, context: Context) -> Connector:
    from dncsync_vicidial.connector import VicidialConnector

    return VicidialConnector(settings, context)


def _sandbox() -> type[Sandbox]:
    from dncsync_vicidial.sandbox import VicidialSandbox

    return VicidialSandbox


PLUGIN = Plugin(vendor="vicidial", settings=VicidialSettings, connect=_connect, sandbox=_sandbox)
