"""The file that describes the socket, held against the server that serves it."""

import asyncio
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import signer.agent
from signer.agent.log import EventLog
from signer.agent.server import AgentServer
from signer.errors import WorkerError
from signer.messages.items import MAX_ITEMS
from tests.simulators.desk import SimulatedDesk
from tests.simulators.holders import NOW, OTHER, SimulatedPool
from tests.simulators.server import EVERYBODY, Answer, RunningServer, serving

DOCUMENT: dict[str, Any] = yaml.safe_load(
    (Path(signer.agent.__file__).parent / "openapi.yaml").read_text()
)
POOL = SimulatedPool.new()
METHODS = ("get", "post", "put", "patch", "delete", "head", "options")


def as_json_schema(value: Any) -> Any:
    """Turn OpenAPI 3.0's `nullable` into JSON Schema's type list."""
    if isinstance(value, list):
        return [as_json_schema(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    schema = {name: as_json_schema(entry) for name, entry in value.items() if name != "nullable"}
    if value.get("nullable") and "type" not in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    if value.get("nullable"):
        schema["type"] = [schema["type"], "null"]
    return schema


def validate(value: Any, schema: dict[str, Any]) -> None:
    root = as_json_schema({"components": DOCUMENT["components"]})
    jsonschema.Draft7Validator({**root, **as_json_schema(schema)}).validate(value)


def schema_of(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def documented(answer: Answer, path: str, method: str) -> None:
    """Hold an answer against what the document says of its status."""
    response = DOCUMENT["paths"][path][method]["responses"][str(answer.status)]
    if "$ref" in response:
        response = DOCUMENT["components"]["responses"][response["$ref"].split("/")[-1]]
    validate(answer.json, response["content"]["application/json"]["schema"])
    assert answer.headers["content-type"].startswith("application/json")


@pytest.fixture
def desk(tmp_path: Path) -> SimulatedDesk:
    return SimulatedDesk(POOL, tmp_path)


def test_the_routes_are_exactly_the_documented_ones(desk: SimulatedDesk) -> None:
    app = AgentServer(desk.custodian, EVERYBODY, EventLog()).application()
    routes = {
        (route.resource.canonical, route.method.lower())
        for route in app.router.routes()
        if route.resource
    }
    assert routes == {
        (path, method) for path, entry in DOCUMENT["paths"].items() for method in entry
    }


def test_every_status_that_is_answered_is_documented(desk: SimulatedDesk) -> None:
    request = POOL.request(1, 2)

    async def use(agent: RunningServer) -> None:
        documented(await agent.ask("GET", "/v1/status"), "/v1/status", "get")
        documented(await agent.ask("GET", "/v1/status", bytes(17_000)), "/v1/status", "get")
        seen = set()
        for body in (
            request.to_bytes(),
            POOL.request(1, 2, to=OTHER).to_bytes(),
            b"garbage",
            POOL.request(1, expires=NOW - 1).to_bytes(),
        ):
            answer = await agent.ask("POST", "/v1/sign", body)
            documented(answer, "/v1/sign", "post")
            seen.add(answer.status)
        desk.worker.fault = WorkerError("died")
        answer = await agent.ask("POST", "/v1/sign", request.to_bytes())
        documented(answer, "/v1/sign", "post")
        assert seen | {answer.status} == {200, 400, 403, 500}

    async def main() -> None:
        async with serving(desk) as agent:
            await use(agent)
        async with serving(desk, peers={"status": frozenset(), "sign": frozenset()}) as agent:
            for path, method in (("/v1/status", "get"), ("/v1/sign", "post")):
                answer = await agent.ask(method.upper(), path)
                assert answer.status == 403
                documented(answer, path, method)

    asyncio.run(main())


@pytest.mark.case("K8", "every path with every method that the document does not have")
def test_what_is_not_documented_is_not_there(desk: SimulatedDesk) -> None:
    async def main() -> None:
        async with serving(desk) as agent:
            for path, entry in DOCUMENT["paths"].items():
                for method in METHODS:
                    asked = path.replace("{ticket}", "0" * 16)
                    answer = await agent.ask(method.upper(), asked)
                    assert (answer.status == 405) == (method not in entry), (method, path)
            assert (await agent.ask("GET", "/openapi.yaml")).status == 404

    asyncio.run(main())


def test_requests_and_replies_are_as_documented() -> None:
    request = POOL.request(1, 2)
    validate(request.to_json(), schema_of("Request"))
    validate(request.to_json() | {"operator": {"index": 1, "partials": ["00" * 96] * 2}},
             schema_of("Request"))  # fmt: skip
    validate(json.loads(POOL.reply(1, request).to_bytes()), schema_of("Reply"))
    for name, changes in (
        ("Request", {"pin": "1234"}),
        ("Request", {"expires": -1}),
        ("Reply", {"partials": ["00"]}),
        ("Status", {"version": 1}),
        ("Trouble", {"code": "boom"}),
    ):
        with pytest.raises(jsonschema.ValidationError):
            validate(request.to_json() | changes, schema_of(name))
    changes = DOCUMENT["components"]["schemas"]["Request"]["properties"]["changes"]
    assert changes["maxItems"] == MAX_ITEMS
