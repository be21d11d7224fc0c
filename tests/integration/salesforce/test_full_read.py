"""Full reads by SOQL and by Bulk API 2.0: whole, resumable, and never complete when they are not."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from dncsync.connector import FailureKind, Page, VendorError
from dncsync.model import Channel, Flag

Make = Callable[..., Any]
BULK = {"bulk_threshold": 100}
SOQL = {"bulk_threshold": 10_000_000}


def keys(pages: list[Page]) -> list[str]:
    return [h.key for page in pages for h in page.holdings]


def everything(o: Any) -> set[str]:
    """The keys that the sandbox's store has to show."""
    rows = o.sandbox.store.db
    found = {f"Contact/{i}" for (i,) in rows.execute("SELECT Id FROM Contact WHERE IsDeleted = 0")}
    return found | {f"Lead/{i}" for (i,) in rows.execute("SELECT Id FROM Lead WHERE IsDeleted = 0")}


@pytest.mark.parametrize("settings", [BULK, SOQL])
def test_every_record_is_read_once(org: Make, settings: dict[str, Any]) -> None:
    o = org(contacts=3_000, settings=settings, page_size=400)
    pages = list(o.connector.snapshot(None))
    assert [page.more for page in pages] == [True] * (len(pages) - 1) + [False]
    assert sorted(keys(pages)) == sorted(everything(o))


@pytest.mark.parametrize("settings", [BULK, SOQL])
def test_flags_and_numbers_are_those_of_the_org(org: Make, settings: dict[str, Any]) -> None:
    o = org(contacts=1_000, settings=settings, page_size=400)
    for page in o.connector.snapshot(None):
        for h in page.holdings:
            row = o.sandbox.record(h.key)
            assert h.flags == {Channel.VOICE: Flag.SET if row["DoNotCall"] else Flag.CLEAR}
            names = ("MobilePhone", "Phone", "HomePhone", "OtherPhone", "AssistantPhone")
            assert h.numbers == tuple(row[name] for name in names if row.get(name))
            assert bool(h.provenance) is bool(row["DoNotCall"])


def test_a_full_read_makes_hardly_more_calls_than_there_are_pages(org: Make) -> None:
    o = org(contacts=100_000, settings=SOQL, lead_share=0.1)
    o.connector.probe()
    o.sandbox.calls.clear()
    assert len(keys(list(o.connector.snapshot(None)))) == 100_000
    assert sum(n for route, n in o.sandbox.calls.items() if route.startswith("GET")) <= 50 * 1.05


def test_memory_does_not_grow_with_the_org(org: Make) -> None:
    peaks = []
    for contacts in (5_000, 20_000):
        o = org(contacts=contacts, settings={"bulk_threshold": 1_000}, bulk_page_size=2_000)
        tracemalloc.start()
        for _ in o.connector.snapshot(None):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        o.sandbox.store.db.close()
    assert peaks[1] < peaks[0] * 1.2


@pytest.mark.parametrize("settings", [BULK, SOQL])
@pytest.mark.parametrize("stop_after", [1, 2, 3, 5, 8])
def test_a_full_read_goes_on_after_a_restart(org: Make, settings: dict[str, Any], stop_after: int) -> None:
    o = org(contacts=3_000, settings=settings, page_size=400, bulk_page_size=900)
    first: list[Page] = []
    for page in o.connector.snapshot(None):
        first.append(page)
        if len(first) == stop_after:
            break
    rest = list(o.again(**settings).snapshot(first[-1].cursor))
    assert rest[-1].more is False
    assert set(keys(first)) | set(keys(rest)) == everything(o)
    assert len(keys(first)) + len(keys(rest)) == 3_000, "nothing was read twice"


def test_large_pages_of_bulk_results_are_given_in_slices(org: Make) -> None:
    o = org(contacts=9_000, settings=BULK)
    pages = list(o.connector.snapshot(None))
    assert max(len(page.holdings) for page in pages) == 2_000
    middle = next(page for page in pages if '"skip": 4000' in page.cursor)
    before = pages[: pages.index(middle) + 1]
    rest = list(o.again(**BULK).snapshot(middle.cursor))
    assert len(keys(before)) + len(keys(rest)) == 9_000


def test_bulk_waits_page_by_page_so_that_an_opt_out_can_overtake(org: Make) -> None:
    o = org(contacts=3_000, settings=BULK, bulk_seconds=60)
    waits = []
    for page in o.connector.snapshot(None):
        waits.append(o.clock.monotonic())
        assert page.cursor
    gaps = [b - a for a, b in itertools.pairwise(waits)]
    assert max(gaps) <= 5.0
    assert o.clock.monotonic() >= 60


