"""Thousands of requests to one agent: neither memory nor descriptors grow."""

import asyncio
import contextlib
import json
import time
from pathlib import Path

import aiohttp

from signer.client import AgentClient
from signer.custody.desk import read_group
from signer.errors import SignerError
from signer.messages.address import ExecutionAddress
from signer.messages.items import Change
from signer.messages.request import SignRequest
from signer.testing.pool import TEST_ADDRESS, Holder, Pool

STRANGE = "0x" + "ee" * 20
_MALFORMED = (b"", b"{", b"[]", b'{"type": "signer-request"}', b"\xff" * 100, b"{" * 5000)


def growth(pool: Pool, count: int, signing: int, settled: int) -> tuple[float, int]:
    """Ask the first holder's running agent `count` things; return how much it grew (MB, fds).

    Args:
        pool: its first agent runs.
        count: requests in all: statuses, metrics, denials, malformed ones, and
        signing: how many of them are signed, evenly spread.
        settled: after this many the first measure is taken.
    """
    return asyncio.run(_growth(pool, count, signing, settled))


async def _growth(pool: Pool, count: int, signing: int, settled: int) -> tuple[float, int]:
    holder = pool.holders[0]
    group = read_group(pool.group)
    address, strange = ExecutionAddress.parse(TEST_ADDRESS), ExecutionAddress.parse(STRANGE)
    until = int(time.time()) + 3600
    client = AgentClient(holder.socket)
    before = (0.0, 0)
    every = count // signing
    connector = aiohttp.UnixConnector(path=str(holder.socket))
    async with aiohttp.ClientSession(connector=connector) as session:
        for number in range(count):
            if number == settled:
                before = measured(holder)
            if number % every == 0:
                wanted = SignRequest.new(group, [Change(number, address)], expires=until)
                await client.sign(wanted, seconds=60)
            elif number % 4 == 0:
                denied = SignRequest.new(group, [Change(number, strange)], expires=until)
                with contextlib.suppress(SignerError):
                    await client.sign(denied, seconds=60)
            elif number % 4 == 1:
                body = _MALFORMED[number // 4 % len(_MALFORMED)]
                async with session.post("http://agent/v1/sign", data=body) as answer:
                    assert answer.status == 400, answer.status
            else:
                page = ("status", "metrics")[number % 2]
                async with session.get(f"http://agent/v1/{page}") as answer:
                    await answer.read()
                    assert answer.status == 200
    await asyncio.sleep(0.2)
    after = measured(holder)
    return after[0] - before[0], after[1] - before[1]


def measured(holder: Holder) -> tuple[float, int]:
    """Return the agent's resident memory in MB and how many descriptors it has open."""
    assert holder.agent is not None
    place = Path(f"/proc/{holder.agent.pid}")
    line = next(x for x in (place / "status").read_text().splitlines() if x.startswith("VmRSS"))
    return int(line.split()[1]) / 1024, len(list((place / "fd").iterdir()))


def log_is_calm(holder: Holder) -> bool:
    """Tell whether the log has no bug and no traceback."""
    lines = holder.log.read_text().splitlines()
    return all(json.loads(line)["event"] != "bug" for line in lines)
