"""Faults that a sandbox can be told to have."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class FaultKind(StrEnum):
    """What goes wrong. Those of the wire are done by the kit; those of meaning by each sandbox."""

    # the wire
    DELAY = "delay"
    """Answer after `seconds`."""
    RESET_BEFORE = "reset-before"
    """Break the connection; nothing was done."""
    RESET_AFTER = "reset-after"
    """Do it, then break the connection."""
    STATUS = "status"
    """Answer `status` with optional `retry_after` and `body`; nothing was done."""
    STATUS_AFTER = "status-after"
    """Do it, then answer `status`."""
    HTML = "html"
    """Answer an HTML error page with `status` (default 502; also 200)."""
    TRUNCATED = "truncated"
    """Do it, and cut the answer's body in the middle (with a matching Content-Length)."""
    UNKNOWN_KEY = "unknown-key"
    """A new `key` (default `brandNew`) in JSON answers: in each item of their first list, else at the top."""
    MISSING_KEY = "missing-key"
    """`key` is left out of JSON answers, wherever it stands."""
    RETYPED_KEY = "retyped-key"
    """The value of `key` comes as text, or as a list where it was text."""
    NEW_WORD = "new-word"
    """The value of `key` is `word` (default `brandnew`)."""
    ENDING = "ending"
    """Each answer carries `header` (default Sunset) with `value` (default a date in 60 days)."""

    # the meaning
    EXPIRED_TOKEN = "expired-token"
    LOST_PERMISSION = "lost-permission"
    EXTRA_PERMISSION = "extra-permission"
    """More is granted than is needed."""
    UNLISTED_VERSION = "unlisted-version"
    """The API version that we speak is not among those that the vendor lists, but is still served."""
    DROPPED_WRITE = "dropped-write"
    """Say yes and do nothing. With `by` (HubSpot: workflow, integration, import, merge; Salesforce: trigger,
    or a user's id): do it, and somebody else puts the old value back, which the record's history shows."""
    RENAMED_FIELD = "renamed-field"
    DELETED_FIELD = "deleted-field"
    NEW_OPTION = "new-option"
    """One more `option` (default Maybe) can be chosen."""
    HIDDEN_FIELD = "hidden-field"
    RETYPED_FIELD = "retyped-field"
    READ_ONLY_FIELD = "read-only-field"
    SILENT_WEBHOOKS = "silent-webhooks"
    DOUBLED_WEBHOOKS = "doubled-webhooks"
    REORDERED_WEBHOOKS = "reordered-webhooks"
    LATE_WEBHOOKS = "late-webhooks"
    STALE_INDEX = "stale-index"
    """Searches lag by `seconds` more than usual."""
    SHORT_LIST = "short-list"
    """Listings end early, without an error; `share` of the rows is given."""
    REPEATED_PAGE = "repeated-page"


@dataclass
class Fault:
    """One fault, for the next `times` matching calls (None: until cleared)."""

    kind: FaultKind
    method: str = ""
    """Only calls of this method."""
    path: str = ""
    """Only paths in which this pattern is found."""
    times: int | None = None
    after: int = 0
    """Let so many matching calls pass first."""
    params: dict[str, Any] = field(default_factory=dict)
    hits: int = 0


class Faults:
    """The faults in force. Thread-safe."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self.consulted: set[FaultKind] = set()
        """Kinds that the sandbox ever looked at: a fault that nobody looks at proves nothing."""
        self._lock = threading.Lock()

    def add(
        self,
        kind: FaultKind | str,
        *,
        method: str = "",
        path: str = "",
        times: int | None = None,
        after: int = 0,
        **params: Any,
    ) -> Fault:
        """Switches a fault on; `params` are the kind's own (`seconds`, `status`, `retry_after`, `share`)."""
        fault = Fault(FaultKind(kind), method, path, times, after, params)
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self, kind: FaultKind | str | None = None) -> None:
        """Switches off all faults, or those of one kind."""
        with self._lock:
            self._faults = [f for f in self._faults if kind is not None and f.kind != FaultKind(kind)]

    def take(self, kind: FaultKind, method: str = "", path: str = "") -> Fault | None:
        """The first fault of that kind in force for this call, counted as hit; None where there is none."""
        with self._lock:
            self.consulted.add(kind)
            for fault in self._faults:
                if fault.kind is not kind:
                    continue
                if fault.method and method and fault.method != method:
                    continue
                if fault.path and not re.search(fault.path, path):
                    continue
                if fault.after > 0:
                    fault.after -= 1
                    continue
                if fault.times is not None:
                    if fault.times <= 0:
                        continue
                    fault.times -= 1
                fault.hits += 1
                return fault
        return None

    def active(self, kind: FaultKind) -> Fault | None:
        """A fault of that kind that is on, without counting a hit."""
        with self._lock:
            self.consulted.add(kind)
            return next((f for f in self._faults if f.kind is kind and f.times != 0), None)
