"""What answers look like: keys, types, declared enums and kinds of text, compared with what was normal.

The daemon's HTTP doors report every call (`WireWatch.__call__`); a periodic job compares (`check`). A
question is learnt for an hour before its shape is a baseline, so that keys which come and go are known as
such; what was empty all that time is learnt later in the same way. Only what was looked at since the last
comparison is concluded from: a quiet route neither opens nor heals anything.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from dncsync.clock import Clock
from dncsync.drift.credentials import Refusals
from dncsync.drift.endings import Announced
from dncsync.drift.sighting import Sighting, baseline, record_baseline, settle
from dncsync.http import WireCall
from dncsync.ledger.writer import Tx
from dncsync.shapes import MOST_PATHS, Shape, parent
from dncsync.sync import findings

DETECTOR = "wire"
LEARN_FOR = 3_600.0
"""Seconds from the first answer of a question to its baseline."""
LEARN_LEAST = 5
"""Answers that a baseline needs."""
CONFIRM = 2
"""Answers that are compared together: a key that one of them lacks, or one page among them, is a hiccup."""
MOST_QUESTIONS = 300
"""Of one system; what a vendor is asked beyond that is not compared."""
KINDS = ("unknown-key", "key-missing", "type-changed", "enum-new", "html-answer")
SEVERITY = {"unknown-key": "info", "enum-new": "info"}


@dataclass(frozen=True, slots=True)
class Difference:
    """One way in which answers differ from what was normal."""

    kind: str
    path: str
    expected: str
    seen: str


@dataclass(slots=True)
class _Question:
    """One question to one system."""

    recent: deque[Shape] = field(default_factory=lambda: deque(maxlen=CONFIRM))
    """The last answers that were looked at."""
    window: Shape = field(default_factory=Shape)
    """All answers since the last comparison."""
    new: int = 0
    """How many these are."""
    learnt: Shape = field(default_factory=Shape)
    """All answers since `since`: a baseline in the making, or what goes beyond the one there is."""
    answers: int = 0
    since: float = 0.0

    def note(self, shape: Shape, now: float) -> None:
        """One more answer."""
        if not self.answers:
            self.since = now
        self.recent.append(shape)
        self.window.merge(shape)
        self.new += 1
        self.learnt.merge(shape)
        self.answers += 1

    def ripe(self, now: float, learn_for: float) -> bool:
        """Whether enough was seen, for long enough, to call it normal."""
        return self.answers >= LEARN_LEAST and now - self.since >= learn_for

    def learn_anew(self) -> None:
        """What was being learnt is in the baseline, or is no part of what is normal."""
        self.learnt, self.answers = Shape(), 0


@dataclass(slots=True)
class _System:
    questions: dict[str, _Question] = field(default_factory=dict)
    refusals: Refusals = field(default_factory=Refusals)
    announced: Announced = field(default_factory=Announced)


class WireWatch:
    """Keeps shapes in memory, and compares. Thread-safe."""

    def __init__(self, clock: Clock, *, learn_for: float = LEARN_FOR) -> None:
        """`learn_for`: seconds."""
        self._clock = clock
        self._learn_for = learn_for
        self._systems: dict[str, _System] = {}
        self._lock = threading.Lock()
        self._since = clock.monotonic()

    def __call__(self, call: WireCall) -> None:
        """One call, as a door reports it."""
        if call.status is None:
            return
        now = self._clock.monotonic()
        with self._lock:
            system = self._systems.setdefault(call.system, _System())
            if call.status == 429:
                system.refusals.note(now)
            if call.notices:
                system.announced.note(call.notices, now)
            if call.shape is None:
                return
            name = f"{call.method} {call.route}" + (f" ({call.asked})" if call.asked else "")
            question = system.questions.get(name)
            if question is None:
                if len(system.questions) >= MOST_QUESTIONS:
                    return
                question = system.questions[name] = _Question()
            question.note(call.shape, now)

    def check(self, tx: Tx, at: int) -> None:
        """Compares what was seen since the last time; records baselines of what is new and learnt.

        `at`: microseconds. For a periodic job, about once a minute.
        """
        now = self._clock.monotonic()
        with self._lock:
            for name, system in self._systems.items():
                self._check_shapes(tx, at, name, system, now)
                refused = system.refusals.sightings(name, now)
                settle(tx, at, name, (), refused, "")
                if not refused:
                    words = "no call was refused for an hour"
                    findings.close_finding(tx, at, "budget-exhausted", name, "calls refused", words)
                system.announced.settle(tx, at, name, now, self._since)

    def _check_shapes(self, tx: Tx, at: int, name: str, system: _System, now: float) -> None:
        for subject, question in system.questions.items():
            if not question.new:
                continue
            window, question.window, question.new = question.window, Shape(), 0
            known = baseline(tx, DETECTOR, name, subject)
            ripe = question.ripe(now, self._learn_for)
            if known is None:
                if ripe:
                    record_baseline(tx, at, DETECTOR, name, subject, _learnt(question.learnt).to_json())
                    question.learn_anew()
                continue
            if len(question.recent) < CONFIRM:
                continue
            normal = Shape.of_json(known)
            as_ever = _judge(tx, at, name, subject, normal, question.recent, window)
            if not as_ever or not _grows(normal, question.learnt):
                question.learn_anew()
            elif ripe:
                normal.merge(_learnt(question.learnt))
                record_baseline(tx, at, DETECTOR, name, subject, normal.to_json())
                question.learn_anew()


def _learnt(shape: Shape) -> Shape:
    """An error page among the first answers is nothing to learn."""
    if shape.media & {"json", "text"}:
        shape.media.discard("html")
    return shape


def _grows(known: Shape, seen: Shape) -> bool:
    """Whether it shows something of which the baseline says nothing, and which is no difference."""
    return any(not types <= known.types.get(path, set()) for path, types in seen.types.items())


def _judge(
    tx: Tx, at: int, system: str, subject: str, known: Shape, recent: Iterable[Shape], seen: Shape
) -> bool:
    """Settles the findings about one question. `recent`: the last answers; `seen`: all since the last time.
    Returns whether they are as they were."""
    both, last = Shape(), Shape()
    for shape in recent:
        last.merge(shape)
    both.merge(known)
    both.merge(seen)
    found = list(differences(known, seen, last))
    sightings = [
        Sighting(
            one.kind,
            system,
            f"{subject}: {one.path}",
            f"{system} answers {subject} in another way: {_WORDS[one.kind]}"
            + (f" ({one.path})" if one.path else ""),
            one.expected,
            one.seen,
            "compare the vendor's changelog with the connector; if the answer is as it should be now, accept "
            "the finding",
            severity=SEVERITY.get(one.kind, "warning"),
            baseline=None if one.kind == "html-answer" else (DETECTOR, subject, both.to_json()),
        )
        for one in found
    ]
    settle(tx, at, system, (), sightings, "")
    open_now = {(sighting.kind, sighting.subject) for sighting in sightings}
    for kind in KINDS:
        rows = tx.execute(
            "SELECT subject FROM findings WHERE kind = ? AND system = ? AND closed_at IS NULL "
            "AND substr(subject, 1, ?) = ?",
            (kind, system, len(subject) + 2, f"{subject}: "),
        ).fetchall()
        for (about,) in rows:
            if (kind, about) not in open_now and _was_looked_at(seen, about.removeprefix(f"{subject}: ")):
                words = "later answers look as they did, or as was accepted"
                findings.close_finding(tx, at, kind, system, about, words)
    return not found


_WORDS = {
    "unknown-key": "a key that was never there",
    "key-missing": "a key that was always there is gone",
    "type-changed": "a value is of another type",
    "enum-new": "a word that is not among the known ones",
    "html-answer": "a web page instead of data",
}


def _was_looked_at(seen: Shape, path: str) -> bool:
    """Whether these answers could show that path at all: an empty list says nothing of its items."""
    if not path:
        return bool(seen.media & {"json", "text"})
    return "object" in seen.types.get(parent(path), ())


def differences(known: Shape, seen: Shape, last: Shape | None = None) -> Iterator[Difference]:
    """What is in `seen` (one or more answers) that was never in `known`, and what was always there and is
    not. Only the topmost of what came or went with its parent. `last`: the answers by which something is
    called missing, where these are others than `seen`."""
    last = last or seen
    if last.media == {"html"} and "html" not in known.media and known.media & {"json", "text"}:
        yield Difference("html-answer", "", " or ".join(sorted(known.media)), "a web page")
    if "json" not in seen.media or "json" not in known.media:
        return
    cut = len(known.types) >= MOST_PATHS  # where not all keys were learnt, no key is a stranger
    for path in sorted(seen.types.keys() - known.types.keys()):
        if not cut and parent(path) in known.types and not _was_empty(known, path):
            yield Difference("unknown-key", path, "no such key", _kinds(seen.types[path]))
    for path in sorted(known.types.keys() - seen.types.keys() - last.types.keys()):
        if len(last.types) >= MOST_PATHS:
            break  # the walk ended before it saw all
        always = path not in known.optional and not path.endswith("[]")
        if always and "object" in last.types.get(parent(path), ()):
            expected = f"{_kinds(known.types[path])}, in every answer"
            yield Difference("key-missing", path, expected, "not there")
    for path in sorted(known.types.keys() & seen.types.keys()):
        before, now = known.types[path] - {"null"}, seen.types[path] - {"null"}
        if before and now - before:
            yield Difference("type-changed", path, _kinds(before), _kinds(now))
    for path in sorted(seen.values):
        new = seen.values[path] - known.values.get(path, set())
        if new and path in known.types:
            before = {"the documented words", *known.values.get(path, set())}
            yield Difference("enum-new", path, ", ".join(sorted(before)), ", ".join(sorted(new)))


def _was_empty(known: Shape, path: str) -> bool:
    """Whether the key is new only because what it is in was never more than null or an empty array."""
    above = parent(path)
    if path.endswith("[]"):
        return True
    return "object" not in known.types[above]


def _kinds(types: Iterable[str]) -> str:
    return " or ".join(sorted(types)) or "nothing"
