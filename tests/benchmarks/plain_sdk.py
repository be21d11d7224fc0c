"""The vendors' own SDKs against sandboxes, as somebody would use them in a script: no door, no budget."""

from __future__ import annotations

import warnings
from typing import Any

import requests
from hubspot import HubSpot
from requests.adapters import HTTPAdapter
from simple_salesforce.api import Salesforce
from simple_salesforce.login import SalesforceLogin


def hubspot(url: str, secrets: dict[str, str]) -> HubSpot:
    """HubSpot's client, speaking to the sandbox at `url`."""
    return HubSpot(access_token=secrets["access_token"], host=url)


def salesforce(url: str, config: dict[str, Any], secrets: dict[str, str]) -> Salesforce:
    """simple-salesforce, logged in by client credentials, speaking to the sandbox at `url`."""
    session = requests.Session()
    session.trust_env = False
    session.mount("https://", _To(url))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice of the SDK for browser log-ins
        token, host = SalesforceLogin(
            session=session,
            consumer_key=config["client_id"],
            consumer_secret=secrets["client_secret"],
            domain=config["domain"],
        )
    return Salesforce(session_id=token, instance=host, version="66.0", session=session)


class _To(HTTPAdapter):
    """The SDK speaks https to the org's own host only."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]
        assert request.url is not None
        request.url = f"{self._url}/{request.url.split('/', 3)[3]}"
        return super().send(request, **options)