def test_a_lost_job_restarts_the_object_by_keyset(org: Make) -> None:
    o = org(contacts=5_000, settings=BULK, bulk_page_size=1_000)
    pages: list[Page] = []
    for page in o.connector.snapshot(None):
        pages.append(page)
        if page.cursor.count("locator") and o.sandbox.bulk.jobs:
            o.clock.advance(8 * 86_400)
            o.sandbox.bulk.jobs.clear()
    assert pages[-1].more is False
    assert set(keys(pages)) == everything(o)


def test_a_failed_job_is_replaced_by_soql(org: Make) -> None:
    o = org(contacts=3_000, settings=BULK, page_size=400)
    o.sandbox.failing_jobs = 1
    pages = list(o.connector.snapshot(None))
    assert set(keys(pages)) == everything(o)


def test_an_org_without_bulk_is_read_by_soql(org: Make) -> None:
    o = org(contacts=3_000, settings=BULK, page_size=400, bulk=False)
    assert sorted(keys(list(o.connector.snapshot(None)))) == sorted(everything(o))


def test_a_job_that_does_not_tell_its_size_is_counted(org: Make) -> None:
    o = org(contacts=3_000, settings=BULK, bulk_counts=False)
    assert sorted(keys(list(o.connector.snapshot(None)))) == sorted(everything(o))


def test_umlauts_in_csv_without_a_charset_do_no_harm(org: Make) -> None:
    o = org(contacts=300, settings=BULK, bulk_charset=False, page_size=100)
    key = o.sandbox.add_contact(["ruf an: +1 202 555 0101, Zoë"])
    found = {h.key: h for page in o.connector.snapshot(None) for h in page.holdings}
    assert o.sandbox.bulk.jobs
    assert found[key].numbers == ("ruf an: +1 202 555 0101, Zoë",)


def test_quotes_commas_and_line_ends_in_csv_values_are_kept(org: Make) -> None:
    o = org(contacts=300, settings=BULK, page_size=100)
    odd = 'see "notes",\nthen +12025550101'
    key = o.sandbox.add_contact([odd])
    found = {h.key: h for page in o.connector.snapshot(None) for h in page.holdings}
    assert o.sandbox.bulk.jobs
    assert found[key].numbers == (odd,)


@pytest.mark.parametrize("settings", [BULK, SOQL])
@pytest.mark.parametrize("fault", ["short-list", "repeated-page"])
def test_a_listing_that_lies_never_ends_as_complete(org: Make, settings: dict[str, Any], fault: str) -> None:
    o = org(contacts=3_000, settings=settings, page_size=400, bulk_page_size=700)
    o.sandbox.faults.add(fault)
    cursor = None
    for _ in range(6):
        pages, failure = o.until_it_breaks(o.connector.snapshot(cursor))
        assert failure.kind is FailureKind.TRANSIENT
        assert all(page.more for page in pages)
        cursor = pages[-1].cursor if pages else cursor
    o.sandbox.faults.clear()
    rest = list(o.connector.snapshot(cursor))
    assert rest[-1].more is False


@pytest.mark.parametrize("settings", [BULK, SOQL])
def test_half_an_answer_is_never_a_complete_listing(org: Make, settings: dict[str, Any]) -> None:
    o = org(contacts=3_000, settings=settings, page_size=400)
    o.sandbox.faults.add("truncated", path="results$|query/0r8", times=1)
    pages, failure = o.until_it_breaks(o.connector.snapshot(None))
    assert failure.kind is FailureKind.TRANSIENT
    rest = list(o.connector.snapshot(pages[-1].cursor))
    assert set(keys(pages)) | set(keys(rest)) == everything(o)


def test_a_page_of_bulk_results_with_fewer_lines_than_it_says_is_refused(org: Make) -> None:
    o = org(contacts=3_000, settings=BULK, page_size=400)
    honest = o.sandbox.bulk.results

    def short(*given: Any, **more: Any) -> Any:
        answer = honest(*given, **more)
        answer.set_data(answer.get_data().rsplit(b"\n", 2)[0] + b"\n")
        return answer

    endpoint = next(e for e, h in o.sandbox._handlers.items() if h == honest)
    o.sandbox._handlers[endpoint] = short
    _, failure = o.until_it_breaks(o.connector.snapshot(None))
    assert "rows that it says" in failure.message


@pytest.mark.parametrize("fault", ["reset-before", "reset-after"])
def test_a_job_that_may_have_been_made_is_only_a_delay(org: Make, fault: str) -> None:
    """A POST that only asks: the next attempt makes another job, and the first one vanishes by itself."""
    o = org(contacts=3_000, settings=BULK, page_size=400)
    o.sandbox.faults.add(fault, method="POST", path="jobs/query", times=1)
    pages, failure = o.until_it_breaks(o.connector.snapshot(None))
    assert failure.kind is FailureKind.TRANSIENT
    rest = list(o.connector.snapshot(pages[-1].cursor))
    assert set(keys(pages)) | set(keys(rest)) == everything(o)


