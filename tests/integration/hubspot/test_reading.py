"""Listing and reading by id (vendor sheet sections 3.1, 3.2, 3.6 and 4)."""

from __future__ import annotations

import httpx
import pytest

from dncsync.connector import FailureKind, VendorError
from dncsync.model import Flag
from dncsync.testing.faults import FaultKind
from dncsync_hubspot.sandbox_schema import REASON
from integration.hubspot.world import ABSENT, CLEAR, LIST, READ, SEARCH, SET, VOICE, World, key, pages

SINGLE = f"{LIST}/<contact_id>"


# --- the listing -----------------------------------------------------------------------------------------


def test_a_full_listing_costs_little_more_than_its_pages() -> None:
    world = World(contacts=5_000, limits=False, burst=100_000, search_rate=1_000)
    found = {holding.key: holding for holding in world.listed()}
    assert set(found) == {key(i) for i in range(5_000)}
    opted_out = [h for h in found.values() if h.flags[VOICE] is SET]
    assert 50 < len(opted_out) < 200
    assert all(holding.provenance[VOICE].source for holding in opted_out)
    total = sum(n for route, n in world.sandbox.calls.items() if not route.startswith("status"))
    assert total <= 50 * 1.05 + 2  # two counts by the index, whatever the size
    assert world.sandbox.calls[LIST] == 50


def test_a_listing_goes_on_from_any_cursor_with_a_fresh_connector() -> None:
    world = World(opted_out_share=0.6)
    whole = {holding.key: holding.flags for holding in world.listed()}
    for page in pages(world.connector.snapshot(None)):
        if not page.more:
            break
        world.connector = world.connect()
        rest = pages(world.connector.snapshot(page.cursor))
        assert rest[-1].more is False
    assert whole.keys() == {key(i) for i in range(300)}


def test_the_pages_of_a_killed_listing_together_hold_everybody() -> None:
    world = World(opted_out_share=0.6)
    found: dict[str, Flag] = {}
    cursor, more = None, True
    while more:
        world.connector = world.connect()
        page = next(world.connector.snapshot(cursor))
        found |= {holding.key: holding.flags[VOICE] for holding in page.holdings}
        cursor, more = page.cursor, page.more
    assert found == {key(i): world.flag(key(i)) for i in range(300)}


def test_contacts_added_while_listing_are_listed() -> None:
    world = World()
    listing = world.connector.snapshot(None)
    found = [holding.key for holding in next(listing).holdings]
    late = world.sandbox.add_contact(["+15005550006"])
    found += [holding.key for page in listing for holding in page.holdings]
    assert late in found


def test_a_contact_added_as_the_listing_ends_is_listed() -> None:
    world = World(contacts=100)
    listing = world.connector.snapshot(None)
    world.sandbox.faults.add(FaultKind.SHORT_LIST, times=1, share=0.9)
    late = world.sandbox.add_contact(["+15005550006"])
    assert late in {holding.key for page in listing for holding in page.holdings}


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_a_listing_that_just_stops_is_not_complete(share: float) -> None:
    world = World()
    world.sandbox.faults.add(FaultKind.SHORT_LIST, share=share)
    with pytest.raises(VendorError, match="ended early"):
        world.listed()


def test_a_listing_with_a_hole_is_not_complete() -> None:
    world = World(contacts=300)
    for i in range(100, 200):
        contact = world.sandbox.portal.get(int(key(i)))
        assert contact is not None
        world.sandbox.portal.keep(contact).archived = 1  # the index does not know of it
    with pytest.raises(VendorError, match="200 of about 300"):
        world.listed()


def test_a_repeated_page_of_the_listing_is_noticed() -> None:
    world = World()
    world.sandbox.faults.add(FaultKind.REPEATED_PAGE, method="GET", times=1)
    with pytest.raises(VendorError, match="repeats a page"):
        world.listed()


def test_archived_contacts_are_not_listed_and_read_as_gone() -> None:
    world = World()
    world.sandbox.archive(key(5))
    assert key(5) not in {holding.key for holding in world.listed()}
    holding = world.read(key(5))[key(5)].holding
    assert holding is not None
    assert (holding.gone, holding.became, dict(holding.flags)) == (True, None, {})


