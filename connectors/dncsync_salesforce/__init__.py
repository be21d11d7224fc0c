"""Salesforce: Contact, Lead and person accounts, over simple-salesforce and the one HTTP door."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dncsync.connector import Connector, Context, Plugin
from dncsync_salesforce.settings import SalesforceSettings

if TYPE_CHECKING:
    from dncsync.testing.sandbox import Sandbox


def _connect(settings: SalesforceSettings, context: Context) -> Connector:
    from dncsync_salesforce.connector import SalesforceConnector  # the SDK takes half a second to import

    return SalesforceConnector(settings, context)


def _sandbox() -> type[Sandbox]:
    from dncsync_salesforce.sandbox import SalesforceSandbox

    return SalesforceSandbox


PLUGIN = Plugin(vendor="salesforce", settings=SalesforceSettings, connect=_connect, sandbox=_sandbox)
