"""The sandbox keeps the vendor's quirks, and holds a million records."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from dncsync.clock import VirtualClock
from dncsync.connector import Change, Context, VendorError
from dncsync.http import HttpDoor, WireCall
from dncsync.model import Channel, Flag
from dncsync.testing.sandbox import seeded_number
from dncsync_salesforce import PLUGIN
from dncsync_salesforce.sandbox import SalesforceSandbox

Make = Callable[..., Any]
BASE = "/services/data/v66.0"


class Caller:
    """A plain client with a good session."""

    def __init__(self, sandbox: SalesforceSandbox) -> None:
        self._client = httpx.Client(transport=sandbox.transport(), base_url="http://sf.test")
        form = {
            "grant_type": "client_credentials",
            "client_id": sandbox.client_id,
            "client_secret": sandbox.client_secret,
        }
        token = self._client.post("/services/oauth2/token", data=form).json()["access_token"]
        self._client.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **params: str) -> httpx.Response:
        return self._client.get(path if path.startswith("/") else f"{BASE}/{path}", params=params)

    def soql(self, query: str) -> Any:
        return self.get("query/", q=query).json()


@pytest.fixture
def sandbox() -> SalesforceSandbox:
    return SalesforceSandbox(seed=4, contacts=300, clock=VirtualClock(), sms_field="Sms__c")


def test_the_same_seed_gives_the_same_org() -> None:
    def rows(seed: int) -> list[Any]:
        made = SalesforceSandbox(seed=seed, contacts=200, clock=VirtualClock(), person_accounts=True)
        return [
            list(made.store.db.execute(f"SELECT * FROM {name}")) for name in ("Contact", "Lead", "Account")
        ]

    assert rows(1) == rows(1)
    assert rows(1) != rows(2)


@pytest.mark.parametrize("persons", [False, True])
def test_every_seeded_number_leads_back_to_its_record(persons: bool) -> None:
    made = SalesforceSandbox(seed=9, contacts=250, clock=VirtualClock(), person_accounts=persons)
    for number in made.numbers(250):
        truth = made.truth(number)
        assert truth, number
        scanned = [
            f"{name}/{row[0]}"
            for name in ("Contact", "Lead", "Account")
            for row in made.store.db.execute(f"SELECT * FROM {name}")
            if number[-4:] in str(row) and any(t.key == f"{name}/{row[0]}" for t in truth)
        ]
        assert len(scanned) == len(truth)


def test_seeded_records_are_special_as_often_as_told() -> None:
    made = SalesforceSandbox(
        seed=9, contacts=2_000, clock=VirtualClock(), lead_share=0.25, opted_out_share=0.1, shared_share=0.05
    )
    count = made.store.db.execute("SELECT COUNT(*), SUM(DoNotCall) FROM Lead").fetchone()
    assert count[0] == 500
    both = made.store.db.execute("SELECT SUM(DoNotCall) FROM Contact").fetchone()[0] + count[1]
    assert both == pytest.approx(200, abs=3)
    assert sum(len(made.truth(n)) > 1 for n in made.numbers(2_000)) == 100


def test_soql_names_the_field_that_it_does_not_know(sandbox: SalesforceSandbox) -> None:
    (fault,) = Caller(sandbox).soql("SELECT Id, Bacon__c FROM Contact")
    assert fault["errorCode"] == "INVALID_FIELD"
    assert "ERROR at Row:1:Column:12\nNo such column 'Bacon__c' on entity 'Contact'" in fault["message"]


@pytest.mark.parametrize(
    ("soql", "code"),
    [
        ("SELECT Id FROM Bacon", "INVALID_TYPE"),
        (
            "SELECT Id FROM Contact WHERE DoNotCall = true AND IsDeleted = false OR Phone = null",
            "MALFORMED_QUERY",
        ),
        ("SELECT Id FROM Contact WHERE DoNotCall = 'true'", "INVALID_FIELD"),
        ("SELECT Id FROM Contact WHERE SystemModstamp > '2026-01-01T00:00:00Z'", "INVALID_FIELD"),
        ("SELECT Id FROM Contact LIMIT", "MALFORMED_QUERY"),
        ("SELECT FROM Contact", "MALFORMED_QUERY"),
        ("DROP TABLE Contact", "MALFORMED_QUERY"),
        ("SELECT Id FROM Contact; DROP TABLE Contact", "MALFORMED_QUERY"),
        ("", "MALFORMED_QUERY"),
    ],
)
def test_soql_refuses_what_the_vendor_refuses(sandbox: SalesforceSandbox, soql: str, code: str) -> None:
    assert Caller(sandbox).soql(soql)[0]["errorCode"] == code


@pytest.mark.parametrize(
    ("where", "count"),
    [
        ("Phone LIKE '%555%0101%'", 1),
        ("Phone = '(202) 555-0101'", 1),
        ("Phone = 'O\\'Hara'", 1),
        ("NOT (Phone != null OR MobilePhone != null)", 0),
        ("Id IN ('0035g0000000000AAA', '0035g0000000001AAA')", 2),
        ("Id NOT IN ('0035g0000000000AAA')", 271),
        ("(DoNotCall = true OR Phone = 'o\\'hara') AND IsDeleted = false", 7),
        ("SystemModstamp >= 2026-11-23T15:00:00Z", 2),
        ("SystemModstamp >= 2026-11-23T16:00:00.000+0100", 2),
        ("SystemModstamp < 2026-11-23T15:00:00Z", 270),
    ],
)
def test_soql_conditions(sandbox: SalesforceSandbox, where: str, count: int) -> None:
    sandbox.add_contact(["(202) 555-0101"], slots=("Phone",))
    sandbox.add_contact(["O'Hara"], slots=("Phone",))
    assert Caller(sandbox).soql(f"SELECT COUNT() FROM Contact WHERE {where}")["totalSize"] == count


def test_a_forgotten_locator_and_a_long_uri_and_an_old_version(sandbox: SalesforceSandbox) -> None:
    caller = Caller(sandbox)
    assert caller.get("query/0r85g0000000000099-2000").json()[0]["errorCode"] == "INVALID_QUERY_LOCATOR"
    ids = ",".join(f"'0035g000{i:07d}AAA'" for i in range(700))
    assert caller.get("query/", q=f"SELECT Id FROM Contact WHERE Id IN ({ids})").status_code == 414
    assert caller.get("/services/data/v30.0/limits/").status_code == 410


def test_every_answer_tells_the_usage_and_the_time(sandbox: SalesforceSandbox) -> None:
    answer = Caller(sandbox).get("limits/")
    assert answer.headers["Sforce-Limit-Info"].startswith("api-usage=1/100000; per-app-api-usage=")
    assert answer.headers["Date"] == "Mon, 23 Nov 2026 15:00:00 GMT"


def test_control_over_http(sandbox: SalesforceSandbox) -> None:
    client = httpx.Client(transport=sandbox.transport(), base_url="http://sf.test")
    lead = sandbox.add_contact(["+12025550101"], object="Lead", DoNotCall=True)
    done = client.post("/_sandbox/act", json={"act": "convert_lead", "key": lead}).json()["id"]
    assert done.startswith("Contact/")
    assert (
        client.post("/_sandbox/act", json={"act": "opt_out", "number": "+12025550101"}).json()["id"] == done
    )
    assert client.post("/_sandbox/act", json={"act": "fly"}).status_code == 400


def test_every_call_of_every_operation_goes_through_the_door(sandbox: SalesforceSandbox) -> None:
    """The sandbox counts what arrives, the door what it let through."""
    clock, seen = VirtualClock(), list[WireCall]()
    config, secrets = sandbox.settings("http://sf.test")

    def door(**options: Any) -> HttpDoor:
        return HttpDoor("sf", clock=clock, transport=sandbox.transport(), observe=seen.append, **options)

    given = PLUGIN.settings.model_validate({**config, **secrets, "bulk_threshold": 10})
    connector = PLUGIN.connect(given, Context("sf", clock, door))
    sandbox.clock = clock
    key = sandbox.opt_out(sandbox.numbers(1)[0])
    list(connector.snapshot(None))
    list(connector.changes(None))
    list(connector.read([key]))
    list(connector.write([Change(key, {Channel.VOICE: Flag.CLEAR})]))
    list(connector.find(sandbox.numbers(1)[0]))
    connector.describe()
    connector.probe()
    connector.close()
    assert len(seen) == sum(n for route, n in sandbox.calls.items() if route.startswith("status "))
    assert all(
        not any(c.isdigit() for c in call.route.replace("v66.0", "").replace("oauth2", "")) for call in seen
    )


HOSTILE = [
    "",
    "null",
    "7",
    '"x"',
    "[]",
    "{}",
    "[7]",
    '{"records":{}}',
    '{"records":[7],"done":true,"totalSize":1}',
]
HOSTILE += ['{"records":[{}],"done":true,"totalSize":1}', '{"records":[],"done":false,"totalSize":1}']
HOSTILE += [
    '{"records":[],"done":false,"totalSize":1,"nextRecordsUrl":"@evil.example/"}',
    "\udcff",
    "[" * 5_000,
]
HOSTILE += ['{"fields":[7,{"name":7}]}', '{"records":[{"Id":7,"attributes":null}],"done":true,"totalSize":1}']


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 500])
@pytest.mark.parametrize("body", HOSTILE)
def test_hostile_bodies_are_failures_and_no_tracebacks(org: Make, status: int, body: str) -> None:
    o = org(contacts=4)
    text = body.encode("utf-8", "surrogateescape").decode("latin-1")
    key = "Contact/0035g0000000001AAA"
    for warm in (False, True):
        if warm:
            o.sandbox.faults.clear()
            o.clock.advance(1_000)  # a refused log-in is not tried again at once
            o.look(key)
        o.sandbox.faults.add("status", path="services/data", status=status, body=text)
        for operation in (
            lambda: list(o.connector.snapshot(None)),
            lambda: list(o.connector.changes(None)),
            lambda: list(o.connector.find("+12025550101")),
            lambda: o.connector.describe(),
            lambda: o.connector.probe(),
        ):
            try:
                operation()
            except VendorError:
                continue
        for looked in o.connector.read([key]):
            assert looked.failure is not None or looked.holding.gone
        assert all(w.failure is not None for w in o.connector.write([Change(key, {Channel.VOICE: Flag.SET})]))
        assert o.sandbox.record(key)["DoNotCall"] == 0


def test_hostile_bulk_answers_are_failures_and_no_tracebacks(org: Make) -> None:
    for path in ("jobs/query$", "jobs/query/[^/]+$", "results"):
        for body in ("", "null", "[]", "{}", '{"id":7}', '{"state":7}', "<html>", '"Id"\n"x"\n'):
            o = org(contacts=300, settings={"bulk_threshold": 100}, page_size=100)
            o.sandbox.faults.add("status", path=path, status=200, body=body)
            _, failure = o.until_it_breaks(o.connector.snapshot(None))
            assert failure.code == "malformed"


@pytest.mark.slow
def test_a_million_records_start_in_seconds() -> None:
    started = time.process_time()
    made = SalesforceSandbox(seed=1, contacts=1_000_000, clock=VirtualClock())
    used = time.process_time() - started
    assert used < 60, "about 6 s; the bound only catches what is out of all proportion"
    for index in (0, 500_000, 999_999):
        assert made.truth(seeded_number(1, index))
    page = Caller(made).soql("SELECT Id FROM Contact WHERE Id > '0035g0000900000AAA' ORDER BY Id")
    assert page["totalSize"] == 89_999
    assert len(page["records"]) == 2_000
    assert json.dumps(page)
