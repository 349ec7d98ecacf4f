"""Calls recorded with what was said: by the client's `service`, or by its `decorators` in three providers' shapes."""

import asyncio
import os
import sys
from types import SimpleNamespace

from anthropic import AsyncAnthropic
from llmring import LLMRing
from llmring.logging import log_llm_call
from llmring.schemas import LLMRequest, Message
from openai import AsyncOpenAI

SERVER = {"server_url": os.environ["LLMRING_SERVER_URL"], "api_key": os.environ["LLMRING_API_KEY"]}


async def service() -> None:
    ring = LLMRing(origin="recording", registry_url=os.environ["REGISTRY_URL"], log_conversations=True, **SERVER)
    parts = [{"type": "text", "text": "What is this?"}]
    async with ring:
        for content in ("Hello!", parts):
            await ring.chat(LLMRequest(model="openai:gpt-4o-mini", messages=[Message(role="user", content=content)]))


@log_llm_call(**SERVER, log_conversations=True)
async def call_openai(messages):
    return await AsyncOpenAI().chat.completions.create(model="gpt-4o-mini", messages=messages)


@log_llm_call(**SERVER, log_conversations=True)
async def call_anthropic(messages):
    return await AsyncAnthropic().messages.create(
        model="claude-sonnet-4-5-20250929", max_tokens=500, messages=messages
    )


@log_llm_call(**SERVER, provider="google", log_conversations=True)
async def call_google(messages):
    """What google-genai answers, as far as the client looks at it."""
    return SimpleNamespace(
        text="Hello",
        model_version="gemini-2.5-flash",
        candidates=[SimpleNamespace(finish_reason="STOP")],
        usage_metadata=SimpleNamespace(
            prompt_token_count=1200,
            candidates_token_count=350,
            total_token_count=1550,
            cached_content_token_count=1000,
        ),
    )


async def decorators() -> None:
    await call_openai(messages=[{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hello!"}])
    await call_anthropic(messages=[{"role": "user", "content": [{"type": "text", "text": "Hello!"}]}])
    await call_google(messages=[{"role": "user", "parts": [{"text": "Hello!"}]}])
    # The decorators log in tasks of their own, which end with the loop unless somebody waits.
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))


asyncio.run({"service": service, "decorators": decorators}[sys.argv[1]]())