def test_an_empty_portal_is_a_complete_listing() -> None:
    (page,) = pages(World(contacts=0).connector.snapshot(None))
    assert (page.holdings, page.more) == ((), False)


# --- by id -----------------------------------------------------------------------------------------------


def test_an_undefined_property_reads_as_absent_everywhere() -> None:
    """An undefined property is left out of answers without an error (sheet section 0, item 6)."""
    world = World(opted_out_share=0.5)
    world.poll()
    world.sandbox.rename_property("do_not_call", "dnc_new")
    world.sandbox.touch(10)
    everywhere = [*world.listed(), *world.poll()]
    everywhere += [one.holding for one in world.read(key(0), key(1)).values() if one.holding]
    assert {holding.flags[VOICE] for holding in everywhere} == {ABSENT}


@pytest.mark.parametrize("mode", ["null", "omitted"])
def test_empty_properties_are_clear_whether_answers_show_them_or_not(mode: str) -> None:
    world = World(contacts=120, opted_out_share=0.3, empty_properties=mode)
    assert {h.key: h.flags[VOICE] for h in world.listed()} == {key(i): world.flag(key(i)) for i in range(120)}


@pytest.mark.parametrize("act", ["opt_out", "undo"])
def test_a_reason_is_read_by_list_by_batch_and_singly(act: str) -> None:
    world = World(companions=True)
    number = world.sandbox.numbers(2)[1]
    getattr(world.sandbox, act)(number, reason=" Asked for a call ")
    inner = world.sandbox.transport()

    def forgetful(request: httpx.Request) -> httpx.Response:
        """A batch answer that leaves everybody out; each is then read singly."""
        if request.url.path.endswith("batch/read"):
            return httpx.Response(200, json={"status": "COMPLETE", "results": []})
        return inner.handle_request(request)

    (singly,) = world.connect(transport=httpx.MockTransport(forgetful)).read([key(1)])
    assert world.sandbox.calls[SINGLE] == 1
    listed = next(holding for holding in world.listed() if holding.key == key(1))
    few, many = world.read(key(1)), world.read(*(key(i) for i in range(60)))
    for holding in (singly.holding, listed, few[key(1)].holding, many[key(1)].holding):
        assert holding is not None
        assert holding.reason == "Asked for a call"


@pytest.mark.parametrize(("mode", "said"), [("null", ""), ("omitted", None)])
def test_nobodys_reason_is_empty_where_answers_show_it_and_else_unknown(mode: str, said: str | None) -> None:
    world = World(contacts=60, companions=True, empty_properties=mode)
    assert {holding.reason for holding in world.listed()} == {said}
    assert ABSENT not in {holding.flags[VOICE] for holding in world.listed()}


def test_a_reason_whose_property_vanished_is_unknown_and_the_flag_as_it_was() -> None:
    world = World(companions=True)
    world.sandbox.undo(world.sandbox.numbers(1)[0], reason="Asked for a call")
    world.sandbox.rename_property(REASON, "another")
    holding = world.read(key(0))[key(0)].holding
    assert holding is not None
    assert (holding.reason, holding.flags[VOICE]) == (None, CLEAR)


def test_a_reason_that_the_configuration_does_not_name_is_not_asked_for() -> None:
    world = World(companions=True, config={"companions": {}})
    world.sandbox.undo(world.sandbox.numbers(1)[0], reason="Asked for a call")
    inner, sent = world.sandbox.transport(), []

    def spy(request: httpx.Request) -> httpx.Response:
        sent.append(request.url.query + request.content)
        return inner.handle_request(request)

    world.connector = world.connect(transport=httpx.MockTransport(spy))
    everywhere = [*world.listed(), *world.poll(), world.read(key(0))[key(0)].holding]
    assert {holding.reason for holding in everywhere if holding} == {None}
    assert not any(REASON.encode() in one for one in sent)


def test_a_merged_away_id_became_the_survivor() -> None:
    world = World()
    world.sandbox.merge(key(7), key(6))
    world.sandbox.merge(key(8), key(7))
    looked = world.read(key(6), key(7), key(8))
    assert [(k, h.became) for k, one in looked.items() if (h := one.holding)] == [
        (key(6), key(8)),
        (key(7), key(8)),
        (key(8), None),
    ]


