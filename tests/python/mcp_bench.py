"""Calls an MCP server's tool `echo` with the Python SDK's client.

    mcp_bench.py URL IN_FLIGHT SECONDS    prints calls per second, p50 and p99 in milliseconds
"""

import asyncio
import sys
import time

from mcp.client.client import Client


async def main(url: str, in_flight: int, seconds: float) -> None:
    took: list[float] = []
    async with Client(url) as client:
        until = time.perf_counter() + seconds

        async def call() -> None:
            while (began := time.perf_counter()) < until:
                result = await client.call_tool("echo", {"text": "hello"})
                assert not result.is_error
                took.append(time.perf_counter() - began)

        await asyncio.gather(*(call() for _ in range(in_flight)))
    took.sort()
    p50, p99 = (took[int(len(took) * share)] * 1000 for share in (0.5, 0.99))
    print(f"{len(took) / seconds:.0f} {p50:.2f} {p99:.2f}")


asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
