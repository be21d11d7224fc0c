"""Marks that tell one setting of a flag from the next, kept as one text for each holding."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dncsync.model import Channel, Holding
from dncsync.sync.revisions import keep, known_mark, mark, moved

VOICE, SMS = Channel.VOICE, Channel.SMS

marks = st.text(max_size=5)
each = st.dictionaries(st.sampled_from(list(Channel)), marks.filter(bool))


def holding(joint: str = "", revisions: dict[Channel, str] | None = None) -> Holding:
    return Holding("7", {}, revision=joint, revisions=revisions or {})


@given(each, each)
def test_a_mark_that_was_shown_is_known_and_one_that_was_not_stays(
    first: dict[Channel, str], then: dict[Channel, str]
) -> None:
    kept = keep(holding(revisions=then), keep(holding(revisions=first), ""))

    for channel in Channel:
        assert known_mark(kept, channel) == then.get(channel, first.get(channel, ""))


@given(marks.filter(lambda text: not text.startswith('{"')), st.sampled_from(list(Channel)))
def test_a_joint_mark_counts_for_every_channel(joint: str, channel: Channel) -> None:
    assert mark(holding(joint), channel) == joint
    assert known_mark(keep(holding(joint), ""), channel) == joint


def test_writing_one_flag_does_not_move_the_other() -> None:
    """With a joint mark our own write of one flag would make the other look as if somebody set it again."""
    before = keep(holding(revisions={VOICE: "1", SMS: "1"}), "")
    now = holding(revisions={VOICE: "1", SMS: "2"})

    assert not moved(known_mark(before, VOICE), mark(now, VOICE))
    assert moved(known_mark(before, SMS), mark(now, SMS))


def test_what_has_no_mark_then_or_now_has_not_moved() -> None:
    assert not moved("", "2")
    assert not moved("1", "")
    assert not moved("", "")


def test_a_reading_without_marks_forgets_none() -> None:
    assert keep(holding(), "1") == "1"
    assert known_mark(keep(holding(), keep(holding(revisions={VOICE: "3"}), "")), VOICE) == "3"
