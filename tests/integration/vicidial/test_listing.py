"""Snapshots: a list is believed whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dncsync.connector import FailureKind, FieldStatus, VendorError
from dncsync.testing.faults import FaultKind
from integration.vicidial.world import PAGE, World, is_set

Make = Callable[..., World]
INTERNAL = "SYSTEM_INTERNAL"


def refused(world: World, cursor: str | None = None) -> Any:
    """The failure of a snapshot that must not complete."""
    claims: list[bool] = []

    def read_all() -> None:
        for page in world.connector.snapshot(cursor):
            claims.append(page.more)

    with pytest.raises(VendorError) as error:
        read_all()
    assert False not in claims
    return error.value.failure


def test_every_entry_of_every_list_is_given(make_world: Make) -> None:
    world = make_world(contacts=2000, lists=(INTERNAL, "SALES"), settings={"page_rows": 10})

    pages = list(world.connector.snapshot(None))

    keys = {holding.key for page in pages for holding in page.holdings}
    expected = {f"{name}/{row}" for name in (INTERNAL, "SALES") for row in world.sandbox.store.rows(name)}
    assert keys == {key for key in expected if not key.endswith("XXXXXXX")}
    assert len(keys) == 80
    assert [page.more for page in pages] == [True] * (len(pages) - 1) + [False]
    assert max(len(page.holdings) for page in pages) <= 10
    assert world.sandbox.calls[PAGE] == 2


def test_area_code_entries_are_kept_apart_and_described(make_world: Make) -> None:
    world = make_world(contacts=100, wildcards=("201XXXXXXX", "305XXXXXXX"))

    keys = [holding.key for holding in world.snapshot()]

    assert keys
    assert not [key for key in keys if "X" in key.partition("/")[2]]
    (check,) = [check for check in world.connector.describe() if "area codes" in check.name]
    assert (check.status, check.name) == (FieldStatus.OK, f"list {INTERNAL}: area codes")
    assert "201XXXXXXX, 305XXXXXXX" in check.seen


def test_malformed_rows_are_given_raw_and_never_guessed(world: World) -> None:
    """With a country code, two numbers in one value cut to 18 characters, words: the engine quarantines."""
    rows = ["13125550100", "3125550100,3125550", "N/A", "+13125550177"]
    for row in rows:
        world.sandbox.store.add(INTERNAL, row)

    holdings = world.snapshot()

    assert sorted((h.key, h.numbers) for h in holdings) == sorted((f"{INTERNAL}/{r}", (r,)) for r in rows)


@pytest.mark.parametrize("name", [INTERNAL, "SALES"])
def test_an_empty_list_is_a_sentence(make_world: Make, name: str) -> None:
    world = make_world(lists=(name,))

    pages = list(world.connector.snapshot(None))

    assert [(page.holdings, page.more) for page in pages] == [((), False)]


@pytest.mark.parametrize("name", [INTERNAL, "SALES"])
def test_a_translated_empty_sentence_is_no_empty_list(make_world: Make, name: str) -> None:
    world = make_world(lists=(name,), language="es")

    failure = refused(world)

    assert (failure.kind, failure.code) == (FailureKind.UNKNOWN, "unreadable")
    assert "English" in failure.message


def test_a_list_that_is_suddenly_empty_is_not_believed(make_world: Make) -> None:
    world = make_world(contacts=1000)
    assert len(world.snapshot()) == 20
    for row in world.sandbox.store.rows(INTERNAL):
        world.sandbox.store.remove(INTERNAL, row)

    assert refused(world).code == "short-list"


def test_php_warnings_in_front_of_a_list_make_it_no_list(make_world: Make) -> None:
    world = make_world(contacts=1000, php_warnings=True)

    assert refused(world).code == "unreadable"


@pytest.mark.parametrize("answer", ["empty 200", "500"])
def test_a_list_that_meets_the_memory_limit_is_no_empty_list(make_world: Make, answer: str) -> None:
    world = make_world(contacts=1000, memory_limit=20, memory_answer=answer)

    assert refused(world).kind is FailureKind.TRANSIENT


def test_a_download_cut_in_the_middle_of_a_row_is_no_list(make_world: Make) -> None:
    world = make_world(contacts=1000)
    world.sandbox.faults.add(FaultKind.TRUNCATED)

    assert refused(world).code == "cut-off"


def test_a_download_that_shrinks_is_not_believed(make_world: Make) -> None:
    world = make_world(contacts=2000)
    assert len(world.snapshot()) == 40
    world.sandbox.faults.add(FaultKind.SHORT_LIST, share=0.6)

    failure = refused(world)

    assert (failure.kind, failure.code) == (FailureKind.TRANSIENT, "short-list")
    assert "had 41 rows and now has 24" in failure.message
    world.sandbox.faults.clear()
    assert len(world.snapshot()) == 40


def test_the_last_cursor_carries_the_sizes_over_a_restart(make_world: Make) -> None:
    world = make_world(contacts=2000)
    *_, last = world.connector.snapshot(None)
    world.connector.close()
    world.connector = world.connect()
    world.sandbox.faults.add(FaultKind.SHORT_LIST, share=0.6)

    assert refused(world, last.cursor).code == "short-list"

    world.sandbox.faults.clear()
    assert len(world.snapshot(last.cursor)) == 40


def test_a_few_entries_less_are_believed(make_world: Make) -> None:
    world = make_world(contacts=500, wildcards=())
    assert len(world.snapshot()) == 10
    for row in world.sandbox.store.rows(INTERNAL)[:9]:
        world.sandbox.store.remove(INTERNAL, row)

    assert len(world.snapshot()) == 1


def test_a_shrink_can_be_allowed(make_world: Make) -> None:
    world = make_world(contacts=2000, settings={"largest_shrink": 1.0})
    world.snapshot()
    world.sandbox.faults.add(FaultKind.SHORT_LIST, share=0.1)

    assert len(world.snapshot()) <= 4


def test_a_snapshot_resumes_within_one_download(make_world: Make) -> None:
    world = make_world(contacts=2000, settings={"page_rows": 10})
    first = next(iter(world.connector.snapshot(None)))

    rest = list(world.connector.snapshot(first.cursor))

    assert len(first.holdings) + sum(len(page.holdings) for page in rest) == 40
    assert world.sandbox.calls[PAGE] == 1


def test_a_snapshot_resumes_after_a_restart_where_the_list_is_the_same(make_world: Make) -> None:
    world = make_world(contacts=2000, settings={"page_rows": 10})
    first = next(iter(world.connector.snapshot(None)))
    world.connector.close()
    world.connector = world.connect()

    rest = world.snapshot(first.cursor)

    assert {h.key for h in rest} & {h.key for h in first.holdings} == set()
    assert len(rest) + len(first.holdings) == 40


def test_a_list_that_changed_is_read_again_from_its_start(make_world: Make) -> None:
    """Rows have no order: a position in another download could skip some."""
    world = make_world(contacts=2000, settings={"page_rows": 10})
    first = next(iter(world.connector.snapshot(None)))
    world.connector.close()
    world.connector = world.connect()
    world.sandbox.opt_out("+12015550100")

    rest = {holding.key for holding in world.snapshot(first.cursor)}

    assert {holding.key for holding in first.holdings} < rest
    assert len(rest) == 41


@pytest.mark.parametrize(
    "cursor", ["", "x", "[]", "[1,2,3,4]", '["SALES","",7,{}]', '{"a":1}', "[null,0,-3,{}]"]
)
def test_a_strange_cursor_means_from_the_start(make_world: Make, cursor: str) -> None:
    world = make_world(contacts=1000)

    assert len(world.snapshot(cursor)) == 20


def test_a_lagging_replica_shows_less_than_a_reading(make_world: Make) -> None:
    world = make_world(contacts=1000, replica_lag=60.0)
    number = world.number()
    world.stop(number)

    (key,) = world.connector.keys_for(number)
    assert key not in {holding.key for holding in world.snapshot()}
    assert [is_set(looked) for looked in world.read(number)] == [True]
    world.clock.sleep(61)
    assert key in {holding.key for holding in world.snapshot()}


def test_a_list_of_an_unknown_campaign_is_not_asked_for(make_world: Make) -> None:
    world = make_world(lists=("SALSE",))

    assert refused(world).code == "unknown-campaign"
    assert world.sandbox.calls[PAGE] == 0


@pytest.mark.parametrize(
    ("attribute", "value", "words"),
    [
        ("rights", set[str](), "Download Lists"),
        ("reports", False, "report 'Download List'"),
        ("all_campaigns", False, "all campaigns"),
        ("level", 7, "Download Lists"),
    ],
)
def test_a_missing_right_is_no_empty_list(
    make_world: Make, attribute: str, value: object, words: str
) -> None:
    world = make_world(contacts=1000)
    setattr(world.sandbox.users.by_name["dncsync"], attribute, value)

    failure = refused(world)

    assert failure.kind is FailureKind.UNAUTHORISED
    assert words in failure.message


def test_an_expired_second_factor_is_no_empty_list(make_world: Make) -> None:
    world = make_world(contacts=1000, two_factor=True)

    assert refused(world).kind is FailureKind.UNAUTHORISED


def test_there_is_no_change_feed_and_no_search(world: World) -> None:
    assert not world.connector.capabilities.can_poll
    (page,) = world.connector.changes(None)
    assert (page.holdings, page.more) == ((), False)
    assert list(world.connector.find(world.number())) == []
    assert world.calls() == 0
