"""The three-way merge and what a holding should say: pure functions (design section 3, laws 2, 4, 6, 7)."""

from __future__ import annotations

from dataclasses import dataclass

from dncsync.model import Flag


@dataclass(frozen=True, slots=True)
class Seen:
    """One channel of a holding as it was just read, beside what we knew."""

    base: Flag | None
    """What we last read back; None: never read."""
    observed: Flag
    written: Flag | None = None
    """What we sent since `base` was read, whatever became of it."""
    base_revision: str = ""
    revision: str = ""
    ours: bool | None = None
    """Whether the vendor says that our own integration set the flag."""
    unanswered: bool = False
    """Nobody answered what we sent: it may have landed, and may not."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a reading means, before anybody acts on it."""

    base: Flag | None
    """The new base."""
    request: bool = False
    """Somebody asked there: a new request, or history being imported."""
    cleared_there: bool = False
    """It was set and somebody or something cleared it there. Clears nobody here."""
    not_kept: bool = False
    """We wrote it, and the reading does not show it."""
    drift: bool = False
    """The field is not there any more."""


def judge(seen: Seen, desired: Flag) -> Verdict:
    """What one reading of one channel means.

    `desired` is the ledger's present will for this holding (`SET` or `CLEAR`), before this reading. The
    reading alone never makes it `CLEAR` (law 2); a request found here makes it `SET`.
    """
    if seen.observed is Flag.ABSENT:
        return Verdict(base=seen.base, drift=True)
    if seen.observed is Flag.SET:
        return Verdict(base=Flag.SET, request=_is_request(seen, desired))
    lost = desired is Flag.SET
    return Verdict(
        base=Flag.CLEAR,
        cleared_there=lost and seen.base is Flag.SET and seen.written is not Flag.CLEAR,
        not_kept=lost and seen.base is not Flag.SET and seen.written is Flag.SET,
    )


def _is_request(seen: Seen, desired: Flag) -> bool:
    came_back = seen.written is Flag.SET and seen.ours is not False
    if desired is Flag.CLEAR and seen.ours is None and seen.unanswered:
        # A reversal came since, and this is our late write or somebody's newer request: nobody can say
        # which, and in an unknown order do-not-contact wins (CON-05).
        came_back = False
    if seen.base is Flag.SET:
        # Set then and set now. Only a mark that moved, and not by us, says that somebody set it again.
        moved = bool(seen.revision and seen.base_revision and seen.revision != seen.base_revision)
        return moved and not came_back and seen.ours is not True
    if came_back:
        return False
    # A flag that our own integration set while the ledger wants it is an echo whose base was lost. One that
    # the ledger does not want comes from a later life of this ledger (a restored backup): it blocks.
    return not (seen.ours is True and desired is Flag.SET)


def must_write(base: Flag | None, desired: Flag, *, readable: bool = True, told: Flag | None = None) -> bool:
    """Whether a delivery is due, given the base after the last reading (after the last accepted write for a
    system that cannot be read). Clearing needs a base that is known to be set; setting needs only doubt."""
    known = base if readable else told
    if desired is Flag.SET:
        return known is not Flag.SET
    return known is Flag.SET
