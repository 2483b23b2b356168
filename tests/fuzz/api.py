"""schemathesis on the agent's OpenAPI file, over a real unix socket."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import requests
import schemathesis
import urllib3
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

import signer.agent
from tests.simulators.desk import SimulatedDesk
from tests.simulators.holders import SimulatedPool
from tests.simulators.server import EVERYBODY, serving

# What a schema allows may still be no request (a validator twice): that it gets 400 is documented.
# So is a 500 where the token is in trouble.
_CHECKS: Any = [
    getattr(schemathesis.checks, name)
    for name in (
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
        "response_headers_conformance",
    )
]
OPENAPI = Path(signer.agent.__file__).with_name("openapi.yaml")


class _UnixAdapter(HTTPAdapter):
    """Sends every request to one unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> urllib3.HTTPConnectionPool:
        """Return a pool whose connections go to the socket."""
        path = self._path

        class Connection(HTTPConnection):
            def connect(self) -> None:
                import socket

                self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                self.sock.settimeout(20)
                self.sock.connect(str(path))

        class Pool(HTTPConnectionPool):
            ConnectionCls = Connection

        return Pool("agent")


def examine(max_examples: int) -> int:
    """Ask what the file allows and what it does not; return how many requests were judged.

    Raises:
        Exception: an answer that the file does not document, or no answer.
    """
    return asyncio.run(_examine(max_examples))


async def _examine(max_examples: int) -> int:
    with tempfile.TemporaryDirectory(prefix="signer-api-") as folder:
        desk = SimulatedDesk(SimulatedPool.new(), Path(folder))
        peers = EVERYBODY | {"drill": EVERYBODY["sign"], "metrics": EVERYBODY["status"]}
        async with serving(desk, peers=peers) as agent:
            count = await asyncio.to_thread(_ask_everything, agent.path, max_examples)
            await agent.still_serves()
        assert all(event["event"] != "bug" for event in agent.events), agent.events
    return count


def _ask_everything(path: Path, max_examples: int) -> int:
    raw = yaml.safe_load(OPENAPI.read_text())
    schema = schemathesis.openapi.from_dict(raw)
    count = 0
    with requests.Session() as session:
        session.mount("http://", _UnixAdapter(path))
        found: Any = schema.get_all_operations()
        for result in found:
            operation = result.ok()

            @given(case=operation.as_strategy())
            @settings(
                max_examples=max_examples,
                deadline=None,
                database=None,
                derandomize=True,
                phases=(Phase.generate,),
                suppress_health_check=list(HealthCheck),
            )
            def judge(case: Any) -> None:
                nonlocal count
                response = case.call(base_url="http://agent", session=session)
                case.validate_response(response, checks=_CHECKS)
                count += 1

            judge()
    return count
