"""The three-way merge against the words of design section 3, case by case, and its laws as properties."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dncsync.model import Flag
from dncsync.rules import Seen, Verdict, judge, must_write

SET, CLEAR, ABSENT = Flag.SET, Flag.CLEAR, Flag.ABSENT

BASES = (None, ABSENT, CLEAR, SET)
"""ABSENT: when it was last read there was no such field on it."""
WRITTEN = (None, CLEAR, SET)
OURS = (None, True, False)
MARKS = {
    "the mark moved": ("1", "2"),
    "the mark stayed": ("1", "1"),
    "no mark then": ("", "2"),
    "no mark now": ("1", ""),
    "no marks": ("", ""),
}


@dataclass(frozen=True)
class Case:
    """One reading with all that bears on it."""

    base: Flag | None
    observed: Flag
    desired: Flag
    written: Flag | None
    marks: str
    ours: bool | None
    unanswered: bool

    @property
    def seen(self) -> Seen:
        then, now = MARKS[self.marks]
        return Seen(self.base, self.observed, self.written, then, now, self.ours, self.unanswered)


def cases() -> Iterator[Case]:
    """Every combination there is: 4 x 3 x 2 x 3 x 5 x 3 x 2."""
    for values in product(BASES, Flag, (SET, CLEAR), WRITTEN, MARKS, OURS, (False, True)):
        yield Case(*values)


@dataclass(frozen=True)
class Sentence:
    """A sentence of the design, when it applies, and what it says of the reading."""

    words: str
    applies: Callable[[Case], bool]
    says: frozenset[str] = frozenset()


def sentence(words: str, applies: Callable[[Case], bool], *says: str) -> Sentence:
    return Sentence(words, applies, frozenset(says))


# From top to bottom; the first sentence that applies decides. Written from the design, not from the code.
SENTENCES = (
    sentence(
        "A property that is absent is drift, not clear",
        lambda c: c.observed is ABSENT,
        "drift",
    ),
    # --- set there
    sentence(
        "Our write that nobody answered, a reversal since, and no word of who set it: the order is unknown, "
        "and do-not-contact wins (CON-05)",
        lambda c: (
            (c.observed, c.written, c.desired) == (SET, SET, CLEAR)
            and c.ours is None
            and c.unanswered
            and (c.base is not SET or c.marks == "the mark moved")
        ),
        "request",
    ),
    sentence(
        "Our own write, coming back, is an echo; unless the vendor says that somebody else did it",
        lambda c: c.observed is SET and c.written is SET and c.ours is not False,
    ),
    sentence(
        "Our own integration set what the ledger wants: an echo, also where base and write were lost",
        lambda c: c.observed is SET and c.ours is True and c.desired is SET,
    ),
    sentence(
        "Base clear or new, observed set: a new request, or history being imported",
        lambda c: c.observed is SET and c.base is not SET,
        "request",
    ),
    sentence(
        "Set before and set again by somebody else: anything newer is a new request and wins",
        lambda c: c.observed is SET and c.marks == "the mark moved" and c.ours is not True,
        "request",
    ),
    sentence(
        "Observed = base: nothing happened there",
        lambda c: c.observed is SET and c.base is SET,
    ),
    # --- clear there
    sentence(
        "Clear where the ledger wants nothing: nobody is lost",
        lambda c: c.observed is CLEAR and c.desired is CLEAR,
    ),
    sentence(
        "Clear where our own clear may have landed: nobody took it away",
        lambda c: c.observed is CLEAR and c.written is CLEAR,
    ),
    sentence(
        "Base set, observed clear: somebody or something cleared it there",
        lambda c: c.observed is CLEAR and c.base is SET,
        "cleared_there",
    ),
    sentence(
        "We wrote it and the reading does not show it: a write accepted and not kept",
        lambda c: c.observed is CLEAR and c.written is SET,
        "not_kept",
    ),
    sentence(
        "Observed = base or new, and clear: nothing happened there",
        lambda c: c.observed is CLEAR,
    ),
)


def said(verdict: Verdict) -> frozenset[str]:
    names = ("request", "cleared_there", "not_kept", "drift")
    return frozenset(name for name in names if getattr(verdict, name))


def deciding(case: Case) -> Sentence:
    return next(s for s in SENTENCES if s.applies(case))


def test_every_combination_is_judged_as_the_design_says() -> None:
    every = list(cases())
    assert len(every) == 4 * 3 * 2 * 3 * 5 * 3 * 2

    wrong = [
        (case, deciding(case).words, sorted(said(judge(case.seen, case.desired))))
        for case in every
        if said(judge(case.seen, case.desired)) != deciding(case).says
    ]

    assert wrong == []


def test_no_sentence_of_the_table_is_idle() -> None:
    decided = Counter(deciding(case).words for case in cases())

    assert set(decided) == {s.words for s in SENTENCES}


def test_the_new_base_is_what_was_read_back_and_nothing_else() -> None:
    for case in cases():
        expected = case.base if case.observed is ABSENT else case.observed

        assert judge(case.seen, case.desired).base is expected, case


def test_every_combination_is_written_as_the_design_says() -> None:
    for base, desired, readable, told in product(BASES, (SET, CLEAR), (True, False), BASES):
        known = base if readable else told
        # "If desired differs, a delivery is due"; a clear only where a block is known to be.
        due = known is SET if desired is CLEAR else known is not SET

        assert must_write(base, desired, readable=readable, told=told) is due, (base, desired, readable, told)


# --- laws as properties ---------------------------------------------------------------------------------

flags = st.sampled_from(list(Flag))
wills = st.sampled_from([SET, CLEAR])
readings = st.builds(
    Seen,
    base=st.sampled_from(BASES),
    observed=flags,
    written=st.sampled_from(WRITTEN),
    base_revision=st.sampled_from(["", "1", "2"]),
    revision=st.sampled_from(["", "1", "2"]),
    ours=st.sampled_from(OURS),
    unanswered=st.booleans(),
)


@given(readings)
def test_law_2_whatever_cleared_it_a_block_that_stands_is_put_back(seen: Seen) -> None:
    verdict = judge(replace(seen, observed=CLEAR), SET)

    assert must_write(verdict.base, SET)
    assert said(verdict) <= {"cleared_there", "not_kept"}


@given(readings, wills)
def test_law_2_only_a_set_flag_asks_for_anything(seen: Seen, desired: Flag) -> None:
    assert not (judge(seen, desired).request and seen.observed is not SET)


@given(readings, wills)
def test_law_2_absent_is_never_clear(seen: Seen, desired: Flag) -> None:
    verdict = judge(replace(seen, observed=ABSENT), desired)

    assert verdict == Verdict(base=seen.base, drift=True)


@given(readings, wills, st.booleans())
def test_law_6_the_echo_of_our_own_write_is_never_a_request(seen: Seen, desired: Flag, told: bool) -> None:
    """Whether the vendor says that it was us, or says nothing; but what a reversal has overtaken, and nobody
    answered for, is not known to be ours."""
    echo = replace(seen, observed=SET, written=SET, ours=True if told else None)
    known = told or desired is SET or not seen.unanswered

    assert not (known and judge(echo, desired).request)


@given(readings, wills)
def test_a_persons_flag_is_ignored_only_where_it_cannot_be_told_from_ours(seen: Seen, desired: Flag) -> None:
    """A person set it where it was not set, or set it again. It counts, unless the vendor does not say who
    and a write of ours may have done it, or shows no mark by which two settings can be told apart."""
    by_a_person = replace(seen, observed=SET, ours=False)
    moved = bool(seen.revision and seen.base_revision and seen.revision != seen.base_revision)

    if seen.base is not SET or moved:
        assert judge(by_a_person, desired).request
        unsaid = replace(by_a_person, ours=None)
        known = desired is SET or not seen.unanswered
        assert judge(unsaid, desired).request is not (seen.written is SET and known)
    else:
        assert not judge(by_a_person, desired).request


@given(readings, wills)
def test_law_8_a_lost_base_can_only_add_requests(seen: Seen, desired: Flag) -> None:
    """Holdings are a cache; when it is lost, whatever was a request before still is one."""
    lost = replace(seen, base=None, written=None, base_revision="")

    assert judge(lost, desired).request >= judge(seen, desired).request
    assert not judge(lost, desired).cleared_there


@given(readings)
def test_law_8_after_a_restored_backup_a_flag_of_our_later_life_blocks(seen: Seen) -> None:
    """Our own integration set it, and this ledger neither wrote nor wants it: nothing clears it unasked."""
    from_the_future = Seen(base=None, observed=SET, revision=seen.revision, ours=True)

    assert judge(from_the_future, CLEAR).request


@given(readings, wills)
def test_law_6_a_second_reading_of_the_same_says_nothing_new(seen: Seen, desired: Flag) -> None:
    first = judge(seen, desired)
    will = SET if first.request else desired
    again = replace(
        seen,
        base=first.base,
        base_revision=seen.revision or seen.base_revision,
        written=seen.written if seen.observed is ABSENT else None,
    )

    second = judge(again, will)

    assert said(second) <= {"drift"}
    assert second.base is first.base


@given(readings, wills, st.booleans())
def test_law_6_nothing_is_written_once_the_reading_shows_what_is_wanted(
    seen: Seen, desired: Flag, readable: bool
) -> None:
    verdict = judge(seen, desired)
    will = SET if verdict.request else desired

    if verdict.base is will:
        assert not must_write(verdict.base, will, readable=readable, told=verdict.base)


@given(st.sampled_from(BASES), st.sampled_from(BASES), st.booleans())
def test_law_2_a_clear_is_written_only_over_a_block_that_is_known(
    base: Flag | None, told: Flag | None, readable: bool
) -> None:
    due = must_write(base, CLEAR, readable=readable, told=told)

    assert due is ((base if readable else told) is SET)


step = st.one_of(
    st.tuples(st.just("tick"), st.booleans()),
    st.tuples(st.just("untick"), st.booleans()),
    st.tuples(st.just("write"), st.booleans()),
    st.tuples(st.just("lose the base"), st.booleans()),
    st.tuples(st.just("hide the field"), st.booleans()),
    st.tuples(st.just("read"), st.booleans()),
)


@given(st.lists(step, max_size=30), st.booleans())
def test_a_life_of_one_holding_ends_suppressed_once_anybody_was_seen_to_ask(
    life: list[tuple[str, bool]], tells_who: bool
) -> None:
    """One holding, a ledger of one bit that only a request can set, and a vendor that may lose our writes:
    whatever happens, the bit never goes back, and the end of it all is a holding that agrees."""
    flag, who, mark = CLEAR, "", 0
    base: Flag | None = None
    base_mark, written, will, hidden = "", None, CLEAR, False

    def read() -> None:
        nonlocal base, base_mark, written, will
        ours = (who == "us") if tells_who and flag is SET else None
        seen = Seen(base, ABSENT if hidden else flag, written, base_mark, str(mark), ours)
        verdict = judge(seen, will)
        assert not (verdict.request and who == "us"), "an echo was taken for a request"
        if verdict.request:
            will = SET
        base, base_mark = verdict.base, str(mark)
        if not hidden:
            written = None

    for act, lucky in life:
        before = will
        if act == "tick" and flag is CLEAR:
            flag, who, mark = SET, "person", mark + 1
        elif act == "untick" and flag is SET:
            flag, who, mark = CLEAR, "person", mark + 1
        elif act == "write" and must_write(base, will):
            written = will
            if lucky and flag is not will:
                flag, who, mark = will, "us", mark + 1
        elif act == "lose the base" and tells_who:
            base, base_mark, written = None, "", None
        elif act == "hide the field":
            hidden = lucky
        elif act == "read":
            read()
        assert before is CLEAR or will is SET, "the ratchet slipped"

    hidden = False
    for _ in range(3):
        read()
        if must_write(base, will):
            written, flag, who, mark = will, will, "us", mark + 1
    assert flag is will
    assert not must_write(base, will)


@pytest.mark.parametrize("ours", OURS)
def test_somebody_who_ticks_again_under_our_clear_is_heard(ours: bool | None) -> None:
    """Between the reading before a clear and the reading after it, a person ticked once more."""
    seen = Seen(base=SET, observed=SET, written=CLEAR, base_revision="1", revision="3", ours=ours)

    assert judge(seen, CLEAR).request is (ours is not True)


def test_our_clear_that_did_not_land_is_no_request() -> None:
    seen = Seen(base=SET, observed=SET, written=CLEAR, base_revision="1", revision="1")

    assert judge(seen, CLEAR) == Verdict(base=SET)
