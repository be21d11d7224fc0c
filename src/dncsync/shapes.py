"""The shape of a vendor's answer: which keys it has and of which types; never a value, but of declared enums.

Taken from a few answers of each route, since shapes change by releases and not by calls. The walk is bounded:
a large answer costs no more than a small one, and a key that looks like an id is no name.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson

from dncsync.clock import Clock

FIRST = 5
"""Answers of a route that are always looked at."""
EVERY = 60.0
"""Seconds between two looks at a route after that."""
SOONER = 5.0
"""The same for an answer that is more than twice as long as the last one: on a quiet feed, the one that holds
something at last."""
MOST_ROUTES = 200
MOST_PATHS = 400
MOST_ITEMS = 20
"""Items of an array that are looked at."""
MOST_DEPTH = 8
MOST_VALUES = 40
"""Of one enum."""
LARGEST_BODY = 4 << 20
"""Bytes; a larger body is not parsed a second time."""

_ID = re.compile(r"\d{3}|[0-9a-f]{16}|[%@+]", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z][A-Za-z_ -]{0,39}|")


@dataclass(frozen=True, slots=True)
class Answers:
    """What a connector says of its vendor's JSON, so that answers can be compared with each other."""

    asked: Callable[[httpx.Request], str] | None = None
    """What was asked for, where one route answers several questions: the fields, not the values. Called only
    for answers that are looked at."""
    optional: frozenset[str] = frozenset()
    """Key paths that come and go by the vendor's own description, e.g. `paging`, `results[].errors`; they and
    what is below them are left out."""
    enums: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Key path -> the values that the vendor documents. A value is kept only of these paths."""


NOTHING_DECLARED = Answers()


@dataclass(slots=True)
class Shape:
    """Of one answer, or of several that were merged."""

    media: set[str] = field(default_factory=set)
    """`json`, `html`, `text` or `empty`, by the first character of the body, not by what its header says."""
    types: dict[str, set[str]] = field(default_factory=dict)
    """Key path (`results[].id`; the answer itself is ``) -> JSON types seen there."""
    optional: set[str] = field(default_factory=set)
    """Paths that were missing where their parent was there."""
    values: dict[str, set[str]] = field(default_factory=dict)
    """Path of a declared enum -> values seen that the vendor does not document."""

    def merge(self, other: Shape) -> None:
        """Takes in another answer to the same question."""
        if self.types and other.types:
            self.optional |= {p for p in self.types if p not in other.types and _is_object(other, parent(p))}
            self.optional |= {p for p in other.types if p not in self.types and _is_object(self, parent(p))}
        self.optional |= other.optional
        self.media |= other.media
        for path, types in other.types.items():
            if path in self.types or len(self.types) < MOST_PATHS:
                self.types.setdefault(path, set()).update(types)
        for path, values in other.values.items():
            kept = self.values.setdefault(path, set())
            kept.update(sorted(values - kept)[: MOST_VALUES - len(kept)])

    def to_json(self) -> dict[str, Any]:
        """As the ledger keeps it: `{"media": [...], "keys": {"results[].id": "string", "paging?": ...}}`."""
        keys = {
            path + ("?" if path in self.optional else ""): "|".join(sorted(types))
            for path, types in sorted(self.types.items())
        }
        shown: dict[str, Any] = {"media": sorted(self.media), "keys": keys}
        if self.values:
            shown["values"] = {path: sorted(values) for path, values in sorted(self.values.items())}
        return shown

    @classmethod
    def of_json(cls, shown: Mapping[str, Any]) -> Shape:
        """The reverse of `to_json`."""
        shape = cls(set(shown["media"]))
        for path, types in shown["keys"].items():
            bare = path.removesuffix("?")
            shape.types[bare] = set(types.split("|"))
            if bare != path:
                shape.optional.add(bare)
        shape.values = {path: set(values) for path, values in shown.get("values", {}).items()}
        return shape


def parent(path: str) -> str:
    """The path of the object or array that a path is in."""
    return path.removesuffix("[]") if path.endswith("[]") else path.rpartition(".")[0]


def _is_object(shape: Shape, path: str) -> bool:
    return "object" in shape.types.get(path, ())


def media_of(body: bytes) -> str:
    """What a body is, by its first character."""
    first = body[:256].lstrip()[:1]
    if first in (b"{", b"["):
        return "json"
    return "html" if first == b"<" else "text" if first else "empty"


def shape_of(body: bytes, answers: Answers = NOTHING_DECLARED) -> Shape:
    """The shape of one body."""
    media = media_of(body)
    shape = Shape({media})
    if media != "json" or len(body) > LARGEST_BODY:
        return shape
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Shape({"text"})
    walk = _Walk(shape, answers)
    walk.visit(value, "", 0)
    shape.optional = {p for p, count in walk.present.items() if count < walk.objects[p.rpartition(".")[0]]}
    return shape


class _Walk:
    """One pass over one answer."""

    def __init__(self, shape: Shape, answers: Answers) -> None:
        self.shape = shape
        self.answers = answers
        self.objects: dict[str, int] = {}
        """Objects seen at a path."""
        self.present: dict[str, int] = {}
        """Objects that had the key of this path."""

    def visit(self, value: Any, path: str, depth: int) -> None:
        kind = _type(value)
        types = self.shape.types
        if path not in types:
            if len(types) >= MOST_PATHS:
                return
            types[path] = set()
        types[path].add(kind)
        if kind == "object" and depth < MOST_DEPTH:
            self.objects[path] = self.objects.get(path, 0) + 1
            below = {_name(key): inner for key, inner in value.items()}  # keys that are ids become one
            for name, inner in below.items():
                child = f"{path}.{name}" if path else name
                if child in self.answers.optional:
                    continue
                self.present[child] = self.present.get(child, 0) + 1
                self.visit(inner, child, depth + 1)
        elif kind == "array" and depth < MOST_DEPTH:
            for inner in value[:MOST_ITEMS]:
                self.visit(inner, f"{path}[]", depth + 1)
        elif kind == "string" and path in (enums := self.answers.enums) and value not in enums[path]:
            # What is no word is no enum's value: it may be somebody's data in the wrong place.
            word = value if _WORD.fullmatch(value) else "(no word)"
            self.shape.values.setdefault(path, set()).add(word)


def _type(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _name(key: str) -> str:
    return "*" if _ID.search(key) else key.replace(".", "_").replace("?", "_")[:80]


@dataclass(slots=True)
class _Route:
    looked: int = 0
    next_at: float = 0.0
    media: str = ""
    length: int = 0


class Sampler:
    """Which answers of one door are looked at. Thread-safe."""

    def __init__(self, clock: Clock, answers: Answers = NOTHING_DECLARED) -> None:
        self._clock = clock
        self._answers = answers
        self._routes: dict[str, _Route] = {}
        self._lock = threading.Lock()

    def look(self, route: str, response: httpx.Response) -> tuple[str, Shape] | None:
        """(what was asked for, shape) of an answer whose body is read; None: not this one. Only answers of
        success: failures have shapes of their own. An answer that suddenly is another kind of text (a page
        where JSON was) is always looked at."""
        if not response.is_success:
            return None
        body = response.content
        media = media_of(body)
        now = self._clock.monotonic()
        with self._lock:
            state = self._routes.get(route)
            if state is None:
                if len(self._routes) >= MOST_ROUTES:
                    return None
                state = self._routes[route] = _Route()
            wait = state.next_at if len(body) <= 2 * state.length else state.next_at - EVERY + SOONER
            if state.looked >= FIRST and now < wait and media == state.media:
                return None
            state.looked, state.next_at = state.looked + 1, now + EVERY
            state.media, state.length = media, len(body)
        asked = self._answers.asked
        return (asked(response.request) if asked is not None else ""), shape_of(body, self._answers)
