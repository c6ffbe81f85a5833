import asyncio
import os
import signal
import socket
import sys
import time

import httpx
from tests.conftest import Company, eventually

from buildpeer.local.stack import Stack
from buildpeer.platform import clock
from buildpeer.platform.auth import Tokens
from buildpeer.platform.config import Settings


async def test_the_api_stops_at_once_although_streams_are_open(
    stack: Stack, settings: Settings, tokens: Tokens, company: Company
) -> None:
    caller = await company.hire()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "buildpeer.entrypoints.cli", "api"), env=stack.env("api") | {"BUILDPEER_API_PORT": port}
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:

            async def healthy() -> bool:
                try:
                    return (await client.get("/healthz")).status_code == 200
                except httpx.TransportError:
                    return False

            await eventually(healthy)
            bearer = {"authorization": f"Bearer {tokens.access(caller, now=clock.now())}"}
            async with client.stream("GET", "/v1/events", headers=bearer) as answer:
                lines = answer.aiter_lines()
                assert (await anext(lines)).startswith("retry")
                began = time.monotonic()
                os.kill(process.pid, signal.SIGTERM)
                async with asyncio.timeout(10):
                    async for _ in lines:
                        pass
            assert await asyncio.wait_for(process.wait(), 10) == 0
            assert time.monotonic() - began < 5  # the stream's next sign of life would come after 15 s
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
