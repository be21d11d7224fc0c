"""Sandboxes in a process of their own, driven over a pipe, which see when each write arrives."""

from __future__ import annotations

import contextlib
import multiprocessing
import re
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any

import httpx
import orjson
from werkzeug.wrappers import Request, Response

from dncsync.connector import plugin
from dncsync.testing.sandbox import OutgoingWebhook, Sandbox, seeded_number

WATCHED = ("hubspot", "salesforce", "vicidial")
"""Where writes are awaited."""
PATIENCE = 15.0
"""Seconds after the last webhook in which writes may still arrive."""


class VendorProcess:
    """The parent's side: calls methods of `Vendors` in the child."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._child = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._child.start()
        theirs.close()

    def ask(self, method: str, *arguments: Any) -> Any:
        """Raises `RuntimeError` with the child's words."""
        self._pipe.send((method, arguments))
        answer, error = self._pipe.recv()
        if error is not None:
            raise RuntimeError(error)
        return answer

    def __enter__(self) -> VendorProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._child.join(10)
        if self._child.is_alive():
            self._child.kill()
            self._child.join()


class Vendors:
    """The child's side."""

    def __init__(self, closing: contextlib.ExitStack) -> None:
        self._closing = closing
        self._sets: dict[str, dict[str, Sandbox]] = {}
        self._hooks: dict[str, list[OutgoingWebhook]] = {}
        self._arrivals: dict[str, dict[tuple[str, str], float]] = {}
        self._numbers: dict[str, dict[tuple[str, str], str]] = {}
        self._fresh: dict[str, Iterator[str]] = {}

    def open(self, of: str, options: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Starts a set of sandboxes. `options`: vendor -> its options. Vendor -> URL, config, secrets."""
        told: dict[str, Any] = {}
        self._sets[of] = {}
        for vendor, given in options.items():
            box = self._sets[of][vendor] = plugin(vendor).sandbox()(**given)
            url = self._closing.enter_context(box.serve())
            config, secrets = box.settings(url)
            told[vendor] = {"url": url, "config": config, "secrets": secrets}
        return told

    def calls(self, of: str) -> dict[str, dict[str, int]]:
        """Vendor -> what its sandbox counted."""
        return {vendor: dict(box.calls) for vendor, box in self._sets[of].items()}

    # --- latency --------------------------------------------------------------------------------------

    def people(self, of: str, count: int) -> dict[str, dict[str, str]]:
        """So many people, each in every system. Vendor -> number -> key."""
        boxes = self._sets[of]
        numbers = [seeded_number(77, i) for i in range(count)]
        keys: dict[str, dict[str, str]] = {}
        for vendor in WATCHED:
            keys[vendor] = {number: boxes[vendor].add_contact([number]) for number in numbers}
        seen: dict[tuple[str, str], float] = {}
        self._arrivals[of] = seen
        self._fresh[of] = iter(numbers)
        self._numbers[of] = {("vicidial", number[2:]): number for number in numbers}
        for vendor in ("hubspot", "salesforce"):
            self._numbers[of] |= {(vendor, key): number for number, key in keys[vendor].items()}
        for vendor in WATCHED:
            _watch(boxes[vendor], seen)
        hooks = self._hooks[of] = []
        boxes["twilio"].send_webhook = hooks.append  # type: ignore[method-assign,assignment]
        return keys

    def send_to(self, of: str, urls: Mapping[str, str]) -> None:
        """Where each vendor's webhooks go."""
        for vendor, url in urls.items():
            self._sets[of][vendor].webhook_url = url

    def opt_outs(self, of: str, count: int, rate: float) -> dict[str, list[float]]:
        """So many people text STOP, `rate` a second. Vendor -> seconds from webhook to write, one for each
        that arrived, and `webhook` -> seconds until the webhook was answered."""
        sent: dict[str, float] = {}
        answered: list[float] = []
        box, hooks = self._sets[of]["twilio"], self._hooks[of]

        def text(number: str, client: httpx.Client) -> None:
            with box.lock:
                box.opt_out(number)
                hook = hooks.pop()
            sent[number] = time.monotonic()
            answer = client.request(hook.method, hook.url, headers=dict(hook.headers), content=hook.body)
            answered.append(time.monotonic() - sent[number])
            answer.raise_for_status()

        with httpx.Client(trust_env=False, timeout=30) as client, ThreadPoolExecutor(16) as pool:
            began = time.monotonic()
            done = []
            for index in range(count):
                pause = began + index / rate - time.monotonic()
                if pause > 0:
                    time.sleep(pause)
                done.append(pool.submit(text, next(self._fresh[of]), client))
            for one in done:
                one.result()
        found = self._awaited(of, sent)
        return {**found, "webhook": answered}

    def _awaited(self, of: str, sent: Mapping[str, float]) -> dict[str, list[float]]:
        until = time.monotonic() + PATIENCE
        while True:
            arrived = dict(self._arrivals[of])
            found: dict[str, list[float]] = {vendor: [] for vendor in WATCHED}
            for (vendor, key), at in arrived.items():
                number = self._numbers[of].get((vendor, key))
                if number is not None and number in sent:
                    found[vendor].append(at - sent[number])
            if all(len(each) == len(sent) for each in found.values()) or time.monotonic() > until:
                return found
            time.sleep(0.05)


def _watch(box: Sandbox, arrived: dict[tuple[str, str], float]) -> None:
    """Notes when the first write of each key arrives."""
    inner = box._answer

    def answer(request: Request) -> Response:
        at = time.monotonic()
        for key in _written(box.vendor, request):
            arrived.setdefault((box.vendor, key), at)
        return inner(request)

    box._answer = answer  # type: ignore[method-assign]


def _written(vendor: str, request: Request) -> list[str]:
    """Keys that a request writes."""
    path, method = request.path, request.method
    if vendor == "hubspot" and path.endswith("/batch/update"):
        return [one["id"] for one in orjson.loads(request.get_data())["inputs"]]
    if vendor == "salesforce" and method == "PATCH" and path.endswith("/composite/sobjects"):
        records = orjson.loads(request.get_data())["records"]
        return [f"{one['attributes']['type']}/{one['id']}" for one in records]
    if vendor == "vicidial":
        body = request.get_data()
        if b"add_dnc_phone" in body and (found := re.search(rb"phone_number=(\d+)", body)):
            return [found[1].decode()]
    return []


def _serve(pipe: Connection) -> None:
    threading.current_thread().name = "vendors"
    with contextlib.ExitStack() as closing:
        vendors = Vendors(closing)
        while True:
            try:
                method, arguments = pipe.recv()
            except EOFError:
                return
            try:
                pipe.send((getattr(vendors, method)(*arguments), None))
            except Exception as error:
                pipe.send((None, f"{type(error).__name__}: {error}"))