def test_a_merge_into_a_new_id_is_followed() -> None:
    world = World(merge_makes_new_id=True)
    winner = world.sandbox.merge(key(7), key(6))
    looked = world.read(key(6), key(7))
    assert {one.holding.became for one in looked.values() if one.holding} == {winner}


def test_ids_are_given_once_and_answered_each() -> None:
    world = World()
    looked = list(world.connector.read([key(1), "999", "x1", key(1)]))
    assert [one.key for one in looked] == [key(1), "999", "x1", key(1)]
    assert looked[0].holding == looked[3].holding
    assert looked[1].holding is not None
    assert looked[1].holding.gone
    assert looked[2].failure is not None
    assert looked[2].failure.kind is FailureKind.REJECTED
    assert world.sandbox.calls["status 400"] == 0


@pytest.mark.parametrize("status", [207, 404])
def test_nobody_found_is_nobody_there(status: int) -> None:
    world = World(all_missing_status=status)
    looked = world.read("990", "991")
    assert [one.holding.gone for one in looked.values() if one.holding] == [True, True]


def test_a_hundred_keys_are_two_calls_at_most_when_nobody_is_set() -> None:
    world = World(opted_out_share=0.0)
    looked = world.read(*(key(i) for i in range(100)))
    assert {one.holding.flags[VOICE] for one in looked.values() if one.holding} == {CLEAR}
    assert world.sandbox.calls[READ] == 1


def test_the_read_back_of_a_full_batch_is_one_call() -> None:
    world = World(opted_out_share=0.0)
    world.clock.advance(5)
    keys = [key(i) for i in range(100)]
    world.write(dict.fromkeys(keys, SET))
    looked = world.read(*keys)
    assert {one.holding.flags[VOICE] for one in looked.values() if one.holding} == {SET}
    assert world.sandbox.calls[READ] == 1


