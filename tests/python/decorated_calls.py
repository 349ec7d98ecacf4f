"""Three calls of decorated functions: OpenAI, OpenAI as a stream, Anthropic. The decorators log tokens and no cost."""

import asyncio
import os

from anthropic import AsyncAnthropic
from llmring.logging import log_llm_call, log_llm_stream
from openai import AsyncOpenAI

SERVER = {"server_url": os.environ["LLMRING_SERVER_URL"], "api_key": os.environ["LLMRING_API_KEY"]}
MESSAGES = [{"role": "user", "content": "Hello!"}]


@log_llm_call(**SERVER, origin="openai-call")
async def call_openai(messages):
    return await AsyncOpenAI().chat.completions.create(model="gpt-4o-mini", messages=messages)


@log_llm_stream(**SERVER, origin="openai-stream")
async def stream_openai(messages):
    stream = await AsyncOpenAI().chat.completions.create(
        model="gpt-4o-mini", messages=messages, stream=True, stream_options={"include_usage": True}
    )
    async for chunk in stream:
        yield chunk


@log_llm_call(**SERVER, origin="anthropic-call")
async def call_anthropic(messages):
    return await AsyncAnthropic().messages.create(
        model="claude-sonnet-4-5-20250929", max_tokens=500, messages=messages
    )


async def main() -> None:
    await call_openai(messages=MESSAGES)
    async for _ in stream_openai(messages=MESSAGES):
        pass
    await call_anthropic(messages=MESSAGES)
    # The decorators log in tasks of their own, which end with the loop unless somebody waits.
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))


asyncio.run(main())
