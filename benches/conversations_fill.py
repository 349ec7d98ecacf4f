"""Imports conversations into the server at a port of this machine and prints their ids: PORT CONVERSATIONS MESSAGES."""

import http.client
import json
import random
import sys
from concurrent.futures import ThreadPoolExecutor

WORKERS = 4
SENTENCE = "the quick brown fox jumps over the lazy dog and writes down what it has seen on the way "


def file(number: int, messages: int) -> bytes:
    """A conversation in which about one message in ten has a rare word."""
    chance = random.Random(number)
    lines = [{"title": f"Conversation {number}"}]
    for place in range(messages):
        rare = f"word{chance.randrange(10_000)}" if chance.random() < 0.1 else ""
        role = "assistant" if place % 2 else "user"
        lines.append({"role": role, "content": SENTENCE * chance.randint(1, 6) + rare, "output_tokens": place % 2})
    return "\n".join(map(json.dumps, lines)).encode()


def fill(port: int, numbers: range, messages: int) -> list[str]:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    headers = {"X-API-Key": "load", "Content-Type": "application/jsonl"}
    ids = []
    for number in numbers:
        connection.request("POST", "/conversations/import", file(number, messages), headers)
        answer = connection.getresponse()
        body = json.loads(answer.read())
        if answer.status != 200:
            raise SystemExit(f"{answer.status}: {body}")
        ids.append(body["id"])
    return ids


def main() -> None:
    port, conversations, messages = map(int, sys.argv[1:])
    shares = [range(worker, conversations, WORKERS) for worker in range(WORKERS)]
    with ThreadPoolExecutor(WORKERS) as workers:
        for ids in workers.map(lambda numbers: fill(port, numbers, messages), shares):
            print("\n".join(ids))


main()
