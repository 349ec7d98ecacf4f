"""An MCP server made with the Python SDK, over Streamable HTTP on a free port, or over stdio.

    mcp_server.py http    prints its URL, then serves until standard input ends
    mcp_server.py stdio

What its tools did is in the file that MCP_SERVER_JOURNAL names, a line for each call.
"""

import asyncio
import os
import socket
import sys
import threading
import time
from typing import Annotated

import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver import Context, Image
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel, Field

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)

server = MCPServer("peer", version="1.2.3", instructions="Made for tests.", log_level="ERROR")


def journal(line: str) -> None:
    path = os.environ.get("MCP_SERVER_JOURNAL")
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(line + "\n")


class Weather(BaseModel):
    """What the sky does."""

    city: str
    celsius: float


@server.tool()
def echo(text: str) -> str:
    """Says the same again."""
    journal(f"echo {text}")
    return text


@server.tool()
def weather(city: Annotated[str, Field(min_length=2)]) -> Weather:
    """The weather in a city."""
    journal(f"weather {city}")
    return Weather(city=city, celsius=21.5)


@server.tool(structured_output=False)
def pixel() -> Image:
    """One transparent pixel."""
    return Image(data=PIXEL, format="png")


@server.tool()
def broken(reason: str) -> str:
    """Always fails."""
    journal(f"broken {reason}")
    raise ToolError(f"it broke: {reason}")


@server.tool()
async def count(to: int, context: Context) -> int:
    """Counts, telling how far it is."""
    for step in range(1, to + 1):
        await context.report_progress(step, to, f"step {step}")
    return to


@server.tool()
async def wait(name: str) -> str:
    """Never ends by itself."""
    journal(f"wait {name}")
    try:
        await asyncio.Event().wait()
    except BaseException:
        journal(f"cancelled {name}")
        raise
    return name


@server.tool()
async def freeze() -> str:
    """Stops the whole server from answering."""
    journal("freeze")
    time.sleep(3600)
    return "thawed"


@server.tool()
def die() -> str:
    """Ends the whole process."""
    journal("die")
    os._exit(3)


@server.resource("peer://greeting", mime_type="text/plain")
def greeting() -> str:
    """A greeting."""
    return "Grüß Gott"


@server.resource("peer://pixel", mime_type="image/png")
def pixel_resource() -> bytes:
    """One transparent pixel."""
    return PIXEL


@server.resource("peer://users/{name}", mime_type="text/plain")
def user(name: str) -> str:
    """About a user."""
    return f"{name} is a user"


@server.prompt()
def review(code: str, tone: str = "kind") -> str:
    """Asks for a review."""
    return f"Review this in a {tone} tone: {code}"


def serve_http() -> None:
    # Named for its protocol, for which alone the event loop sends small packets at once.
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", int(os.environ.get("MCP_SERVER_PORT", "0"))))
    app = server.streamable_http_app(stateless_http="MCP_SERVER_STATELESS" in os.environ)
    http = uvicorn.Server(uvicorn.Config(app, log_level="error"))

    def until_input_ends() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=until_input_ends, daemon=True).start()
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
    http.run(sockets=[listener])


if __name__ == "__main__":
    if sys.argv[1:] == ["http"]:
        serve_http()
    elif sys.argv[1:] == ["stdio"]:
        server.run("stdio")
    else:
        sys.exit(__doc__)
