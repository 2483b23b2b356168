"""A lying agent: speaks for a real one and turns each of its partials into another valid point.

`python -m demo.liar REAL_SOCKET LYING_SOCKET`. It flips the sign bit of the compressed point, so
the partial is well formed and in the right group, and still no signature of this holder's.
"""

import asyncio
import json
import sys
from typing import Any

import aiohttp
from aiohttp import web


def _lie(reply: dict[str, Any]) -> dict[str, Any]:
    reply["partials"] = [
        partial and f"{int(partial[:2], 16) ^ 0x20:02x}{partial[2:]}"
        for partial in reply["partials"]
    ]
    return reply


async def _serve(real: str, lying: str) -> None:
    async def forward(request: web.Request) -> web.Response:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(real)) as session,
            session.request(
                request.method, f"http://agent{request.path}", data=await request.read()
            ) as answer,
        ):
            value = json.loads(await answer.read())
            if request.path == "/v1/sign" and answer.status == 200:
                value = _lie(value)
            return web.json_response(value, status=answer.status)

    app = web.Application(client_max_size=8 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", forward)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.UnixSite(runner, lying).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], sys.argv[2]))
