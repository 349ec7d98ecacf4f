"""An MCP server over stdio for tests. Its tools behave, or misbehave, as their names say.

Arguments: how it greets (`legacy`, `silent`, `fragile`, `modern`, `exits`), then optionally an address to keep a connection to
while it lives, so that a test sees its end; with `family` after that, a child of its own keeps another one.
"""

import json
import os
import signal
import socket
import subprocess
import sys

greeting, *rest = sys.argv[1:]
cancelled = []
calls = 0
replies = {}


def send(message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def raw(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def connect(address):
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)))


def text(value):
    return {"content": [{"type": "text", "text": json.dumps(value)}]}


def call(id, name, arguments, meta):
    global calls
    calls += 1
    if name == "echo":
        send({"id": id, "result": {
            "content": [{"type": "hologram", "beam": arguments}],
            "structuredContent": arguments,
            "isError": True,
            "futureMember": {"a": [1.5, None]},
            "_meta": {"x": "y"},
        }})
    elif name == "pid":
        send({"id": id, "result": text(os.getpid())})
    elif name == "environment":
        send({"id": id, "result": text(sorted(os.environ))})
    elif name == "hang":
        pass
    elif name == "cancelled":
        send({"id": id, "result": text(len(cancelled))})
    elif name == "calls":
        send({"id": id, "result": text(calls)})
    elif name == "die":
        os._exit(1)
    elif name == "flood":
        while True:
            send({"method": "notifications/message", "params": {"level": "info", "data": "x"}})
    elif name == "huge":
        send({"id": id, "result": text("x" * arguments["bytes"])})
    elif name == "endless":
        while True:
            sys.stdout.write("x" * 65536)
    elif name == "broken":
        raw('{"jsonrpc":"2.0","id":%d,"result":{"content":[' % id)
    elif name == "no result":
        raw('{"jsonrpc":"2.0","id":%d}' % id)
    elif name == "refuse":
        send({"id": id, "error": {"code": -32000, "message": "no", "data": {"why": [1]}}})
    elif name == "noise":
        raw("Listening on port 80")
        raw('{"level": "info", "message": "a log line"}')
        raw("{'a': 1}")
        raw("")
        send({"id": 999999, "result": {}})
        send({"id": id, "result": text("done")})
    elif name == "progress":
        for step in range(5):
            send({"method": "notifications/progress", "params": {
                "progressToken": meta["progressToken"], "progress": step, "total": 5, "message": f"step {step}"}})
        send({"id": id, "result": text("done")})
    elif name == "ask":
        wanted = {
            "a": ("sampling/createMessage", {"messages": [], "maxTokens": 1}),
            "b": ("elicitation/create", {"message": "?", "requestedSchema": {"type": "object", "properties": {}}}),
            "c": ("roots/list", {}),
            "d": ("ping", {}),
            "e": ("made/up", {}),
        }
        replies["wanted"] = (id, set(wanted))
        for key, (method, params) in wanted.items():
            send({"id": key, "method": method, "params": params})
    elif name == "change":
        send({"method": "notifications/tools/list_changed"})
        send({"id": id, "result": text("done")})
    else:
        send({"id": id, "error": {"code": -32602, "message": f"no tool {name}"}})


def page(params):
    number = int(params.get("cursor", "0"))
    answer = {"tools": [{"name": f"tool {number}", "inputSchema": {"type": "object"}, "x-unknown": number}]}
    if number < 2 or "endless" in rest:
        answer["nextCursor"] = str(number + 1)
    if "stuck" in rest:
        answer["nextCursor"] = "1"
    return answer


def answer(message):
    method, id, params = message.get("method"), message.get("id"), message.get("params") or {}
    if method is None:
        wanted = replies["wanted"]
        replies[message["id"]] = message.get("error", {}).get("code", "answered")
        if wanted[1] <= set(replies):
            send({"id": wanted[0], "result": text({key: replies[key] for key in wanted[1]})})
    elif method == "server/discover":
        if greeting == "modern":
            assert params["_meta"]["io.modelcontextprotocol/protocolVersion"] == "2026-07-28", params
            send({"id": id, "result": {
                "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}},
                "ttlMs": 0, "cacheScope": "private", "instructions": "be modern",
                "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "peer", "version": "9"}}}})
        elif greeting == "fragile":
            os._exit(1)
        elif greeting != "silent":
            send({"id": id, "error": {"code": -32601, "message": "Method not found"}})
    elif method == "initialize":
        version = "2024-11-05" if greeting == "silent" else params["protocolVersion"]
        send({"id": id, "result": {
            "protocolVersion": version, "capabilities": {"tools": {"listChanged": True}, "x": {"y": 1}},
            "serverInfo": {"name": "peer", "version": "9", "x": 1}, "instructions": "be legacy"}})
    elif method == "notifications/cancelled":
        cancelled.append(params["requestId"])
    elif method == "tools/list":
        send({"id": id, "result": page(params)})
    elif method == "tools/call":
        call(id, params["name"], params.get("arguments"), params.get("_meta"))
    elif id is not None:
        send({"id": id, "error": {"code": -32601, "message": "Method not found"}})


def stay():
    """Like a process that does not want to leave."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    while True:
        signal.pause()


if greeting == "stays":
    connection = connect(rest[0])
    stay()
if rest and ":" in rest[0]:
    connection = connect(rest[0])
    if "family" in rest:
        subprocess.Popen([sys.executable, __file__, "stays", rest[0]], start_new_session=False)
if greeting == "exits":
    sys.exit(1)
for line in sys.stdin:
    answer(json.loads(line))
if "family" in rest:
    stay()
