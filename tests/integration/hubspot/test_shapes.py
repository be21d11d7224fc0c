"""Sandbox and connector against the shapes of HubSpot's own SDK, in the shared folder (see its README)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from dncsync.connector import Change
from integration.hubspot.world import SET, VOICE, World, key

FILE = Path(__file__).parents[4] / "shared" / "specs" / "hubspot" / "sdk-12.0.0-shapes.json"
pytestmark = pytest.mark.skipif(not FILE.is_file(), reason=f"{FILE} is not there")
REQUESTS = {
    "SearchApi.do_search": "PublicObjectSearchRequest",
    "BatchApi.read": "BatchReadInputSimplePublicObjectId",
    "BatchApi.update": "BatchInputSimplePublicObjectBatchInput",
}
LOOSE = {"sorts"}  # objects on the wire and in HubSpot's guide; strings in the SDK's model


class Shapes:
    """The operations and models of one SDK package."""

    def __init__(self, package: str) -> None:
        shapes = json.loads(FILE.read_text())["packages"][package]
        self.models: dict[str, dict[str, Any]] = shapes["models"]
        self.operations: dict[str, dict[str, Any]] = shapes["operations"]

    def operation(self, method: str, path: str) -> str | None:
        """The operation that a call is; the one with the longest literal path wins."""
        found = [
            name
            for name, one in self.operations.items()
            if one["method"] == method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", one["path"]), path)
        ]
        return min(found, key=lambda name: self.operations[name]["path"].count("{"), default=None)

    def check(self, value: Any, kind: str, where: str) -> list[str]:
        """What is wrong with a value of this type."""
        if value is None:
            return []
        if found := re.fullmatch(r"list\[(.*)\]", kind):
            if not isinstance(value, list):
                return [f"{where}: no list"]
            return [e for n, v in enumerate(value) for e in self.check(v, found[1], f"{where}[{n}]")]
        if found := re.fullmatch(r"dict\[str, (.*)\]", kind):
            if not isinstance(value, dict):
                return [f"{where}: no object"]
            return [e for k, v in value.items() for e in self.check(v, found[1], f"{where}.{k}")]
        if kind in self.models:
            return self._check_model(value, kind, where)
        plain = {"str": str, "int": int, "bool": bool, "datetime": str, "object": object}[kind]
        return [] if isinstance(value, plain) else [f"{where}: {value!r} is no {kind}"]

    def _check_model(self, value: Any, kind: str, where: str) -> list[str]:
        if not isinstance(value, dict):
            return [f"{where}: no {kind}"]
        model = self.models[kind]
        wrong = [f"{where}: {k} is missing" for k, one in model.items() if one["required"] and k not in value]
        for name, one in value.items():
            if name in LOOSE:
                continue
            if name in model:
                wrong += self.check(one, model[name]["type"], f"{where}.{name}")
        return wrong


def traffic() -> list[tuple[httpx.Request, httpx.Response]]:
    """What a connector and the sandbox say to each other in all that a connector does."""
    world = World(contacts=260, opted_out_share=0.3)
    inner, seen = world.sandbox.transport(), []

    def spy(request: httpx.Request) -> httpx.Response:
        answer = inner.handle_request(request)
        answer.read()
        seen.append((request, answer))
        return answer

    world.connector = world.connect(transport=httpx.MockTransport(spy))
    world.poll()
    world.sandbox.touch(120)
    world.poll()
    world.listed()
    world.sandbox.merge(key(7), key(6))
    world.read(key(1), key(6), "999")
    list(world.connector.write([Change(key(1), {VOICE: SET}), Change("998", {VOICE: SET})]))
    world.sandbox.rename_property("do_not_call", "other")
    list(world.connector.write([Change(key(2), {VOICE: SET})]))
    list(world.connector.find(world.sandbox.numbers(1)[0]))
    world.connector.describe()
    world.read("990")
    return seen


def test_answers_and_requests_have_the_sdks_shapes() -> None:
    packages = [Shapes("hubspot.crm.contacts"), Shapes("hubspot.crm.properties")]
    wrong: list[str] = []
    known: set[str] = set()
    for request, answer in traffic():
        for shapes in packages:
            name = shapes.operation(request.method, request.url.path)
            if name is None:
                continue
            known.add(name)
            where = f"{name} {answer.status_code}"
            if answer.status_code >= 400:
                wrong += shapes.check(answer.json(), "Error", where)
            else:
                wrong += shapes.check(
                    answer.json(), shapes.operations[name]["responses"][str(answer.status_code)], where
                )
            if name in REQUESTS:
                body = json.loads(request.content)
                unknown = body.keys() - shapes.models[REQUESTS[name]].keys()
                wrong += [f"request of {name}: unknown key {one}" for one in unknown]
                wrong += shapes.check(body, REQUESTS[name], f"request of {name}")
    assert wrong == []
    assert {"SearchApi.do_search", "BatchApi.read", "BatchApi.update", "BasicApi.get_page"} <= known
    assert {"BasicApi.get_by_id", "CoreApi.get_all"} <= known


def test_the_check_itself_finds_faults() -> None:
    shapes = Shapes("hubspot.crm.contacts")
    assert shapes.check({"results": [{"id": 5}]}, "CollectionResponseAssociatedId", "x") == [
        "x.results[0]: type is missing",
        "x.results[0].id: 5 is no str",
    ]