def test_a_gap_in_the_middle_makes_the_object_be_read_anew(org: Make) -> None:
    """The pages rise and the last one says done; only the count gives it away."""
    o = org(contacts=2_000, settings=SOQL, page_size=300, lead_share=0)
    honest, calls = o.sandbox.reading.values, []

    def skipping(listing: Any, start: int, count: int) -> Any:
        calls.append(start)
        return honest(listing, start, count)[: count - 10 if len(calls) == 3 else count]

    o.sandbox.reading.values = skipping
    seen, _ = o.until_it_breaks(o.connector.snapshot(None))
    assert len(keys(seen)) < 2_000
    again = list(o.connector.snapshot(seen[-1].cursor))
    assert len(set(keys(again))) == 2_000


def test_deletions_while_we_read_are_no_alarm(org: Make) -> None:
    o = org(contacts=2_000, settings=SOQL, page_size=300)
    pages: list[Page] = []
    for page in o.connector.snapshot(None):
        if not pages:
            o.sandbox.delete("Contact/0035g0000001500AAA")
            o.sandbox.store.db.execute("DELETE FROM Contact WHERE Id = '0035g0000001600AAA'")
        pages.append(page)
    assert pages[-1].more is False


def test_a_dead_locator_is_replaced_by_the_keyset(org: Make) -> None:
    o = org(contacts=2_000, settings=SOQL, page_size=300)
    seen = []
    for page in o.connector.snapshot(None):
        seen.append(page)
        o.sandbox.reading.forget_locators()
    assert sorted(keys(seen)) == sorted(everything(o))


def test_a_server_that_shrinks_its_pages_is_read_whole(org: Make) -> None:
    o = org(contacts=2_000, settings=SOQL, page_size=500)
    seen = []
    for page in o.connector.snapshot(None):
        seen.append(page)
        o.sandbox.options["page_size"] = max(50, o.sandbox.options["page_size"] // 2)
    assert sorted(keys(seen)) == sorted(everything(o))


def test_a_converted_lead_is_listed_only_for_its_flag(org: Make) -> None:
    o = org()
    ticked = o.sandbox.add_contact(["+12025550101"], object="Lead", DoNotCall=True)
    plain = o.sandbox.add_contact(["+12025550102"], object="Lead")
    contact = o.sandbox.add_contact(["+12025550101"])
    o.sandbox.convert_lead(ticked, contact)
    o.sandbox.convert_lead(plain, contact)
    found = {h.key: h for page in o.connector.snapshot(None) for h in page.holdings}
    assert set(found) == {ticked, contact}
    assert (found[ticked].gone, found[ticked].became) == (True, contact)
    assert found[ticked].flags == {Channel.VOICE: Flag.SET}


@pytest.mark.parametrize("settings", [BULK, SOQL])
def test_person_accounts_are_accounts_and_their_contacts_are_hidden(
    org: Make, settings: dict[str, Any]
) -> None:
    o = org(contacts=2_000, settings=settings, person_accounts=True, page_size=400)
    o.sandbox.add_contact(["+12025550101"], object="Account", IsPersonAccount=False)
    found = keys(list(o.connector.snapshot(None)))
    assert len(found) == len(set(found)) == 2_000
    persons = [key for key in found if key.startswith("Account/")]
    assert persons
    hidden = {o.sandbox.record(key)["PersonContactId"] for key in persons}
    assert not {f"Contact/{i}" for i in hidden} & set(found)


def test_a_hidden_flag_is_absent_for_every_record(org: Make) -> None:
    o = org(contacts=500, settings=BULK, page_size=100)
    o.sandbox.schema.hidden.add(("Contact", "DoNotCall"))
    for page in o.connector.snapshot(None):
        for h in page.holdings:
            lead = h.key.startswith("Lead/")
            assert (h.flags[Channel.VOICE] is Flag.ABSENT) is not lead


def test_a_query_that_times_out_goes_to_bulk(org: Make) -> None:
    o = org(contacts=500)
    body = '[{"message":"Your query request was running for too long.","errorCode":"QUERY_TIMEOUT"}]'
    o.sandbox.faults.add("status", path="/query$|/query/$", status=400, body=body, times=1)
    assert len(keys(list(o.connector.snapshot(None)))) == 500
    assert len(o.sandbox.bulk.jobs) == 1


@pytest.mark.parametrize("cursor", ["x", "{}", "[]", '{"v":1,"flavour":1}', '{"v":7,"object":"Lead"}'])
def test_a_cursor_that_is_none_of_ours_is_refused(org: Make, cursor: str) -> None:
    o = org(contacts=3)
    with pytest.raises(VendorError) as caught:
        list(o.connector.snapshot(cursor))
    assert caught.value.failure.kind is FailureKind.REJECTED
