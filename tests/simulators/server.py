"""An agent's server in this process, on a real socket, run as the daemon runs it."""

import asyncio
import contextlib
import io
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from signer.agent import daemon
from signer.agent.config import AgentConfig
from signer.agent.log import EventLog
from signer.agent.server import AgentServer
from signer.agent.tickets import TicketBook
from signer.custody.custodian import Custodian
from tests.simulators.attended import AttendedCustodian
from tests.simulators.desk import SimulatedDesk

EVERYBODY = {"status": frozenset({os.geteuid()}), "sign": frozenset({os.geteuid()})}


@dataclass
class Answer:
    """What came back: the head's lines, and the body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body as a JSON object."""
        value = json.loads(self.body)
        assert isinstance(value, dict)
        return value

    @property
    def code(self) -> str:
        """The code of a trouble."""
        assert set(self.json) == {"code", "message", "hint"}
        return str(self.json["code"])


@dataclass
class RunningServer:
    """A server at `path`, with the log it writes."""

    path: Path
    desk: SimulatedDesk
    stream: io.StringIO
    control: Path = Path()
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def events(self) -> list[dict[str, Any]]:
        """What was logged; every line must be JSON."""
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect like anybody."""
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        self.writers.append(writer)
        return reader, writer

    async def close_all(self) -> None:
        """End every connection that was made."""
        for writer in self.writers:
            writer.close()
        for writer in self.writers:
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        self.writers.clear()

    async def send(self, raw: bytes, *, seconds: float = 10) -> bytes:
        """Send bytes, then read until the server ends the connection."""
        async with asyncio.timeout(seconds):
            reader, writer = await self.connect()
            with contextlib.suppress(ConnectionError):
                writer.write(raw)
                await writer.drain()
            got = b""
            with contextlib.suppress(ConnectionError):
                got = await reader.read()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            return got

    async def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Make one request on a connection of its own."""
        head = {"Host": "agent", "Connection": "close", "Content-Length": str(len(body))}
        return await self.exchange(method, path, head | dict(headers or {}), body)

    async def exchange(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        """Send exactly this head and these bytes, and read one answer."""
        lines = [f"{method} {path} HTTP/1.1", *(f"{n}: {v}" for n, v in headers.items()), "", ""]
        return parse_answer(await self.send("\r\n".join(lines).encode() + body))

    async def still_serves(self) -> None:
        """The next client is served."""
        async with asyncio.timeout(5):
            assert (await self.ask("GET", "/v1/status")).status == 200


def parse_answer(raw: bytes) -> Answer:
    """Read one HTTP answer."""
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    if headers.get("content-length", "0") != "0" and body:
        body = body[: int(headers["content-length"])]
    return Answer(int(first.split()[1]), headers, body)


@contextlib.asynccontextmanager
async def serving(
    desk: SimulatedDesk,
    *,
    peers: Mapping[str, frozenset[int]] = EVERYBODY,
    attended: AttendedCustodian | None = None,
    holders: frozenset[int] = frozenset({os.geteuid()}),
) -> AsyncIterator[RunningServer]:
    """Run a server until the block ends; with a control socket if the holder is `attended`."""
    stream = io.StringIO()
    log = EventLog(stream)
    log.take_over("aiohttp")
    config = SimpleNamespace(
        socket=desk.folder / "run" / "agent.sock",
        control=None if attended is None else desk.folder / "private" / "control.sock",
        holders=holders,
    )
    server = AgentServer(
        desk.custodian if attended is None else cast(Custodian, attended),
        peers,
        log,
        tickets=None if attended is None else TicketBook(),
    )
    task = asyncio.create_task(daemon._serve(cast(AgentConfig, config), server, log))
    while "listening" not in stream.getvalue():
        assert not task.done(), task.exception()
        await asyncio.sleep(0.001)
    running = RunningServer(config.socket, desk, stream, control=config.control or Path())
    try:
        yield running
    finally:
        await running.close_all()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert not config.socket.exists()


def run(
    desk: SimulatedDesk, use: Callable[[RunningServer], Awaitable[None]], **options: Any
) -> None:
    """Run `use` against a server, which must serve the next client afterwards."""

    async def main() -> None:
        async with serving(desk, **options) as agent:
            await use(agent)
            if not options:
                await agent.still_serves()
        assert {event["event"] for event in agent.events} <= {
            "listening", "signed", "denied", "refused", "worker_done", "library",
        }  # fmt: skip

    asyncio.run(main())