def test_an_id_that_spoils_a_batch_read_is_singled_out() -> None:
    world = World()
    inner = world.sandbox.transport()

    def picky(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("batch/read") and key(13).encode() in request.content:
            return httpx.Response(400, json={"status": "error", "message": "There was a problem."})
        return inner.handle_request(request)

    connector = world.connect(transport=httpx.MockTransport(picky))
    looked = list(connector.read([key(i) for i in range(40)]))
    assert [one.key for one in looked if one.failure] == [key(13)]
    assert all(one.holding for one in looked if not one.failure)


def test_a_retired_path_is_not_a_contact_that_is_gone() -> None:
    """D13: a 404 that is not HubSpot's own envelope says nothing about contacts."""
    world = World()
    contact = world.sandbox.merge(key(7), key(6))
    world.sandbox.faults.add(FaultKind.STATUS, path=rf"/{key(6)}$", status=404, body="<html>gone</html>")
    looked = world.read(key(6), contact)
    assert looked[key(6)].failure is not None
    assert looked[contact].holding is not None


@pytest.mark.parametrize(
    "body",
    ["", "<html>", "{", "[]", "null", '{"results": null}', '{"results": [{}]}', '{"results": [{"id": "1"}]}'],
)
def test_a_200_that_is_no_answer_is_a_failure_and_never_a_clear(body: str) -> None:
    world = World()
    world.sandbox.faults.add(FaultKind.STATUS, path="contacts", status=200, body=body)
    looked = world.read(key(1))[key(1)]
    assert looked.holding is None
    assert looked.failure is not None
    assert looked.failure.kind is FailureKind.TRANSIENT
    with pytest.raises(VendorError):
        world.listed()
    with pytest.raises(VendorError):
        world.poll()


def test_a_read_that_posts_is_tried_again() -> None:
    """The door takes every POST for a write; search and batch/read are none."""
    world = World()
    for kind in (FaultKind.RESET_AFTER, FaultKind.HTML, FaultKind.TRUNCATED):
        world.sandbox.faults.add(kind, method="POST", path="(search|read)$", times=1)
        assert world.read(key(1))[key(1)].holding is not None
        world.poll()


def test_a_get_is_not_tried_nine_times() -> None:
    world = World()
    world.sandbox.faults.add(FaultKind.STATUS, method="GET", status=503)
    with pytest.raises(VendorError):
        next(iter(world.connector.snapshot(None)))
    assert world.sandbox.calls[LIST] == 3


def test_dated_paths_give_the_same() -> None:
    world = World(contacts=150, config={"api": "2026-03"}, opted_out_share=0.2)
    world.write({key(0): SET})
    assert {h.key: h.flags[VOICE] for h in world.listed()} == {key(i): world.flag(key(i)) for i in range(150)}
    world.poll()
    world.sandbox.opt_out(world.sandbox.numbers(1)[0])
    assert all("/v3/" not in route for route in world.sandbox.calls)


# --- a second opinion --------------------------------------------------------------------------------------


def test_find_gives_candidates_read_by_id() -> None:
    world = World(shared_every=2)
    number = world.sandbox.numbers(2)[1]
    found = {one.key: one.holding for one in world.connector.find(number)}
    assert set(found) == {holder for holder, _ in world.truth(number)} == {key(1), key(2)}
    assert all(holding and holding.numbers for holding in found.values())


def test_find_looks_at_own_phone_properties_too() -> None:
    world = World(config={"phone_properties": ["jobtitle"]})
    contact = world.sandbox.add_contact([], jobtitle="+442079460000")
    assert [one.key for one in world.connector.find("+442079460000")] == [contact]


def test_find_of_a_crowded_number_goes_on_past_a_page() -> None:
    world = World(contacts=0)
    made = {world.sandbox.add_contact(["+15005550006"]) for _ in range(205)}
    world.clock.advance(60)
    assert {one.key for one in world.connector.find("+15005550006")} == made
    assert world.sandbox.calls[SEARCH] == 2


def test_find_wants_e164() -> None:
    with pytest.raises(ValueError, match=r"E\.164"):
        list(World().connector.find("5550006"))


def test_the_daily_quotas_rest_is_kept_for_opt_outs() -> None:
    from dncsync.budget import Lane

    world = World(daily=100)
    wire = world.connector._wire  # type: ignore[attr-defined]
    while (looked := world.read(key(1))[key(1)]).failure is None:
        world.clock.advance(1)
    assert "kept for opt-outs" in looked.failure.message
    assert 94 <= world.sandbox.calls[READ] <= 97
    with wire.door.on_behalf_of(Lane.OPT_OUT):
        assert world.write({key(1): SET})[0].failure is None
    world.clock.advance(1000)
    world.read(key(1))  # asks once whether midnight has passed


def test_limits_are_learned_from_headers() -> None:
    world = World(burst=100, config={"burst_limit": 190})
    world.read(key(1))
    door = world.connector._wire.door  # type: ignore[attr-defined]
    assert door.budget.usage()["burst"][1] == 100


def test_a_steady_reader_meets_no_429() -> None:
    world = World(contacts=2_000)
    cursor, more, found = None, True, 0
    while more:
        try:
            for page in world.connector.snapshot(cursor):
                cursor, more, found = page.cursor, page.more, found + len(page.holdings)
                world.clock.advance(0.01)
        except VendorError as full:
            world.clock.advance(full.failure.retry_after or 1)
    assert found == 2_000
    assert world.sandbox.limited_429() == 0


def test_a_redirect_is_not_followed() -> None:
    world = World()
    sent: list[str] = []

    def elsewhere(request: httpx.Request) -> httpx.Response:
        sent.append(request.url.host)
        return httpx.Response(301, headers={"location": "https://evil.example/"})

    connector = world.connect(transport=httpx.MockTransport(elsewhere))
    (looked,) = connector.read([key(1)])
    assert looked.failure is not None
    assert looked.failure.kind is FailureKind.REJECTED
    assert set(sent) == {"sandbox.invalid"}


def test_a_full_listing_holds_pages_and_not_the_portal() -> None:
    """Peak memory does not grow with the number of contacts."""
    import tracemalloc

    def peak(contacts: int) -> int:
        world = World(contacts=contacts, limits=False, burst=1_000_000, search_rate=1_000)
        tracemalloc.start()
        for _ in world.connector.snapshot(None):
            pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(300)  # imports and caches
    assert peak(12_000) < 1.5 * peak(3_000)
