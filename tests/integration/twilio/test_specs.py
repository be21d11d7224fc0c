"""Requests of the connector and answers of the sandbox against Twilio's own API descriptions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_core import OpenAPI
from openapi_core.testing import MockRequest, MockResponse

from dncsync.clock import VirtualClock
from dncsync.connector import Change, Context
from dncsync.http import HttpDoor
from dncsync.model import Channel, Flag
from dncsync_twilio import PLUGIN
from dncsync_twilio.sandbox import TwilioSandbox

SPECS = Path(__file__).resolve().parents[4] / "shared" / "specs" / "twilio"
FILES = {
    "accounts.twilio.com": "accounts_v1.consents_contacts.prism.openapi.json",
    "api.twilio.com": "api_v2010.messages.openapi.json",
    "messaging.twilio.com": "messaging_v1.services_deactivations.openapi.json",
}
UNDESCRIBED = {"/SMS/ShortCodes.json", ".json"}
"""Paths below the account that our cuts of the descriptions leave out: short codes and the account itself."""

pytestmark = pytest.mark.skipif(not SPECS.is_dir(), reason=f"no API descriptions at {SPECS}")


@pytest.fixture(scope="module")
def described() -> dict[str, OpenAPI]:
    return {host: OpenAPI.from_dict(json.loads((SPECS / name).read_text())) for host, name in FILES.items()}


class Recorder(httpx.BaseTransport):
    """Keeps what went over the wire."""

    def __init__(self, sandbox: TwilioSandbox) -> None:
        self._inner = sandbox.transport()
        self.seen: list[tuple[httpx.Request, httpx.Response]] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self._inner.handle_request(request)
        response.read()
        self.seen.append((request, response))
        return response


def check(described: dict[str, OpenAPI], request: httpx.Request, response: httpx.Response) -> None:
    """Raises where either breaks the description."""
    api = described[request.url.host]
    asked = MockRequest(
        f"https://{request.url.host}",
        request.method.lower(),
        request.url.path,
        args=_several(request.url.params),
        headers=dict(request.headers),
        data=request.content or None,
        content_type="application/x-www-form-urlencoded" if request.content else "",
    )
    answered = MockResponse(
        response.content, response.status_code, dict(response.headers), response.headers["content-type"]
    )
    api.validate_request(asked)
    api.validate_response(asked, answered)


def _several(params: httpx.QueryParams) -> dict[str, Any]:
    return dict(params.multi_items())


@pytest.fixture
def recorded() -> tuple[TwilioSandbox, Recorder, Any]:
    clock = VirtualClock()
    sandbox = TwilioSandbox(
        seed=6, contacts=200, clock=clock, services=2, numbers=1, toll_free=1, short_codes=1
    )
    sandbox.senders.add_service("codes", short_codes=1)
    recorder = Recorder(sandbox)
    config, secrets = sandbox.settings("http://unused.invalid")
    config["base_url"] = None
    context = Context("sms", clock, lambda **door: HttpDoor("sms", clock=clock, transport=recorder, **door))
    return sandbox, recorder, PLUGIN.connect(PLUGIN.settings.model_validate({**config, **secrets}), context)


def test_everything_that_the_connector_does(
    described: dict[str, OpenAPI], recorded: tuple[TwilioSandbox, Recorder, Any]
) -> None:
    sandbox, recorder, connector = recorded
    keys = [key for i in range(12) for key in connector.keys_for(f"+1312555{i:04d}")]
    at = sandbox.clock.now()
    list(connector.write([Change(k, {Channel.SMS: Flag.SET}, requested_at=at) for k in keys]))
    sandbox.opt_out("+13125550101")
    sandbox.clock.sleep(5)
    assert [s for page in connector.changes(None) for s in page.statements]
    connector.describe()
    connector.probe()
    connector.close()
    account = f"/2010-04-01/Accounts/{sandbox.account_sid}"
    checked: set[str] = set()
    for request, response in recorder.seen:
        if request.url.path.removeprefix(account) in UNDESCRIBED:
            continue
        assert response.is_success
        check(described, request, response)
        checked.add(request.url.path.removeprefix(account))
    assert checked >= {"/v1/Consents/Bulk", "/Messages.json", "/v1/Services", "/IncomingPhoneNumbers.json"}
    assert any(path.endswith("/ShortCodes") for path in checked)


def test_sends_and_deactivations(
    described: dict[str, OpenAPI], recorded: tuple[TwilioSandbox, Recorder, Any]
) -> None:
    sandbox, recorder, connector = recorded
    service = sandbox.senders.scopes()[0]
    sandbox.opt_out("+13125550101")
    base = f"https://api.twilio.com/2010-04-01/Accounts/{sandbox.account_sid}"
    with httpx.Client(transport=recorder, auth=(sandbox.account_sid, sandbox.auth_token)) as client:
        for to in ("+13125550101", "+13125550102"):
            data = {"To": to, "Body": "sale!", "MessagingServiceSid": service}
            assert client.post(f"{base}/Messages.json", data=data).status_code == 201
        sandbox.clock.sleep(5)
        client.get(f"{base}/Messages.json", params={"PageSize": "1"})
        client.get("https://messaging.twilio.com/v1/Deactivations", params={"Date": "2026-11-20"})
    for request, response in recorder.seen:
        check(described, request, response)
    connector.close()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda page: page["messages"][0].update(sid="XX"),
        lambda page: page["messages"][0].update(error_code="none"),
        lambda page: page["messages"][0].update(direction="sideways"),
        lambda page: page.update(page="zero"),
    ],
    ids=["sid", "error_code", "direction", "page"],
)
def test_the_check_itself_sees_a_wrong_answer(
    described: dict[str, OpenAPI],
    recorded: tuple[TwilioSandbox, Recorder, Any],
    spoil: Callable[[dict[str, Any]], None],
) -> None:
    sandbox, recorder, connector = recorded
    sandbox.opt_out("+13125550101")
    sandbox.clock.sleep(5)
    list(connector.changes(None))
    connector.close()
    request, response = recorder.seen[-1]
    page = response.json()
    spoil(page)
    wrong = httpx.Response(200, json=page)
    with pytest.raises(Exception, match=r"(?i)valid|schema"):
        check(described, request, wrong)
