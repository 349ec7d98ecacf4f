"""A session of the client. `begin` starts a conversation and says something; `resume ID` goes on with it. Prints what it sees."""

import asyncio
import json
import os
import sys
from uuid import UUID

from llmring.service_extended import ConversationManager, LLMRingSession

MODEL = "openai:gpt-4o-mini"


async def begin(session: LLMRingSession) -> dict:
    conversation = ConversationManager(session)
    identity = await conversation.start_conversation(title="Session", system_prompt="Be brief.", model_alias="brief")
    await conversation.send_message("Hello!", model=MODEL)
    stored = await session.get_conversation_history(identity)
    return {"id": str(identity), "roles": [message["role"] for message in stored["messages"]]}


async def resume(session: LLMRingSession, identity: str) -> dict:
    conversation = ConversationManager(session)
    loaded = await conversation.load_conversation(UUID(identity))
    await conversation.send_message("And again!", model=MODEL)
    listed = await session.list_conversations(limit=5)
    return {
        "loaded": loaded,
        "listed": [one["id"] for one in listed],
        "history": len(conversation.get_history()),
    }


async def main() -> None:
    session = LLMRingSession(
        origin="session",
        registry_url=os.environ["REGISTRY_URL"],
        server_url=os.environ["LLMRING_SERVER_URL"],
        api_key=os.environ["LLMRING_API_KEY"],
    )
    async with session:
        seen = await (begin(session) if sys.argv[1] == "begin" else resume(session, sys.argv[2]))
    print(json.dumps(seen))


asyncio.run(main())
