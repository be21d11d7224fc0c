"""The same wire over real sockets and the machine's own clock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from dncsync.clock import SystemClock
from dncsync.connector import Change, Connector, Context, FailureKind
from dncsync.http import HttpDoor
from dncsync.model import Channel, Flag
from dncsync_salesforce import PLUGIN
from dncsync_salesforce.sandbox import SalesforceSandbox

SET = {Channel.VOICE: Flag.SET}


@contextmanager
def connected(sandbox: SalesforceSandbox, **settings: Any) -> Iterator[Connector]:
    clock = SystemClock()
    with sandbox.serve() as url:
        config, secrets = sandbox.settings(url)
        given = PLUGIN.settings.model_validate({**config, **settings, **secrets})
        with closing(
            PLUGIN.connect(given, Context("sf", clock, lambda **kw: HttpDoor("sf", clock=clock, **kw)))
        ) as connector:
            yield connector


def test_a_full_read_a_poll_and_a_write() -> None:
    sandbox = SalesforceSandbox(seed=3, contacts=2_500)
    with connected(sandbox, bulk_threshold=1_000, domain="acme.my") as connector:
        sandbox.options["bulk_seconds"] = 0.0
        keys = [h.key for page in connector.snapshot(None) for h in page.holdings]
        assert len(set(keys)) == 2_500
        cursor = list(connector.changes(None))[-1].cursor
        number = sandbox.numbers(1)[0]
        key = sandbox.opt_out(number)
        assert key in {h.key for page in connector.changes(cursor) for h in page.holdings}
        (written,) = connector.write([Change(key, {Channel.VOICE: Flag.CLEAR})])
        assert written.failure is None
        assert [t.flag for t in sandbox.truth(number)] == [Flag.CLEAR]


def test_a_connection_reset_after_the_commit_is_unknown_and_settled_by_reading() -> None:
    sandbox = SalesforceSandbox(seed=3)
    with connected(sandbox) as connector:
        key = sandbox.add_contact(["+12025550101"])
        list(connector.read([key]))
        sandbox.faults.add("reset-after", method="PATCH", times=1)
        (written,) = connector.write([Change(key, SET)])
        assert written.failure is not None
        assert written.failure.kind is FailureKind.UNKNOWN
        (looked,) = connector.read([key])
        assert looked.holding is not None
        assert looked.holding.flags == SET


def test_an_org_that_is_down_is_transient() -> None:
    sandbox, clock = SalesforceSandbox(seed=3), SystemClock()
    with sandbox.serve() as url:
        config, secrets = sandbox.settings(url)
    given = PLUGIN.settings.model_validate({**config, **secrets})
    with closing(
        PLUGIN.connect(given, Context("sf", clock, lambda **kw: HttpDoor("sf", clock=clock, **kw)))
    ) as down:
        (written,) = down.write([Change("Contact/0035g0000000001AAA", SET)])
    assert written.failure is not None
    assert written.failure.kind is FailureKind.TRANSIENT
